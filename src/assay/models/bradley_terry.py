"""Strengths from pairwise judgements: P(b preferred to a) = sigmoid(strength of b - strength of a).

Paper: Rank analysis of incomplete block designs, Bradley and Terry 1952. The likelihood is that of a logistic
regression without intercept on differences of indicator vectors, and is maximised by Newton's method, each step solved
by conjugate gradients. The maximum exists where, of the things that judgements connect, each can be reached from each
other along "was not always preferred to" (Ford 1957). Where that does not hold, as when one thing won all its
comparisons, strengths grow without bound; they are then pulled to zero by a penalty, and the result says so. Things
that no chain of judgements connects cannot be compared; each such group has mean 0.

Cost: a million judgements of 100,000 things take seconds; memory is 100 bytes a judgement.
"""

from dataclasses import dataclass

import numpy as np

from assay.errors import check

PENALTY = 0.01  # times strength squared / 2: one thing against an equal one, 1 to 0, gets about +2.6 and -2.6
_MAX_STEPS = 100
_TOLERANCE = 1e-9  # of the gradient, in comparisons
_EQUAL = 1e-6  # strengths that differ by less differ by rounding


@dataclass(frozen=True)
class Strengths:
    """What judgements say.

    values: strength of each thing [things], mean 0 in each group.
    groups: the group of each thing [things], 0 to num_groups - 1; strengths of different groups cannot be compared.
    is_penalised: the likelihood has no maximum, so that a penalty was needed.
    """

    values: np.ndarray
    groups: np.ndarray
    is_penalised: bool

    @property
    def num_groups(self) -> int:
        """Groups of things that judgements connect."""
        return int(self.groups.max()) + 1


def fit_strengths(
    first: np.ndarray, second: np.ndarray, shares: np.ndarray, num_things: int, weights: np.ndarray | None = None
) -> Strengths:
    """Strengths under which the judgements are likeliest.

    Args:
        first, second: the two things of each judgement [judgements], 0 to num_things - 1.
        shares: how often the second was preferred [judgements], 0 to 1.
        weights: how many comparisons a judgement stands for [judgements]; default 1.

    Raises:
        InvalidParameterError: no judgements, a thing against itself, shares outside 0 to 1, weights not above 0.
    """
    first, second = np.asarray(first, np.int64), np.asarray(second, np.int64)
    shares = np.asarray(shares, np.float64)
    weights = np.ones(len(shares)) if weights is None else np.asarray(weights, np.float64)
    check(len(shares) > 0, "shares", len(shares), "of at least one judgement")
    check(len(first) == len(second) == len(shares) == len(weights), "shares", len(shares), "one per judgement")
    both = np.concatenate((first, second))
    check(bool(((both >= 0) & (both < num_things)).all()), "first, second", num_things, "positions of things")
    check(bool((first != second).all()), "first, second", "equal", "two different things")
    check(bool(((shares >= 0) & (shares <= 1)).all()), "shares", shares.tolist(), "from 0 to 1")
    check(bool(((weights > 0) & np.isfinite(weights)).all()), "weights", weights.tolist(), "above 0")
    groups = _groups(first, second, num_things)
    is_penalised = not _has_maximum(first, second, shares, groups)
    values = _maximum(first, second, shares, weights, num_things, PENALTY if is_penalised else 0.0)
    means = np.bincount(groups, values) / np.bincount(groups)
    return Strengths(values - means[groups], groups, is_penalised)


def agreement(strengths: Strengths, first: np.ndarray, second: np.ndarray, shares: np.ndarray) -> float | None:
    """Share of decided judgements whose preferred thing is the stronger one: what no rating of things can better by
    much; strengths that are equal prefer nothing. None where all are ties.
    """
    decided = shares != 0.5
    if not decided.any():
        return None
    differences = strengths.values[second] - strengths.values[first]
    ahead = np.where(shares > 0.5, differences, -differences)[decided]
    return float(np.mean(ahead > _EQUAL))


