"""Designs of runs against their rules, planted learning curves, and RegMix's published tables."""

import csv
from pathlib import Path

import numpy as np
import pytest

from assay.errors import InvalidParameterError
from assay.mixtures.design import GRID, dirichlet, propose, runs_needed, space_filling
from assay.mixtures.regression import Regressor
from assay.mixtures.runs import Runs

PRIOR = np.array([0.4, 0.25, 0.15, 0.1, 0.06, 0.03, 0.01])
# Tokens of the 17 domains of the Pile in RegMix's settings, in the order of its tables.
PILE = np.array(
    [
        0.113285,
        0.079609,
        0.003913,
        0.185376,
        0.051081,
        0.015963,
        0.101751,
        0.003708,
        0.066529,
        0.001751,
        0.027085,
        0.236869,
        0.011843,
        0.007930,
        0.008033,
        0.038826,
        0.046447,
    ]
)


class Foretold:
    """A regressor that a test fits by hand."""

    def __init__(self, predict) -> None:
        self.predict = predict


def least_squares(weights: np.ndarray, losses: np.ndarray, seed: int) -> Foretold:
    """A plane, with the ridge that few runs need."""
    system = weights.T @ weights + 1e-3 * np.eye(weights.shape[1])
    solution = np.linalg.solve(system, weights.T @ losses)
    return Foretold(lambda rows: rows @ solution)


PLANE = Regressor(least_squares, lambda num_sources: 8)


def runs_of(weights: np.ndarray, losses: np.ndarray) -> Runs:
    names = tuple(f"run-{k}" for k in range(len(weights)))
    sources = tuple(f"source-{k}" for k in range(weights.shape[1]))
    return Runs(sources=sources, weights=weights, metrics=("loss",), losses=losses[:, None], names=names)


def read(path: Path) -> np.ndarray:
    with open(path, newline="", encoding="utf-8") as file:
        _, *rows = csv.reader(file)
    return np.array([[float(value) for value in row[1:]] for row in rows])


def nearest(rows: np.ndarray) -> np.ndarray:
    """Distance of each row to the nearest other, by the slow way."""
    return np.array([min(np.linalg.norm(a - b) for j, b in enumerate(rows) if j != i) for i, a in enumerate(rows)])


@pytest.mark.parametrize("seed", [0, 42])
def test_mixtures_lie_on_the_grid_within_the_caps_and_differ(seed: int) -> None:
    for rows in (
        dirichlet(PRIOR, 200, seed),
        space_filling(60, 7, seed, prior=PRIOR, corners=True),
        space_filling(60, 7, seed, at_most=np.full(7, 0.3)),
        dirichlet(PRIOR, 200, seed, at_most=np.array([0.5, 0.4, 0.3, 0.2, 0.2, 0.1, 0.01])),
    ):
        np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-12)
        np.testing.assert_allclose(rows * GRID, np.round(rows * GRID), atol=1e-6)
        assert rows.min() >= 0 and len(np.unique(rows, axis=0)) == len(rows)
    assert (dirichlet(PRIOR, 200, seed) <= np.minimum(15 * PRIOR, 1) + 1e-12).all()
    assert (dirichlet(PRIOR, 50, seed, at_most=np.full(7, 0.2)) <= 0.2 + 1e-12).all()
    assert (space_filling(60, 7, seed, at_most=np.full(7, 0.3)) <= 0.3 + 1e-12).all()


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    for draw in (lambda seed: dirichlet(PRIOR, 30, seed), lambda seed: space_filling(30, 7, seed, prior=PRIOR)):
        np.testing.assert_array_equal(draw(1), draw(1))
        assert not np.array_equal(draw(1), draw(2))


def test_a_source_of_which_there_is_nothing_is_never_drawn() -> None:
    prior = np.array([0.5, 0.0, 0.5])
    assert dirichlet(prior, 100)[:, 1].max() == 0
    assert space_filling(20, 3, prior=prior, corners=True)[:, 1].max() == 0


