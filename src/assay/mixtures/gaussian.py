"""A Gaussian process over mixtures: the regressor that needs the fewest runs.

Rasmussen and Williams 2006, chapters 2, 4.2 and 5: a Matern kernel (5/2) with a length for each source, plus a linear
one with the same lengths; lengths, amplitudes and noise are where marginal likelihood times a wide prior is greatest.

What matters here, in the order of what it gained on RegMix's tables (docs/evidence.md):
- a length for each source: most sources say nothing about a metric, and one or two say nearly all;
- cube roots of shares, not shares: the first percent of a source does more than the next ten. Roots, logarithms of
  share + 0.003 and fourth roots are about as good;
- logarithms of losses, where all are above 0.
Not better: a parametric law as the mean, the best of several transforms by marginal likelihood, a Gaussian kernel.

Cost on one core: 10 ms of 64 runs of 17 sources, 0.1 s of 256, 0.12 s of 512 (lengths are learnt from at most 256 runs,
drawn at random; the fit is to all). 0.5 s for predictions of 100,000 mixtures from 256 runs. Memory: runs squared.

When not to use it: above some 5,000 runs (the time is cubic), and far from all runs, where it falls back to a linear
rule. On a busy machine set OMP_NUM_THREADS=1: the matrices are small, and two threads that wait took 8 times as long.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_MAX_LEARNT_FROM = 256  # runs
_CHUNK = 4096  # mixtures foretold at a time
_STEPS = 60
_HISTORY = 8  # steps that the estimate of curvature remembers
_ENOUGH = 1e-2  # nats: a step that gains less is the last
_LEAST_NOISE = 1e-6  # of the variance of losses; keeps matrices positive definite
_LENGTH = 1.0  # logarithm of the length a source is thought to have, in deviations times root of the number of sources
_STIFFNESS = 0.5  # of that prior: one over its variance
_START = np.array([0.0, -4.0, -1.0])  # logarithms of amplitude, noise, linear amplitude (variances)
_THOUGHT = np.array([0.0, -5.0, -1.0])  # what they are thought to be, with a deviation of 3


@dataclass(frozen=True, kw_only=True, eq=False)
class GaussianProcess:
    """A fitted process; `predict` gives its mean.

    lengths: over which the loss changes, in deviations of a source's cube roots [sources]; long = the source matters
    little. noise: variance of it, as a share of the losses' variance. likelihood: marginal, logarithm, of the runs
    that lengths were learnt from.
    """

    lengths: np.ndarray
    noise: float
    likelihood: float
    _amplitudes: tuple[float, float]
    _centre: np.ndarray
    _scale: np.ndarray
    _points: np.ndarray  # [runs, sources], in lengths
    _dual: np.ndarray
    _mean: float
    _spread: float
    _is_log: bool

    def predict(self, weights: np.ndarray) -> np.ndarray:
        """Foretold losses [mixtures] of shares [mixtures, sources]."""
        found = np.empty(len(weights))
        for first in range(0, len(weights), _CHUNK):
            some = (_roots(weights[first : first + _CHUNK]) - self._centre) / self._scale / self.lengths
            smooth, linear = _kernels(some, self._points)
            found[first : first + _CHUNK] = (self._amplitudes[0] * smooth + self._amplitudes[1] * linear) @ self._dual
        found = self._mean + self._spread * found
        return np.exp(found) if self._is_log else found


def fit_gaussian(weights: np.ndarray, losses: np.ndarray, seed: int = 0) -> GaussianProcess:
    """The process of greatest posterior density.

    Args:
        weights: [runs, sources], rows sum to 1. losses: [runs], finite, not all the same.
        seed: of the runs that lengths are learnt from, where there are more than 256.
    """
    is_log = bool(losses.min() > 0)
    aims = np.log(losses) if is_log else losses
    roots = _roots(weights)
    centre, scale = roots.mean(axis=0), roots.std(axis=0)
    scale[scale < 1e-9] = 1.0  # a source that never varies
    points, mean, spread = (roots - centre) / scale, aims.mean(), aims.std() or 1.0
    aims = (aims - mean) / spread
    rows = np.arange(len(aims))
    if len(rows) > _MAX_LEARNT_FROM:
        rows = np.sort(np.random.default_rng([seed, 0]).permutation(len(rows))[:_MAX_LEARNT_FROM])
    theta, likelihood = _learnt(points[rows], aims[rows])
    lengths, (smooth, noise, linear) = np.exp(theta[:-3]), np.exp(theta[-3:])
    points = points / lengths
    near, along = _kernels(points, points)
    covariance = smooth * near + linear * along + (noise + _LEAST_NOISE) * np.eye(len(points))
    return GaussianProcess(
        lengths=lengths,
        noise=float(noise),
        likelihood=likelihood,
        _amplitudes=(float(smooth), float(linear)),
        _centre=centre,
        _scale=scale,
        _points=points,
        _dual=np.linalg.solve(covariance, aims),
        _mean=float(mean),
        _spread=float(spread),
        _is_log=is_log,
    )


def _roots(weights: np.ndarray) -> np.ndarray:
    return np.cbrt(weights)


def _kernels(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Matern 5/2 and inner products [rows of a, rows of b] of points in lengths."""
    inner = a @ b.T
    squared = np.maximum((a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * inner, 0)
    root = np.sqrt(5 * squared)
    return (1 + root + root**2 / 3) * np.exp(-root), inner


def _learnt(points: np.ndarray, aims: np.ndarray) -> tuple[np.ndarray, float]:
    """Logarithms of lengths, amplitude, noise and linear amplitude [sources + 3], and the likelihood there."""
    num_runs, num_sources = points.shape
    thought = np.append(np.full(num_sources, _LENGTH + 0.5 * np.log(num_sources)), _THOUGHT)
    stiffness = np.append(np.full(num_sources, _STIFFNESS), np.full(3, 1 / 9))
    squares = points**2

    def surprise(theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Minus the logarithm of the posterior density, and its gradient (Rasmussen and Williams, equation 5.9)."""
        amplitude, noise, along = np.exp(theta[num_sources:])
        scales = np.exp(-2 * theta[:num_sources])
        linear = (points * scales) @ points.T
        norms = np.diag(linear)
        root = np.sqrt(5 * np.maximum(norms[:, None] + norms - 2 * linear, 0))
        decay = np.exp(-root)
        smooth = (1 + root + root**2 / 3) * decay
        covariance = amplitude * smooth + along * linear
        covariance[np.diag_indices(num_runs)] += noise + _LEAST_NOISE
        try:
            half = np.diag(np.linalg.cholesky(covariance))
        except np.linalg.LinAlgError:  # parameters that no matrix of this precision bears
            return np.inf, np.zeros_like(theta)
        inverse = np.linalg.inv(covariance)
        dual = inverse @ aims
        slope = 0.5 * (inverse - np.outer(dual, dual))  # of the surprise by the covariance
        near = slope * (-5 / 6 * amplitude) * (1 + root) * decay  # by squared distances
        by_scale = 2 * near.sum(axis=1) @ squares - 2 * (points * (near @ points)).sum(axis=0)
        by_scale += along * (points * (slope @ points)).sum(axis=0)
        others = [amplitude * (slope * smooth).sum(), noise * np.trace(slope), along * (slope * linear).sum()]
        off = theta - thought
        value = 0.5 * aims @ dual + np.log(half).sum() + 0.5 * (stiffness * off**2).sum()
        return float(value), np.append(-2 * scales * by_scale, others) + stiffness * off

    theta = descend(surprise, np.append(thought[:num_sources], _START))
    prior = 0.5 * (stiffness * (theta - thought) ** 2).sum()
    return theta, float(prior - surprise(theta)[0] - 0.5 * num_runs * np.log(2 * np.pi))


def descend(function: Callable[[np.ndarray], tuple[float, np.ndarray]], start: np.ndarray) -> np.ndarray:
    """Where a smooth function is least, near `start`, by L-BFGS (Nocedal and Wright 2006, algorithm 7.5).

    Args:
        function: gives value and gradient; an infinite value means "not there".
    """
    theta, (value, gradient) = start, function(start)
    history: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(_STEPS):
        direction = _direction(gradient, history)
        slope = direction @ gradient
        size = min(1.0, 2 / np.abs(direction).max())  # parameters are logarithms: no step beyond a factor of e^2
        for _ in range(15):
            reached, there = function(theta + size * direction)
            if reached <= value + 1e-4 * size * slope:
                break
            size /= 2 if np.isfinite(reached) else 4
        else:
            break
        step, change = size * direction, there - gradient
        if step @ change > 1e-10:
            history = [*history[1 - _HISTORY :], (step, change)]
        gained, theta, value, gradient = value - reached, theta + step, reached, there
        if gained < _ENOUGH:
            break
    return theta


def _direction(gradient: np.ndarray, history: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Minus the gradient times the inverse curvature that past steps and changes of gradient tell."""
    if not history:
        return -gradient * min(1.0, 1 / max(np.abs(gradient).sum(), 1e-300))
    rest, parts = gradient.copy(), []
    for step, change in reversed(history):
        parts.append((step @ rest) / (step @ change))
        rest -= parts[-1] * change
    step, change = history[-1]
    rest *= (step @ change) / (change @ change)
    for (step, change), part in zip(history, reversed(parts), strict=True):
        rest += step * (part - (change @ rest) / (step @ change))
    return -rest
