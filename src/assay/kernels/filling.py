"""Amounts in proportion to weights under limits, as water fills vessels that stand in one basin."""

import numpy as np


def fill(amount: float, weights: np.ndarray, room: np.ndarray) -> np.ndarray:
    """What each vessel gets [vessels] float64: in proportion to its weight, and no more than its room.

    What does not fit into one goes to the others in proportion to their weights. The sum is `amount`, or less where all
    that have a weight are full.

    Args:
        amount: what there is to give, at least 0. weights: at least 0 [vessels]. room: at least 0 [vessels].

    >>> fill(10, np.array([0.5, 0.3, 0.2]), np.array([2.0, 9.0, 9.0]))
    array([2. , 4.8, 3.2])
    """
    given = np.zeros(len(weights))
    is_open = weights > 0
    while is_open.any():
        fair = np.where(is_open, weights / weights[is_open].sum() * amount, 0)
        is_full = is_open & (fair > room)
        if not is_full.any():
            return given + fair
        given[is_full] = room[is_full]
        amount -= float(room[is_full].sum())
        is_open &= ~is_full
    return given
