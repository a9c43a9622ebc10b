"""Which sequences a run reads, and at what rate: against counts and rates by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from assay.errors import InvalidParameterError
from assay.models.sequences import Sequences
from assay.proxy.rules_base import Epoch, Hooks, Visits
from assay.proxy.schedule import Phase, make_plan
from assay.proxy.settings import Settings
from assay.proxy.visiting import Mixing, Visiting

SETTINGS = Settings(learning_rate=0.1, batch_tokens=40, beta2=0.99, min_steps=1, warmup=0.0, decay=0.0)


def blank(num: int, length: int = 10) -> Sequences:
    ids = np.zeros((num, length), np.uint16)
    return Sequences(ids, ids, ids, np.arange(num), np.arange(num + 1))


def read_all(phases: Sequence[Phase], hooks: Hooks | None = None, advance: Any = None, seed: int = 0) -> list[Any]:
    plan = make_plan(phases, SETTINGS)
    visiting = Visiting(phases, plan, hooks or Hooks(), seed, advance)
    batches = []
    for step in range(plan.num_steps):
        batch = visiting.batch(step, None)
        visiting.record(batch, batch.rows.astype(np.float32), np.full(len(batch.rows), 10))
        batches.append(batch)
    return batches


def rows_of(batches: list[Any], phase: int = 0) -> list[int]:
    return [row for batch in batches if batch.phase == phase for row in batch.rows.tolist()]


def test_an_epoch_reads_every_sequence_once_in_batches_that_differ_by_one_at_most() -> None:
    batches = read_all([Phase(sequences=blank(22))])
    assert sorted(rows_of(batches)) == list(range(22)) != rows_of(batches)
    assert sorted({len(batch.rows) for batch in batches}) == [3, 4] and len(batches) == 6


def test_more_visits_are_more_epochs_each_in_an_order_of_its_own() -> None:
    rows = rows_of(read_all([Phase(sequences=blank(10), visits=25)]))
    assert sorted(rows[:10]) == sorted(rows[10:20]) == list(range(10))
    assert rows[:10] != rows[10:20] and len(rows) == len({*rows[20:]}) + 20 == 25


def test_phases_follow_one_another_and_each_has_its_visits() -> None:
    phases = [Phase(sequences=blank(7)), Phase(sequences=blank(3), visits=9, name="anneal")]
    batches = read_all(phases)
    assert [batch.phase for batch in batches] == [0, 0, 1, 1, 1]
    assert sorted(rows_of(batches, 1)) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_what_an_epoch_of_a_rule_leaves_over_comes_before_the_next() -> None:
    told: list[Epoch] = []

    class FirstThree(Hooks):
        orders = True

        def epoch(self, epoch: Epoch) -> Visits:
            told.append(epoch._replace(losses=epoch.losses.copy()))
            return Visits(np.arange(3), np.arange(3, dtype=np.float32) + epoch.number)

    batches = read_all([Phase(sequences=blank(8))], FirstThree())
    assert rows_of(batches) == [0, 1, 2, 0, 1, 2, 0, 1]
    assert np.concatenate([b.weights for b in batches]).tolist() == [0, 1, 2, 1, 2, 3, 2, 3]
    assert [(epoch.number, epoch.visited, epoch.visits) for epoch in told] == [(0, 0, 8), (1, 3, 8), (2, 6, 8)]
    assert np.isnan(told[0].losses).all() and told[2].losses[:3].tolist() == [0, 1, 2]


class Fixed:
    every = 2

    def __init__(self, *weights: float):
        self.weights = np.array(weights)
        self.seen: list[list[Mixing]] = []

    def __call__(self, model: Any, history: Sequence[Mixing]) -> np.ndarray:
        self.seen.append(list(history))
        return self.weights


def test_a_mixture_is_met_within_one_sequence_at_every_step() -> None:
    sources = np.repeat([0, 1, 2], [50, 30, 20])
    advance = Fixed(0.1, 0.25, 0.65)
    batches = read_all([Phase(sequences=blank(100), sources=sources)], advance=advance)
    counts, num = np.zeros(3), 0
    for batch in batches:
        counts += np.bincount(sources[batch.rows], minlength=3)
        num += len(batch.rows)
        assert np.abs(counts - num * advance.weights).max() <= 1
    third = [row for row in rows_of(batches) if row >= 80]
    assert len(third) == 65 and sorted(third[:20]) == sorted(third[20:40]) == list(range(80, 100))


def test_the_history_of_a_mixture_has_the_mean_loss_of_each_source_since_the_last_turn() -> None:
    sources = np.array([0] * 6 + [1] * 6)
    advance = Fixed(1.0, 1.0)
    batches = read_all([Phase(sequences=blank(12), sources=sources)], advance=advance)
    assert [len(history) for history in advance.seen] == [0, 1]
    first = advance.seen[1][0]
    rows = np.array(rows_of(batches[:2]))
    assert first.step == 0 and first.weights.tolist() == [0.5, 0.5]
    np.testing.assert_allclose(first.losses, [rows[rows < 6].mean(), rows[rows >= 6].mean()])


def test_a_source_that_is_not_read_has_no_loss() -> None:
    advance = Fixed(1.0, 0.0)
    read_all([Phase(sequences=blank(12), sources=np.array([0] * 6 + [1] * 6))], advance=advance)
    assert np.isnan(advance.seen[1][0].losses).tolist() == [False, True]


@pytest.mark.parametrize("weights", [(1.0,), (-1.0, 2.0), (0.0, 0.0), (np.nan, 1.0)])
def test_weights_that_are_no_mixture_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(InvalidParameterError, match=r"`advance, step 0` .* one weight for each of 2 sources, ≥ 0"):
        read_all([Phase(sequences=blank(4), sources=np.array([0, 0, 1, 1]))], advance=Fixed(*weights))


def test_a_mixture_that_wants_a_source_which_a_phase_has_not_is_refused() -> None:
    phases = [
        Phase(sequences=blank(4), sources=np.array([0, 0, 1, 1])),
        Phase(sequences=blank(4), sources=np.zeros(4, np.int64), name="late"),
    ]
    with pytest.raises(InvalidParameterError, match="Phase 'late' has no sequence of source 1"):
        read_all(phases, advance=Fixed(1.0, 1.0))


def test_rates_rise_stay_and_fall() -> None:
    settings = Settings(learning_rate=1.0, batch_tokens=10, beta2=0.9, min_steps=1, warmup=0.2, decay=0.4)
    rates = make_plan([Phase(sequences=blank(10))], settings).rates
    np.testing.assert_allclose(rates, [1 / 3, 2 / 3, 1, 1, 1, 1, 4 / 5, 3 / 5, 2 / 5, 1 / 5])


def test_a_phase_has_rates_of_its_own_and_others_go_by_the_schedule_of_the_whole_run() -> None:
    settings = Settings(learning_rate=2.0, batch_tokens=10, beta2=0.9, min_steps=1, warmup=0.0, decay=0.25)
    phases = [Phase(sequences=blank(4), rates=(1.0, 0.5)), Phase(sequences=blank(4), name="cooldown")]
    rates = make_plan(phases, settings).rates
    np.testing.assert_allclose(rates, 2 * np.array([0.9375, 0.8125, 0.6875, 0.5625, 1, 1, 2 / 3, 1 / 3]))


def test_small_budgets_have_smaller_batches() -> None:
    settings = Settings(learning_rate=1.0, batch_tokens=160, beta2=0.9, min_steps=25, warmup=0.0, decay=0.0)
    plan = make_plan([Phase(sequences=blank(100))], settings)
    assert plan.batch == 4 and plan.num_steps == 25
    np.testing.assert_allclose(plan.rates, 1.0)
    assert make_plan([Phase(sequences=blank(400))], settings).batch == 16
    assert make_plan([Phase(sequences=blank(3))], settings).batch == 1


def test_phases_that_cannot_be_are_refused() -> None:
    with pytest.raises(InvalidParameterError, match="Phase 'main' has no sequences"):
        Phase(sequences=blank(0))
    with pytest.raises(InvalidParameterError, match=r"`len\(sources\)` \(=2\) must be the number of sequences \(=3\)"):
        Phase(sequences=blank(3), sources=np.zeros(2))
    with pytest.raises(InvalidParameterError, match="`rates`"):
        Phase(sequences=blank(3), rates=(1.0, -0.5))
    with pytest.raises(InvalidParameterError, match=r"unequal length: \[10, 12\]"):
        make_plan([Phase(sequences=blank(3)), Phase(sequences=blank(3, 12))], SETTINGS)
    with pytest.raises(InvalidParameterError, match="`phases`"):
        make_plan([], SETTINGS)
