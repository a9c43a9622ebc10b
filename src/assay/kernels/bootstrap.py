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
    columns = np.ascontiguousarray(bits.reshape(num_cells * num_seeds, num_items).T)
    weights = np.ones(num_items)
    whole = _rates(columns, sizes, weights, groups, num_groups).reshape(num_cells, num_seeds)
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
        rates = _rates(columns, sizes, weights, groups, num_groups).reshape(num_cells, num_seeds)
        for cell in range(num_cells):
            for s in range(num_seeds):
                by_seed[r, cell] += drawn[s] / num_seeds * whole[cell, s]
                by_both[r, cell] += drawn[s] / num_seeds * rates[cell, s]
    return by_seed, by_both


@njit(nogil=True, cache=True)
def _rates(columns, sizes, weights, groups, num_groups):
    """Weighted bits per byte of each run, mean over groups [runs]; `columns` is [items, runs], so runs go abreast."""
    num_items, num_runs = columns.shape
    totals = np.zeros((num_groups, num_runs))
    lengths = np.zeros(num_groups)
    for i in range(num_items):
        weight = weights[i]
        if weight:
            lengths[groups[i]] += weight * sizes[i]
            row = totals[groups[i]]
            for k in range(num_runs):
                row[k] += weight * columns[i, k]
    rates = np.zeros(num_runs)
    for g in range(num_groups):
        rates += totals[g] / lengths[g] / num_groups
    return rates
