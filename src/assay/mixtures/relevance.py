"""How much of each source a target is made of, few sources if few do: the lasso of active multi-task learning.

Paper: Improved Active Multi-Task Representation Learning via Lasso, Wang et al. 2023 (arXiv:2306.02556). Tasks share a
representation; each source t has a head w_t on it, the target w_0. The relevance nu of the sources is the lightest sum
of heads that gives the target's, and what is drawn of each source goes with it:

    nu = argmin ||W nu - w_0||^2 / (2 n) + penalty * ||nu||_1,   tokens_t = total * |nu_t| / ||nu||_1, and never too few

(the paper writes the square without the n, scikit-learn with it; W is [n, sources]). L1 stands where Chen et al. 2022
(arXiv:2202.00911) have L2 and draw by nu^2, which spreads text over sources that say the same.

What differs:
- There are no heads here, so a task is told by any vector of n figures that all tasks have: what n runs lost on it
  (`of_losses`), mean embeddings, n-gram probabilities.
- `of_weights` is another reading of a table of runs, not the paper's: the target's loss on the weights of the runs, at
  least 0, so that the source that does least good gets none. It goes by square roots of weights, as losses bend, scaled
  to one deviation: on RegMix's table (17 sources, 13 of them tested on) with 64 runs each domain's own text then comes
  first for 12 or 13 of 13, by the folds, and 81 % of the variance is explained; by the weights as they are for 9 of 13,
  and 54 %.
- Costs. The paper bounds the target's risk by the sum of nu_t^2 / tokens_t. With a price c_t a token that is least, at
  a given cost, for tokens_t ~ |nu_t| / sqrt(c_t), and then it is (sum of sqrt(c_t) |nu_t|)^2 / cost. So the penalty of
  a source is multiplied by the root of its price. This step is ours.
- The penalty is the one with the least squared error in cross-validation over the n figures.

Cost: milliseconds to a second.

When not to use: with fewer figures than two for each source, and to find the best mixture: budgets by relevance say
what a target is made of, not where a curve bends (`docs/ablations.md` for that).
"""

from typing import NamedTuple

import numpy as np

from assay.errors import InvalidParameterError, check, check_integer, check_number
from assay.mixtures.folds import folds
from assay.mixtures.runs import Runs

_NUM_PENALTIES = 40
_LEAST_PENALTY = 1e-4  # of the one at which every nu is 0
_NUM_FOLDS = 5
_MIN_FIGURES = 8
_MAX_SWEEPS = 10_000
_SAME = 1e-9  # deviation of a weight that does not vary
_TOLERANCE = 1e-10  # of a nu's change, in units of what the target's figures vary by


class Relevance(NamedTuple):
    """What a target is made of.

    nu: relevance of each source [sources], in units of the target by units of the source. penalty: of its L1 norm.
    explained: share of the target's variance that figures foretell which were left out of the fit; at or below 0 the
    sources say nothing about the target.
    """

    nu: np.ndarray
    penalty: float
    explained: float


def relevance(
    sources: np.ndarray,
    target: np.ndarray,
    *,
    costs: np.ndarray | None = None,
    at_least_zero: bool = False,
    penalty: float | None = None,
    seed: int = 0,
) -> Relevance:
    """Lasso of a target on sources, with a constant besides that is not penalised.

    Args:
        sources: figures of each source [figures, sources]. target: the same figures of the target [figures].
        costs: price of a token of each source [sources], above 0; default all alike.
        at_least_zero: whether a relevance below 0 makes no sense.
        penalty: default by cross-validation. seed: of its folds.

    Raises:
        InvalidParameterError: fewer than 8 figures, figures that are no numbers or all the same, bad costs.
    """
    _check_figures(sources, target)
    roots = np.sqrt(_costs(costs, sources.shape[1]))
    roots = roots / roots.mean()
    scaled = sources / roots  # the penalty of a scaled column is the same for all
    if penalty is None:
        penalties = _penalties(scaled, target)
    else:
        check_number("penalty", penalty, "a number above 0", lambda x: x > 0)
        penalties = np.array([penalty])
    foretold = np.empty((len(penalties), len(target)))
    for rows in folds(sources, _NUM_FOLDS, seed):
        is_in = np.isin(np.arange(len(target)), rows, invert=True)
        for k, (nu, constant) in enumerate(_path(scaled[is_in], target[is_in], penalties, at_least_zero)):
            foretold[k, rows] = scaled[rows] @ nu + constant
    errors = ((foretold - target) ** 2).mean(axis=1)
    best = int(np.argmin(errors))
    penalty, error = float(penalties[best]), float(errors[best])
    nu = lasso(scaled, target, penalty, at_least_zero=at_least_zero)[0] / roots
    return Relevance(nu, penalty, 1 - error / float(target.var()))


def of_losses(
    runs: Runs, metric: str, sources: tuple[str, ...], *, costs: np.ndarray | None = None, seed: int = 0
) -> Relevance:
    """Relevance of sources to a metric, each told by what the runs lost on it [sources].

    Args:
        metric: the target's. sources: the metric of each source's own held-out text, such as "source:books".

    Raises:
        InvalidParameterError: an unknown metric, fewer than 8 runs.
    """
    columns = np.stack([runs.loss(name) for name in sources], axis=1)
    return relevance(columns, runs.loss(metric), costs=costs, at_least_zero=True, seed=seed)


