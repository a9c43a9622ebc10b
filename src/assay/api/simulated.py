"""What loops over training need of a simulation, and what they all ask of it."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from assay.errors import InvalidParameterError, check, check_choice, check_number
from assay.models.ngram import Queries

_OWN = "source:"  # metrics of a source's own held-out text begin so; they are no targets


class Heldout(NamedTuple):
    """What is tested on.

    queries: all tokens. starts: where each document starts [documents + 1]. sizes: UTF-8 bytes [documents].
    groups: target of each document [documents], from 0 on.
    """

    queries: Queries
    starts: np.ndarray
    sizes: np.ndarray
    groups: np.ndarray


class Simulated(Protocol):
    """What is trained and tested here, by the tokens that it reads of each source: a `Simulation`."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Names."""
        ...

    @property
    def available(self) -> np.ndarray:
        """Tokens that there are of each source [sources]; what is read beyond them is read again."""
        ...

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of targets, and "source:<name>" for held-out text of a source."""
        ...

    @property
    def groups(self) -> np.ndarray:
        """Metric that each held-out document belongs to [documents]."""
        ...

    @property
    def sizes(self) -> np.ndarray:
        """UTF-8 bytes of each held-out document [documents]."""
        ...

    def bits(self, tokens: np.ndarray) -> np.ndarray:
        """Bits of each held-out document after so many tokens of each source [mixtures, documents]."""
        ...


def weights_of(simulation: Simulated, weights: np.ndarray | None) -> np.ndarray:
    """Weights that sum to 1 [sources]; None = in proportion to what there is of each source.

    Raises:
        InvalidParameterError: another number of weights, or weights below 0, or all 0.
    """
    given = simulation.available if weights is None else np.asarray(weights, np.float64)
    num = len(simulation.sources)
    check(given.shape == (num,), "weights", given.shape, f"a weight for each of {num} sources")
    ok = np.isfinite(given).all() and (given >= 0).all() and given.sum() > 0
    check(bool(ok), "weights", given.tolist(), "at least 0, and one above it")
    return np.asarray(given / given.sum(), np.float64)


def limits_of(simulation: Simulated, tokens: float, max_epochs: float | None) -> np.ndarray | None:
    """The largest weight that each source can have [sources].

    Args:
        tokens: of the whole training. max_epochs: how often its text may be read; None = no limit.

    Raises:
        InvalidParameterError: all sources read so often are fewer tokens.
    """
    if max_epochs is None:
        return None
    check_number("max_epochs", max_epochs, "a number above 0, or None", lambda x: x > 0)
    limits = np.minimum(1.0, max_epochs * simulation.available / tokens)
    have = max_epochs * float(simulation.available.sum())
    rule = f"at least {tokens / float(simulation.available.sum()):.2f} for {tokens:,.0f} tokens"
    check(have >= tokens, "max_epochs", max_epochs, rule, "Read less, or more often.")
    return np.asarray(limits)


def columns_of(simulation: Simulated, metrics: Sequence[str] | None) -> list[int]:
    """Numbers of metrics; None = of all targets.

    Raises:
        InvalidParameterError: an unknown metric, or none.
    """
    wanted = [m for m in simulation.metrics if not m.startswith(_OWN)] if metrics is None else list(metrics)
    for metric in wanted:
        check_choice("metrics", metric, simulation.metrics)
    check(len(wanted) > 0, "metrics", wanted, "one or more")
    return [simulation.metrics.index(m) for m in wanted]


def bits_of(simulation: Simulated, tokens: np.ndarray) -> np.ndarray:
    """`simulation.bits`, checked [mixtures, documents].

    Raises:
        InvalidParameterError: a loss that is no number.
    """
    bits = simulation.bits(tokens)
    bad = np.flatnonzero(~np.isfinite(bits).all(axis=1))
    if len(bad):
        shares = tokens[bad[0]] / tokens[bad[0]].sum()
        named = ", ".join(
            f"{name} {share:.3f}" for name, share in zip(simulation.sources, shares, strict=True) if share
        )
        raise InvalidParameterError(f"The model of {named} lost no number on a held-out document. See what it read.")
    return bits


def own_metric(simulation: Simulated, source: str) -> int:
    """Number of the metric of a source's own held-out text.

    Raises:
        InvalidParameterError: it has none.
    """
    if _OWN + source not in simulation.metrics:
        raise InvalidParameterError(
            f"There is no held-out text of source {source!r}, so nobody can say what is still to be learnt of it. "
            "Simulate with held-out text of each source."
        )
    return simulation.metrics.index(_OWN + source)
