"""Interpolated modified Kneser-Ney n-gram model.

Chen and Goodman 1998, "An Empirical Study of Smoothing Techniques for Language Modeling" (TR-10-98, Harvard),
section 3: for a context h and a word w, with h' = h without its first word,

    P_n(w | h) = max(c(h w) - D(c(h w)), 0) / c(h) + (D_1 N_1(h) + D_2 N_2(h) + D_3+ N_3+(h)) / c(h) * P_{n-1}(w | h')

where c are counts at the highest order and numbers of distinct preceding words below it, N_k(h) is the number of words
that follow h exactly k times, and D_1, D_2, D_3+ come from the counts of counts n_1 ... n_4 of each order:
Y = n_1 / (n_1 + 2 n_2), D_k = k - (k + 1) Y n_{k+1} / n_k. Below order 1 stands the uniform distribution.

A context never seen hands all its mass to the next shorter one, so probabilities over the vocabulary (all ids and the
end mark) sum to one for every context. Documents are padded with order - 1 begin marks. Where the
counts of counts allow no such discounts, as in very small texts, an order uses D = (0.5, 1, 1.5).

Counting goes by slices of the vocabulary: all n-grams that end in some of the words. Slices do not touch each other, so
a model that is asked once need never be whole in memory (`score_once`).

Cost: 5 million tokens a second and core at order 4; 12 to 20 bytes a distinct n-gram, of one slice or of all.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from assay.errors import check, check_integer
from assay.kernels.hashing import mix64_array
from assay.kernels.hashtable import build
from assay.kernels.kneser_ney import (
    add_context_totals,
    context_keys,
    count_distinct,
    count_words,
    find_counts,
    interpolate,
    ngram_keys,
)

_FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
_KEY_BITS = 64
_SLICE_NGRAMS = 1 << 23
_MAX_SLICES = 32  # each slice reads all tokens again


@dataclass(frozen=True)
class Order:
    """The distinct n-grams of one order that end in the words of a slice.

    keys: the words before the last one, nearest highest [n-grams] uint64, sorted inside each bucket.
    counts: count (highest order) or number of distinct preceding words [n-grams] uint32.
    buckets: where the n-grams that end in each word start, from `first_word` on [words + 1] int64.
    """

    keys: np.ndarray
    counts: np.ndarray
    buckets: np.ndarray
    first_word: int


Slice = tuple[Order, ...]
Discounts = tuple[float, float, float]


class NGramModel:
    """A trained model: `slices` hold its n-grams, shortest first; `discounts` D_1, D_2, D_3+ of each order.

    Ids are 0 to vocab_size - 1; the end mark is vocab_size.
    """

    def __init__(self, slices: list[Slice], discounts: list[Discounts], vocab_size: int):
        self.slices, self.discounts, self.vocab_size = slices, discounts, vocab_size

    @property
    def order(self) -> int:
        """Longest n-gram."""
        return len(self.discounts)

    def log_probabilities(self, queries: "Queries") -> np.ndarray:
        """Natural logarithm of each queried token's probability given those before it in its document.

        Returns:
            log probabilities [tokens], float64, all finite.

        Raises:
            InvalidParameterError: the queries were made for another order or vocabulary.
        """
        mine = (self.vocab_size, self.order)
        check(queries.made_for == mine, "queries.made_for", queries.made_for, f"{mine}, as this model's")
        tally = _Tally(queries)
        for orders in self.slices:
            tally.add(orders)
        return tally.log_probabilities(self.discounts)

    def distribution(self, context: np.ndarray) -> np.ndarray:
        """Probability of every id and, last, of the end mark after `context` [ids]; sums to one.

        A context shorter than order - 1 is taken to stand at the start of a document.
        """
        words = np.arange(self.vocab_size + 1)
        padded = np.append(context, 0)
        bits = bits_for(self.vocab_size)
        key = context_keys(padded, np.array([0, len(padded)]), self.order, bits, self.vocab_size + 1)[-1]
        return np.exp(self.log_probabilities(_queries(words, np.full(len(words), key), self.vocab_size, self.order)))


@dataclass(frozen=True)
class _Asked:
    """The contexts of one order's queries: keys [tokens], and the distinct ones hashed, with their table."""

    contexts: np.ndarray
    position: np.ndarray
    hashes: np.ndarray
    slots: np.ndarray


