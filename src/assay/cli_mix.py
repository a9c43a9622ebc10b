"""Commands for mixtures: `assay mix fit`, `search`, `design`, `ablate`, `schedule`."""

from pathlib import Path
from typing import Annotated

import typer

from assay.errors import InvalidParameterError
from assay.options import (
    ArmName,
    Device,
    Memory,
    Part,
    ProgressMode,
    RecipePath,
    Runner,
    Set,
    WorkspacePath,
    load_recipe,
    reported,
    require_folder,
    space_at,
)
from assay.terminal import console

app = typer.Typer(help="How much of each source, in which phase.", no_args_is_help=True)
_out = console()


@app.command()
@reported
def fit(
    runs: Annotated[
        list[Path],
        typer.Argument(help="CSV or Parquet: a row per run, weight.<source> and loss.<metric>.", show_default=False),
    ],
    target: Annotated[
        str | None, typer.Option(help="The metric to lower (default: the mean over all).", show_default=False)
    ] = None,
    regressor: Annotated[
        str | None, typer.Option(help="What foretells losses (default: the best held-out).", show_default=False)
    ] = None,
    prior: Annotated[
        Path | None, typer.Option(help="A mixture to draw candidates around (default: the runs').", show_default=False)
    ] = None,
    at_most: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE=SHARE", help="The largest share of a source.", show_default=False),
    ] = None,
    weights: Annotated[str, typer.Option(help="What the names of weight columns begin with.")] = "weight.",
    losses: Annotated[str, typer.Option(help="What the names of loss columns begin with.")] = "loss.",
    key: Annotated[str, typer.Option(help="The column of the runs' names, by which files are joined.")] = "run",
    drop_failed: Annotated[bool, typer.Option("--drop-failed", help="Leave out runs without a finite loss.")] = False,
    seed: Annotated[int, typer.Option(help="Of folds and candidates.")] = 0,
    to: Annotated[Path, typer.Option(help="File for the mixture.")] = Path("mixture.yaml"),
    report: Annotated[Path, typer.Option(help="File for the report.")] = Path("mixture.html"),
) -> None:
    """The mixture that a table of runs recommends, and how far to trust it."""
    from assay.api.fitting import fit_mixture
    from assay.api.mixture_output import fit_report
    from assay.comparison.mixture_report import render, warnings
    from assay.mixtures.mixture import Mixture
    from assay.mixtures.runs import read_runs

    for file in (to, report):
        require_folder(file)  # before the work, which would be in vain
    found = fit_mixture(
        read_runs(runs, key=key, weights=weights, losses=losses, drop_failed=drop_failed),
        target=target,
        regressor=regressor,
        prior=None if prior is None else Mixture.load(prior).weights,
        at_most=_shares(at_most or []),
        seed=seed,
    )
    found.mixture().save(to)
    page = fit_report(found)
    report.write_text(render(page), encoding="utf-8")
    _out.print(found.table())
    for warning in warnings(page):
        _out.print(f"Note: {warning}", soft_wrap=True)
    _out.print(f"\nMixture  {to}\nReport   {report}", soft_wrap=True)


@app.command()
@reported
def search(
    recipe: RecipePath,
    set: Set = None,
    workspace: WorkspacePath = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for mixtures and reports (default: mixture/ beside the recipe).", show_default=False),
    ] = None,
    verify: Annotated[bool, typer.Option(help="Hold what is found against uniform, proportional and others.")] = True,
    runner: Runner = None,
    part: Part = None,
    memory: Memory = None,
    device: Device = None,
    progress: ProgressMode = "auto",
) -> None:
    """Find a mixture for the recipe's target by cheap runs, and verify it with matched proxies."""
    from assay.api.mixture_output import FOLDER
    from assay.api.mixture_output import search as run_search

    folder = out or recipe.parent / FOLDER
    done = run_search(load_recipe(recipe, set), workspace=space_at(workspace, recipe), out=folder, verify=verify)
    _out.print(done.table)
    _out.print("\n" + "\n".join(f"{label:9}{path}" for label, path in done.files.items()), soft_wrap=True)


