"""Filling vessels, beside bisection for the water level."""

import numpy as np
import pytest

from assay.kernels.filling import fill


@pytest.mark.parametrize("seed", range(20))
def test_vessels_fill_to_one_level(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights, room = rng.dirichlet(np.full(30, 0.3)), rng.exponential(1, 30)
    weights[rng.random(30) < 0.2] = 0
    amount = float(room[weights > 0].sum() * rng.uniform(0.1, 0.99))
    low, high = 0.0, 1e12
    for _ in range(200):  # the level t at which the sum of min(weight * t, room) is the amount
        level = (low + high) / 2
        low, high = (level, high) if np.minimum(weights * level, room).sum() < amount else (low, level)
    found = fill(amount, weights, room)
    np.testing.assert_allclose(found, np.minimum(weights * level, room), rtol=1e-9, atol=1e-9)
    assert (found <= room).all()


@pytest.mark.parametrize(
    ("amount", "weights", "room", "expected"),
    [
        (10, [0.5, 0.5], [100, 100], [5, 5]),
        (10, [3, 1], [4, 100], [4, 6]),
        (10, [0.5, 0.5], [2, 3], [2, 3]),  # all are full: less than the amount
        (10, [1, 0], [2, 100], [2, 0]),  # what has no weight gets nothing
        (0, [1, 1], [2, 2], [0, 0]),
        (10, [1, 1], [0, 20], [0, 10]),
        (10, [], [], []),
    ],
)
def test_filling_by_hand(amount: float, weights: list[float], room: list[float], expected: list[float]) -> None:
    np.testing.assert_allclose(fill(amount, np.array(weights, float), np.array(room, float)), expected)
