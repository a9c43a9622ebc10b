"""A softmax over hashed words: the smallest language model that has gradients, all in closed form.

Its weights are the words' logits t; p = softmax(t) is the same everywhere in a text. With c_w of a document's n words
being w, its loss is -sum_w c_w / n ln p_w, the gradient of that by t is p_w - c_w / n, and the Hessian diag(p) - p p'
whatever the document. The best weights follow from counts.
"""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from assay.errors import InvalidParameterError
from assay.kernels.arrow import utf8
from assay.kernels.embedding import count_words
from assay.kernels.unicode import tables

NUM_BUCKETS = 1 << 18


@dataclass(frozen=True, eq=False)
class Bag:
    """A fitted model.

    shares: p of each bucket of words [buckets] float64, above 0, of sum 1.
    squares: mean square of each coordinate of the documents' gradients [buckets] float64.
    """

    shares: np.ndarray = field(repr=False)
    squares: np.ndarray = field(repr=False)


class Counted:
    """Words of some documents: `starts` [documents + 1], `buckets` and `own`, c / n, of each entry [entries]."""

    def __init__(self, texts: pa.Array, num_buckets: int = NUM_BUCKETS):
        text, self.num_buckets = utf8(texts), num_buckets
        self.starts, self.buckets, self.counts = count_words(text.data, text.offsets, num_buckets, tables())
        self.own = mean_counts(self.starts, self.counts)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sum of a value per entry over each document [documents] float64; 0 for one without words."""
        documents = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))
        return np.bincount(documents, values, minlength=len(self.starts) - 1)


def mean_counts(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """What share of its document's words each entry is [entries] float64."""
    sizes = np.diff(starts)
    documents = np.repeat(np.arange(len(sizes)), sizes)
    totals = np.bincount(documents, counts, minlength=len(sizes))
    own: np.ndarray = counts / totals[documents]
    return own


def fit_bag(starts: np.ndarray, buckets: np.ndarray, counts: np.ndarray, num_buckets: int = NUM_BUCKETS) -> Bag:
    """The model of some documents, given as `kernels.embedding.count_words` does.

    Every document counts alike; there is one more, which has all words equally often, so that none is impossible.

    Raises:
        InvalidParameterError: the documents have no words.
    """
    own = mean_counts(starts, counts)
    number = int(np.count_nonzero(np.diff(starts)))
    if not number:
        raise InvalidParameterError("The documents have no words to fit a model on.")
    sums = np.bincount(buckets, own, minlength=num_buckets)
    shares = (sums + 1 / num_buckets) / (number + 1)
    squares = np.bincount(buckets, own * own, minlength=num_buckets)
    return Bag(shares, (squares - 2 * shares * sums) / number + shares * shares)


def losses(bag: Bag, documents: Counted) -> np.ndarray:
    """Mean nats per word of each document [documents] float64; NaN for one without words."""
    found = documents.sums(-documents.own * np.log(bag.shares[documents.buckets]))
    return np.where(np.diff(documents.starts) > 0, found, np.nan)


def one_step(bag: Bag, documents: Counted, wanted: np.ndarray, rate: float) -> np.ndarray:
    """By how much the loss on the target changes with one step of gradient descent on each document alone.

    Exactly: the loss on the target is ln sum_w exp(t_w) - sum_w wanted_w t_w, and the step moves t_w by
    rate * (c_w / n - p_w). To first order it is -rate times the dot product of the two gradients.

    Args:
        wanted: share of each bucket among the words of the target [buckets], of sum 1. rate: the learning rate.

    Returns:
        [documents] float64, negative where the document helps; NaN for one without words.
    """
    p, own = bag.shares[documents.buckets], documents.own
    without = np.exp(-rate * p)
    grown = np.sum(bag.shares * np.expm1(-rate * bag.shares)) + documents.sums(p * without * np.expm1(rate * own))
    moved = documents.sums(wanted[documents.buckets] * own) - wanted @ bag.shares
    changes = np.log1p(grown) - rate * moved
    return np.where(np.diff(documents.starts) > 0, changes, np.nan)


def wanted_shares(documents: Counted, weights: np.ndarray) -> np.ndarray:
    """Share of each bucket among the words of some documents [buckets] float64, each counting by its weight."""
    sizes = np.diff(documents.starts)
    has_words = sizes > 0
    each = np.where(has_words, weights, 0)
    found = np.bincount(documents.buckets, documents.own * np.repeat(each, sizes), minlength=documents.num_buckets)
    total = each.sum()
    return found / total if total > 0 else found
