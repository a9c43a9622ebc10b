"""Intervals that cover what they say, from planted effects; exact small cases."""

import numpy as np
import pytest

from assay.comparison.result import (
    evaluate,
    headline,
    multiplier_estimate,
    multiplier_interval,
    multiplier_text,
    winner,
)
from assay.comparison.statistics import (
    Interval,
    Losses,
    detectable,
    effect,
    multiplier,
    p_best,
    surely_better,
    t_quantile,
    verdict,
)
from assay.errors import InvalidParameterError

NUM_SEEDS, NUM_ITEMS = 5, 60


def simulate(
    rng: np.random.Generator,
    effects: list[float],
    *,
    seed_sd: float = 0.02,
    item_sd: float = 0.1,
    noise_sd: float = 0.05,
) -> Losses:
    """Losses of cells with known effects: each cell has its own seed, item and residual deviations."""
    sizes = rng.integers(200, 2000, NUM_ITEMS)
    base = rng.normal(2.0, 0.5, NUM_ITEMS)
    rates = np.stack(
        [
            base
            - gain
            + rng.normal(0, seed_sd, (NUM_SEEDS, 1))
            + rng.normal(0, item_sd, (1, NUM_ITEMS))
            + rng.normal(0, noise_sd, (NUM_SEEDS, NUM_ITEMS))
            for gain in effects
        ]
    )
    return Losses(bits=rates * sizes, sizes=sizes, groups=np.zeros(NUM_ITEMS, np.int64))


def intervals(losses: Losses, seed: int = 0) -> Interval:
    replicates = losses.replicates(seed, 1000)
    return effect(losses.bits_per_byte().mean(axis=1), replicates, 1, 0)


@pytest.mark.parametrize(
    ("p", "degrees", "expected"),
    [(0.975, 1, 12.7062), (0.975, 4, 2.7764), (0.975, 9, 2.2622), (0.8, 4, 0.9410), (0.975, 1000, 1.9623)],
)
def test_t_quantiles_are_those_of_the_tables(p: float, degrees: int, expected: float) -> None:
    assert t_quantile(p, degrees) == pytest.approx(expected, rel=2e-4)


@pytest.mark.parametrize(
    ("seed_sd", "item_sd", "noise_sd", "at_most"),
    [
        (0.05, 0.0, 0.01, 0.98),
        (0.0, 0.1, 0.01, 0.98),
        (0.02, 0.1, 0.05, 0.99),
        (0.0, 0.0, 0.2, 1.0),  # noise of single documents in single runs is counted on both sides: never too sure
    ],
)
def test_intervals_cover_the_true_effect_as_often_as_they_say(
    seed_sd: float, item_sd: float, noise_sd: float, at_most: float
) -> None:
    rng = np.random.default_rng(0)
    covered = []
    for k in range(400):
        losses = simulate(rng, [0.0, 0.1], seed_sd=seed_sd, item_sd=item_sd, noise_sd=noise_sd)
        interval = intervals(losses, seed=k)
        covered.append(interval.low <= 0.1 <= interval.high)
    assert 0.92 <= np.mean(covered) <= at_most


def test_a_plain_bootstrap_over_five_seeds_would_be_too_sure_of_itself() -> None:
    """Why the seeds' part is stretched: without that, far fewer than 95 of 100 intervals cover."""
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(400):
        losses = simulate(rng, [0.0, 0.1], seed_sd=0.05, item_sd=0.0, noise_sd=0.0)
        saved = losses.bits_per_byte()[0] - losses.bits_per_byte()[1]
        means = saved[rng.integers(0, NUM_SEEDS, (1000, NUM_SEEDS))].mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        covered.append(low <= 0.1 <= high)
    assert np.mean(covered) < 0.90


def test_runs_are_paired_by_seed_and_item() -> None:
    """What all arms share, however large, widens no interval of their difference."""
    rng = np.random.default_rng(2)
    losses = simulate(rng, [0.0, 0.1])
    shared = rng.normal(0, 5, (1, NUM_SEEDS, NUM_ITEMS)) * losses.sizes
    shifted = Losses(bits=losses.bits + shared, sizes=losses.sizes, groups=losses.groups)
    assert intervals(shifted) == pytest.approx(intervals(losses), abs=1e-9)


def test_bits_per_byte_weighs_documents_by_bytes_and_targets_alike() -> None:
    losses = Losses(bits=np.array([[[10.0, 30.0, 8.0]] * 2]), sizes=np.array([10, 10, 2]), groups=np.array([0, 0, 1]))
    np.testing.assert_allclose(losses.bits_per_byte(), [[(40 / 20 + 8 / 2) / 2] * 2])


def test_items_are_resampled_inside_their_target() -> None:
    """A target with one document is in every replicate, or the division would fail."""
    losses = Losses(bits=np.array([[[10.0, 30.0, 8.0]] * 2]), sizes=np.array([10, 10, 2]), groups=np.array([0, 0, 1]))
    replicates = losses.replicates(0, 500)
    assert np.isfinite(replicates).all()
    stretch = np.sqrt(2) * 12.706205 / 1.959964  # as for two documents: Student's t with one degree of freedom
    np.testing.assert_allclose(np.unique(np.round(replicates[:, 0], 6)), 3 + stretch * np.array([-0.5, 0, 0.5]), 1e-5)


