"""What people see of a fit or a search over mixtures: tables, pages, and the files that go on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from assay.api.fitting import MixtureFit
from assay.api.mixing import ANY, search_mixture
from assay.api.mixture_reporting import mixture_report
from assay.api.mixture_verifying import BEST_MEASURED, UNIFORM, check_names, verify_mixtures
from assay.api.recipe import RANDOM, Recipe
from assay.artifacts.kinds import human_count
from assay.artifacts.manifest import atomic_path
from assay.artifacts.mixture_search import RUNS, MixtureSearch
from assay.artifacts.storage import Location
from assay.artifacts.workspace import Workspace
from assay.comparison.mixture_report import MixtureReport, Verified, render
from assay.mixtures.mixture import Mixture
from assay.mixtures.regression import Choice, Tried, choose
from assay.mixtures.runs import Runs, read_runs

PROPORTIONAL = "proportional"
FOLDER = "mixture"  # beside the recipe, where `assay compare` keeps its own report
_MAX_OTHERS = 8  # metrics besides the one searched for whose curves are shown
_SHORT = {"no difference shown": "not shown"}
_STYLES = {"better": "bold green", "worse": "bold red", "no difference shown": "yellow"}


@dataclass(frozen=True, kw_only=True)
class Searched:
    """A search with all that came of it.

    search: the artifact. mixtures: by target. verified: per mixture what `verify_mixtures` found, or nothing.
    table: for people. files: what was written, from label to path.
    """

    search: MixtureSearch
    mixtures: Mapping[str, Mixture]
    verified: Sequence[Mapping[str, Any]]
    table: RenderableType
    files: Mapping[str, Path]


def search(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *,
    workspace: Workspace | str | Location | None = None,
    out: str | Path | None = None,
    verify: bool = True,
) -> Searched:
    """Looks for a mixture of sources as the recipe's `mix` says, verifies it, and writes mixture, runs and reports.

    Args:
        recipe: as of `assay.compare`, with `mix`; its arms are held beside what is found.
        out: folder for mixture.yaml, mixture.html, runs.csv, and comparison.json and report.html of the verification;
            with several targets mixture-<target>.yaml and mixture-<target>.html. Default `mixture` beside the recipe
            file, else nowhere.
        verify: hold what was found against uniform, proportional and the best measured mixture under the recipe's
            seeds.

    Raises:
        AssayError: the recipe, the data or the disk; the message says what to do.
    """
    space = Workspace(workspace)
    if isinstance(recipe, str | Path):
        out = Path(recipe).parent / FOLDER if out is None else out
        recipe = Recipe.load(recipe)
    elif not isinstance(recipe, Recipe):
        recipe = Recipe.from_dict(recipe)
    if verify:
        check_names(recipe)  # before the work, which would be in vain
    folder = None if out is None else Path(out)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    found = search_mixture(recipe, workspace=space)
    verified: list[dict[str, Any]] = []
    if verify:
        _, verified = verify_mixtures(recipe, found, workspace=space, out=folder)
    mixtures = mixtures_of(found)
    files = {} if folder is None else _written(found, mixtures, verified, recipe.seeds, folder)
    return Searched(
        search=found, mixtures=mixtures, verified=verified, table=search_table(found, verified), files=files
    )


def _written(
    found: MixtureSearch,
    mixtures: Mapping[str, Mixture],
    verified: Sequence[Mapping[str, Any]],
    seeds: int,
    folder: Path,
) -> dict[str, Path]:
    """Writes all that people read; from label to path."""
    files = {}
    pages = search_pages(found, read_runs(found.folder / RUNS), verified, seeds)
    for target, page in pages.items():
        label, suffix = ("", "") if len(pages) == 1 else (f" {target}", f"-{target.replace('/', '_')}")
        files[f"Mixture{label}"] = folder / f"mixture{suffix}.yaml"
        mixtures[target].save(files[f"Mixture{label}"])
        files[f"Report{label}"] = folder / f"mixture{suffix}.html"
        with atomic_path(files[f"Report{label}"]) as path:
            path.write_text(page, encoding="utf-8")
    files["Runs"] = folder / RUNS
    with atomic_path(files["Runs"]) as path:
        path.write_bytes((found.folder / RUNS).read_bytes())
    return files | ({"Compared": folder / "report.html"} if verified else {})


def mixtures_of(search: MixtureSearch) -> dict[str, Mixture]:
    """The mixture found for each target."""
    content = search.content
    return {
        target: Mixture.scaled(weights, by=content["by"], max_epochs=content["max_epochs"])
        for target, weights in search.weights.items()
    }


def search_table(search: MixtureSearch, verified: Sequence[Mapping[str, Any]]) -> RenderableType:
    """The mixtures found, and what they save against their rivals."""
    content = search.content
    grid = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim")
    grid.add_column(content["by"])
    for name in ("in the pool", *(one["target"] for one in content["found"])):
        grid.add_column(name, justify="right")
    for source in sorted(content["sources"], key=lambda one: -one["share"]):
        shares = [one["weights"][source["name"]] for one in content["found"]]
        grid.add_row(
            source["name"], *(f"{share:.3f}" if share >= 0.0005 else "·" for share in (source["share"], *shares))
        )
    parts: list[RenderableType] = [grid]
    for one in content["found"]:
        correlation = one["spearman"]
        told = "no order" if correlation is None else f"rank correlation {correlation:.3f}"
        parts.append(
            Text(
                f"{one['target']}: {one['regressor']} on {content['num_runs']} runs of "
                f"{human_count(content['run_tokens'])} tokens, held-out {told}; the {_ORIGINS[one['origin']]} mixture."
            )
        )
    return Group(*parts, *([_verified_table(verified)] if verified else []))


_ORIGINS = {"foretold": "best foretold", "measured": "best measured"}


def _verified_table(verified: Sequence[Mapping[str, Any]]) -> Table:
    grid = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim", title_justify="left")
    grid.title = "Trained anew, on text that the search has not seen"
    grid.add_column("mixture, and others", overflow="fold", min_width=20)
    for name in ("bits/byte", "P(best)", "saved (95 % interval)"):
        grid.add_column(name, justify="right", no_wrap=True)
    grid.add_column("verdict", no_wrap=True)
    for one in verified:
        grid.add_row(Text(one["name"], style="bold"), f"{one['bits_per_byte']:.3f}", f"{one['p_best']:.2f}", "", "")
        for rival in one["rivals"]:
            effect = rival["effect"]
            saved = f"{effect['estimate']:+.3f} ({effect['low']:+.3f} to {effect['high']:+.3f})"
            cells = (f"{rival['bits_per_byte']:.3f}", f"{rival['p_best']:.2f}", saved)
            verdict = Text(_SHORT.get(rival["verdict"], rival["verdict"]), _STYLES[rival["verdict"]])
            grid.add_row(f"  {_shown_name(rival['name'], one['target'])}", *cells, verdict)
        grid.add_section()
    return grid


def _shown_name(arm: str, target: str) -> str:
    """Without the target, which stands above it."""
    return {RANDOM: PROPORTIONAL, f"{BEST_MEASURED} {target}": BEST_MEASURED}.get(arm, arm)


def search_pages(
    search: MixtureSearch, runs: Runs, verified: Sequence[Mapping[str, Any]], seeds: int
) -> dict[str, str]:
    """A page for each mixture found, by target."""
    sources = {one["name"]: one for one in search.content["sources"]}
    ordered = [sources[name] for name in runs.sources]
    prior = np.array([source["share"] for source in ordered])
    pages = {}
    for one in search.content["found"]:
        target = one["target"]
        baselines = {PROPORTIONAL: prior, UNIFORM: np.full(len(ordered), 1 / len(ordered))}
        if one["origin"] != "measured":
            baselines[BEST_MEASURED] = _row(runs, one["best_measured"])
        main = choose(runs.weights, runs.loss(None if target == ANY else target), names=[one["regressor"]])
        main = replace(main, tried=tuple(Tried(**row) for row in one["tried"]))  # those that the search tried as well
        verification = next((found for found in verified if found["target"] == target), None)
        report = mixture_report(
            runs,
            {target: main} | _others(runs, target, main.name),
            _row(runs, one["weights"]),
            title=f"{search.name}, for {target}",
            unit="bits per byte",
            baselines=baselines,
            available=np.array([source["tokens"] for source in ordered]),
            tokens=float(search.content["budget_tokens"]),
            at_most=np.array([source["at_most"] for source in ordered]),
            verified=() if verification is None else _verified_rows(verification),
            seeds=seeds if verification else None,
        )
        pages[target] = render(report)
    return pages


def fit_report(fit: MixtureFit) -> MixtureReport:
    """What the page of a fit to a table of runs shows."""
    runs, name = fit.runs, fit.target or ("mean" if len(fit.runs.metrics) > 1 else fit.runs.metrics[0])
    baselines = {BEST_MEASURED: fit.best_measured, "mean of the runs": runs.weights.mean(axis=0)}
    choices = {name: fit.choice} | _others(runs, name, fit.choice.name)
    return mixture_report(
        runs, choices, fit.weights, title=f"{len(runs)} runs", baselines=baselines, at_most=fit.at_most
    )


def _others(runs: Runs, target: str, regressor: str) -> dict[str, Choice]:
    """The same regressor on some of the other metrics."""
    others = [metric for metric in runs.metrics if metric != target and np.ptp(runs.loss(metric)) > 0]
    if len(runs.metrics) < 2:
        return {}
    return {name: choose(runs.weights, runs.loss(name), names=[regressor]) for name in others[:_MAX_OTHERS]}


def _verified_rows(one: Mapping[str, Any]) -> list[Verified]:
    rows = [Verified("found", one["bits_per_byte"], one["p_best"])]
    for rival in one["rivals"]:
        figures = (rival["bits_per_byte"], rival["p_best"])
        rows.append(Verified(_shown_name(rival["name"], one["target"]), *figures, **_saved(rival["effect"])))
    return rows


def _saved(effect: Mapping[str, float]) -> dict[str, float]:
    return {"saved": effect["estimate"], "low": effect["low"], "high": effect["high"]}


def _row(runs: Runs, shares: Mapping[str, float]) -> np.ndarray:
    return np.array([shares[name] for name in runs.sources])
