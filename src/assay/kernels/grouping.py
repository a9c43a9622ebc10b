"""Records with equal keys, found in the memory of one partition; and the components that pairs connect."""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def by_partition(keys, num_partitions):
    """An order of records in which partitions follow each other, stable within one.

    The partition of a record is the high half of its first key scaled to [0, num_partitions).

    Args:
        keys: well-mixed keys [records, words of a record] uint64. num_partitions: below 2^32.

    Returns:
        order [records] int64, and where each partition starts in it [partitions + 1] int64.
    """
    scale = np.uint64(num_partitions)
    starts = np.zeros(num_partitions + 1, np.int64)
    for i in range(len(keys)):
        starts[np.int64(((keys[i, 0] >> np.uint64(32)) * scale) >> np.uint64(32)) + 1] += 1
    for p in range(num_partitions):
        starts[p + 1] += starts[p]
    following = starts[:-1].copy()
    order = np.empty(len(keys), np.int64)
    for i in range(len(keys)):
        p = np.int64(((keys[i, 0] >> np.uint64(32)) * scale) >> np.uint64(32))
        order[following[p]] = i
        following[p] += 1
    return order, starts


@njit(nogil=True, cache=True)
def take_records(records, order):
    """Records in another order [records, words]; numpy's own indexing takes four times as long."""
    taken = np.empty((len(order), records.shape[1]), records.dtype)
    for i in range(len(order)):
        for k in range(records.shape[1]):
            taken[i, k] = records[order[i], k]
    return taken


@njit(nogil=True, cache=True)
def equal_keys(records, width):
    """Numbers records so that those with the same key, their first `width` words, have the same number.

    Args:
        records: uint64 [records, words]; the first word well mixed. At most 2^30 records.

    Returns:
        group of each record [records] int32, numbered by first occurrence, and how many there are.
    """
    size = 16
    while size < 2 * len(records):
        size *= 2
    mask = np.uint64(size - 1)
    slots = np.zeros(size, np.int32)  # position of the first record of a key, plus 1
    groups = np.empty(len(records), np.int32)
    num_groups = 0
    for i in range(len(records)):
        slot = records[i, 0] & mask
        while True:
            first = slots[slot] - 1
            if first < 0:
                slots[slot] = i + 1
                groups[i] = num_groups
                num_groups += 1
                break
            same = True
            for k in range(width):
                same &= records[first, k] == records[i, k]
            if same:
                groups[i] = groups[first]
                break
            slot = (slot + np.uint64(1)) & mask
    return groups, num_groups


@njit(nogil=True, cache=True)
def least_in_group(groups, num_groups, order):
    """Position of the record with the least `order` in each group [groups] int64; of equals the first."""
    least = np.full(num_groups, -1, np.int64)
    for i in range(len(groups)):
        best = least[groups[i]]
        if best < 0 or order[i] < order[best]:
            least[groups[i]] = i
    return least


@njit(nogil=True, cache=True)
def root_of(parents, node):
    """The root of a node's tree; halves the path on the way."""
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node


@njit(nogil=True, cache=True)
def connect(parents, a, b):
    """Joins the trees of the nodes a[i] and b[i], in place; the lesser root becomes the root of both."""
    for i in range(len(a)):
        one, other = root_of(parents, a[i]), root_of(parents, b[i])
        if one < other:
            parents[other] = one
        else:
            parents[one] = other


@njit(nogil=True, cache=True)
def roots(parents):
    """Root of every node [nodes]."""
    result = np.empty_like(parents)
    for node in range(len(parents)):
        result[node] = root_of(parents, node)
    return result
