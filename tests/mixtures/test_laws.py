"""Mixing laws whose truth was planted, and the best mixture beside a fine grid."""

import itertools

import numpy as np
import pytest

from assay.errors import InvalidParameterError
from assay.mixtures.laws import Best, MixingLaw, best, fit, fit_law, fit_total, total


def planted(num_sources: int, terms: int = 1, seed: int = 0) -> MixingLaw:
    return MixingLaw(2.0, np.random.default_rng(seed).normal(-1, 1.2, (terms, num_sources)))


def mixtures(num: int, num_sources: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, 9]).dirichlet(np.ones(num_sources), num)


def grid(num_sources: int, steps: int) -> np.ndarray:
    """Every mixture whose shares are multiples of 1 / steps."""
    bars = np.array(list(itertools.combinations(range(steps + num_sources - 1), num_sources - 1)))
    edges = np.concatenate(
        [np.full((len(bars), 1), -1), bars, np.full((len(bars), 1), steps + num_sources - 1)], axis=1
    )
    return (np.diff(edges, axis=1) - 1) / steps


@pytest.mark.parametrize(("num_sources", "num_runs"), [(2, 8), (3, 20), (7, 42)])
def test_planted_unknowns_are_recovered(num_sources: int, num_runs: int) -> None:
    truth, weights = planted(num_sources, seed=num_sources), mixtures(num_runs, num_sources)
    found = fit(weights, truth.predict(weights))
    assert found.law.constant == pytest.approx(2.0, abs=1e-5)
    np.testing.assert_allclose(found.law.exponents, truth.exponents, atol=1e-4)
    assert found.held_out_error < 1e-6 < 0.01 < found.mean_error


@pytest.mark.parametrize("terms", [2, 3])
def test_implicit_domains_are_foretold_where_one_term_cannot(terms: int) -> None:
    truth, weights = planted(5, terms), mixtures(80, 5)
    losses = truth.predict(weights) + 0.001 * np.random.default_rng(1).normal(size=80)
    one, as_many = fit(weights, losses), fit(weights, losses, terms=terms)
    assert as_many.held_out_error < 0.002 < one.held_out_error
    others = mixtures(500, 5, seed=1)
    assert np.abs(as_many.law.predict(others) - truth.predict(others)).mean() < 0.001


def test_held_out_errors_are_those_of_new_runs_and_fitted_ones_flatter() -> None:
    truth, weights, rng = planted(7, seed=3), mixtures(14, 7), np.random.default_rng(2)
    others = mixtures(300, 7, seed=1)
    found = [fit(weights, truth.predict(weights) + 0.01 * rng.normal(size=14)) for _ in range(5)]
    new = np.mean(
        [np.abs(f.law.predict(others) - truth.predict(others) - 0.01 * rng.normal(size=300)).mean() for f in found]
    )
    assert np.mean([f.in_sample_error for f in found]) < 0.7 * new
    assert np.mean([f.held_out_error for f in found]) == pytest.approx(new, rel=0.35)


def test_a_law_says_nothing_of_runs_that_are_noise() -> None:
    weights = mixtures(30, 5)
    found = fit(weights, 3 + 0.1 * np.random.default_rng(0).normal(size=30))
    assert found.held_out_error > 0.9 * found.mean_error


def test_a_run_that_went_wrong_moves_the_law_little() -> None:
    truth, weights = planted(5, seed=4), mixtures(30, 5)
    losses = truth.predict(weights) + 0.002 * np.random.default_rng(0).normal(size=30)
    others = mixtures(300, 5, seed=1)
    losses[7] += 1.0
    assert np.abs(fit_law(weights, losses).predict(others) - truth.predict(others)).mean() < 0.01


def test_scale_of_losses_does_not_matter() -> None:
    weights = mixtures(30, 5)
    losses = planted(5, seed=4).predict(weights) + 0.01 * np.random.default_rng(0).normal(size=30)
    others = mixtures(100, 5, seed=1)
    np.testing.assert_allclose(
        fit_law(weights, 10 * losses - 3).predict(others), 10 * fit_law(weights, losses).predict(others) - 3, rtol=1e-6
    )


@pytest.mark.parametrize("terms", [1, 3, 5])
@pytest.mark.parametrize("cap", [1.0, 0.4])
def test_best_mixture_is_that_of_a_fine_grid(terms: int, cap: float) -> None:
    every = grid(4, 40)
    every = every[(every <= cap + 1e-9).all(axis=1)]
    for seed in range(4):
        law = planted(4, terms, seed)
        found = best(law, np.full(4, cap))
        assert found.weights.sum() == pytest.approx(1) and (found.weights <= cap + 1e-12).all()
        assert found.loss <= law.predict(every).min() + 1e-6
        assert found.loss >= law.predict(every).min() - 0.02  # the grid's own coarseness
        assert found.gap <= 1e-6


