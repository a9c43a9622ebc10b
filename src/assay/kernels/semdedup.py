"""How similar each vector is to those before it: what semantic deduplication decides by."""

import numpy as np

from assay.kernels.vectors import blocks


def highest_before(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest cosine of each vector with one that comes before it, and which that is.

    Time grows with the square of the vectors, memory does not.

    Args:
        vectors: [vectors, dimensions] float32, snapped, in the order in which they are preferred.

    Returns:
        cosines [vectors] float64, NaN for the first, at most 1; positions [vectors] int64, of equals the first one, -1
        for the first.
    """
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)).astype(np.float32)
    lengths[lengths == 0] = 1
    cosines, positions = np.full(len(vectors), np.nan), np.full(len(vectors), -1)
    for rows in blocks(len(vectors), len(vectors)):
        similar = vectors[rows] @ vectors[: rows.stop].T
        similar /= lengths[: rows.stop]
        similar /= lengths[rows, np.newaxis]
        here = np.arange(rows.start, rows.stop)
        similar[np.arange(rows.stop)[np.newaxis] >= here[:, np.newaxis]] = -np.inf
        positions[rows] = similar.argmax(axis=1)
        cosines[rows] = np.minimum(similar[here - rows.start, positions[rows]], 1)
    cosines[:1], positions[:1] = np.nan, -1
    return cosines, positions
