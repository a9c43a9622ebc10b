"""Products of sparse rows, and the leading singular vectors of what they make up, every sum in a fixed order.

LAPACK would be faster, but what it returns depends in its last bits on the number of threads.
"""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def sparse_times(starts, columns, values, dense):
    """Sparse rows times `dense` [columns, k] float64: [rows, k] float64."""
    result = np.zeros((len(starts) - 1, dense.shape[1]))
    for row in range(len(starts) - 1):
        for entry in range(starts[row], starts[row + 1]):
            value, column = np.float64(values[entry]), columns[entry]
            for k in range(dense.shape[1]):
                result[row, k] += value * dense[column, k]
    return result


@njit(nogil=True, cache=True)
def sparse_transposed_times(starts, columns, values, dense, num_columns):
    """Sparse rows, transposed, times `dense` [rows, k] float64: [columns, k] float64."""
    result = np.zeros((num_columns, dense.shape[1]))
    for row in range(len(starts) - 1):
        for entry in range(starts[row], starts[row + 1]):
            value, column = np.float64(values[entry]), columns[entry]
            for k in range(dense.shape[1]):
                result[column, k] += value * dense[row, k]
    return result


@njit(nogil=True, cache=True)
def gram(rows):
    """The products of all pairs of columns of `rows` [rows, k] float64: [k, k].

    Four rows at a time, since it is reading and writing the result that takes the time.
    """
    size = rows.shape[1]
    result = np.zeros((size, size))
    whole = len(rows) - len(rows) % 4
    for row in range(0, whole, 4):
        r0, r1, r2, r3 = rows[row], rows[row + 1], rows[row + 2], rows[row + 3]
        for a in range(size):
            v0, v1, v2, v3 = r0[a], r1[a], r2[a], r3[a]
            for b in range(size):
                result[a, b] += v0 * r0[b] + v1 * r1[b] + v2 * r2[b] + v3 * r3[b]
    for row in range(whole, len(rows)):
        for a in range(size):
            value = rows[row, a]
            for b in range(size):
                result[a, b] += value * rows[row, b]
    return result


@njit(nogil=True, cache=True)
def times(rows, matrix):
    """`rows` [rows, k] times `matrix` [k, m], float64; four rows of the matrix at a time."""
    size, width = matrix.shape
    result = np.zeros((len(rows), width))
    whole = size - size % 4
    for row in range(len(rows)):
        for a in range(0, whole, 4):
            m0, m1, m2, m3 = matrix[a], matrix[a + 1], matrix[a + 2], matrix[a + 3]
            v0, v1, v2, v3 = rows[row, a], rows[row, a + 1], rows[row, a + 2], rows[row, a + 3]
            for b in range(width):
                result[row, b] += v0 * m0[b] + v1 * m1[b] + v2 * m2[b] + v3 * m3[b]
        for a in range(whole, size):
            value = rows[row, a]
            for b in range(width):
                result[row, b] += value * matrix[a, b]
    return result


@njit(nogil=True, cache=True)
def eigen(symmetric):
    """Eigenvalues [k], falling, and eigenvectors [k, k], one a column, of a symmetric matrix.

    Cyclic Jacobi rotations: Golub and Van Loan, Matrix Computations, section 8.5; about ten sweeps of 4 k^3 operations.
    """
    size = len(symmetric)
    a = symmetric.copy()
    vectors = np.eye(size)  # one a row while they are turned
    scale = np.sqrt(np.sum(a * a))
    for _ in range(50):
        rest = 0.0
        for p in range(size):
            for q in range(p + 1, size):
                rest += a[p, q] * a[p, q]
        if np.sqrt(2.0 * rest) <= 1e-15 * scale:
            break
        for p in range(size):
            for q in range(p + 1, size):
                if a[p, q] == 0.0:
                    continue
                tau = (a[q, q] - a[p, p]) / (2.0 * a[p, q])
                t = (1.0 if tau >= 0.0 else -1.0) / (abs(tau) + np.sqrt(1.0 + tau * tau))
                c = 1.0 / np.sqrt(1.0 + t * t)
                s = t * c
                for k in range(size):
                    a[p, k], a[q, k] = c * a[p, k] - s * a[q, k], s * a[p, k] + c * a[q, k]
                for k in range(size):
                    a[k, p], a[k, q] = c * a[k, p] - s * a[k, q], s * a[k, p] + c * a[k, q]
                for k in range(size):
                    up, uq = vectors[p, k], vectors[q, k]
                    vectors[p, k], vectors[q, k] = c * up - s * uq, s * up + c * uq
    values = np.diag(a).copy()
    order = np.argsort(-values)
    return values[order], np.ascontiguousarray(vectors[order].T)
