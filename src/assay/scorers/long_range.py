"""Long range: how much easier a document gets for a model that may look far back.

Paper: Understanding In-Context Learning via Supportive Pretraining Data, Han et al. 2023 (arXiv:2306.15091), section 4:
information gain of a long context over a short one, on the same later tokens. In documents that support in-context
learning what lies far back is harder to use than in others, which we read as a *lower* gain; the paper's formula was
not at hand. Others want documents that gain more, since they are whole and of one piece. So neither end is better, and
a comparison decides.

The gain is the mean of ln p(token | long context) - ln p(token | short context) over the tokens after the first
`short`. The short context is half of `short` to all of it, from windows that overlap; the long one is the document from
its start, or at least half the model's context.

Without a model: n-grams of the pool, cross-fitted (`scorers.ngrams`), to which the words of the document itself give
a tenth of the probability (a cache, Kuhn and De Mori 1990): of all that stand before a word, or of the last `short`. It
knows that words come back and nothing else of what models do with a long context.

Cost: with a model three times that of `perplexity`; with n-grams 2 MB/s and core. When not to use: on documents that
are hardly longer than `short` tokens; those that are not longer have no score.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from assay.errors import check, check_integer
from assay.kernels.arrow import masked, utf8
from assay.models.lm import LM, windows
from assay.scorers.base import Column, State
from assay.scorers.ngrams import (
    DIGITS,
    ByModel,
    check_model,
    check_ngrams,
    judged,
    judged_by,
    mean,
    model_of,
)

_CACHE = 0.1  # share of the document's own words in the default model


@dataclass(frozen=True, kw_only=True)
class LongRange(ByModel):
    """What a long context tells of a document's later tokens that a short one does not.

    model: as `Perplexity.model`; None = n-grams of the pool with the words of the document itself.
    short: tokens of the short context.
    sample: documents of the pool that the n-grams are counted in. order: longest n-gram. vocab_size: of their tokens.
    """

    name: ClassVar[str] = "long_range"
    version: ClassVar[int] = 1

    model: str | None = None
    short: int = 128
    sample: int = 5000
    order: int = 3
    vocab_size: int = 8192

    def __post_init__(self) -> None:
        check_model("model", self.model)
        check_integer("short", self.short, 2, 1 << 20)
        check_ngrams(self.sample, self.order, self.vocab_size)

    def columns(self, targets: tuple[str, ...]) -> list[Column]:
        """`long_range.gain` (the score), `long_range.loss` and `long_range.tokens`."""
        return [
            Column("long_range.gain", pa.float64(), None, "loss with the short context minus that with the long, nats"),
            Column("long_range.loss", pa.float64(), None, "loss of the same tokens with the long context, nats"),
            Column("long_range.tokens", pa.int64(), None, "tokens that are compared: those after the first `short`"),
        ]

    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        """Gains per row, to four digits; null where no token comes after the first `short`.

        Raises:
            NotFittedError: `state` is not what `finish` returned.
            InvalidParameterError: the model's context is less than twice the short one.
        """
        if self.model is None:
            found = judged("LongRange", None, batch, state)
            starts = found.starts
            far, near = (
                with_cache(found.log_probabilities, found.ids, starts, window) for window in (None, self.short)
            )
        else:
            lm = model_of(self.model)
            longest = f"at most half the model's context (={lm.context})"  # which is the least of a long one
            is_shorter = self.short <= lm.context // 2
            check(is_shorter, "short", self.short, longest, "Take a model that reads more, or less of it.")
            found = judged_by(lm, batch)
            starts, far = found.starts, found.log_probabilities
            near = with_short_context(lm, found.ids, starts, self.short)
        place = np.arange(len(far)) - np.repeat(starts[:-1], np.diff(starts))
        is_later = place >= self.short
        later = np.concatenate(([0], np.cumsum(is_later)))[starts]
        is_valid = utf8(batch.column("text")).is_valid
        figures = (mean((far - near)[is_later], later), mean(-far[is_later], later))
        return [*(masked(np.round(values, DIGITS), is_valid) for values in figures), masked(np.diff(later), is_valid)]


def with_short_context(lm: LM, ids: np.ndarray, starts: np.ndarray, short: int) -> np.ndarray:
    """Log probability of each token given END and those before it in a window of `short` tokens [tokens] float32.

    Each token but the first of a document's has at least half as many before it.
    """
    cut = windows(starts, short)
    bounds = np.concatenate(([0], np.cumsum(cut.length)))
    place = np.arange(bounds[-1]) - np.repeat(bounds[:-1], cut.length)
    tokens = np.repeat(cut.first, cut.length) + place
    found = lm.log_probabilities(ids[tokens], bounds)
    is_asked = place >= np.repeat(cut.skipped, cut.length)
    result = np.empty(len(ids), np.float32)
    result[tokens[is_asked]] = found[is_asked]
    return result


def with_cache(log_probabilities: np.ndarray, ids: np.ndarray, starts: np.ndarray, window: int | None) -> np.ndarray:
    """Log probabilities mixed with the share of each token among those before it in its document [tokens].

    Args:
        log_probabilities: of a model without a cache [tokens]. window: of how many before it; None = all.
    """
    place = np.arange(len(ids)) - np.repeat(starts[:-1], np.diff(starts))
    read = place if window is None else np.minimum(place, window)
    document = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    order = np.lexsort((place, ids, document))  # tokens of a document that are equal, side by side, as they stand
    where = place[order]
    is_first = np.ones(len(ids), np.bool_)
    is_first[1:] = (np.diff(document[order]) != 0) | (np.diff(ids[order].astype(np.int64)) != 0)
    group = np.cumsum(is_first) - 1
    rank = np.arange(len(ids))
    length = int(place.max()) + 1 if len(ids) else 1
    keys = group * (2 * length) + where  # rising; a window's start is looked up among those of the same group
    oldest = np.searchsorted(keys, group * (2 * length) + np.maximum(0, where - read[order]))
    counts = np.empty(len(ids))
    counts[order] = rank - oldest
    own = counts / np.maximum(1, read)
    share = np.where(read > 0, _CACHE, 0.0)
    with np.errstate(divide="ignore"):
        result: np.ndarray = np.log((1 - share) * np.exp(log_probabilities.astype(np.float64)) + share * own)
    return result
