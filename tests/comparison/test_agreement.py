"""Agreement of two rungs: exact small cases, and two rungs that know nothing of each other."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from assay.comparison.agreement import agreement


def arms(losses: dict[str, list[float]]) -> list[dict[str, object]]:
    return [{"name": name, "bits_per_byte_by_seed": values} for name, values in losses.items()]


def test_an_exact_small_case() -> None:
    lower = arms({"a": [1.0, 1.0], "b": [2.0, 2.0], "c": [3.0, 3.0], "only here": [9.0, 9.0]})
    upper = arms({"a": [1.0, 1.1], "c": [2.0, 2.1], "b": [3.0, 3.1]})
    found = agreement(lower, upper)
    assert found is not None
    assert (found["arms"], found["pairs"], found["same_order"]) == (3, 3, 2)
    assert (found["told_apart"], found["told_apart_same_order"], found["disagree"]) == (3, 2, [["c", "b"]])
    assert found["accuracy"]["estimate"] == pytest.approx(2 / 3)
    assert found["rank_correlation"]["estimate"] == pytest.approx(0.5)


def test_pairs_that_only_chance_orders_are_not_told_apart() -> None:
    rng = np.random.default_rng(0)
    names = [f"arm{k}" for k in range(20)]
    lower, upper = ({name: rng.normal(size=5).tolist() for name in names} for _ in range(2))
    found = agreement(arms(lower), arms(upper))
    assert found is not None
    apart = [
        (a, b) for a, b in combinations(names, 2) if stats.ttest_rel(upper[a], upper[b]).pvalue < 0.05
    ]  # Student's test of the package
    assert found["told_apart"] == len(apart)
    assert found["told_apart"] < 0.15 * found["pairs"]
    assert found["accuracy"]["low"] < 0.5 < found["accuracy"]["high"]
    means = [np.array([np.mean(rung[name]) for name in names]) for rung in (lower, upper)]
    assert found["rank_correlation"]["estimate"] == pytest.approx(stats.spearmanr(*means).statistic)


def test_one_arm_in_both_says_nothing() -> None:
    assert agreement(arms({"a": [1.0, 2.0], "b": [1.0, 2.0]}), arms({"a": [1.0, 2.0], "c": [1.0, 2.0]})) is None
