"""mixture.html: what runs on mixtures say, one file that works offline, the verdict first.

All runs are in the figures; of more than 400 the charts draw a sample spread evenly over the ranks of loss. A page of
40 sources and 20 metrics takes ten seconds and three megabytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from assay.artifacts.kinds import human_count
from assay.comparison import mixture_charts as charts
from assay.comparison.report import template
from assay.errors import check

_NUM_BEST = 10
_FEW_RUNS = 4  # a source: a law has about as many unknowns as there are sources
_POOR = 0.8  # rank correlation
_MANY_EPOCHS = 4.0  # Muennighoff et al. 2023 (arXiv:2305.16264): up to here repeated text is nearly as good as new
_NUM_NAMED = 5
_NUM_CURVES, _NUM_POINTS = 8, 150  # of a single metric


class Tried(NamedTuple):
    """A regressor that was tried: its rank correlation and root mean squared error on runs it was not fitted to.

    correlation: None where it foretells the same for all. error: None where it was not tried, for the reason.
    """

    name: str
    correlation: float | None
    error: float | None
    reason: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """One loss, and what foretells it.

    metric: its name. losses: measured [runs]. held_out: foretold for each run from other runs [runs].
    regressor: the chosen one. tried: all of them. mean_error: error of foretelling the mean of the other runs.
    foretold: for `found`, the mixture found, and for each baseline.
    shares, curves: response curves [sources, points] (`mixtures.response`).
    """

    metric: str
    losses: np.ndarray
    held_out: np.ndarray
    regressor: str
    tried: tuple[Tried, ...]
    foretold: Mapping[str, float]
    shares: np.ndarray
    curves: np.ndarray
    mean_error: float | None = None

    @property
    def chosen(self) -> Tried:
        """What is known of the regressor chosen."""
        return next(tried for tried in self.tried if tried.name == self.regressor)

    @property
    def error(self) -> float:
        """Of the regressor chosen."""
        return float(np.sqrt(np.mean((self.held_out - self.losses) ** 2)))


class Verified(NamedTuple):
    """A mixture that a model was trained on anew to see whether the search is right.

    name: `found` or a baseline. loss: mean over seeds. p_best: chance to be the best of those verified.
    saved, low, high: how much less `found` loses, with its 95 % interval; of `found` itself None.
    """

    name: str
    loss: float
    p_best: float
    saved: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class MixtureReport:
    """What the page shows.

    title: what was searched, such as the name of the table of runs or of the recipe.
    unit: of losses, such as "bits per byte"; lower is better.
    sources: names. names, weights: of the runs [runs], [runs, sources].
    found: the mixture [sources]. baselines: others to compare with, [sources] each, the one to beat first; usually
        `proportional`, `uniform` and `best measured`.
    fits: of what is minimised, then of single metrics where there are several.
    tokens: what a model reads; available: what there is of each source [sources]; at_most: caps [sources].
    verified: of `found` and of baselines, after retraining; seeds: how many each.
    notes: further warnings, in sentences.
    """

    title: str
    unit: str
    sources: tuple[str, ...]
    names: tuple[str, ...]
    weights: np.ndarray
    found: np.ndarray
    baselines: Mapping[str, np.ndarray]
    fits: tuple[Fitted, ...]
    tokens: float | None = None
    available: np.ndarray | None = None
    at_most: np.ndarray | None = None
    verified: tuple[Verified, ...] = ()
    seeds: int | None = None
    notes: tuple[str, ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        num, k = len(self.names), len(self.sources)
        check(k >= 2, "sources", self.sources, "at least two")
        check(len(self.fits) > 0, "fits", self.fits, "at least one")
        check(self.weights.shape == (num, k), "weights", self.weights.shape, f"{num} runs x {k} sources")
        for name, mixture in {"found": self.found, **self.baselines}.items():
            check(mixture.shape == (k,), name, mixture.shape, f"a share for each of {k} sources")
        for fit in self.fits:
            for name, values in (("losses", fit.losses), ("held_out", fit.held_out)):
                check(values.shape == (num,), f"{fit.metric}.{name}", values.shape, f"a number for each of {num} runs")
            names = [tried.name for tried in fit.tried]
            check(fit.regressor in names, f"{fit.metric}.regressor", fit.regressor, f"one of those tried, {names}")
            check("found" in fit.foretold, f"{fit.metric}.foretold", dict(fit.foretold), "given for `found`")
            for name, values in (("shares", fit.shares), ("curves", fit.curves)):
                check(len(values) == k, f"{fit.metric}.{name}", values.shape, f"a row for each of {k} sources")

    @property
    def epochs(self) -> np.ndarray | None:
        """How often the mixture found reads each source [sources]; inf: of a source with nothing in it."""
        if self.available is None or self.tokens is None:
            return None
        wanted = self.found * self.tokens
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(wanted > 0, wanted / self.available, 0.0)


def render(report: MixtureReport) -> str:
    """The page as HTML text; names of sources, runs and metrics are escaped."""
    main = report.fits[0]
    order = np.argsort(-report.found, kind="stable")
    mixtures = {"found": report.found, **report.baselines}
    return template("mixture_report.html.j2").render(
        r=report,
        main=main,
        headline=headline(report),
        warnings=warnings(report),
        order=order,
        mixtures=mixtures,
        epochs=report.epochs,
        least=report.weights.min(axis=0),
        most=report.weights.max(axis=0),
        bars=charts.bars(report.sources, order, mixtures, report.epochs),
        runs=charts.runs(report.sources, order, report.weights, main.losses, report.found, report.unit),
        forest=charts.forest(report.verified, report.unit) if len(report.verified) > 1 else "",
        shown=[_shown(report, fit, order) for fit in report.fits],
        best=_best(report, order),
        verdicts={row.name: _verdict(row) for row in report.verified if row.saved is not None},
        colours=charts.VERDICT_COLOURS,
        count=human_count,
    )


def _shown(report: MixtureReport, fit: Fitted, order: np.ndarray) -> tuple[Fitted, str, str]:
    """What is minimised in full; of another metric the sources that move it most, since there may be twenty."""
    if fit is report.fits[0]:
        curves = charts.curves(report.sources, order, fit, report.found, report.weights)
        return fit, charts.scatter(fit, report.unit), curves
    most = np.argsort(-np.ptp(fit.curves, axis=1), kind="stable")[:_NUM_CURVES]
    return fit, charts.scatter(fit, report.unit, _NUM_POINTS), charts.curves(report.sources, most, fit, report.found)


def headline(report: MixtureReport) -> str:
    """The verdict: what was found, what it gains, and how far that is known."""
    largest = [k for k in np.argsort(-report.found, kind="stable")[:4] if report.found[k] >= 0.02]
    parts = [f"{_percent(report.found[k])} {report.sources[k]}" for k in largest]
    rest = 1 - report.found[largest].sum()
    if rest >= 0.005:
        parts.append(f"{_percent(rest)} of others")
    start = f"The mixture found is {_listed(parts)}."
    rivals = [row for row in report.verified if row.saved is not None]
    found = next((row for row in report.verified if row.saved is None), None)
    if rivals and found is not None:
        verdicts = {row.name: _verdict(row) for row in rivals}
        named = {kind: [n for n, v in verdicts.items() if v == kind] for kind in set(verdicts.values())}
        first = rivals[0]
        said = [
            f"Retrained, it saves {_signed(first.saved)} {report.unit} against {first.name} "
            f"(95 % interval {_signed(first.low)} to {_signed(first.high)})"
        ]
        for kind, words in (
            ("better", "better than"),
            ("worse", "worse than"),
            ("no difference shown", "no difference is shown to"),
        ):
            if kind in named:
                said.append(f"{words} {_listed(named[kind])}")
        return f"{start} {said[0]}: {'; '.join(said[1:])}. P(best) {found.p_best:.2f}."
    main = report.fits[0]
    loss = f"{main.foretold['found']:.3f} {report.unit}"
    against = [
        f"{_signed(main.foretold[n] - main.foretold['found'])} against {n}"
        for n in report.baselines
        if n in main.foretold
    ]
    saved = f", saving {', '.join(against)}" if against else ""
    return f"{start} It is foretold to lose {loss}{saved}; that was not verified by training on it."


def warnings(report: MixtureReport) -> list[str]:
    """What a reader should doubt, in sentences; none where there is no cause."""
    main, weights, found = report.fits[0], report.weights, report.found
    k, num = len(report.sources), len(report.names)
    told = []
    if num < _FEW_RUNS * k:
        told.append(f"{num} runs are few for {k} sources: {_FEW_RUNS * k} or more would be better.")
    correlation = main.chosen.correlation
    if correlation is None or correlation < _POOR or (main.mean_error is not None and main.error >= main.mean_error):
        rank = "none" if correlation is None else f"{correlation:.2f}"
        told.append(
            f"The losses of runs that were held out are foretold badly (rank correlation {rank}): take the best "
            "measured mixture rather than the one found, or do more runs."
        )
    best = float(main.losses.min())
    if main.foretold["found"] > best:
        told.append(
            f"The best run lost {best:.3f}, less than the {main.foretold['found']:.3f} foretold for the mixture found."
        )
    told += _told_of(report, weights.max(axis=0) == 0, "never in the runs, so nothing is known of {}")
    beyond = (found > weights.max(axis=0) + 0.005) & (weights.max(axis=0) > 0)
    told += _told_of(report, beyond, "given more than in any run: what is foretold for {} is a guess")
    nearest = np.sqrt(((weights - found) ** 2).sum(axis=1).min())
    if num > 2 and not beyond.any() and nearest > np.quantile(_gaps(weights), 0.95):
        told.append("No run is near the mixture found, though each share was tried: verify it.")
    if report.at_most is not None:
        at_cap = (found >= report.at_most - 1e-3) & (found > 0) & (report.at_most < 1)
        told += _told_of(report, at_cap, "at the cap: more of {} might be better still, if there were more")
    if report.epochs is not None:
        told += _told_of(
            report,
            report.epochs > _MANY_EPOCHS,
            f"read more than {_MANY_EPOCHS:g} times over: repeats of {{}} teach less",
        )
    return [*told, *report.notes]


def _told_of(report: MixtureReport, which: np.ndarray, words: str) -> list[str]:
    """A sentence about some sources, or none."""
    names = [report.sources[k] for k in np.flatnonzero(which)]
    if not names:
        return []
    verb, pronoun = ("is", "it") if len(names) == 1 else ("are", "them")
    return [f"{_listed(names)} {verb} {words.format(pronoun)}."]


def _gaps(weights: np.ndarray) -> np.ndarray:
    """Distance of each run, of 500 at most, to the nearest other [runs]."""
    some = weights[:: -(-len(weights) // 500)]
    squares = ((some[:, None] - some[None]) ** 2).sum(axis=2)
    np.fill_diagonal(squares, np.inf)
    return np.sqrt(squares.min(axis=1))


def _best(report: MixtureReport, order: np.ndarray) -> list[tuple[str, list[float], str]]:
    """The runs that lost least: name, losses by each fit, largest shares in words."""
    rows = []
    for run in np.argsort(report.fits[0].losses, kind="stable")[:_NUM_BEST]:
        largest = np.argsort(-report.weights[run], kind="stable")[:_NUM_NAMED]
        words = ", ".join(
            f"{report.sources[k]} {_percent(report.weights[run, k])}"
            for k in largest
            if report.weights[run, k] >= 0.005
        )
        rows.append((report.names[run], [float(fit.losses[run]) for fit in report.fits], words))
    return rows


def _verdict(row: Verified) -> str:
    assert row.low is not None and row.high is not None
    return "better" if row.low > 0 else "worse" if row.high < 0 else "no difference shown"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _signed(value: float | None) -> str:
    assert value is not None
    return f"{value:.3f}".replace("-", "−")


def _listed(names: list[str]) -> str:
    shown = names[:_NUM_NAMED] + ([f"{len(names) - _NUM_NAMED} more"] if len(names) > _NUM_NAMED else [])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
