"""Log probabilities by document: of n-grams, and how long documents are cut into windows."""

import numpy as np
import pyarrow as pa
import pytest

from assay.errors import InvalidParameterError
from assay.models import lm as models_lm
from assay.models.lm import NGramLM, document_sums, windows
from assay.models.ngram import Queries
from assay.models.tokenizer import BPE
from tests.conftest import make_prose

TEXTS = pa.array([*(d["text"] for d in make_prose(30, length=40)), "", None, "x"])


@pytest.fixture(scope="module")
def lm() -> NGramLM:
    return NGramLM.train(BPE.train(TEXTS.drop_null().to_pylist(), 300), TEXTS, 3)


def test_ngrams_say_of_a_document_what_they_say_of_it_alone(lm: NGramLM) -> None:
    ids, starts = lm.encode(TEXTS)
    whole = lm.log_probabilities(ids, starts)
    assert whole.dtype == np.float32 and len(whole) == starts[-1]
    for k in (0, 7, 29, 32):
        alone = lm.log_probabilities(*lm.encode(TEXTS.slice(k, 1)))
        np.testing.assert_array_equal(alone, whole[starts[k] : starts[k + 1]])
    queries = Queries.of(ids, starts, vocab_size=lm.vocab_size, order=3)
    np.testing.assert_allclose(whole, lm.model.log_probabilities(queries), rtol=1e-6)
    assert lm.context == 2 and lm.end_id == lm.vocab_size


def test_what_is_asked_at_a_time_makes_no_difference(lm: NGramLM, monkeypatch: pytest.MonkeyPatch) -> None:
    ids, starts = lm.encode(TEXTS)
    whole = lm.log_probabilities(ids, starts)
    for block in (1, 100, 1000):
        monkeypatch.setattr(models_lm, "_BLOCK_TOKENS", block)
        np.testing.assert_array_equal(lm.log_probabilities(ids, starts), whole)
    assert len(lm.log_probabilities(ids[:0], np.zeros(1, np.int64))) == 0
    assert len(lm.log_probabilities(ids[:0], np.zeros(3, np.int64))) == 0


def test_a_model_survives_as_plain_arrays(lm: NGramLM) -> None:
    state = lm.state()
    assert all(isinstance(array, np.ndarray) for array in state.values())
    ids, starts = lm.encode(TEXTS)
    expected = lm.log_probabilities(ids, starts)
    np.testing.assert_array_equal(NGramLM.of_state(state).log_probabilities(*lm.encode(TEXTS)), expected)


def test_ids_of_another_tokenizer_are_refused(lm: NGramLM) -> None:
    with pytest.raises(InvalidParameterError, match=rf"one is {lm.vocab_size}\) must be from 0 to"):
        lm.log_probabilities(np.array([0, lm.vocab_size]), np.array([0, 2]))


@pytest.mark.parametrize("context", [2, 3, 8, 9])
def test_windows_predict_every_token_once_from_half_a_context(context: int) -> None:
    starts = np.cumsum([0, 5, 0, 1, context, context + 1, 3 * context, 7, 50])
    cut = windows(starts, context)
    predicted = np.zeros(starts[-1], np.int64)
    document = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    for first, is_start, length, skipped in zip(*cut, strict=True):
        assert 0 < length <= context
        assert is_start == (first in starts)
        assert len(set(document[first : first + length])) == 1
        for j in range(skipped, length):
            token = first + j
            predicted[token] += 1
            seen = j + 1  # inputs 0 to j, of which the first is END or the token before the window
            assert seen >= min(context // 2, token - starts[document[token]] + 1)
    assert (predicted == 1).all()


def test_short_documents_are_windows_of_their_own() -> None:
    cut = windows(np.array([0, 3, 3, 7]), 4)
    assert cut.first.tolist() == [0, 3] and cut.length.tolist() == [3, 4] and not cut.skipped.any()


def test_a_sum_does_not_know_the_documents_before_it() -> None:
    values = np.random.default_rng(0).standard_normal(1000) * 1e6
    alone = document_sums(values[300:], np.array([0, 0, 700]))
    assert document_sums(values, np.array([0, 300, 300, 1000]))[1:].tolist() == alone.tolist()
    assert document_sums(np.empty(0), np.array([0, 0])).tolist() == [0.0]
