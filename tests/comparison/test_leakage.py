"""Leakage by option shuffling: exact tests by hand, error rates where nothing leaked, power where it did."""

import math

import numpy as np
import pytest

from assay.comparison.leakage import (
    count_tail,
    end_gaps,
    first_chances,
    gap_p_values,
    is_first_best,
    judge_first,
    judge_gaps,
    share_interval,
)

ORDERS = np.full(400, 24)
DRAWS = {
    "normal": lambda rng: rng.normal(size=(400, 24)),
    "heavy-tailed": lambda rng: rng.standard_t(3, size=(400, 24)),
    "of a scale of its own": lambda rng: rng.normal(size=(400, 24)) * rng.lognormal(sigma=1.5, size=(400, 1)),
}


def test_first_order_is_best_by_hand() -> None:
    scores = [np.array([3.0, 1.0]), np.array([1.0, 1.0, 0.0]), np.array([1.0, 2.0]), np.array([1.0, 1.0 - 1e-6])]
    assert is_first_best(scores).tolist() == [True, False, False, False]


def test_level_orders_count_for_nothing() -> None:
    """Scores of three values: the best is often not alone, and the first is it as often as chances say."""
    scores = list(np.random.default_rng(8).integers(0, 3, (4000, 6)).astype(float))
    found = judge_first(is_first_best(scores), first_chances(scores))
    assert found.expected < 1 / 6 / 2 and found.p_value > 0.05 and found.excess.low < 0 < found.excess.high
    assert first_chances([np.array([1.0, 1.0, 0.0]), np.array([0.0, 1.0, 0.0])]).tolist() == [0, 1 / 3]


def test_tail_is_that_of_all_outcomes_counted() -> None:
    chances = np.array([0.5, 1 / 6, 1 / 24, 1 / 24])
    outcomes = (np.arange(16)[:, None] >> np.arange(4)) & 1
    weights = np.where(outcomes == 1, chances, 1 - chances).prod(axis=1)
    for count in range(5):
        assert count_tail(count, chances) == pytest.approx(weights[outcomes.sum(axis=1) >= count].sum())
    assert count_tail(300, np.full(14_000, 1 / 24)) > 0.99  # as many items as MMLU has


def test_interval_of_a_share_covers_it() -> None:
    assert [round(x, 4) for x in share_interval(3, 40)] == [0.075, 0.0157, 0.2039]  # published tables
    assert share_interval(0, 20)[1:] == (0.0, pytest.approx(1 - 0.025 ** (1 / 20)))
    rng = np.random.default_rng(0)
    covered = [low <= 0.1 <= high for _, low, high in (share_interval(int(k), 60) for k in rng.binomial(60, 0.1, 500))]
    assert np.mean(covered) >= 0.94


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_where_nothing_leaked_each_rule_errs_as_often_as_it_says(draw) -> None:
    rng = np.random.default_rng(5)
    flagged, rejected, first = [], [], []
    for _ in range(40):
        scores = list(draw(rng))
        gaps, _ = end_gaps(scores)
        p_values = gap_p_values(gaps, ORDERS)
        found = judge_gaps(gaps, p_values, 0.05)
        flagged.append(found.flagged / found.num_items)
        rejected.append(found.p_value <= 0.05)
        first.append(judge_first(is_first_best(scores), first_chances(scores)))
    assert np.mean(flagged) == pytest.approx(0.05, abs=0.01)  # the isolation forest: 0.29 to 0.75 of such scores
    assert np.mean(rejected) <= 0.175 and np.mean([f.p_value <= 0.05 for f in first]) <= 0.175  # 40 trials at 0.05
    assert np.mean([f.share.estimate for f in first]) == pytest.approx(1 / 24, abs=0.005)
    assert np.mean([f.excess.low <= 0 <= f.excess.high for f in first]) >= 0.85


def test_known_orders_are_found_however_many_there_are() -> None:
    rng = np.random.default_rng(6)
    for share in (0.1, 1.0):
        scores = rng.normal(size=(400, 24))
        leaked = rng.permutation(400) < 400 * share
        scores[leaked, 0] += 6
        first = judge_first(is_first_best(list(scores)), first_chances(list(scores)))
        assert first.excess.low <= share <= first.excess.high and first.p_value < 1e-6
        scores = rng.permuted(scores, axis=1)  # the published order is not the one that was read
        assert judge_first(is_first_best(list(scores)), first_chances(list(scores))).p_value > 0.001
        gaps, _ = end_gaps(list(scores))
        p_values = gap_p_values(gaps, ORDERS)
        found = judge_gaps(gaps, p_values, 0.05)
        assert (p_values[leaked] <= 0.05).mean() > 0.9 and found.p_value < 1e-6
        assert found.excess.low <= share <= found.excess.high + 0.05


def test_items_are_compared_with_items_of_as_many_orders_and_few_orders_are_not_judged() -> None:
    rng = np.random.default_rng(7)
    scores = [rng.normal(size=n) for n in [24] * 50 + [6] * 50 + [2] * 50]
    num_orders = np.array([len(own) for own in scores])
    gaps, _ = end_gaps(scores)
    p_values = gap_p_values(gaps, num_orders)
    assert np.isnan(p_values[100:]).all() and not np.isnan(p_values[:100]).any()
    np.testing.assert_array_equal(p_values[:50], gap_p_values(gaps[:50], num_orders[:50]))
    nothing = judge_gaps(gaps[100:], p_values[100:], 0.05)
    assert nothing.num_items == 0 and math.isnan(nothing.p_value)
