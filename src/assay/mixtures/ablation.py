"""Which mixtures to train to see what one source is worth: all but it, and ever more of it.

The protocol is that of A Pretrainer's Guide to Training Data (Longpre et al. 2023, arXiv:2305.13169), one thing changed
at a time at equal tokens, and of Does your data spark joy? (Blakeney et al. 2024, arXiv:2406.03476), which reruns only
the end of training. The worth of a source d is loss(without d) - loss(all): above 0 it helps. What d leaves goes to
the others in proportion to their weights.

It is the worth of d *beside the others*: of two sources that say the same neither is worth anything, as each stands in
for the other. And it is a worth at these weights and tokens; the curve over shares shows where it bends.
"""

from typing import NamedTuple

import numpy as np

from assay.errors import check
from assay.mixtures.runs import Runs

_SAME = 1e-3  # weights of runs that differ by no more are the same mixture


class Repeats(NamedTuple):
    """Losses of runs of one mixture: `source` left out, None = none left out; losses [runs]."""

    source: str | None
    losses: np.ndarray


def without_each(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mixtures without each source that is in it.

    Args:
        weights: of the sources [sources], at least 0.

    Returns:
        (which source is left out [ablated] int64, mixtures [ablated, sources], rows sum to 1).

    Raises:
        InvalidParameterError: fewer than two sources have a weight.

    >>> without_each(np.array([0.5, 0.3, 0.2]))[1].round(3).tolist()
    [[0.0, 0.6, 0.4], [0.714, 0.0, 0.286], [0.625, 0.375, 0.0]]
    """
    _check_weights(weights)
    which = np.flatnonzero(weights)
    left = np.tile(weights, (len(which), 1)).astype(np.float64)
    left[np.arange(len(which)), which] = 0
    return which, left / left.sum(axis=1, keepdims=True)


def with_share(weights: np.ndarray, source: int, shares: np.ndarray) -> np.ndarray:
    """The mixtures with so much of one source, the others in proportion to their weights [shares, sources].

    Args:
        weights: of the sources [sources]. source: which. shares: of it, 0 to 1 [shares].

    Raises:
        InvalidParameterError: shares outside 0 to 1, or no other source with a weight.
    """
    _check_weights(weights)
    check(bool(((shares >= 0) & (shares <= 1)).all()), "shares", shares.tolist(), "shares from 0 to 1")
    others = np.where(np.arange(len(weights)) == source, 0.0, weights)
    mixtures = (1 - shares)[:, None] * others / others.sum()
    mixtures[:, source] = shares
    return mixtures


def repeats_of(runs: Runs, weights: np.ndarray, metric: str | None = None) -> list[Repeats]:
    """Runs of a mixture and of the same without each source, out of a table; the whole one first.

    Args:
        weights: of the mixture [sources]. metric: default the mean of all.

    Returns:
        sources of which the table has no run without them are not there.

    Raises:
        InvalidParameterError: the table has no run of the mixture, or none without a source.
    """
    weights = np.asarray(weights, np.float64)
    check(weights.shape == (len(runs.sources),), "weights", weights.shape, f"a weight for each of {len(runs.sources)}")
    losses = runs.loss(metric)
    which, left = without_each(weights)
    mixtures = np.concatenate(((weights / weights.sum())[None], left))
    nearest = _nearest(runs, mixtures)
    whole = losses[nearest == 0]
    way_out = "Train them: `without_each` says which."
    check(len(whole) > 0, "runs", "none of the mixture", "at least one of the mixture itself", way_out)
    found = [Repeats(None, whole)]
    for number, source in enumerate(which, 1):
        if (nearest == number).any():
            found.append(Repeats(runs.sources[source], losses[nearest == number]))
    check(len(found) > 1, "runs", "none without a source", "at least one of the mixture without a source", way_out)
    return found


def _nearest(runs: Runs, mixtures: np.ndarray) -> np.ndarray:
    """Which mixture each run is of, the nearest since some differ by little; -1 for none of them [runs]."""
    distances = np.stack([np.abs(runs.weights - mixture).max(axis=1) for mixture in mixtures])
    return np.where(distances.min(axis=0) <= _SAME, distances.argmin(axis=0), -1)


def _check_weights(weights: np.ndarray) -> None:
    ok = weights.ndim == 1 and np.isfinite(weights).all() and (weights >= 0).all() and np.count_nonzero(weights) >= 2
    check(bool(ok), "weights", weights.tolist(), "at least 0, and above it for two sources or more")
