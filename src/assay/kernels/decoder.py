"""What a decoder does between its matrix products, forwards and backwards, each in one pass over memory, in float32.

Every kernel takes the rows from `first` to `last`; rows are independent of each other, so any split of them over
threads gives the same bytes. Gradients of gains are sums over rows: they are made for blocks of `SUMMED` rows, which
the caller adds up in order.
"""

import numpy as np
from numba import njit

SUMMED = 256  # rows; a split over threads is at multiples of it
_LANES = 64  # maxima kept side by side, which the compiler turns into vector instructions
_LOG2E, _LN2_HIGH, _LN2_LOW = np.float32(1.44269504), np.float32(0.693359375), np.float32(-2.12194440e-4)
_ROUNDER = np.float32(12582912.0)  # 1.5 * 2^23: what is added to it ends up rounded to an integer
_LOWEST = np.float32(-87.0)  # exp of less is no normal number
_ONE = np.float32(1.0)

# Division by 0 gives infinity, as in numpy: a check of each would keep loops from becoming vector instructions.
# Sums may be in any order, for the same reason; NaN stays NaN.
#
# What kernels call is made part of them. A function that is called is compiled twice, alone and within its caller, and
# the two may round otherwise: the process that compiles runs the first, one that loads the cache the second.
_STRICT = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": False}
_ANY_ORDER = _STRICT | {"fastmath": {"reassoc", "nsz", "contract", "arcp"}}
_kernel, _inner = njit(**_STRICT), njit(**_STRICT, forceinline=True)
_summing, _inner_summing = njit(**_ANY_ORDER), njit(**_ANY_ORDER, forceinline=True)


@njit(**_STRICT | {"fastmath": {"contract"}}, forceinline=True)
def exp32(x):
    """Exp of a float32 up to 88, to 2 units in the last place; 1.6e-38 below -87.

    Cody and Waite's reduction and the polynomial of Cephes' expf. Unlike the library's, a loop over it becomes vector
    instructions: 0.3 ns a number.
    """
    x = max(x, _LOWEST)
    shifted = x * _LOG2E + _ROUNDER
    n = shifted - _ROUNDER
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = p * r * r + r + _ONE
    power = (np.int32(n) + np.int32(127)) << np.int32(23)
    return p * np.int32(power).view(np.float32)


@_inner_summing
def _top(row, lanes):
    """The largest of a row; `lanes` [64] is scratch."""
    whole = len(row) - len(row) % _LANES
    top = row[0]
    if whole:
        lanes[:] = row[:_LANES]
        for start in range(_LANES, whole, _LANES):
            for k in range(_LANES):
                lanes[k] = max(lanes[k], row[start + k])
        for k in range(_LANES):
            top = max(top, lanes[k])
    for j in range(whole, len(row)):
        top = max(top, row[j])
    return top


@_inner_summing
def _inverse_rms(row, epsilon):
    total = np.float32(0)
    for j in range(len(row)):
        total += row[j] * row[j]
    return _ONE / np.sqrt(total / np.float32(len(row)) + epsilon)


@_inner
def _normalise(row, gain, epsilon, result):
    inverse = _inverse_rms(row, epsilon)
    for j in range(len(row)):
        result[j] = row[j] * inverse * gain[j]


@_kernel
def normalise(first, last, rows, gain, epsilon, result):
    """Rows [n, width] divided by the root of their mean square, times `gain` [width]."""
    for i in range(first, last):
        _normalise(rows[i], gain, epsilon, result[i])


@_inner_summing
def _normalise_back(row, gain, slope, epsilon, result, gain_slope):
    """The gradient of one row into `result`; that of the gain is added to `gain_slope`."""
    inverse = _inverse_rms(row, epsilon)
    total = np.float32(0)
    for j in range(len(row)):
        gain_slope[j] += slope[j] * row[j] * inverse
        total += slope[j] * gain[j] * row[j]
    shared = total * inverse * inverse * inverse / np.float32(len(row))
    for j in range(len(row)):
        result[j] = slope[j] * gain[j] * inverse - row[j] * shared


