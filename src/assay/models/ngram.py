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

Cost: 4 million tokens a second and core at order 4, 12 to 20 bytes a distinct n-gram.
"""

from dataclasses import dataclass

import numpy as np

from assay.errors import check, check_integer
from assay.kernels.hashing import mix64_array
from assay.kernels.hashtable import build
from assay.kernels.kneser_ney import (
    context_keys,
    context_totals,
    count_distinct,
    find_counts,
    interpolate,
    ngram_keys,
)

_FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
_KEY_BITS = 64


@dataclass(frozen=True)
class Order:
    """The distinct n-grams of one order.

    keys: the words before the last one, nearest highest [n-grams] uint64, sorted inside each bucket.
    counts: count (highest order) or number of distinct preceding words [n-grams] uint32.
    buckets: where the n-grams that end in each word start [words + 1] int64.
    discounts: D_1, D_2, D_3+.
    """

    keys: np.ndarray
    counts: np.ndarray
    buckets: np.ndarray
    discounts: tuple[float, float, float]


class NGramModel:
    """A trained model: `orders[k]` holds the (k + 1)-grams. Ids are 0 to vocab_size - 1; the end mark is vocab_size."""

    def __init__(self, orders: list[Order], vocab_size: int):
        self.orders = orders
        self.vocab_size = vocab_size

    @property
    def order(self) -> int:
        """Longest n-gram."""
        return len(self.orders)

    @property
    def num_ngrams(self) -> list[int]:
        """Distinct n-grams of each order, shortest first."""
        return [len(order.keys) for order in self.orders]

    def log_probabilities(self, queries: "Queries") -> np.ndarray:
        """Natural logarithm of each queried token's probability given those before it in its document.

        Returns:
            log probabilities [tokens], float64, all finite.

        Raises:
            InvalidParameterError: the queries were made for another order or vocabulary.
        """
        mine = (self.vocab_size, self.order)
        check(queries.made_for == mine, "queries.made_for", queries.made_for, f"{mine}, as this model's")
        probabilities = np.full(len(queries.words), 1.0 / (self.vocab_size + 1))
        for order, asked in zip(self.orders, queries.orders, strict=True):
            totals = context_totals(order.keys, order.counts, asked.hashes, asked.slots)
            counts = find_counts(order.keys, order.counts, order.buckets, queries.words, asked.contexts)
            interpolate(probabilities, counts, totals, asked.position, np.array([0.0, *order.discounts]))
        return np.log(probabilities)

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
    check_integer("order", order, 1)
    bits = bits_for(vocab_size)
    most = _KEY_BITS // bits + 1
    way_out = f"A vocabulary of {vocab_size} takes {bits} bits an id, and a context must fit {_KEY_BITS} bits."
    check(order <= most, "order", order, f"at most {most}", way_out)
    check(len(tokens) > 0, "tokens", len(tokens), "at least one token")
    ends = np.ones(len(starts) - 1, np.bool_) if has_end is None else has_end
    keys = np.empty(len(tokens) + np.count_nonzero(ends), np.uint64)
    buckets = ngram_keys(
        keys, tokens, starts, ends, order, bits, end_id=vocab_size, begin_id=vocab_size + 1, num_words=vocab_size + 1
    )
    orders: list[Order] = []
    for _ in range(order):
        counts, buckets = count_distinct(keys, buckets)
        keys.resize(len(counts), refcheck=False)  # in place: this array is by far the largest
        orders.insert(0, Order(keys, counts, buckets, estimate_discounts(counts)))
        keys = keys >> np.uint64(bits)  # without the farthest word; not used after the last order
    return NGramModel(orders, vocab_size)


def estimate_discounts(counts: np.ndarray) -> tuple[float, float, float]:
    """D_1, D_2 and D_3+ from the counts of counts (Chen and Goodman 1998, equation 26).

    (0.5, 1, 1.5) where a count of counts is zero or a discount would not lie in (0, k]: with a discount of zero a
    context could give an unseen word no probability at all.
    """
    n1, n2, n3, n4 = np.bincount(np.minimum(counts, 5), minlength=6)[1:5].tolist()
    if 0 in (n1, n2, n3, n4):
        return _FALLBACK_DISCOUNTS
    y = n1 / (n1 + 2 * n2)
    ratios = (n2 / n1, n3 / n2, n4 / n3)
    d1, d2, d3 = (k - (k + 1) * y * ratio for k, ratio in enumerate(ratios, 1))
    return (d1, d2, d3) if 0 < d1 <= 1 and 0 < d2 <= 2 and 0 < d3 <= 3 else _FALLBACK_DISCOUNTS


def bits_for(vocab_size: int) -> int:
    """Bits that hold every id, the end mark and the begin mark."""
    return (vocab_size + 1).bit_length()
