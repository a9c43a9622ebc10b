"""A power law of what a metric's text gets out of a mixture: few unknowns, and it holds across model sizes.

    L(w) = c + (e + sum_i a_i w_i)^-b        a_i, e, b > 0

A document of source i is worth a_i documents like the measured text; the loss falls with the sum as a power, as it does
with data (Kaplan et al. 2020, arXiv:2001.08361, equation 1.2); e is what any text teaches. Ours; the exponential law
(arXiv:2403.16952) has the loss fall by a factor for each share added, which fits the first percent of a source badly.

On RegMix's tables (docs/evidence.md) it ranks mixtures better than the exponential law at every number of runs, and on
web text (Pile-CC) at 1B parameters better than any other regressor here; for most metrics `gp` is better.

Fitted by Levenberg-Marquardt, from two starts, under a weak prior: 50 ms of 512 runs of 17 sources. No randomness.

When not to use it: where a source helps only together with another, or where more of one is worse than none.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_STEPS = 200
_FLOORS = (-4.0, -2.0)  # logarithms of e at the starts
_PRIOR = 1e-4  # its weight, a run
_WORTH = -4.5  # logarithm of the worth a source is thought to have, where losses have deviation 1


@dataclass(frozen=True, kw_only=True, eq=False)
class PowerLaw:
    """constant: c, which no mixture goes below. worth: a_i [sources]. floor: e. exponent: b."""

    constant: float
    worth: np.ndarray
    floor: float
    exponent: float

    def predict(self, weights: np.ndarray) -> np.ndarray:
        """The loss of each mixture [mixtures], of shares [mixtures, sources]."""
        return self.constant + (self.floor + weights @ self.worth) ** -self.exponent


def fit_power(weights: np.ndarray, losses: np.ndarray, seed: int = 0) -> PowerLaw:
    """The law with the least squared error.

    Args:
        weights: [runs, sources], rows sum to 1. losses: [runs], finite, not all the same. seed: nothing is drawn.
    """
    num_runs, num_sources = weights.shape
    mean, spread = losses.mean(), losses.std() or 1.0
    aims = (losses - mean) / spread
    spreads = np.maximum(weights.std(axis=0), 1e-12)
    helps = -((weights - weights.mean(axis=0)) / spreads * aims[:, None]).mean(axis=0)  # minus the correlations

    def residuals(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        constant, height, exponent, floor = theta[0], theta[1], np.exp(theta[2]), np.exp(theta[3])
        worth = np.exp(theta[4:])
        total = floor + weights @ worth
        power = np.exp(height - exponent * np.log(total))
        by_total = -exponent * power / total
        columns = [np.ones(num_runs), power, -exponent * power * np.log(total), by_total * floor]
        return constant + power - aims, np.column_stack([*columns, by_total[:, None] * weights * worth])

    stiffness = _PRIOR * num_runs * np.concatenate([[1e-3, 1e-3, 0.3, 0.1], np.ones(num_sources)])
    best: tuple[float, np.ndarray] | None = None
    for floor in _FLOORS:
        thought = np.concatenate([[-2.0, 0.5, np.log(0.5), floor], np.full(num_sources, _WORTH)])
        start = thought + np.concatenate([np.zeros(4), 2 * np.clip(helps, -0.3, 1)])
        found = _least_squares(residuals, start, thought, stiffness)
        best = found if best is None or found[0] < best[0] else best
    assert best is not None
    theta, exponent = best[1], float(np.exp(best[1][2]))
    # exp(height) * spread moves into the sum: x^-b * s = (x * s^(-1/b))^-b
    unit = np.exp(-(theta[1] + np.log(spread)) / exponent)
    return PowerLaw(
        constant=float(mean + spread * theta[0]),
        worth=np.exp(theta[4:]) * unit,
        floor=float(np.exp(theta[3]) * unit),
        exponent=exponent,
    )


def _least_squares(
    residuals: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    start: np.ndarray,
    thought: np.ndarray,
    stiffness: np.ndarray,
) -> tuple[float, np.ndarray]:
    """Least sum of squared residuals and stiffness * (theta - thought)^2, near `start`; and where."""

    def measured(theta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        with np.errstate(over="ignore", invalid="ignore"):
            left, slopes = residuals(theta)
            off = theta - thought
            gradient, curvature = slopes.T @ left + stiffness * off, slopes.T @ slopes + np.diag(stiffness)
        return float(left @ left + stiffness @ off**2), gradient, curvature

    theta, damping = start, 1e-2
    cost, gradient, curvature = measured(theta)
    for _ in range(_STEPS):
        for _ in range(12):
            step = np.linalg.solve(curvature + damping * np.diag(np.diag(curvature)), gradient)
            tried = theta - np.clip(step, -2, 2)
            reached = measured(tried)
            if reached[0] < cost:
                break
            damping *= 3
        else:
            break
        gained, theta, damping = cost - reached[0], tried, max(damping / 3, 1e-8)
        cost, gradient, curvature = reached
        if gained < 1e-7 * cost:
            break
    return cost, theta
