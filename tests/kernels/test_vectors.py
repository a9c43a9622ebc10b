"""Snapped vectors and their neighbours against plain numpy."""

import numpy as np
import pytest

from assay.kernels import vectors as kernel
from assay.kernels.semdedup import highest_before
from assay.kernels.vectors import most_similar, neighbours, snapped


def some(num: int, dimensions: int, seed: int = 0) -> np.ndarray:
    return snapped(np.random.default_rng(seed).normal(size=(num, dimensions)))


@pytest.mark.parametrize("dimensions", [1, 2, 17, 128, 1024])
def test_products_are_the_same_in_any_order_and_by_any_cut(dimensions: int) -> None:
    rows = some(300, dimensions)
    whole = rows @ rows.T
    np.testing.assert_array_equal(whole, (rows.astype(np.float64) @ rows.T.astype(np.float64)).astype(np.float32))
    for k in (0, 7, 299):
        np.testing.assert_array_equal(rows[k : k + 1] @ rows.T, whole[k : k + 1])
        np.testing.assert_array_equal(rows[k : k + 1, ::-1] @ rows[:, ::-1].T, whole[k : k + 1])


def test_rounding_costs_a_cosine_little() -> None:
    given = np.random.default_rng(1).normal(size=(500, 256))
    exact = given / np.linalg.norm(given, axis=1, keepdims=True)
    rows = snapped(given)
    assert np.abs(rows - exact).max() <= 2.0**-12 + 1e-7
    assert np.sqrt(np.mean((rows @ rows.T - exact @ exact.T) ** 2)) < 3e-4
    assert snapped(np.zeros((2, 3))).tolist() == [[0, 0, 0]] * 2 and snapped(np.empty((0, 3))).shape == (0, 3)


def test_the_most_similar_is_the_first_of_equals(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, centres = some(200, 8), some(9, 8, seed=1)
    centres[5] = centres[2]
    monkeypatch.setattr(kernel, "_BLOCK_BYTES", 1 << 9)
    numbers, products = most_similar(rows, centres)
    assert numbers.tolist() == (rows @ centres.T).argmax(axis=1).tolist() and 5 not in numbers
    assert products.tolist() == (rows @ centres.T).max(axis=1).tolist()


def test_neighbours_are_those_of_a_full_sort(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = some(120, 3)
    rows[60:70] = rows[:10]  # so that there are equals
    monkeypatch.setattr(kernel, "_BLOCK_BYTES", 1 << 13)
    numbers, products = neighbours(rows, 15)
    for i, row in enumerate(rows @ rows.T):
        expected = [j for j in np.lexsort((np.arange(120), -row)) if j != i][:15]
        assert numbers[i].tolist() == expected and products[i].tolist() == row[expected].tolist()


def test_the_highest_cosine_before_is_that_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = some(90, 4)
    rows[50:60] = rows[:10]
    exact = rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    monkeypatch.setattr(kernel, "_BLOCK_BYTES", 1 << 12)
    cosines, positions = highest_before(rows)
    assert np.isnan(cosines[0]) and positions[0] == -1
    for i in range(1, 90):
        assert cosines[i] == pytest.approx((exact[:i] @ exact[i]).max(), abs=1e-6)
    assert (cosines[50:60] > 1 - 1e-6).all() and positions[50:60].tolist() == list(range(10))
    assert [len(a) for a in highest_before(rows[:0])] == [0, 0]
