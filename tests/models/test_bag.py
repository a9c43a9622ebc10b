"""The softmax over words: its loss, gradients and steps against those of a model written out."""

import numpy as np
import pyarrow as pa
import pytest

from assay.errors import InvalidParameterError
from assay.models.bag import Bag, Counted, fit_bag, losses, one_step, wanted_shares
from tests.conftest import make_prose

BUCKETS = 1 << 10


@pytest.fixture(scope="module")
def documents() -> Counted:
    return Counted(pa.array([row["text"] for row in make_prose(40, seed=1, topic="g")] + ["", None]), BUCKETS)


@pytest.fixture(scope="module")
def bag(documents: Counted) -> Bag:
    return fit_bag(documents.starts, documents.buckets, documents.counts, BUCKETS)


def dense(documents: Counted) -> np.ndarray:
    """Share of each word in each document [documents, buckets]."""
    shares = np.zeros((len(documents.starts) - 1, BUCKETS))
    rows = np.repeat(np.arange(len(shares)), np.diff(documents.starts))
    shares[rows, documents.buckets] = documents.own
    return shares


def loss(logits: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Cross entropy of word shares [..., buckets], as anybody would write it."""
    return np.log(np.exp(logits).sum()) - shares @ logits


def test_it_is_fitted_so_that_no_step_on_all_documents_would_change_it(bag: Bag, documents: Counted) -> None:
    shares = dense(documents)[:-2]
    every = np.vstack([shares, np.full(BUCKETS, 1 / BUCKETS)])  # one more with all words
    np.testing.assert_allclose(bag.shares, every.mean(axis=0), atol=1e-15)
    np.testing.assert_allclose(bag.squares, ((bag.shares - shares) ** 2).mean(axis=0), atol=1e-15)


def test_losses_and_gradients_are_those_of_the_model_written_out(bag: Bag, documents: Counted) -> None:
    logits, shares = np.log(bag.shares), dense(documents)
    found = losses(bag, documents)
    np.testing.assert_allclose(found[:-2], loss(logits, shares)[:-2])
    assert np.isnan(found[-2:]).all()
    for bucket in documents.buckets[:5]:
        step = np.zeros(BUCKETS)
        step[bucket] = 1e-5
        slope = (loss(logits + step, shares[3]) - loss(logits - step, shares[3])) / 2e-5
        assert slope == pytest.approx(bag.shares[bucket] - shares[3, bucket], abs=1e-9)


@pytest.mark.parametrize("rate", [1e-3, 0.5, 5.0])
def test_one_step_is_exact_at_any_rate(bag: Bag, documents: Counted, rate: float) -> None:
    logits, shares = np.log(bag.shares), dense(documents)
    wanted = wanted_shares(documents, np.arange(len(shares)) % 3 == 0)
    expected = [loss(logits - rate * (bag.shares - own), wanted) - loss(logits, wanted) for own in shares[:-2]]
    found = one_step(bag, documents, wanted, rate)
    np.testing.assert_allclose(found[:-2], expected, rtol=1e-6, atol=1e-13)
    assert np.isnan(found[-2:]).all()


def test_a_small_step_is_what_the_product_of_gradients_says(bag: Bag, documents: Counted) -> None:
    """To first order, to a thousandth."""
    shares = dense(documents)[:-2]
    wanted = wanted_shares(documents, np.append(np.ones(3), np.zeros(39)))
    first_order = -(bag.shares - shares) @ (bag.shares - wanted)
    rate = 1e-3
    found = one_step(bag, documents, wanted, rate)[:-2] / rate
    assert np.abs(found - first_order).max() < 1e-3 * np.abs(first_order).max()
    assert np.argsort(found)[:3].tolist() != [] and set(np.argsort(found)[:3]) == {
        0,
        1,
        2,
    }  # the target's own help most


def test_documents_without_words_are_refused_to_fit_on() -> None:
    empty = Counted(pa.array(["", " "]), BUCKETS)
    with pytest.raises(InvalidParameterError, match="no words to fit a model on"):
        fit_bag(empty.starts, empty.buckets, empty.counts, BUCKETS)
