"""What each epoch visits, against counts and expectations worked out by hand."""

import numpy as np
import pytest

from assay.errors import InvalidParameterError
from assay.proxy.rules.sampling import RS2, InfoBatch, SeTa, pruned_weights
from assay.proxy.rules_base import Epoch, Rule, plain


def told(number: int, num: int = 100, *, visited: int = 0, visits: int = 10**9, losses=None, seed: int = 0) -> Epoch:
    losses = np.full(num, np.nan, np.float32) if losses is None else losses
    return Epoch(0, number, num, visited, visits, seed, losses, None)


@pytest.mark.parametrize(("num", "share"), [(100, 0.1), (103, 0.3), (7, 0.4), (50, 0.99), (3, 0.01)])
def test_rs2_without_replacement_visits_all_equally_often(num: int, share: float) -> None:
    hooks, seen = RS2(share=share).start(), np.zeros(num, int)
    size = max(1, round(share * num))
    for k in range(200):
        order = hooks.epoch(told(k, num)).order
        assert len(order) == len(set(order.tolist())) == size
        seen[order] += 1
        assert set(seen.tolist()) <= {(k + 1) * size // num, -(-(k + 1) * size // num)}


def test_rs2_carries_over_what_an_epoch_leaves_of_a_permutation() -> None:
    hooks = RS2(share=0.4).start()
    first, second, third = (hooks.epoch(told(k, 10)).order.tolist() for k in range(3))
    assert set(third) >= set(range(10)) - set(first) - set(second)


def test_rs2_with_replacement_misses_as_many_as_independent_draws() -> None:
    hooks, num, share, epochs = RS2(share=0.2, replacement=True).start(), 5000, 0.2, 7
    seen = np.zeros(num, int)
    for k in range(epochs):
        seen[hooks.epoch(told(k, num)).order] += 1
    missed = (1 - share) ** epochs
    assert abs((seen == 0).mean() - missed) < 4 * (missed * (1 - missed) / num) ** 0.5
    assert abs((seen == 2).mean() - 21 * share**2 * (1 - share) ** 5) < 0.03


def test_rs2_epochs_are_uniform_where_a_permutation_ends_inside() -> None:
    counts = np.zeros(5)
    for seed in range(3000):
        hooks = RS2(share=0.6).start()
        hooks.epoch(told(0, 5, seed=seed))
        counts[hooks.epoch(told(1, 5, seed=seed)).order] += 1
    assert np.abs(counts / 3000 - 0.6).max() < 4 * (0.24 / 3000) ** 0.5


def test_seta_visits_windows_from_easy_to_hard() -> None:
    rule = SeTa(prune=0, groups=5, window=0.6, anneal=0)
    losses = np.random.default_rng(1).permutation(100).astype(np.float32)
    visited = [np.sort(losses[rule.start().epoch(told(k, losses=losses)).order]) for k in range(1, 7)]
    for k, found in enumerate(visited):
        first = 20 * (k % 3)
        assert found.tolist() == list(range(first, first + 60))


@pytest.mark.parametrize(("groups", "window", "prune"), [(5, 0.9, 0.0), (5, 0.6, 0.1), (7, 0.3, 0.0), (3, 0.1, 0.2)])
def test_seta_visits_every_group_within_a_cycle_and_as_often_as_expected(
    groups: int, window: float, prune: float
) -> None:
    rule, num = SeTa(prune=prune, groups=groups, window=window, anneal=0), 40 * groups
    losses = np.random.default_rng(1).permutation(num).astype(np.float32)
    size = max(1, round(window * groups))
    cycle = groups - size + 1
    hooks, times, seen = rule.start(), 30, np.zeros(groups)
    for k in range(1, cycle * times + 1):
        seen += np.bincount(
            (losses[hooks.epoch(told(k, num, losses=losses)).order] // 40).astype(int), minlength=groups
        )
    # How many of the cycle's windows hold each group, counted one by one.
    windows = [sum(first <= group < first + size for first in range(cycle)) for group in range(groups)]
    expected = np.array(windows) * times * 40 * (1 - prune)
    assert min(windows) >= 1
    assert np.abs(seen / expected - 1).max() < (1e-9 if prune == 0 else 0.1)


def test_seta_and_infobatch_read_all_groups_at_the_end() -> None:
    losses = np.arange(100, dtype=np.float32)
    late = told(3, losses=losses, visited=875, visits=1000)
    early = told(3, losses=losses, visited=874, visits=1000)
    assert len(SeTa(prune=0.2, window=0.2).start().epoch(late).order) == 80
    assert len(SeTa(prune=0.2, window=0.2).start().epoch(early).order) == 16
    assert len(InfoBatch().start().epoch(late).order) == 100
    assert len(InfoBatch().start().epoch(early).order) == 75


def test_infobatch_gradient_is_unbiased() -> None:
    rng = np.random.default_rng(0)
    losses = rng.gamma(2.0, size=61).astype(np.float32)
    gradients = rng.normal(size=(61, 4)) + losses[:, None]
    draws = 4000
    hooks = InfoBatch(prune=0.6).start()
    estimates = np.empty((draws, 4))
    for k in range(draws):
        order, weights = hooks.epoch(told(1, 61, losses=losses, seed=k))
        estimates[k] = weights @ gradients[order]
    z = (estimates.mean(0) - gradients.sum(0)) / (estimates.std(0) / draws**0.5)
    assert np.abs(z).max() < 3
    # Without the weights, as SeTa has it, the same gradient is biased: the test can tell.
    bare = np.array([gradients[hooks.epoch(told(1, 61, losses=losses, seed=k)).order].sum(0) for k in range(draws)])
    assert np.abs((bare.mean(0) - gradients.sum(0)) / (bare.std(0) / draws**0.5)).min() > 10


def test_infobatch_leaves_out_only_what_is_learnt_and_weighs_the_rest_of_it() -> None:
    losses = np.array([1, 1, 1, 1, 9, 9, np.nan], np.float32)
    weights = pruned_weights(losses, 0.5, np.random.default_rng(0))
    assert sorted(weights[:4].tolist()) == [0, 0, 2, 2]
    assert weights[4:].tolist() == [1, 1, 1]
    assert pruned_weights(np.full(3, np.nan, np.float32), 0.5, np.random.default_rng(0)).tolist() == [1, 1, 1]


NEUTRAL = [RS2(share=1), RS2(share=1, replacement=True), SeTa(prune=0, window=1), InfoBatch(prune=0)]


@pytest.mark.parametrize("rule", NEUTRAL)
def test_neutral_rules_visit_what_plain_training_does(rule: Rule) -> None:
    hooks, losses = rule.start(), np.arange(50, dtype=np.float32)
    for k in range(4):
        epoch = told(k, 50, losses=losses, seed=5)
        order, weights = hooks.epoch(epoch)
        assert order.tolist() == plain(epoch).order.tolist()
        assert weights.tolist() == [1.0] * 50


@pytest.mark.parametrize(
    ("kind", "parameters", "named"),
    [
        (RS2, {"share": 0}, "share"),
        (RS2, {"share": 1.5}, "share"),
        (RS2, {"replacement": "no"}, "replacement"),
        (SeTa, {"groups": 0}, "groups"),
        (SeTa, {"prune": 1}, "prune"),
        (SeTa, {"window": float("nan")}, "window"),
        (InfoBatch, {"prune": -0.1}, "prune"),
        (InfoBatch, {"anneal": 2}, "anneal"),
    ],
)
def test_bad_parameters_are_named(kind: type[Rule], parameters: dict, named: str) -> None:
    with pytest.raises(InvalidParameterError, match=f"`{named}`"):
        kind(**parameters)
