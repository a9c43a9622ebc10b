"""Open-addressing lookup of well-mixed 64-bit keys; the keys stay in their own array, the table holds positions."""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def build(keys):
    """Slots [power of two, at least twice the keys] int32: position of a key plus 1, or 0.

    Args:
        keys: distinct, well-mixed uint64 [keys]; at most 2^30.
    """
    size = 16
    while size < 2 * len(keys):
        size *= 2
    slots = np.zeros(size, np.int32)
    mask = np.uint64(size - 1)
    for position in range(len(keys)):
        slot = keys[position] & mask
        while slots[slot]:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = position + 1
    return slots


@njit(nogil=True, cache=True, inline="always")
def find(keys, slots, key):
    """Position of `key` in `keys`, or -1."""
    mask = np.uint64(len(slots) - 1)
    slot = key & mask
    while slots[slot]:
        position = slots[slot] - 1
        if keys[position] == key:
            return position
        slot = (slot + np.uint64(1)) & mask
    return -1


@njit(nogil=True, cache=True)
def count_documents(hashes, starts, keys, slots, counts):
    """Adds to `counts` [keys], for each key, the number of documents that have it among their hashes.

    Args:
        hashes, starts: hashes of all documents [hashes] and where each document's start [documents + 1].
        keys, slots: what is looked for, and `build(keys)`.
        counts: int64, changed in place.
    """
    last_row = np.full(len(keys), -1, np.int64)
    for row in range(len(starts) - 1):
        for i in range(starts[row], starts[row + 1]):
            position = find(keys, slots, hashes[i])
            if position >= 0 and last_row[position] != row:
                last_row[position] = row
                counts[position] += 1


@njit(nogil=True, cache=True)
def count_members(hashes, starts, keys, slots, groups, num_groups):
    """How many of each document's hashes are among `keys`, per group of keys.

    Args:
        groups: bit g of groups[position] says that the key belongs to group g [keys], uint32.

    Returns:
        int64 [documents, num_groups + 1]: hashes found in each group and, last, found at all.
    """
    found = np.zeros((len(starts) - 1, num_groups + 1), np.int64)
    for row in range(len(starts) - 1):
        for i in range(starts[row], starts[row + 1]):
            position = find(keys, slots, hashes[i])
            if position >= 0:
                found[row, num_groups] += 1
                for g in range(num_groups):
                    found[row, g] += (groups[position] >> np.uint32(g)) & np.uint32(1)
    return found
