"""Kneser-Ney against a slow version written from the paper, and against NLTK where the definitions coincide."""

from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest
from nltk.lm import KneserNeyInterpolated

from assay.errors import InvalidParameterError
from assay.models.ngram import NGramModel, Queries, count_slices, estimate_discounts, score_once, train

BEGIN, END = "<s>", "</s>"


class SlowKneserNey:
    """Chen and Goodman's formulas with dictionaries; documents are lists of ids."""

    def __init__(self, documents: list[list[int]], vocab_size: int, order: int, has_end: list[bool] | None = None):
        self.order, self.vocab_size = order, vocab_size
        highest: Counter[tuple] = Counter()
        for k, document in enumerate(documents):
            padded = [BEGIN] * (order - 1) + document + ([END] if has_end is None or has_end[k] else [])
            highest.update(tuple(padded[i - order + 1 : i + 1]) for i in range(order - 1, len(padded)))
        self.counts = {order: highest}
        for n in range(order - 1, 0, -1):
            self.counts[n] = Counter(ngram[1:] for ngram in self.counts[n + 1])
        self.discounts = {n: self._discounts(list(c.values())) for n, c in self.counts.items()}
        self.followers = {n: defaultdict(dict) for n in self.counts}
        for n, counts in self.counts.items():
            for ngram, count in counts.items():
                self.followers[n][ngram[:-1]][ngram[-1]] = count

    @staticmethod
    def _discounts(values: list[int]) -> list[float]:
        n = [0] + [sum(v == k for v in values) for k in (1, 2, 3, 4)]
        if 0 in n[1:]:
            return [0.0, 0.5, 1.0, 1.5]
        y = n[1] / (n[1] + 2 * n[2])
        discounts = [0.0] + [k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3)]
        return discounts if all(0 < d <= k for k, d in enumerate(discounts) if k) else [0.0, 0.5, 1.0, 1.5]

    def probability(self, word: int | str, context: tuple) -> float:
        context = ((BEGIN,) * self.order + context)[-(self.order - 1) :] if self.order > 1 else ()
        return self._interpolated(word, context, self.order)

    def _interpolated(self, word: int | str, context: tuple, n: int) -> float:
        lower = 1 / (self.vocab_size + 1) if n == 1 else self._interpolated(word, context[1:], n - 1)
        followers = self.followers[n].get(context)
        if not followers:
            return lower
        discount = self.discounts[n]
        total = sum(followers.values())
        count = followers.get(word, 0)
        mass = sum(discount[min(c, 3)] for c in followers.values())
        return (count - discount[min(count, 3)] + mass * lower) / total


def random_documents(seed: int, num_documents: int, vocab_size: int, length: int) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [
        np.minimum(rng.zipf(1.4, rng.integers(1, length)) - 1, vocab_size - 1).tolist() for _ in range(num_documents)
    ]


