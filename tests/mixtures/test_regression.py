"""Regressors on losses that are known functions of the mixture, and the choice among them."""

import sys

import numpy as np
import pytest

from assay.errors import InvalidParameterError, MissingExtraError
from assay.mixtures.gaussian import descend, fit_gaussian
from assay.mixtures.power import fit_power
from assay.mixtures.regression import REGRESSORS, Regressor, choose, fit_ridge
from assay.models.calibration import spearman

NUM_SOURCES = 6
PLAIN = ["ridge", "exponential", "power", "gp"]


def mixtures(num: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(NUM_SOURCES, 0.5), num)


def power(weights: np.ndarray) -> np.ndarray:
    return 2 + (0.05 + weights @ [1.0, 0.3, 0.05, 0.01, 0.0, 0.0]) ** -0.4


def exponential(weights: np.ndarray) -> np.ndarray:
    return 2 + np.exp(weights @ [-3.0, -1.0, 0.0, 0.5, 0.3, 0.0])


def together(weights: np.ndarray) -> np.ndarray:
    """Two sources that are of use only together, which no law of ours says."""
    return 3 - np.sqrt(weights[:, 0] * weights[:, 1]) - 0.3 * weights[:, 2]


@pytest.mark.parametrize("truth", [power, exponential, together])
@pytest.mark.parametrize("name", list(REGRESSORS))
def test_every_regressor_ranks_mixtures_it_has_not_seen(name: str, truth) -> None:
    weights, others = mixtures(120), mixtures(200, seed=1)
    predictor = REGRESSORS[name].fit(weights, truth(weights), 0)
    foretold = predictor.predict(others)
    least = 0.8 if name == "ridge" else 0.3 if (name, truth) in LAWS_THAT_FAIL else 0.9
    assert foretold.dtype == np.float64 and foretold.shape == (200,)
    assert spearman(foretold, truth(others)) > least  # type: ignore[operator]


LAWS_THAT_FAIL = [("exponential", together), ("power", together), ("exponential", power)]


def test_the_power_law_finds_its_parameters_again() -> None:
    weights = mixtures(60)
    law = fit_power(weights, power(weights))
    others = mixtures(500, seed=1)
    np.testing.assert_allclose(law.predict(others), power(others), atol=0.06)
    assert law.constant == pytest.approx(2, abs=0.3)
    worth = law.worth / law.worth[0]
    np.testing.assert_allclose(worth, [1.0, 0.3, 0.05, 0.01, 0.0, 0.0], atol=0.06)


def test_ridge_is_least_squares_on_logarithms_where_losses_are_linear_in_them() -> None:
    weights = mixtures(40)
    rule = np.array([-0.3, -0.1, 0.0, 0.2, 0.05, 0.1])
    found = fit_ridge(weights, 1.5 + np.log(weights + 1e-3) @ rule)
    np.testing.assert_allclose(found.rule, rule, atol=1e-4)
    assert found.constant == pytest.approx(1.5, abs=1e-3)


@pytest.mark.parametrize("shift", [0.0, -10.0])  # below 0 no logarithm is taken
def test_the_process_says_where_losses_change_and_what_is_noise(shift: float) -> None:
    weights, others = mixtures(150), mixtures(300, seed=1)
    noise = 0.02 * np.random.default_rng(2).normal(size=150)
    found = fit_gaussian(weights, together(weights) + shift + noise)
    assert set(np.argsort(found.lengths)[:3]) == {0, 1, 2}
    error = found.predict(others) - together(others) - shift
    assert np.sqrt(np.mean(error**2)) < 0.03
    share = 0.02**2 / (together(weights) + noise).var()
    assert share / 3 < found.noise < share * 3


def test_the_process_does_not_depend_on_the_unit_or_the_order_of_sources() -> None:
    weights, others, order = mixtures(50), mixtures(50, seed=1), [3, 1, 0, 5, 4, 2]
    plain = fit_gaussian(weights, power(weights)).predict(others)
    scaled = fit_gaussian(weights[:, order], 100 * power(weights)).predict(others[:, order])
    np.testing.assert_allclose(scaled, 100 * plain, rtol=1e-4)


