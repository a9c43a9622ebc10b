"""Fingerprints of what a parameter names by its path."""

from pathlib import Path
from typing import Any

from assay.artifacts.fingerprint import fingerprint
from assay.artifacts.workspace import Workspace
from assay.errors import InvalidParameterError, check_text


def path_fingerprint(name: str, path: Any, workspace: Workspace) -> str:
    """Of the content of a file, or of all files of a folder with their names.

    Raises:
        InvalidParameterError: there is nothing at the path.
    """
    check_text(name, path)
    place = Path(path)
    files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
    if not files:
        raise InvalidParameterError(f"`{name}` (={path}) must be a file or a folder with files; there is none.")
    names = [str(file.relative_to(place)) for file in files]
    return fingerprint("files", 1, {}, dict(zip(names, workspace.file_fingerprints(files), strict=True)))
