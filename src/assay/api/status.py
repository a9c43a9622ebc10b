"""`assay status`: what a workspace holds, what is being made and by whom, what was left half-done, what it cost."""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from assay.artifacts.claims import claims_below, paths_below
from assay.artifacts.kinds import human_count
from assay.artifacts.manifest import MANIFEST, Manifest
from assay.artifacts.remote import RemotePath, is_address
from assay.artifacts.storage import Location
from assay.artifacts.workspace import Workspace, kept_costs, read_draft
from assay.errors import ArtifactError

DONE, RUNNING, HALF_DONE, DAMAGED = "done", "running", "half-done", "damaged"
_MOST_CLAIMS = 8


def status(workspace: Workspace) -> dict[str, Any]:
    """The state of a workspace, as JSON; reads only what it must, and changes nothing.

    Returns:
        workspace: its folder. artifacts: of each `kind`, `name`, `fingerprint`, `folder`, `state` ("done", "running",
        "half-done", "damaged"), `parts` made, `of` how many (None where only the finished artifact will tell), `rows`,
        `bytes` on disk, `wall_seconds` and `core_seconds` so far, and `claims`: who is making which `file` of it:
        `host`, `process` number, `since` (by that host's clock), `silent_seconds` since the last sign (which should be
        below 10; only as right as the two hosts' clocks agree), `is_gone` where the process is sure to have ended.
    """
    folders: list[Location] = list(workspace.root.iterdir()) if workspace.root.exists() else []
    if not folders and isinstance(workspace.root, RemotePath):
        workspace.root.require_bucket()
    found = [folder for folder in sorted(folders) if "-" in folder.name and folder.name[0] != "." and folder.is_dir()]
    artifacts = [_artifact(folder, workspace) for folder in found]
    return {"workspace": str(workspace.root), "artifacts": artifacts}


def describe_status(found: Mapping[str, Any]) -> RenderableType:
    """What `status` returns, for people."""
    artifacts = found["artifacts"]
    if not artifacts:
        return Text(f"Nothing yet in {found['workspace']}.")
    groups: list[RenderableType] = []
    nobody = "whether somebody is at work on it cannot be told on an object store; if nobody is"
    if not is_address(found["workspace"]):
        nobody = "and nobody is at work on a file of it now"
    for state, title in (
        (RUNNING, "Being made"),
        (HALF_DONE, f"Half-done, {nobody}: the same command goes on"),
        (DAMAGED, "Damaged: the same command makes it anew"),
    ):
        some = [artifact for artifact in artifacts if artifact["state"] == state]
        if some:
            groups += [Text(title, style="bold"), *(_lines(artifact) for artifact in some), Text("")]
    done = [artifact for artifact in artifacts if artifact["state"] == DONE]
    if done:
        groups += [Text("Done", style="bold"), _table(done)]
    total = sum(artifact["bytes"] for artifact in artifacts)
    return Group(*groups, Text(f"{human_count(total)}B in {found['workspace']}", style="dim"))


def _artifact(folder: Location, workspace: Workspace) -> dict[str, Any]:
    draft = read_draft(folder)
    kind, _, rest = folder.name.partition("-")
    name, _, mark = rest.rpartition("-")
    claims = list(_claims(folder))
    is_running = any(not claim["is_gone"] for claim in claims)
    spent_so_far = kept_costs(folder).values()
    found = {
        "kind": kind,
        "name": draft.get("name", name),
        "fingerprint": mark,
        "folder": folder.name,
        "state": RUNNING if is_running else HALF_DONE,
        # Some readers leave Parquet and what they found, some only the latter.
        "parts": max(Counter(path.suffix for path in folder.glob("part-*")).values(), default=0),
        "of": _num_parts(draft, workspace),
        "rows": 0,
        "bytes": _size(folder),
        "wall_seconds": sum(spent.get("wall_seconds", 0.0) for spent in spent_so_far),
        "core_seconds": sum(spent.get("core_seconds", 0.0) for spent in spent_so_far),
        "claims": claims,
    }
    if (folder / MANIFEST).exists():
        try:
            manifest = Manifest.load(folder)
        except ArtifactError:
            return found | {"state": DAMAGED}
        found |= {
            "name": manifest.name,
            "state": DONE,
            "parts": len(manifest.parts),
            "of": len(manifest.parts),
            "rows": sum(part["rows"] for part in manifest.parts),
            "wall_seconds": manifest.cost["wall_seconds"],
            "core_seconds": manifest.cost["core_seconds"],
        }
    return found


