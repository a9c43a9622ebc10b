"""Merged counts against training on each union, to the last bit."""

import numpy as np
import pytest

from assay.errors import InvalidParameterError
from assay.models import merging
from assay.models.merging import MergedCounts
from assay.models.ngram import Queries, score_once, word_ranges
from assay.proxy.stream import document_bits


class Pool:
    """Random documents of some sources, held-out ones, and the slow way: train on the union."""

    def __init__(self, seed: int, order: int, vocab_size: int, num_documents: int, num_sources: int):
        self.rng = np.random.default_rng(seed)
        self.vocab_size, self.order, self.num_sources = vocab_size, order, num_sources
        self.tokens, self.starts = self.documents(num_documents)
        self.sources = self.rng.integers(0, num_sources, num_documents)  # not one source after another
        self.held, self.held_starts = self.documents(30)
        self.queries = Queries.of(self.held, self.held_starts, vocab_size=vocab_size, order=order)
        self.there = np.bincount(self.sources, minlength=num_sources)

    def documents(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        sizes = self.rng.integers(0, 40, number)  # empty ones, too
        tokens = np.minimum(self.rng.zipf(1.4, sizes.sum()) - 1, self.vocab_size - 1).astype(np.uint16)
        return tokens, np.concatenate(([0], np.cumsum(sizes)))

    def merged(self) -> MergedCounts:
        return MergedCounts.of(
            self.tokens,
            self.starts,
            self.sources,
            vocab_size=self.vocab_size,
            order=self.order,
            num_sources=self.num_sources,
        )

    def mixtures(self, number: int, most: float) -> np.ndarray:
        """Documents read of each source: all once, all twice, one of each, then up to `most` readings or none."""
        shares = (
            self.rng.random((number, self.num_sources)) * most * (self.rng.random((number, self.num_sources)) < 0.8)
        )
        read = (shares * self.there).astype(int)
        read[0], read[1], read[2] = self.there, 2 * self.there, np.minimum(self.there, 5)
        read[read.sum(axis=1) == 0] = self.there
        return read

    def trained(self, read: np.ndarray) -> np.ndarray:
        rows = [np.resize(np.flatnonzero(self.sources == s), num) for s, num in enumerate(read) if num > 0]
        documents = np.concatenate(rows)
        tokens = np.concatenate([self.tokens[self.starts[k] : self.starts[k + 1]] for k in documents])
        starts = np.concatenate(([0], np.cumsum(np.diff(self.starts)[documents])))
        return document_bits(score_once(self.queries, tokens, starts), self.held_starts)


CASES = [  # seed, order, vocabulary, documents, sources; mixtures, readings of a source
    (0, 1, 10, 20, 2, 5, 1),
    (1, 2, 30, 60, 3, 70, 1),
    (2, 3, 50, 200, 1, 5, 2),
    (3, 4, 50, 300, 13, 130, 1),
    (4, 4, 50, 300, 4, 66, 3),
    (5, 4, 3000, 80, 3, 20, 7),
    (6, 5, 20, 200, 70, 64, 2),
    (7, 5, 65_534, 50, 4, 20, 2),  # contexts of exactly 64 bits
]


@pytest.mark.parametrize("case", CASES)
def test_bits_equal_those_of_a_model_trained_on_the_union(case: tuple[int, ...]) -> None:
    *of, number, most = case
    pool = Pool(*of)
    read = pool.mixtures(number, most)
    found = pool.merged().bits(pool.queries, pool.held_starts, read)
    for row, expected in zip(found, read, strict=True):
        np.testing.assert_array_equal(row, pool.trained(expected))


def test_slices_chunks_and_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool(8, 4, 60, 300, 5)
    read = pool.mixtures(200, 2)
    whole = pool.merged().bits(pool.queries, pool.held_starts, read)
    alone = [pool.merged().bits(pool.queries, pool.held_starts, read[k : k + 1])[0] for k in (0, 77, 199)]
    np.testing.assert_array_equal(alone, whole[[0, 77, 199]])
    slices: list[tuple[int, int]] = []

    def small(sizes: np.ndarray) -> list[tuple[int, int]]:
        slices.extend(word_ranges(sizes, 300))
        return slices

    monkeypatch.setattr(merging, "word_ranges", small)
    monkeypatch.setattr(merging, "num_workers", lambda: 4)
    monkeypatch.setattr(merging, "_CHUNK_ROWS", 20)
    np.testing.assert_array_equal(pool.merged().bits(pool.queries, pool.held_starts, read), whole)
    assert len(slices) > 5


def test_large_buckets_and_counts_are_counted_alike() -> None:
    """One word in front of half of all others: buckets for both radix sorts, and counts of many bits."""
    pool = Pool(9, 3, 500, 10, 3)
    sizes = pool.rng.integers(2000, 4000, 10)
    total = int(sizes.sum())
    pool.tokens = np.where(pool.rng.random(total) < 0.5, 0, pool.rng.integers(1, 500, total)).astype(np.uint16)
    pool.starts = np.concatenate(([0], np.cumsum(sizes)))
    read = pool.mixtures(9, 40)
    found = pool.merged().bits(pool.queries, pool.held_starts, read)
    for row, expected in zip(found, read, strict=True):
        np.testing.assert_array_equal(row, pool.trained(expected))


def test_held_out_text_unlike_all_others_and_empty_documents() -> None:
    pool = Pool(12, 4, 90, 40, 2)
    pool.held = np.arange(60, 90, dtype=np.uint16)  # words that the pool hardly has
    pool.tokens = np.minimum(pool.tokens, 50)
    pool.held_starts = np.array([0, 0, 10, 10, 30, 30])
    pool.queries = Queries.of(pool.held, pool.held_starts, vocab_size=90, order=4)
    read = pool.mixtures(5, 2)
    found = pool.merged().bits(pool.queries, pool.held_starts, read)
    for row, expected in zip(found, read, strict=True):
        np.testing.assert_array_equal(row, pool.trained(expected))
    assert (found[:, [0, 2, 4]] == 0).all() and (found[:, [1, 3]] > 0).all()


def test_other_questions_are_prepared_anew() -> None:
    pool = Pool(10, 3, 40, 100, 3)
    counts, read = pool.merged(), pool.mixtures(4, 1)
    first = counts.bits(pool.queries, pool.held_starts, read)
    held, starts = pool.documents(20)
    others = Queries.of(held, starts, vocab_size=40, order=3)
    assert counts.bits(others, starts, read).shape == (4, 20)
    np.testing.assert_array_equal(counts.bits(pool.queries, pool.held_starts, read), first)


def test_what_cannot_be_read_is_refused() -> None:
    pool = Pool(11, 3, 40, 30, 3)
    pool.sources[:] = np.arange(30) % 2  # the third has none
    counts = pool.merged()
    ask = pool.queries, pool.held_starts
    with pytest.raises(InvalidParameterError, match="source 2, which has none"):
        counts.bits(*ask, np.array([[1, 1, 1]]))
    with pytest.raises(InvalidParameterError, match="at least one token a mixture"):
        counts.bits(*ask, np.array([[3, 3, 0], [0, 0, 0]]))
    with pytest.raises(InvalidParameterError, match="0 or more documents"):
        counts.bits(*ask, np.array([[3, -1, 0]]))
    with pytest.raises(InvalidParameterError, match="mixtures x 3 sources"):
        counts.bits(*ask, np.array([[0.5, 0.5, 0.0]]))
    with pytest.raises(InvalidParameterError, match=r"fewer than 2\^31 tokens"):
        counts.bits(*ask, np.array([[2**31, 0, 0]]))
    with pytest.raises(InvalidParameterError, match="as counted"):
        counts.bits(Queries.of(pool.held, pool.held_starts, vocab_size=41, order=3), pool.held_starts, pool.there[None])
    with pytest.raises(InvalidParameterError, match="starts of the queries'"):
        counts.bits(pool.queries, pool.held_starts[:-1], np.array([[1, 1, 0]]))
    nothing = np.zeros(0, np.uint16), np.zeros(2, np.int64)
    with pytest.raises(InvalidParameterError, match="at least one held-out token"):
        counts.bits(Queries.of(*nothing, vocab_size=40, order=3), nothing[1], np.array([[1, 1, 0]]))
    with pytest.raises(InvalidParameterError, match="one a document"):
        MergedCounts.of(pool.tokens, pool.starts, pool.sources[:-1], vocab_size=40, order=3)
    with pytest.raises(InvalidParameterError, match="from 0 to 0"):
        MergedCounts.of(pool.tokens, pool.starts, pool.sources, vocab_size=40, order=3, num_sources=1)
    with pytest.raises(InvalidParameterError, match="at least one token"):
        MergedCounts.of(pool.tokens[:0], np.zeros(2, int), np.zeros(1, int), vocab_size=40, order=3)
