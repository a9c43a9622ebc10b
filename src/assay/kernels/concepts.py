"""Which of a list of phrases a document has, by hashes of runs of words."""

from numba import njit

from assay.kernels.hashtable import find


@njit(nogil=True, cache=True)
def add_members(hashes, starts, keys, slots, weights, last_rows, sums, numbers):
    """Adds to each document the weights of those keys that are among its hashes, each once, and how many these are.

    Args:
        hashes, starts: hashes of all documents [hashes] and where each document's start [documents + 1].
        keys, slots: what is looked for, and `hashtable.build(keys)`. weights: of the keys [keys] float64.
        last_rows: -1 for each key [keys] int64, changed. sums [documents] float64, numbers [documents] int64: changed.
    """
    for row in range(len(starts) - 1):
        for i in range(starts[row], starts[row + 1]):
            position = find(keys, slots, hashes[i])
            if position >= 0 and last_rows[position] != row:
                last_rows[position] = row
                sums[row] += weights[position]
                numbers[row] += 1