def _num_parts(draft: Mapping[str, Any], workspace: Workspace) -> int | None:
    """As many parts as the corpus has from which it is made; None for what is read from files, or has one part."""
    source = draft.get("inputs", {}).get("corpus")
    try:
        return len(Manifest.load(workspace.find(source)).parts) if source else None
    except ArtifactError:
        return None


def _claims(folder: Location) -> Iterator[dict[str, Any]]:
    now = time.time()
    for path, owner, last_sign, is_gone in claims_below(folder):
        yield {
            "file": str(path).removeprefix(f"{folder}/"),
            "host": owner.host,
            "process": owner.number,
            "since": owner.since,
            "silent_seconds": round(max(0.0, now - last_sign), 1),
            "is_gone": is_gone,
        }


def _size(folder: Location) -> int:
    if isinstance(folder, RemotePath):
        return sum(folder.sizes().values())
    sizes = 0
    for path in paths_below(folder):
        try:
            sizes += path.stat().st_size
        except FileNotFoundError:  # a temporary file has become what it stands for
            continue
    return sizes


def _lines(artifact: Mapping[str, Any]) -> RenderableType:
    of = f" of {artifact['of']}" if artifact["of"] else ""
    cost = f"{human_count(artifact['bytes'])}B, {artifact['core_seconds']:,.0f} core s"
    lines = [
        Text.assemble(
            ("  ", ""),
            (f"{artifact['kind']} {artifact['name']}", ""),
            (f"  {artifact['fingerprint']}  {artifact['parts']}{of} parts, {cost}", "dim"),
        )
    ]
    for claim in artifact["claims"][:_MOST_CLAIMS]:
        sign = "has ended" if claim["is_gone"] else f"last sign {claim['silent_seconds']:.0f} s ago"
        lines.append(Text(f"    {claim['file']}  {claim['host']}, process {claim['process']}, {sign}", style="cyan"))
    more = len(artifact["claims"]) - _MOST_CLAIMS
    return Group(*lines, *([Text(f"    and {more} more", style="cyan")] if more > 0 else []))


def _table(done: list[dict[str, Any]]) -> RenderableType:
    """A line for each kind and name, and the sum."""
    grid = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim", show_footer=True)
    columns = ("artifacts", "rows", "size", "wall s", "core s")
    grid.add_column("kind", footer="all")
    grid.add_column("name")
    lines: dict[tuple[str, str], np.ndarray] = {}
    for artifact in done:
        figures = [1, *(artifact[key] for key in ("rows", "bytes", "wall_seconds", "core_seconds"))]
        key = (artifact["kind"], artifact["name"])
        lines[key] = lines.get(key, np.zeros(len(columns))) + figures
    for column, total in zip(columns, np.sum(list(lines.values()), axis=0), strict=True):
        grid.add_column(column, justify="right", footer="" if column == "rows" else _figure(column, total))
    for (kind, name), line in lines.items():
        grid.add_row(kind, Text(name), *map(_figure, columns, line))
    return grid


def _figure(column: str, value: float) -> str:
    if column == "size":
        return f"{human_count(value)}B"
    return f"{value:,.1f}" if column.endswith(" s") else f"{value:,.0f}"


def to_json(found: Mapping[str, Any]) -> str:
    """What `status` returns, to be read by programs."""
    return json.dumps(found, indent=1, ensure_ascii=False)
