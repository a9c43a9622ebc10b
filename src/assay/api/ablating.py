"""`ablate`, `ablate_tail` and `response_curve`: what each source is worth to the targets, with intervals.

What is measured, and what it does not say, stands in `mixtures.ablation`. All mixtures read equally many tokens, are
tested on the same held-out documents, and trained once for each seed, on documents of its own draw; intervals are those
of `compare`, paired over documents and seeds. A source that runs out is repeated, and `epochs` says how often.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assay.api.simulated import Simulated, bits_of, columns_of, weights_of
from assay.comparison.statistics import Interval, Losses, effect, t_quantile, verdict
from assay.errors import InvalidParameterError, check, check_number
from assay.mixtures.ablation import repeats_of, with_share, without_each
from assay.mixtures.runs import Runs

_VERDICTS = {"better": "helps", "worse": "harms", "no difference shown": "no difference shown"}


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """What each source is worth: bits per byte that are lost without it; prints as a table.

    loss: of the whole mixture, bits per byte, mean over targets and seeds.
    worth: by source, estimate and 95 % interval, each by itself; above 0 the source helps.
    epochs: how often the most repeated source was read, at least 1: of the whole mixture, then without each source.
    """

    loss: float
    worth: dict[str, Interval]
    epochs: tuple[float, ...] = ()

    def verdicts(self) -> dict[str, str]:
        """ "helps", "harms" or "no difference shown", by source."""
        return {name: _VERDICTS[verdict(found)] for name, found in self.worth.items()}

    def __str__(self) -> str:
        said, epochs = self.verdicts(), dict(zip(self.worth, self.epochs[1:], strict=False))
        lines = [f"{'without':24}{'worth':>9}  95 % interval; all together lose {self.loss:.4f} bits per byte"]
        for name, found in sorted(self.worth.items(), key=lambda item: -item[1].estimate):
            repeated = f"; a source read {epochs[name]:.1f} times" if epochs.get(name, 1) > 1 else ""
            lines.append(
                f"{name:24}{found.estimate:>9.4f}  {found.low:.4f} to {found.high:.4f}, {said[name]}{repeated}"
            )
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Loss against the share of one source, bits per byte; prints as a table.

    shares: [shares]. losses: mean over targets and seeds [shares]. saved: against the first share, with 95 % interval.
    epochs: how often the most repeated source was read [shares], at least 1.
    """

    source: str
    shares: np.ndarray
    losses: np.ndarray
    saved: tuple[Interval, ...]
    epochs: np.ndarray

    def __str__(self) -> str:
        lines = [f"{self.source:24}{'loss':>9}{'saved':>9}  95 % interval"]
        for share, loss, found, epochs in zip(self.shares, self.losses, self.saved, self.epochs, strict=True):
            repeated = f", a source read {epochs:.1f} times" if epochs > 1 else ""
            interval = f"{found.estimate:>9.4f}  {found.low:.4f} to {found.high:.4f}"
            lines.append(f"{share:<24.3f}{loss:>9.4f}{interval}{repeated}")
        return "\n".join(lines)


def ablate(
    simulations: Sequence[Simulated],
    *,
    tokens: float,
    weights: np.ndarray | None = None,
    metrics: Sequence[str] | None = None,
) -> Ablation:
    """Leaves each source out in turn.

    Args:
        simulations: one for each seed, two or more, which differ in the documents drawn and share what is held out.
        tokens: that every mixture reads.
        weights: of the sources [sources]; default in proportion to what there is of each.
        metrics: what counts, alike; default all targets.

    Raises:
        InvalidParameterError: fewer than two seeds or sources, seeds that were not tested on the same documents.
    """
    one = _first(simulations, tokens)
    base = weights_of(one, weights)
    which, left = without_each(base)
    losses = _losses(simulations, np.concatenate((base[None], left)) * tokens, metrics)
    return ablation_of(
        [one.sources[k] for k in which], losses, _epochs(one, np.concatenate((base[None], left)) * tokens)
    )


