"""A nearly trained model that goes on for a while on other text: what tells whether that text is worth anything.

A language model is annealed: near the end of training, where the learning rate falls, some of its text is replaced, and
what comes last counts most. An n-gram model knows no order, so the last part is a model of its own, the tail, mixed in
with `WEIGHT`: p = (1 - WEIGHT) p_base + WEIGHT p_tail. The base is trained once for any number of tails.
"""

from collections.abc import Sequence

import numpy as np

from assay.models.ngram import Queries, score_once
from assay.proxy.stream import document_bits

WEIGHT = 0.5
Documents = tuple[np.ndarray, np.ndarray]  # ids [tokens], and where each document starts [documents + 1]


def annealed_bits(
    base: Documents,
    others: Sequence[Documents],
    queries: Queries,
    starts: np.ndarray,
    *,
    tail_tokens: int,
    other_tokens: int,
) -> np.ndarray:
    """Loss of held-out documents after a tail of base text, and after one with some of each other text in it.

    The tail is the last `tail_tokens` of the base, which the base model does not see. Of these, the first stay and the
    last `other_tokens` are replaced; so what is compared differs in these only.

    Args:
        queries: tokens of the held-out documents. starts: where each starts among them [documents + 1].

    Returns:
        bits [1 + others, documents], the control first; end marks left out.
    """
    num_base = len(base[0])
    split, end = num_base - tail_tokens, num_base - other_tokens
    tails = [cut(base, split, num_base)]
    tails += [joined(cut(base, split, end), cut(other, 0, other_tokens)) for other in others]
    return tail_bits(cut(base, 0, split), tails, queries, starts)


def tail_bits(base: Documents, tails: Sequence[Documents], queries: Queries, starts: np.ndarray) -> np.ndarray:
    """Loss of held-out documents after a base and each tail: bits [tails, documents], end marks left out.

    Args:
        queries: tokens of the held-out documents. starts: where each starts among them [documents + 1].
    """
    trained = _log_probabilities(base, queries)
    bits = np.empty((len(tails), len(starts) - 1))
    for k, tail in enumerate(tails):
        mixed = np.logaddexp(np.log1p(-WEIGHT) + trained, np.log(WEIGHT) + _log_probabilities(tail, queries))
        bits[k] = document_bits(mixed, starts)
    return bits


def _log_probabilities(documents: Documents, queries: Queries) -> np.ndarray:
    tokens, starts = documents
    has_end = np.ones(len(starts) - 1, np.bool_)
    has_end[-1] = False  # it may have been cut off
    return score_once(queries, tokens, starts, has_end=has_end)


def cut(documents: Documents, first: int, last: int) -> Documents:
    """Tokens first to last, with the documents that they are of."""
    tokens, starts = documents
    inside = starts[(starts > first) & (starts < last)]
    return tokens[first:last], np.concatenate(([0], inside - first, [last - first]))


def joined(a: Documents, b: Documents) -> Documents:
    """One after the other."""
    return np.concatenate((a[0], b[0])), np.concatenate((a[1], b[1][1:] + a[1][-1]))
