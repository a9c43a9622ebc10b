"""Words of a UTF-8 text, lower-cased and hashed in one pass; everything that counts words is built on `next_word`."""

import numpy as np
from numba import njit

from assay.kernels.hashing import FNV_OFFSET, FNV_PRIME, GOLDEN, mix64
from assay.kernels.unicode import SPACE, WORD, decode

MAX_ORDER = 8


@njit(nogil=True, cache=True, inline="always")
def next_word(data, i, end, classes, lower):
    """The next run of word characters, or of characters that are neither word nor space.

    Args:
        data, i, end: UTF-8 bytes and the range still to read.
        classes, lower: `unicode.tables()`.
    Returns:
        (position after the run, hash of the lower-cased run, its class); class SPACE means that no run was left.
    """
    kind = np.uint8(SPACE)
    code = np.uint32(0)
    width = 1
    while i < end:
        code = np.uint32(data[i])
        width = 1
        if code >= 0x80:
            code, width = decode(data, i, end)
        kind = classes[code]
        if kind != SPACE:
            break
        i += width
    h = FNV_OFFSET
    while i < end:
        h = (h ^ np.uint64(lower[code])) * FNV_PRIME
        i += width
        if i >= end:
            break
        code = np.uint32(data[i])
        width = 1
        if code >= 0x80:
            code, width = decode(data, i, end)
        if classes[code] != kind:
            break
    return i, h, kind


@njit(nogil=True, cache=True, inline="always")
def _bucket(h, num_buckets):
    return np.int64(((h >> np.uint64(32)) * np.uint64(num_buckets)) >> np.uint64(32))


@njit(nogil=True, cache=True)
def count_ngrams(data, offsets, order, counts, classes, lower):
    """Adds the hashed 1- to `order`-grams of all documents to `counts` [buckets], int64, in place."""
    num_buckets = len(counts)
    grams = np.zeros(MAX_ORDER + 1, np.uint64)
    for row in range(len(offsets) - 1):
        i = offsets[row]
        end = offsets[row + 1]
        num_words = 0
        while True:
            i, h, kind = next_word(data, i, end, classes, lower)
            if kind == SPACE:
                break
            num_words += 1
            for k in range(min(order, num_words), 1, -1):
                grams[k] = mix64(grams[k - 1] * GOLDEN + h)
                counts[_bucket(grams[k], num_buckets)] += 1
            grams[1] = mix64(h)
            counts[_bucket(grams[1], num_buckets)] += 1


@njit(nogil=True, cache=True)
def measure(data, offsets, classes, lower):
    """Characters, words and estimated tokens of each document.

    A word is a run of word characters. The estimate is one token for every started 6 bytes of a run of word
    characters or of other characters; see `scorers.length` for how well that does.

    Returns:
        int64 [documents, 3]: characters (code points), words, tokens.
    """
    result = np.zeros((len(offsets) - 1, 3), np.int64)
    for row in range(len(offsets) - 1):
        i = offsets[row]
        end = offsets[row + 1]
        characters = 0
        words = 0
        tokens = 0
        previous = SPACE
        run_bytes = 0
        while i < end:
            code = np.uint32(data[i])
            width = 1
            if code >= 0x80:
                code, width = decode(data, i, end)
            kind = classes[code]
            if kind != previous:
                tokens += (run_bytes + 5) // 6
                run_bytes = 0
                words += kind == WORD
                previous = kind
            if kind != SPACE:
                run_bytes += width
            characters += 1
            i += width
        result[row, 0] = characters
        result[row, 1] = words
        result[row, 2] = tokens + (run_bytes + 5) // 6
    return result


@njit(nogil=True, cache=True)
def sum_ngrams(data, offsets, order, weights, classes, lower):
    """Sums bucket weights over the hashed 1- to `order`-grams of each document.

    Args:
        weights: weight of each bucket under each of several models [buckets, models], float64.

    Returns:
        sums [documents, models] float64 and number of n-grams [documents] int64.
    """
    num_buckets, num_models = weights.shape
    num_documents = len(offsets) - 1
    sums = np.zeros((num_documents, num_models))
    num_ngrams = np.zeros(num_documents, np.int64)
    grams = np.zeros(MAX_ORDER + 1, np.uint64)
    for row in range(num_documents):
        i = offsets[row]
        end = offsets[row + 1]
        num_words = 0
        first = 0.0
        while True:
            i, h, kind = next_word(data, i, end, classes, lower)
            if kind == SPACE:
                break
            num_words += 1
            for k in range(min(order, num_words), 0, -1):
                grams[k] = mix64(grams[k - 1] * GOLDEN + h) if k > 1 else mix64(h)
                bucket = _bucket(grams[k], num_buckets)
                first += weights[bucket, 0]
                for m in range(1, num_models):
                    sums[row, m] += weights[bucket, m]
                num_ngrams[row] += 1
        sums[row, 0] = first
    return sums, num_ngrams


@njit(nogil=True, cache=True)
def word_windows(data, offsets, length, classes, lower):
    """Hashes of all runs of `length` words; a document with fewer words gives one hash of all it has.

    Words are runs of word characters, lower-cased; punctuation and white space are passed over.

    Returns:
        hashes [windows] uint64, and where each document's start [documents + 1] int64.
    """
    starts = np.zeros(len(offsets), np.int64)
    hashes = np.empty(max(16, (offsets[-1] - offsets[0]) // 4), np.uint64)
    ring = np.zeros(length, np.uint64)
    power = np.uint64(1)
    for _ in range(length):
        power = power * GOLDEN
    num_hashes = 0
    for row in range(len(offsets) - 1):
        i = offsets[row]
        end = offsets[row + 1]
        num_words = 0
        rolling = np.uint64(0)
        while True:
            i, h, kind = next_word(data, i, end, classes, lower)
            if kind == SPACE:
                break
            if kind != WORD:
                continue
            slot = num_words % length
            h = mix64(h)
            rolling = rolling * GOLDEN + h
            if num_words >= length:
                rolling -= ring[slot] * power
            ring[slot] = h
            num_words += 1
            if num_words >= length:
                if num_hashes == len(hashes):
                    hashes = np.concatenate((hashes, np.empty(len(hashes), np.uint64)))
                hashes[num_hashes] = mix64(rolling)
                num_hashes += 1
        if 0 < num_words < length:
            if num_hashes == len(hashes):
                hashes = np.concatenate((hashes, np.empty(len(hashes), np.uint64)))
            hashes[num_hashes] = mix64(rolling ^ mix64(np.uint64(num_words)))
            num_hashes += 1
        starts[row + 1] = num_hashes
    return hashes[:num_hashes], starts
