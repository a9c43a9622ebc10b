"""Strengths: groups, separation, planted truth; against scikit-learn in tests/reference."""

import numpy as np
import pytest

from assay.errors import InvalidParameterError
from assay.models.bradley_terry import agreement, fit_strengths


def judged(strengths: np.ndarray, num_judgements: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Single comparisons between random things, won with the probability that the strengths give."""
    rng = np.random.default_rng(seed)
    first = rng.integers(len(strengths), size=num_judgements)
    second = (first + rng.integers(1, len(strengths), size=num_judgements)) % len(strengths)
    chances = 1 / (1 + np.exp(strengths[first] - strengths[second]))
    return first, second, (rng.random(num_judgements) < chances).astype(float)


def test_two_things_have_the_log_odds_between_them() -> None:
    found = fit_strengths([0], [1], [0.8], 2)
    np.testing.assert_allclose(found.values, [-np.log(4) / 2, np.log(4) / 2], atol=1e-8)
    assert not found.is_penalised and found.num_groups == 1


def test_planted_strengths_come_back_the_better_the_more_judgements() -> None:
    planted = np.random.default_rng(1).normal(size=200)
    errors = []
    for number in (4_000, 40_000):
        found = fit_strengths(*judged(planted, number), 200)
        assert not found.is_penalised
        errors.append(np.abs(found.values - (planted - planted.mean())).mean())
    assert errors[1] < 0.12 and errors[1] < errors[0] / 2  # errors fall with the root of the number


def test_repeated_judgements_weigh_like_weights() -> None:
    first, second, shares = judged(np.linspace(-1, 1, 12), 300, seed=2)
    weights = np.random.default_rng(3).integers(1, 5, 300)
    weighted = fit_strengths(first, second, shares, 12, weights)
    repeated = fit_strengths(*(np.repeat(a, weights) for a in (first, second, shares)), 12)
    np.testing.assert_allclose(weighted.values, repeated.values, atol=1e-7)


def test_groups_without_a_comparison_between_them_have_mean_zero_each() -> None:
    first, second, shares = judged(np.linspace(-1, 1, 10), 400, seed=4)
    alone = fit_strengths(first, second, shares, 10)
    both = fit_strengths(
        np.concatenate((first, 20 - first)), np.concatenate((second, 20 - second)), np.concatenate((shares, shares)), 21
    )
    assert both.num_groups == 3  # the second ten, and thing 10 that nothing was compared with
    assert both.values[10] == 0
    np.testing.assert_allclose(both.values[:10], alone.values, atol=1e-7)
    np.testing.assert_allclose(both.values[20:10:-1], alone.values, atol=1e-7)


def test_who_always_wins_is_strongest_and_finite() -> None:
    found = fit_strengths([0, 1, 2, 0, 1], [1, 2, 3, 2, 3], [1.0, 1.0, 1.0, 1.0, 1.0], 4)
    assert found.is_penalised
    assert (np.diff(found.values) > 0).all() and np.abs(found.values).max() < 20
    # A cycle has a maximum although each single comparison was won.
    assert not fit_strengths([0, 1, 2], [1, 2, 0], [1.0, 1.0, 1.0], 3).is_penalised


def test_a_long_chain_is_one_group_and_is_solved() -> None:
    number = 3_000
    found = fit_strengths(np.arange(number - 1), np.arange(1, number), np.full(number - 1, 0.6), number)
    assert found.num_groups == 1
    np.testing.assert_allclose(np.diff(found.values), np.log(1.5), atol=1e-5)


def test_agreement_is_the_share_of_decided_judgements_that_strengths_reproduce() -> None:
    first, second, shares = np.array([0, 1, 0, 0]), np.array([1, 2, 2, 1]), np.array([0.9, 0.9, 0.2, 0.5])
    found = fit_strengths(first, second, shares, 3)
    assert agreement(found, first, second, shares) == pytest.approx(2 / 3)
    assert agreement(found, first[3:], second[3:], shares[3:]) is None
    # Of a circle all are equally strong, whichever of each pair is named first.
    circle = np.array([0, 1, 2]), np.array([1, 2, 0])
    for ahead in (0.0, 1.0):
        assert agreement(fit_strengths(*circle, np.full(3, ahead), 3), *circle, np.full(3, ahead)) == 0


@pytest.mark.parametrize(
    ("first", "second", "shares", "message"),
    [
        ([], [], [], "at least one judgement"),
        ([0], [0], [0.5], "two different things"),
        ([0], [5], [0.5], "positions"),
        ([0], [1], [1.5], "from 0 to 1"),
        ([0], [1], [np.nan], "from 0 to 1"),
    ],
)
def test_impossible_judgements_are_refused(first, second, shares, message) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        fit_strengths(first, second, shares, 2)
