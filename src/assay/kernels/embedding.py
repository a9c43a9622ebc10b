"""Bags of hashed words as sparse rows, their products with dense matrices, and their projection to short vectors.

Sums are taken in a fixed order, word by word as a document has them, so the same text gives the same bytes in any batch
and on any machine; a BLAS product would not.
"""

import numpy as np
from numba import njit

from assay.kernels.hashing import mix64
from assay.kernels.unicode import SPACE
from assay.kernels.words import _bucket, _buffers, next_words


@njit(nogil=True, cache=True)
def _count_words(data, i, end, rows, is_positional, counts, touched, hashes, kinds, tables):
    """Adds the weight of each word of data[i:end] to `counts` at its row; returns (rows touched, words).

    A word weighs 1, or its place from 1 where `is_positional`; one whose row is -1 is passed over, but has a place.
    """
    num_buckets = np.uint64(len(rows))
    h, kind = np.uint64(0), np.uint8(SPACE)
    num_touched, num_words = 0, 0
    while i < end:
        found, i, h, kind = next_words(data, i, end, h, kind, hashes, kinds, tables)
        for j in range(found):
            num_words += 1
            row = rows[_bucket(mix64(hashes[j]), num_buckets)]
            if row >= 0:
                if counts[row] == 0.0:
                    touched[num_touched] = row
                    num_touched += 1
                counts[row] += num_words if is_positional else 1.0
    return num_touched, num_words


@njit(nogil=True, cache=True)
def count_words(data, offsets, num_buckets, tables):
    """How often each document has the words of each bucket, as sparse rows.

    Returns:
        where each document's entries start [documents + 1] int64, their buckets int32 and counts float32.
    """
    rows = np.arange(num_buckets).astype(np.int32)
    counts, touched = np.zeros(num_buckets), np.empty(num_buckets, np.int32)
    hashes, kinds = _buffers()
    starts = np.zeros(len(offsets), np.int64)
    buckets, values = np.empty(1 << 16, np.int32), np.empty(1 << 16, np.float32)
    for d in range(len(offsets) - 1):
        start, end = offsets[d], offsets[d + 1]
        found, _ = _count_words(data, start, end, rows, False, counts, touched, hashes, kinds, tables)
        first = starts[d]
        while first + found > len(buckets):
            buckets = np.concatenate((buckets, np.empty(len(buckets), np.int32)))
            values = np.concatenate((values, np.empty(len(values), np.float32)))
        for j in range(found):
            buckets[first + j] = touched[j]
            values[first + j] = counts[touched[j]]
            counts[touched[j]] = 0.0
        starts[d + 1] = first + found
    return starts, buckets[: starts[-1]], values[: starts[-1]]


@njit(nogil=True, cache=True)
def project_words(data, offsets, rows, vectors, is_positional, tables):
    """The weighted sum of the vectors of a document's words, at unit length.

    A word that a document has c times weighs ln(1 + c). Where `is_positional`, c is n times the sum of its places'
    weights, i / (1 + 2 + ... + n) for the i-th of n words, which is c again where it is spread evenly.

    Args:
        rows: row of `vectors` for each bucket [buckets] int32, -1 for none. vectors: [rows, dimensions] float32.

    Returns:
        [documents, dimensions] float32; zeros for a document without any word that has a vector.
    """
    counts, touched = np.zeros(len(vectors)), np.empty(len(vectors), np.int32)
    hashes, kinds = _buffers()
    result = np.zeros((len(offsets) - 1, vectors.shape[1]), np.float32)
    for d in range(len(offsets) - 1):
        found, num_words = _count_words(
            data, offsets[d], offsets[d + 1], rows, is_positional, counts, touched, hashes, kinds, tables
        )
        share = 2.0 / (num_words + 1) if is_positional else 1.0
        sums = result[d]
        for j in range(found):
            row = touched[j]
            weight = np.float32(np.log1p(counts[row] * share))
            counts[row] = 0.0
            for k in range(len(sums)):
                sums[k] += weight * vectors[row, k]
        square = 0.0
        for k in range(len(sums)):
            square += np.float64(sums[k]) * np.float64(sums[k])
        if square > 0.0:
            scale = np.float32(1.0 / np.sqrt(square))
            for k in range(len(sums)):
                sums[k] *= scale
    return result
