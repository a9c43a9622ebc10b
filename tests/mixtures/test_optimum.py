"""The best mixture by predictors whose least point is known."""

import numpy as np
import pytest

from assay.errors import InvalidParameterError
from assay.mixtures.optimum import best_mixture, within

PRIOR = np.array([0.5, 0.3, 0.15, 0.05])


def bowl(centre: np.ndarray):
    return lambda weights: ((weights - centre) ** 2).sum(axis=1)


@pytest.mark.parametrize(
    "centre", [PRIOR, [0.25, 0.25, 0.25, 0.25], [0.0, 0.0, 0.1, 0.9], [1.0, 0, 0, 0], [0.4, 0.0, 0.0, 0.6]]
)
def test_the_least_point_is_found_inside_and_on_the_edge(centre: list[float]) -> None:
    found = best_mixture(bowl(np.array(centre)), PRIOR, num_draws=20_000, num_best=32)
    np.testing.assert_allclose(found, centre, atol=0.02)
    assert found.sum() == pytest.approx(1)


def test_of_many_sources_that_all_matter_all_are_found() -> None:
    centre = np.random.default_rng(0).dirichlet(np.full(17, 5.0))
    found = best_mixture(bowl(centre), np.full(17, 1 / 17))
    assert np.abs(found - centre).sum() < 0.1


def test_caps_are_kept_and_the_rest_goes_where_it_does_least_harm() -> None:
    rates = np.array([-4.0, -3.0, -2.0, 0.0])
    caps = np.array([0.3, 0.25, 1.0, 1.0])
    found = best_mixture(lambda weights: weights @ rates, PRIOR, at_most=caps, num_draws=20_000)
    assert (found <= caps + 1e-12).all()
    np.testing.assert_allclose(found, [0.3, 0.25, 0.45, 0.0], atol=0.03)


def test_caps_that_sum_to_one_leave_one_mixture() -> None:
    found = best_mixture(bowl(np.ones(4)), PRIOR, at_most=np.array([0.1, 0.2, 0.3, 0.4]), num_draws=100, num_best=10)
    np.testing.assert_allclose(found, [0.1, 0.2, 0.3, 0.4])


def test_a_source_outside_the_prior_is_never_taken() -> None:
    prior = np.array([0.5, 0.5, 0.0])
    found = best_mixture(bowl(np.array([0.0, 0.0, 1.0])), prior, at_most=np.array([0.6, 0.9, 1]), num_draws=1000)
    assert found[2] == 0 and found.sum() == pytest.approx(1)


def test_within_moves_what_is_over_to_where_there_is_room() -> None:
    rng = np.random.default_rng(1)
    caps = np.array([0.2, 0.3, 0.25, 0.3])
    moved = within(rng.dirichlet(np.full(4, 0.3), 1000), caps)
    np.testing.assert_allclose(moved.sum(axis=1), 1)
    assert (moved <= caps + 1e-12).all() and (moved >= 0).all()
    same = np.array([[0.2, 0.3, 0.25, 0.25]])
    np.testing.assert_array_equal(within(same, caps), same)


def test_the_same_seed_finds_the_same_mixture_however_the_predictor_is_scaled() -> None:
    first = best_mixture(bowl(PRIOR), PRIOR, num_draws=2000, seed=3)
    np.testing.assert_array_equal(first, best_mixture(lambda w: 7 + 2 * bowl(PRIOR)(w), PRIOR, num_draws=2000, seed=3))
    assert (first != best_mixture(bowl(PRIOR), PRIOR, num_draws=2000, seed=4)).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prior": [0.5, -0.5, 1, 0]}, "`prior`.*≥ 0"),
        ({"prior": [0.0] * 4}, "above 0 for some source"),
        ({"prior": [0.5, np.nan, 0.2, 0.3]}, "`prior`"),
        ({"at_most": [0.2] * 4}, "sum over the sources of the prior is ≥ 1. The sources cannot fill the budget"),
        ({"at_most": [0.6] * 3}, "for each of the 4 sources"),
        ({"prior": [1.0, 0, 0, 0], "at_most": [0.5, 1, 1, 1]}, "cannot fill"),
        ({"num_best": 0}, "`num_best`"),
        ({"num_draws": 10}, "`num_best`"),
        ({"predict": lambda weights: np.full(len(weights), np.nan)}, "foretells a number"),
    ],
)
def test_what_cannot_be_is_refused(change: dict, message: str) -> None:
    given = {"predict": bowl(PRIOR), "prior": PRIOR, "num_draws": 200} | change
    with pytest.raises(InvalidParameterError, match=message):
        best_mixture(**given)
