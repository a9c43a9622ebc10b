"""Response curves against mixtures that are written out."""

import numpy as np
import pytest

from assay.errors import InvalidParameterError
from assay.mixtures.response import response


def test_others_keep_their_proportions() -> None:
    asked: list[np.ndarray] = []

    def predict(weights: np.ndarray) -> np.ndarray:
        asked.append(weights)
        return weights @ [1.0, 2.0, 4.0]

    curves = response(predict, np.array([0.5, 0.3, 0.2]), np.array([0.8, 0.3, 1.0]), num_points=3)
    np.testing.assert_allclose(curves.shares, [[0, 0.4, 0.8], [0, 0.15, 0.3], [0, 0.5, 1]])
    np.testing.assert_allclose(asked[0], [[0, 0.6, 0.4], [0.4, 0.36, 0.24], [0.8, 0.12, 0.08]])
    np.testing.assert_allclose(asked[2], [[0.625, 0.375, 0], [0.3125, 0.1875, 0.5], [0, 0, 1]])
    np.testing.assert_allclose(curves.losses[0], asked[0] @ [1, 2, 4])


def test_a_curve_passes_through_the_mixture_and_no_farther_than_it_or_the_runs() -> None:
    around = np.array([0.5, 0.5, 0.0])
    curves = response(lambda w: (w**2).sum(axis=1), around, np.array([0.2, 0.9, 0.0]), num_points=6)
    np.testing.assert_allclose(curves.shares[:, -1], [0.5, 0.9, 0.01])
    assert curves.losses[0, -1] == pytest.approx((around**2).sum())


def test_a_mixture_of_one_source_gives_way_to_equal_shares_of_the_others() -> None:
    asked: list[np.ndarray] = []
    response(lambda w: asked.append(w) or w[:, 0], np.array([1.0, 0.0, 0.0]), np.ones(3), num_points=2)
    np.testing.assert_allclose(asked[0], [[0, 0.5, 0.5], [1, 0, 0]])


def test_highest_shares_of_other_sources_are_refused() -> None:
    with pytest.raises(InvalidParameterError, match="highest"):
        response(lambda w: w[:, 0], np.ones(3) / 3, np.ones(2))
