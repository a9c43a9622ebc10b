"""What a language model gives: the log probability of each token of some documents. And the n-gram model as one.

A document is tokens t_1 ... t_n. The first stands after END, which is no token of it; END after the last is not asked
for. Documents are judged each by itself. Where a document is longer than a model's context, it is read in windows that
overlap (`windows`): each token is predicted once, from at least half a context.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

from assay.errors import InvalidParameterError, check_integer
from assay.models.ngram import NGramModel, Order, Queries, check_order, train
from assay.models.tokenizer import BPE

State = Mapping[str, np.ndarray]
_BLOCK_TOKENS = 1 << 19  # that n-grams are asked at a time: keys of every order are in memory for each


class LM(Protocol):
    """A language model that is ready to work."""

    @property
    def vocab_size(self) -> int:
        """Number of ids; END may be one of them."""

    @property
    def context(self) -> int:
        """The most tokens, END among them, that a prediction may go by."""

    @property
    def end_id(self) -> int:
        """What stands before a document."""

    def encode(self, texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Ids of all texts [tokens] and where each text's start [texts + 1] int64; null gives none."""

    def log_probabilities(self, ids: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Natural logarithm of each token's probability given those before it in its document [tokens] float32.

        Which other documents are given makes no difference but rounding; see docs/language-models.md.
        """


@runtime_checkable
class GreedyLM(LM, Protocol):
    """A language model that also tells which tokens greedy decoding would give, and spares those not asked for."""

    def judge(self, ids: np.ndarray, starts: np.ndarray, is_asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`log_probabilities`, and whether no other token is likelier in each one's place [tokens] bool.

        Args:
            is_asked: the tokens that are asked for; of others the answer is 0 and False [tokens].
        """


class NGramLM:
    """The n-gram model over our byte-level BPE; of the same answer to the last digit however documents are cut."""

    def __init__(self, bpe: BPE, model: NGramModel):
        self.bpe, self.model = bpe, model

    @classmethod
    def train(cls, bpe: BPE, texts: pa.Array, order: int) -> "NGramLM":
        """The model of some texts.

        Raises:
            InvalidParameterError: no text, or an order whose contexts do not fit 64 bits.
        """
        return cls(bpe, train(*bpe.encode(texts), vocab_size=bpe.vocab_size, order=order))

    @property
    def vocab_size(self) -> int:
        """Ids of the tokenizer."""
        return self.model.vocab_size

    @property
    def context(self) -> int:
        """One token less than the longest n-gram."""
        return self.model.order - 1

    @property
    def end_id(self) -> int:
        """The end mark; a document's start is told by its own mark."""
        return self.model.vocab_size

    def encode(self, texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Ids [tokens] uint16 and where each text's start [texts + 1] int64."""
        return self.bpe.encode(texts)

    def log_probabilities(self, ids: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Natural logarithm of each token's probability [tokens] float32.

        Raises:
            InvalidParameterError: an id that the model does not have.
        """
        check_ids(ids, self.vocab_size)
        result = np.empty(len(ids), np.float32)
        block = np.cumsum(np.diff(starts)) // _BLOCK_TOKENS
        bounds = np.concatenate(([0], np.flatnonzero(np.diff(block)) + 1, [len(starts) - 1]))
        for first, last in pairwise(bounds.tolist()):
            a, b = starts[first], starts[last]
            own = Queries.of(ids[a:b], starts[first : last + 1] - a, vocab_size=self.vocab_size, order=self.model.order)
            result[a:b] = self.model.log_probabilities(own)
        return result

    def state(self) -> dict[str, np.ndarray]:
        """The model as plain arrays, which `of_state` takes; about 20 bytes a distinct n-gram."""
        arrays = {
            "tokenizer": np.frombuffer(self.bpe.to_json().encode(), np.uint8),
            "discounts": np.array(self.model.discounts),
            "first_words": np.array([orders[0].first_word for orders in self.model.slices]),
        }
        for s, orders in enumerate(self.model.slices):
            for k, order in enumerate(orders):
                arrays |= {f"{name}.{s}.{k}": getattr(order, name) for name in ("keys", "counts", "buckets")}
        return arrays

    @classmethod
    def of_state(cls, state: State) -> "NGramLM":
        """The model that `state` was of."""
        bpe = BPE(state["tokenizer"].tobytes().decode())
        discounts: list[tuple[float, float, float]] = [(a, b, c) for a, b, c in state["discounts"].tolist()]
        slices = [
            tuple(
                Order(state[f"keys.{s}.{k}"], state[f"counts.{s}.{k}"], state[f"buckets.{s}.{k}"], first)
                for k in range(len(discounts))
            )
            for s, first in enumerate(state["first_words"].tolist())
        ]
        return cls(bpe, NGramModel(slices, discounts, bpe.vocab_size))


def check_ngram(vocab_size: int, order: int) -> None:
    """Raises InvalidParameterError unless an n-gram model can have this tokenizer and this order."""
    check_integer("vocab_size", vocab_size, 257, 65_534)
    check_order(order, vocab_size)


def check_ids(ids: np.ndarray, vocab_size: int) -> None:
    """Raises InvalidParameterError unless all ids are of a vocabulary."""
    if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < vocab_size:
        wrong = int(ids.min()) if int(ids.min()) < 0 else int(ids.max())
        raise InvalidParameterError(
            f"`ids` (one is {wrong}) must be from 0 to {vocab_size - 1}, the ids of the model. Encode the texts with "
            "the model's own tokenizer."
        )


class Windows(NamedTuple):
    """What a model with a short context reads, as places in the tokens of all documents.

    A window reads END or a token, then those after it, and predicts each next one.

    first: the first token that it predicts or goes by: input j is token first + j - 1, target j token first + j
        [windows]. starts_document: whether input 0 is END, and no token [windows]. length: inputs, as many as targets
        [windows]. skipped: targets from the start that another window predicts [windows].
    """

    first: np.ndarray
    starts_document: np.ndarray
    length: np.ndarray
    skipped: np.ndarray


def windows(starts: np.ndarray, context: int) -> Windows:
    """The windows of some documents: one each where it fits, else as few as give every token half a context.

    The first window of a document predicts as many tokens as the context has; each further one starts half a context
    later (rounded up) and predicts what the ones before did not.

    Args:
        starts: where each document starts [documents + 1]. context: inputs of a window, at least 2.
    """
    lengths = np.diff(starts)
    step = context - context // 2
    numbers = np.where(lengths > 0, 1 + np.maximum(0, -(-(lengths - context) // step)), 0)
    document = np.repeat(np.arange(len(lengths)), numbers)
    number = np.arange(len(document)) - np.repeat(np.cumsum(numbers) - numbers, numbers)
    offset = number * step
    return Windows(
        starts[document] + offset,
        number == 0,
        np.minimum(context, lengths[document] - offset),
        np.where(number == 0, 0, context - step),
    )


def document_sums(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The sum of each document's values [documents] float64, whatever other documents there are; 0 for an empty one.

    A difference of running sums would have rounding from the documents before it.

    >>> document_sums(np.array([1.0, 2.0, 4.0]), np.array([0, 2, 2, 3])).tolist()
    [3.0, 0.0, 4.0]
    """
    sums = np.zeros(len(starts) - 1)
    full = np.flatnonzero(np.diff(starts))
    if len(full):
        sums[full] = np.add.reduceat(values.astype(np.float64), starts[:-1][full])
    return sums
