"""Ranked lists against numpy, and the plain functions against their compiled selves."""

import numpy as np
import pytest

from assay.kernels.retrieval import merge_nearest, nearest, round_robin, soft_ranks
from assay.kernels.vectors import snapped


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def coarse_cosines(rng: np.random.Generator, rows: int, lists: int) -> np.ndarray:
    """With many ties."""
    return (snapped(rng.integers(-1, 2, (rows, 3))) @ snapped(rng.integers(-1, 2, (lists, 3))).T).astype(np.float32)


@pytest.mark.parametrize("depth", [1, 7, 50, 1000])
def test_nearest_and_merging_equal_a_sort_of_everything(depth: int, rng: np.random.Generator) -> None:
    cosines = coarse_cosines(rng, 300, 5)
    keys = rng.permutation(300).astype(np.uint64)
    found = np.empty((5, 0), np.float32), np.empty((5, 0), np.uint64)
    for rows in np.array_split(np.arange(300), 4):
        order = rows[np.argsort(keys[rows])]
        found = merge_nearest(*found, *nearest(cosines[order], keys[order], depth), depth)
    expected = np.lexsort((np.broadcast_to(keys, (5, 300)), -cosines.T), axis=1)[:, :depth]
    np.testing.assert_array_equal(found[0], np.take_along_axis(cosines.T, expected, 1))
    np.testing.assert_array_equal(found[1], keys[expected])


def slow_round_robin(queues: list[list[int]], is_turn_lost: bool) -> list[int]:
    queues, taken = [list(queue) for queue in queues], []
    while any(queues):
        for queue in queues:
            while queue:
                document = queue.pop(0)
                if document not in taken:
                    taken.append(document)
                    break
                if is_turn_lost:
                    break
    return taken


@pytest.mark.parametrize("is_turn_lost", [True, False])
def test_round_robin_equals_the_slow_one(is_turn_lost: bool, rng: np.random.Generator) -> None:
    for _ in range(30):
        queues = np.stack([rng.permutation(12)[:6] for _ in range(4)])
        places = round_robin(queues, 13, is_turn_lost)
        taken = slow_round_robin(queues.tolist(), is_turn_lost)
        assert [int(np.flatnonzero(places == k)[0]) for k in range(len(taken))] == taken
        assert (places >= 0).sum() == len(taken)
        np.testing.assert_array_equal(round_robin.py_func(queues, 13, is_turn_lost), places)


def test_a_duplicate_costs_a_turn_or_not() -> None:
    queues = np.array([[0, 1, 2], [0, 3, 4]])
    assert np.argsort(round_robin(queues, 5, True)).tolist() == [0, 1, 3, 2, 4]  # turn 1: 0, lost; turn 2: 1, 3
    assert np.argsort(round_robin(queues, 5, False)).tolist() == [0, 3, 1, 4, 2]


def test_soft_ranks_are_the_ranks_when_rounded_up(rng: np.random.Generator) -> None:
    cosines = coarse_cosines(rng, 60, 5)
    thresholds = np.sort(coarse_cosines(rng, 40, 5).T, axis=1)
    soft = soft_ranks(cosines, thresholds)
    ranks = 1 + (thresholds[None] > cosines[:, :, None]).sum(axis=2)
    np.testing.assert_array_equal(np.ceil(soft), ranks)
    assert (soft > 0).all()
    for item in range(5):
        order = np.argsort(cosines[:, item])
        assert (np.diff(soft[order, item]) <= 0).all()
    np.testing.assert_allclose(soft_ranks.py_func(cosines, thresholds), soft)
    assert soft_ranks(np.array([[0.5]], np.float32), np.empty((1, 0), np.float32))[0, 0] == pytest.approx(0.2525, 0.01)
