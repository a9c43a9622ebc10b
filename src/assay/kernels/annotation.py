"""Vote-k and IDEAL: documents chosen one by one from a graph of nearest neighbours, as those worth annotating.

Both scores of a document fall as others are chosen, so both are chosen lazily: of documents whose score was computed
before others were chosen, only the one on top is computed again. Of equal scores the first document is taken.
"""

import numpy as np
from numba import njit

from assay.kernels.hashing import GOLDEN, mix64
from assay.kernels.submodular import sink


def vote_k(neighbours: np.ndarray, num: int, discount: float) -> tuple[np.ndarray, np.ndarray]:
    """Vote-k (Su et al. 2022, arXiv:2209.01975, section 2.1): who has most votes of those that are not spoken for.

    Every document votes for its neighbours. The vote of one that is chosen counts 0, that of any other
    `discount` ** -(how many of its neighbours are chosen).

    Args:
        neighbours: of each document [documents, neighbours] int32. num: how many to take. discount: 1 or more.

    Returns:
        positions [num] int64, and the score of each when it was taken [num] float64.
    """
    voters, starts = _voters(neighbours)
    return _vote_k(neighbours, voters, starts, num, float(discount))


@njit(nogil=True, cache=True)
def _voters(neighbours):
    """Who votes for each document, ascending, one document after the other; and where each one's voters start."""
    starts = np.zeros(len(neighbours) + 1, np.int64)
    for v in range(len(neighbours)):
        for u in neighbours[v]:
            starts[u + 1] += 1
    starts = np.cumsum(starts)
    following = starts[:-1].copy()
    voters = np.empty(starts[-1], np.int32)
    for v in range(len(neighbours)):
        for u in neighbours[v]:
            voters[following[u]] = v
            following[u] += 1
    return voters, starts


@njit(nogil=True, cache=True)
def _vote_k(neighbours, voters, starts, num, discount):
    size = len(neighbours)
    num_chosen = np.zeros(size, np.int64)  # among the neighbours of each
    is_chosen = np.zeros(size, np.bool_)
    bounds = np.empty(size, np.float64)
    for u in range(size):
        bounds[u] = starts[u + 1] - starts[u]
    heap = np.arange(size)
    for place in range(size // 2 - 1, -1, -1):
        sink(heap, size, place, bounds)
    order, scores = np.empty(num, np.int64), np.empty(num, np.float64)
    for k in range(num):
        while True:
            best = heap[0]
            score = 0.0
            for v in voters[starts[best] : starts[best + 1]]:
                if not is_chosen[v]:
                    score += discount ** -num_chosen[v]
            if score == bounds[best]:
                break
            bounds[best] = score
            sink(heap, size, 0, bounds)
        order[k], scores[k] = best, bounds[best]
        is_chosen[best] = True
        for v in voters[starts[best] : starts[best + 1]]:
            num_chosen[v] += 1
        size -= 1
        heap[0] = heap[size]
        sink(heap, size, 0, bounds)
    return order, scores


def ideal(
    neighbours: np.ndarray, chances: np.ndarray, keys: np.ndarray, num: int, num_graphs: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """IDEAL (Zhang et al. 2023, arXiv:2310.10873, section 3): greedy choice of those whose influence reaches furthest.

    The influence of a set is how many documents it reaches, itself included, in a graph in which each edge is kept with
    its chance: the independent cascade of Kempe, Kleinberg and Tardos 2003, by its live-edge graphs. The same graphs
    serve all choices, so that the mean over them is a submodular function itself, and lazy choice (CELF, Leskovec et
    al. 2007) is that of plain greedy.

    Args:
        neighbours: where the edges of each document lead [documents, neighbours] int32.
        chances: of each edge [documents, neighbours], 0 to 1.
        keys: of each document, on which, with the seed, hangs which edges are kept [documents] uint64.
        num: how many to take. num_graphs: how many graphs are drawn.

    Returns:
        positions [num] int64, and how many documents each added to the mean number reached [num] float64.
    """
    graphs = [_live_edges(neighbours, chances, keys, np.uint64(seed * num_graphs + k)) for k in range(num_graphs)]
    starts = np.stack([graph[1] for graph in graphs])
    first = np.concatenate(([0], np.cumsum(starts[:, -1])))
    ends = np.concatenate([graph[0] for graph in graphs])
    return _ideal(ends, starts, first, num)


@njit(nogil=True, cache=True)
def _live_edges(neighbours, chances, keys, number):
    """Where the kept edges of one graph lead, document after document, and where each document's start."""
    starts = np.zeros(len(neighbours) + 1, np.int64)
    ends = np.empty(neighbours.size, np.int32)
    salt = mix64((number + np.uint64(1)) * GOLDEN)
    size = 0
    for u in range(len(neighbours)):
        for k in range(neighbours.shape[1]):
            v = neighbours[u, k]
            drawn = mix64(keys[u] ^ mix64(keys[v] ^ salt))
            if np.float64(drawn >> np.uint64(11)) * 2.0**-53 < chances[u, k]:
                ends[size] = v
                size += 1
        starts[u + 1] = size
    return ends[:size].copy(), starts


@njit(nogil=True, cache=True)
def _reach(node, ends, starts, first, visited, mark, stack):
    """How many documents that are not reached yet a document reaches, summed over graphs.

    What is reached already leads to nothing new. `visited` [graphs, documents] holds -1 where a document is reached,
    else the mark of the last walk that came by; a mark of -1 makes this walk's documents reached.
    """
    num = 0
    for g in range(len(starts)):
        if visited[g, node] == -1:
            continue
        size = 1
        stack[0] = node
        visited[g, node] = mark
        while size:
            size -= 1
            u = stack[size]
            num += 1
            for at in range(first[g] + starts[g, u], first[g] + starts[g, u + 1]):
                v = ends[at]
                if visited[g, v] != -1 and visited[g, v] != mark:
                    visited[g, v] = mark
                    stack[size] = v
                    size += 1
    return num


@njit(nogil=True, cache=True)
def _ideal(ends, starts, first, num):
    num_graphs, size = starts.shape[0], starts.shape[1] - 1
    visited = np.zeros((num_graphs, size), np.int32)
    stack = np.empty(size, np.int64)
    bounds = np.empty(size, np.float64)
    mark = 0
    for u in range(size):
        mark += 1
        bounds[u] = _reach(u, ends, starts, first, visited, mark, stack)
    heap = np.arange(size)
    for place in range(size // 2 - 1, -1, -1):
        sink(heap, size, place, bounds)
    order, gains = np.empty(num, np.int64), np.empty(num, np.float64)
    for k in range(num):
        while True:
            best = heap[0]
            mark += 1
            gain = _reach(best, ends, starts, first, visited, mark, stack)
            if gain == bounds[best]:
                break
            bounds[best] = gain
            sink(heap, size, 0, bounds)
        order[k], gains[k] = best, bounds[best] / num_graphs
        _reach(best, ends, starts, first, visited, -1, stack)
        size -= 1
        heap[0] = heap[size]
        sink(heap, size, 0, bounds)
    return order, gains