def test_a_source_that_no_run_read_may_be_asked_about() -> None:
    weights = np.insert(mixtures(40), 2, 0.0, axis=1)
    for name in PLAIN:
        predictor = REGRESSORS[name].fit(weights, together(weights[:, [0, 1, 3]]), 0)
        assert np.isfinite(predictor.predict(np.eye(NUM_SOURCES + 1))).all(), name


def test_lengths_are_learnt_from_some_of_many_runs_and_the_fit_is_to_all() -> None:
    weights, others = mixtures(300), mixtures(200, seed=1)
    losses = together(weights)
    first, again, other = (fit_gaussian(weights, losses, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.predict(others), again.predict(others))
    assert (first.lengths != other.lengths).any()
    few = fit_gaussian(weights[:256], losses[:256]).predict(others)
    errors = [np.abs(foretold - together(others)).mean() for foretold in (first.predict(others), few)]
    assert errors[0] < errors[1]


def test_descent_finds_the_least_point_of_a_valley() -> None:
    """Rosenbrock's, least at (1, 1); where it is infinite there is a way round."""

    def valley(theta: np.ndarray) -> tuple[float, np.ndarray]:
        x, y = theta
        if x > 2:
            return np.inf, np.zeros(2)
        gradient = np.array([-400 * x * (y - x**2) - 2 * (1 - x), 200 * (y - x**2)])
        return 1e4 * ((1 - x) ** 2 + 100 * (y - x**2) ** 2), 1e4 * gradient

    np.testing.assert_allclose(descend(valley, np.array([-1.2, 1.0])), [1, 1], atol=0.02)


@pytest.mark.parametrize(("truth", "wanted"), [(exponential, "exponential"), (power, "power"), (together, "gp")])
def test_the_regressor_that_is_true_is_chosen(truth, wanted: str) -> None:
    weights, others = mixtures(100), mixtures(100, seed=1)
    noise = 0.01 * np.random.default_rng(0).normal(size=100)
    found = choose(weights, truth(weights) + noise, PLAIN)
    assert found.name == wanted
    assert found.error < 0.03 < found.mean_error
    assert found.spearman is not None and found.spearman > 0.95
    np.testing.assert_allclose(found.predictor.predict(others), truth(others), atol=0.1)
    by_name = {one.name: one for one in found.tried}
    assert list(by_name) == PLAIN and by_name[wanted].error == found.error
    assert found.error == pytest.approx(np.sqrt(np.mean((found.held_out - truth(weights) - noise) ** 2)))


class Recorded:
    """A regressor that remembers what it was fitted to, and foretells a constant, or the truth and some error."""

    def __init__(self, error: float = 0.0) -> None:
        self.seen: list[np.ndarray] = []
        self.error = error

    def fit(self, weights: np.ndarray, losses: np.ndarray, seed: int) -> "Recorded":
        self.seen.append(weights)
        return self

    def predict(self, weights: np.ndarray) -> np.ndarray:
        assert not (self.seen[-1][:, None] == weights[None]).all(axis=2).any(), "it is asked for a run it was fitted to"
        return power(weights) + self.error * np.sin(1e4 * weights[:, 0])


def planted(monkeypatch: pytest.MonkeyPatch, **regressors: Regressor) -> None:
    monkeypatch.setattr("assay.mixtures.regression.REGRESSORS", regressors)


def of(recorded: Recorded, least: int = 1) -> Regressor:
    return Regressor(recorded.fit, lambda num_sources: least)


def test_no_run_is_foretold_by_a_regressor_that_has_seen_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for num, folds in ((99, 10), (100, 5), (7, 7)):
        recorded = Recorded()
        planted(monkeypatch, recorded=of(recorded))
        weights = mixtures(num)
        found = choose(weights, power(weights))
        assert found.error < 1e-12 and len(recorded.seen) == folds + 1 and len(recorded.seen[-1]) == num


def test_runs_of_one_mixture_are_held_out_together(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = Recorded()
    planted(monkeypatch, recorded=of(recorded))
    weights = np.repeat(mixtures(12), 3, axis=0)[np.random.default_rng(0).permutation(36)]
    found = choose(weights, power(weights) + 0.1 * np.arange(36))
    assert len(recorded.seen) == 11 and found.error == pytest.approx(0.1 * np.sqrt(np.mean(np.arange(36) ** 2)))
    with pytest.raises(InvalidParameterError, match="two different mixtures"):
        choose(np.repeat(mixtures(1), 30, axis=0), np.arange(30.0))


def test_other_seeds_of_a_mixture_are_no_further_mixtures() -> None:
    weights = np.repeat(mixtures(6), 10, axis=0)
    with pytest.raises(InvalidParameterError, match=r"ridge: it needs 8 mixtures of 6 sources, and has 5 when"):
        choose(weights, power(weights) + np.arange(60))


@pytest.mark.parametrize("name", ["gp", "lightgbm"])  # both draw runs: to learn lengths from, to stop by
@pytest.mark.usefixtures("trees")
def test_the_order_of_runs_changes_nothing(name: str) -> None:
    weights, order = mixtures(340), np.random.default_rng(0).permutation(340)
    losses = together(weights) + 0.05 * np.random.default_rng(1).normal(size=340)
    first, other = (choose(weights[rows], losses[rows], [name]) for rows in (np.arange(340), order))
    np.testing.assert_array_equal(first.held_out[order], other.held_out)
    others = mixtures(50, seed=1)
    np.testing.assert_array_equal(first.predictor.predict(others), other.predictor.predict(others))


def test_the_simpler_of_two_is_chosen_unless_the_other_is_told_to_be_better(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = mixtures(60)
    losses = power(weights) + np.random.default_rng(0).normal(0, 0.1, 60)
    for error, wanted in ((0.01, "simple"), (0.5, "other")):
        planted(monkeypatch, simple=of(Recorded(error)), other=of(Recorded()))
        assert choose(weights, losses).name == wanted


def test_a_regressor_that_foretells_no_numbers_loses(monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch, broken=of(Recorded(np.nan)), other=of(Recorded(9.0)))
    found = choose(mixtures(30), power(mixtures(30)))
    assert found.name == "other" and found.tried[0].reason == "it foretells no numbers"


def test_regressors_are_left_out_where_runs_are_too_few_and_it_is_said() -> None:
    weights = mixtures(32)
    found = choose(weights, power(weights))
    reasons = {one.name: one.reason for one in found.tried}
    assert reasons["lightgbm"] == "it needs 45 mixtures of 6 sources, and has 28 when some are held out"
    assert not any(reasons[name] for name in PLAIN)
    with pytest.raises(InvalidParameterError, match=r"No regressor can be fitted(.|\n)*ridge: it needs 8 mixtures"):
        choose(weights[:6], power(weights[:6]))


def test_without_the_extra_the_others_are_chosen_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    weights = mixtures(60)
    found = choose(weights, power(weights), ["power", "lightgbm"])
    assert found.name == "power" and "pip install 'assay[mix]'" in found.tried[1].reason
    with pytest.raises(MissingExtraError, match=r"lightgbm: Regressor `lightgbm` needs.*pip install"):
        choose(weights, power(weights), ["lightgbm"])


@pytest.mark.parametrize(
    ("losses", "names", "message"),
    [
        (np.full(30, 2.0), None, "this metric never varies"),
        (np.append(np.arange(29.0), np.inf), None, "`losses`.*numbers. Leave runs that failed out"),
        (np.arange(29.0), None, "one for each row"),
        (np.arange(30.0), ["gpp"], "`regressor`.*one of ridge, .* Did you mean 'gp'"),
    ],
)
def test_what_cannot_be_fitted_is_refused(losses: np.ndarray, names: list[str] | None, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        choose(mixtures(30), losses, names)


def test_weights_that_are_no_mixtures_are_refused() -> None:
    weights = mixtures(30)
    for wrong in (100 * weights, np.where(weights == weights.max(), np.nan, weights), 1.5 - weights):
        with pytest.raises(InvalidParameterError, match=r"`weights`: row .* at least 0 that sum to 1"):
            choose(wrong, np.arange(30.0))
