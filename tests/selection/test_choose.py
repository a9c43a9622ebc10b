"""The choice against the slow obvious one: sort everything, take until the budget is reached."""

from collections import Counter
from collections.abc import Mapping
from itertools import permutations

import numpy as np
import pyarrow as pa
import pytest

from assay.errors import BudgetError, InvalidParameterError
from assay.selection import choose
from assay.selection.choose import (
    REASONS,
    Judged,
    Rules,
    apply,
    drop_duplicates,
    find_cuts,
    first_of_each,
    gather,
    histogram,
    judge,
    rivals,
    totals,
)
from assay.selection.expressions import Expression
from assay.selection.noise import gumbels
from assay.selection.policies import Cap, Policy, Quota, Sample, Threshold, Top, Uniform, Unique


def once(size: int) -> tuple[np.ndarray, np.ndarray]:
    """`times` and `cluster` of documents that are seen once and have no duplicates."""
    return np.ones(size, np.int32), np.full(size, -1, np.int64)


def run(
    judged: list[Judged], budgets: dict[str, float], max_repeats: int = 1, taken: Mapping[str, float] | None = None
) -> list[np.ndarray]:
    """Repeats per part, through the passes that the product makes."""
    eligible = sum((Counter(totals(part)["groups"]) for part in judged), Counter())
    cuts = find_cuts(
        budgets,
        eligible,
        dict.fromkeys(budgets, max_repeats),
        0,
        lambda prefixes: [histogram(part, prefixes) for part in judged],
        lambda prefixes: [gather(part, prefixes) for part in judged],
        taken,
    )
    return [apply(part, cuts)[0] for part in judged]


def slow(judged: list[Judged], group: str, budget: float) -> list[tuple[int, int, float]]:
    """(part, row, cost) of a group's documents in order, up to the one with which the budget is reached."""
    documents = [
        (int(part.key[row]), int(part.tie[row]), k, row)
        for k, part in enumerate(judged)
        for row in range(len(part.reason))
        if part.reason[row] == 0 and part.groups[part.group[row]] == group
    ]
    taken: list[tuple[int, int, float]] = []
    for _, _, k, row in sorted(documents, reverse=True):
        if sum(cost for _, _, cost in taken) >= budget:
            break
        taken.append((k, row, judged[k].cost[row]))
    return taken


def random_parts(seed: int, *, ties: bool, groups: int = 1, size: int = 400) -> list[Judged]:
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(4):
        n = int(rng.integers(0, size))
        priority = rng.integers(-3, 3, n).astype(float) if ties else rng.normal(0, 10.0 ** rng.integers(-5, 5), n)
        priority[rng.random(n) < 0.02] = np.inf
        priority[rng.random(n) < 0.02] = -0.0
        cost = rng.integers(0, 50, n).astype(float)
        names = [f"g{k}" for k in rng.permutation(groups)]
        parts.append(
            Judged(
                (rng.random(n) < 0.2).astype(np.uint8),
                choose._sortable(priority),
                rng.integers(0, 2**64, n, dtype=np.uint64),
                cost,
                rng.integers(0, groups, n),
                names,
                *once(n),
            )
        )
    return parts


@pytest.mark.parametrize("gather_limit", [1, 50, 1 << 18])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("groups", [1, 3])
def test_the_choice_is_the_sorted_prefix(
    monkeypatch: pytest.MonkeyPatch, gather_limit: int, ties: bool, groups: int
) -> None:
    monkeypatch.setattr(choose, "_GATHER_LIMIT", gather_limit)
    for seed in range(10):
        parts = random_parts(seed, ties=ties, groups=groups)
        available = sum((Counter(totals(part)["groups"]) for part in parts), Counter())
        share = np.random.default_rng(seed).uniform(0.05, 0.95)
        budgets = {group: float(int(cost * share) + 1) for group, cost in available.items() if cost}
        ours = {(k, row) for k, repeats in enumerate(run(parts, budgets)) for row in np.flatnonzero(repeats)}
        chosen = 0.0
        for group, budget in budgets.items():
            expected = slow(parts, group, budget)
            of_group = {(k, row) for k, row in ours if parts[k].groups[parts[k].group[row]] == group}
            whole = {(k, row) for k, row, _ in expected}
            assert of_group == whole or (groups > 1 and of_group == whole - {expected[-1][:2]})
            chosen += sum(parts[k].cost[row] for k, row in of_group)
        assert sum(budgets.values()) <= chosen < sum(budgets.values()) + 50


