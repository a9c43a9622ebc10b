"""Resampled losses of many runs at once, drawn once for all, so that runs stay paired."""

import numpy as np
from numba import njit

from assay.kernels.hashing import GOLDEN, mix64


@njit(nogil=True, cache=True)
def resample(bits, sizes, groups, num_groups, num_replicates, seed):
    """Bits per byte of every cell under resampled seeds, and under resampled seeds and items.

    Seeds are drawn with replacement; items with replacement inside their group. A cell's figure is the mean over drawn
    seeds of the mean over groups of (bits of the drawn items / bytes of the drawn items).

    Args:
        bits: loss [cells, seeds, items] float64. sizes: bytes of each item [items] float64.
        groups: group of each item [items], 0 to num_groups - 1; each has at least one.

    Returns:
        (seeds resampled, seeds and items resampled), each [replicates, cells].
    """
    num_cells, num_seeds, num_items = bits.shape
    members = np.argsort(groups, kind="mergesort")
    firsts = np.searchsorted(groups[members], np.arange(num_groups + 1))
    whole = np.zeros((num_cells, num_seeds))
    weights = np.ones(num_items)
    for cell in range(num_cells):
        for s in range(num_seeds):
            whole[cell, s] = _rate(bits[cell, s], sizes, weights, groups, num_groups)
    by_seed = np.zeros((num_replicates, num_cells))
    by_both = np.zeros((num_replicates, num_cells))
    state = mix64(np.uint64(seed) + GOLDEN)
    drawn = np.zeros(num_seeds, np.int64)
    for r in range(num_replicates):
        drawn[:] = 0
        for _ in range(num_seeds):
            state += GOLDEN
            drawn[np.int64((mix64(state) >> np.uint64(32)) * np.uint64(num_seeds) >> np.uint64(32))] += 1
        weights[:] = 0
        for g in range(num_groups):
            size = firsts[g + 1] - firsts[g]
            for _ in range(size):
                state += GOLDEN
                pick = np.int64((mix64(state) >> np.uint64(32)) * np.uint64(size) >> np.uint64(32))
                weights[members[firsts[g] + pick]] += 1
        for cell in range(num_cells):
            for s in range(num_seeds):
                if drawn[s]:
                    share = drawn[s] / num_seeds
                    by_seed[r, cell] += share * whole[cell, s]
                    by_both[r, cell] += share * _rate(bits[cell, s], sizes, weights, groups, num_groups)
    return by_seed, by_both


@njit(nogil=True, cache=True)
def _rate(bits, sizes, weights, groups, num_groups):
    total = np.zeros(num_groups)
    length = np.zeros(num_groups)
    for i in range(len(bits)):
        total[groups[i]] += weights[i] * bits[i]
        length[groups[i]] += weights[i] * sizes[i]
    rate = 0.0
    for g in range(num_groups):
        rate += total[g] / length[g]
    return rate / num_groups
