"""Commands for language models: train one, test one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assay.options import Device, Memory, ProgressMode, WorkspacePath, reported, space_at
from assay.terminal import console

if TYPE_CHECKING:
    from assay.artifacts.model import Model
    from assay.artifacts.workspace import Workspace

_out = console()


@reported
def train(
    corpus: Annotated[list[str], typer.Argument(help="Documents: files, folders or globs.", show_default=False)],
    budget: Annotated[
        str | None, typer.Option(help="Tokens to train on, e.g. '2M tokens' (default: all).", show_default=False)
    ] = None,
    size: Annotated[str, typer.Option(help="1M, 5M, 20M, 60M or 150M parameters.")] = "1M",
    seed: Annotated[int, typer.Option(help="Of first weights, order and random choice.")] = 0,
    start: Annotated[
        str | None, typer.Option(help="Go on training this model: its name or fingerprint.", show_default=False)
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Stop after so long; the same command goes on.", show_default=False)
    ] = None,
    text: Annotated[str, typer.Option(help="Column that holds the text.")] = "text",
    device: Device = None,
    workspace: WorkspacePath = None,
    memory: Memory = None,
    progress: ProgressMode = "auto",
) -> None:
    """Train a small transformer on documents: a checkpoint that Hugging Face's software reads."""
    from assay.api.reading import read
    from assay.api.showing import describe
    from assay.api.training import train as run_train
    from assay.artifacts.model import Model
    from assay.proxy import GPT

    space = space_at(workspace, None)
    model = run_train(
        read(corpus, text=text, workspace=space),
        proxy=GPT(size=size),
        budget=budget,
        seed=seed,
        start=None if start is None else Model(space.find(start)),
        seconds=None if minutes is None else 60 * minutes,
        workspace=space,
    )
    _out.print(describe(model))


@reported
def evaluate(
    model: Annotated[
        str, typer.Argument(help="A trained model's name or fingerprint, or a folder.", show_default=False)
    ],
    target: Annotated[
        list[str] | None, typer.Option(help="Held-out documents: files, folders or globs.", show_default=False)
    ] = None,
    task: Annotated[list[str] | None, typer.Option(help="A file of benchmark items.", show_default=False)] = None,
    shots: Annotated[int, typer.Option(help="Examples before each question.")] = 0,
    max_items: Annotated[
        int | None, typer.Option(help="How many items of each file (default: all).", show_default=False)
    ] = None,
    harness: Annotated[
        list[str] | None, typer.Option(help="A task of lm-evaluation-harness, by name.", show_default=False)
    ] = None,
    text: Annotated[str, typer.Option(help="Column that holds the text.")] = "text",
    device: Device = None,
    workspace: WorkspacePath = None,
    progress: ProgressMode = "auto",
) -> None:
    """Test a language model on held-out text and on benchmark items."""
    from assay.api.evaluating import evaluate as run_evaluate
    from assay.api.reading import read
    from assay.api.showing import describe
    from assay.proxy.tasks import read_task

    space = space_at(workspace, None)
    found = run_evaluate(
        _model(model, space),
        target=None if not target else read(target, text=text, workspace=space),
        tasks=[read_task(file, num_shots=shots, max_items=max_items) for file in task or []],
        harness=harness or [],
        workspace=space,
    )
    _out.print(describe(found))


def _model(text: str, space: "Workspace") -> "Model | str":
    """A model of the workspace, or the path of a folder; one of the user's own hides no model of its name."""
    from assay.artifacts.manifest import MANIFEST
    from assay.artifacts.model import Model

    folder = Path(text)
    if (folder / "config.json").is_file() or ("/" in text and not (folder / MANIFEST).is_file()):
        return text
    return Model(folder if "/" in text else space.find(text))
