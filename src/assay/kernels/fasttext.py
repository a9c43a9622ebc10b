"""What fastText does with text: its tokens, hashes, subwords and word n-grams, summed up over tables of vectors.

Bojanowski et al. 2017 (arXiv:1607.04606, subwords) and Joulin et al. 2017 (arXiv:1607.01759, word n-grams); byte for
byte as fastText 0.9.2 does it: 32-bit FNV-1a over signed bytes, word n-grams from sign-extended hashes.
"""

import numpy as np
from numba import njit

from assay.kernels.hashing import FNV_OFFSET, FNV_PRIME, mix64

_OFFSET = np.uint32(2166136261)
_PRIME = np.uint32(16777619)
_NGRAM = np.uint64(116049371)
_NEWLINE = np.uint8(10)
_OPEN, _CLOSE = 60, 62  # < and >, around a word when it is cut into subwords
_BUFFER = 1024


@njit(nogil=True, cache=True, inline="always")
def _add_byte(h, byte):
    """One step of fastText's hash; a byte above 127 is negative there and sets the upper bits."""
    return np.uint32((h ^ np.uint32(np.int32(np.int8(byte)))) * _PRIME)  # a product of 32 bits would grow to 64


@njit(nogil=True, cache=True)
def read_entries(data, position, num_entries, starts, ends, counts, kinds):
    """Where each entry of a dictionary has its word, and its count and kind; fills the arrays [entries].

    Returns:
        Where the dictionary ends, or -1 where the data end before.
    """
    for k in range(num_entries):
        starts[k] = position
        while position < len(data) and data[position] != 0:
            position += 1
        ends[k] = position
        position += 1
        if position + 9 > len(data):
            return -1
        count = np.uint64(0)
        for byte in range(7, -1, -1):
            count = (count << np.uint64(8)) | np.uint64(data[position + byte])
        counts[k] = np.int64(count)
        kinds[k] = data[position + 8]
        position += 9
    return position


@njit(nogil=True, cache=True, inline="always")
def _key(data, start, end):
    h = FNV_OFFSET
    for i in range(start, end):
        h = (h ^ np.uint64(data[i])) * FNV_PRIME
    return mix64(h)


@njit(nogil=True, cache=True)
def build_lookup(data, starts, ends, size):
    """A table from the 64-bit hash of a word to 1 + its place [size, 2] uint64; size is a power of two."""
    slots = np.zeros((size, 2), np.uint64)
    mask = np.uint64(size - 1)
    for k in range(len(starts)):
        key = _key(data, starts[k], ends[k])
        slot = key & mask
        while slots[slot, 1] != 0 and slots[slot, 0] != key:
            slot = (slot + np.uint64(1)) & mask
        if slots[slot, 1] == 0:
            slots[slot, 0] = key
            slots[slot, 1] = k + 1
    return slots


@njit(nogil=True, cache=True, inline="always")
def _find(slots, key):
    """Place of a word, -1 where it is unknown. Two different words share 64 bits once in 10^13."""
    mask = np.uint64(len(slots) - 1)
    slot = key & mask
    while slots[slot, 1] != 0 and slots[slot, 0] != key:
        slot = (slot + np.uint64(1)) & mask
    return np.int64(slots[slot, 1]) - 1


@njit(nogil=True, cache=True, inline="always")
def _row(bucket, pruned):
    """Row of a bucket's vector; -1 where pruning has removed it."""
    return np.int64(pruned[bucket]) if len(pruned) else np.int64(bucket)


@njit(nogil=True, cache=True)
def _add_subwords(word, min_n, max_n, num_buckets, pruned, vectors, total):
    """Adds the vectors of a word's character n-grams (brackets around it are in `word`) and returns how many."""
    added = 0
    for i in range(len(word)):
        if word[i] & 0xC0 == 0x80:
            continue
        h = _OFFSET
        j, n = i, 1
        while j < len(word) and n <= max_n:
            h = _add_byte(h, word[j])
            j += 1
            while j < len(word) and word[j] & 0xC0 == 0x80:
                h = _add_byte(h, word[j])
                j += 1
            if n >= min_n and not (n == 1 and (i == 0 or j == len(word))):
                row = _row(np.uint64(h) % num_buckets, pruned)
                if row >= 0:
                    for m in range(len(total)):
                        total[m] += vectors[row, m]
                    added += 1
            n += 1
    return added


