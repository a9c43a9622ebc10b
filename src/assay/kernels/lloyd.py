"""k-means by Euclidean distance, for vectors of a few numbers that are not directions: trajectories of losses.

Lloyd 1982, "Least squares quantization in PCM", from starts as in k-means++ (Arthur and Vassilvitskii 2007), the best
of several draws for each. Sums go one after the other, so the same vectors in the same order give the same bits on
every machine, which matrix products would not.
"""

import numpy as np
from numba import njit

_START_TRIES = 5


def kmeans(vectors: np.ndarray, num_clusters: int, seed: int, num_passes: int = 30) -> np.ndarray:
    """Centres of clusters [clusters, dimensions] float64.

    A cluster that loses all its vectors starts again from the vector that is farthest from its centre.

    Args:
        vectors: [vectors, dimensions] float64, at least as many as clusters.
        num_passes: most passes; fewer once no vector changes its cluster.
    Cost: a second for a hundred passes of a million vectors, a cluster and a dimension.
    """
    rng = np.random.default_rng(seed)
    centres = _starts(vectors, num_clusters, rng)
    before = np.empty(0, np.int64)
    for _ in range(num_passes):
        clusters, distances = nearest(vectors, centres)
        if np.array_equal(clusters, before):
            break
        before = clusters
        counts = np.bincount(clusters, minlength=num_clusters)
        sums = np.stack([np.bincount(clusters, column, num_clusters) for column in vectors.T], axis=1)
        centres = sums / np.maximum(counts, 1)[:, None]
        empty = np.flatnonzero(counts == 0)
        centres[empty] = vectors[np.argsort(-distances, kind="stable")[: len(empty)]]
    return centres


@njit(nogil=True, cache=True)
def nearest(vectors, centres):
    """The nearest centre of each vector [vectors] int64, and its squared distance [vectors]; of two the first."""
    clusters = np.zeros(len(vectors), np.int64)
    distances = np.zeros(len(vectors))
    for i in range(len(vectors)):
        least = np.inf
        for c in range(len(centres)):
            total = 0.0
            for k in range(vectors.shape[1]):
                total += (vectors[i, k] - centres[c, k]) ** 2
                if total >= least:
                    break
            if total < least:
                least = total
                clusters[i] = c
        distances[i] = least
    return clusters, distances


def _starts(vectors: np.ndarray, num_clusters: int, rng: np.random.Generator) -> np.ndarray:
    """Vectors drawn with a probability proportional to their squared distance from those taken before.

    Each time some are drawn, and the one is taken that brings all others nearest.
    """
    taken = [int(rng.integers(len(vectors)))]
    distances = nearest(vectors, vectors[taken])[1]
    while len(taken) < num_clusters:
        sums = np.cumsum(distances)
        if sums[-1] == 0:  # fewer different vectors than clusters
            taken.append(int(rng.integers(len(vectors))))
            continue
        drawn = np.minimum(np.searchsorted(sums, rng.random(_START_TRIES) * sums[-1], side="right"), len(vectors) - 1)
        nearer = [np.minimum(distances, nearest(vectors, vectors[[one]])[1]) for one in drawn.tolist()]
        best = int(np.argmin([each.sum() for each in nearer]))
        taken.append(int(drawn[best]))
        distances = nearer[best]
    return vectors[taken]
