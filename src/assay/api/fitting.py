"""`assay mix fit`: the mixture that a table of anybody's runs recommends, and how far to trust it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from assay.errors import InvalidParameterError, check, check_integer, check_number
from assay.mixtures.mixture import Mixture
from assay.mixtures.optimum import best_mixture
from assay.mixtures.regression import Choice, choose
from assay.mixtures.runs import Runs


@dataclass(frozen=True, kw_only=True)
class MixtureFit:
    """What a table of runs says about the best mixture.

    runs: the table. target: the metric, or None for the mean over all. choice: the regression, with what it foretells
    for each run from the others. at_most: the largest share of each source [sources]. weights: the best mixture
    foretold [sources]. prediction: its loss. best_measured: the mixture of the run that lost least [sources], whose
    loss is best_loss.
    """

    runs: Runs
    target: str | None
    choice: Choice
    at_most: np.ndarray
    weights: np.ndarray
    prediction: float
    best_measured: np.ndarray
    best_loss: float

    def mixture(self) -> Mixture:
        """The mixture, for files, selections and schedules."""
        return Mixture.scaled(dict(zip(self.runs.sources, self.weights.tolist(), strict=True)))

    def table(self) -> Group:
        """The mixture, and how well losses were foretold, for people."""
        grid = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim")
        for name in ("source", "share", "in the runs", "best run"):
            grid.add_column(name, justify="left" if name == "source" else "right")
        for k in np.argsort(-self.weights, kind="stable"):
            low, high = self.runs.weights[:, k].min(), self.runs.weights[:, k].max()
            cells = (f"{self.weights[k]:.3f}", f"{low:.3f} to {high:.3f}", f"{self.best_measured[k]:.3f}")
            grid.add_row(self.runs.sources[k], *cells)
        correlation = "none" if self.choice.spearman is None else f"{self.choice.spearman:.3f}"
        lines = [
            f"Loss {self.prediction:.4f} foretold; the best of {len(self.runs)} runs measured {self.best_loss:.4f}.",
            f"Regressor {self.choice.name}: each run foretold from the others, rank correlation {correlation}.",
        ]
        return Group(grid, *(Text(line) for line in lines))


def fit_mixture(
    runs: Runs,
    *,
    target: str | None = None,
    regressor: str | None = None,
    prior: Mapping[str, float] | None = None,
    at_most: Mapping[str, float] | None = None,
    seed: int = 0,
) -> MixtureFit:
    """Fits losses to mixtures and looks for the mixture with the lowest loss foretold (RegMix).

    Args:
        runs: as `assay.mix.read_runs` reads them. target: the metric to lower; default the mean over all.
        regressor: one of `mixtures.regression.REGRESSORS`; default the best by cross-validation.
        prior: shares around which candidates are drawn, such as those of the tokens that there are; default the mean of
            the runs'.
        at_most: the largest share of some sources, such as `max_epochs` times its tokens by the budget.
        seed: of folds and candidates.

    Raises:
        InvalidParameterError: an unknown metric, regressor or source, or fewer runs than any regression needs.
    """
    check(isinstance(runs, Runs), "runs", runs, "a table of runs", "assay.mix.read_runs(path) reads one.")
    check_integer("seed", seed, 0)
    loss = runs.loss(target)
    if not np.ptp(loss):
        raise InvalidParameterError(f"All {len(runs)} runs have the same loss, {loss[0]:g}: nothing can be learnt.")
    mean = np.sort(runs.weights, axis=0).mean(axis=0)  # to the last digit the same in any order of runs, as are draws
    around = mean if prior is None else _by_source(runs, "prior", prior, 0.0)
    check(around.sum() > 0, "prior", prior, "shares above 0")
    around = around / around.sum()
    limits = _by_source(runs, "at_most", at_most or {}, 1.0)
    check(limits.sum() >= 1, "at_most", at_most, "limits that sum to 1 or more")
    choice = choose(runs.weights, loss, names=None if regressor is None else [regressor], seed=seed)
    weights = best_mixture(choice.predictor.predict, around, at_most=limits, seed=seed)
    best = int(np.argmin(loss))
    return MixtureFit(
        runs=runs,
        target=target,
        choice=choice,
        at_most=limits,
        weights=weights,
        prediction=float(choice.predictor.predict(weights[None])[0]),
        best_measured=runs.weights[best],
        best_loss=float(loss[best]),
    )


def _by_source(runs: Runs, name: str, given: Mapping[str, float], default: float) -> np.ndarray:
    unknown = sorted(set(given) - set(runs.sources))
    if unknown:
        raise InvalidParameterError(
            f"`{name}` names {unknown[0]!r}, which is no source of the runs; they have {', '.join(runs.sources)}."
        )
    for source, share in given.items():
        check_number(f"{name}.{source}", share, "a share of at least 0", lambda x: x >= 0)
    return np.array([float(given.get(source, default)) for source in runs.sources])
