"""Words of a UTF-8 text, lower-cased and hashed in one pass; everything that counts words is built on `next_words`.

`next_words` takes one character a step and never branches on what it is (as long as it is ASCII): a word is always
written to the buffer, and the end of the buffer moves only when the word has ended. Branching at word ends instead,
where a processor cannot guess, costs two and a half times as much.
"""

import numpy as np
from numba import njit

from assay.kernels.hashing import FNV_OFFSET, FNV_PRIME, GOLDEN, mix64
from assay.kernels.unicode import NOT_ASCII, SPACE, WORD, decode

MAX_ORDER = 8
_BUFFER = 4096


@njit(nogil=True, cache=True)
def next_words(data, i, end, h, kind, hashes, kinds, tables):
    """Hashes the words that end in data[i:end], until the buffer is full.

    A word is a run of word characters, or of characters that are neither word nor space.

    Args:
        h, kind: what the last call returned; 0 and SPACE at the start of a document.
        hashes, kinds: buffers for hash and class of each word, uint64 and uint8 of one length.
        tables: `unicode.tables()`.

    Returns:
        (words found, position, h, kind). At the end of a document the last word is among those found.
    """
    room = len(hashes) - 2
    found = 0
    while i < end and found < room:
        entry = tables.ascii[data[np.uint64(i)]]
        next_kind = np.uint8(entry >> 8)
        letter = np.uint64(entry & 0xFF)
        width = 1
        if next_kind == NOT_ASCII:
            code, width = decode(data, i, end)
            next_kind = tables.classes[np.uint64(code)]
            letter = np.uint64(tables.lower[np.uint64(code)])
        is_new = next_kind != kind
        hashes[np.uint64(found)] = h
        kinds[np.uint64(found)] = kind
        found += np.int64(is_new & (kind != SPACE))
        h = FNV_OFFSET if is_new else h
        h = (h ^ letter) * FNV_PRIME
        kind = next_kind
        i += width
    if i >= end and kind != SPACE:
        hashes[found] = h
        kinds[found] = kind
        found += 1
        kind = np.uint8(SPACE)
    return found, i, h, kind


@njit(nogil=True, cache=True)
def _buffers():
    return np.empty(_BUFFER, np.uint64), np.empty(_BUFFER, np.uint8)


@njit(nogil=True, cache=True)
def _bucket(h, num_buckets):
    """The high half of h scaled to [0, num_buckets); num_buckets below 2^32."""
    return ((h >> np.uint64(32)) * num_buckets) >> np.uint64(32)


@njit(nogil=True, cache=True)
def count_ngrams(data, offsets, order, counts, tables):
    """Adds the hashed 1- to `order`-grams of all documents to `counts` [buckets], int64, in place."""
    num_buckets = np.uint64(len(counts))
    grams = np.zeros(MAX_ORDER + 1, np.uint64)
    hashes, kinds = _buffers()
    for row in range(len(offsets) - 1):
        i, end = offsets[row], offsets[row + 1]
        h, kind = np.uint64(0), np.uint8(SPACE)
        num_words = 0
        while i < end:
            found, i, h, kind = next_words(data, i, end, h, kind, hashes, kinds, tables)
            for j in range(found):
                num_words += 1
                for k in range(min(order, num_words), 1, -1):
                    grams[k] = mix64(grams[k - 1] * GOLDEN + hashes[j])
                    counts[_bucket(grams[k], num_buckets)] += 1
                grams[1] = mix64(hashes[j])
                counts[_bucket(grams[1], num_buckets)] += 1


