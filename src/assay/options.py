"""What commands have in common: their options, failures told in a sentence, and the workspace that is meant."""

import errno
import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assay import progress
from assay.artifacts.claims import PART, parse_part
from assay.errors import AssayError, InvalidParameterError

if TYPE_CHECKING:
    from assay.api.recipe import Recipe
    from assay.artifacts.workspace import Workspace

RecipePath = Annotated[Path, typer.Argument(help="The recipe, a YAML file.", show_default=False)]
ArmName = Annotated[str | None, typer.Option("--arm", help="One arm of the recipe.", show_default=False)]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change the recipe, e.g. --set budget='5M tokens'.", show_default=False
    ),
]
WorkspacePath = Annotated[
    str | None,
    typer.Option(
        "--workspace",
        help="Where artifacts are kept, a folder or s3://... (default: .assay beside the recipe file, else here).",
        show_default=False,
    ),
]


def kept_as(variable: str) -> Callable[[str | None], None]:
    """A callback that leaves an option's value in the environment, where this process and its workers look for it."""

    def keep(value: str | None) -> None:
        if value is not None:
            os.environ[variable] = value

    return keep


Runner = Annotated[
    str | None,
    typer.Option(
        "--runner",
        help="Where the work is done: native (this machine), ray or ray://host:port (a cluster).",
        callback=kept_as("ASSAY_RUNNER"),
        show_default=False,
    ),
]


def _set_part(value: str | None) -> None:
    if value is not None:
        try:
            parse_part(value)
        except InvalidParameterError as error:
            raise typer.BadParameter(str(error)) from None
        os.environ[PART] = value


Part = Annotated[
    str | None,
    typer.Option(
        "--part",
        metavar="I/N",
        help="This is process I of N that share the work; or: slurm.",
        show_default=False,
        callback=_set_part,
    ),
]


Memory = Annotated[
    str | None,
    typer.Option(
        "--memory",
        help="Memory to work in, e.g. 4GB (default: 3/4 of what machine and container have).",
        callback=kept_as("ASSAY_MEMORY"),
        show_default=False,
    ),
]


Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="Where a model runs: auto, cpu, cuda, cuda:1, mps.",
        callback=kept_as("ASSAY_DEVICE"),
        show_default=False,
    ),
]


def _show_progress(mode: str) -> None:
    try:
        progress.set_mode(mode)
    except InvalidParameterError as error:
        raise typer.BadParameter(str(error)) from None


ProgressMode = Annotated[
    str,
    typer.Option(
        "--progress",
        envvar="ASSAY_PROGRESS",
        help=f"How it is shown: {', '.join(progress.MODES)}; auto is bars on a terminal, else lines.",
        callback=_show_progress,
        show_envvar=False,
    ),
]


def reported(command: Callable[..., None]) -> Callable[..., None]:
    """Lets every failure that a person can do something about end in a sentence, not in a traceback."""

    @wraps(command)
    def run(*args: Any, **options: Any) -> None:
        try:
            return command(*args, **options)
        except KeyboardInterrupt:
            sys.unraisablehook = lambda _: None  # what the engine says of work that it drops half done helps nobody
            progress.fail("Interrupted. What is finished is kept; run the same command again to go on.", label="\n")
            raise typer.Exit(130) from None
        except AssayError as error:
            message = str(error)
        except OSError as error:
            known = _disk_message(error)
            if known is None:
                raise
            message = known
        progress.fail(message)
        raise typer.Exit(1)

    return run


def space_at(given: str | None, recipe: Path | None) -> "Workspace":
    """The workspace asked for, or the one beside the recipe."""
    from assay.artifacts.workspace import DEFAULT_WORKSPACE, Workspace

    if given is None and recipe is not None and "ASSAY_WORKSPACE" not in os.environ:
        given = str(recipe.parent / DEFAULT_WORKSPACE)
    return Workspace(given)


def load_recipe(path: Path, changes: list[str] | None) -> "Recipe":
    """The recipe in a file, with what `--set` changes."""
    from assay.api.recipe import Recipe

    return Recipe.load(path, changes_of(changes))


def changes_of(given: list[str] | None) -> dict[str, str]:
    """What `--set` changes, by key."""
    pairs = {}
    for change in given or []:
        key, equals, value = change.partition("=")
        if not equals:
            raise InvalidParameterError(f"`--set` (={change!r}) must be KEY=VALUE, e.g. --set seeds=10.")
        pairs[key] = value
    return pairs


def require_folder(file: Path) -> None:
    """Raises InvalidParameterError when there is no folder for a file that is to be written."""
    if not file.parent.is_dir():
        raise InvalidParameterError(f"There is no folder {file.parent} for {file.name}. Make it, or mend the name.")


def _disk_message(error: OSError) -> str | None:
    """What to do about a disk that is full or not writable; None for any other error."""
    where = f" while writing {error.filename}" if error.filename else ""
    advice = "What is finished is kept: make room, or go on elsewhere with --workspace, and run the same command again."
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"No space left on the disk{where} ({error.strerror or error}). {advice}"
    if error.errno == errno.ENOENT:
        return f"{error.filename or error} is gone: it was there before. If that was not meant, run the command again."
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return f"Not allowed to use {error.filename or 'a file'}: {error.strerror}. {advice}"
    return f"{error.strerror}: {error.filename}" if error.strerror and error.filename else None