@dataclass(frozen=True)
class Queries:
    """Tokens whose probability is wanted, sorted out once and then asked of any number of models.

    made_for: vocabulary size and order of these models. words: the tokens [tokens]. orders: contexts of each order.
    """

    made_for: tuple[int, int]
    words: np.ndarray
    orders: tuple[_Asked, ...]

    @classmethod
    def of(cls, tokens: np.ndarray, starts: np.ndarray, *, vocab_size: int, order: int) -> "Queries":
        """Queries for every token of some documents.

        Args:
            tokens: ids of all documents [tokens], vocab_size for an end mark.
            starts: where each document starts [documents + 1].
        """
        keys = context_keys(tokens, starts, order, bits_for(vocab_size), vocab_size + 1)
        return _queries(tokens, keys, vocab_size, order)


def _queries(words: np.ndarray, keys: np.ndarray, vocab_size: int, order: int) -> Queries:
    asked = []
    for k in range(order):
        contexts = keys >> np.uint64(bits_for(vocab_size) * (order - 1 - k))
        distinct, position = np.unique(contexts, return_inverse=True)
        hashes = mix64_array(distinct)
        asked.append(_Asked(contexts, position, hashes, build(hashes)))
    return Queries((vocab_size, order), words, tuple(asked))


class _Tally:
    """What the slices of a model say about some queries, gathered one slice after another."""

    def __init__(self, queries: Queries):
        self.queries = queries
        self.totals = [np.zeros((len(asked.hashes), 4), np.int64) for asked in queries.orders]
        self.counts = [np.zeros(len(queries.words), np.int64) for _ in queries.orders]

    def add(self, orders: Slice) -> None:
        """Takes in one slice."""
        words = self.queries.words
        for o, asked, totals, counts in zip(orders, self.queries.orders, self.totals, self.counts, strict=True):
            add_context_totals(totals, o.keys, o.counts, asked.hashes, asked.slots)
            find_counts(counts, o.keys, o.counts, o.buckets, o.first_word, words, asked.contexts)

    def log_probabilities(self, discounts: list[Discounts]) -> np.ndarray:
        """The answer, when all slices are in."""
        probabilities = np.full(len(self.queries.words), 1.0 / (self.queries.made_for[0] + 1))
        for k, asked in enumerate(self.queries.orders):
            steps = np.array([0.0, *discounts[k]])
            interpolate(probabilities, self.counts[k], self.totals[k], asked.position, steps)
        return np.log(probabilities)


class _Spectrum:
    """How many distinct n-grams of each order have a count of 1, 2, 3 and 4; all that discounts depend on."""

    def __init__(self, order: int):
        self.counts = np.zeros((order, 4), np.int64)

    def add(self, orders: Slice) -> None:
        """Takes in one slice."""
        for k, order in enumerate(orders):
            self.counts[k] += [np.count_nonzero(order.counts == count) for count in (1, 2, 3, 4)]

    def discounts(self) -> list[Discounts]:
        """Discounts of each order, when all slices are in."""
        return [estimate_discounts(*counts) for counts in self.counts.tolist()]


def train(
    tokens: np.ndarray, starts: np.ndarray, *, vocab_size: int, order: int, has_end: np.ndarray | None = None
) -> NGramModel:
    """Counts n-grams and estimates discounts.

    Args:
        tokens: ids of all documents [tokens]; starts: where each document starts [documents + 1].
        vocab_size: number of ids.
        order: longest n-gram.
        has_end: False for documents that were cut off, which then get no end mark [documents]; default all True.

    Raises:
        InvalidParameterError: an order whose contexts do not fit 64 bits, or no tokens.
    """
    slices = list(count_slices(tokens, starts, vocab_size=vocab_size, order=order, has_end=has_end))
    spectrum = _Spectrum(order)
    for orders in slices:
        spectrum.add(orders)
    return NGramModel(slices, spectrum.discounts(), vocab_size)


