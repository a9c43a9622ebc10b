"""Weights of scores from runs whose losses are known functions of them."""

import numpy as np
import pytest

from assay.errors import InvalidParameterError
from assay.mixtures.weights import best_weights, draw_weights, linear_rule

NUM_DRAWS = 64


def runs(scores: np.ndarray, utility: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean scores [runs, scores] of the tenth that each weighting puts first, and a loss that falls with utility."""
    chosen = [np.argsort(-(scores @ w), kind="stable")[: len(scores) // 10] for w in weights]
    means = np.array([scores[rows].mean(axis=0) for rows in chosen])
    return means, 3 - 0.2 * np.array([utility[rows].mean() for rows in chosen])


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("correlation", [0.0, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_planted_utility_is_recovered_from_64_runs(seed: int, correlation: float) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.dirichlet(np.ones(5))
    covariance = np.full((5, 5), correlation) + np.eye(5) * (1 - correlation)
    scores = rng.multivariate_normal(np.zeros(5), covariance, 10_000)
    utility = scores @ truth + 0.3 * rng.normal(size=10_000)
    weights = draw_weights(NUM_DRAWS, 5, seed)
    means, losses = runs(scores, utility, weights)
    losses += 0.1 * losses.std() * rng.normal(size=NUM_DRAWS)
    for found in (best_weights(weights, losses), linear_rule(means, losses)):
        assert cosine(found.weights, truth) > 0.95
        assert found.leave_one_out is not None and found.leave_one_out > 0.7


def test_equal_scores_share_their_weight() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(10_000, 2))[:, [0, 0, 1]]
    weights = draw_weights(NUM_DRAWS, 3)
    means, losses = runs(scores, scores @ [0.4, 0.4, 0.2], weights)
    by_weights, by_rule = best_weights(weights, losses).weights, linear_rule(means, losses).weights
    assert by_weights[0] == pytest.approx(by_weights[1], abs=0.1)
    assert by_weights[:2].sum() == pytest.approx(0.8, abs=0.1)
    assert by_rule[0] == pytest.approx(by_rule[1], rel=1e-6)
    assert by_rule[:2].sum() / by_rule.sum() == pytest.approx(0.8, abs=0.02)


def test_a_rule_may_have_weights_below_zero() -> None:
    scores = np.random.default_rng(1).normal(size=(10_000, 3))
    means, losses = runs(scores, scores @ [1.0, -0.5, 0.0], draw_weights(NUM_DRAWS, 3))
    rule = linear_rule(means, losses).weights
    assert cosine(rule, np.array([1.0, -0.5, 0.0])) > 0.99


def test_the_rule_is_the_least_squares_fit_where_scores_do_not_go_together() -> None:
    rng = np.random.default_rng(2)
    means = rng.normal(size=(40, 3))
    losses = np.exp(0.5 - means @ [0.3, 0.1, -0.2])
    np.testing.assert_allclose(linear_rule(means, losses).weights, [0.3, 0.1, -0.2], rtol=1e-6)


def test_draws_lie_on_the_simplex_and_begin_with_each_score_alone() -> None:
    weights = draw_weights(NUM_DRAWS, 4, seed=3)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_array_equal(weights[1:5], np.eye(4))
    assert (weights >= 0).all() and weights.shape == (NUM_DRAWS, 4)
    np.testing.assert_array_equal(weights[:20], draw_weights(20, 4, seed=3))  # more draws keep those there are


def test_runs_that_all_lose_the_same_say_nothing() -> None:
    weights = draw_weights(20, 3)
    found = best_weights(weights, np.full(20, 2.0))
    assert found.leave_one_out is None
    assert found.weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("losses", [[1.0] * 7, [1.0] * 9 + [float("nan")]])
def test_too_few_runs_and_losses_that_are_no_numbers_are_refused(losses: list[float]) -> None:
    for fit in (best_weights, linear_rule):
        with pytest.raises(InvalidParameterError, match="runs|losses"):
            fit(draw_weights(len(losses), 2), np.array(losses))
