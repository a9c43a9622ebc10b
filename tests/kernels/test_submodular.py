"""Greedy choice against plain loops, and against the best of all sets."""

from itertools import combinations

import numpy as np
import pytest

from assay.kernels import vectors as blocked
from assay.kernels.submodular import facility_location, graph_cut
from assay.kernels.vectors import snapped


def some(num: int, dimensions: int = 6, seed: int = 0) -> np.ndarray:
    return snapped(np.random.default_rng(seed).normal(size=(num, dimensions)))


def covered(rows: np.ndarray, chosen: list[int]) -> float:
    return float(np.maximum(rows @ rows[chosen].T, 0).max(axis=1).astype(np.float64).sum()) if chosen else 0.0


def cut(rows: np.ndarray, chosen: list[int], penalty: float) -> float:
    similar = np.maximum(rows @ rows.T, 0).astype(np.float64)
    return float(similar[:, chosen].sum() - penalty * similar[np.ix_(chosen, chosen)].sum())


def greedy(num: int, size: int, value: object) -> tuple[list[int], list[float]]:
    """Takes what adds most, by the value of the whole set; the first of equals."""
    chosen: list[int] = []
    gains: list[float] = []
    for _ in range(num):
        before = value(chosen)  # type: ignore[operator]
        added = [-np.inf if j in chosen else value([*chosen, j]) - before for j in range(size)]  # type: ignore[operator]
        chosen.append(int(np.argmax(np.round(added, 9))))
        gains.append(added[chosen[-1]])
    return chosen, gains


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("has_worth", [False, True])
def test_lazy_greedy_takes_what_plain_greedy_takes(seed: int, has_worth: bool) -> None:
    rows = some(30, seed=seed)
    rows[20:] = rows[:10]  # so that there are equals
    worth = np.random.default_rng(seed).random(30).round(3) if has_worth else np.zeros(30)
    expected, gains = greedy(30, 30, lambda s: covered(rows, s) + worth[s].sum())
    order, gained = facility_location(rows, 30, worth)
    assert order.tolist() == expected
    np.testing.assert_allclose(gained, gains, atol=1e-9)
    assert facility_location(rows, 7, worth)[0].tolist() == expected[:7]
    if not has_worth:
        assert (np.diff(gained) <= 0).all() and gained.sum() == pytest.approx(covered(rows, list(range(30))))


@pytest.mark.parametrize("penalty", [0.0, 0.3, 0.5])
def test_graph_cut_takes_what_plain_greedy_takes(penalty: float) -> None:
    rows = some(25)
    worth = np.random.default_rng(0).random(25)
    expected, gains = greedy(25, 25, lambda s: cut(rows, s, penalty) + worth[s].sum())
    order, gained = graph_cut(rows, 25, penalty, worth)
    assert order.tolist() == expected
    np.testing.assert_allclose(gained, gains, atol=1e-9)
    gained = graph_cut(rows, 25, penalty)[1]
    assert (np.diff(gained) <= 0).all() and gained[-1] >= 0  # submodular and monotone


@pytest.mark.parametrize("seed", range(4))
def test_greedy_reaches_its_share_of_the_best_of_all_sets(seed: int) -> None:
    rows = some(11, 3, seed)
    best = max(covered(rows, list(s)) for s in combinations(range(11), 4))
    assert covered(rows, facility_location(rows, 4)[0].tolist()) >= (1 - 1 / np.e) * best


def test_stochastic_greedy_comes_near_lazy_greedy_and_repeats_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = some(600, 16)
    best = facility_location(rows, 60)[1].sum()
    order, gained = facility_location(rows, 60, epsilon=0.01, seed=1)
    assert len(set(order.tolist())) == 60
    assert 0.97 * best < gained.sum() <= best
    assert gained.sum() == pytest.approx(covered(rows, order.tolist()))
    assert gained.sum() > 1.05 * covered(rows, np.random.default_rng(0).choice(600, 60, replace=False).tolist())
    monkeypatch.setattr(blocked, "_BLOCK_BYTES", 1 << 12)
    assert facility_location(rows, 60, epsilon=0.01, seed=1)[0].tolist() == order.tolist()
    assert facility_location(rows, 60, epsilon=0.01, seed=2)[0].tolist() != order.tolist()
    assert sorted(facility_location(rows[:9], 9, epsilon=0.01)[0].tolist()) == list(range(9))


def test_one_document_and_none() -> None:
    assert facility_location(some(1), 1)[0].tolist() == graph_cut(some(1), 1)[0].tolist() == [0]
    assert len(facility_location(some(3), 0)[0]) == len(graph_cut(some(3), 0)[0]) == 0
