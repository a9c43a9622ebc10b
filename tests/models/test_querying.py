"""Query strategies and pseudo-labels on small cases with the answer by hand."""

import numpy as np
import pytest

from assay.errors import InvalidParameterError
from assay.kernels.vectors import snapped
from assay.models.querying import MOST_PSEUDO, pseudo_labels, query

CHANCES = np.array([[0.9, 0.05, 0.05], [0.4, 0.35, 0.25], [0.5, 0.49, 0.01], [0.6, 0.2, 0.2], [0.38, 0.32, 0.3]])
NONE = np.zeros(5, np.bool_)
VECTORS = np.zeros((5, 2), np.float32)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [("random", [0, 1, 2]), ("least_confidence", [4, 1, 2]), ("margin", [2, 1, 4])],
)
def test_the_most_wanted_come_first(strategy: str, expected: list[int]) -> None:
    assert query(strategy, CHANCES, VECTORS, NONE, 3).tolist() == expected
    without = NONE.copy()
    without[expected[0]] = True
    assert query(strategy, CHANCES, VECTORS, without, 2).tolist() == expected[1:]


def test_diverse_takes_the_closest_tie_of_each_cluster() -> None:
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(3), 10)
    vectors = snapped(np.eye(3)[clusters] * 5 + rng.normal(size=(30, 3)) / 10)
    tops = 0.5 + rng.random(30) / 2
    chances = np.stack((tops, 1 - tops), axis=1)
    taken = query("diverse", chances, vectors, np.zeros(30, np.bool_), 3)
    assert sorted(taken) == sorted(int(k) for c in range(3) for k in [10 * c + tops[10 * c : 10 * c + 10].argmin()])


def test_fewer_are_taken_where_there_are_no_more_and_unknown_strategies_are_refused() -> None:
    for strategy in ("random", "margin", "diverse"):
        assert sorted(query(strategy, CHANCES, VECTORS, NONE, 9)) == [0, 1, 2, 3, 4]
    with pytest.raises(InvalidParameterError, match="`query`"):
        query("clever", CHANCES, VECTORS, NONE, 1)


def test_the_model_labels_what_it_is_sure_of_and_its_neighbours_agree_on() -> None:
    chances = np.array([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.55, 0.45], [0.5, 0.5], [0.7, 0.3]])
    labels = np.array([0, -1, 1, -1, -1, -1])
    near = np.array([[1, 3, 5], [0, 3, 5], [4, 5, 3], [0, 1, 5], [0, 1, 5], [2, 2, 0]])
    # 4 is not sure; 5 is, but is among documents of the other class; 0 and 2 have a label.
    assert pseudo_labels(chances, labels, near).tolist() == [-1, 0, -1, 0, -1, -1]


def test_no_class_gets_many_more_pseudo_labels_than_it_has_labels() -> None:
    chances = np.tile([0.9, 0.1], (50, 1))
    chances[:, 0] -= np.arange(50) / 200
    chances[:, 1] = 1 - chances[:, 0]
    labels = np.full(50, -1)
    labels[40:42] = 0
    given = pseudo_labels(chances, labels, np.zeros((50, 3), np.int64))
    assert np.flatnonzero(given == 0).tolist() == list(range(2 * MOST_PSEUDO))  # the surest
