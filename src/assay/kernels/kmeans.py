"""Spherical k-means: centres of unit length that the vectors of their clusters are most similar to.

Dhillon and Modha 2001, "Concept decompositions for large sparse text data using clustering" (Machine Learning 42), with
starts as in k-means++ (Arthur and Vassilvitskii 2007) and mini-batches (Sculley 2010, "Web-scale k-means clustering")
before the passes over everything.
"""

import numpy as np
from numba import njit

from assay.kernels.vectors import most_similar, snapped

_START_VECTORS = 16  # a cluster, of those that starts are drawn from
_MAX_START_VECTORS = 1 << 16
_START_TRIES = 10  # 2, as usual, missed one of 20 planted clusters with every other seed; 10 with none of 20
_BATCH = 4096
_ROUNDED = 1e-3  # more than rounding takes from the length of a vector


def spherical_kmeans(vectors: np.ndarray, num_clusters: int, seed: int, num_passes: int = 10) -> np.ndarray:
    """Centres of clusters [clusters, dimensions] float32, snapped; the same for the same vectors in the same order.

    A cluster that loses all its vectors starts again from the vector that is least similar to its centre.

    Args:
        vectors: [vectors, dimensions] float32, snapped, in random order; at least as many as clusters.
        num_passes: most passes over all vectors, after one in mini-batches; fewer once no vector changes its cluster.
    """
    rng = np.random.default_rng(seed)
    centres = _starts(vectors[: min(_MAX_START_VECTORS, max(_BATCH, _START_VECTORS * num_clusters))], num_clusters, rng)
    sums, counts = centres.astype(np.float64), np.ones(num_clusters)
    size = max(_BATCH, 4 * num_clusters)
    for first in range(0, len(vectors) - size, size):
        batch = vectors[first : first + size]
        _add_up(batch, most_similar(batch, centres)[0], sums, counts)
        centres = snapped(sums)
    before = np.empty(0, np.int64)
    for _ in range(num_passes):
        clusters, similarities = most_similar(vectors, centres)
        if np.array_equal(clusters, before):
            break
        before = clusters
        sums, counts = np.zeros(centres.shape), np.zeros(num_clusters)
        _add_up(vectors, clusters, sums, counts)
        empty = np.flatnonzero(counts == 0)
        sums[empty] = vectors[np.argsort(similarities, kind="stable")[: len(empty)]]
        centres = snapped(sums)
    return centres


def _starts(vectors: np.ndarray, num_clusters: int, rng: np.random.Generator) -> np.ndarray:
    """Vectors that are drawn with a probability proportional to their squared distance from those taken before.

    Each time some are drawn, and the one is taken that brings all others nearest.
    """
    tries = _START_TRIES + int(np.log(num_clusters))
    taken = [int(rng.integers(len(vectors)))]
    distances = _distances(vectors, vectors[taken])[:, 0]
    while len(taken) < num_clusters:
        sums = np.cumsum(distances, dtype=np.float64)
        if sums[-1] > 0:
            drawn = np.searchsorted(sums, rng.random(tries) * sums[-1], side="right")
            distances_to = np.minimum(_distances(vectors, vectors[drawn]), distances[:, np.newaxis])
            best = int(distances_to.sum(axis=0, dtype=np.float64).argmin())
            taken.append(int(drawn[best]))
            distances = distances_to[:, best]
        else:  # fewer different vectors than clusters
            taken.append(int(rng.integers(len(vectors))))
    return vectors[taken]


def _distances(vectors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Half the squared distances [vectors, centres] float32; exact, and 0 of a vector from itself but for rounding."""
    distances: np.ndarray = np.maximum(1 - vectors @ centres.T, 0)
    distances[distances < _ROUNDED] = 0
    return distances


@njit(nogil=True, cache=True)
def _add_up(vectors, clusters, sums, counts):
    """Adds each vector to the sum of its cluster; exact, since float64 holds sums of snapped vectors."""
    for i in range(len(vectors)):
        counts[clusters[i]] += 1
        for k in range(vectors.shape[1]):
            sums[clusters[i], k] += vectors[i, k]