@njit(nogil=True, cache=True)
def _byte_classes(skip_newlines):
    """1 for bytes that part words, 2 for those that are passed over, 0 for others [256] uint8."""
    classes = np.zeros(256, np.uint8)
    classes[9:14] = 1
    classes[32] = 1
    classes[0] = 1
    if skip_newlines:
        classes[_NEWLINE] = 2
    return classes


@njit(nogil=True, cache=True)
def _token(data, start, end, classes):
    """The bytes of a word, in brackets."""
    word = np.empty(end - start + 2, np.uint8)
    word[0] = _OPEN
    length = 1
    for i in range(start, end):
        if classes[data[i]] == 0:
            word[length] = data[i]
            length += 1
    word[length] = _CLOSE
    return word[: length + 1]


@njit(nogil=True, cache=True)
def add_subwords_of_words(data, starts, ends, end_word, min_n, max_n, num_buckets, pruned, vectors, words, counts):
    """Adds to each word's vector [words, width] those of its subwords, and their number to `counts` [words].

    Args:
        end_word: place of the end mark, which has no subwords, or -1.
    """
    classes = np.zeros(256, np.uint8)
    for k in range(len(starts)):
        if k == end_word:
            continue
        total = words[k].astype(np.float64)
        word = _token(data, starts[k], ends[k], classes)
        counts[k] += _add_subwords(word, min_n, max_n, np.uint64(num_buckets), pruned, vectors, total)
        words[k] = total.astype(np.float32)


@njit(nogil=True, cache=True)
def _next_tokens(data, i, end, h, key, start, classes, hashes, keys, starts, ends):
    """Hashes of the words that end in data[i:end], until the buffers are full; the last ends with the document.

    A word is always written, and the end of the buffer moves only where one has ended: a branch there, which no
    processor can guess, would cost more than all else.

    Args:
        h, key, start: what the last call returned: hashes of a word that has begun, and its place.

    Returns:
        (words found, position, h, key, start)
    """
    found = 0
    room = len(hashes) - 2
    while i < end and found < room:
        byte = data[np.uint64(i)]
        kind = classes[byte]
        is_end = kind == 1
        hashes[np.uint64(found)] = h
        keys[np.uint64(found)] = key
        starts[np.uint64(found)] = start
        ends[np.uint64(found)] = i
        found += np.int64(is_end & (key != FNV_OFFSET))
        is_letter = kind == 0
        longer = _add_byte(h, byte)
        longer_key = (key ^ np.uint64(byte)) * FNV_PRIME
        h = _OFFSET if is_end else (longer if is_letter else h)
        key = FNV_OFFSET if is_end else (longer_key if is_letter else key)
        i += 1
        start = i if is_end else start
    if i >= end and key != FNV_OFFSET:
        hashes[found] = h
        keys[found] = key
        starts[found] = start
        ends[found] = end
        found += 1
        key = FNV_OFFSET
    return found, i, h, key, start


@njit(nogil=True, cache=True)
def _is_label(word, prefix):
    """Whether a word in brackets starts with the prefix of labels."""
    return len(word) >= len(prefix) + 2 and (word[1 : len(prefix) + 1] == prefix).all()


@njit(nogil=True, cache=True)
def _add_rows(vectors, rows, number, total):
    """Adds `number` rows of `vectors` to `total`."""
    if len(total) == 2:  # two labels, by far the most common
        first, second = total[0], total[1]
        for k in range(number):
            first += vectors[rows[k], 0]
            second += vectors[rows[k], 1]
        total[0], total[1] = first, second
        return
    for k in range(number):
        for m in range(len(total)):
            total[m] += vectors[rows[k], m]


