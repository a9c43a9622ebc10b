"""Relevance of sources: planted sums of few sources, scikit-learn's Lasso, and budgets that no other budget beats."""

import csv
from pathlib import Path

import numpy as np
import pytest

from assay.errors import InvalidParameterError
from assay.mixtures.relevance import budgets, lasso, of_losses, of_weights, relevance
from assay.mixtures.runs import Runs

TRUTH = np.array([0.7, 0.0, 0.0, 0.3, 0.0, 0.0])


def heads(seed: int, noise: float = 0.02, num: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Heads of six sources, two of which are nearly the same, and of a target that is made of two."""
    rng = np.random.default_rng(seed)
    sources = rng.normal(size=(num, 6))
    sources[:, 4] = 0.7 * sources[:, 0] + 0.7 * sources[:, 4]
    return sources, sources @ TRUTH + noise * rng.normal(size=num)


@pytest.mark.parametrize("seed", range(5))
def test_planted_relevance_is_recovered_and_the_rest_is_little(seed: int) -> None:
    found = relevance(*heads(seed))
    np.testing.assert_allclose(found.nu, TRUTH, atol=0.02)
    assert found.explained > 0.98


def test_a_target_that_sources_say_nothing_about_is_not_explained() -> None:
    found = relevance(heads(0)[0], np.random.default_rng(9).normal(size=60))
    assert found.explained < 0.1
    assert np.abs(found.nu).sum() < 0.3


@pytest.mark.parametrize("at_least_zero", [False, True])
@pytest.mark.parametrize("penalty", [1e-4, 0.01, 0.1, 0.5])
def test_the_lasso_is_that_of_scikit_learn(penalty: float, at_least_zero: bool) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(3)
    sources = rng.normal(size=(40, 8)) @ (np.eye(8) + 0.2 * rng.normal(size=(8, 8))) + 5
    target = sources @ rng.normal(size=8) + rng.normal(size=40)
    oracle = linear_model.Lasso(alpha=penalty, positive=at_least_zero, tol=1e-10, max_iter=100_000)
    oracle.fit(sources, target)
    nu, constant = lasso(sources, target, penalty, at_least_zero=at_least_zero)
    np.testing.assert_allclose(nu, oracle.coef_, atol=1e-6)
    assert constant == pytest.approx(oracle.intercept_, abs=1e-5)


def test_of_two_sources_that_say_the_same_the_cheap_one_is_taken() -> None:
    sources, _ = heads(1)
    sources = np.concatenate((sources[:, :1], sources), axis=1)  # the first stands twice
    target = sources[:, 0] + 0.5 * sources[:, 4]
    costs = np.array([9.0, 1, 1, 1, 1, 1, 1])
    dear_first = relevance(sources, target, costs=costs, penalty=0.01).nu
    assert abs(dear_first[0]) < 1e-6 < dear_first[1]
    cheap_first = relevance(sources, target, costs=costs[[1, 0, *range(2, 7)]], penalty=0.01).nu
    assert abs(cheap_first[1]) < 1e-6 < cheap_first[0]


def test_no_other_budget_of_the_same_cost_has_a_lower_bound() -> None:
    nu, costs = np.array([0.5, -0.2, 0.1, 0.0]), np.array([1.0, 4.0, 0.25, 1.0])
    best = budgets(nu, 1000, costs=costs)
    assert best @ costs == pytest.approx(1000)
    rng = np.random.default_rng(0)
    spent = rng.dirichlet(np.ones(3), 20_000) * 1000  # on the sources that have any relevance
    bounds = (nu[:3] ** 2 / (spent / costs[:3])).sum(axis=1)
    assert (nu[:3] ** 2 / best[:3]).sum() <= bounds.min()
    assert (nu[:3] ** 2 / best[:3]).sum() == pytest.approx(bounds.min(), rel=0.01)


def test_budgets_keep_the_least_and_cost_what_they_may() -> None:
    nu, costs = np.array([10.0, 1.0, 0.01, 0.0]), np.array([1.0, 2.0, 1.0, 3.0])
    tokens = budgets(nu, 2000, costs=costs, at_least=50)
    assert tokens @ costs == pytest.approx(2000)
    assert tokens[3] == tokens[2] == 50 and tokens.min() == 50
    assert tokens[0] / tokens[1] == pytest.approx(10 * np.sqrt(2))


def runs_of(weights: np.ndarray, losses: dict[str, np.ndarray]) -> Runs:
    names = tuple(f"run-{k}" for k in range(len(weights)))
    sources = tuple("abcdef")
    table = np.stack(list(losses.values()), axis=1)
    return Runs(sources=sources, weights=weights, metrics=tuple(losses), losses=table, names=names)


def test_a_target_is_told_by_what_runs_lose_on_it() -> None:
    rng = np.random.default_rng(5)
    weights = rng.dirichlet(np.ones(6), 48)
    own = {f"source:{name}": 2 - np.sqrt(weights[:, k]) for k, name in enumerate("abcdef")}
    target = sum(TRUTH[k] * loss for k, loss in enumerate(own.values())) + 0.005 * rng.normal(size=48)
    found = of_losses(runs_of(weights, {**own, "target": target}), "target", tuple(own))
    np.testing.assert_allclose(found.nu, TRUTH, atol=0.05)


def test_what_a_share_saves_is_told_from_the_weights_of_runs() -> None:
    rng = np.random.default_rng(6)
    weights = rng.dirichlet(np.ones(5), 64)
    weights = np.insert(0.9 * weights, 2, 0.1, axis=1)  # the third is the same in all runs
    saves = np.array([0.9, 0.0, 5.0, 0.4, 0.0, 0.0])
    found = of_weights(
        runs_of(weights, {"target": 3 - np.sqrt(weights) @ saves + 0.005 * rng.normal(size=64)}), "target"
    )
    expected = saves * np.sqrt(weights).std(axis=0)
    np.testing.assert_allclose(found.nu, expected, atol=0.01)
    assert found.nu[2] == 0


def test_on_the_runs_of_regmix_each_domain_is_made_of_its_own_text(shared: Path) -> None:
    tables = []
    for name in ("train_mixture_1m", "train_pile_loss_1m"):
        with open(shared / f"papers/regmix/{name}.csv", newline="") as file:
            header, *rows = csv.reader(file)
        values = np.array(sorted(rows, key=lambda row: int(row[0])), np.float64)[:64, 1:]
        tables.append((header[1:], values))
    (sources, weights), (metrics, losses) = tables
    named = tuple(name.removeprefix("train_the_pile_") for name in sources)
    runs = Runs(
        sources=named,
        weights=weights / weights.sum(axis=1, keepdims=True),
        metrics=tuple(name.removeprefix("metric/the_pile_").removesuffix("_val_loss") for name in metrics),
        losses=losses,
        names=tuple(map(str, range(64))),
    )
    found = {metric: of_weights(runs, metric) for metric in runs.metrics}
    assert sum(named[int(np.argmax(one.nu))] == metric for metric, one in found.items()) >= 12
    assert np.mean([one.explained for one in found.values()]) == pytest.approx(0.81, abs=0.015)


def test_what_is_explained_is_by_the_penalty_that_was_given() -> None:
    sources, target = heads(0)
    assert relevance(sources, target, penalty=1e9).explained == pytest.approx(0, abs=0.1)
    assert not relevance(sources, target, penalty=1e9).nu.any()
    chosen = relevance(sources, target)
    given, other = (relevance(sources, target, penalty=factor * chosen.penalty) for factor in (1, 1.1))
    assert given.explained == pytest.approx(chosen.explained, abs=1e-6)
    assert other.explained != pytest.approx(given.explained, abs=1e-9)  # not that of another penalty near by


def test_equal_figures_are_left_out_together_and_their_order_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    sources, target = np.repeat(rng.normal(size=(12, 5)), 4, axis=0), np.repeat(rng.normal(size=12), 4)
    found, order = relevance(sources, target), rng.permutation(48)
    assert found.explained < 0.3
    assert relevance(sources[order], target[order]).explained == pytest.approx(found.explained)


def test_bad_input_is_refused() -> None:
    sources, target = heads(0)
    with pytest.raises(InvalidParameterError, match="`figures` .=7. must be an integer ≥ 8"):
        relevance(sources[:7], target[:7])
    with pytest.raises(InvalidParameterError, match="`target`"):
        relevance(sources, target[:-1])
    with pytest.raises(InvalidParameterError, match="not all the same"):
        relevance(sources, np.ones(60))
    with pytest.raises(InvalidParameterError, match="`target`.* numbers"):
        relevance(sources, np.append(target[:-1], np.nan))
    with pytest.raises(InvalidParameterError, match="No source's figures go with"):
        relevance(np.ones((60, 2)), target)
    with pytest.raises(InvalidParameterError, match="`costs`"):
        relevance(sources, target, costs=np.zeros(6))
    with pytest.raises(InvalidParameterError, match="No source is relevant"):
        budgets(np.zeros(3), 10)
    with pytest.raises(InvalidParameterError, match="cost 30, more than `total`"):
        budgets(np.ones(3), 10, at_least=10)
