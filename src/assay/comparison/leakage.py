"""Whether a model knows the order of a benchmark's options: statistics on the log probabilities of reordered items.

Paper: Training on the Benchmark Is Not All You Need, Ni et al. 2024 (arXiv:2409.01790), sections 3.2 and 3.3. Authors'
code: nishiwen1214/Benchmark-leakage-detection at 116a04a. An item is judged by the log probabilities of its options in
several orders. The paper's first rule flags it where the published order is the likeliest; its second, for items whose
published order may not be what the model has read, where the likeliest order is an outlier among the others.

What differs:
- First rule: of n orders, one is the likeliest by chance in an n-th of the items. So the count is tested (exactly, also
  where items have different n, or two orders are level) and the share is given with its excess over chance.
- Second rule: the paper asks an isolation forest and a threshold, which flag 29 to 68 % of items of which no order is
  known. Here the likeliest order's distance from the next is compared with the same distance at the other end: what no
  order is known of has no more outliers above than below. The null comes from swapping the ends of items, whatever the
  distribution of scores, as long as it is not skewed; no item's own scores are called normal.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from assay.comparison.statistics import LEVEL, Interval

MIN_ORDERS = 6  # of the second rule: with the two orders of two options there is no distance to compare with
_TIE = 1e-4  # nats: less is rounding
_STEPS = 60  # halvings of an interval


class Finding(NamedTuple):
    """What a rule says of a benchmark.

    num_items: judged. flagged: of these. share: that is, with its 95 % interval. expected: share by chance. excess: the
    share of items whose order is known, by this rule, with its 95 % interval. p_value: of as many by chance, one-sided.
    """

    num_items: int
    flagged: int
    share: Interval
    expected: float
    excess: Interval
    p_value: float


def is_first_best(scores: Sequence[np.ndarray]) -> np.ndarray:
    """Whether the first of an item's scores is above all others [items] bool; what is level with it tells nothing.

    Args:
        scores: log probability of each order of each item, the published one first; at least two an item.
    """
    return np.array([own[0] > own[1:].max() + _TIE for own in scores], np.bool_)


def first_chances(scores: Sequence[np.ndarray]) -> np.ndarray:
    """Chance of each item's first score to be above all others if no order is special [items]; 0 where the two highest
    are level, as they often are under a model that knows nothing of the options.
    """
    ends = [np.partition(own, -2)[-2:] for own in scores]
    return np.array([(high > next_ + _TIE) / len(own) for own, (next_, high) in zip(scores, ends, strict=True)])


def judge_first(is_best: np.ndarray, chances: np.ndarray) -> Finding:
    """The first rule over a benchmark: published orders that are the likeliest, against as many by chance.

    Args:
        is_best: as of `is_first_best` [items]. chances: as of `first_chances` [items].
    """
    number, flagged = len(is_best), int(is_best.sum())
    chance = float(np.mean(chances))
    share = share_interval(flagged, number)
    excess = Interval(*((value - chance) / (1 - chance) for value in share))
    return Finding(number, flagged, share, chance, excess, count_tail(flagged, chances))


def end_gaps(scores: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """How far the highest score of an item is from the next, and the lowest from its next, and in what units.

    Returns:
        gaps [items, 2], each in units of its own side, and the units [items, 2]: how far the quarter of the scores next
        to that end is from the median, on average. Where scores are skewed, so are the units. NaN where there are fewer
        than six orders.
    """
    gaps, units = np.full((len(scores), 2), np.nan), np.full((len(scores), 2), np.nan)
    for k, own in enumerate(scores):
        if len(own) >= MIN_ORDERS:
            ordered = np.sort(own) - np.median(own)
            quarter = len(own) // 4
            units[k] = ordered[-1 - quarter : -1].mean(), -ordered[1 : 1 + quarter].mean()
            gaps[k] = ordered[-1] - ordered[-2], ordered[1] - ordered[0]
    units = np.maximum(units, _TIE)
    return gaps / units, units


def gap_p_values(gaps: np.ndarray, num_orders: np.ndarray) -> np.ndarray:
    """How rare a gap at the top is among gaps at the bottom of items with as many orders [items]; NaN where no gap is.

    Args:
        gaps: as of `end_gaps` [items, 2]. num_orders: of each item [items].
    """
    found = np.full(len(gaps), np.nan)
    is_known = ~np.isnan(gaps[:, 0])
    for orders in np.unique(num_orders[is_known]):
        own = is_known & (num_orders == orders)
        below = np.sort(gaps[own, 1])
        found[own] = (1 + len(below) - np.searchsorted(below, gaps[own, 0])) / (1 + len(below))
    return found


def judge_gaps(gaps: np.ndarray, p_values: np.ndarray, level: float, num_replicates: int = 2000) -> Finding:
    """The second rule over a benchmark: items whose top gap has a p-value up to `level`.

    The test (McNemar's, exact): of the items in which one end only is beyond the limit that `level` of all ends exceed,
    half have it at the top by chance. The excess is (a - b) / (1 - b), with a and b the shares of items whose top and
    whose bottom are beyond the limit that `level` of the bottoms exceed; its interval draws the items anew.
    """
    known = gaps[~np.isnan(p_values)]
    if not len(known):
        nothing = Interval(math.nan, math.nan, math.nan)
        return Finding(0, 0, nothing, level, nothing, math.nan)
    is_beyond = known > np.quantile(known, 1 - level)
    above, below = (int((is_beyond[:, k] & ~is_beyond[:, 1 - k]).sum()) for k in (0, 1))
    p_value = count_tail(above, np.full(above + below, 0.5))
    flagged = int((p_values <= level).sum())
    is_beyond = known > np.quantile(known[:, 1], 1 - level)
    kinds = np.bincount(is_beyond @ [2, 1], minlength=4) / len(known)  # neither, bottom, top, both
    drawn = np.random.default_rng(0).multinomial(len(known), kinds, num_replicates) / len(known)
    low, high = np.quantile(_excess(drawn), ((1 - LEVEL) / 2, (1 + LEVEL) / 2)).tolist()
    excess = Interval(float(_excess(kinds[None])[0]), low, high)
    return Finding(len(known), flagged, share_interval(flagged, len(known)), level, excess, p_value)


def _excess(kinds: np.ndarray) -> np.ndarray:
    """Excess of tops beyond the limit, from shares of items with neither end beyond it, the bottom, the top, both."""
    top, bottom = kinds[:, 2] + kinds[:, 3], kinds[:, 1] + kinds[:, 3]
    return (top - bottom) / np.maximum(1 - bottom, 1e-9)


def count_tail(count: int, chances: np.ndarray) -> float:
    """Probability of at least `count` successes in independent trials with these chances [trials]; exact.

    >>> round(count_tail(2, np.array([0.5, 0.5, 0.5])), 3)
    0.5
    """
    distribution = np.ones(1)
    for chance, number in zip(*np.unique(chances, return_counts=True), strict=True):
        distribution = np.convolve(distribution, _binomial(int(number), float(chance)))
    return min(1.0, float(distribution[count:].sum()))


def share_interval(count: int, number: int) -> Interval:
    """A share and its exact 95 % interval (Clopper and Pearson 1934).

    >>> [round(x, 3) for x in share_interval(5, 10)]
    [0.5, 0.187, 0.813]
    """
    if not number:
        return Interval(math.nan, math.nan, math.nan)
    tail = (1 - LEVEL) / 2
    low = 0.0 if not count else _solve(lambda p: _binomial(number, p)[count:].sum() < tail)
    high = 1.0 if count == number else _solve(lambda p: _binomial(number, p)[: count + 1].sum() > tail)
    return Interval(count / number, low, high)


def _binomial(number: int, chance: float) -> np.ndarray:
    """Probabilities of 0 to `number` successes [number + 1]."""
    if not number or chance in (0.0, 1.0):
        return np.eye(number + 1)[number if chance == 1.0 else 0]
    factorials = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, number + 1)))))
    k = np.arange(number + 1)
    choices = factorials[-1] - factorials - factorials[::-1]
    return np.exp(choices + k * math.log(chance) + (number - k) * math.log1p(-chance))


def _solve(is_below: Callable[[float], bool]) -> float:
    """Where a condition on a chance from 0 to 1 stops to hold."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return (low + high) / 2