def response_curve(
    simulations: Sequence[Simulated],
    source: str,
    *,
    tokens: float,
    shares: Sequence[float] = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0),
    weights: np.ndarray | None = None,
    metrics: Sequence[str] | None = None,
) -> Curve:
    """Adds ever more of one source, at equal tokens.

    Args:
        source: which. shares: of it, two or more. Others as of `ablate`.

    Raises:
        InvalidParameterError: an unknown source, shares outside 0 to 1, and as `ablate`.
    """
    one = _first(simulations, tokens)
    check(source in one.sources, "source", source, f"one of {', '.join(one.sources)}")
    check(len(shares) >= 2, "shares", list(shares), "two or more")
    mixtures = with_share(weights_of(one, weights), one.sources.index(source), np.array(shares, np.float64)) * tokens
    losses = _losses(simulations, mixtures, metrics)
    means, replicates = losses.bits_per_byte().mean(axis=1), losses.replicates()
    saved = tuple(effect(means, replicates, k, 0) for k in range(len(means)))
    return Curve(
        source=source, shares=np.array(shares, np.float64), losses=means, saved=saved, epochs=_epochs(one, mixtures)
    )


def ablation_of_runs(runs: Runs, weights: np.ndarray, metric: str | None = None) -> Ablation:
    """What a table of runs says: those of a mixture against those of it without each source.

    Args:
        weights: of the whole mixture [sources]. metric: default the mean of all.

    Returns:
        intervals of Student's t over repeated runs (Welch); infinite for a source or mixture with one run, which tells
        nothing about chance.

    Raises:
        InvalidParameterError: the table has no run of the mixture, or none without a source.
    """
    whole, *left = repeats_of(runs, weights, metric)
    worth = {str(found.source): _welch(found.losses, whole.losses) for found in left}
    return Ablation(loss=float(whole.losses.mean()), worth=worth)


def ablation_of(names: list[str], losses: Losses, epochs: np.ndarray) -> Ablation:
    """From losses of the whole mixture and then of each without a source [1 + sources, seeds, documents]."""
    means, replicates = losses.bits_per_byte().mean(axis=1), losses.replicates()
    worth = {name: effect(means, replicates, 0, k) for k, name in enumerate(names, 1)}
    return Ablation(loss=float(means[0]), worth=worth, epochs=tuple(epochs.tolist()))


def _welch(a: np.ndarray, b: np.ndarray) -> Interval:
    """How much higher the mean of a is than that of b."""
    estimate = float(a.mean() - b.mean())
    if min(len(a), len(b)) < 2:
        return Interval(estimate, -np.inf, np.inf)
    errors = [float(x.var(ddof=1)) / len(x) for x in (a, b)]
    if sum(errors) == 0:
        return Interval(estimate, estimate, estimate)
    degrees = sum(errors) ** 2 / sum(e**2 / (len(x) - 1) for e, x in zip(errors, (a, b), strict=True))
    half = t_quantile(0.975, max(1, int(degrees))) * float(np.sqrt(sum(errors)))
    return Interval(estimate, estimate - half, estimate + half)


def _first(simulations: Sequence[Simulated], tokens: float) -> Simulated:
    """Any of the seeds, when they can be compared."""
    check(len(simulations) >= 2, "simulations", len(simulations), "two or more, one for each seed")
    check_number("tokens", tokens, "a number of at least 1", lambda x: x >= 1)
    one = simulations[0]
    for other in simulations[1:]:
        same = (one.sources, one.metrics) == (other.sources, other.metrics)
        if not same or not np.array_equal(one.groups, other.groups) or not np.array_equal(one.sizes, other.sizes):
            raise InvalidParameterError("Seeds must share sources and held-out documents, or nothing is paired.")
    return one


def _losses(simulations: Sequence[Simulated], tokens: np.ndarray, metrics: Sequence[str] | None) -> Losses:
    """Of each mixture [mixtures, seeds, documents], on the documents that count."""
    one = simulations[0]
    columns = columns_of(one, metrics)
    numbers = np.full(len(one.metrics), -1)
    numbers[columns] = np.arange(len(columns))
    groups = numbers[one.groups]
    bits = np.stack([bits_of(simulation, tokens)[:, groups >= 0] for simulation in simulations], axis=1)
    return Losses(bits=bits, sizes=one.sizes[groups >= 0], groups=groups[groups >= 0])


def _epochs(simulation: Simulated, tokens: np.ndarray) -> np.ndarray:
    """How often the most repeated source is read, at least 1 [mixtures]."""
    times = tokens / np.maximum(simulation.available, 1)
    return np.maximum(times.max(axis=1), 1.0)
