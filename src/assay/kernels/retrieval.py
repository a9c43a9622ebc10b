"""Choosing from ranked lists: round robin among several, and one after another with a penalty for what is alike."""

import numpy as np
from numba import njit

_GRID = 1 << 22


@njit(nogil=True, cache=True)
def round_robin(queues, num_documents, is_turn_lost):
    """Order in which documents are taken from queues that take turns.

    Args:
        queues: documents by number, best first [queues, depth] int64.
        is_turn_lost: a queue whose next document has been taken already loses its turn; else it takes the next that
            has not.

    Returns:
        place of each document from 0 [documents] int64, -1 for one that no queue holds.
    """
    num_queues, depth = queues.shape
    places = np.full(num_documents, -1, np.int64)
    heads = np.zeros(num_queues, np.int64)
    num_taken = 0
    for _ in range(depth):
        for queue in range(num_queues):
            while heads[queue] < depth:
                document = queues[queue, heads[queue]]
                heads[queue] += 1
                if places[document] < 0:
                    places[document] = num_taken
                    num_taken += 1
                    break
                if is_turn_lost:
                    break
    return places


def nearest(cosines, keys, depth):
    """The largest cosines of each list, falling; of equal ones those with the least keys first.

    Args:
        cosines: [documents, lists] float32, of snapped vectors: multiples of 2^-22. keys: [documents] uint64, rising.

    Returns:
        cosines [lists, at most `depth`] float32 and keys [lists, at most `depth`] uint64.
    """
    rank = (-cosines.T.astype(np.float64) * _GRID).astype(np.int64) * len(keys) + np.arange(len(keys))  # no two alike
    if depth < len(keys):
        rank = np.partition(rank, depth - 1, axis=1)[:, :depth]
    rank.sort(axis=1)
    rows = rank % max(1, len(keys))
    return np.take_along_axis(cosines.T, rows, 1), keys[rows]


@njit(nogil=True, cache=True)
def merge_nearest(cosines, keys, other_cosines, other_keys, depth):
    """Two results of `nearest` as one."""
    num_lists, size, other_size = cosines.shape[0], cosines.shape[1], other_cosines.shape[1]
    length = min(depth, size + other_size)
    merged = np.empty((num_lists, length), np.float32)
    merged_keys = np.empty((num_lists, length), np.uint64)
    for row in range(num_lists):
        i, j = 0, 0
        for k in range(length):
            is_other = i == size
            if i < size and j < other_size:
                a, b = cosines[row, i], other_cosines[row, j]
                is_other = b > a or (b == a and other_keys[row, j] < keys[row, i])
            if is_other:
                merged[row, k], merged_keys[row, k] = other_cosines[row, j], other_keys[row, j]
                j += 1
            else:
                merged[row, k], merged_keys[row, k] = cosines[row, i], keys[row, i]
                i += 1
    return merged, merged_keys


@njit(nogil=True, cache=True)
def least_greater(thresholds, value):
    """Position of the first of rising `thresholds` that is greater than `value`."""
    low, high = 0, len(thresholds)
    while low < high:
        middle = (low + high) >> 1
        if thresholds[middle] > value:
            high = middle
        else:
            low = middle + 1
    return low


@njit(nogil=True, cache=True)
def soft_ranks(cosines, thresholds):
    """The rank of each cosine among a sample's cosines with the same item, lower for what lies nearer to the next rank.

    The rank is 1 + the number of greater ones in the sample, less the share of the way from the nearest one that is not
    greater (or -1) to the nearest that is (or a little over 1). So documents between two of the sample do not tie, and
    rounding the result up gives the rank.

    Args:
        cosines: [documents, items] float32. thresholds: rising, of each item [items, sample] float32.

    Returns:
        [documents, items] float64.
    """
    size = thresholds.shape[1]
    result = np.empty(cosines.shape)
    for i in range(cosines.shape[0]):
        for j in range(cosines.shape[1]):
            value = np.float64(cosines[i, j])
            above = least_greater(thresholds[j], cosines[i, j])
            low = np.float64(thresholds[j, above - 1]) if above > 0 else -1.01
            high = np.float64(thresholds[j, above]) if above < size else 1.01
            result[i, j] = 1.0 + (size - above) - (value - low) / (high - low)
    return result
