"""Has a model read these documents? Scores that tell members from others, and how well they do so.

Scores, each rising with what was read: Min-K% (Shi et al. 2024, arXiv:2310.16789), and the baselines of that paper: the
loss; the loss over the size that zlib packs the text to, and the loss of the text in lower case over that of the text
(Carlini et al. 2021, arXiv:2012.07805); the loss under a reference model, which has not read it, minus the loss. Over
zlib's size stands the loss of the whole text, where the authors' code has the mean of its tokens, which falls with the
text's length; a reference model's loss is that of the whole text over the model's tokens, as its own may be others.

Beside them stands what needs no model at all: a classifier of words that is taught on some of both sets and judges the
rest. Sets that differ in date or source are told apart by it too (Duan et al. 2024, arXiv:2402.07841), and then nothing
that a score says of them is about reading.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from assay.errors import InvalidParameterError, check
from assay.kernels.arrow import utf8
from assay.models.linear import BINARY, features
from assay.models.linear_fit import fit
from assay.models.lm import LM, document_sums

SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
_FOLDS = 5
_NUM_BUCKETS = 1 << 16  # of the blind classifier
_LEAST = 2 * _FOLDS  # documents of each set
_CONFIDENCE = 1.959964  # standard errors to either side, for 95 %
_FALSE_ALARMS = 0.05


class Telling(NamedTuple):
    """How well a score tells members from others.

    auc: chance that a member has the higher score, 0.5 for a score that knows nothing; low, high: 95 % interval.
    found: share of members above all but 5 % of the others (TPR at 5 % FPR).
    """

    method: str
    auc: float
    low: float
    high: float
    found: float


@dataclass(frozen=True)
class Membership:
    """Every score's figures; `blind` is the classifier's, which knows no model."""

    scores: tuple[Telling, ...]
    blind: Telling
    num_members: int
    num_others: int

    def __str__(self) -> str:
        heading = f"{'score':<14}{'AUC':>7}   95 % interval   found at 5 % false alarms"
        rows = [
            f"{t.method:<14}{t.auc:>7.3f}   {t.low:.3f} to {t.high:.3f}  {t.found:>6.1%}"
            for t in (*self.scores, self.blind)
        ]
        return "\n".join([f"{self.num_members} members, {self.num_others} others", heading, *rows])


def tell_apart(
    members: pa.Array, others: pa.Array, lm: LM, reference: LM | None = None, shares: Sequence[float] = SHARES
) -> Membership:
    """How well each score tells two sets of texts apart.

    Args:
        members: texts that the model may have read; others: such that it has surely not read. Those without tokens
            are left out. reference: a model that has read neither. shares: of Min-K%.

    Raises:
        InvalidParameterError: fewer than ten documents in a set, or a share outside (0, 1].
    """
    for share in shares:
        check(0 < share <= 1, "shares", list(shares), "shares above 0, at most 1")
    texts = pa.concat_arrays([array.cast(pa.large_string()) for array in (members, others)])
    is_member = np.arange(len(texts)) < len(members)
    ids, starts = lm.encode(texts)
    has_tokens = np.diff(starts) > 0
    for name, is_in in (("members", is_member), ("non_members", ~is_member)):
        number = int(np.count_nonzero(is_in & has_tokens))
        check(number >= _LEAST, name, number, f"at least {_LEAST} documents with text")
    texts, is_member = texts.filter(pa.array(has_tokens)), is_member[has_tokens]
    starts = np.concatenate(([0], starts[1:][has_tokens]))
    found = _scores(texts, lm, ids, starts, reference, shares)
    told = tuple(telling(name, values[is_member], values[~is_member]) for name, values in found.items())
    blind = blindly(texts, is_member)
    number = int(is_member.sum())
    return Membership(told, telling("blind", blind[is_member], blind[~is_member]), number, len(texts) - number)


def _scores(
    texts: pa.Array, lm: LM, ids: np.ndarray, starts: np.ndarray, reference: LM | None, shares: Sequence[float]
) -> dict[str, np.ndarray]:
    """Every score of every document, rising with what was read."""
    log_probabilities = lm.log_probabilities(ids, starts)
    loss = -document_sums(log_probabilities, starts) / np.diff(starts)
    found = {f"min-k {share:.0%}": lowest_mean(log_probabilities, starts, share) for share in shares}
    found["loss"] = -loss
    found["zlib"] = -loss * np.diff(starts) / zlib_bytes(texts)
    lowered = pa.array([text.lower() for text in texts.to_pylist()], pa.large_string())
    found["lower case"] = _losses(lm, lowered) / np.maximum(loss, 1e-9)
    if reference is not None:
        ids, own = reference.encode(texts)  # a total for each of the model's tokens: its own may be others
        found["reference"] = -document_sums(reference.log_probabilities(ids, own), own) / np.diff(starts) - loss
    return found


def _losses(lm: LM, texts: pa.Array) -> np.ndarray:
    ids, starts = lm.encode(texts)
    return -document_sums(lm.log_probabilities(ids, starts), starts) / np.maximum(1, np.diff(starts))


def lowest_mean(log_probabilities: np.ndarray, starts: np.ndarray, share: float) -> np.ndarray:
    """Mean of each document's int(share × tokens) least values, at least one [documents]; NaN without tokens.

    >>> lowest_mean(np.array([-1.0, -5.0, -2.0, -4.0, -3.0]), np.array([0, 4, 4, 5]), 0.5).tolist()
    [-4.5, nan, -3.0]
    """
    lengths = np.diff(starts)
    document = np.repeat(np.arange(len(lengths)), lengths)
    ascending = log_probabilities[np.lexsort((log_probabilities, document))]
    place = np.arange(len(document)) - np.repeat(starts[:-1], lengths)
    taken = np.maximum(1, (share * lengths).astype(np.int64))
    is_taken = place < np.repeat(taken, lengths)
    sums = document_sums(np.where(is_taken, ascending, 0.0), starts)
    return np.where(lengths > 0, sums / taken, np.nan)


def zlib_bytes(texts: pa.Array) -> np.ndarray:
    """Bytes of each text as zlib packs it at its default level [texts]; those of an empty one for null."""
    text = utf8(texts)
    bounds = text.offsets.tolist()
    return np.array([len(zlib.compress(text.data[a:b].tobytes())) for a, b in pairwise(bounds)], np.float64)


def telling(method: str, members: np.ndarray, others: np.ndarray) -> Telling:
    """The figures of a score; ties count half.

    The interval is DeLong's (1988, Biometrics 44), which is that of a mean of ranks on both sides. Where no pair is the
    wrong way round it has no width; then the end is where as many pairs as the smaller set is large would all be right
    in one case of forty.
    """
    above = _share_below(members, others)  # of others below each member
    below = 1 - _share_below(others, members)  # of members above each of the others
    auc = float(above.mean())
    error = (above.var(ddof=1) / len(members) + below.var(ddof=1) / len(others)) ** 0.5
    low, high = max(0.0, auc - _CONFIDENCE * error), min(1.0, auc + _CONFIDENCE * error)
    if auc in (0.0, 1.0):
        bound = 0.025 ** (1 / min(len(members), len(others)))
        low, high = (bound, 1.0) if auc else (0.0, 1 - bound)
    allowed = np.sort(others)[::-1][int(_FALSE_ALARMS * len(others))]
    return Telling(method, auc, float(low), float(high), float((members > allowed).mean()))


def _share_below(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Share of `among` that lies below each value, equal ones half [values]."""
    ordered = np.sort(among)
    first, last = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    return (first + last) / 2 / len(among)


