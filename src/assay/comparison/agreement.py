"""How well two rungs of the proxy ladder agree on which of some arms is better.

Pairwise decision accuracy after Magnusson et al. 2025, "DataDecide: How to Predict Best Pretraining Data with Small
Experiments" (arXiv:2504.11393), section 2: of all pairs of arms, the share that both rungs put in the same order. Half
of it is chance. Pairs that the upper rung cannot tell apart say little about the lower one, so the share among the
pairs that it does tell apart is given beside it.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from assay.comparison.statistics import t_quantile
from assay.models.calibration import spearman

_NUM_REPLICATES = 2000


def agreement(lower: Sequence[Mapping[str, Any]], upper: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Agreement of two comparisons of the same arms; None with fewer than two arms in both.

    Args:
        lower, upper: `arms` of comparison.json of each.

    Returns:
        arms: how many. pairs, same_order: how many pairs of arms, and how many of them in the same order.
        told_apart, told_apart_same_order: the same of pairs that the upper rung tells apart: the 95 % interval over
            seeds of their difference, by Student's t, is on one side of 0.
        accuracy, rank_correlation: same_order / pairs and Spearman's, each {estimate, low, high}; intervals by
            resampling the seeds of each comparison.
        disagree: pairs told apart by the upper rung that the lower puts the other way, [better, worse] by the upper.
    """
    by_name = [{arm["name"]: arm["bits_per_byte_by_seed"] for arm in arms} for arms in (lower, upper)]
    names = [name for name in by_name[0] if name in by_name[1]]
    if len(names) < 2:
        return None
    losses = [np.array([found[name] for name in names], np.float64) for found in by_name]
    pairs = list(combinations(range(len(names)), 2))
    a, b = np.array(pairs).T
    means = [rung.mean(axis=1) for rung in losses]
    same = _same_order(means[0], means[1], a, b)
    apart = _told_apart(losses[1], a, b)
    rng = np.random.default_rng(0)
    replicates = []
    for _ in range(_NUM_REPLICATES):
        drawn = [rung[:, rng.integers(0, rung.shape[1], rung.shape[1])].mean(axis=1) for rung in losses]
        replicates.append([_same_order(drawn[0], drawn[1], a, b).mean(), _correlation(drawn[0], drawn[1])])
    low, high = np.nanquantile(replicates, [0.025, 0.975], axis=0)
    estimates = (same.mean(), _correlation(means[0], means[1]))
    accuracy, correlation = (
        {"estimate": float(value), "low": float(low[k]), "high": float(high[k])} for k, value in enumerate(estimates)
    )
    wrong = [sorted(pairs[k], key=lambda arm: means[1][arm]) for k in np.flatnonzero(apart & ~same)]
    return {
        "arms": len(names),
        "pairs": len(pairs),
        "same_order": int(same.sum()),
        "told_apart": int(apart.sum()),
        "told_apart_same_order": int((apart & same).sum()),
        "accuracy": accuracy,
        "rank_correlation": correlation,
        "disagree": [[names[k] for k in pair] for pair in wrong],
    }


def _correlation(lower: np.ndarray, upper: np.ndarray) -> float:
    """Spearman's; NaN where all arms of a rung are equal."""
    found = spearman(lower, upper)
    return float("nan") if found is None else found


def _same_order(lower: np.ndarray, upper: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Whether both put each pair the same way [pairs]."""
    same: np.ndarray = np.sign(lower[a] - lower[b]) == np.sign(upper[a] - upper[b])
    return same


def _told_apart(losses: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Whether the arms of each pair differ by more than chance, over seeds that they share [pairs]."""
    num_seeds = losses.shape[1]
    difference = losses[a] - losses[b]
    error = difference.std(axis=1, ddof=1) / np.sqrt(num_seeds)
    told: np.ndarray = np.abs(difference.mean(axis=1)) > t_quantile(0.975, num_seeds - 1) * error
    return told
