"""Counts behind modified Kneser-Ney smoothing, by one sort of the highest-order n-grams.

Each n-gram w_1 ... w_n is put into the bucket of its last word w_n, and inside the bucket sorted by w_{n-1}, ..., w_1.
Leaving out w_1 leaves that order intact, so every lower order, with its continuation counts (the number of distinct
words that precede it), falls out of one linear pass. And inside a bucket the key *is* the context, read backwards, so
the totals of a context are found by looking its key up in all buckets: one linear pass for all queries.
"""

import numpy as np
from numba import njit

from assay.kernels.hashing import mix64
from assay.kernels.hashtable import find

_DIGIT_BITS = 11
_SMALL = 48


@njit(nogil=True, cache=True)
def count_words(tokens, num_words):
    """How often each id occurs [num_words] int64."""
    counts = np.zeros(num_words, np.int64)
    for token in tokens:
        counts[token] += 1
    return counts


@njit(nogil=True, cache=True)
def ngram_keys(keys, buckets, first_word, tokens, starts, has_end, order, bits, end_id, begin_id):
    """The order-grams of all documents that end in some words, by last word and sorted by the words before it.

    A document is seen as order - 1 begin marks, its tokens, and an end mark where `has_end`.

    Args:
        keys: room for them and one more, w_{n-1} highest [n-grams + 1] uint64.
        buckets: where the bucket of each last word starts, the first being that of `first_word` [words + 1] int64.
        tokens, starts: ids of all documents and where each starts [documents + 1].
        has_end: False for a document that was cut off [documents].
        bits: bits of an id; (order - 1) * bits <= 64.
    """
    last_word = first_word + len(buckets) - 1
    # n-grams that end in other words all go to the spare place: writing them costs less than asking.
    fill = np.full(begin_id + 1, buckets[-1], np.int64)
    step = np.zeros(begin_id + 1, np.int64)
    fill[first_word:last_word] = buckets[:-1]
    step[first_word:last_word] = 1
    shift = np.uint64(bits)
    top = np.uint64(bits * (order - 2)) if order > 1 else np.uint64(0)
    for row in range(len(has_end)):
        key = np.uint64(0)
        for _ in range(order - 1):
            key = (key >> shift) | (np.uint64(begin_id) << top)
        for i in range(starts[row], starts[row + 1]):
            word = np.uint64(tokens[i])
            keys[fill[word]] = key
            fill[word] += step[word]
            if order > 1:
                key = (key >> shift) | (word << top)
        if has_end[row]:
            keys[fill[end_id]] = key
            fill[end_id] += step[end_id]
    _sort_buckets(keys, buckets, bits * (order - 1))


@njit(nogil=True, cache=True)
def _sort_buckets(keys, buckets, key_bits):
    largest = 0
    for word in range(len(buckets) - 1):
        largest = max(largest, buckets[word + 1] - buckets[word])
    scratch = np.empty(largest, np.uint64)
    digits = np.zeros(1 << _DIGIT_BITS, np.int64)
    for word in range(len(buckets) - 1):
        bucket = keys[buckets[word] : buckets[word + 1]]
        if len(bucket) <= _SMALL:
            _insertion_sort(bucket)
        elif len(bucket) < 4096:
            bucket.sort()
        else:
            _radix_sort(bucket, scratch, digits, key_bits)


@njit(nogil=True, cache=True)
def _insertion_sort(values):
    for i in range(1, len(values)):
        value = values[i]
        j = i
        while j > 0 and values[j - 1] > value:
            values[j] = values[j - 1]
            j -= 1
        values[j] = value


@njit(nogil=True, cache=True)
def _radix_sort(values, scratch, digits, key_bits):
    """Least significant digit first; `scratch` holds at least as many values, `digits` one count a digit value."""
    source = values
    target = scratch[: len(values)]
    low = np.uint64(len(digits) - 1)
    swapped = False
    shift = 0
    while shift < key_bits:
        digits[:] = 0
        for value in source:
            digits[(value >> np.uint64(shift)) & low] += 1
        total = 0
        for d in range(len(digits)):
            count = digits[d]
            digits[d] = total
            total += count
        for value in source:
            d = (value >> np.uint64(shift)) & low
            target[digits[d]] = value
            digits[d] += 1
        source, target = target, source
        swapped = not swapped
        shift += _DIGIT_BITS
    if swapped:
        values[:] = source


