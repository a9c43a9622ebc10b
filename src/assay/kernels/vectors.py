"""Unit vectors whose dot products are the same to the last bit, however a product is cut and added up.

Every number of a vector is rounded to a multiple of 2^-11. The products of two are then multiples of 2^-22, and no
partial sum of a dot product of unit vectors is larger than 1 (Cauchy and Schwarz), or 4 with all that rounding adds: 24
bits, which float32 holds exactly. So matrix products go at the speed of BLAS, and blocks, threads, processors and the
order of summation change no bit of them. What rounding costs: a cosine is off by about 0.0002 (root mean square, 128 to
1024 dimensions).
"""

from collections.abc import Iterator

import numpy as np
from numba import njit

_GRID = np.float32(1 << 11)
_BLOCK_BYTES = 32 << 20


def snapped(vectors: np.ndarray) -> np.ndarray:
    """The vectors at unit length, rounded to multiples of 2^-11 [vectors, dimensions] float32; zeros stay zeros."""
    rows = vectors.astype(np.float32)
    squares = np.zeros(len(rows), np.float64)
    for column in rows.T:  # in one order, whatever the rows beside
        squares += column.astype(np.float64) ** 2
    lengths = np.sqrt(squares)
    scale = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return np.rint(rows * scale.astype(np.float32)[:, np.newaxis] * _GRID) / _GRID


def blocks(num_rows: int, num_columns: int) -> Iterator[slice]:
    """Runs of rows whose products with so many columns take about 32 MB."""
    size = max(1, _BLOCK_BYTES // (4 * max(1, num_columns)))
    for first in range(0, num_rows, size):
        yield slice(first, min(first + size, num_rows))


def most_similar(vectors: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each vector the number of the other one with the largest dot product, the first of equals, and the product.

    Args:
        vectors [vectors, dimensions], others [others, dimensions]: float32, snapped.

    Returns:
        numbers [vectors] int64 and products [vectors] float32.
    """
    numbers, products = np.empty(len(vectors), np.int64), np.empty(len(vectors), np.float32)
    for rows in blocks(len(vectors), len(others)):
        product = vectors[rows] @ others.T
        numbers[rows] = product.argmax(axis=1)
        products[rows] = product[np.arange(len(product)), numbers[rows]]
    return numbers, products


def neighbours(vectors: np.ndarray, num: int) -> tuple[np.ndarray, np.ndarray]:
    """The `num` nearest others of each vector, nearest first, of equals the first; itself is not among them.

    Time grows with the square of the vectors, memory does not.

    Args:
        vectors: [vectors, dimensions] float32, snapped. num: below the number of vectors.

    Returns:
        numbers [vectors, num] int32 and dot products [vectors, num] float32.
    """
    numbers, products = np.empty((len(vectors), num), np.int32), np.empty((len(vectors), num), np.float32)
    for rows in blocks(len(vectors), len(vectors)):
        _largest(vectors[rows] @ vectors.T, rows.start, numbers[rows], products[rows])
    return numbers, products


@njit(nogil=True, cache=True)
def _largest(product, first, numbers, products):
    """Fills in the largest of each row but the one at its own place, by a heap that has the least of them on top."""
    num = numbers.shape[1]
    for i in range(len(product)):
        filled = 0
        for j in range(product.shape[1]):
            if j == first + i:
                continue
            if filled < num:
                products[i, filled], numbers[i, filled] = product[i, j], j
                filled += 1
                if filled == num:
                    for place in range(num // 2 - 1, -1, -1):
                        _sift(products[i], numbers[i], num, place)
            elif product[i, j] > products[i, 0]:
                products[i, 0], numbers[i, 0] = product[i, j], j
                _sift(products[i], numbers[i], num, 0)
        for last in range(num - 1, 0, -1):
            products[i, 0], products[i, last] = products[i, last], products[i, 0]
            numbers[i, 0], numbers[i, last] = numbers[i, last], numbers[i, 0]
            _sift(products[i], numbers[i], last, 0)


@njit(nogil=True, cache=True)
def _sift(products, numbers, size, place):
    """Moves an entry down to where no entry below it is less, or as large and of a higher number."""
    product, number = products[place], numbers[place]
    while 2 * place + 1 < size:
        least = 2 * place + 1
        other = least + 1
        if other < size and (
            products[other] < products[least]
            or (products[other] == products[least] and numbers[other] > numbers[least])
        ):
            least = other
        if products[least] > product or (products[least] == product and numbers[least] < number):
            break
        products[place], numbers[place] = products[least], numbers[least]
        place = least
    products[place], numbers[place] = product, number
