"""Fingerprints of what a parameter names by its path."""

from pathlib import Path
from typing import Any

from assay.artifacts.fingerprint import fingerprint
from assay.artifacts.model import Model
from assay.artifacts.workspace import Workspace
from assay.errors import InvalidParameterError, check_text


def model_path(model: Model | str | Path) -> str:
    """The folder of a language model: that of a trained one, or the path that is given."""
    return str(model.path if isinstance(model, Model) else model)


def path_fingerprint(name: str, path: Any, workspace: Workspace) -> str:
    """Of the content of a file, or of all files of a folder with their names.

    Raises:
        InvalidParameterError: there is nothing at the path.
    """
    check_text(name, path)
    place = Path(path).expanduser()
    files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
    if not files:
        raise InvalidParameterError(f"`{name}` (={path}) must be a file or a folder with files; there is none.")
    names = [str(file.relative_to(place)) for file in files]
    return fingerprint("files", 1, {}, dict(zip(names, workspace.file_fingerprints(files), strict=True)))