@njit(nogil=True, cache=True)
def count_distinct(keys, buckets):
    """Moves the distinct keys of all buckets to the front of `keys`, which spares a second array of its size.

    Returns:
        how often each stood in its bucket [distinct] uint32, and where buckets start now [buckets + 1] int64.
    """
    num_distinct = 0
    for word in range(len(buckets) - 1):
        for i in range(buckets[word], buckets[word + 1]):
            num_distinct += i == buckets[word] or keys[i] != keys[i - 1]
    counts = np.zeros(num_distinct, np.uint32)
    starts = np.zeros(len(buckets), np.int64)
    n = 0
    for word in range(len(buckets) - 1):
        for i in range(buckets[word], buckets[word + 1]):
            if n == starts[word] or keys[i] != keys[n - 1]:
                keys[n] = keys[i]
                n += 1
            counts[n - 1] += np.uint32(1)
        starts[word + 1] = n
    return counts, starts


@njit(nogil=True, cache=True)
def add_context_totals(totals, keys, counts, contexts, slots):
    """Adds to the totals of the contexts asked for, over all words that follow them.

    Args:
        totals: sum of counts, and number of words that follow once, twice, three times or more [contexts, 4] int64.
        keys, counts: context and (continuation) count of each distinct n-gram, all buckets [distinct].
        contexts: `mix64` of the contexts asked for, distinct [contexts] uint64.
        slots: `hashtable.build(contexts)`.
    """
    for i in range(len(keys)):
        position = find(contexts, slots, mix64(keys[i]))
        if position >= 0:
            count = counts[i]
            totals[position, 0] += count
            totals[position, min(count, np.uint32(3))] += 1


@njit(nogil=True, cache=True)
def find_counts(found, keys, counts, buckets, first_word, words, contexts):
    """Puts the count of each n-gram asked for into `found` [queries]; what was never seen is left as it is.

    Args:
        words: last word of each query [queries]; contexts: its key [queries] uint64.
    """
    for q in range(len(words)):
        bucket = words[q] - first_word
        if bucket < 0 or bucket >= len(buckets) - 1:
            continue
        low = buckets[bucket]
        high = buckets[bucket + 1]
        while low < high:
            middle = (low + high) >> 1
            if keys[middle] < contexts[q]:
                low = middle + 1
            else:
                high = middle
        if low < buckets[bucket + 1] and keys[low] == contexts[q]:
            found[q] = counts[low]


@njit(nogil=True, cache=True)
def interpolate(probabilities, counts, totals, position, discounts):
    """One step of the recursion, in place: from the probabilities of one order to those of the next.

    Args:
        probabilities: of each query under the shorter context [queries], changed.
        counts: of each query's n-gram [queries]. totals: of each distinct context [contexts, 4] (`add_context_totals`).
        position: each query's context among them [queries]. discounts: 0, D_1, D_2, D_3+.
    """
    for q in range(len(probabilities)):
        context = position[q]
        total = totals[context, 0]
        if total > 0:
            mass = 0.0
            for k in range(1, 4):
                mass += discounts[k] * totals[context, k]
            kept = counts[q] - discounts[min(counts[q], 3)]
            probabilities[q] = (kept + mass * probabilities[q]) / total


@njit(nogil=True, cache=True)
def context_keys(tokens, starts, order, bits, begin_id):
    """Key of the `order` - 1 words before each token, nearest highest; begin marks before a document [tokens]."""
    keys = np.zeros(len(tokens), np.uint64)
    if order == 1:
        return keys
    shift = np.uint64(bits)
    top = np.uint64(bits * (order - 2))
    for row in range(len(starts) - 1):
        key = np.uint64(0)
        for _ in range(order - 1):
            key = (key >> shift) | (np.uint64(begin_id) << top)
        for i in range(starts[row], starts[row + 1]):
            keys[i] = key
            key = (key >> shift) | (np.uint64(tokens[i]) << top)
    return keys