@_kernel
def normalise_back(first, last, rows, gain, slopes, epsilon, result, gain_slopes):
    """Gradients of `normalise` by its rows, and by its gain [blocks, width]."""
    for i in range(first, last):
        _normalise_back(rows[i], gain, slopes[i], epsilon, result[i], gain_slopes[i // SUMMED])


@_inner
def _turn(row, cosine, sine, result):
    """The halves of a row are the coordinates of points, each turned by its angle."""
    half = len(cosine)
    x, y, new_x, new_y = row[:half], row[half:], result[:half], result[half:]
    for j in range(half):
        new_x[j] = x[j] * cosine[j] - y[j] * sine[j]
        new_y[j] = y[j] * cosine[j] + x[j] * sine[j]


@_inner
def _turn_back(row, cosine, sine, result):
    half = len(cosine)
    x, y, old_x, old_y = row[:half], row[half:], result[:half], result[half:]
    for j in range(half):
        old_x[j] = x[j] * cosine[j] + y[j] * sine[j]
        old_y[j] = y[j] * cosine[j] - x[j] * sine[j]


@_kernel
def turn(first, last, qkv, gains, cosines, sines, epsilon, result):
    """Queries and keys normalised and turned by the angles of their position; values as they are.

    Args:
        qkv: [n, 3, heads, size].
        gains: of queries and keys [2, size].
        cosines, sines: [positions, size / 2]; row i is at position i modulo `positions`.
        result: [3, heads, n, size].
    """
    heads, size = qkv.shape[2:]
    normed = np.empty(size, np.float32)
    for i in range(first, last):
        position = i % len(cosines)
        for head in range(heads):
            for part in range(2):
                _normalise(qkv[i, part, head], gains[part], epsilon, normed)
                _turn(normed, cosines[position], sines[position], result[part, head, i])
            result[2, head, i] = qkv[i, 2, head]


@_kernel
def turn_back(first, last, qkv, gains, cosines, sines, slopes, epsilon, result, gain_slopes):
    """Gradients of `turn` by qkv [n, 3, heads, size] from those of what it gave, and by its gains [blocks, 2, size]."""
    heads, size = qkv.shape[2:]
    turned = np.empty(size, np.float32)
    for i in range(first, last):
        position, block = i % len(cosines), i // SUMMED
        for head in range(heads):
            for part in range(2):
                _turn_back(slopes[part, head, i], cosines[position], sines[position], turned)
                into, row = result[i, part, head], qkv[i, part, head]
                _normalise_back(row, gains[part], turned, epsilon, into, gain_slopes[block, part])
            result[i, 2, head] = slopes[2, head, i]


@_inner
def _gate(gates, ups, result):
    for j in range(len(result)):
        result[j] = gates[j] / (_ONE + exp32(-gates[j])) * ups[j]


@_kernel
def gate(first, last, gates_ups, result):
    """silu(gate) * up of rows [n, 2 * hidden]: [n, hidden]."""
    hidden = result.shape[1]
    for i in range(first, last):
        _gate(gates_ups[i, :hidden], gates_ups[i, hidden:], result[i])


@_inner
def _gate_back(gates, ups, slopes, by_gates, by_ups):
    for j in range(len(slopes)):
        gate, slope = gates[j], slopes[j]
        share = _ONE / (_ONE + exp32(-gate))
        by_gates[j] = slope * ups[j] * share * (_ONE + gate * (_ONE - share))
        by_ups[j] = slope * gate * share


@_kernel
def gate_back(first, last, gates_ups, slopes, result):
    """Gradients of `gate` by its rows [n, 2 * hidden]."""
    hidden = slopes.shape[1]
    for i in range(first, last):
        by_gates, by_ups = result[i, :hidden], result[i, hidden:]
        _gate_back(gates_ups[i, :hidden], gates_ups[i, hidden:], slopes[i], by_gates, by_ups)


@_inner_summing
def _exp_in_place(row, top):
    """exp(x - top) in place of each x; their sum."""
    total = np.float32(0)
    for j in range(len(row)):
        share = exp32(row[j] - top)
        row[j] = share
        total += share
    return total


@_summing
def look_back(scores, starts, first):
    """Softmax in place over what each position may look at, 0 elsewhere.

    Args:
        scores: [heads, queries, keys]; query i is at row first + i of `starts`, keys begin at row starts[first].
        starts: the first row that each may look at [rows]; it may look at all from there up to itself.
    """
    lanes = np.empty(_LANES, np.float32)
    heads, num_queries = scores.shape[:2]
    origin = starts[first]
    for head in range(heads):
        for i in range(num_queries):
            a, b = starts[first + i] - origin, first + i + 1 - origin
            scores[head, i, :a] = 0
            scores[head, i, b:] = 0
            row = scores[head, i, a:b]
            inverse = _ONE / _exp_in_place(row, _top(row, lanes))
            for j in range(len(row)):
                row[j] *= inverse


@_summing
def look_back_back(shares, slopes, starts, first):
    """Gradients of `look_back` by its scores, in place of those by what it gave, `shares`."""
    heads, num_queries = shares.shape[:2]
    origin = starts[first]
    for head in range(heads):
        for i in range(num_queries):
            a, b = starts[first + i] - origin, first + i + 1 - origin
            slopes[head, i, :a] = 0
            slopes[head, i, b:] = 0
            share, slope = shares[head, i, a:b], slopes[head, i, a:b]
            total = np.float32(0)
            for j in range(len(share)):
                total += share[j] * slope[j]
            for j in range(len(share)):
                slope[j] = share[j] * (slope[j] - total)


@_kernel
def surprise(first, last, logits, targets, ignored, losses, inverses):
    """-ln p of each row's target, and exp(logits - their largest) in place of the logits [n, vocabulary].

    inverses: 1 / the sum of each row; 0, as its loss, where the target is `ignored`.
    """
    lanes = np.empty(_LANES, np.float32)
    for i in range(first, last):
        losses[i] = 0
        inverses[i] = 0
        if targets[i] != ignored:
            row = logits[i]
            chosen, top = row[targets[i]], _top(row, lanes)
            total = _exp_in_place(row, top)
            losses[i] = np.log(total) - (chosen - top)
            inverses[i] = _ONE / total
