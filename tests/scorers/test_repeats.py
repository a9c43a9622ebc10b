"""Repeated lines and paragraphs against a slow version with Python's own strings."""

import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import assay
from assay.artifacts.kinds import Corpus
from assay.kernels.hashing import hash_strings
from assay.scorers.repeats import Repeats

WHITE = " \t\r\f\v"


def units(text: str) -> tuple[list[str], list[str]]:
    lines = [line.strip(WHITE) for line in text.split("\n")]
    blocks = re.split(r"\n\n+", "\n".join(lines).strip("\n"))
    return [line for line in lines if line], ["\n".join(block.split("\n")) for block in blocks if block]


def expected(texts: list[str], ids: list[str], least: int) -> list[list[float]]:
    hashes = [int(h) for h in hash_ids(ids)]
    shares: list[list[float]] = []
    for kind in (0, 1):
        holders = defaultdict(set)
        for text, h in zip(texts, hashes, strict=True):
            for unit in units(text)[kind]:
                holders[unit].add(h)
        for later in (False, True):
            column = []
            for text, h in zip(texts, hashes, strict=True):
                counted = [
                    size
                    for unit in units(text)[kind]
                    if (size := len(unit.replace("\n", ""))) >= least
                    and len(holders[unit]) > 1
                    and not (later and min(holders[unit]) == h)
                ]
                column.append(sum(counted) / max(1, sum(map(len, units(text)[0]))))
            shares.append(column)
    lines, later_lines, paragraphs, later_paragraphs = shares
    return [lines, paragraphs, later_lines, later_paragraphs]


def hash_ids(ids: list[str]) -> np.ndarray:
    data = "".join(ids).encode()
    return hash_strings(np.frombuffer(data, np.uint8), np.cumsum([0, *(len(i.encode()) for i in ids)]))


def random_texts(num: int, seed: int) -> list[str]:
    """Texts of lines from a small stock, so that many repeat; blank lines, indents, other scripts, no last newline."""
    rng = np.random.default_rng(seed)
    stock = ["", "", "  ", "short", "Zoë übte 漢字かな交じり文 und 🙂", "\tindented line of text  ", "} else {", "a\rb"]
    stock += [f"line number {k} of the stock, {'x' * int(rng.integers(40))}" for k in range(60)]
    texts = ["\n".join(stock[k] for k in rng.integers(0, len(stock), rng.integers(0, 9))) for _ in range(num)]
    return [*texts, "", "\n", "\n\n\n", texts[0] + "\n", "line number 3", "x" * 9000, "x" * 9000]


@pytest.mark.parametrize("least", [1, 12, 30])
def test_shares_are_those_of_the_slow_version(make_corpus: Callable[..., Corpus], least: int) -> None:
    texts = random_texts(60, seed=least)
    ids = [f"d{k}" for k in range(len(texts))]
    corpus = make_corpus([{"id": i, "text": text} for i, text in zip(ids, texts, strict=True)])
    scores = assay.score(corpus, Repeats(min_characters=least), workspace=corpus.folder.parent).to_table()
    for column, values in zip(scores.columns, expected(texts, ids, least), strict=True):
        assert column.to_pylist() == pytest.approx(values)
        assert 0 < max(values) <= 1


def test_a_line_twice_in_one_document_is_not_elsewhere(make_corpus: Callable[..., Corpus]) -> None:
    line = "the very same line, long enough to count"
    corpus = make_corpus([{"id": "a", "text": f"{line}\n{line}"}, {"id": "b", "text": "other"}])
    scores = assay.score(corpus, "repeats", workspace=corpus.folder.parent)
    assert scores.to_table()["repeats.lines"].to_pylist() == [0, 0]


def test_one_of_two_copies_keeps_its_lines(make_corpus: Callable[..., Corpus], tmp_path: Path) -> None:
    text = "a line that stands in two documents, word for word\n\nand a second paragraph of some length"
    corpus = make_corpus([{"id": name, "text": text} for name in "ab"])
    scores = assay.score(corpus, "repeats", workspace=corpus.folder.parent).to_table().to_pydict()
    assert scores["repeats.lines"] == scores["repeats.paragraphs"] == [1, 1]
    assert sorted(scores["repeats.later_lines"]) == sorted(scores["repeats.later_paragraphs"]) == [0, 1]
