"""Concepts: matches by hand, and chances by MetaCLIP's formula."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import assay
from assay.artifacts.kinds import Corpus
from assay.artifacts.workspace import Workspace
from assay.errors import InvalidParameterError
from assay.scorers import Concepts
from tests.conftest import write_jsonl

PHRASES = ["cat", "The Dog", "dog", "a b c", "x y", "cat", "...", "never seen"]


def phrases(folder: Path, texts: list[str]) -> str:
    return str(write_jsonl(folder / "phrases.jsonl", [{"id": f"{k}", "text": t} for k, t in enumerate(texts)]))


def test_phrases_are_found_as_runs_of_words(
    make_corpus: Callable[..., Corpus], workspace: Workspace, tmp_path: Path
) -> None:
    texts = ["A cat, a CAT.", "concatenate", "the dog", "dog the", "a b  c x-y", "a b", "", "x"]
    corpus = make_corpus([{"id": f"d{k}", "text": text} for k, text in enumerate(texts)])
    scores = assay.score(corpus, Concepts(concepts=phrases(tmp_path, PHRASES)), workspace=workspace).to_table()
    assert scores["concepts.matches"].to_pylist() == [1, 0, 2, 1, 2, 0, 0, 0]
    assert scores["concepts.chance"].to_pylist() == [1, 0, 1, 1, 1, 0, 0, 0]


def test_chances_are_those_of_metaclip(
    make_corpus: Callable[..., Corpus], workspace: Workspace, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    vocabulary = [f"w{k}" for k in range(30)]
    texts = [" ".join(rng.choice(vocabulary, rng.integers(1, 6))) for _ in range(400)]
    listed = [*vocabulary[::2], "w1 w3", "w0 w2"]
    corpus = make_corpus([{"id": f"d{k}", "text": text} for k, text in enumerate(texts)])
    scorer = Concepts(concepts=phrases(tmp_path, listed), limit=10)
    scores = assay.score(corpus, scorer, workspace=workspace).to_table()
    found = [{p for p in listed if re.search(rf"\b{p}\b", text)} for text in texts]
    counts = Counter(p for own in found for p in own)
    expected = [1 - np.prod([1 - min(1, 10 / counts[p]) for p in own]) for own in found]
    assert max(counts.values()) > 30 and min(counts.values()) < 10
    np.testing.assert_allclose(scores["concepts.chance"].to_numpy(), expected, atol=1e-12)
    assert scores["concepts.matches"].to_pylist() == [len(own) for own in found]


@pytest.mark.parametrize(
    ("texts", "message"),
    [(["one two three four five six"], "has 6 words; at most 5 are possible"), (["..."], "no phrase with a word")],
)
def test_bad_lists_are_told(
    make_corpus: Callable[..., Corpus], workspace: Workspace, tmp_path: Path, texts: list[str], message: str
) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        corpus = make_corpus([{"id": "a", "text": "b"}])
        assay.score(corpus, Concepts(concepts=phrases(tmp_path, texts)), workspace=workspace)
    with pytest.raises(InvalidParameterError, match="`concepts` .*a phrase each"):
        Concepts()