def blindly(texts: pa.Array, is_member: np.ndarray) -> np.ndarray:
    """Log odds of being a member [texts], of a classifier of words that has not been taught on the document.

    Five folds, each with its share of both sets; copies of a text are of one fold, so that none is recognised.
    """
    _, distinct = np.unique(np.array(texts.to_pylist(), object), return_inverse=True)
    order = np.lexsort((np.random.default_rng(0).permutation(int(distinct.max()) + 1)[distinct], is_member))
    fold = np.empty(len(texts), np.int64)
    first_of = np.zeros(int(distinct.max()) + 1, np.int64) - 1
    for place, row in enumerate(order):
        if first_of[distinct[row]] < 0:
            first_of[distinct[row]] = place % _FOLDS
        fold[row] = first_of[distinct[row]]
    result = np.empty(len(texts))
    for k in range(_FOLDS):
        taught, asked = (texts.filter(pa.array(some)) for some in (fold != k, fold == k))
        labels = is_member[fold != k].astype(np.float64)
        if len(np.unique(labels)) < 2:
            raise InvalidParameterError("`members` and `non_members` are copies of a few texts; give more of each.")
        model, _ = fit(features(taught, num_buckets=_NUM_BUCKETS), labels, kind=BINARY)
        if len(asked):
            result[fold == k] = model.predict(asked)
    return result
