"""The ladder: more of the target read is a better model of the target, and a worse one of what it is not."""

import numpy as np
import pyarrow as pa
import pytest

from assay.models.ladder import RUNGS, Climb, climb
from tests.conftest import make_prose


def prose(number: int, seed: int, topic: str) -> list[str]:
    return [d["text"] for d in make_prose(number, seed=seed, topic=topic, length=60)]


@pytest.fixture(scope="module")
def found() -> Climb:
    documents = [*prose(15, 1, "a"), *prose(15, 2, "b"), "", "x"]
    pool = [*prose(60, 3, "a"), *prose(60, 4, "b")]
    return climb(pa.array(documents), pa.array(pool), pa.array(prose(60, 5, "a")), num_draws=2)


def test_rungs_stand_in_order_and_what_was_not_read_gets_more_likely(found: Climb) -> None:
    assert found.rungs.tolist() == [rung for rung in RUNGS for _ in range(2)]
    assert found.bits.shape == (32, 8)
    assert (np.diff(found.heldout_bits_per_byte) < 0).all()


def test_each_rung_tells_the_target_better_and_other_text_worse(found: Climb) -> None:
    of_rung = found.bits.reshape(32, len(RUNGS), 2).mean(axis=2)
    assert (np.diff(of_rung[:15]) < 0).mean() > 0.9
    assert (np.diff(of_rung[15:30]) > 0).mean() > 0.9
    np.testing.assert_array_equal(found.bits[30], 0)  # a document without tokens


def test_a_document_is_judged_by_itself(found: Climb) -> None:
    pool, target = [*prose(60, 3, "a"), *prose(60, 4, "b")], prose(60, 5, "a")
    alone = climb(pa.array(prose(15, 1, "a")[4:5]), pa.array(pool), pa.array(target), num_draws=2)
    np.testing.assert_allclose(alone.bits[0], found.bits[4], rtol=1e-9)


def test_a_target_of_a_word_is_enough() -> None:
    bits = climb(pa.array(["one two"]), pa.array(["one two three"]), pa.array(["three"]), num_draws=1).bits
    assert np.isfinite(bits).all()


def test_draws_of_a_single_document_differ() -> None:
    one = " ".join(prose(30, 5, "a"))
    bits = climb(pa.array(prose(10, 1, "a")), pa.array(prose(40, 3, "a")), pa.array([one]), num_draws=2).bits
    for rung in range(len(RUNGS)):
        assert not np.array_equal(bits[:, 2 * rung], bits[:, 2 * rung + 1])