def score_once(
    queries: Queries, tokens: np.ndarray, starts: np.ndarray, *, has_end: np.ndarray | None = None
) -> np.ndarray:
    """`train(tokens, starts, ...).log_probabilities(queries)` without ever holding more than a slice of the model."""
    vocab_size, order = queries.made_for
    tally, spectrum = _Tally(queries), _Spectrum(order)
    for orders in count_slices(tokens, starts, vocab_size=vocab_size, order=order, has_end=has_end):
        tally.add(orders)
        spectrum.add(orders)
    return tally.log_probabilities(spectrum.discounts())


def count_slices(
    tokens: np.ndarray,
    starts: np.ndarray,
    *,
    vocab_size: int,
    order: int,
    has_end: np.ndarray | None = None,
    slice_ngrams: int = _SLICE_NGRAMS,
) -> Iterator[Slice]:
    """The n-grams of some documents, slice by slice of the words they end in; arguments and errors as of `train`.

    Args:
        slice_ngrams: about how many n-grams, not yet distinct, a slice holds.
    """
    check_order(order, vocab_size)
    bits = bits_for(vocab_size)
    check(len(tokens) > 0, "tokens", len(tokens), "at least one token")
    ends = np.ones(len(starts) - 1, np.bool_) if has_end is None else has_end
    sizes = count_words(tokens, vocab_size + 1)
    sizes[vocab_size] += np.count_nonzero(ends)
    for first, last in word_ranges(sizes, slice_ngrams):
        buckets = np.concatenate(([0], np.cumsum(sizes[first:last])))
        keys = np.empty(buckets[-1] + 1, np.uint64)
        ngram_keys(keys, buckets, first, tokens, starts, ends, order, bits, end_id=vocab_size, begin_id=vocab_size + 1)
        orders: list[Order] = []
        for _ in range(order):
            counts, buckets = count_distinct(keys, buckets)
            keys.resize(len(counts), refcheck=False)  # in place: this array is by far the largest
            orders.insert(0, Order(keys, counts, buckets, first))
            keys = keys >> np.uint64(bits)  # without the farthest word; not used after the last order
        yield tuple(orders)


def word_ranges(sizes: np.ndarray, slice_ngrams: int = _SLICE_NGRAMS) -> Iterable[tuple[int, int]]:
    """Ranges of words with about `slice_ngrams` n-grams each, empty ones left out; sizes: n-grams of each word."""
    reached = np.cumsum(sizes)
    number = min(_MAX_SLICES, -(-int(reached[-1]) // slice_ngrams))
    inner = np.searchsorted(reached, reached[-1] * np.arange(1, number) / number) + 1
    bounds = np.unique(np.concatenate(([0], inner, [len(sizes)])))
    return zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)


def estimate_discounts(n1: int, n2: int, n3: int, n4: int) -> Discounts:
    """D_1, D_2 and D_3+ from how many n-grams have a count of 1, 2, 3 and 4 (Chen and Goodman 1998, equation 26).

    (0.5, 1, 1.5) where a count of counts is zero or a discount would not lie in (0, k]: with a discount of zero a
    context could give an unseen word no probability at all.
    """
    if 0 in (n1, n2, n3, n4):
        return _FALLBACK_DISCOUNTS
    y = n1 / (n1 + 2 * n2)
    ratios = (n2 / n1, n3 / n2, n4 / n3)
    d1, d2, d3 = (k - (k + 1) * y * ratio for k, ratio in enumerate(ratios, 1))
    return (d1, d2, d3) if 0 < d1 <= 1 and 0 < d2 <= 2 and 0 < d3 <= 3 else _FALLBACK_DISCOUNTS


def check_order(order: int, vocab_size: int) -> None:
    """Raises InvalidParameterError unless a model of this order can be counted: contexts are keys of 64 bits."""
    check_integer("order", order, 1)
    bits = bits_for(vocab_size)
    most = _KEY_BITS // bits + 1
    way_out = (
        f"A vocabulary of {vocab_size:,} takes {bits} bits an id, and a context must fit {_KEY_BITS} bits. "
        "Lower the order, or take a smaller vocabulary."
    )
    check(order <= most, "order", order, f"at most {most}", way_out)


def bits_for(vocab_size: int) -> int:
    """Bits that hold every id, the end mark and the begin mark."""
    return (vocab_size + 1).bit_length()
