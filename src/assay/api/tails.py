"""`ablate_tail`: what each source is worth at the end of training, by rerunning the end without it.

Paper: Does your data spark joy? Performance gains from domain upsampling at the end of training, Blakeney et al. 2024
(arXiv:2406.03476). The last 10 to 20 % of training read more of small good sets and less of the web; and to see which
set does it, that end alone is run again without each, at as many tokens.

What differs: an n-gram model knows no order, so the end is a model of its own, mixed half and half with that of all
before it (`proxy.annealing`); it is the same stand-in by which seeds are verified. The gain is in bits per byte of
held-out text, not in answers to benchmarks. All mixtures of the end share a base, which is trained once for each seed.

When not to use: for how long the end should be, since a half is a half however many tokens it has read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from assay.api.ablating import Ablation, ablation_of
from assay.api.simulated import Heldout
from assay.comparison.statistics import Interval, Losses, effect
from assay.errors import InvalidParameterError, check, check_number
from assay.mixtures.ablation import without_each
from assay.proxy.annealing import Documents, cut, joined, tail_bits

SHARE = 0.15  # of all tokens; the paper finds 10 to 20 % best


@dataclass(frozen=True, kw_only=True)
class TailAblation:
    """What an end of training is worth, and each source in it; prints as a table.

    gained: bits per byte that the end saves against going on with the base mixture. without: what each source adds.
    """

    gained: Interval
    without: Ablation

    def __str__(self) -> str:
        gain = self.gained
        first = f"the end saves {gain.estimate:.4f} ({gain.low:.4f} to {gain.high:.4f}) bits per byte"
        return f"{first}\n{self.without}"


def ablate_tail(
    draws: Sequence[Sequence[Documents]],
    heldout: Heldout,
    *,
    sources: Sequence[str],
    base: np.ndarray,
    tail: np.ndarray,
    tokens: int,
    share: float = SHARE,
) -> TailAblation:
    """Trains a base, then ends by the base mixture, by the tail's, and by the tail's without each source.

    Args:
        draws: for each seed, two or more, the documents of each source in the order in which they are read, such as
            `Simulation.documents()`; the end goes on where the base stopped, and from the first document again where a
            source runs out.
        heldout: what all are tested on, such as `Simulation.heldout()`.
        sources: names. base, tail: weights of each source before and at the end [sources].
        tokens: in all. share: of them, at the end.

    Raises:
        InvalidParameterError: fewer than two seeds, weights that do not fit, fewer than two sources in the tail.
    """
    check(len(draws) >= 2, "draws", len(draws), "two or more, one for each seed")
    check_number("tokens", tokens, "a number of at least 100", lambda x: x >= 100)
    check_number("share", share, "a share above 0 and below 1", lambda x: 0 < x < 1)
    base, tail = np.asarray(base, np.float64), np.asarray(tail, np.float64)
    for name, weights in (("base", base), ("tail", tail)):
        ok = weights.shape == (len(sources),) and np.isfinite(weights).all() and (weights >= 0).all() and weights.any()
        check(bool(ok), name, weights.tolist(), f"a weight of at least 0 for each of {len(sources)} sources, not all 0")
    for documents in draws:
        check(len(documents) == len(sources), "draws", len(documents), f"documents of each of {len(sources)} sources")
    which, left = without_each(tail)
    num_end = max(1, round(tokens * share))
    first = apportion(int(tokens) - num_end, base)
    ends = np.array([apportion(num_end, row) for row in (base, tail, *left)])
    bits = np.stack([_bits(documents, first, ends, heldout) for documents in draws], axis=1)
    losses = Losses(bits=bits, sizes=heldout.sizes, groups=heldout.groups)
    gained = effect(losses.bits_per_byte().mean(axis=1), losses.replicates(), 1, 0)
    available = np.min([[len(ids) for ids, _ in documents] for documents in draws], axis=0)
    epochs = np.maximum(((first + ends[1:]) / available).max(axis=1), 1.0)
    inner = Losses(bits=bits[1:], sizes=heldout.sizes, groups=heldout.groups)
    return TailAblation(gained=gained, without=ablation_of([sources[k] for k in which], inner, epochs))


def apportion(total: int, weights: np.ndarray) -> np.ndarray:
    """Whole numbers in proportion to weights that sum to a total [sources] int64, by largest remainders.

    >>> apportion(10, np.array([1.0, 1.0, 1.0])).tolist()
    [4, 3, 3]
    """
    fair = total * weights / weights.sum()
    given: np.ndarray = np.floor(fair).astype(np.int64)
    given[np.argsort(given - fair, kind="stable")[: total - int(given.sum())]] += 1
    return given


def _bits(documents: Sequence[Documents], first: np.ndarray, ends: np.ndarray, heldout: Heldout) -> np.ndarray:
    """Of one seed: bits after each end [ends, documents]."""
    begin = [_read(d, 0, n) for d, n in zip(documents, first, strict=True) if n]
    if not begin:
        raise InvalidParameterError("No tokens are left before the end. Lower `share`, or raise `tokens`.")
    tails = [[_read(d, f, n) for d, f, n in zip(documents, first, end, strict=True) if n] for end in ends]
    return tail_bits(reduce(joined, begin), [reduce(joined, tail) for tail in tails], heldout.queries, heldout.starts)


def _read(documents: Documents, first: int, number: int) -> Documents:
    """So many tokens from the first on, beginning again after the last."""
    size = len(documents[0])
    if size == 0:
        raise InvalidParameterError("A source with a weight has no tokens. Give it a weight of 0, or documents.")
    pieces = []
    at = int(first) % size
    while number > 0:
        pieces.append(cut(documents, at, min(size, at + int(number))))
        number -= len(pieces[-1][0])
        at = 0
    return reduce(joined, pieces)
