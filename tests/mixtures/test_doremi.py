"""DoReMi: the closed form, games with a known value, and what no batch may do."""

import csv
from pathlib import Path

import numpy as np
import pytest

from assay.errors import InvalidParameterError
from assay.mixtures.doremi import doremi, excess_losses, update


def test_constant_excess_gives_the_closed_form() -> None:
    excess = np.array([0.3, 0.1, 0.0, 0.7])
    found = doremi(lambda _: excess, 4, steps=50, step_size=0.2, smoothing=0.0)
    times = np.arange(1, 51)[:, None]
    closed = np.exp(0.2 * times * excess)  # weights after t steps are in proportion to exp(step_size * t * excess)
    closed /= closed.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found.path, closed, rtol=1e-12)
    np.testing.assert_allclose(found.weights, closed.mean(axis=0), rtol=1e-12)
    assert found.weights[3] < found.path[-1, 3]  # the average, not the last


def test_with_smoothing_a_constant_excess_ends_where_the_fixed_point_is() -> None:
    excess, smoothing = np.array([0.5, 0.0]), 0.1
    last = doremi(lambda _: excess, 2, steps=400, smoothing=smoothing).path[-1, 0]
    # a = (1 - c) a e / (a e + 1 - a) + c / 2 is a quadratic in a
    e = np.exp(0.5)
    roots = np.roots([e - 1, 1 - (1 - smoothing) * e - smoothing / 2 * (e - 1), -smoothing / 2])
    assert last == pytest.approx(roots[(roots > 0) & (roots < 1)].item(), rel=1e-9)


@pytest.mark.parametrize("hardness", [[1.0, 1.0, 1.0], [1.0, 2.0, 4.0], [0.1, 1.0, 1.0]])
def test_a_quadratic_game_ends_at_the_equaliser(hardness: list[float]) -> None:
    # The proxy minimises sum_d a_d h_d (x - c_d)^2 over x, in closed form: a game of weights only.
    centres, heights = np.eye(3), np.array(hardness)

    def answer(weights: np.ndarray) -> np.ndarray:
        x = (weights * heights) @ centres / (weights * heights).sum()
        return heights * ((x - centres) ** 2).sum(axis=1)

    found = doremi(answer, 3, steps=8_000, step_size=0.025, smoothing=0.0)
    losses = answer(found.weights)
    used = found.weights > 0.01  # less is what the first steps leave in the average
    np.testing.assert_allclose(losses[used], losses[used].mean(), rtol=0.01)  # equal where there is mass
    assert (losses[~used] <= losses[used].mean() * 1.01).all()  # and nowhere higher: the minimax value
    assert found.drift < 0.1


def test_equal_sources_keep_equal_weights() -> None:
    def answer(weights: np.ndarray) -> np.ndarray:
        return 1 / (0.1 + weights)

    np.testing.assert_allclose(doremi(answer, 5, steps=200).weights, 0.2, rtol=1e-12)


def test_the_more_there_is_to_learn_the_more_weight() -> None:
    def answer(weights: np.ndarray) -> np.ndarray:  # each source's excess falls with its own weight alone
        return np.maximum(np.array([1.0, 0.5, 0.1]) - weights, 0)

    weights = doremi(answer, 3, steps=3000, step_size=0.1, smoothing=0.0).weights
    assert weights[0] > weights[1] > weights[2]
    np.testing.assert_allclose(weights[:2], [0.75, 0.25], atol=0.01)  # where 1 - a = 0.5 - b, and a + b = 1


def test_a_source_that_runs_out_stays_below_its_limit() -> None:
    found = doremi(lambda _: np.array([1.0, 0.0, 0.1]), 3, steps=50, at_most=np.array([0.2, 1.0, 1.0]))
    assert found.path.max(axis=0)[0] == pytest.approx(0.2)
    np.testing.assert_allclose(found.path.sum(axis=1), 1)


def test_a_source_that_a_step_did_not_see_keeps_its_last_excess() -> None:
    given = iter([np.array([0.4, 0.2]), np.array([np.nan, 0.3]), np.array([np.nan, np.nan])])
    found = doremi(lambda _: next(given), 2, steps=3)
    np.testing.assert_array_equal(found.excess, [[0.4, 0.2], [0.4, 0.3], [0.4, 0.3]])


def test_small_batches_end_near_one_hot_and_whole_measurements_do_not() -> None:
    """The trap of the method (issue 5 of the authors' code): what is rarely measured keeps an old, high excess."""
    rng = np.random.default_rng(0)

    def play(seen: float) -> np.ndarray:
        state = np.full(8, 0.05)  # what has been read of each source

        def step(weights: np.ndarray) -> np.ndarray:
            state[:] += weights
            excess = 1 / np.sqrt(state) * 0.5
            return np.where(rng.random(8) < seen, excess, np.nan)

        return doremi(step, 8, steps=200).path.max(axis=1).mean()

    assert play(1.0) < 0.2
    assert play(0.05) > 0.4


def test_excess_is_clipped_per_document_and_summed_over_bytes() -> None:
    bits, reference = np.array([10.0, 4.0, 7.0, 9.0]), np.array([6.0, 8.0, 6.0, 1.0])
    found = excess_losses(bits, reference, np.array([0, 0, 2, 5]), np.array([2.0, 6.0, 4.0, 1.0]), 3)
    np.testing.assert_allclose(found, [4 / 8, np.nan, 1 / 4])


def test_an_update_survives_any_size_of_exponent_and_weights_of_zero() -> None:
    weights = update(np.array([0.0, 1.0]), np.array([1e4, 1e5]), smoothing=0.01)
    np.testing.assert_allclose(weights, [0.005, 0.995])


def test_bad_steps_and_parameters_are_refused() -> None:
    for answer in (np.array([1.0]), np.array([-1.0, 0.0]), np.array([np.inf, 0.0])):
        with pytest.raises(InvalidParameterError, match="Step 1 gave .* excess_losses"):
            doremi(lambda _, answer=answer: answer, 2)  # type: ignore[misc]
    for name, value in (("steps", 0), ("step_size", 0.0), ("smoothing", 1.0)):
        with pytest.raises(InvalidParameterError, match=f"`{name}`"):
            doremi(lambda _: np.zeros(2), 2, **{name: value})  # type: ignore[arg-type]
    with pytest.raises(InvalidParameterError, match="`reference`"):
        excess_losses(np.zeros(3), np.zeros(2), np.zeros(3, int), np.ones(3), 1)


def test_published_weights_lie_on_the_simplex_and_differ_by_tokenizer(shared: Path) -> None:
    with open(shared / "papers/doremi/pile_domain_weights.csv", newline="") as file:
        rows = {row["domain"]: row for row in csv.DictReader(file)}
    for column in ("doremi_280M_256kvocab_paper", "doremi_r1_120M_50kvocab", "baseline_50kvocab", "uniform"):
        total = sum(float(row[column]) for row in rows.values())
        assert total == pytest.approx(1, abs=2e-3), column
    assert float(rows["Pile-CC"]["doremi_280M_256kvocab_paper"]) == 0.6057
    assert float(rows["Pile-CC"]["doremi_r1_120M_50kvocab"]) == pytest.approx(0.138, abs=1e-3)
