"""Records with equal keys, found in the memory of one partition; trees of documents; and stars of edges."""

import numpy as np
from numba import njit


def partition_of(keys, num_partitions):
    """Partition of each well-mixed key [keys]: its high half scaled to [0, num_partitions), which is below 2^32."""
    return ((keys >> np.uint64(32)) * np.uint64(num_partitions) >> np.uint64(32)).astype(np.int64)


@njit(nogil=True, cache=True)
def by_partition(partitions, num_partitions):
    """An order of records in which partitions follow each other, stable within one.

    Args:
        partitions: of each record [records], from 0 to below `num_partitions`.

    Returns:
        order [records] int64, and where each partition starts in it [partitions + 1] int64.
    """
    starts = np.zeros(num_partitions + 1, np.int64)
    for i in range(len(partitions)):
        starts[partitions[i] + 1] += 1
    for p in range(num_partitions):
        starts[p + 1] += starts[p]
    following = starts[:-1].copy()
    order = np.empty(len(partitions), np.int64)
    for i in range(len(partitions)):
        order[following[partitions[i]]] = i
        following[partitions[i]] += 1
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
def roots(parents):
    """Root of every node [nodes]."""
    result = np.empty_like(parents)
    for node in range(len(parents)):
        result[node] = root_of(parents, node)
    return result


def least_neighbours(edges):
    """(node, the lesser of itself and its least neighbour) of every node that comes first in an edge [nodes, 2]."""
    groups, num_groups = equal_keys(edges, 1)
    least = edges[least_in_group(groups, num_groups, edges[:, 1])]
    return np.stack((least[:, 0], least.min(axis=1)), axis=1)


def small_star(edges):
    """Of edges (a, b) with a > b [edges, 2] uint64: every b, and a, with the least b of the same a; each once.

    All edges of a node a must be there.
    """
    groups, num_groups = equal_keys(edges, 1)
    first = least_in_group(groups, num_groups, edges[:, 1])
    least = edges[first, 1][groups]
    rest = edges[:, 1] != least
    return distinct(np.concatenate((edges[first], np.stack((edges[rest, 1], least[rest]), axis=1))))


def large_star(edges):
    """Of edges in both directions: every larger neighbour of a node with the least node that it knows of; each once.

    Returns:
        edges (a, b) with a > b [edges, 2] uint64, and whether a node is left that is in no star: one that knows of a
        lesser node and of yet another one. (That no edge is new is not enough: two stars may still share a ray.)
    """
    groups, num_groups = equal_keys(edges, 1)
    least = edges[least_in_group(groups, num_groups, edges[:, 1])].min(axis=1)[groups]
    up = edges[:, 1] > edges[:, 0]
    is_changed = bool(np.any(least != edges.min(axis=1)))
    return distinct(np.stack((edges[up, 1], least[up]), axis=1)), is_changed


def distinct(records):
    """Every record once [records, 2], in the order of first occurrence; the first word well mixed."""
    groups, num_groups = equal_keys(records, 2)
    return records[least_in_group(groups, num_groups, np.zeros(len(records), np.uint64))]
