"""From runs to weights of scores: which sum of scores chooses the text on which a proxy loses least.

Two readings of the same runs, each of which trained a proxy on what one weighting of the scores chose:

- Meta-rater (Zhuang et al. 2025, arXiv:2504.14194, section 3): a regression of loss on weights; then the mean of the
  weights that it foretells the lowest losses for.
- InstructMining (Cao et al. 2023, arXiv:2307.06290, section 3): a linear rule, by least squares, of the logarithm of
  loss on the mean of each score over the chosen documents; its coefficients are the weights.

Meta-rater fits with LightGBM. Of 64 runs trees learn less than smooth functions do: with planted utilities (3 and 5
scores, independent and correlated, with noise and without, 48 in all) the weights found had a mean cosine with the true
ones of 0.956 by LightGBM as it comes, 0.987 with leaves of 5 runs, 0.989 by a quadratic form, and 0.995 by kernel ridge
regression with a Gaussian kernel, which is a few lines of numpy and has its leave-one-out error in closed form. So that
is what we fit.
"""

from typing import NamedTuple

import numpy as np

from assay.errors import check, check_integer
from assay.models.calibration import spearman

_NUM_CANDIDATES = 20_000
_NUM_BEST = 100
_WIDTHS = (0.25, 1.0, 4.0, 16.0)  # of the kernel, in median squared distances
_RIDGES = 10.0 ** np.arange(-4, 1.1, 0.5)
_CHUNK = 2_000
_MIN_RUNS = 8


class Fit(NamedTuple):
    """What runs say.

    weights: of each score [scores]. Of `best_weights` 0 or more and sum 1; of `linear_rule` any, higher = better.
    leave_one_out: rank correlation of the runs' losses with those foretold from all other runs; None: all are the same.
    """

    weights: np.ndarray
    leave_one_out: float | None


def draw_weights(num_draws: int, num_scores: int, seed: int = 0) -> np.ndarray:
    """Weights to try [draws, scores], rows sum to 1: equal ones, each score alone, then uniform on the simplex."""
    check_integer("num_scores", num_scores, 1)
    check_integer("num_draws", num_draws, 1)
    even = np.full((1, num_scores), 1 / num_scores)
    drawn = np.random.default_rng([seed, 0]).dirichlet(np.ones(num_scores), num_draws)
    return np.concatenate([even, np.eye(num_scores), drawn])[:num_draws]


def best_weights(weights: np.ndarray, losses: np.ndarray, seed: int = 0) -> Fit:
    """The mean of the weights for which the lowest losses are foretold (Meta-rater).

    Args:
        weights: of each run [runs, scores]. losses: of each run [runs], finite.

    Raises:
        InvalidParameterError: fewer than 8 runs, or a loss that is no number.
    """
    _check(weights, losses)
    centre, scale = losses.mean(), losses.std() or 1.0
    aims = (losses - centre) / scale
    distances = ((weights[:, None] - weights[None]) ** 2).sum(axis=2)
    unit = float(np.median(distances[distances > 0])) if (distances > 0).any() else 1.0
    _, width, dual, foretold = min(_kernel_fits(distances / unit, aims), key=lambda found: found[0])
    candidates = np.random.default_rng([seed, 1]).dirichlet(np.ones(weights.shape[1]), _NUM_CANDIDATES)
    guesses = np.concatenate(
        [
            np.exp(-((some[:, None] - weights[None]) ** 2).sum(axis=2) / (width * unit)) @ dual
            for some in np.split(candidates, range(_CHUNK, _NUM_CANDIDATES, _CHUNK))
        ]
    )
    best = candidates[np.argsort(guesses, kind="stable")[:_NUM_BEST]].mean(axis=0)
    return Fit(best, spearman(foretold, aims))


def linear_rule(means: np.ndarray, losses: np.ndarray) -> Fit:
    """Weights by which a document's scores tell how much it lowers the loss (InstructMining).

    Least squares of ln(loss) on the mean scores of what each run read, with the ridge that leaves the least
    leave-one-out error, since scores that go together are common.

    Args:
        means: mean of each score over the chosen documents [runs, scores]. losses: of each run [runs], above 0.

    Raises:
        InvalidParameterError: fewer than 8 runs, or a loss that is no number above 0.
    """
    _check(means, losses)
    check(bool((losses > 0).all()), "losses", float(losses.min()), "above 0")
    aims = np.log(losses)
    aims = aims - aims.mean()
    left, singular, right = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)
    fits = []
    for ridge in (0.0, *(_RIDGES * max(float(singular[0]) ** 2, 1e-300) * 0.01)):
        kept = np.divide(
            singular, singular**2 + ridge, where=singular > 1e-9 * singular[0], out=np.zeros_like(singular)
        )
        hat = (left**2) @ (kept * singular) + 1 / len(aims)
        residuals = (aims - left @ (kept * singular * (left.T @ aims))) / np.maximum(1 - hat, 1e-9)
        fits.append((float(np.mean(residuals**2)), -(right.T @ (kept * (left.T @ aims))), aims - residuals))
    _, rule, foretold = min(fits, key=lambda found: found[0])
    return Fit(rule, spearman(foretold, aims))


def _kernel_fits(distances: np.ndarray, aims: np.ndarray):  # type: ignore[no-untyped-def]  # noqa: ANN202
    """(leave-one-out error, width, dual weights, what is foretold for each run from the others) of each setting."""
    for width in _WIDTHS:
        values, vectors = np.linalg.eigh(np.exp(-distances / width))
        for ridge in _RIDGES:
            inverse = (vectors / (np.maximum(values, 0) + ridge)) @ vectors.T
            residuals = (inverse @ aims) / np.diag(inverse)
            yield float(np.mean(residuals**2)), width, inverse @ aims, aims - residuals


def _check(rows: np.ndarray, losses: np.ndarray) -> None:
    check(len(losses) >= _MIN_RUNS, "runs", len(losses), f"at least {_MIN_RUNS}")
    check(len(rows) == len(losses), "losses", len(losses), f"as many as there are runs, {len(rows)}")
    check(bool(np.isfinite(losses).all()), "losses", losses.tolist(), "numbers")