def test_caps_that_leave_next_to_nothing_of_the_draws_are_still_met() -> None:
    caps = np.array([0.3, 0.4, 0.31])  # the simplex within is 10,000 times smaller than the whole
    rows = dirichlet(np.ones(3) / 3, 20, at_most=caps)
    assert (rows <= caps + 1e-12).all() and len(np.unique(rows, axis=0)) == 20


def test_caps_need_leave_no_more_mixtures_than_are_asked_for() -> None:
    caps = np.array([0.51, 0.5])  # 51 mixtures, of which five times 20 cannot be drawn to choose from
    weights = space_filling(20, 2, prior=np.ones(2), at_most=caps)
    assert len(np.unique(weights, axis=0)) == 20 and (weights <= caps).all()


def test_draws_are_dirichlet_draws_around_the_tempered_prior() -> None:
    """At one strength, without caps in reach, mean and variance are those of the distribution."""
    prior, strength = np.array([0.64, 0.32, 0.04]), 3.0
    rows = dirichlet(prior, 4_000, strengths=(strength, strength), at_most=np.ones(3))
    mean = np.sqrt(prior) / np.sqrt(prior).sum()
    np.testing.assert_allclose(rows.mean(axis=0), mean, atol=0.02)
    np.testing.assert_allclose(rows.var(axis=0), mean * (1 - mean) / (strength + 1), rtol=0.1)


def test_corners_come_first_and_each_goes_as_far_as_its_cap() -> None:
    rows = space_filling(8, 3, corners=True, at_most=np.array([1.0, 0.5, 0.25]))
    assert rows[0] == pytest.approx([0.3333 + 0.1667 * 0.3333 / 0.5, 0.3333, 0.25], abs=0.08)
    np.testing.assert_allclose(np.diag(rows[1:4]), [1.0, 0.5, 0.25])


def test_a_design_is_spread_wider_than_draws_and_so_is_its_beginning() -> None:
    design = space_filling(64, 4, seed=1)
    at_random = np.random.default_rng(1).dirichlet(np.ones(4), 64)
    assert nearest(design).min() > 2 * nearest(at_random).min()
    assert nearest(design[:16]).min() > 2 * nearest(at_random[:16]).min()
    assert nearest(design[:16]).min() > 1.3 * nearest(design).min()


def test_a_design_covers_the_simplex_more_evenly_than_draws() -> None:
    """The largest distance from any mixture to the design, over 2,000 mixtures."""
    rng = np.random.default_rng(2)
    probes = rng.dirichlet(np.ones(3), 2_000)

    def gap(rows: np.ndarray) -> float:
        return float(np.sqrt(((probes[:, None] - rows[None]) ** 2).sum(axis=2)).min(axis=1).max())

    gaps = [gap(rng.dirichlet(np.ones(3), 32)) for _ in range(10)]
    assert gap(space_filling(32, 3)) < 0.8 * min(gaps)


def test_regmix_published_mixtures_meet_its_caps_but_are_flatter_than_its_settings(shared: Path) -> None:
    """The table's marginals are those of equal shares and strengths from 1 to 5, not of prior^0.5 and 0.1 to 5."""
    theirs = read(shared / "papers" / "regmix" / "train_mixture_1m.csv")
    theirs /= theirs.sum(axis=1, keepdims=True)
    prior = PILE / PILE.sum()
    caps = np.minimum(15 * prior, 1)
    assert (theirs <= caps + 2e-3).all()
    assert (theirs.max(axis=0)[caps < 0.5] > 0.9 * caps[caps < 0.5]).all()  # and reach them: these were the caps

    def marginals(rows: np.ndarray) -> list[float]:
        return [*np.quantile(rows.max(axis=1), [0.1, 0.5, 0.9]), (rows < 5e-4).mean()]

    published = dirichlet(prior, 512, seed=42)
    flat = dirichlet(prior, 512, seed=42, power=0.0, strengths=(1.0, 5.0))
    np.testing.assert_allclose(marginals(flat), marginals(theirs), atol=0.03)
    np.testing.assert_allclose(flat.mean(axis=0), theirs.mean(axis=0), atol=0.035)
    assert marginals(published)[1] > marginals(theirs)[1] + 0.1
    assert (published < 5e-4).mean() > (theirs < 5e-4).mean() + 0.1


