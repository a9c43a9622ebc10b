"""Greedy choice by submodular functions of similarities, in which a document is worth less beside those like it.

Facility location, f(S) = sum over all i of max over j in S of s_ij (0 for the empty set; similarities below 0 count as
0), as in Wei, Iyer and Bilmes 2015 and in submodlib. Graph cut, f(S) = sum over i and j in S of s_ij minus `penalty`
times the sum over pairs in S of s_ij, with similarities below 0 as 0 again: with any of them below it is not
submodular, and where vectors point all ways the first sum says nothing. To either a worth of each document by itself
may be added.

For a monotone submodular function greedy choice reaches 1 - 1/e of the best (Nemhauser, Wolsey and Fisher 1978). *Lazy*
greedy (Minoux 1978) chooses the same: gains only fall, so one that was computed earlier is an upper bound. *Stochastic*
greedy (Mirzasoleiman et al. 2015) takes the best of (n / num) ln(1 / epsilon) documents drawn each time and reaches
1 - 1/e - epsilon on average. Of documents with equal gains the first is taken.
"""

import numpy as np
from numba import njit

from assay.kernels.vectors import blocks

MAX_LAZY = 16_384  # vectors: exact greedy choice holds their similarities, 4 bytes a pair


def facility_location(
    vectors: np.ndarray, num: int, worth: np.ndarray | None = None, epsilon: float = 0.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The documents that greedy choice takes by facility location, in order, and the gain of each when it was taken.

    Args:
        vectors: [documents, dimensions] float32; similarities are their dot products.
        num: how many to take. worth: added to each document's gain [documents]; default none.
        epsilon: 0 = lazy greedy; above, stochastic greedy, which holds no similarities and takes
            documents * ln(1 / epsilon) gains in all.

    Returns:
        positions [num] int64 and gains [num] float64, which include the worth.
    """
    worth = np.zeros(len(vectors)) if worth is None else worth.astype(np.float64)
    if epsilon > 0:
        return _stochastic(vectors, num, worth, epsilon, np.random.default_rng(seed))
    assert len(vectors) <= MAX_LAZY
    return _lazy_greedy(_similarities(vectors), worth, num)


def graph_cut(
    vectors: np.ndarray, num: int, penalty: float = 0.5, worth: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """As `facility_location`, exact, by graph cut.

    Args:
        penalty: how much likeness among the chosen counts against them; up to 0.5 the function is monotone.
    """
    assert len(vectors) <= MAX_LAZY
    similarities = _similarities(vectors)
    gains = similarities.sum(axis=0, dtype=np.float64) - penalty * np.diag(similarities).astype(np.float64)
    gains += 0 if worth is None else worth
    order, gained = np.empty(num, np.int64), np.empty(num, np.float64)
    for k in range(num):
        best = int(gains.argmax())
        order[k], gained[k] = best, gains[best]
        gains -= 2 * penalty * similarities[best].astype(np.float64)
        gains[order[: k + 1]] = -np.inf
    return order, gained


def _similarities(vectors: np.ndarray) -> np.ndarray:
    """Cosines of all pairs, none below 0 [documents, documents] float32; held once."""
    similarities: np.ndarray = vectors @ vectors.T
    return np.maximum(similarities, 0, out=similarities)


def _stochastic(
    vectors: np.ndarray, num: int, worth: np.ndarray, epsilon: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    covered = np.zeros(len(vectors), np.float32)
    left = rng.permutation(len(vectors))
    order, gained = np.empty(num, np.int64), np.empty(num, np.float64)
    at_once = max(1, int(np.ceil(len(vectors) / num * np.log(1 / epsilon))))
    for k in range(num):
        size = min(at_once, len(left))
        places = np.arange(len(left)) if size == len(left) else rng.choice(len(left), size, replace=False)
        drawn = left[places]
        gains = worth[drawn].copy()
        for rows in blocks(len(vectors), len(drawn)):
            _add_gains(vectors[rows] @ vectors[drawn].T, covered[rows], gains)
        best = np.lexsort((drawn, -gains))[0]
        order[k], gained[k] = drawn[best], gains[best]
        np.maximum(covered, vectors @ vectors[order[k]], out=covered)
        left[places[best]] = left[-1]
        left = left[:-1]
    return order, gained


@njit(nogil=True, cache=True)
def _add_gains(similarities, covered, gains):
    """Adds what each candidate [candidates] would cover more of some documents [documents, candidates]."""
    for i in range(len(similarities)):
        for j in range(similarities.shape[1]):
            more = similarities[i, j] - covered[i]
            gains[j] += more if more > 0 else 0.0


# Sums may be taken in any order: of snapped vectors they are exact in float64.
@njit(nogil=True, cache=True, fastmath={"reassoc", "nsz"})
def _gain(similar, covered):
    """How much more of all documents one would cover that is so similar to them [documents]."""
    gain = 0.0
    for i in range(len(covered)):
        gain += np.float64(max(similar[i] - covered[i], np.float32(0)))
    return gain


@njit(nogil=True, cache=True)
def _comes_before(bounds, a, b):
    return bounds[a] > bounds[b] or (bounds[a] == bounds[b] and a < b)


@njit(nogil=True, cache=True)
def sink(heap, size, place, bounds):
    """Moves an entry of a heap of documents down to where the largest bound, of equals the first, is on top."""
    entry = heap[place]
    while 2 * place + 1 < size:
        below = 2 * place + 1
        if below + 1 < size and _comes_before(bounds, heap[below + 1], heap[below]):
            below += 1
        if not _comes_before(bounds, heap[below], entry):
            break
        heap[place] = heap[below]
        place = below
    heap[place] = entry


@njit(nogil=True, cache=True)
def _lazy_greedy(similarities, worth, num):
    """Lazy greedy choice by similarities [documents, documents] float32, none below 0, symmetric."""
    size = len(similarities)
    covered = np.zeros(size, np.float32)
    bounds = np.empty(size, np.float64)
    for j in range(size):
        bounds[j] = _gain(similarities[j], covered) + worth[j]
    heap = np.arange(size)
    for place in range(size // 2 - 1, -1, -1):
        sink(heap, size, place, bounds)
    order, gained = np.empty(num, np.int64), np.empty(num, np.float64)
    for k in range(num):
        while True:
            best = heap[0]
            bound = _gain(similarities[best], covered) + worth[best]
            if bound == bounds[best]:
                break
            bounds[best] = bound
            sink(heap, size, 0, bounds)
        order[k], gained[k] = best, bounds[best]
        covered = np.maximum(covered, similarities[best])
        size -= 1
        heap[0] = heap[size]
        sink(heap, size, 0, bounds)
    return order, gained