def test_few_documents_do_not_make_an_interval_too_sure() -> None:
    """A/A with five held-out documents and no other noise: unstretched, one in five pairs was told apart."""
    rng = np.random.default_rng(7)
    told_apart = 0
    for repeat in range(200):
        bits = np.repeat(rng.normal(100, 10, (2, 1, 5)), 3, axis=1)
        losses = Losses(bits=bits, sizes=np.full(5, 50), groups=np.zeros(5, np.int64))
        low, high = np.quantile(np.diff(losses.replicates(repeat, 1000), axis=1), [0.025, 0.975])
        told_apart += not low <= 0 <= high
    assert told_apart <= 20


def test_replicates_are_the_same_every_time_and_other_with_another_seed() -> None:
    losses = simulate(np.random.default_rng(3), [0.0, 0.1])
    np.testing.assert_array_equal(losses.replicates(0, 100), losses.replicates(0, 100))
    assert (losses.replicates(0, 100) != losses.replicates(1, 100)).any()


def test_one_seed_is_refused() -> None:
    losses = simulate(np.random.default_rng(4), [0.0, 0.1])
    with pytest.raises(InvalidParameterError, match="One seed cannot tell an effect from chance"):
        Losses(bits=losses.bits[:, :1], sizes=losses.sizes, groups=losses.groups).replicates()


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        (Interval(0.1, 0.05, 0.15), "better"),
        (Interval(-0.1, -0.15, -0.05), "worse"),
        (Interval(0.1, -0.01, 0.21), "no difference shown"),
        (Interval(0.0, 0.0, 0.0), "no difference shown"),
    ],
)
def test_verdicts(interval: Interval, expected: str) -> None:
    assert verdict(interval) == expected


def test_the_detectable_effect_is_detected_eight_times_in_ten() -> None:
    rng = np.random.default_rng(5)
    sds = {"seed_sd": 0.0, "item_sd": 0.05, "noise_sd": 0.02}
    limit = np.mean([detectable(intervals(simulate(rng, [0.0, 0.0], **sds), seed=k)) for k in range(40)])
    found = [verdict(intervals(simulate(rng, [0.0, limit], **sds), seed=k)) == "better" for k in range(200)]
    assert 0.70 <= np.mean(found) <= 0.90


def test_p_best_sums_to_one_and_shares_ties() -> None:
    replicates = np.array([[1.0, 2.0, 3.0], [1.0, 1.0, 3.0], [4.0, 2.0, 2.0], [5.0, 3.0, 1.0]])
    assert p_best(replicates, [0, 1, 2]) == pytest.approx([1.5 / 4, 1.0 / 4, 1.5 / 4])
    assert p_best(replicates, [1, 2]) == pytest.approx([2.5 / 4, 1.5 / 4])


BUDGETS = [250, 500, 1000, 2000, 4000]


def curve(budgets: np.ndarray | list[int]) -> np.ndarray:
    return 3.0 - 0.4 * np.log(np.array(budgets, float))


@pytest.mark.parametrize("times", [0.3, 0.75, 1.0, 1.7, 3.9])
def test_the_multiplier_reads_the_curve_exactly_where_it_is_straight(times: float) -> None:
    losses = np.append(curve(BUDGETS), curve([times * 1000]))
    found = multiplier(losses, np.tile(losses, (10, 1)), 5, [0, 1, 2, 3, 4], BUDGETS, 1000)
    assert found[:3] == pytest.approx((times,) * 3)
    assert found[3:] == ("", "", "")


@pytest.mark.parametrize(("loss", "value", "bound"), [(-1.0, 4.0, ">="), (5.0, 0.25, "<=")])
def test_the_multiplier_is_a_bound_where_the_curve_ends(loss: float, value: float, bound: str) -> None:
    losses = np.append(curve(BUDGETS), loss)
    found = multiplier(losses, np.tile(losses, (10, 1)), 5, [0, 1, 2, 3, 4], BUDGETS, 1000)
    assert found == (value, value, value, bound, bound, bound)


def test_a_bump_in_the_curve_does_not_make_the_multiplier_ambiguous() -> None:
    losses = np.array([3.0, 2.0, 2.4, 1.5, 1.0, 2.0])
    assert multiplier(losses, losses[None], 5, [0, 1, 2, 3, 4], BUDGETS, 1000).estimate == pytest.approx(0.5)


def test_the_multiplier_of_the_random_arm_against_itself_covers_one() -> None:
    """A second random arm, drawn independently, in 100 simulated comparisons."""
    rng = np.random.default_rng(6)
    covered = 0
    for k in range(100):
        losses = simulate(rng, [*-curve(BUDGETS), -curve([1000])[0]], seed_sd=0.03)
        mean, replicates = losses.bits_per_byte().mean(axis=1), losses.replicates(k, 500)
        found = multiplier(mean, replicates, 5, [0, 1, 2, 3, 4], BUDGETS, 1000)
        covered += found.low <= 1.0 <= found.high
    assert covered >= 92


