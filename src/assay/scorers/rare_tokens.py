"""Rare tokens: how much of a document is words that the pool seldom has.

Paper: Understanding In-Context Learning via Supportive Pretraining Data, Han et al. 2023 (arXiv:2306.15091), section 4:
the documents whose gradients support in-context learning hold more tokens of the long tail than others, while they are
no nearer to the tasks. Only what they found is taken from the paper, where it describes a small set of documents; that
choosing by it helps is for you to find out.

What differs: the paper compares whole sets by Zipf's coefficient. Here the tail is the rarest tokens of a sample of the
pool, as many as make up `tail` of its tokens, and a document's score is the share of its tokens that lie there.

Cost: 3 seconds to learn the tokenizer and count, once; then 30 MB/s and core. State: a flag for each token. When not to
use: before text in other languages, encodings and formats has been taken out: nothing is as rare as rubbish.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from assay.errors import NotFittedError, check_integer, check_number
from assay.kernels.arrow import masked, utf8
from assay.models.tokenizer import BPE
from assay.scorers.base import Column, Scorer, State
from assay.scorers.ngrams import DIGITS, learn_tokenizer, mean, sketch_pool
from assay.scorers.sampling import merge_samples, sampled


@dataclass(frozen=True, kw_only=True)
class RareTokens(Scorer):
    """Share of a document's tokens that are of the long tail of the pool's.

    tail: share of the pool's tokens that the tail makes up.
    vocab_size: of the tokenizer, which is learnt from the sample.
    sample: documents of the pool that tokens are counted in.
    """

    name: ClassVar[str] = "rare_tokens"
    version: ClassVar[int] = 1
    reads_pool: ClassVar[bool] = True
    pool_columns: ClassVar[tuple[str, ...]] = ("id", "text")

    tail: float = 0.1
    vocab_size: int = 32_768
    sample: int = 5000

    def __post_init__(self) -> None:
        check_number("tail", self.tail, "a share above 0 and below 1", lambda tail: 0 < tail < 1)
        check_integer("vocab_size", self.vocab_size, 257, 65_534)
        check_integer("sample", self.sample, 1, 10_000_000)

    def columns(self, targets: tuple[str, ...]) -> list[Column]:
        """`rare_tokens.share` alone."""
        return [Column("rare_tokens.share", pa.float64(), True, "share of tokens in the long tail; null without text")]

    def sketch_pool(self, batch: pa.RecordBatch, prepared: State) -> State:
        """What may be in the sample."""
        return sketch_pool(batch, prepared, self.sample)

    def merge(self, a: State, b: State) -> State:
        """The documents of both."""
        return merge_samples(a, b) if a else {}

    def finish(self, prepared: State, pool: State) -> State:
        """`tokenizer` [bytes], `is_rare` [ids], and what share of the sample's tokens that is.

        Raises:
            InvalidParameterError: no document of the pool has text.
        """
        texts = sampled(pool, self.sample).column("text")
        bpe = learn_tokenizer(texts, self.vocab_size)
        counts = np.bincount(bpe.encode(texts)[0], minlength=bpe.vocab_size)
        is_rare = tail_of(counts, self.tail)
        share = counts[is_rare].sum() / max(1, counts.sum())
        tokenizer = np.frombuffer(bpe.to_json().encode(), np.uint8)
        return {"tokenizer": tokenizer, "is_rare": is_rare, "share": np.array([share])}

    def fit_summary(self, state: State) -> dict[str, Any]:
        """`rare_ids`, how many ids the tail has, and `share` of the sample's tokens that are of these."""
        return {"rare_ids": int(state["is_rare"].sum()), "share": float(state["share"][0])}

    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        """Shares per row.

        Raises:
            NotFittedError: `state` is not what `finish` returned.
        """
        if "is_rare" not in state:
            raise NotFittedError("RareTokens has not been fitted; `assay.score(corpus, RareTokens())` fits and scores.")
        bpe = BPE(state["tokenizer"].tobytes().decode())
        ids, starts = bpe.encode(batch.column("text"))
        share = mean(state["is_rare"][ids].astype(np.float64), starts)
        return [masked(np.round(share, DIGITS), utf8(batch.column("text")).is_valid)]


def tail_of(counts: np.ndarray, share: float) -> np.ndarray:
    """Which ids are of the tail [ids] bool: the rarest, all of a count together, with at most `share` of all tokens.

    >>> tail_of(np.array([60, 20, 5, 5, 10, 0]), 0.1).tolist()
    [False, False, True, True, False, True]
    """
    by_count = np.bincount(counts, weights=counts)  # tokens of ids with each count
    allowed = np.cumsum(by_count) <= share * counts.sum()
    return allowed[counts]
