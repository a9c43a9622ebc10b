"""Rung 0 of the evidence ladder: an n-gram model trained on exactly an arm's tokens, in seconds on a CPU."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from assay.errors import check_integer
from assay.models.ngram import NGramModel, Queries, check_order, score_once, train
from assay.models.tokenizer import MAX_VOCAB
from assay.proxy.stream import Stream


@dataclass(frozen=True, kw_only=True)
class NGram:
    """Interpolated modified Kneser-Ney over a shared byte-level BPE (`models.ngram`).

    order: longest n-gram.
    vocab_size: ids of the tokenizer, which is trained once on a neutral sample of the pool.
    """

    name: ClassVar[str] = "ngram"
    version: ClassVar[int] = 1
    rung: ClassVar[int] = 0
    max_factor: ClassVar[int] = 64  # of the budget: how much the random arm is trained on at most, for its curve

    order: int = 4
    vocab_size: int = 8192

    def __post_init__(self) -> None:
        check_integer("vocab_size", self.vocab_size, 257, MAX_VOCAB)
        check_order(self.order, self.vocab_size)

    def queries(self, tokens: np.ndarray, starts: np.ndarray, vocab_size: int) -> Queries:
        """Held-out documents made ready for any number of `bits`.

        Args:
            tokens, starts: ids of the documents and where each starts [documents + 1].
            vocab_size: ids that the tokenizer really has.
        """
        return Queries.of(tokens, starts, vocab_size=vocab_size, order=self.order)

    def log_probabilities(self, stream: Stream, queries: Queries) -> np.ndarray:
        """Trains on `stream`; returns the natural log of the probability of each held-out token [tokens].

        Args:
            queries: the held-out documents.
        """
        return score_once(queries, *stream[:2], has_end=stream.has_end)

    def model(self, stream: Stream, vocab_size: int) -> NGramModel:
        """Trains on `stream`, for questions that are not known yet; it is all in memory.

        Args:
            vocab_size: ids that the tokenizer really has.
        """
        return train(*stream[:2], vocab_size=vocab_size, order=self.order, has_end=stream.has_end)

    def parameters(self) -> dict[str, Any]:
        """Name and parameters, as they go into fingerprint and manifest."""
        return {"name": self.name, **asdict(self)}