@app.command()
@reported
def design(
    sources: Annotated[
        list[str],
        typer.Argument(help="Documents to count, or a YAML file of tokens by source.", show_default=False),
    ],
    runs: Annotated[int, typer.Option(help="How many.")] = 64,
    by: Annotated[str, typer.Option(help="The column of documents that names their source.")] = "source",
    budget: Annotated[
        str | None,
        typer.Option(help="Tokens of the training that is meant, e.g. '1B tokens'; limits shares.", show_default=False),
    ] = None,
    max_epochs: Annotated[float, typer.Option(help="How often a source may be read at that budget.")] = 4.0,
    scheme: Annotated[str, typer.Option(help="spread, regmix or even.")] = "spread",
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    to: Annotated[Path, typer.Option(help="File for the table, .csv or .parquet.")] = Path("todo.csv"),
    workspace: WorkspacePath = None,
    progress: ProgressMode = "auto",
) -> None:
    """Write a table of mixtures to train on, for a trainer of one's own; `assay mix fit` reads it with its losses."""
    from assay.api.designing import design as run_design
    from assay.api.designing import tokens_by_source

    require_folder(to)
    if to.exists():  # perhaps with losses by now
        raise InvalidParameterError(f"{to} is there already. Give another name: --to other.csv")
    have = tokens_by_source(sources, by, space_at(workspace, None))
    todo = run_design(have, runs, scheme=scheme, budget=budget, max_epochs=max_epochs, seed=seed, out=to)
    _out.print(
        f"Wrote {len(todo)} mixtures of {len(todo.sources)} sources to {to}. "
        "Add a column loss.<metric> for what each loses.",
        soft_wrap=True,
    )


@app.command()
@reported
def ablate(
    recipe: RecipePath,
    source: Annotated[
        str | None,
        typer.Option(help="Show the loss against the share of this source instead.", show_default=False),
    ] = None,
    set: Set = None,
    workspace: WorkspacePath = None,
    memory: Memory = None,
    progress: ProgressMode = "auto",
) -> None:
    """Leave each source of the recipe's pool out in turn: what is it worth to the target?"""
    from assay.api.ablating import ablate as run_ablate
    from assay.api.ablating import response_curve
    from assay.api.recipe_parts import Mix
    from assay.api.simulating import simulations

    loaded = load_recipe(recipe, set)
    mix, budget, space = loaded.mix or Mix(), int(loaded.budget.amount), space_at(workspace, recipe)
    draws = simulations(loaded, by=mix.by, where=mix.where, seeds=loaded.seeds, workspace=space)
    found = run_ablate(draws, tokens=budget) if source is None else response_curve(draws, source, tokens=budget)
    _out.print(str(found), soft_wrap=True)


@app.command()
@reported
def schedule(
    recipe: RecipePath,
    plan: Annotated[Path, typer.Argument(help="The schedule, a YAML file.", show_default=False)],
    arm: ArmName = None,
    to: Annotated[str | None, typer.Option(help="Folder to write the phases to.", show_default=False)] = None,
    format: Annotated[str, typer.Option(help="parquet, jsonl or jsonl.zst.")] = "parquet",
    set: Set = None,
    workspace: WorkspacePath = None,
    runner: Runner = None,
    memory: Memory = None,
    progress: ProgressMode = "auto",
) -> None:
    """Show, and write, what an arm takes of each source in the phases of a schedule."""
    from assay.api.recipe import RANDOM
    from assay.api.scheduling import phase_table, schedule_arm, write_phases
    from assay.mixtures.schedule import Schedule

    space = space_at(workspace, recipe)
    pool, phases = schedule_arm(load_recipe(recipe, set), arm or RANDOM, Schedule.load(plan), space)
    _out.print(phase_table(phases))
    if to is not None:
        for export in write_phases(pool, phases, to, format=format):
            _out.print(f"Wrote {export.manifest.counts['kept']:,} documents to {export.folder}", soft_wrap=True)


def _shares(given: list[str]) -> dict[str, float]:
    found = {}
    for text in given:
        name, sign, value = text.rpartition("=")
        try:
            found[name] = float(value)
        except ValueError:
            sign = ""
        if not sign:
            raise InvalidParameterError(f"`--at-most` (={text!r}) must be SOURCE=SHARE, such as books=0.3.")
    return found
