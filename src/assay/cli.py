"""The command line: one command per verb, no logic of its own."""

import os
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer

from assay import cli_mix, cli_models
from assay.artifacts.claims import release_all
from assay.artifacts.process import hear_interrupts
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
    changes_of,
    load_recipe,
    reported,
    require_folder,
    space_at,
)
from assay.terminal import console

app = typer.Typer(
    help="Finds out what training data is worth: scores, selections, matched proxies, and evidence with error bars.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
_out = console()


def _print_version(wanted: bool) -> None:
    if wanted:
        _out.print(f"assay {version('assay')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
@reported
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to put pool, recipe and report.")] = Path("assay-demo"),
    runner: Runner = None,
    memory: Memory = None,
    progress: ProgressMode = "auto",
) -> None:
    """A real comparison on the text of this Python installation; no download, about a minute."""
    from assay.comparison.table import table
    from assay.demo import RECIPE, run_demo

    _out.print("Which text of this Python installation teaches a model to write documentation?\n", style="bold")
    comparison = run_demo(folder)
    _out.print(table(comparison.content))
    _out.print(f"\nRecipe  {folder / RECIPE}\nReport  {folder / 'report.html'}", soft_wrap=True)


@app.command()
@reported
def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("recipe.yaml"),
) -> None:
    """Write a commented recipe to start from."""
    if path.exists():
        raise InvalidParameterError(f"{path} is there already. Give another name: assay init other.yaml")
    require_folder(path)
    path.write_text(files("assay").joinpath("init.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    _out.print(f"Wrote {path}. Put your files into it, then run: assay compare {path}", soft_wrap=True)


@app.command()
@reported
def compare(
    recipe: RecipePath,
    set: Set = None,
    workspace: WorkspacePath = None,
    out: Annotated[
        str | None,
        typer.Option(help="Folder for comparison.json and report.html (default: the recipe's).", show_default=False),
    ] = None,
    runner: Runner = None,
    part: Part = None,
    memory: Memory = None,
    costs: Annotated[bool, typer.Option("--costs", help="Also print what each step cost.")] = False,
    progress: ProgressMode = "auto",
) -> None:
    """Train proxies on every arm's choice and say which is better, by how much and how surely."""
    from assay.api.comparing import JSON, REPORT
    from assay.api.comparing import compare as run_compare
    from assay.artifacts.storage import location
    from assay.comparison.costs import cost_table
    from assay.comparison.table import table

    loaded = load_recipe(recipe, set)
    folder = location(out or recipe.parent)
    comparison = run_compare(loaded, workspace=space_at(workspace, recipe), out=folder)
    _out.print(table(comparison.content))
    if costs:
        _out.print(cost_table(comparison.content["cost"]["steps"]))
    _out.print(f"\nResult  {folder / JSON}\nReport  {folder / REPORT}", soft_wrap=True)
    if loaded.write is not None:
        _out.print(f"Chosen  {loaded.write.to}", soft_wrap=True)


@app.command()
@reported
def score(
    recipe: RecipePath,
    arm: ArmName = None,
    set: Set = None,
    workspace: WorkspacePath = None,
    runner: Runner = None,
    part: Part = None,
    memory: Memory = None,
    progress: ProgressMode = "auto",
) -> None:
    """Compute the scores that the recipe's arms go by."""
    from assay.api.showing import describe
    from assay.api.staging import prepare

    loaded = load_recipe(recipe, set)
    stage = prepare(loaded, space_at(workspace, recipe), arms=_arms(loaded.arms, arm))
    shown = {s.fingerprint: s for scores in (*stage.scores.values(), stage.guards) for s in scores}
    for scores in shown.values():
        _out.print(describe(scores))


@app.command()
@reported
def select(
    recipe: RecipePath,
    arm: ArmName = None,
    set: Set = None,
    workspace: WorkspacePath = None,
    runner: Runner = None,
    part: Part = None,
    memory: Memory = None,
    progress: ProgressMode = "auto",
) -> None:
    """Show what the recipe's arms take from the whole pool."""
    from assay.api.comparing import chosen
    from assay.api.showing import describe

    loaded = load_recipe(recipe, set)
    for name in _arms(loaded.arms, arm):
        _out.print(describe(chosen(loaded, name, space_at(workspace, recipe))[1]))


@app.command()
@reported
def write(
    recipe: RecipePath,
    arm: Annotated[str | None, typer.Option(help="Arm to write (default: the recipe's).", show_default=False)] = None,
    to: Annotated[
        str | None, typer.Option(help="Folder or s3://... (default: the recipe's).", show_default=False)
    ] = None,
    format: Annotated[str | None, typer.Option(help="parquet, jsonl or jsonl.zst.", show_default=False)] = None,
    set: Set = None,
    workspace: WorkspacePath = None,
    runner: Runner = None,
    part: Part = None,
    memory: Memory = None,
    progress: ProgressMode = "auto",
) -> None:
    """Write the documents that an arm takes from the whole pool."""
    from assay.api.comparing import write_arm

    export = write_arm(load_recipe(recipe, set), space_at(workspace, recipe), arm, to, format)
    _out.print(f"Wrote {export.manifest.counts['kept']:,} documents to {export.folder}", soft_wrap=True)


@app.command()
@reported
def calibrate(
    reference: Annotated[
        list[str], typer.Argument(help="Clean text of one language: files, folders or globs.", show_default=False)
    ],
    to: Annotated[Path, typer.Option(help="File to write, for `calibration:` of a recipe.")] = Path("calibration.yaml"),
    english: Annotated[
        list[str] | None,
        typer.Option(help="English text of the same kind, to carry over its strictness.", show_default=False),
    ] = None,
    text: Annotated[str, typer.Option(help="Column that holds the text.")] = "text",
    tail: Annotated[float, typer.Option(help="Share of the reference that a rule may leave out.")] = 0.1,
    workspace: WorkspacePath = None,
    progress: ProgressMode = "auto",
) -> None:
    """Derive the rules' stop words and thresholds for another language from text of it."""
    from assay.api.calibrating import calibrate as run_calibrate
    from assay.api.reading import read

    require_folder(to)  # before the work, which would be in vain
    space = space_at(workspace, None)
    corpus = read(reference, text=text, workspace=space)
    anchor = None if english is None else read(english, text=text, workspace=space)
    found = run_calibrate(corpus, english=anchor, tail=tail, workspace=space)
    found.save(to)
    _out.print(str(found), soft_wrap=True)
    _out.print(f"\nWrote {to}. A recipe uses it by\n    calibration: {to}", soft_wrap=True)


@app.command()
@reported
def label(
    pool: Annotated[list[str], typer.Argument(help="Documents: files, folders or globs.", show_default=False)],
    classes: Annotated[str, typer.Option(help="The labels that there are: good,bad", show_default=False)],
    to: Annotated[Path, typer.Option(help="Folder for questions and labels.")] = Path("labels"),
    budget: Annotated[int, typer.Option(help="Labels in all.")] = 200,
    batch: Annotated[int, typer.Option(help="How many are asked for at a time.")] = 20,
    strategy: Annotated[str, typer.Option(help="random, least_confidence, margin or diverse.")] = "diverse",
    pseudo: Annotated[bool, typer.Option("--pseudo", help="The model labels what it is sure of.")] = False,
    text: Annotated[str, typer.Option(help="Column that holds the text.")] = "text",
    workspace: WorkspacePath = None,
    progress: ProgressMode = "auto",
) -> None:
    """Read the labels in a folder, and ask for those of the documents that would teach most."""
    from assay.api.labelling import label as run_label
    from assay.api.reading import read

    space = space_at(workspace, None)
    names = [name.strip() for name in classes.split(",")]
    found = run_label(
        read(pool, text=text, workspace=space),
        to,
        classes=names,
        budget=budget,
        batch=batch,
        strategy=strategy,
        pseudo=pseudo,
        workspace=space,
    )
    told = f"{found.num_labels} of {budget} labels"
    if found.accuracy is not None:
        told += f"; of those held out, a model of the others has {100 * found.accuracy:.0f} % right"
    _out.print(told, soft_wrap=True)
    _out.print(f"\nLabels  {found.path}", soft_wrap=True)
    if found.to_answer is not None:
        _out.print(f"Answer  {found.to_answer}: fill in each `label`, then run this again.", soft_wrap=True)


@app.command()
@reported
def verify_seeds(
    candidates: Annotated[
        list[str], typer.Argument(help="Candidates: files, folders or globs, or name=files.", show_default=False)
    ],
    base: Annotated[list[str], typer.Option(help="Text that the model is trained on.", show_default=False)],
    target: Annotated[list[str], typer.Option(help="Held-out text to predict.", show_default=False)],
    text: Annotated[str, typer.Option(help="Column that holds the text.")] = "text",
    seeds: Annotated[int, typer.Option(help="Repetitions, each with documents of its own.")] = 8,
    max_false_accepts: Annotated[float, typer.Option(help="Chance of accepting any worthless candidate.")] = 0.05,
    workspace: WorkspacePath = None,
    runner: Runner = None,
    memory: Memory = None,
    progress: ProgressMode = "auto",
) -> None:
    """Say which texts are good seeds for a classifier, by annealing a proxy on each."""
    from assay.api.reading import read
    from assay.api.verifying import verify_seeds as run_verify
    from assay.artifacts.verification import VERIFICATION
    from assay.comparison.verification_table import verification_table

    space = space_at(workspace, None)
    named = {}
    for given in candidates:
        before, equals, after = given.partition("=")
        is_named = equals and "/" not in before and not Path(given).exists()
        name, files = (before, after) if is_named else (Path(given).name.split(".")[0], given)
        if name in named:
            raise InvalidParameterError(f"Two candidates are called {name!r}. Name them: other={files}")
        named[name] = read(files, text=text, name=name, workspace=space)
    found = run_verify(
        named,
        base=read(base, text=text, name="base", workspace=space),
        target=read(target, text=text, name="target", workspace=space),
        seeds=seeds,
        max_false_accepts=max_false_accepts,
        workspace=space,
    )
    _out.print(verification_table(found.content))
    _out.print(f"\nResult  {found.folder / VERIFICATION}", soft_wrap=True)


@app.command()
@reported
def embed(
    corpus: Annotated[list[str], typer.Argument(help="Documents: files, folders or globs.", show_default=False)],
    model: Annotated[str, typer.Option(help="words, or a sentence-transformers or model2vec folder.")] = "words",
    dimensions: Annotated[int, typer.Option(help="Numbers in a vector of words.")] = 128,
    pooling: Annotated[str, typer.Option(help="mean, or position: later words weigh more.")] = "mean",
    text: Annotated[str, typer.Option(help="Column that holds the text.")] = "text",
    device: Device = None,
    workspace: WorkspacePath = None,
    runner: Runner = None,
    part: Part = None,
    memory: Memory = None,
    progress: ProgressMode = "auto",
) -> None:
    """Make a vector for every document, for scorers and policies that go by them; they make their own if need be."""
    from assay.api.embedding import embed as run_embed
    from assay.api.reading import read
    from assay.api.showing import describe
    from assay.models.embedding import Embedding

    wanted = Embedding(model=model, dimensions=dimensions, pooling=pooling)
    space = space_at(workspace, None)
    _out.print(describe(run_embed(read(corpus, text=text, workspace=space), wanted, workspace=space)))


@app.command()
@reported
def weigh(
    recipe: RecipePath,
    terms: Annotated[
        list[str],
        typer.Option(
            "--term",
            help="A score to weigh, higher is better: dsir.per_ngram, or -repeats.lines. Give several.",
        ),
    ],
    draws: Annotated[int, typer.Option(help="Proxies to train.")] = 64,
    to: Annotated[Path | None, typer.Option(help="YAML file to write everything to.", show_default=False)] = None,
    set: Set = None,
    workspace: WorkspacePath = None,
    runner: Runner = None,
    part: Part = None,
    memory: Memory = None,
    progress: ProgressMode = "auto",
) -> None:
    """Learn which weighted sum of scores to choose by, from proxies trained on what such sums choose."""
    from assay.api.weighting import weigh as run_weigh

    if to is not None:
        require_folder(to)  # before the work, which would be in vain
    found = run_weigh(load_recipe(recipe, set), terms, num_draws=draws, workspace=space_at(workspace, recipe))
    _out.print(found.table())
    _out.print(f"An arm chooses by the weights with\n    score: {found.by}", soft_wrap=True, markup=False)
    _out.print(f"and by the rule with\n    score: {found.rule}", soft_wrap=True, markup=False)
    if to is not None:
        found.save(to)
        _out.print(f"\nWrote {to}", soft_wrap=True)


@app.command()
@reported
def show(
    thing: Annotated[
        str | None,
        typer.Argument(
            help="A recipe, a folder, (the start of) a fingerprint, or: duplicates, dropped.", show_default=False
        ),
    ] = None,
    which: Annotated[
        str | None,
        typer.Argument(
            help="After duplicates: exact, minhash; after dropped: an arm; or a fingerprint.", show_default=False
        ),
    ] = None,
    reason: Annotated[
        str | None, typer.Option(help="After dropped: one reason, such as gopher.too_few_words.", show_default=False)
    ] = None,
    number: Annotated[int, typer.Option("--number", "-n", help="After dropped: examples of each reason.")] = 10,
    costs: Annotated[bool, typer.Option("--costs", help="What it cost instead, and each step behind it.")] = False,
    workspace: WorkspacePath = None,
    runner: Runner = None,
    memory: Memory = None,
) -> None:
    """Show an artifact, a comparison, duplicates, dropped documents, or without argument all artifacts."""
    from assay.api.showing import show as run_show

    recipe = Path(thing) if thing and thing.endswith((".yaml", ".yml")) else None
    _out.print(run_show(thing, space_at(workspace, recipe), which, reason, number, costs))


@app.command()
@reported
def status(
    workspace: WorkspacePath = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Show what is done, what is being made and by whom, what was left half-done, and what it cost."""
    from assay.api.status import describe_status, to_json
    from assay.api.status import status as look

    found = look(space_at(workspace, None))
    if json:
        print(to_json(found))  # noqa: T201  (rich would break the lines)
    else:
        _out.print(describe_status(found))


app.command()(cli_models.train)
app.command()(cli_models.evaluate)
app.add_typer(cli_mix.app, name="mix")

recipes = typer.Typer(help="Published methods end to end, each held against a random choice.", no_args_is_help=True)
app.add_typer(recipes, name="recipe")
RecipeName = Annotated[str, typer.Argument(help="What `assay recipe list` calls it.", show_default=False)]


@recipes.command("list")
@reported
def recipe_list() -> None:
    """Show what there is: name, what it does, paper, what it goes by."""
    from assay.recipes.pages import listing

    _out.print(listing())


@recipes.command("show")
@reported
def recipe_show(name: RecipeName) -> None:
    """Show a recipe's page and the YAML it amounts to: assay recipe show dsir > recipe.yaml"""
    from assay.recipes.pages import example, with_page

    _out.print(with_page(name, example(name), min(_out.width, 120)), soft_wrap=True, end="")


def _option(name: str) -> Any:
    """An option that some recipes take."""
    from assay.recipes.layout import OPTIONS

    example, meaning = OPTIONS[name]
    return typer.Option(f"--{name}", metavar=example, help=f"{meaning[0].upper()}{meaning[1:]}.", show_default=False)


@recipes.command("run")
@reported
def recipe_run(
    name: RecipeName,
    pool: Annotated[list[str], typer.Option(help="What to choose from: file, folder or glob.", show_default=False)],
    target: Annotated[list[str], typer.Option(help="What the data is to be good for: text.", show_default=False)],
    budget: Annotated[str, typer.Option(help="What every arm may take, e.g. '2M tokens'.", show_default=False)],
    holdout: Annotated[str, typer.Option(help="Share of the target to test on, or a file of other documents.")] = "0.3",
    seeds: Annotated[int, typer.Option(help="How often everything is repeated.")] = 5,
    candidates: Annotated[str | None, _option("candidates")] = None,
    checkpoints: Annotated[str | None, _option("checkpoints")] = None,
    concepts: Annotated[str | None, _option("concepts")] = None,
    judgements: Annotated[str | None, _option("judgements")] = None,
    labels: Annotated[str | None, _option("labels")] = None,
    losses: Annotated[str | None, _option("losses")] = None,
    model: Annotated[str | None, _option("model")] = None,
    write: Annotated[
        str | None, typer.Option(help="Folder for the documents that the best arm takes.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for recipe and report (default: named like it).", show_default=False)
    ] = None,
    set: Set = None,
    workspace: WorkspacePath = None,
    runner: Runner = None,
    part: Part = None,
    memory: Memory = None,
    progress: ProgressMode = "auto",
) -> None:
    """Compare a published method with a random choice on your pool and target."""
    from assay.comparison.table import table
    from assay.recipes.running import FILE, folder_of, run

    comparison = run(
        name,
        pool,
        target,
        budget,
        holdout=holdout,
        seeds=seeds,
        given={
            "checkpoints": checkpoints,
            "concepts": concepts,
            "candidates": candidates,
            "judgements": judgements,
            "labels": labels,
            "losses": losses,
            "model": model,
        },
        changes=changes_of(set),
        write=write,
        workspace=space_at(workspace, None),
        out=out,
    )
    _out.print(table(comparison.content))
    folder = folder_of(name, out)
    _out.print(f"\nRecipe  {folder / FILE}\nReport  {folder / 'report.html'}", soft_wrap=True)
    if write is not None:
        _out.print(f"Chosen  {write}", soft_wrap=True)


def main() -> None:
    """The entry point of the `assay` command. Its process ends at once: the engine's threads may abort winding down."""
    hear_interrupts()
    try:
        app()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # a mistake of ours; winding down must not bury what it says
        traceback.print_exc()
        code = 1
    if "ray" in sys.modules:
        from assay.corpus.engine import stop

        stop()
    with suppress(BrokenPipeError):  # whoever read the output has gone
        sys.stdout.flush()
    sys.stderr.flush()
    release_all()
    os._exit(code)


def _arms(known: Mapping[str, object], name: str | None) -> list[str]:
    if name is None:
        return list(known)
    if name not in known:
        raise InvalidParameterError(f"The recipe has no arm {name!r}; it has {', '.join(known)}.")
    return [name]


if __name__ == "__main__":
    main()
