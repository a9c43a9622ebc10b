"""`assay recipe run`: a recipe on one's own pool and target, and the documents of the winner where asked for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assay.api.comparing import compare
from assay.api.recipe import Recipe, set_keys
from assay.artifacts.comparison import Comparison
from assay.artifacts.remote import RemotePath
from assay.artifacts.storage import location
from assay.artifacts.workspace import Workspace
from assay.errors import ArtifactError
from assay.recipes.layout import Layout
from assay.recipes.pages import layout, module, with_page

FILE = "recipe.yaml"


def run(
    name: str,
    pool: str | list[str],
    target: str | list[str],
    budget: str,
    *,
    holdout: str = "0.3",
    seeds: int = 5,
    given: Mapping[str, Any] | None = None,
    changes: Mapping[str, str] | None = None,
    write: str | None = None,
    workspace: Workspace | None = None,
    out: Path | None = None,
) -> Comparison:
    """Compares a recipe's arms with a random choice; recipe.yaml, comparison.json and report.html go into a folder.

    Args:
        holdout: share of the target to test on, or a file of other documents.
        given: options of the recipe by name. changes: as those of `Recipe.load`.
        write: folder for the documents of the winner.
        out: the folder; default one called like the recipe. A recipe.yaml there that says something else stays.

    Raises:
        AssayError: the recipe, the data or the disk; the message says what to do.
    """
    target_source = {"read": _absolute(target), "holdout": _share_or_path(holdout)}
    paths = {k: _absolute(v) if v is not None else None for k, v in (given or {}).items()}
    content = layout(name, {"read": _absolute(pool)}, target_source, budget, paths)
    content = {"pool": content["pool"], "target": content["target"], "budget": budget, "seeds": seeds, **content}
    if write is not None:
        content["write"] = {"arm": "best", "to": _absolute(write)}
    set_keys(content, changes or {})
    Recipe.from_dict(content)  # checked before anything is written
    content = learn(name, content, workspace or Workspace())
    folder = folder_of(name, out)
    return compare(_put(name, content, folder), workspace=workspace, out=folder)


def learn(name: str, content: Layout, workspace: Workspace) -> Layout:
    """A recipe's comparison with what has to be trained before its arms are known; most have nothing to learn."""
    found = getattr(module(name), "learn", None)
    return content if found is None else found(content, workspace)


def folder_of(name: str, out: Path | None) -> Path:
    """Where a run's recipe and report go."""
    return Path(name) if out is None else out


def _put(name: str, content: Layout, folder: Path) -> Path:
    """Writes the recipe, so that it can be changed and compared again.

    Raises:
        ArtifactError: there is another one.
    """
    path, text = folder / FILE, with_page(name, content, is_learnt=True)
    folder.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise ArtifactError(
            f"{path} says something else. Run it as it is (assay compare {path}), delete it, or give another --out."
        )
    path.write_text(text, encoding="utf-8")
    return path


def _absolute(given: Any) -> Any:
    """Paths as they are meant from anywhere."""
    if isinstance(given, list):
        return [_absolute(path) for path in given] if len(given) > 1 else _absolute(given[0])
    place = location(given)
    return str(place if isinstance(place, RemotePath) else place.absolute())


def _share_or_path(given: str) -> float | str:
    try:
        return float(given)
    except ValueError:
        return str(_absolute(given))