def flatten(documents: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    starts = np.concatenate(([0], np.cumsum([len(d) for d in documents])))
    return np.array([t for d in documents for t in d], np.uint16), starts


def log_probabilities(model: NGramModel, documents: list[list[int]]) -> np.ndarray:
    queries = Queries.of(*flatten(documents), vocab_size=model.vocab_size, order=model.order)
    return model.log_probabilities(queries)


CASES = [(1, 10, 5), (2, 30, 40), (3, 50, 200), (4, 50, 300), (5, 20, 200), (4, 3000, 50)]


@pytest.mark.parametrize(("order", "vocab_size", "num_documents"), CASES)
def test_probabilities_equal_the_slow_version(order: int, vocab_size: int, num_documents: int) -> None:
    documents = random_documents(order, num_documents, vocab_size, 60)
    held = random_documents(99, 20, vocab_size, 40)
    has_end = [k % 3 > 0 for k in range(num_documents)]
    model = train(*flatten(documents), vocab_size=vocab_size, order=order, has_end=np.array(has_end))
    slow = SlowKneserNey(documents, vocab_size, order, has_end)
    expected = [np.log(slow.probability(w, tuple(d[:k]))) for d in held for k, w in enumerate(d)]
    np.testing.assert_allclose(log_probabilities(model, held), expected, rtol=1e-9)


def test_buckets_of_every_size_are_sorted_alike() -> None:
    """One word in front of everything makes a bucket that is large enough for the radix sort."""
    rng = np.random.default_rng(0)
    document = np.where(rng.random(60_000) < 0.5, 0, rng.integers(1, 500, 60_000)).tolist()
    model = train(*flatten([document]), vocab_size=500, order=3)
    slow = SlowKneserNey([document], 500, 3)
    held = [document[100:300]]
    expected = [np.log(slow.probability(w, tuple(held[0][:k]))) for k, w in enumerate(held[0])]
    np.testing.assert_allclose(log_probabilities(model, held), expected, rtol=1e-9)


@pytest.mark.parametrize("slice_ngrams", [1, 40, 700, 10**6])
@pytest.mark.parametrize(("order", "vocab_size", "num_documents"), CASES)
def test_slices_say_what_the_whole_says(
    monkeypatch: pytest.MonkeyPatch, order: int, vocab_size: int, num_documents: int, slice_ngrams: int
) -> None:
    tokens, starts = flatten(random_documents(order, num_documents, vocab_size, 60))
    has_end = np.arange(num_documents) % 3 > 0
    held = flatten(random_documents(99, 20, vocab_size, 40))
    queries = Queries.of(*held, vocab_size=vocab_size, order=order)
    whole = train(tokens, starts, vocab_size=vocab_size, order=order, has_end=has_end)
    assert len(whole.slices) == 1

    def small(*args: Any, **options: Any) -> Any:
        slices = list(count_slices(*args, **options, slice_ngrams=slice_ngrams))
        assert len(slices) > 1 or slice_ngrams > 100
        return slices

    monkeypatch.setattr("assay.models.ngram.count_slices", small)
    sliced = score_once(queries, tokens, starts, has_end=has_end)
    np.testing.assert_array_equal(sliced, whole.log_probabilities(queries))


@pytest.mark.parametrize(("order", "vocab_size", "num_documents"), CASES)
def test_probabilities_sum_to_one_after_seen_and_unseen_contexts(
    order: int, vocab_size: int, num_documents: int
) -> None:
    documents = random_documents(order, num_documents, vocab_size, 60)
    model = train(*flatten(documents), vocab_size=vocab_size, order=order)
    slow = SlowKneserNey(documents, vocab_size, order)
    rng = np.random.default_rng(5)
    contexts = [[], documents[0][:1], documents[1][:9], *rng.integers(0, vocab_size, (5, max(1, order - 1))).tolist()]
    for context in contexts:
        distribution = model.distribution(np.array(context, np.int64))
        assert distribution.sum() == pytest.approx(1.0, abs=1e-9)
        assert distribution.min() > 0
        words = [*range(vocab_size), END]
        expected = [slow.probability(w, tuple(context)) for w in words]
        np.testing.assert_allclose(distribution, expected, rtol=1e-9)


def test_equals_nltk_where_the_definitions_coincide() -> None:
    """NLTK subtracts one constant and counts raw n-grams at the top, continuations below: so do we with equal D.

    Its unigrams are not mixed with the uniform distribution, so the words asked for are words it has seen.
    """
    documents = random_documents(7, 60, 12, 30)
    order, discount = 3, 0.4
    model = train(*flatten(documents), vocab_size=12, order=order)
    constant = NGramModel(model.slices, [(0.0,) * 3, (discount,) * 3, (discount,) * 3], 12)
    nltk_model = KneserNeyInterpolated(order, discount=discount)
    text = [[BEGIN] * (order - 1) + [str(t) for t in d] + [END] for d in documents]
    ngrams = [
        [tuple(s[i - n + 1 : i + 1]) for n in range(1, order + 1) for i in range(max(order - 1, n - 1), len(s))]
        for s in text
    ]
    nltk_model.fit(ngrams, vocabulary_text=[w for s in text for w in s])
    for context in ([3, 0], [0, 0], [1, 2], [5, 1]):
        ours = constant.distribution(np.array([11, 10, *context]))
        theirs = [nltk_model.score(str(w), [str(c) for c in context]) for w in range(12)] + [
            nltk_model.score(END, [str(c) for c in context])
        ]
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_discounts_are_those_of_the_paper() -> None:
    y = 100 / 180
    expected = (1 - 2 * y * 0.4, 2 - 3 * y * 0.5, 3 - 4 * y * 0.5)
    assert estimate_discounts(100, 40, 20, 10) == pytest.approx(expected)


@pytest.mark.parametrize("repeats", [[100, 40, 20, 0], [100, 1, 50, 10], [10, 20, 80, 5]])
def test_discounts_that_would_leave_their_range_are_replaced(repeats: list[int]) -> None:
    assert estimate_discounts(*repeats) == (0.5, 1.0, 1.5)


def test_more_text_of_the_same_kind_lowers_the_loss() -> None:
    held = random_documents(1000, 50, 300, 100)
    losses = [
        -log_probabilities(train(*flatten(random_documents(1, n, 300, 100)), vocab_size=300, order=3), held).mean()
        for n in (10, 100, 1000)
    ]
    assert losses[0] > losses[1] > losses[2]


def test_document_order_does_not_matter_and_repeats_do() -> None:
    documents = random_documents(2, 100, 50, 50)
    held = random_documents(3, 10, 50, 50)
    base = log_probabilities(train(*flatten(documents), vocab_size=50, order=3), held)
    np.testing.assert_array_equal(
        log_probabilities(train(*flatten(documents[::-1]), vocab_size=50, order=3), held), base
    )
    twice = log_probabilities(train(*flatten(documents * 2), vocab_size=50, order=3), held)
    assert not np.allclose(twice, base)


def test_what_does_not_fit_is_refused() -> None:
    tokens, starts = flatten([[1, 2, 3]])
    with pytest.raises(
        InvalidParameterError, match=r"`order` \(=6\) must be at most 5. A vocabulary of 60,000 takes 16"
    ):
        train(tokens, starts, vocab_size=60_000, order=6)
    with pytest.raises(InvalidParameterError, match="at least one token"):
        train(tokens[:0], starts[:1], vocab_size=10, order=2)
    model = train(tokens, starts, vocab_size=10, order=2)
    with pytest.raises(InvalidParameterError, match="as this model's"):
        model.log_probabilities(Queries.of(tokens, starts, vocab_size=10, order=3))
