"""From losses per seed and held-out item to effects with intervals, P(best), data multipliers and verdicts.

Paired hierarchical bootstrap: each replicate draws seeds and held-out documents with replacement, the same for every
run, so what is compared was trained from the same pool sample and tested on the same text. Seeds are few, and a plain
bootstrap over five of them is too sure of itself; so the part of a replicate's deviation that comes from the seeds is
stretched by sqrt(S / (S - 1)) * t(S - 1) / z, which makes the interval of a mean over seeds the one of Student's t. The
part that comes from the documents is stretched in the same way, by the number of the smallest target's. Noise of single
documents in single runs is counted on both sides (Owen 2007, "The pigeonhole bootstrap"), which makes intervals wide
where it dominates.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from assay.errors import check
from assay.kernels.bootstrap import resample

NUM_REPLICATES = 4000
LEVEL = 0.95
_POWER = 0.8
_Z_LEVEL, _Z_POWER = 1.959964, 0.841621  # standard normal quantiles of 0.975 and 0.8


class Interval(NamedTuple):
    """An estimate and its 95 % interval."""

    estimate: float
    low: float
    high: float


class Multiplier(NamedTuple):
    """How many times the arm's tokens a random selection needs to reach the arm's loss, with its 95 % interval.

    bound: ">=" when even the largest random selection is worse than the arm, "<=" when even the smallest is better,
    else "". low_bound and high_bound say the same of the interval's ends.
    """

    estimate: float
    low: float
    high: float
    bound: str
    low_bound: str
    high_bound: str


@dataclass(frozen=True, kw_only=True)
class Losses:
    """What the runs of a comparison lost on each held-out document.

    bits: [cells, seeds, items]; a cell is an arm at the budget, or the random arm at another budget.
    sizes: UTF-8 bytes [items]. groups: which target each item belongs to [items].
    """

    bits: np.ndarray
    sizes: np.ndarray
    groups: np.ndarray

    def bits_per_byte(self) -> np.ndarray:
        """[cells, seeds]: mean over targets of bits by bytes."""
        names = range(int(self.groups.max()) + 1)
        rates = [self.bits[:, :, self.groups == g].sum(axis=2) / self.sizes[self.groups == g].sum() for g in names]
        return np.mean(rates, axis=0)

    def replicates(self, seed: int = 0, num_replicates: int = NUM_REPLICATES) -> np.ndarray:
        """Bits per byte of every cell in each bootstrap replicate [replicates, cells], as the module says."""
        return self.replicates_for([LEVEL], seed, num_replicates)[0]

    def replicates_for(
        self, levels: Sequence[float], seed: int = 0, num_replicates: int = NUM_REPLICATES
    ) -> list[np.ndarray]:
        """The same replicates, stretched so that intervals of each level are right."""
        num_seeds = self.bits.shape[1]
        check(num_seeds >= 2, "seeds", num_seeds, "at least 2", "One seed cannot tell an effect from chance.")
        by_seed, by_both = resample(
            np.ascontiguousarray(self.bits, np.float64),
            self.sizes.astype(np.float64),
            self.groups.astype(np.int64),
            int(self.groups.max()) + 1,
            num_replicates,
            seed,
        )
        centre = self.bits_per_byte().mean(axis=1)
        num_items = max(2, int(np.bincount(self.groups).min()))
        stretched = []
        for level in levels:
            stretch, widen = (_stretch(number, level) for number in (num_seeds, num_items))
            stretched.append(centre + stretch * (by_seed - centre) + widen * (by_both - by_seed))
        return stretched


def effect(losses: np.ndarray, replicates: np.ndarray, arm: int, baseline: int) -> Interval:
    """Bits per byte that `arm` saves against `baseline`; above zero is better.

    Args:
        losses: mean bits per byte [cells]; replicates: [replicates, cells].
    """
    saved = replicates[:, baseline] - replicates[:, arm]
    low, high = np.quantile(saved, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(losses[baseline] - losses[arm]), float(low), float(high))


def surely_better(losses: Losses, baseline: int, arms: Sequence[int], chance: float) -> list[bool]:
    """Which arms are better than the baseline, when the chance of one false "better" among all of them is `chance`.

    Holm 1979, "A simple sequentially rejective multiple test procedure": with m arms left, those are better whose
    lower bound at level chance / m is above 0; then the same with those that are left, until none is.
    """
    by_number = losses.replicates_for([1 - 2 * chance / m for m in range(1, len(arms) + 1)])
    left = list(range(len(arms)))
    while left:
        replicates, m = by_number[len(left) - 1], len(left)
        lows = {k: np.quantile(replicates[:, baseline] - replicates[:, arms[k]], chance / m) for k in left}
        found = [k for k in left if lows[k] > 0]
        if not found:
            break
        left = [k for k in left if k not in found]
    return [k not in left for k in range(len(arms))]


def verdict(interval: Interval) -> str:
    """ "better", "worse", or "no difference shown" for an effect."""
    if interval.low > 0:
        return "better"
    return "worse" if interval.high < 0 else "no difference shown"


def detectable(interval: Interval) -> float:
    """The effect that a comparison this precise would have shown 8 times in 10, in bits per byte."""
    half_width = (interval.high - interval.low) / 2
    return half_width * (_Z_LEVEL + _Z_POWER) / _Z_LEVEL


def p_best(replicates: np.ndarray, arms: list[int]) -> list[float]:
    """Share of replicates in which each arm has the lowest loss; ties are shared."""
    losses = replicates[:, arms]
    lowest = losses == losses.min(axis=1, keepdims=True)
    return (lowest / lowest.sum(axis=1, keepdims=True)).mean(axis=0).tolist()


def multiplier(
    losses: np.ndarray, replicates: np.ndarray, arm: int, ladder: list[int], budgets: list[int], budget: int
) -> Multiplier:
    """Reads off the random arm's curve at which budget it reaches the arm's loss.

    Args:
        ladder: cells of the random arm at `budgets`, ascending. budget: tokens the arm was trained on.
    """
    estimate = _budget_at(losses[ladder][None], losses[arm][None], budgets)
    samples = _budget_at(replicates[:, ladder], replicates[:, arm], budgets)
    low, high = np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="nearest")
    values = (float(estimate[0]), float(low), float(high))
    times = [value / budget for value in values]
    bounds = ["<=" if value <= budgets[0] else ">=" if value >= budgets[-1] else "" for value in values]
    return Multiplier(times[0], times[1], times[2], bounds[0], bounds[1], bounds[2])


def _stretch(number: int, level: float) -> float:
    """What makes a bootstrap's interval over `number` draws the one of Student's t."""
    quantile = (1 + level) / 2
    z = _Z_LEVEL if level == LEVEL else NormalDist().inv_cdf(quantile)
    return math.sqrt(number / (number - 1)) * t_quantile(quantile, number - 1) / z


def t_quantile(p: float, degrees: int) -> float:
    """Quantile of Student's t, p in (0.5, 1), to 1e-6; by bisection on its integrated density.

    >>> round(t_quantile(0.975, 4), 4)
    2.7764
    """
    # Substituting t = sqrt(degrees) tan(angle) turns the density into cos(angle) ** (degrees - 1).
    angles = np.linspace(0, math.pi / 2, 20_001)
    density = np.cos(angles) ** (degrees - 1)
    area = np.concatenate(([0.0], np.cumsum((density[1:] + density[:-1]) / 2)))
    angle = np.interp((p - 0.5) * 2, area / area[-1], angles)
    return math.sqrt(degrees) * math.tan(float(angle))


def _budget_at(curves: np.ndarray, losses: np.ndarray, budgets: list[int]) -> np.ndarray:
    """Budget at which each falling curve [replicates, budgets] reaches each loss [replicates], ends clipped.

    Straight lines between the points in log budget; a point above an earlier one is noise and is lowered to it.
    """
    falling = np.minimum.accumulate(curves, axis=1)
    logs = np.log(np.array(budgets, np.float64))
    found = np.empty(len(losses))
    for k, (curve, loss) in enumerate(zip(falling, losses, strict=True)):
        # np.interp wants rising x; where the curve is level the smallest budget counts.
        distinct = np.concatenate(([True], np.diff(curve) < 0))
        found[k] = np.interp(-loss, -curve[distinct], logs[distinct])
    result = np.exp(found)
    result[losses <= falling[:, -1]] = budgets[-1]
    result[losses >= falling[:, 0]] = budgets[0]
    return result