def _groups(first: np.ndarray, second: np.ndarray, num_things: int) -> np.ndarray:
    """Connected groups, numbered by their first thing [things]."""
    labels = np.arange(num_things)
    while True:
        lowest = labels.copy()
        low = np.minimum(labels[first], labels[second])
        np.minimum.at(lowest, first, low)
        np.minimum.at(lowest, second, low)
        np.minimum.at(lowest, labels, lowest)  # a group's name follows its members, so that long chains are short
        lowest = lowest[lowest]
        if (lowest == labels).all():
            return np.unique(labels, return_inverse=True)[1]
        labels = lowest


def _has_maximum(first: np.ndarray, second: np.ndarray, shares: np.ndarray, groups: np.ndarray) -> bool:
    """Whether in each group every thing can be reached from its first along edges winner to loser, and back."""
    roots = np.unique(groups, return_index=True)[1]
    loses, wins = shares < 1, shares > 0  # of the second at least once
    winners = np.concatenate((second[wins], first[loses]))
    losers = np.concatenate((first[wins], second[loses]))
    there, back = (_reached(*edges, roots, len(groups)) for edges in ((winners, losers), (losers, winners)))
    return bool(there.all() and back.all())


def _reached(sources: np.ndarray, aims: np.ndarray, roots: np.ndarray, num_things: int) -> np.ndarray:
    """Which things can be reached from the roots [things], breadth first."""
    order = np.argsort(sources, kind="stable")
    aims, starts = aims[order], np.searchsorted(sources[order], np.arange(num_things + 1))
    is_reached = np.zeros(num_things, np.bool_)
    is_reached[roots] = True
    front = roots
    while len(front):
        sizes = starts[front + 1] - starts[front]
        offsets = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        found = np.unique(aims[np.repeat(starts[front], sizes) + offsets])
        front = found[~is_reached[found]]
        is_reached[front] = True
    return is_reached


def _maximum(
    first: np.ndarray, second: np.ndarray, shares: np.ndarray, weights: np.ndarray, num_things: int, penalty: float
) -> np.ndarray:
    """Newton's method with steps halved until the likelihood grows."""

    def scattered(per_judgement: np.ndarray) -> np.ndarray:
        return np.bincount(second, per_judgement, num_things) - np.bincount(first, per_judgement, num_things)

    def loss(values: np.ndarray) -> float:
        margins = values[second] - values[first]
        return float((weights * (np.logaddexp(0, margins) - shares * margins)).sum() + penalty / 2 * values @ values)

    values = np.zeros(num_things)
    current = loss(values)
    for _ in range(_MAX_STEPS):
        chances = 1 / (1 + np.exp(-np.clip(values[second] - values[first], -700, 700)))
        gradient = scattered(weights * (chances - shares)) + penalty * values
        if np.abs(gradient).max() < _TOLERANCE * max(1.0, weights.max()):
            break
        curvature = weights * np.maximum(chances * (1 - chances), 1e-12)
        step = _solve(first, second, curvature, gradient, penalty)
        size = 1.0
        while (lower := loss(values - size * step)) > current and size > 1e-8:
            size /= 2
        if size <= 1e-8:
            break
        values, current = values - size * step, lower
    return values


def _solve(
    first: np.ndarray, second: np.ndarray, curvature: np.ndarray, gradient: np.ndarray, penalty: float
) -> np.ndarray:
    """The Newton step by conjugate gradients: the curvature is a graph's Laplacian, whose null space the gradient is
    orthogonal to.
    """
    num_things = len(gradient)
    diagonal = np.bincount(first, curvature, num_things) + np.bincount(second, curvature, num_things) + penalty
    diagonal[diagonal == 0] = 1.0  # a thing that nothing was compared with
    step, residual = np.zeros(num_things), gradient.copy()
    direction = residual / diagonal
    product = residual @ direction
    aim = product * 1e-18
    for _ in range(10 * num_things + 100):
        if product <= aim or product == 0:
            break
        flow = curvature * (direction[second] - direction[first])
        image = np.bincount(second, flow, num_things) - np.bincount(first, flow, num_things) + penalty * direction
        bend = direction @ image
        if bend <= 1e-15 * (direction @ direction) * diagonal.max():  # only rounding is left, along the null space
            break
        length = product / bend
        step += length * direction
        residual -= length * image
        scaled = residual / diagonal
        following = residual @ scaled
        direction = scaled + following / product * direction
        product = following
    return step
