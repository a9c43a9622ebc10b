"""CLIMB on objectives whose optimum is known."""

import numpy as np
import pytest

from assay.errors import InvalidParameterError
from assay.mixtures.climb import climb, fit_climb_trees
from assay.mixtures.laws import MixingLaw, best, fit_law
from assay.models.calibration import spearman

PRIOR = np.array([0.5, 0.2, 0.15, 0.1, 0.05])
LAW = MixingLaw(2.0, np.array([[0.5, -2.0, 0.3, -0.5, 0.2], [-1.0, 0.5, -1.0, -2.0, 0.4], [0.0, 0.4, 0.5, 0.1, -3.0]]))


def measure(seed: int = 0, sd: float = 0.003):
    rng = np.random.default_rng(seed)
    return lambda weights: LAW.predict(weights) + sd * rng.normal(size=len(weights))


def test_climbing_comes_nearer_than_as_many_runs_at_once() -> None:
    caps, regrets = np.minimum(15 * PRIOR, 1), []
    for seed in range(2):
        one, many = (climb(measure(seed), PRIOR, rounds=rounds, seed=seed) for rounds in ((56,), (32, 16, 8)))
        regrets.append(LAW.predict(np.stack([one.best, many.best, many.mean_best])) - best(LAW, caps).loss)
    alone, climbed, mean_best = np.mean(regrets, axis=0)
    assert climbed < 0.2 * alone and climbed < 0.05 and mean_best < 0.05


def test_caps_hold_in_all_rounds_and_in_the_mean() -> None:
    caps = np.array([0.4, 0.25, 0.3, 0.2, 0.05])
    found = climb(measure(), PRIOR, rounds=(32, 16, 8), at_most=caps)
    assert found.weights.shape == (56, 5)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1)
    assert (found.weights <= caps + 1e-9).all() and (found.mean_best <= caps + 1e-9).all()
    assert best(LAW, caps).loss <= LAW.predict(found.best[None])[0] < best(LAW, caps).loss + 0.02


def test_a_source_that_is_not_there_is_never_taken() -> None:
    found = climb(measure(), np.array([0.5, 0.0, 0.3, 0.2, 0.0]), rounds=(16, 8), at_most=np.full(5, 0.6))
    assert (found.weights[:, [1, 4]] == 0).all() and (found.mean_best[[1, 4]] == 0).all()
    np.testing.assert_allclose(found.weights.sum(axis=1), 1)


def test_rounds_report_what_was_measured_and_foretold_before() -> None:
    asked: list[np.ndarray] = []
    noisy = measure()

    def losses(weights: np.ndarray) -> np.ndarray:
        asked.append(weights)
        return noisy(weights)

    found = climb(losses, PRIOR, rounds=(32, 16, 8))
    np.testing.assert_array_equal(found.weights, np.concatenate(asked))
    assert [len(weights) for weights in asked] == [32, 16, 8] == np.bincount(found.rounds).tolist()
    assert found.best_loss == found.losses.min() and (found.best == found.weights[found.losses.argmin()]).all()
    assert np.isnan(found.foretold[:32]).all()
    assert np.abs(found.foretold[32:] - found.losses[32:]).mean() < 0.2 * found.losses[:32].std()
    means = [found.losses[found.rounds == k].mean() for k in range(3)]
    assert means[0] > means[1] > means[2] - 0.005


def test_the_lowest_of_noisy_losses_flatters_and_the_fit_less() -> None:
    flattered, foretold = [], []
    for seed in range(4):
        found = climb(measure(seed, sd=0.05), PRIOR, rounds=(32, 16), seed=seed)
        truth = LAW.predict(found.best[None])[0]
        flattered.append(found.best_loss - truth)
        foretold.append(found.best_foretold - truth)
    assert np.mean(flattered) < -0.04
    assert abs(np.mean(foretold)) < 0.6 * abs(np.mean(flattered))


def test_same_seed_same_climb_and_scale_of_losses_does_not_matter() -> None:
    first = climb(LAW.predict, PRIOR, rounds=(16, 8), regressor=law_regressor)
    again = climb(LAW.predict, PRIOR * 7, rounds=(16, 8), regressor=law_regressor)
    np.testing.assert_array_equal(first.weights, again.weights)
    other = climb(lambda w: 100 * LAW.predict(w), PRIOR, rounds=(16, 8), regressor=law_regressor)
    np.testing.assert_allclose(first.best, other.best, atol=1e-9)


def law_regressor(weights: np.ndarray, losses: np.ndarray, seed: int) -> MixingLaw:
    return fit_law(weights, losses, seed=seed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rounds": ()}, "`rounds`"),
        ({"rounds": (16, 0)}, "`rounds`"),
        ({"losses": lambda w: np.full(len(w), np.nan)}, "is nan, and of 16 of 16 in this round no number"),
        ({"losses": lambda w: np.zeros(3)}, "one loss for each of 16"),
        ({"at_most": np.full(5, 0.1)}, "at_most"),
        ({"at_most": np.full(4, 0.5)}, "`at_most`.*each of 5 sources"),
        ({"prior": np.array([0.5, -0.1])}, "prior"),
        ({"prior": np.zeros(5)}, "prior"),
        ({"prior": np.array([0, 0, 0.5, 0.5, 0]), "at_most": np.full(5, 0.4)}, "at_most"),
    ],
)
def test_bad_input_is_refused(change: dict, message: str) -> None:
    parameters = {"losses": LAW.predict, "prior": PRIOR, "rounds": (16, 8)} | change
    with pytest.raises(InvalidParameterError, match=message):
        climb(**parameters)


def test_a_large_round_too_is_of_what_is_foretold_to_be_best() -> None:
    found = climb(LAW.predict, PRIOR, rounds=(32, 400), regressor=lambda weights, losses, seed: LAW)
    first, second = (found.losses[found.rounds == k].mean() for k in range(2))
    assert second - found.best_loss < 0.6 * (first - found.best_loss)


@pytest.mark.usefixtures("trees")
def test_trees_do_not_depend_on_the_unit_of_losses() -> None:
    rng = np.random.default_rng(0)
    weights, others = rng.dirichlet(PRIOR * 5, 64), rng.dirichlet(PRIOR * 5, 200)
    losses = measure()(weights)
    foretold = fit_climb_trees(weights, losses, l1=1.0).predict(others)
    assert spearman(foretold, LAW.predict(others)) > 0.7  # type: ignore[operator]
    np.testing.assert_allclose(fit_climb_trees(weights, 10 * losses, l1=1.0).predict(others), 10 * foretold, rtol=1e-6)
    with pytest.raises(InvalidParameterError, match="11 at least"):
        fit_climb_trees(weights[:8], losses[:8])
