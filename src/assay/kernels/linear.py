"""Linear models over hashed word n-grams: documents as rows of buckets, margins, and one pass of gradient descent.

A document is the vector of 1 + ln(count) of its n-grams, divided by its length (Euclidean): long documents and words
said often do not outweigh the rest. Rows are made once for training; `margins_of_texts` never makes them: the k-th time
a bucket is met it adds the difference between k and k - 1, so that text is scored in one pass.
"""

import numpy as np
from numba import njit

from assay.kernels.hashing import GOLDEN, mix64
from assay.kernels.unicode import SPACE
from assay.kernels.words import MAX_ORDER, _bucket, _buffers, next_words

MAX_COUNT = 255  # of one n-gram in one document
LOGISTIC, SOFTMAX, ORDINAL, SQUARED = 0, 1, 2, 3
_BIAS_RATE = 0.1  # the bias is in every document, and would run ahead of the weights


@njit(nogil=True, cache=True)
def _terms():
    """1 + ln(k) of each count k [256], 0 of 0."""
    terms = np.zeros(MAX_COUNT + 1)
    for k in range(1, MAX_COUNT + 1):
        terms[k] = 1.0 + np.log(k)
    return terms


@njit(nogil=True, cache=True)
def _grown(array, size):
    result = np.empty(2 * size, array.dtype)
    result[: len(array)] = array
    return result