@pytest.mark.parametrize(("num_groups", "budget"), [(50, 10), (3, 10), (200, 150), (7, 7), (1000, 1)])
def test_many_groups_together_go_no_further_than_one_document(num_groups: int, budget: int) -> None:
    size = 6 * num_groups
    group = np.arange(size) % num_groups
    keys = choose._sortable(np.arange(size).astype(float))
    names = [f"g{k}" for k in range(num_groups)]
    part = Judged(np.zeros(size, np.uint8), keys, np.zeros(size, np.uint64), np.ones(size), group, names, *once(size))
    repeats = run([part], Quota().group_budgets(budget, totals(part)["groups"]))[0]
    by_group = np.bincount(group, repeats)
    assert repeats.sum() == budget
    assert set(by_group) <= {budget // num_groups, -(-budget // num_groups)}


def of_group(parts: list[Judged], values: list[np.ndarray], group: str) -> np.ndarray:
    """The values of a group's documents that can be taken."""
    own = [(part.group == part.groups.index(group)) & (part.reason == 0) for part in parts]
    return np.concatenate([one[rows] for one, rows in zip(values, own, strict=True)])


@pytest.mark.parametrize("seed", range(8))
def test_each_group_is_met_within_one_of_its_documents_with_the_repeats_it_needs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = random_parts(seed, ties=False, groups=6)
    have = sum((Counter(totals(part)["groups"]) for part in parts), Counter())
    budgets = {group: float(cost * rng.choice([0.01, 0.5, 1.0, rng.uniform(0, 5)])) for group, cost in have.items()}
    repeats = run(parts, budgets, 5)
    total = longest = 0.0
    for group, budget in budgets.items():
        costs, counts = of_group(parts, [part.cost for part in parts], group), of_group(parts, repeats, group)
        assert abs(costs @ counts - budget) < costs.max()
        assert counts.max() - counts.min() <= 1  # no document is repeated before all have been taken
        total, longest = total + costs @ counts, max(longest, costs.max())
    assert -1e-6 <= total - sum(budgets.values()) < longest


@pytest.mark.parametrize("seed", range(8))
def test_phases_read_on_where_the_last_one_stopped(seed: int) -> None:
    """Each takes the next documents of an endless row, in which those of a group stand in order again and again."""
    rng = np.random.default_rng(seed)
    parts = random_parts(seed, ties=False, groups=2, size=40)
    have = sum((Counter(totals(part)["groups"]) for part in parts), Counter())
    rows = {group: slow(parts, group, float("inf")) for group in have}
    place = dict.fromkeys(have, 0)
    seen = [np.zeros(len(part.cost), np.int64) for part in parts]
    for _ in range(7):
        budgets = {g: float(rng.choice([0.0, 0.4, 3.0, rng.uniform(0, 1.5) * cost])) for g, cost in have.items()}
        costs = {group: of_group(parts, [part.cost for part in parts], group) for group in have}
        taken = {group: float(costs[group] @ of_group(parts, seen, group)) for group in have}
        together = run(parts, {group: cost for group, cost in budgets.items() if cost > 0}, 100, taken)
        found = [np.maximum(after - before, 0) for after, before in zip(together, seen, strict=True)]
        expected = [np.zeros(len(part.cost), np.int64) for part in parts]
        for group, budget in budgets.items():
            number = int(of_group(parts, found, group).sum())
            following = [rows[group][(place[group] + step) % len(rows[group])] for step in range(number)]
            for k, row, _ in following:
                expected[k][row] += 1
            place[group] += number
            assert abs(sum(cost for _, _, cost in following) - budget) < costs[group].max()
        assert [one.tolist() for one in found] == [one.tolist() for one in expected]
        seen = [before + more for before, more in zip(seen, found, strict=True)]


def test_each_group_gets_its_budget_on_average() -> None:
    crossings = {f"g{k}": choose.Crossing(0, 0, 1.0, 0.2) for k in range(10)}
    taken = np.zeros(10)
    for seed in range(2000):
        last = choose._round_jointly(crossings, seed)
        assert sum(end == (0, 0) for end in last.values()) == 2
        taken += [last[group] == (0, 0) for group in crossings]
    np.testing.assert_allclose(taken / 2000, 0.2, atol=4 * np.sqrt(0.2 * 0.8 / 2000))


@pytest.mark.parametrize("total", [123_456_789.0, 3e8 / 7])
def test_all_of_a_large_pool_can_be_asked_for_in_groups(total: float) -> None:
    rng = np.random.default_rng(0)
    costs = rng.random(7)
    available = dict(zip("abcdefg", costs / costs.sum() * total, strict=True))
    for scale in (0.1, 1 / 3, 1.0):
        budgets = Quota().group_budgets(sum(available.values()) / scale * scale, available)
        cuts = find_cuts(budgets, available, dict.fromkeys(budgets, 1), 0, lambda _: [], lambda _: [])
        assert {cut.copies for cut in cuts.values()} == {1}


def test_equal_keys_and_ties_are_told_apart_as_far_as_they_can_be() -> None:
    """Two documents with one id hash cannot be told apart: both or neither is taken."""
    part = Judged(
        np.zeros(4, np.uint8),
        choose._sortable(np.ones(4)),
        np.array([5, 5, 9, 1], np.uint64),
        np.ones(4),
        np.zeros(4, np.int64),
        [""],
        *once(4),
    )
    assert run([part], {"": 1})[0].tolist() == [0, 0, 1, 0]
    assert run([part], {"": 2})[0].tolist() == [1, 1, 1, 0]
    assert run([part], {"": 4})[0].tolist() == [1, 1, 1, 1]


def test_keys_sort_as_the_floats_do() -> None:
    values = np.array([-np.inf, -1e300, -2.0, -1e-300, -0.0, 0.0, 1e-310, 0.5, 1.0, 1e300, np.inf])
    keys = choose._sortable(values)
    assert (np.diff(keys.astype(object)) >= 0).all()
    assert keys[4] == keys[5] and len(set(keys.tolist())) == len(values) - 1


def one_part(costs: list[float]) -> list[Judged]:
    n = len(costs)
    keys = choose._sortable(np.arange(n, 0, -1).astype(float))
    return [
        Judged(
            np.zeros(n, np.uint8),
            keys,
            np.arange(n, dtype=np.uint64),
            np.array(costs),
            np.zeros(n, np.int64),
            [""],
            *once(n),
        )
    ]


@pytest.mark.parametrize(
    ("costs", "budget", "max_repeats", "expected"),
    [
        ([3, 4, 5], 3, 1, [1, 0, 0]),
        ([3, 4, 5], 4, 1, [1, 1, 0]),
        ([3, 4, 5], 12, 1, [1, 1, 1]),
        ([0, 0, 5], 1, 1, [1, 1, 1]),
        ([1000, 1, 1], 5, 1, [1, 0, 0]),
        ([3, 4, 5], 15, 2, [2, 1, 1]),
        ([3, 4, 5], 24, 2, [2, 2, 2]),
        ([3, 4, 5], 25, 3, [3, 2, 2]),
        ([3, 4, 5], 36, 3, [3, 3, 3]),
    ],
)
def test_budgets_by_hand(costs: list[float], budget: float, max_repeats: int, expected: list[int]) -> None:
    assert run(one_part(costs), {"": budget}, max_repeats)[0].tolist() == expected


@pytest.mark.parametrize(
    ("max_repeats", "message"),
    [
        (1, r"The budget is 30, but the documents that may be taken hold only 12. .* or allow max_repeats: 3."),
        (2, r"hold only 12 \(2 times over\)"),
    ],
)
def test_too_little_is_refused_with_the_way_out(max_repeats: int, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        run(one_part([3, 4, 5]), {"": 30}, max_repeats)


@pytest.mark.parametrize("shares", ["proportional", "equal", {"a": 1}])
def test_a_quota_of_nothing_is_refused(shares: object) -> None:
    with pytest.raises(BudgetError, match="The budget is 30, but the documents that may be taken hold only 0"):
        run([], Quota(shares=shares).group_budgets(30, {}))


IDS = np.arange(6, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
ROWS = pa.table(
    {
        "score": [5.0, None, float("nan"), 1.0, 4.0, 2.0],
        "source": ["a", "a", "b", "b", None, "a"],
        "guarded": [True, True, True, True, False, True],
        "facts": [{"a": 1}] * 6,
    }
)


def reasons(rules: Rules) -> list[str | None]:
    judged = judge(rules, ROWS, IDS, np.ones(6))
    return [REASONS[r - 1] if r else None for r in judged.reason]


def test_every_document_that_cannot_be_taken_has_its_first_reason() -> None:
    score, where, guard = Expression("score"), Expression("source <> 'b'"), Expression("guarded")
    assert reasons(Rules(policy=Top(), score=score)) == [None, "no_score", "no_score", None, None, None]
    assert reasons(Rules(policy=Uniform())) == [None] * 6
    assert reasons(Rules(policy=Top(), score=score, where=where)) == [None, "no_score", "where", "where", "where", None]
    assert reasons(Rules(policy=Uniform(), where=where, guards={"overlap": guard})) == [
        None,
        None,
        "where",
        "where",
        "overlap",
        None,
    ]
    expected = [None, "no_score", "no_score", "outside_threshold", None, "outside_threshold"]
    assert reasons(Rules(policy=Threshold(min=3), score=score)) == expected
    assert set(reasons(Rules(policy=Uniform(), pool_sample=1e-9, where=where))) == {"not_in_sample"}


def test_low_scores_come_first_where_they_are_better() -> None:
    rules = Rules(policy=Top(), score=Expression("score"), higher_is_better=False)
    judged = judge(rules, ROWS, IDS, np.ones(6))
    eligible = np.flatnonzero(judged.reason == 0)
    assert eligible[np.argsort(judged.key[eligible])[::-1]].tolist() == [3, 5, 4, 0]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (Rules(policy=Uniform(), where=Expression("score + 1")), "`score . 1` gives double, not true or false"),
        (Rules(policy=Top(), score=Expression("source")), "`source` gives string; a score must be a number"),
        (Rules(policy=Quota(by="facts")), r"`by` \(='facts'\) must be a column of text, .* not struct"),
    ],
)
def test_expressions_of_the_wrong_type_are_refused(rules: Rules, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        judge(rules, ROWS, IDS, np.ones(6))


def test_the_pool_sample_is_shared_by_arms_and_changes_with_the_seed() -> None:
    ids = np.arange(10_000, dtype=np.uint64)
    rows = pa.table({"score": np.zeros(10_000)})

    def sample(seed: int, stream: str) -> set[int]:
        rules = Rules(policy=Uniform(), pool_sample=0.5, seed=seed, stream=stream)
        return set(np.flatnonzero(judge(rules, rows, ids, np.ones(10_000)).reason == 0))

    assert sample(0, "a") == sample(0, "b") != sample(1, "a")
    assert len(sample(0, "a")) == pytest.approx(5000, abs=250)
    assert len(sample(0, "a") & sample(1, "a")) == pytest.approx(2500, abs=250)


def inclusion(weights: np.ndarray, size: int) -> np.ndarray:
    """Exact probability of each item to be among `size` drawn without replacement in proportion to `weights`."""
    chances = np.zeros(len(weights))
    for order in permutations(range(len(weights)), size):
        chance, left = 1.0, weights.sum()
        for item in order:
            chance *= weights[item] / left
            left -= weights[item]
        chances[list(order)] += chance
    return chances


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_sampling_follows_the_importance_weights(temperature: float, size: int) -> None:
    scores = np.array([-1.0, 0.0, 0.3, 1.5, 2.0])
    draws = 20_000
    uniform = np.random.default_rng(0).random((draws, 5))
    priorities = Sample(temperature=temperature).priorities(scores, uniform)
    top = np.argsort(-priorities, axis=1)[:, :size]
    counts = np.bincount(top.ravel(), minlength=5)
    expected = draws * inclusion(np.exp(scores / temperature), size)
    spread = expected * (1 - expected / draws)
    assert ((counts - expected) ** 2 / np.maximum(spread, 1)).sum() < 30


def test_sampling_becomes_top_when_cold_and_uniform_when_hot() -> None:
    rng = np.random.default_rng(0)
    scores, uniform = rng.normal(size=1000), rng.random(1000)
    cold = Sample(temperature=1e-9).priorities(scores, uniform)
    np.testing.assert_array_equal(np.argsort(cold), np.argsort(scores))
    hot = Sample(temperature=1e9).priorities(scores, uniform)
    np.testing.assert_array_equal(np.argsort(hot), np.argsort(gumbels(uniform)))


@pytest.mark.parametrize(
    ("shares", "available", "budget", "expected"),
    [
        ("proportional", {"a": 30.0, "b": 10.0}, 8, {"a": 6, "b": 2}),
        ("equal", {"a": 30.0, "b": 10.0}, 8, {"a": 4, "b": 4}),
        ("equal", {"a": 30.0, "b": 1.0, "c": 30.0}, 21, {"b": 1, "a": 10, "c": 10}),
        ({"a": 3, "b": 1}, {"a": 30.0, "b": 10.0, "c": 5.0}, 8, {"a": 6, "b": 2}),
        ({2020: 3, 2021: 1}, {"2020": 30.0, "2021": 10.0}, 8, {"2020": 6, "2021": 2}),
    ],
)
def test_quotas(shares: object, available: dict[str, float], budget: float, expected: dict[str, float]) -> None:
    found = Quota(by="source", shares=shares).group_budgets(budget, available)
    assert {g: b for g, b in found.items() if b} == pytest.approx(expected)


def test_what_a_group_cannot_give_within_its_epochs_goes_to_the_others() -> None:
    quota = Quota(shares={"a": 2, "b": 1, "c": 1, "d": 0}, max_epochs={"a": 1.5})
    have = {"a": 4.0, "b": 100.0, "c": 100.0, "d": 100.0}
    epochs = quota.epochs(have, 3)
    assert epochs == {"a": 1.5, "b": 3, "c": 3, "d": 3}
    found = quota.group_budgets(40, {group: cost * epochs[group] for group, cost in have.items()})
    assert found == pytest.approx({"a": 6, "b": 17, "c": 17, "d": 0})
    assert Unique(within=quota).epochs(have, 3) == epochs


@pytest.mark.parametrize("seed", range(5))
def test_equal_shares_fill_like_water(seed: int) -> None:
    rng = np.random.default_rng(seed)
    available = {f"g{k}": float(size) for k, size in enumerate(rng.zipf(1.5, 40).clip(max=500))}
    budget = sum(available.values()) * rng.uniform(0.1, 0.9)
    low, high = 0.0, max(available.values())
    for _ in range(100):  # the level at which vessels of these sizes hold the budget
        level = (low + high) / 2
        low, high = (level, high) if sum(min(level, size) for size in available.values()) < budget else (low, level)
    found = Quota(shares="equal").group_budgets(budget, available)
    assert found == pytest.approx({group: min(level, size) for group, size in available.items()})


@pytest.mark.parametrize(
    ("limit", "budget", "expected"),
    [
        (10, 22, {"a": 10, "b": 10, "c": 2}),
        (10, 11, {"a": 5, "b": 5, "c": 1}),
        (1e9, 13, {"a": 10, "b": 2.5, "c": 0.5}),
    ],
)
def test_a_cap_cuts_down_what_is_frequent(limit: float, budget: float, expected: dict[str, float]) -> None:
    available = {"a": 40.0, "b": 10.0, "c": 2.0}
    assert Cap(limit=limit).group_budgets(budget, available) == pytest.approx(expected)


def test_a_cap_that_leaves_too_little_is_told() -> None:
    with pytest.raises(BudgetError, match="a `limit` of 10 for each value of 'kind' leaves only 22"):
        Cap(by="kind", limit=10).group_budgets(23, {"a": 40.0, "b": 10.0, "c": 2.0})


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (lambda: Cap(limit=0), r"`limit` \(=0\) must be a number above 0"),
        (lambda: Cap(within=Quota()), "`within` .* must be a policy other than quota"),
        (lambda: Quota(within=Cap()), "`within` .* must be a policy other than cap"),
        (lambda: Cap(within=Unique()), "`within` .* must be another policy. Put the cap inside"),
        (lambda: Sample(temperature=0), r"`temperature` \(=0\) must be a number above 0"),
        (lambda: Threshold(), "`min` .* must be given, or `max`"),
        (lambda: Threshold(min="high"), r"`min` \(='high'\) must be a number"),
        (
            lambda: Quota(shares="fair"),
            "`shares` .* must be proportional or equal. Write proportional, equal, or a mapping",
        ),
        (lambda: Quota(shares={"a": -1}), r"`shares.a` \(=-1\) must be a number of at least 0"),
        (lambda: Quota(shares={"a": float("inf")}), r"`shares.a` \(=inf\) must be a number"),
        (lambda: Quota(shares={"a": 0}), "`shares` .* must be numbers that do not sum to 0"),
        (lambda: Quota(shares={"a": 1e308, "b": 1e308}), "`shares` .* must be numbers with a finite sum"),
        (lambda: Quota(shares={"a": 10**400}), r"`shares.a` \(=1000.* must be a number of at least 0"),
        (lambda: Quota(shares={False: 1}), r"`shares` \(=False\) must be given by names that are text. Put the name"),
        (lambda: Quota(shares=[1, 2]), r"`shares` \(=\[1, 2\]\) must be proportional or equal. Write proportional"),
        (lambda: Quota(by=5), r"`by` \(=5\) must be the name of a column"),
        (lambda: Quota(within=Unique()), "`within` .* must be another policy. Put the quota inside"),
        (lambda: Unique(within=Unique()), "`within` .* must be a policy other than unique"),
        (lambda: Unique(within="top"), "`within` .* must be a policy"),
        (lambda: Unique(repeats={0: 1}), r"`repeats` \(=0\) must be an integer from 1"),
        (lambda: Unique(repeats={2: 0.5}), r"`repeats.2` \(=0.5\) must be an integer from 1"),
        (lambda: Unique(repeats={2: 10**13}), r"`repeats.2` \(=10000000000000\) must be an integer from 1 to 1000000"),
        (lambda: Unique(repeats=3), r"`repeats` \(=3\) must be a mapping"),
        (lambda: Quota(within=Quota()), "`within` .* must be a policy other than quota"),
        (
            lambda: Quota(shares={"x": 1}).group_budgets(5, {"a": 9.0}),
            r"`shares` names 'x', of which nothing can be taken",
        ),
        (lambda: Quota(max_epochs=4), r"`max_epochs` \(=4\) must be left out where `shares` is not a mapping"),
        (lambda: Quota(shares={"a": 1}, max_epochs=0), r"`max_epochs` \(=0\) must be a number above 0"),
        (lambda: Quota(shares={"a": 1}, max_epochs={"a": -1}), r"`max_epochs.a` \(=-1\) must be a number above 0"),
        (
            lambda: Quota(shares={"law": 1}, max_epochs={"lwa": 2}),
            "given for names of `shares`: 'law'. Did you mean 'law'",
        ),
        (
            lambda: Quota(shares={"a": 1, "b": 1}, max_epochs=2).group_budgets(20, {"a": 4.0, "b": 6.0, "c": 90.0}),
            r"is 20, but the groups of `shares` can give only 10 within `max_epochs` \(=2\). Lower the budget, raise",
        ),
    ],
)
def test_policies_are_checked_when_built(policy: object, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        policy()


@pytest.mark.parametrize(
    ("repeats", "expected"),
    [({}, [1, 1, 1, 1]), ({1: 1, 2: 2, 5: 3, 100: 8}, [1, 2, 3, 8]), ({3: 4}, [1, 1, 4, 4])],
)
def test_documents_are_repeated_by_the_size_of_their_cluster(repeats: dict[int, int], expected: list[int]) -> None:
    assert Unique(repeats=repeats).times(np.array([1, 2, 99, 1000])).tolist() == expected


def test_the_best_of_each_cluster_stands_for_it() -> None:
    rows = pa.table(
        {
            "score": [1.0, 5.0, 3.0, 9.0, None, 2.0],
            "d.cluster": [7, 7, 8, 8, 8, 9],
            "d.cluster_size": [2, 2, 3, 3, 3, 1],
        }
    )
    rules = Rules(policy=Unique(by="d", within=Top(), repeats={2: 2, 3: 5}), score=Expression("score"))
    halves = [judge(rules, rows.slice(k, 3), IDS[k : k + 3], np.full(3, 10)) for k in (0, 3)]
    winners = first_of_each(np.concatenate([rivals(half) for half in halves]))
    judged = [drop_duplicates(half, winners) for half in halves]
    reasons = [REASONS[r - 1] if r else None for half in judged for r in half.reason]
    assert reasons == ["duplicate", None, "duplicate", None, "no_score", None]
    assert [repeats.tolist() for repeats in run(judged, {"": 80})] == [[0, 2, 0], [5, 0, 1]]
    assert [repeats.tolist() for repeats in run(judged, {"": 50})] == [[0, 0, 0], [5, 0, 0]]


@pytest.mark.parametrize("policy", [Uniform(), Top(), Threshold(min=0.0), Sample()], ids=lambda p: p.name)
def test_random_choices_at_growing_budgets_are_nested(policy: Policy) -> None:
    ids = np.arange(500, dtype=np.uint64)
    rows = pa.table({"score": np.random.default_rng(0).normal(1, 1, 500)})
    judged = judge(Rules(policy=policy, score=Expression("score")), rows, ids, np.full(500, 3))
    chosen = [set(np.flatnonzero(run([judged], {"": budget})[0])) for budget in (30, 60, 300)]
    assert chosen[0] < chosen[1] < chosen[2]
    assert [len(c) for c in chosen] == [10, 20, 100]