def test_evaluate_puts_it_together() -> None:
    losses = simulate(np.random.default_rng(7), [0.0, 0.3, -0.3, 0.0, -0.2, 0.2])
    cells = [("random", 1000), ("good", 1000), ("bad", 1000), ("same", 1000), ("random", 500), ("random", 2000)]
    found = evaluate(losses, cells, ["random", "good", "bad", "same"], [500, 1000, 2000], 1000, "random")
    arms = {arm["name"]: arm for arm in found["arms"]}
    assert "effect" not in arms["random"]
    assert [arms[name]["verdict"] for name in ("good", "bad", "same")] == ["better", "worse", "no difference shown"]
    assert sum(arm["p_best"] for arm in found["arms"]) == pytest.approx(1.0)
    assert arms["good"]["multiplier"]["bound"] == ">=" and arms["bad"]["multiplier"]["bound"] == "<="
    assert [point["tokens"] for point in found["random_curve"]] == [500, 1000, 2000]
    assert all(point["low"] <= point["bits_per_byte"] <= point["high"] for point in found["random_curve"])
    assert winner(found["arms"]) == "good"
    assert headline(found["arms"], 1000, "random").startswith("good is better than random: at 1k tokens it saves 0.")
    without = [arm for arm in found["arms"] if arm["name"] != "good"]
    assert winner(without) is None
    assert "no difference from random was shown for same" in headline(without, 1000, "random")
    assert "bad is worse" in headline(without, 1000, "random")


def test_no_multiplier_is_read_off_a_curve_that_does_not_fall() -> None:
    """Random choices that get worse with more tokens: "better" beside "at most 0.25 times" would be absurd."""
    cells = [("random", 1000), ("good", 1000), ("random", 500), ("random", 2000)]
    rising = simulate(np.random.default_rng(7), [0.0, 0.1, 0.3, -0.1], seed_sd=0.01, noise_sd=0.01)
    found = evaluate(rising, cells, ["random", "good"], [500, 1000, 2000], 1000, "random")
    good = found["arms"][1]
    assert good["verdict"] == "better" and good["multiplier"] is None
    text = headline(found["arms"], 1000, "random")
    assert "times" not in text and "cannot be read off the random curve" in text
    for gain, curve in ((0.0, [0.0, 0.0]), (0.1, [0.0, 0.0]), (0.0, [0.1, -0.1])):  # equal on a flat curve ...
        exact = simulate(np.random.default_rng(8), [0.0, gain, *curve], seed_sd=0, item_sd=0, noise_sd=0)
        found = evaluate(exact, cells, ["random", "good"], [500, 1000, 2000], 1000, "random")
        assert found["arms"][1]["multiplier"] is None
    assert multiplier_estimate(None) == "–" and multiplier_interval(None) == ""


def test_a_multiplier_that_may_be_anything_is_not_given() -> None:
    cells = [("random", 1000), ("same", 1000), ("random", 500), ("random", 2000)]
    unknown = 0
    for seed in range(20):
        level = simulate(np.random.default_rng(seed), [0.0, 0.0, 0.0, 0.0], seed_sd=0.1)
        times = evaluate(level, cells, ["random", "same"], [500, 1000, 2000], 1000, "random")["arms"][1]["multiplier"]
        unknown += times is None
        assert times is None or (times["low_bound"], times["high_bound"]) != ("<=", ">=")
    assert unknown >= 10


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ((3.2, 2.9, 3.61, "", "", ""), "3.2 times (2.9 to 3.61)"),
        ((16.0, 14.0, 16.0, ">=", "", ">="), "at least 14 times"),
        ((0.25, 0.25, 0.3, "<=", "<=", ""), "at most 0.3 times"),
        ((15.0, 12.0, 16.0, "", "", ">="), "15 times (12 to ≥ 16)"),
    ],
)
def test_multipliers_in_words(times: tuple[float | str, ...], expected: str) -> None:
    names = ("estimate", "low", "high", "bound", "low_bound", "high_bound")
    assert multiplier_text(dict(zip(names, times, strict=True))) == expected


def test_no_worthless_arm_is_surely_better_more_often_than_the_chance_allows() -> None:
    rng = np.random.default_rng(5)
    num_false, num_tries = 0, 150
    for _ in range(num_tries):
        bits = 100 + rng.normal(size=(6, 8, 40)) + rng.normal(size=(6, 8, 1))
        losses = Losses(bits=bits, sizes=np.full(40, 10.0), groups=np.zeros(40, np.int64))
        num_false += any(surely_better(losses, 0, [1, 2, 3, 4, 5], 0.1))
    assert num_false <= 0.1 * num_tries + 2 * np.sqrt(0.09 * num_tries)


def test_holm_accepts_what_is_better_by_far_and_nothing_else() -> None:
    rng = np.random.default_rng(6)
    bits = 100 + rng.normal(size=(4, 8, 40)) / 10
    bits[2] -= 5
    losses = Losses(bits=bits, sizes=np.full(40, 10.0), groups=np.zeros(40, np.int64))
    assert surely_better(losses, 0, [1, 2, 3], 0.05) == [False, True, False]
