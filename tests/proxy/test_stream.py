"""The stream of tokens an arm is trained on, against lists."""

from collections.abc import Callable

import numpy as np
import pytest

import assay
from assay.artifacts.kinds import Corpus, Selection, Tokens
from assay.artifacts.workspace import Workspace
from assay.errors import InvalidParameterError
from assay.proxy.stream import training_stream
from tests.conftest import make_documents


@pytest.fixture
def pool(make_corpus: Callable[..., Corpus]) -> Corpus:
    return make_corpus([*make_documents(200, length=40), {"id": "empty", "text": "", "source": "w"}])


@pytest.fixture
def tokens(pool: Corpus, workspace: Workspace) -> Tokens:
    return assay.tokenize(pool, vocab_size=400, workspace=workspace)


def slow_stream(selection: Selection, tokens: Tokens) -> list[list[int]]:
    documents = []
    for part in range(tokens.num_parts):
        ids, starts = tokens.ids(part)
        for row, repeats in enumerate(selection.repeats(part)):
            documents += [ids[starts[row] : starts[row + 1]].tolist()] * repeats
    return documents


@pytest.mark.parametrize("max_repeats", [1, 3])
def test_documents_follow_each_other_and_the_last_is_cut(
    pool: Corpus, tokens: Tokens, workspace: Workspace, max_repeats: int
) -> None:
    chosen = assay.select(
        pool, budget="4k tokens", tokens=tokens, where="id < 'w-3'", max_repeats=max_repeats, workspace=workspace
    )
    documents = slow_stream(chosen, tokens)
    whole = [token for document in documents for token in document]
    for budget in (1, 17, len(documents[0]), 3_999, 4_000):
        stream = training_stream(chosen, tokens, budget)
        assert stream.tokens.tolist() == whole[:budget]
        ends = np.cumsum([len(document) for document in documents])
        assert stream.starts.tolist() == [0, *(int(end) for end in ends if end < budget), budget]
        assert stream.has_end.tolist() == [True] * (len(stream.starts) - 2) + [False]


def test_a_selection_that_is_too_small_is_refused(pool: Corpus, tokens: Tokens, workspace: Workspace) -> None:
    chosen = assay.select(pool, budget="1k tokens", tokens=tokens, workspace=workspace)
    held = sum(map(len, slow_stream(chosen, tokens)))
    assert len(training_stream(chosen, tokens, held).tokens) == held
    with pytest.raises(
        InvalidParameterError, match=f"Selection 'uniform' holds {held:,} tokens, not the {held + 1:,} to"
    ):
        training_stream(chosen, tokens, held + 1)