def test_caps_may_leave_one_mixture_or_shut_sources_out() -> None:
    np.testing.assert_allclose(best(planted(4), np.array([0.5, 0.3, 0.2, 0.0])).weights, [0.5, 0.3, 0.2, 0], atol=1e-12)
    law = planted(4, 3, seed=1)
    inside = best(MixingLaw(law.constant, law.exponents[:, :2]))
    np.testing.assert_allclose(best(law, np.array([1.0, 1.0, 0.0, 0.0])).weights[:2], inside.weights, atol=1e-3)


def test_gap_bounds_what_any_mixture_could_gain() -> None:
    law = planted(6, 4, seed=2)
    rough, fine = best(law, max_gap=0.05), best(law)
    assert isinstance(rough, Best) and 0 <= rough.loss - fine.loss <= rough.gap + 1e-9


def test_total_is_the_weighted_sum_of_laws() -> None:
    laws, weights = [planted(4, seed=k) for k in range(3)], mixtures(50, 4)
    whole = total(laws, [0.5, 0.0, 0.2])
    np.testing.assert_allclose(whole.predict(weights), 0.5 * laws[0].predict(weights) + 0.2 * laws[2].predict(weights))
    assert whole.exponents.shape == (2, 4)


def test_metric_by_metric_foretells_a_sum_that_one_law_cannot() -> None:
    laws, weights = [planted(5, seed=k) for k in range(3)], mixtures(30, 5)
    losses = np.stack([law.predict(weights) for law in laws], axis=1)
    losses += 0.001 * np.random.default_rng(0).normal(size=losses.shape)
    together, shares = fit_total(weights, losses, [0.2, 0.5, 0.3]), np.array([0.2, 0.5, 0.3])
    assert together.held_out_error < 0.002 < fit(weights, losses @ shares).held_out_error
    others = mixtures(200, 5, seed=1)
    assert np.abs(together.law.predict(others) - total(laws, shares).predict(others)).max() < 0.01


def test_gradient_is_that_of_predict() -> None:
    law, here = planted(4, 3), mixtures(1, 4)[0]
    numeric = [(law.predict((here + d)[None]) - law.predict((here - d)[None]))[0] / 2e-6 for d in 1e-6 * np.eye(4)]
    np.testing.assert_allclose(law.gradient(here), numeric, rtol=1e-5)


def test_too_few_runs_say_how_many_are_needed() -> None:
    weights = mixtures(5, 5)
    with pytest.raises(
        InvalidParameterError, match=r"5 sources has 6 unknowns, and there are 5 runs.*at least 6, and 20"
    ):
        fit(weights, np.arange(5.0))
    with pytest.raises(InvalidParameterError, match="there are 5 runs of different mixtures"):
        fit(np.repeat(weights, 4, axis=0), np.arange(20.0))
    with pytest.raises(InvalidParameterError, match="2 terms has 11 unknowns"):
        fit(mixtures(10, 5), np.arange(10.0), terms=2)


def test_other_seeds_of_a_mixture_are_held_out_with_it() -> None:
    """Losses that go with the mixture by chance alone: nothing can be foretold, whatever another seed says."""
    weights = np.repeat(mixtures(11, 9), 2, axis=0)
    losses = np.repeat(np.random.default_rng(0).normal(size=11), 2)
    found = fit(weights, losses)
    assert found.held_out_error > 0.8 * found.mean_error
    order = np.random.default_rng(1).permutation(22)
    np.testing.assert_allclose(fit(weights[order], losses[order]).held_out, found.held_out[order], atol=1e-3)


def test_advice_tells_what_the_runs_cannot() -> None:
    weights = mixtures(12, 5)
    assert fit(mixtures(20, 5), planted(5).predict(mixtures(20, 5))).advice == ()
    assert fit(weights, planted(5).predict(weights)).advice == ("12 runs for 6 unknowns: 20 are advised.",)
    weights = np.concatenate([mixtures(20, 4), np.zeros((20, 1))], axis=1)  # a source that is in no run
    assert "3 directions of 4" in fit(weights, planted(5).predict(weights)).advice[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"losses": np.full(20, np.nan)}, "numbers"),
        ({"losses": np.arange(19.0)}, "19 runs"),
        ({"terms": 0}, "`terms`"),
        ({"weights": 100 * mixtures(20, 3)}, "sum to 1, and sums to 100. Divide"),
    ],
)
def test_bad_input_is_refused(change: dict, message: str) -> None:
    parameters = {"weights": mixtures(20, 3), "losses": np.arange(20.0)} | change
    with pytest.raises(InvalidParameterError, match=message):
        fit(**parameters)


def test_caps_that_leave_no_mixture_are_refused() -> None:
    with pytest.raises(InvalidParameterError, match="at least 1 in all"):
        best(planted(3), np.full(3, 0.3))
    with pytest.raises(InvalidParameterError, match="`shares`"):
        total([planted(3)], [-1.0])


def test_equal_losses_give_a_flat_law() -> None:
    weights = mixtures(12, 3)
    np.testing.assert_allclose(fit(weights, np.full(12, 2.5)).law.predict(weights), 2.5, atol=1e-6)