def test_the_runs_that_a_planted_loss_takes_are_foretold() -> None:
    truth = np.random.default_rng(0).normal(size=12)

    def measured(num: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        weights = rng.dirichlet(np.ones(12), num)
        return weights, weights @ truth + 0.07 * rng.normal(size=num)

    probes, aims = measured(500, 99)

    def reached(num: int) -> float:
        found = [least_squares(*measured(num, seed), 0).predict(probes) for seed in range(100, 120)]
        return float(np.mean([np.corrcoef(f.argsort().argsort(), aims.argsort().argsort())[0, 1] for f in found]))

    takes = next(num for num in range(8, 100) if reached(num) >= 0.9)
    answers = [runs_needed(runs_of(*measured(192, seed)), PLANE, wanted=0.9) for seed in range(6)]
    close = [answer for answer in answers if answer.num is not None and takes / 2 < answer.num < takes * 2]
    assert len(close) >= 5, (takes, answers)
    assert sum(answer.low <= takes <= (answer.high or np.inf) for answer in close) >= 4
    assert f"takes about {close[0].num} runs ({close[0].low} to {close[0].high})" in str(close[0])


def test_a_correlation_out_of_reach_is_not_promised() -> None:
    weights = np.random.default_rng(0).dirichlet(np.ones(5), 80)
    noisy = weights @ np.arange(5.0) + 0.6 * np.random.default_rng(1).normal(size=80)
    answer = runs_needed(runs_of(weights, noisy), PLANE, wanted=0.99)
    assert answer.num is None and answer.high is None
    assert str(answer).startswith("How many runs a rank correlation of 0.99 takes cannot be told: ")


def test_a_regressor_that_learns_nothing_reaches_nothing() -> None:
    weights = np.random.default_rng(0).dirichlet(np.ones(5), 40)
    answer = runs_needed(
        runs_of(weights, weights[:, 0]), Regressor(lambda w, y, s: Foretold(lambda q: 0 * q[:, 0]), lambda k: 8)
    )
    assert answer.num is None and not answer.correlations.any()


@pytest.mark.usefixtures("trees")
def test_the_learning_curve_of_regmix_is_foretold_from_its_table(shared: Path) -> None:
    """RegMix's settings on its mean of 13 domains: .910 with 64 runs, .972 with 128, .985 with 256 (methods.md)."""
    import lightgbm

    folder = shared / "papers" / "regmix"
    weights, losses = read(folder / "train_mixture_1m.csv"), read(folder / "train_pile_loss_1m.csv")
    settings = {"learning_rate": 0.06, "num_threads": 1, "deterministic": True, "force_row_wise": True, "verbosity": -1}

    def fit(rows: np.ndarray, aims: np.ndarray, seed: int) -> Foretold:
        return Foretold(lightgbm.train(settings | {"seed": seed}, lightgbm.Dataset(rows, aims), 150).predict)

    table = runs_of(weights / weights.sum(axis=1, keepdims=True), losses[:, 8])
    regressor = Regressor(fit, lambda num_sources: 40)
    answer = runs_needed(table, regressor, wanted=0.95)
    assert answer.num is not None and 64 < answer.num < 160
    part = runs_of(table.weights[:160], losses[:160, 8])
    early = runs_needed(part, regressor, wanted=0.95)
    assert early.low is not None and early.low <= answer.num
    assert early.high is None or early.high >= answer.num


def planted_law(weights: np.ndarray) -> np.ndarray:
    tilt = np.array([-1.5, -0.8, 0.3, 0.5, 0.2, -0.3, 0.8])
    return 1 + 0.6 * np.exp(weights @ tilt) + 0.8 * np.exp(-4 * weights[:, 4])


def test_proposals_are_new_within_caps_and_better_than_more_draws() -> None:
    weights = dirichlet(PRIOR, 48)
    runs = runs_of(weights, planted_law(weights))
    caps = np.array([0.7, 0.6, 1, 1, 0.3, 1, 1])
    rows = propose(planted_law, runs, 16, at_most=caps)
    assert (rows <= caps + 1e-12).all() and len(np.unique(rows, axis=0)) == 16
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-12)
    together = np.concatenate([rows, weights])
    assert nearest(together)[:16].min() > 1e-4
    assert planted_law(rows).max() < np.median(planted_law(dirichlet(PRIOR, 200, 5, at_most=caps)))
    assert planted_law(rows[:1])[0] < planted_law(weights).min()  # the first is the best foretold
    np.testing.assert_array_equal(rows, propose(planted_law, runs, 16, at_most=caps))