@njit(nogil=True, cache=True)
def mean_vectors(
    data,
    offsets,
    skip_newlines,
    slots,
    end_mark,
    prefix,
    order,
    min_n,
    max_n,
    num_buckets,
    pruned,
    words,
    counts,
    vectors,
):
    """Mean of the vectors of all words, subwords and word n-grams of each document [documents, width] float64.

    Words are taken some hundreds at a time, each step for all of them: what has to be fetched from memory is then
    fetched side by side.

    Args:
        skip_newlines: newlines are taken out, so that words grow together over them; else they part words.
        slots: `build_lookup` of words and, behind them, labels.
        end_mark: the bytes of the mark that ends a document ("</s>"). prefix: of labels; words that start so are
            passed over.
        order: longest word n-gram. min_n, max_n: characters of subwords; max_n 0 = none.
        num_buckets: of n-grams and subwords. pruned: row of each bucket or -1 [buckets] int32; empty = its own.
        words, counts: vector of each word with its subwords [words, width], and how many they are [words].
        vectors: of buckets [rows, width].

    Returns:
        Means, NaN for a document of which nothing is known.
    """
    width = words.shape[1]
    num_words = words.shape[0]
    size = np.uint64(max(1, num_buckets))
    classes = _byte_classes(skip_newlines)
    means = np.zeros((len(offsets) - 1, width))
    hashes = np.empty(_BUFFER, np.uint32)
    keys = np.empty(_BUFFER, np.uint64)
    starts = np.empty(_BUFFER, np.int64)
    ends = np.empty(_BUFFER, np.int64)
    places = np.empty(_BUFFER, np.int64)
    rows = np.empty(_BUFFER, np.int64)
    chains = np.zeros(max(1, order), np.uint64)
    end_key = _key(end_mark, 0, len(end_mark))
    end_hash = _OFFSET
    for byte in end_mark:
        end_hash = _add_byte(end_hash, byte)
    total = np.zeros(width)
    for row in range(len(offsets) - 1):
        i, end = offsets[row], offsets[row + 1]
        h, key, start = _OFFSET, FNV_OFFSET, i
        total[:] = 0.0
        number = 0
        num_chains = 0
        is_open = True
        while is_open:
            found, i, h, key, start = _next_tokens(data, i, end, h, key, start, classes, hashes, keys, starts, ends)
            for k in range(found):
                keys[k] = mix64(keys[k])
            if i >= end:  # the end of a document is a word itself
                hashes[found], keys[found], starts[found], ends[found] = end_hash, end_key, end, end
                found += 1
            for k in range(found):
                places[k] = _find(slots, keys[k])
            num_kept = 0
            num_known = 0
            for k in range(found):
                place = places[k]
                is_end = keys[k] == end_key
                if place < 0 and not is_end:
                    word = _token(data, starts[k], ends[k], classes)
                    if _is_label(word, prefix):
                        continue
                    if max_n > 0:
                        number += _add_subwords(word, min_n, max_n, size, pruned, vectors, total)
                elif place >= num_words:
                    continue
                elif place >= 0:
                    rows[num_known] = place
                    num_known += 1
                    number += counts[place] if max_n > 0 else 1
                hashes[num_kept] = hashes[k]
                num_kept += 1
                if is_end:
                    is_open = False
                    break
            _add_rows(words, rows, num_known, total)
            if order == 1:
                continue
            num_rows = 0
            for k in range(num_kept):
                value = np.uint64(np.int64(np.int32(hashes[k])))
                if num_rows + order > _BUFFER:
                    _add_rows(vectors, rows, num_rows, total)
                    num_rows = 0
                for c in range(num_chains - 1, -1, -1):
                    chain = chains[c] * _NGRAM + value
                    chains[c + 1] = chain
                    bucket = _row(chain % size, pruned)
                    rows[num_rows] = bucket
                    num_rows += np.int64(bucket >= 0)
                    number += np.int64(bucket >= 0)
                chains[0] = value
                num_chains = min(num_chains + 1, order - 1)
            _add_rows(vectors, rows, num_rows, total)
        for m in range(width):
            means[row, m] = total[m] / number if number else np.nan
    return means