@njit(nogil=True, cache=True)
def sum_ngrams(data, offsets, order, weights, tables):
    """Sums bucket weights over the hashed 1- to `order`-grams of each document.

    Args:
        weights: weight of each bucket under each of several models [buckets, models], float64.

    Returns:
        sums [documents, models] float64 and number of n-grams [documents] int64.
    """
    num_buckets, num_models = np.uint64(weights.shape[0]), weights.shape[1]
    num_documents = len(offsets) - 1
    sums = np.zeros((num_documents, num_models))
    num_ngrams = np.zeros(num_documents, np.int64)
    grams = np.zeros(MAX_ORDER + 1, np.uint64)
    hashes, kinds = _buffers()
    for row in range(num_documents):
        i, end = offsets[row], offsets[row + 1]
        h, kind = np.uint64(0), np.uint8(SPACE)
        num_words = 0
        first = 0.0
        while i < end:
            found, i, h, kind = next_words(data, i, end, h, kind, hashes, kinds, tables)
            for j in range(found):
                num_words += 1
                for k in range(min(order, num_words), 0, -1):
                    grams[k] = mix64(grams[k - 1] * GOLDEN + hashes[j]) if k > 1 else mix64(hashes[j])
                    bucket = _bucket(grams[k], num_buckets)
                    first += weights[bucket, 0]
                    for m in range(1, num_models):
                        sums[row, m] += weights[bucket, m]
                num_ngrams[row] += min(order, num_words)
        sums[row, 0] = first
    return sums, num_ngrams


@njit(nogil=True, cache=True)
def word_windows(data, offsets, length, tables):
    """Hashes of all runs of `length` words; a document with fewer words gives one hash of all it has.

    Words are runs of word characters, lower-cased; punctuation and white space are passed over.

    Returns:
        hashes [windows] uint64, and where each document's start [documents + 1] int64.
    """
    starts = np.zeros(len(offsets), np.int64)
    windows = np.empty(max(_BUFFER, (offsets[-1] - offsets[0]) // 4), np.uint64)
    num_windows = 0
    ring = np.zeros(length, np.uint64)
    power = np.uint64(1)
    for _ in range(length):
        power = power * GOLDEN
    hashes, kinds = _buffers()
    for row in range(len(offsets) - 1):
        i, end = offsets[row], offsets[row + 1]
        h, kind = np.uint64(0), np.uint8(SPACE)
        num_words = 0
        slot = 0
        rolling = np.uint64(0)
        while i < end:
            found, i, h, kind = next_words(data, i, end, h, kind, hashes, kinds, tables)
            if num_windows + found + 1 > len(windows):
                windows = np.concatenate((windows, np.empty(len(windows), np.uint64)))
            for j in range(found):
                if kinds[j] != WORD:
                    continue
                word = mix64(hashes[j])
                rolling = rolling * GOLDEN + word
                if num_words >= length:
                    rolling -= ring[slot] * power
                ring[slot] = word
                slot = slot + 1 if slot + 1 < length else 0
                num_words += 1
                if num_words >= length:
                    windows[num_windows] = mix64(rolling)
                    num_windows += 1
        if 0 < num_words < length:
            windows[num_windows] = mix64(rolling ^ mix64(np.uint64(num_words)))
            num_windows += 1
        starts[row + 1] = num_windows
    return windows[:num_windows], starts


@njit(nogil=True, cache=True)
def measure(data, offsets, tables):
    """Characters, words and estimated tokens of each document.

    A word is a run of word characters. The estimate is one token for every started 6 bytes of a run of word characters
    or of other characters; see `scorers.length` for how well that does.

    Returns:
        int64 [documents, 3]: characters (code points), words, tokens.
    """
    result = np.zeros((len(offsets) - 1, 3), np.int64)
    for row in range(len(offsets) - 1):
        i, end = offsets[row], offsets[row + 1]
        kind = np.uint8(SPACE)
        characters = 0
        words = 0
        tokens = 0
        run = np.uint64(0)  # bytes of the current run
        while i < end:
            entry = tables.ascii[data[np.uint64(i)]]
            next_kind = np.uint8(entry >> 8)
            width = 1
            if next_kind == NOT_ASCII:
                code, width = decode(data, i, end)
                next_kind = tables.classes[np.uint64(code)]
            is_new = next_kind != kind
            words += np.int64(is_new & (next_kind == WORD))
            tokens += np.int64((run + np.uint64(5)) // np.uint64(6)) * np.int64(is_new & (kind != SPACE))
            run = np.uint64(width) + (np.uint64(0) if is_new else run)
            kind = next_kind
            characters += 1
            i += width
        if kind != SPACE:
            tokens += np.int64((run + np.uint64(5)) // np.uint64(6))
        result[row, 0] = characters
        result[row, 1] = words
        result[row, 2] = tokens
    return result
