"""Weights that change while n-gram models train, on text whose difficulty is planted."""

from dataclasses import dataclass

import numpy as np
import pytest

from assay.api.online import doremi, learn_skills, skillit
from assay.errors import InvalidParameterError
from assay.models.ngram import Queries, score_once
from assay.proxy.stream import document_bits

VOCAB, LENGTH = 120, 40
SOURCES = ("easy", "rich", "noise")


def documents(source: str, num: int, rng: np.random.Generator) -> np.ndarray:
    """Documents of ids [documents, LENGTH]: a cycle of ten ids, chains of a hundred, or any id after any other."""
    if source == "noise":
        return rng.integers(0, VOCAB, (num, LENGTH))
    size, first = (10, 0) if source == "easy" else (100, 10)
    after = np.random.default_rng(7).integers(0, size, (size, 2)) + first  # each id has two that may follow
    out = np.empty((num, LENGTH), np.int64)
    out[:, 0] = rng.integers(first, first + size, num)
    for t in range(1, LENGTH):
        out[:, t] = after[out[:, t - 1] - first, rng.integers(0, 2, num)]
    return out


@dataclass(frozen=True)
class Retrained:
    """A simulation that trains every mixture anew: the slow, obvious twin of one that merges counts."""

    seed: int = 0
    with_own: bool = True

    sources = SOURCES
    available = np.full(3, 400.0 * LENGTH)

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("target", *(f"source:{name}" for name in SOURCES)) if self.with_own else ("target",)

    @property
    def groups(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.metrics)), 20)

    @property
    def sizes(self) -> np.ndarray:
        return np.full(len(self.groups), 4.0 * LENGTH)

    def bits(self, tokens: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng(self.seed)
        texts = [documents(name, 400, rng) for name in SOURCES]
        heldout = [documents(name, 20, np.random.default_rng(99)) for name in ("rich", *SOURCES)[: len(self.metrics)]]
        asked = np.concatenate(heldout)
        starts = np.arange(len(asked) + 1) * LENGTH
        queries = Queries.of(asked.ravel(), starts, vocab_size=VOCAB, order=3)
        found = []
        for row in tokens:
            read = [np.resize(t, (round(n / LENGTH), LENGTH)) for t, n in zip(texts, row, strict=True) if n >= LENGTH]
            text = np.concatenate(read).astype(np.uint16)
            bounds = np.arange(len(text) + 1) * LENGTH
            found.append(document_bits(score_once(queries, text.ravel(), bounds), starts))
        return np.array(found)


def test_doremi_takes_what_can_still_be_learnt_and_little_noise() -> None:
    found = doremi(Retrained(), tokens=900 * LENGTH, steps=60)
    weights = dict(zip(SOURCES, found.weights, strict=True))
    assert weights["rich"] > 0.5 and weights["noise"] < 0.15
    assert found.drift < 0.1
    assert (found.excess[-1] < 0.01).all()  # the proxy has caught up


def test_the_graph_of_runs_and_skillit_read_what_teaches_the_target() -> None:
    graph = learn_skills(Retrained(), tokens=120 * LENGTH)
    np.testing.assert_array_equal(graph[:, 0], [0, 1, 0])
    found = skillit(Retrained(), tokens=600 * LENGTH, steps=5, step_size=3.0)
    assert found.weights[1] > 0.7
    assert found.saved > 0.03
    given = skillit(Retrained(), tokens=600 * LENGTH, steps=5, step_size=3.0, graph=graph)
    np.testing.assert_array_equal(given.path, found.path)


def test_sources_that_teach_each_other_nothing_have_no_edges() -> None:
    np.testing.assert_array_equal(learn_skills(Retrained(), tokens=60 * LENGTH, by="pairs"), np.eye(3))


def test_no_source_is_read_more_often_than_allowed() -> None:
    tokens = 1000 * LENGTH  # 400 documents of each source
    found = skillit(Retrained(), tokens=tokens, steps=5, step_size=3.0, max_epochs=1)
    assert found.path.max() <= 0.4 + 1e-9 < skillit(Retrained(), tokens=tokens, steps=5, step_size=3.0).path.max()
    with pytest.raises(InvalidParameterError, match="`max_epochs` .=1. must be at least 1.25 for"):
        doremi(Retrained(), tokens=1500 * LENGTH, max_epochs=1)


def test_bad_input_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="no held-out text of source 'easy'"):
        doremi(Retrained(with_own=False), tokens=1e4)
    with pytest.raises(InvalidParameterError, match="`by`.*runs, pairs"):
        learn_skills(Retrained(), tokens=1e4, by="guess")
    with pytest.raises(InvalidParameterError, match="`metrics`.*left out"):
        learn_skills(Retrained(), tokens=1e4, by="pairs", metrics=["target"])
    with pytest.raises(InvalidParameterError, match="`graph`.*3 sources x 1 metrics"):
        skillit(Retrained(), tokens=1e4, graph=np.eye(3))
    with pytest.raises(InvalidParameterError, match="`reference`|`weights`"):
        doremi(Retrained(), tokens=1e4, reference=np.ones(2))