def test_proposals_find_an_optimum_that_no_run_is_near_in_two_rounds() -> None:
    """Equal parts of four sources are best; one round of all the runs leaves three times the regret."""

    def lost(weights: np.ndarray) -> np.ndarray:
        return ((weights[:, :4] - 0.25) ** 2).sum(axis=1) + weights[:, 4:].sum(axis=1)

    weights = dirichlet(PRIOR, 32)
    for _ in range(2):
        weights = np.concatenate([weights, propose(lost, runs_of(weights, lost(weights)), 8, prior=PRIOR)])
    assert lost(weights).min() < lost(dirichlet(PRIOR, 48)).min() / 3


def test_where_predictors_disagree_proposals_go() -> None:
    weights = dirichlet(PRIOR, 48)
    weights = weights[weights[:, 3] < 0.2]
    runs = runs_of(weights, planted_law(weights))
    unsure = [lambda w, sign=sign: planted_law(w) + sign * 2 * w[:, 3] for sign in (-1, 1)]
    assert propose(unsure, runs, 8)[:, 3].mean() > propose(planted_law, runs, 8)[:, 3].mean() + 0.1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: dirichlet(np.array([1.0]), 5), "at least two sources"),
        (lambda: dirichlet(np.array([0.5, -0.1]), 5), "at least two sources"),
        (lambda: dirichlet(np.array([0.5, float("nan")]), 5), "at least two sources"),
        (lambda: dirichlet(PRIOR, 0), "`num`"),
        (lambda: dirichlet(PRIOR, 5, power=2.0), "`power`"),
        (lambda: dirichlet(PRIOR, 5, strengths=(2.0, 1.0)), "`strengths`"),
        (lambda: dirichlet(PRIOR, 5, at_most=np.full(7, 0.1)), "sum to at least 1. The sources cannot fill the budget"),
        (lambda: dirichlet(PRIOR, 5, at_most=np.ones(3)), "for each of 7 sources"),
        (lambda: dirichlet(np.ones(2), 20, at_most=np.array([0.5, 0.5])), "only 1 different mixtures of 20"),
        (lambda: space_filling(4, 2, prior=np.ones(2), at_most=np.array([0.5, 0.5])), "only 1 different mixtures of 4"),
        (lambda: dirichlet(PRIOR, 5, -1), r"`seed` \(=-1\)"),
        (lambda: space_filling(5, 3, -1), r"`seed` \(=-1\)"),
        (lambda: space_filling(5, 1), "`num_sources`"),
        (lambda: space_filling(5, 3, prior=PRIOR), "a share for each of 3 sources"),
        (lambda: runs_needed(runs_of(np.ones((8, 1)), np.ones(8)), PLANE), "`runs` .* at least 32"),
        (
            lambda: runs_needed(runs_of(np.ones((40, 1)), np.ones(40)), Regressor(least_squares, lambda k: 25)),
            "at least 50 for this regressor",
        ),
        (lambda: runs_needed(runs_of(np.ones((40, 1)), np.ones(40)), PLANE, wanted=1.0), "`wanted`"),
        (lambda: propose([], runs_of(np.eye(7), np.ones(7)), 2, prior=PRIOR), "one predictor"),
        (lambda: propose(lambda w: w[:, 0] * np.nan, runs_of(np.eye(7), np.ones(7)), 2, prior=PRIOR), "`predict`"),
    ],
)
def test_what_cannot_be_done_is_refused(call, words: str) -> None:
    with pytest.raises(InvalidParameterError, match=words):
        call()
