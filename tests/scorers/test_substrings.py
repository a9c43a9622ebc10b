"""Repeated runs of words against a naive search."""

import re
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

import assay
from assay.artifacts.kinds import Corpus
from assay.scorers.substrings import Substrings


def naive(texts: list[str], length: int) -> list[int]:
    """Characters in runs of `length` words that stand at two places: every run held against every other."""
    places = []
    for text in texts:
        found = [(m.start(), m.end(), m.group().lower()) for m in re.finditer(r"\w+", text)]
        runs = [found[k : k + length] for k in range(len(found) - length + 1)]
        places.append([(tuple(w for _, _, w in run), run[0][0], run[-1][1]) for run in runs])
    counts = Counter(run for document in places for run, _, _ in document)
    return [
        len({position for run, start, end in document if counts[run] > 1 for position in range(start, end)})
        for document in places
    ]


def passages(seed: int) -> list[str]:
    """Texts that quote each other, themselves, and nothing; with punctuation, cases and scripts that hide it."""
    rng = np.random.default_rng(seed)
    vocabulary = [*(f"word{k}" for k in range(30)), "Zoë", "漢字かな", "naïve", "СЛОВО"]
    joins = [" ", " ", " ", ", ", "... ", "\n", " 🙂 ", "-"]

    def text(tokens: list[str]) -> str:
        pieces = [t.upper() if rng.random() < 0.2 else t for t in tokens]
        return "".join(piece + joins[rng.integers(len(joins))] for piece in pieces)

    def draw(size: int) -> list[str]:
        return [vocabulary[k] for k in rng.integers(0, len(vocabulary), size)]

    stock = [draw(int(rng.integers(5, 80))) for _ in range(6)]
    texts = []
    for _ in range(30):
        tokens = draw(int(rng.integers(0, 40)))
        for _ in range(int(rng.integers(0, 3))):
            quoted = stock[rng.integers(len(stock))]
            tokens += quoted[rng.integers(len(quoted)) :] + draw(int(rng.integers(0, 20)))
        texts.append(text(tokens))
    loop = " ".join(["da capo"] * 40)
    return [*texts, loop, "", "...", "!" + loop + "?", text(stock[0]), text(stock[0] + ["end"])]


@pytest.mark.parametrize(("length", "seed"), [(2, 0), (8, 1), (20, 2), (50, 3), (50, 4)])
def test_covered_characters_are_those_of_a_naive_search(
    make_corpus: Callable[..., Corpus], length: int, seed: int
) -> None:
    texts = passages(seed)
    corpus = make_corpus([{"id": f"d{k}", "text": text} for k, text in enumerate(texts)])
    scores = assay.score(corpus, Substrings(words=length), workspace=corpus.folder.parent).to_table()
    expected = naive(texts, length)
    assert sum(characters > 0 for characters in expected) > 0
    assert scores["substrings.characters"].to_pylist() == expected
    shares = [c / max(1, len(text)) for c, text in zip(expected, texts, strict=True)]
    assert scores["substrings.share"].to_pylist() == pytest.approx(shares)


def test_forty_nine_words_in_common_are_not_enough(make_corpus: Callable[..., Corpus]) -> None:
    run = [f"w{k}" for k in range(50)]
    texts = [" ".join([f"before{k}", *run[:n], f"after{k}"]) for k, n in enumerate((50, 50, 49))]
    corpus = make_corpus([{"id": f"d{k}", "text": text} for k, text in enumerate(texts)])
    scores = assay.score(corpus, "substrings", workspace=corpus.folder.parent).to_table()
    assert scores["substrings.characters"].to_pylist() == [len(" ".join(run))] * 2 + [0]
