"""Learnability: documents that are hard and yet can be learnt, by a small model's losses early and late.

Papers: A Little Help Goes a Long Way: Efficient LLM Training by Leveraging Small LMs, Rawat et al. 2024
(arXiv:2410.18779), whose SALT_DS has a small model pick sequences that are "challenging yet learnable" for the first
part of a large model's training; the fall of a loss from an early to a late checkpoint as what says that something can
be learnt is that of Mindermann et al. 2022, "Prioritized Training on Points that are Learnable, Worth Learning, and Not
Yet Learnt" (arXiv:2206.07137), with the late checkpoint for their holdout model.

What is easy has a low loss early; noise has a high loss that does not fall. So the score is the fall, and a band of
`learnability.loss` is a matter of `where`: `learnability.loss between 2.5 and 4.5`, say.

What differs: SALT_DS, as remembered (the paper was not at hand), goes by one early checkpoint, and by the losses of
those tokens that are among its likeliest, of which it takes the median; this is another score, by two checkpoints and
without ranks, so that n-grams can do it too. Without `models` both checkpoints are n-grams that have read a sixteenth
and all of a sample (`scorers.checkpoints`). SALT's other half, soft labels of the small model, is `assay.soft_labels`.

Cost: without `models`, 4 s to fit, once, then 3.5 MB/s and core; with them, each of the two reads the pool once. When
not to use: on a pool of many kinds, where what falls most is what it has little of, such as other languages; see
docs/training-dynamics.md.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from assay.kernels.arrow import masked
from assay.scorers.base import Column, Scorer, State
from assay.scorers.checkpoints import RUNGS, Ladder, checked_models, folders, losses_at, model_paths
from assay.scorers.ngrams import DIGITS, check_ngrams, sketch_pool
from assay.scorers.sampling import merge_samples


@dataclass(frozen=True, kw_only=True)
class Learnability(Scorer):
    """How far the loss of each document falls from an early checkpoint of a small model to a late one.

    models: a folder with checkpoints of one run, of which the first and the last are taken, or the two folders, the
        early one first; None = n-grams.
    sample: documents of the pool that n-grams are counted in. order, vocab_size: of the n-grams.
    """

    name: ClassVar[str] = "learnability"
    version: ClassVar[int] = 1
    pool_columns: ClassVar[tuple[str, ...]] = ("id", "text")
    score_columns: ClassVar[tuple[str, ...]] = ("id", "text")
    files: ClassVar[tuple[str, ...]] = ("models",)

    models: str | tuple[str, ...] | None = None
    sample: int = 4000
    order: int = 3
    vocab_size: int = 4096

    def __post_init__(self) -> None:
        object.__setattr__(self, "models", checked_models(self.models))
        check_ngrams(self.sample, self.order, self.vocab_size)

    @property
    def reads_pool(self) -> bool:  # type: ignore[override]
        """Only where n-grams take the place of models."""
        return self.models is None

    def paths(self) -> dict[str, Any]:
        """The folders of the checkpoints, in their order."""
        return model_paths(self.models)

    def columns(self, targets: tuple[str, ...]) -> list[Column]:
        """`learnability.drop` (the score), `.loss`, `.early`."""
        return [
            Column("learnability.drop", pa.float64(), True, "early loss minus late loss, nats a token"),
            Column("learnability.loss", pa.float64(), None, "mean loss of its tokens at the late checkpoint, nats"),
            Column("learnability.early", pa.float64(), None, "the same at the early checkpoint"),
        ]

    def sketch_pool(self, batch: pa.RecordBatch, prepared: State) -> State:
        """What may be in the sample."""
        return sketch_pool(batch, prepared, self.sample)

    def merge(self, a: State, b: State) -> State:
        """The documents of both."""
        return merge_samples(a, b) if a else {}

    def finish(self, prepared: State, pool: State) -> State:
        """The n-gram models; nothing where there are models from folders.

        Raises:
            InvalidParameterError: too few documents with text.
        """
        if self.models is not None:
            return {}
        return Ladder.fit(pool, self.sample, self.order, self.vocab_size, (RUNGS[0], RUNGS[-1])).state()

    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        """Drop, late and early loss per row, to four digits; null for a document without tokens.

        Raises:
            NotFittedError: `state` is not what `finish` returned.
        """
        ends = None
        if self.models is not None:
            found = folders(self.models)
            ends = (found[0], found[-1])
        losses = np.round(losses_at("Learnability", ends, batch, state), DIGITS)
        early, late = losses[:, 0], losses[:, -1]
        is_known = ~np.isnan(early)
        return [masked(values, is_known) for values in (np.round(early - late, DIGITS), late, early)]
