"""manifest.json: written last, so an artifact that has one is whole."""

import glob
import hashlib
import json
import platform
import shutil
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from assay.artifacts.cost import is_cost
from assay.artifacts.process import is_gone
from assay.artifacts.remote import is_address
from assay.artifacts.storage import Location, atomic_path, location, sizes, within
from assay.errors import ArtifactError

MANIFEST = "manifest.json"
EXPORT_MANIFEST = "_manifest.json"  # beside exported Parquet, where readers of the folder pass over names with _
_RECORDED_PACKAGES = ("assay", "daft", "numba", "numpy", "pyarrow", "tokenizers")


def package_versions() -> dict[str, str]:
    """Versions that can change a result: Python and the packages that compute or store it."""
    return {"python": platform.python_version()} | {name: version(name) for name in _RECORDED_PACKAGES}


@dataclass(kw_only=True)
class Manifest:
    """What an artifact is and what made it.

    parts: per part `file`, `rows`, `bytes`, and for a corpus `row_groups`, `first_row`, `skip`.
    counts: rows in = kept + dropped by reason + failed, where the artifact has such a balance.
    summary: figures that describe the content (effective sample size, bits per byte ...).
    cost: what it took, of all processes that worked on it: `wall_seconds` and the fields of `cost.Cost`; the only field
        that differs between reruns.
    """

    kind: str
    name: str
    fingerprint: str
    version: int
    parameters: dict[str, Any]
    inputs: dict[str, Any]
    schema: dict[str, str]
    parts: list[dict[str, Any]]
    counts: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=package_versions)
    cost: dict[str, float] = field(default_factory=dict)

    def save(self, folder: Location, name: str = MANIFEST) -> None:
        """Writes the manifest into `folder`, whole or not at all, with a checksum of its content."""
        content = asdict(self)
        content["checksum"] = _checksum(content)
        with atomic_path(folder / name) as path:
            path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Location) -> "Manifest":
        """Reads the manifest of a finished artifact or export.

        Raises:
            ArtifactError: there is none (unfinished), it is not one of ours, it was changed or damaged since, or a part
                lies elsewhere or has another size than recorded.
        """
        path = next((p for p in (folder / MANIFEST, folder / EXPORT_MANIFEST) if p.exists()), folder / MANIFEST)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            manifest = cls(**{f.name: content[f.name] for f in fields(cls)})
            if content.get("checksum", _checksum(content)) != _checksum(content):
                raise ValueError("its content does not have the checksum that it states")
            sources = frozenset(manifest.parameters.get("folder", ())) if manifest.kind == "corpus" else frozenset()
            if not is_cost(manifest.cost):
                raise ValueError("its cost is none")
            for part in manifest.parts:
                _check_place(part, sources)
        except FileNotFoundError:
            raise ArtifactError(
                f"{folder} has no {MANIFEST}: it is not an artifact, or was never finished. Run its command again."
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ArtifactError(
                f"{path} is not a manifest of this version of Assay ({error}). Delete {folder}."
            ) from None
        files = [part["file"] for part in manifest.parts]
        for part, size in zip(manifest.parts, sizes(folder, files), strict=True):
            if size != part["bytes"]:
                file = within(folder, part["file"])
                way_out = "Restore the file or read the corpus again" if is_in_place(part) else f"Delete {folder}"
                raise ArtifactError(
                    f"{file} is missing or is not the {part['bytes']} bytes long that {path} says. {way_out}."
                )
        return manifest


def is_in_place(part: dict[str, Any]) -> bool:
    """Whether a part of a corpus is a Parquet file that is read where it lies, and not a file of the artifact."""
    return "row_groups" in part


def _check_place(part: dict[str, Any], sources: Collection[str]) -> None:
    """Raises ValueError unless a part lies in its artifact's folder or, read in place, in one of `sources`."""
    file = part["file"]
    if is_in_place(part):
        is_right = "footer" in part and str(location(file).parent) in sources
    else:
        is_right = not is_address(file) and Path(file).name == file and file not in ("", "..") and "\0" not in file
    if not is_right:
        raise ValueError(f"the part {file!r} is not in its folder")


def _checksum(content: dict[str, Any]) -> str:
    """Hash of a manifest, less the checksum itself and the cost, which differs between reruns.

    It tells damage, not forgery.
    """
    stated = json.loads(json.dumps({k: v for k, v in content.items() if k not in ("checksum", "cost")}))
    return hashlib.blake2b(json.dumps(stated, sort_keys=True).encode(), digest_size=8).hexdigest()


def remove_abandoned(folder: Path, name: str | None = None) -> None:
    """Deletes temporary files and folders (those that stand for `name`) whose process is gone, left by a killed run."""
    for path in folder.glob(f".{'*' if name is None else glob.escape(name)}.*.tmp"):
        if is_gone(path.name.split(".")[-2]):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
