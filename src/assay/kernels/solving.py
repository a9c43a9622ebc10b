"""Linear equations with a symmetric positive matrix, every sum in a fixed order.

LAPACK would be faster, but what it returns depends in its last bits on the number of threads.
"""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def solve_positive(matrix, right):
    """X of matrix X = right, by Cholesky's factorisation (Golub and Van Loan, Matrix Computations, section 4.2).

    Args:
        matrix: [k, k] float64, symmetric and positive; NaN comes out of one that is not. right: [k, m] float64.
    """
    size, width = right.shape
    lower = np.zeros((size, size))
    for i in range(size):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= lower[i, k] * lower[j, k]
            lower[i, j] = np.sqrt(total) if i == j else total / lower[j, j]
    result = right.copy()
    for column in range(width):
        for i in range(size):
            total = result[i, column]
            for k in range(i):
                total -= lower[i, k] * result[k, column]
            result[i, column] = total / lower[i, i]
        for i in range(size - 1, -1, -1):
            total = result[i, column]
            for k in range(i + 1, size):
                total -= lower[k, i] * result[k, column]
            result[i, column] = total / lower[i, i]
    return result