@njit(nogil=True, cache=True)
def ngram_rows(data, offsets, order, num_buckets, tables):
    """The distinct hashed 1- to `order`-grams of each document.

    Returns:
        starts of documents [documents + 1] int64, buckets [n-grams] uint32, ascending in a document, counts [n-grams]
        uint8, and 1 / length of each document's vector [documents] float32, 0 where it has no words.
    """
    grams = np.zeros(MAX_ORDER + 1, np.uint64)
    hashes, kinds = _buffers()
    terms = _terms()
    size = np.uint64(num_buckets)
    found_buckets = np.empty(1 << 14, np.uint32)
    buckets = np.empty(max(1 << 12, (offsets[-1] - offsets[0]) * order // 4), np.uint32)
    counts = np.empty(len(buckets), np.uint8)
    starts = np.zeros(len(offsets), np.int64)
    scales = np.zeros(len(offsets) - 1, np.float32)
    total = 0
    for row in range(len(offsets) - 1):
        i, end = offsets[row], offsets[row + 1]
        h, kind = np.uint64(0), np.uint8(SPACE)
        num_words = 0
        num_found = 0
        while i < end:
            found, i, h, kind = next_words(data, i, end, h, kind, hashes, kinds, tables)
            if num_found + found * order > len(found_buckets):
                found_buckets = _grown(found_buckets, num_found + found * order)
            for j in range(found):
                num_words += 1
                for k in range(min(order, num_words), 0, -1):
                    grams[k] = mix64(grams[k - 1] * GOLDEN + hashes[j]) if k > 1 else mix64(hashes[j])
                    found_buckets[num_found] = _bucket(grams[k], size)
                    num_found += 1
        if total + num_found > len(buckets):
            counts = _grown(counts, total + num_found)
            buckets = _grown(buckets, total + num_found)
        ordered = np.sort(found_buckets[:num_found])
        for k in range(num_found):
            if k > 0 and ordered[k] == ordered[k - 1]:
                counts[total - 1] += counts[total - 1] < MAX_COUNT
            else:
                buckets[total] = ordered[k]
                counts[total] = 1
                total += 1
        starts[row + 1] = total
        squares = 0.0
        for k in range(starts[row], total):
            squares += terms[counts[k]] ** 2
        if squares > 0:
            scales[row] = 1.0 / np.sqrt(squares)
    return starts, buckets[:total].copy(), counts[:total].copy(), scales


@njit(nogil=True, cache=True)
def margins_of_texts(data, offsets, order, weights, bias, tables):
    """Margin of each document under each output [documents, outputs] float64, straight from the text.

    Args:
        weights: [buckets, outputs] float32. bias: [outputs] float64.
    """
    num_outputs = weights.shape[1]
    size = np.uint64(weights.shape[0])
    grams = np.zeros(MAX_ORDER + 1, np.uint64)
    hashes, kinds = _buffers()
    terms = _terms()
    steps = np.diff(terms)
    square_steps = np.diff(terms**2)
    seen = np.zeros(weights.shape[0], np.uint32)  # document << 8 | count, so that it need not be cleared
    margins = np.zeros((len(offsets) - 1, num_outputs))
    for row in range(len(offsets) - 1):
        mark = np.uint32((row + 1) & 0xFFFFFF) << np.uint32(8)
        if mark == 0:
            seen[:] = 0
        i, end = offsets[row], offsets[row + 1]
        h, kind = np.uint64(0), np.uint8(SPACE)
        num_words = 0
        squares = 0.0
        first = 0.0
        while i < end:
            found, i, h, kind = next_words(data, i, end, h, kind, hashes, kinds, tables)
            for j in range(found):
                num_words += 1
                for k in range(min(order, num_words), 0, -1):
                    grams[k] = mix64(grams[k - 1] * GOLDEN + hashes[j]) if k > 1 else mix64(hashes[j])
                    bucket = _bucket(grams[k], size)
                    entry = seen[bucket]
                    count = entry & np.uint32(0xFF) if (entry & np.uint32(0xFFFFFF00)) == mark else np.uint32(0)
                    if count == MAX_COUNT:
                        continue
                    seen[bucket] = mark | (count + np.uint32(1))
                    squares += square_steps[count]
                    first += steps[count] * weights[bucket, 0]
                    for m in range(1, num_outputs):
                        margins[row, m] += steps[count] * weights[bucket, m]
        margins[row, 0] = first
        scale = 1.0 / np.sqrt(squares) if squares > 0 else 0.0
        for m in range(num_outputs):
            margins[row, m] = margins[row, m] * scale + bias[m]
    return margins


@njit(nogil=True, cache=True)
def margins_of_rows(starts, buckets, counts, scales, rows, weights, bias):
    """Margin of some documents [rows, outputs] float64, from what `ngram_rows` returned."""
    terms = _terms()
    margins = np.zeros((len(rows), weights.shape[1]))
    for k in range(len(rows)):
        _margin(starts, buckets, counts, scales, rows[k], weights, bias, terms, margins[k])
    return margins


@njit(nogil=True, cache=True)
def _margin(starts, buckets, counts, scales, row, weights, bias, terms, out):
    num_outputs = weights.shape[1]
    if num_outputs == 1:
        total = 0.0
        for k in range(starts[row], starts[row + 1]):
            total += terms[counts[k]] * weights[buckets[k], 0]
        out[0] = total * scales[row] + bias[0]
        return
    out[:] = 0.0
    for k in range(starts[row], starts[row + 1]):
        term = terms[counts[k]]
        for m in range(num_outputs):
            out[m] += term * weights[buckets[k], m]
    for m in range(num_outputs):
        out[m] = out[m] * scales[row] + bias[m]


@njit(nogil=True, cache=True)
def _step(starts, buckets, counts, scales, row, weights, terms, gradient, rate):
    """Moves the weights of one document's n-grams against the gradient [outputs] of its margins."""
    num_outputs = weights.shape[1]
    if num_outputs == 1:
        amount = rate * gradient[0] * scales[row]
        for k in range(starts[row], starts[row + 1]):
            weights[buckets[k], 0] -= np.float32(amount * terms[counts[k]])
        return
    for k in range(starts[row], starts[row + 1]):
        amount = rate * terms[counts[k]] * scales[row]
        for m in range(num_outputs):
            weights[buckets[k], m] -= np.float32(amount * gradient[m])


@njit(nogil=True, cache=True)
def _sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x)) if x >= 0 else 1.0 - 1.0 / (1.0 + np.exp(x))


