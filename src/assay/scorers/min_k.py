"""Min-K% Prob: how likely a model finds the least likely tokens of a document; high where it has read the document.

Paper: Detecting Pretraining Data from Large Language Models, Shi et al. 2024 (arXiv:2310.16789), section 3. Authors'
code: swj0419/detect-pretrain-code at a5048f9. Text that a model has not read holds a few tokens that surprise it; text
that it has read holds fewer. The score is the mean log probability of the share k of tokens with the lowest.

What differs:
- Their code takes int(k n) tokens, which is none of a short text, and the mean of none; here one is the least.
- The sign: ours rises with what was read.
- Without a model it is n-grams of the pool, cross-fitted, which have read no document that they judge: what then
  stands out is text with rare words, and nothing is said of membership.

Whether a model has read something is a question about two sets of documents, one of which it has surely not read, and
`assay.membership` answers it, with an interval and with what a classifier can tell without any model. As a column the
score is for looking: no threshold means anything by itself.

Cost: that of `perplexity`. When not to use: as evidence that a single document was read.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from assay.errors import check_number
from assay.kernels.arrow import masked, utf8
from assay.models.membership import lowest_mean, zlib_bytes
from assay.scorers.base import Column, State
from assay.scorers.ngrams import DIGITS, ByModel, check_model, check_ngrams, judged


@dataclass(frozen=True, kw_only=True)
class MinK(ByModel):
    """Mean log probability of a document's least likely tokens.

    model: the model that may have read the documents, as `Perplexity.model`; None = n-grams of the pool.
    k: share of a document's tokens, those of least probability.
    sample: documents of the pool that the n-grams are counted in. order: longest n-gram. vocab_size: of their tokens.
    """

    name: ClassVar[str] = "min_k"
    version: ClassVar[int] = 1

    model: str | None = None
    k: float = 0.2
    sample: int = 5000
    order: int = 4
    vocab_size: int = 8192

    def __post_init__(self) -> None:
        check_model("model", self.model)
        check_number("k", self.k, "a share above 0, at most 1", lambda k: 0 < k <= 1)
        check_ngrams(self.sample, self.order, self.vocab_size)

    def columns(self, targets: tuple[str, ...]) -> list[Column]:
        """`min_k.log_probability` (the score), and two baselines: `min_k.loss`, `min_k.zlib_ratio`."""
        meaning = "mean log probability of the least likely tokens, nats; high where the model has read the document"
        return [
            Column("min_k.log_probability", pa.float64(), None, meaning),
            Column("min_k.loss", pa.float64(), None, "mean loss of all tokens, nats"),
            Column("min_k.zlib_ratio", pa.float64(), None, "loss of all tokens, in bits, over bits of zlib"),
        ]

    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        """Figures per row, to four digits.

        Raises:
            NotFittedError: `state` is not what `finish` returned.
        """
        found = judged("MinK", self.model, batch, state)
        losses = found.losses()
        bits = losses * found.num_tokens / np.log(2)
        ratio = bits / (8 * zlib_bytes(batch.column("text")))
        lowest = lowest_mean(found.log_probabilities, found.starts, self.k)
        is_valid = utf8(batch.column("text")).is_valid
        return [masked(np.round(values, DIGITS), is_valid) for values in (lowest, losses, ratio)]
