"""What the mixture report shows, from runs, the regressors chosen on them and the mixture found."""

from collections.abc import Mapping, Sequence

import numpy as np

from assay.comparison.mixture_report import Fitted, MixtureReport, Tried, Verified
from assay.errors import check, check_choice
from assay.mixtures.regression import Choice
from assay.mixtures.response import response
from assay.mixtures.runs import Runs


def mixture_report(
    runs: Runs,
    choices: Mapping[str, Choice],
    found: np.ndarray,
    *,
    title: str,
    unit: str = "loss",
    baselines: Mapping[str, np.ndarray] | None = None,
    available: np.ndarray | None = None,
    tokens: float | None = None,
    at_most: np.ndarray | None = None,
    verified: Sequence[Verified] = (),
    seeds: int | None = None,
    notes: Sequence[str] = (),
) -> MixtureReport:
    """The page's content; `comparison.mixture_report.render` writes it as HTML.

    Args:
        choices: by metric, what is minimised first. A name that is no metric of the runs stands for their mean.
        found: the mixture [sources]. baselines: default `proportional` (where `available` is given), `uniform` and
            `best measured`, the run that lost least.
        available: tokens of each source [sources]. tokens: what a model reads. at_most: caps [sources].
        verified, seeds, notes: see `MixtureReport`.

    Raises:
        InvalidParameterError: nothing chosen, a single metric under another name, or shapes that do not fit.
    """
    check(len(choices) > 0, "choices", list(choices), "at least one metric")
    for name in list(choices)[1:]:
        check_choice("choices", name, runs.metrics)
    losses = {name: runs.loss(name if name in runs.metrics else None) for name in choices}
    if baselines is None:
        first = next(iter(losses.values()))
        baselines = {} if available is None else {"proportional": available / available.sum()}
        baselines |= {"uniform": np.full(len(runs.sources), 1 / len(runs.sources))}
        baselines |= {"best measured": runs.weights[first.argmin()]}
    mixtures = {"found": found, **baselines}
    fits = tuple(_fitted(name, choice, losses[name], runs, mixtures) for name, choice in choices.items())
    return MixtureReport(
        title=title,
        unit=unit,
        sources=runs.sources,
        names=runs.names,
        weights=runs.weights,
        found=found,
        baselines=baselines,
        fits=fits,
        tokens=tokens,
        available=available,
        at_most=at_most,
        verified=tuple(verified),
        seeds=seeds,
        notes=tuple(notes),
    )


def _fitted(name: str, choice: Choice, losses: np.ndarray, runs: Runs, mixtures: Mapping[str, np.ndarray]) -> Fitted:
    foretold = choice.predictor.predict(np.array(list(mixtures.values())))
    curves = response(choice.predictor.predict, mixtures["found"], runs.weights.max(axis=0))
    return Fitted(
        metric=name,
        losses=losses,
        held_out=choice.held_out,
        regressor=choice.name,
        tried=tuple(Tried(tried.name, tried.spearman, tried.error, tried.reason) for tried in choice.tried),
        mean_error=choice.mean_error,
        foretold=dict(zip(mixtures, foretold.tolist(), strict=True)),
        shares=curves.shares,
        curves=curves.losses,
    )
