"""Perplexity: how hard a language model finds a document.

Papers: CCNet, Wenzek et al. 2020 (arXiv:1911.00359), section 3.3: a 5-gram Kneser-Ney model of Wikipedia cuts a crawl
into head, middle and tail. Marion et al. 2023, "When Less is More" (arXiv:2309.04564), as remembered: under a neural
model the middle band is the one to keep. The figure itself is the loss: bits for each byte of text, in which models
with other tokenizers can be compared, and nats for each token; perplexity is exp of the latter.

What differs: the default model is n-grams of the pool, cross-fitted (`scorers.ngrams`), and of no outside text, so it
says what is usual in the pool, not what is well written. Which end is better is disputed (docs/language-models.md), so
neither is: a band is a matter of `where`.

Cost: n-grams: 3 seconds to fit, once, whatever the size of the pool; then 3 MB/s and core. A neural model: see
docs/language-models.md. When not to use: on a pool with many copies, whose every document looks easy; with a model
that has seen the pool.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from assay.kernels.arrow import masked, utf8
from assay.scorers.base import Column, Scorer, State
from assay.scorers.ngrams import DIGITS, ByModel, check_model, check_ngrams, judged

_BINS = 3201
_SHARES = (0.1, 1 / 3, 0.5, 2 / 3, 0.9)


@dataclass(frozen=True, kw_only=True)
class Perplexity(ByModel):
    """Loss of each document under a language model.

    model: a folder with a checkpoint of ours, or a causal language model of transformers; None = n-grams of the pool.
    sample: documents of the pool that the n-grams are counted in. order: longest n-gram. vocab_size: of their tokens.
    """

    name: ClassVar[str] = "perplexity"
    version: ClassVar[int] = 1

    model: str | None = None
    sample: int = 5000
    order: int = 4
    vocab_size: int = 8192

    def __post_init__(self) -> None:
        check_model("model", self.model)
        check_ngrams(self.sample, self.order, self.vocab_size)

    def columns(self, targets: tuple[str, ...]) -> list[Column]:
        """`perplexity.bits_per_byte`, `perplexity.loss`, `perplexity.tokens`."""
        return [
            Column("perplexity.bits_per_byte", pa.float64(), None, "bits for each byte of text; null without text"),
            Column("perplexity.loss", pa.float64(), None, "nats for each token; perplexity is exp of it"),
            Column("perplexity.tokens", pa.int64(), None, "tokens of the model"),
        ]

    def merge(self, a: State, b: State) -> State:
        """The documents of both; counts are added."""
        return Scorer.merge(self, a, b) if "counts" in a else super().merge(a, b)

    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        """Losses per row, to four digits.

        Raises:
            NotFittedError: `state` is not what `finish` returned.
        """
        text = utf8(batch.column("text"))
        found = judged("Perplexity", self.model, batch, state)
        losses, num_bytes = found.losses(), np.diff(text.offsets)
        with np.errstate(invalid="ignore"):
            bits = losses * found.num_tokens / np.log(2) / num_bytes
        figures = (np.round(bits, DIGITS), np.round(losses, DIGITS), found.num_tokens)
        return [masked(values, text.is_valid) for values in figures]

    def summarise(self, columns: Mapping[str, pa.Array]) -> State:
        """Documents of one part by hundredths of a bit, from 0 to 32 and more."""
        bits = columns["perplexity.bits_per_byte"].drop_null().to_numpy(zero_copy_only=False)
        bins = np.clip(np.round(bits * 100), 0, _BINS - 1).astype(np.int64)
        return {"counts": np.bincount(bins, minlength=_BINS)}

    def summary(self, total: State) -> dict[str, Any]:
        """`bits_per_byte`: below what it is for a tenth, a third, a half ... of the documents; for bands."""
        reached = np.cumsum(total["counts"])
        if not reached[-1]:
            return {}
        places = np.searchsorted(reached, np.array(_SHARES) * reached[-1])
        return {"bits_per_byte": dict(zip(map("{:.0%}".format, _SHARES), (places / 100).tolist(), strict=True))}
