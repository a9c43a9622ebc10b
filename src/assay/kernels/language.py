"""Language and script of UTF-8 texts: a walk through an n-gram automaton, and letters counted by script."""

import numpy as np
from numba import njit

from assay.kernels.unicode import decode

_SPACE = np.uint8(32)
_ROOM = 8  # for two spaces, and twice the rest of a character


@njit(nogil=True, cache=True)
def sample_texts(data, offsets, num_bytes):
    """The first, middle and last `num_bytes` bytes of each text, with a space between; short texts whole.

    Cuts fall between characters, so up to 3 bytes more or fewer are taken at each.

    Returns:
        bytes of all samples [bytes] uint8 and where each starts [texts + 1] int64.
    """
    starts = np.zeros(len(offsets), np.int64)
    for row in range(len(offsets) - 1):
        length = offsets[row + 1] - offsets[row]
        starts[row + 1] = starts[row] + min(length, 3 * num_bytes + _ROOM)
    result = np.empty(starts[-1], np.uint8)
    position = 0
    for row in range(len(offsets) - 1):
        start, end = offsets[row], offsets[row + 1]
        if end - start <= 3 * num_bytes + _ROOM:
            result[position : position + end - start] = data[start:end]
            position += end - start
        else:
            middle = start + (end - start - num_bytes) // 2
            for k, piece in enumerate((start, middle, end - num_bytes)):
                first = _boundary(data, piece, end)
                last = _boundary(data, piece + num_bytes, end) if k < 2 else end
                if k > 0:
                    result[position] = _SPACE
                    position += 1
                result[position : position + last - first] = data[first:last]
                position += last - first
        starts[row + 1] = position
    return result[:position], starts


@njit(nogil=True, cache=True)
def _boundary(data, i, end):
    """The first byte at or after `i` that does not continue a character, which has at most 3 such bytes."""
    for _ in range(3):
        if i < end and data[i] & 0xC0 == 0x80:
            i += 1
    return i


@njit(nogil=True, cache=True)
def count_scripts(data, offsets, scripts, num_scripts):
    """Letters of each script in each text [texts, scripts], int64.

    Args:
        scripts: script of each code point, `num_scripts` where it is not a letter [0x110000], uint8.
    """
    counts = np.zeros((len(offsets) - 1, num_scripts + 1), np.int64)
    for row in range(len(offsets) - 1):
        i, end = offsets[row], offsets[row + 1]
        while i < end:
            if data[i] < 0x80:
                counts[row, scripts[data[i]]] += 1
                i += 1
            else:
                code, width = decode(data, i, end)
                counts[row, scripts[np.int64(code)]] += 1
                i += width
    return counts[:, :num_scripts]


@njit(nogil=True, cache=True)
def log_posteriors(data, offsets, rows, moves, features, weights, priors):
    """Multinomial naive Bayes over the byte n-grams that an automaton finds; log1p of counts, as py3langid has it.

    Args:
        rows: row of `moves` that belongs to each state [states]. moves: next state by byte [rows, 256].
        features: feature that ends in a state, -1 for none [states].
        weights: log probability of a feature given a language [features, languages], float32.
        priors: log prior [languages], float32.

    Returns:
        unnormalised log posterior [texts, languages] float64 and distinct features of each text [texts] int64.
    """
    num_languages = weights.shape[1]
    posteriors = np.zeros((len(offsets) - 1, num_languages))
    num_distinct = np.zeros(len(offsets) - 1, np.int64)
    counts = np.zeros(len(weights), np.int32)
    touched = np.empty(len(weights), np.int32)
    for row in range(len(offsets) - 1):
        state = np.int64(0)
        found = 0
        for i in range(offsets[row], offsets[row + 1]):
            state = np.int64(moves[np.int64(rows[state]), data[i]])
            feature = features[state]
            if feature >= 0:
                if counts[feature] == 0:
                    touched[found] = feature
                    found += 1
                counts[feature] += 1
        for k in range(num_languages):
            posteriors[row, k] = priors[k]
        for j in range(found):
            feature = touched[j]
            amount = np.log1p(np.float64(counts[feature]))
            counts[feature] = 0
            for k in range(num_languages):
                posteriors[row, k] += amount * weights[feature, k]
        num_distinct[row] = found
    return posteriors, num_distinct