@njit(nogil=True, cache=True)
def _gradient(loss, margins, label, thresholds, gradient, threshold_gradient):
    """Derivative of one document's loss by its margins, and of the ordinal loss by the thresholds."""
    if loss == LOGISTIC:
        gradient[0] = _sigmoid(margins[0]) - label
    elif loss == SQUARED:
        gradient[0] = margins[0] - label
    elif loss == SOFTMAX:
        highest = margins.max()
        total = 0.0
        for m in range(len(margins)):
            gradient[m] = np.exp(margins[m] - highest)
            total += gradient[m]
        for m in range(len(margins)):
            gradient[m] = gradient[m] / total - (1.0 if m == np.int64(label) else 0.0)
    else:  # all thresholds at once (Rennie and Srebro 2005): sum over k of the logistic loss of "above k"
        gradient[0] = 0.0
        for k in range(len(thresholds)):
            threshold_gradient[k] = _sigmoid(margins[0] - thresholds[k]) - (1.0 if label > k else 0.0)
            gradient[0] += threshold_gradient[k]


@njit(nogil=True, cache=True)
def _shuffle(order, seed):
    state = mix64(np.uint64(seed) + GOLDEN)
    for k in range(len(order) - 1, 0, -1):
        state += GOLDEN
        j = np.int64((mix64(state) >> np.uint64(32)) * np.uint64(k + 1) >> np.uint64(32))
        order[k], order[j] = order[j], order[k]


@njit(nogil=True, cache=True)
def descend(
    starts, buckets, counts, scales, rows, labels, loss, weights, bias, thresholds, first_rate, last_rate, seed
):
    """One pass of stochastic gradient descent over `rows` in an order drawn by `seed`; changes weights and biases.

    Args:
        labels: of all documents [documents] float64: 0 to 1 (LOGISTIC), class (SOFTMAX, ORDINAL), value (SQUARED).
        loss: LOGISTIC, SOFTMAX, ORDINAL or SQUARED.
        weights: [buckets, outputs] float32. bias: [outputs]. thresholds: [classes - 1] of ORDINAL, else empty.
        first_rate, last_rate: learning rate at the start and end of the pass, linear between.
    """
    order = rows.copy()
    _shuffle(order, seed)
    terms = _terms()
    margins = np.zeros(weights.shape[1])
    gradient = np.zeros(weights.shape[1])
    threshold_gradient = np.zeros(len(thresholds))
    for k in range(len(order)):
        rate = first_rate + (last_rate - first_rate) * k / len(order)
        row = order[k]
        _margin(starts, buckets, counts, scales, row, weights, bias, terms, margins)
        _gradient(loss, margins, labels[row], thresholds, gradient, threshold_gradient)
        _step(starts, buckets, counts, scales, row, weights, terms, gradient, rate)
        if loss == ORDINAL:
            for t in range(len(thresholds)):
                thresholds[t] += _BIAS_RATE * rate * threshold_gradient[t]
        else:
            for m in range(len(bias)):
                bias[m] -= _BIAS_RATE * rate * gradient[m]


@njit(nogil=True, cache=True)
def descend_pairs(starts, buckets, counts, scales, pairs, lower, upper, shares, weights, first_rate, last_rate, seed):
    """As `descend`, over pairs: cross entropy of sigmoid(margin of `upper` - margin of `lower`) against `shares`.

    Args:
        pairs: which pairs [some]. lower, upper: documents of all pairs [pairs]. shares: how often `upper` won [pairs].
    """
    order = pairs.copy()
    _shuffle(order, seed)
    terms = _terms()
    bias = np.zeros(1)
    low, high = np.zeros(1), np.zeros(1)
    for k in range(len(order)):
        rate = first_rate + (last_rate - first_rate) * k / len(order)
        a, b = lower[order[k]], upper[order[k]]
        _margin(starts, buckets, counts, scales, a, weights, bias, terms, low)
        _margin(starts, buckets, counts, scales, b, weights, bias, terms, high)
        high[0] = _sigmoid(high[0] - low[0]) - shares[order[k]]
        low[0] = -high[0]
        _step(starts, buckets, counts, scales, a, weights, terms, low, rate)
        _step(starts, buckets, counts, scales, b, weights, terms, high, rate)