def of_weights(runs: Runs, metric: str | None = None, *, costs: np.ndarray | None = None, seed: int = 0) -> Relevance:
    """How much of a metric the usual changes of each source's weight save [sources].

    The deviation of the square root of a source's weight over the runs is 1 of it; 0 for a source whose weight is the
    same in all runs, of which nothing can be told.

    Args:
        metric: default the mean of all.

    Raises:
        InvalidParameterError: an unknown metric, fewer than 8 runs.
    """
    roots = np.sqrt(runs.weights)
    deviations = roots.std(axis=0)
    scaled = np.divide(roots, deviations, out=np.zeros_like(roots), where=deviations > _SAME)
    return relevance(scaled, -runs.loss(metric), costs=costs, at_least_zero=True, seed=seed)


def budgets(nu: np.ndarray, total: float, *, costs: np.ndarray | None = None, at_least: float = 0.0) -> np.ndarray:
    """What to draw of each source by its relevance [sources].

    Args:
        total: what all cost together; where costs are all 1, tokens. costs: price of a token [sources].
        at_least: tokens of every source, however irrelevant.

    Returns:
        tokens [sources], in proportion to |nu| / sqrt(cost) above `at_least`; they cost `total`.

    Raises:
        InvalidParameterError: no source has any relevance, or the least alone costs more than the total.

    >>> budgets(np.array([0.6, -0.2, 0.0]), 100, at_least=10).round(2).tolist()
    [67.5, 22.5, 10.0]
    """
    check(bool(np.isfinite(nu).all()), "nu", nu.tolist(), "numbers")
    prices = _costs(costs, len(nu))
    check_number("total", total, "a number above 0", lambda x: x > 0)
    check_number("at_least", at_least, "a number of at least 0", lambda x: x >= 0)
    if not nu.any():
        raise InvalidParameterError("No source is relevant to the target. Take more runs, or equal weights.")
    if (least := at_least * prices.sum()) > total:
        raise InvalidParameterError(
            f"{at_least:g} tokens of every source cost {least:g}, more than `total` (={total:g})."
        )
    wanted = np.abs(nu) / np.sqrt(prices)
    is_free = np.ones(len(nu), np.bool_)  # gets more than the least
    tokens = np.full(len(nu), at_least, np.float64)
    while True:
        left = total - at_least * prices[~is_free].sum()
        scale = left / (wanted * prices)[is_free].sum()
        is_short = is_free & (wanted * scale < at_least)
        if not is_short.any():
            tokens[is_free] = wanted[is_free] * scale
            return tokens
        is_free &= ~is_short


def lasso(
    sources: np.ndarray,
    target: np.ndarray,
    penalty: float,
    *,
    at_least_zero: bool = False,
    start: np.ndarray | None = None,
) -> tuple[np.ndarray, float]:
    """(nu, constant) with the least ||sources nu + constant - target||^2 / (2 figures) + penalty * ||nu||_1.

    By coordinate descent (Friedman, Hastie and Tibshirani 2010), from `start` [sources], default zeros.
    """
    centre, height = sources.mean(axis=0), target.mean()
    design, aims = sources - centre, target - height
    gram, pull = design.T @ design / len(aims), design.T @ aims / len(aims)
    nu = np.zeros(len(pull)) if start is None else start.copy()
    enough = _TOLERANCE * float(aims.std())
    for _ in range(_MAX_SWEEPS):
        most = 0.0
        for j in np.flatnonzero(gram.diagonal() > 0):
            old = nu[j]
            slope = pull[j] - gram[j] @ nu + gram[j, j] * old
            size = max(abs(slope) - penalty, 0.0)
            nu[j] = 0.0 if at_least_zero and slope < 0 else np.sign(slope) * size / gram[j, j]
            most = max(most, abs(nu[j] - old) * float(np.sqrt(gram[j, j])))
        if most <= enough:
            break
    return nu, float(height - centre @ nu)


def _path(sources: np.ndarray, target: np.ndarray, penalties: np.ndarray, at_least_zero: bool):  # type: ignore[no-untyped-def]  # noqa: ANN202
    """Fits for falling penalties, each from the last."""
    nu = None
    for penalty in penalties:
        nu, constant = lasso(sources, target, penalty, at_least_zero=at_least_zero, start=nu)
        yield nu, constant


def _penalties(sources: np.ndarray, target: np.ndarray) -> np.ndarray:
    """From the one at which every nu is 0, falling."""
    most = float(np.abs((sources - sources.mean(axis=0)).T @ (target - target.mean())).max()) / len(target)
    if most <= 0:
        raise InvalidParameterError("No source's figures go with the target's. Take other figures, or more runs.")
    return np.geomspace(most, most * _LEAST_PENALTY, _NUM_PENALTIES)


def _costs(costs: np.ndarray | None, num: int) -> np.ndarray:
    if costs is None:
        return np.ones(num)
    check(costs.shape == (num,), "costs", costs.shape, f"a price for each of {num} sources")
    check(bool(np.isfinite(costs).all() and (costs > 0).all()), "costs", costs.tolist(), "numbers above 0")
    return costs


def _check_figures(sources: np.ndarray, target: np.ndarray) -> None:
    check(
        sources.ndim == 2 and target.shape == sources.shape[:1], "target", target.shape, "as many as sources has rows"
    )
    check_integer("figures", len(target), _MIN_FIGURES)
    for name, values in (("sources", sources), ("target", target)):
        check(bool(np.isfinite(values).all()), name, values.tolist(), "numbers")
    check(float(np.ptp(target)) > 0, "target", target.tolist(), "figures that are not all the same")
