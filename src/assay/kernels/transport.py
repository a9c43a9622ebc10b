"""Entropic optimal transport between two weighted sets of points: its potentials by Sinkhorn's iterations.

Cuturi 2013, "Sinkhorn distances" (arXiv:1306.0895); in logarithms as in Peyre and Cuturi 2019, "Computational optimal
transport" (arXiv:1803.00567), remark 4.23. For weights a and b (each of sum 1) and costs c,

    OT(a, b) = min over plans P of  sum_ij P_ij c_ij + epsilon * sum_ij P_ij ln(P_ij / (a_i b_j)),

and at the best plan P_ij = a_i b_j exp((f_i + g_j - c_ij) / epsilon). The potentials f and g are determined up to a
constant that is added to one and taken from the other, and f_i is the derivative of OT by a_i, up to that constant. The
potential of any further point x follows from g alone (the soft c-transform):

    f(x) = -epsilon * ln sum_j b_j exp((g_j - c(x, y_j)) / epsilon).

Sums are taken in one order, so results do not depend on the number of threads.
"""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def soft_minimum(costs, potential, log_weights, epsilon):
    """The soft c-transform of a potential, for each row of `costs` [rows, points]: [rows] float64.

    Args:
        potential, log_weights: of the points [points] float64. epsilon: above 0.
    """
    result = np.empty(len(costs))
    values = np.empty(costs.shape[1])
    for row in range(len(costs)):
        highest = -np.inf
        for j in range(len(values)):
            values[j] = log_weights[j] + (potential[j] - costs[row, j]) / epsilon
            highest = max(highest, values[j])
        total = 0.0
        for j in range(len(values)):
            total += np.exp(values[j] - highest)
        result[row] = -epsilon * (highest + np.log(total))
    return result


def sinkhorn(
    costs: np.ndarray, a: np.ndarray, b: np.ndarray, epsilon: float, tolerance: float, max_iterations: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Potentials f [rows] and g [columns] float64 of the transport from `a` to `b`, and how far they are from exact.

    The last step sets f, so f is the soft c-transform of g, and the plan's rows sum to `a`.

    Args:
        costs: [rows, columns]. a: weights of the rows, b: of the columns, above 0, of sum 1. epsilon: above 0.
        tolerance: half the sum of what the plan's columns are off from `b` (0 to 1) at which to stop.

    Returns:
        f, g and that error after the last step, which is above `tolerance` where `max_iterations` came first.
    """
    log_a, log_b = np.log(a), np.log(b)
    transposed = np.ascontiguousarray(costs.T)
    g = np.zeros(len(b))
    f = soft_minimum(costs, g, log_b, epsilon)
    error = np.inf
    for _ in range(max_iterations):
        better = soft_minimum(transposed, f, log_a, epsilon)
        # Under f and g column j of the plan sums to b_j exp((g_j - better_j) / epsilon).
        error = 0.5 * float(np.sum(b * np.abs(np.expm1((g - better) / epsilon))))
        if error <= tolerance:
            break
        g = better
        f = soft_minimum(costs, g, log_b, epsilon)
    return f, g, error
