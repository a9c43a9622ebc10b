"""Overlap against sets of word tuples."""

import re
from collections import Counter

import pyarrow as pa
import pytest

from assay.errors import InvalidParameterError
from assay.scorers.overlap import Overlap
from tests.conftest import words
from tests.contracts.test_scorers import batch, fit

TARGET = " ".join(words(200, seed=1, vocabulary=10**6))
RUN = TARGET.split()[40:60]
DOCUMENTS = {
    "whole": TARGET,
    "quote": f"as he said: {' '.join(RUN)} and so on",
    "cased": " ... ".join(word.upper() for word in RUN),
    "twelve": " ".join(RUN[:12]),
    "thirteen": " ".join(RUN[:13]),
    "broken": " ".join([*RUN[:10], "otherwise", *RUN[10:]]),
    "other": " ".join(words(100, seed=2, topic="x")),
}


def runs(text: str, length: int = 13) -> list[tuple[str, ...]]:
    """The slow obvious version: a short text is one run."""
    found = [word.lower() for word in re.findall(r"\w+", text)]
    return [tuple(found[k : k + length]) for k in range(max(1, len(found) - length + 1))] if found else []


def scores(documents: list[str], targets: dict[str, list[str]], **parameters: int) -> list[list[float]]:
    scorer = Overlap(**parameters)
    state = fit(scorer, [batch(documents)], {name: [batch(texts)] for name, texts in targets.items()})
    return [column.to_pylist() for column in scorer.score(batch(documents), state)]


def test_runs_found_are_those_of_the_slow_version() -> None:
    documents = list(DOCUMENTS.values())
    known = set(runs(TARGET))
    found, share = scores(documents, {"target": [TARGET]})
    assert found == [sum(run in known for run in runs(text)) for text in documents]
    assert share == pytest.approx([sum(run in known for run in runs(text)) / len(runs(text)) for text in documents])


def test_case_and_punctuation_do_not_hide_a_quotation_and_twelve_words_are_none() -> None:
    found = dict(zip(DOCUMENTS, scores(list(DOCUMENTS.values()), {"target": [TARGET]})[0], strict=True))
    assert found["cased"] == found["quote"] == 8
    assert found["thirteen"] == 1
    assert found["twelve"] == found["broken"] == found["other"] == 0


def test_a_short_target_text_is_found_only_where_a_document_is_just_that() -> None:
    documents = [
        "What is the capital of France?",
        "what IS the capital of france",
        "What is the capital of France? Paris",
    ]
    assert scores(documents, {"target": ["What is the capital of France"]})[0] == [1, 1, 0]


def test_runs_in_many_documents_are_boilerplate() -> None:
    licence = " ".join(words(40, seed=5, topic="l"))
    copies = [f"{licence} {' '.join(words(30, seed=k, topic='b'))}" for k in range(6)]
    documents = [*copies, *DOCUMENTS.values()]
    counts = Counter(run for text in documents for run in set(runs(text)))
    for most in (5, 6):
        known = {run for run in runs(licence) + runs(TARGET) if counts[run] <= most}
        found = scores(documents, {"target": [licence, TARGET]}, max_documents=most)[0]
        assert found == [sum(run in known for run in runs(text)) for text in documents]
    assert found[0] == 28


def test_targets_are_told_apart() -> None:
    targets = {"one": [" ".join(RUN)], "two": [TARGET, "short text"]}
    both, _, one, two = scores(["short text", " ".join(RUN[:15]), TARGET], targets)
    assert (both, one, two) == ([1, 3, 188], [0, 3, 8], [1, 3, 188])


def test_more_targets_than_bits_are_refused() -> None:
    with pytest.raises(InvalidParameterError, match="at most 32 targets"):
        Overlap().columns(tuple(f"t{k}" for k in range(33)))
    assert pa.int64() == Overlap().columns(("a",))[0].type
