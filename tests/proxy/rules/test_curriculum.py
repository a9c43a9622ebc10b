"""Order by a score, against counts by hand."""

from itertools import pairwise

import numpy as np
import pytest

from assay.errors import InvalidParameterError, SchemaError
from assay.models.sequences import NONE
from assay.packing.sequences import pack
from assay.proxy.rules.curriculum import Curriculum, Upsample, sequence_values, value_groups
from assay.proxy.rules_base import Epoch, plain
from tests.proxy.rules.training import LENGTH, VOCAB, documents


def told(values: np.ndarray | None, visits: int, num: int | None = None, visited: int = 0) -> Epoch:
    num = len(values) if values is not None else num or 0
    return Epoch(0, 0, num, visited, visits, 7, np.full(num, np.nan, np.float32), values)


VALUES = np.random.default_rng(0).permutation(1000).astype(np.float64)


@pytest.mark.parametrize("first", ["low", "high"])
def test_linear_pacing_from_zero_is_the_order_of_the_score_within_a_twentieth(first: str) -> None:
    order = Curriculum(by="x", first=first).start().epoch(told(VALUES, 1000)).order
    seen = VALUES[order] if first == "low" else 999 - VALUES[order]
    assert sorted(order.tolist()) == list(range(1000))
    assert np.abs(seen - np.arange(1000)).max() < 50
    assert (seen != np.arange(1000)).any()


@pytest.mark.parametrize(("pacing", "start"), [("linear", 0.2), ("root", 0.0), ("root", 0.3)])
def test_a_paced_pass_reads_everything_once_and_nothing_before_its_time(pacing: str, start: float) -> None:
    order = Curriculum(by="x", pacing=pacing, start_share=start).start().epoch(told(VALUES, 1000)).order
    assert sorted(order.tolist()) == list(range(1000))
    for place, value in enumerate(VALUES[order]):
        time = (place // 50 + 1) / 20
        share = start + (1 - start) * time if pacing == "linear" else (start**2 + (1 - start**2) * time) ** 0.5
        assert value < np.ceil(share * 1000 - 1e-9)


@pytest.mark.parametrize("pacing", ["linear", "root"])
def test_several_epochs_read_everything_equally_often(pacing: str) -> None:
    order = Curriculum(by="x", pacing=pacing).start().epoch(told(VALUES, 3000)).order
    assert np.bincount(order, minlength=1000).tolist() == [3] * 1000
    last_read = np.argsort(order, kind="stable").reshape(1000, 3)[:, 2]  # the place of each one's third visit
    assert np.corrcoef(last_read, VALUES)[0, 1] > 0.2


@pytest.mark.parametrize("visits", [400, 1000, 2500])
def test_a_curriculum_that_begins_with_everything_is_plain_training(visits: int) -> None:
    order, weights = Curriculum(by="x", start_share=1).start().epoch(told(VALUES, visits))
    epochs = [plain(told(VALUES, visits)._replace(number=k)).order for k in range(3)]
    assert order.tolist() == np.concatenate(epochs)[:visits].tolist()
    assert set(weights.tolist()) == {1.0} and len(weights) == visits
    no_tail = Upsample(by="x", tail=0).start().epoch(told(VALUES, visits)).order
    assert no_tail.tolist() == order.tolist()


def test_the_tail_reads_the_best_and_no_more_often_than_allowed() -> None:
    rule = Upsample(by="x", tail=0.2, top=0.1, max_epochs=4)
    order = rule.start().epoch(told(VALUES, 1000)).order
    main, tail = order[:800], order[800:]
    assert len(set(main.tolist())) == 800
    assert np.bincount(tail, minlength=1000)[VALUES >= 900].tolist() == [2] * 100
    assert abs(VALUES[main].mean() - 499.5) < 40  # the base mix holds its share of the best


def test_other_text_takes_the_rest_of_the_tail() -> None:
    rule = Upsample(by="x", best="low", tail=0.2, top=0.02, max_epochs=3)
    order = rule.start().epoch(told(VALUES, 1000)).order
    counts = np.bincount(order[800:], minlength=1000)
    assert counts[VALUES < 20].tolist() == [3] * 20
    others = np.flatnonzero((counts > 0) & (VALUES >= 20))
    assert len(others) == 140 and counts[others].max() == 1
    assert not set(others.tolist()) & set(order[:800].tolist())  # what was not read yet comes first
    assert set(np.flatnonzero(VALUES[order[800:]] < 20).tolist()) != set(range(60))  # mixed, not one after the other


def test_values_that_are_missing_stand_in_the_middle_and_ties_are_shuffled() -> None:
    values = np.array([1.0] * 40 + [np.nan] * 20 + [3.0] * 40)
    values[:40] = 1 + np.arange(40) / 1000
    values[60:] = 3 + np.arange(40) / 1000
    order = Curriculum(by="x").start().epoch(told(values, 100)).order
    assert sorted(order[40:60].tolist()) == list(range(40, 60)) and order[40:60].tolist() != list(range(40, 60))
    assert len(set(Curriculum(by="x").start().epoch(told(np.full(9, np.nan), 9)).order.tolist())) == 9


def test_sequence_values_are_means_over_tokens() -> None:
    tokens, starts, has_end = documents(40)
    values = np.random.default_rng(1).normal(size=40)
    values[3] = np.nan
    packed = pack(tokens, starts, has_end, length=LENGTH, end_id=VOCAB, seed=0)
    for row, found in enumerate(sequence_values(packed, values)):
        first, last = packed.first_pieces[row : row + 2]
        expected = [
            values[packed.documents[first + piece]]
            for piece, target in zip(packed.pieces[row], packed.targets[row], strict=True)
            if target != NONE and piece < last - first and packed.documents[first + piece] != 3
        ]
        assert found == pytest.approx(np.mean(expected)) if expected else np.isnan(found)


def test_groups_of_documents_hold_equal_tokens_in_the_order_of_their_values() -> None:
    _, starts, _ = documents(500)
    values = np.random.default_rng(1).normal(size=500)
    groups = value_groups(values, starts, 10)
    assert sorted(np.concatenate(groups).tolist()) == list(range(500)) and len(groups) == 10
    for a, b in pairwise(groups):
        assert values[a].max() <= values[b].min() and np.all(np.diff(a) > 0)
    tokens = [np.diff(starts)[rows].sum() for rows in groups]
    assert max(tokens) - min(tokens) <= 80


def test_groups_take_empty_documents_missing_values_and_long_documents() -> None:
    starts = np.array([0, 0, 1000, 1000, 1001, 1002])
    values = np.array([0.0, 1, 1.5, np.nan, 9])
    groups = value_groups(values, starts, 4)
    assert sorted(np.concatenate(groups).tolist()) == [0, 1, 2, 3, 4]
    assert all(np.diff(starts)[rows].any() for rows in groups)


def test_errors_say_what_is_wrong() -> None:
    with pytest.raises(InvalidParameterError, match="`first` .*low, high"):
        Curriculum(by="x", first="easy")
    with pytest.raises(InvalidParameterError, match="`by`"):
        Curriculum(by=" ")
    with pytest.raises(InvalidParameterError, match="`top`"):
        Upsample(by="x", top=0)
    with pytest.raises(InvalidParameterError, match="`max_epochs`"):
        Upsample(by="x", max_epochs=0)
    with pytest.raises(SchemaError, match="values"):
        Curriculum(by="x").start().epoch(told(None, 10, num=10))
    with pytest.raises(InvalidParameterError, match="number of documents"):
        value_groups(np.zeros(3), np.array([0, 1]), 2)
