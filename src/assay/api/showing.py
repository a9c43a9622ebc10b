"""`assay show`: what is in the workspace, for people."""

import json
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from assay.api.contamination import describe_contamination
from assay.api.costing import steps_to
from assay.api.dropped import funnel_tables, show_dropped
from assay.api.duplicates import show_duplicates
from assay.artifacts.comparison import Comparison
from assay.artifacts.kinds import Artifact, Corpus, Embeddings, Export, Run, Scores, Selection, Tokens, human_count
from assay.artifacts.manifest import EXPORT_MANIFEST, MANIFEST, Manifest
from assay.artifacts.model import Model
from assay.artifacts.storage import Location, location
from assay.artifacts.verification import Verification
from assay.artifacts.workspace import Workspace
from assay.comparison.costs import HEADINGS, cost_cells, cost_table
from assay.comparison.report import in_words
from assay.comparison.table import table
from assay.comparison.verification_table import verification_table
from assay.errors import ArtifactError
from assay.proxy.evaluate import summary
from assay.scorers import Contamination

_NUM_VALUES = 8
_NUM_GROUPS = 20  # of a selection
_TOLD_ELSEWHERE = ("effective_sample_size", "lower_is_better")  # in the summary of scores
_KINDS: dict[str, type[Artifact]] = {
    k.kind: k for k in (Comparison, Corpus, Embeddings, Export, Model, Run, Scores, Selection, Tokens, Verification)
}


DUPLICATES, DROPPED = "duplicates", "dropped"


def show(
    thing: str | None,
    workspace: Workspace,
    which: str | None = None,
    reason: str | None = None,
    number: int = 10,
    costs: bool = False,
) -> RenderableType:
    """A recipe's last comparison, one artifact, duplicates, dropped documents, or everything in the workspace.

    Args:
        thing: a recipe, a comparison.json, an artifact's folder, (the start of) a fingerprint, "duplicates" for the
            largest clusters of them, "dropped" for documents that a selection left out, or None for a list.
        which: the scores that duplicates are taken from, or the selection; see `show_duplicates`, `show_dropped`.
        reason, number: of `show_dropped`.
        costs: what a comparison or artifact cost instead, with all the steps behind it.

    Raises:
        ArtifactError: there is no such thing.
    """
    if costs and thing in (None, DUPLICATES, DROPPED):
        raise ArtifactError("`--costs` is about one thing: a recipe that was compared, a folder or a fingerprint.")
    if thing is None:
        return _listing(workspace)
    if which is not None and thing not in (DUPLICATES, DROPPED):
        raise ArtifactError(f"`assay show` shows one thing; {which!r} can only follow {DUPLICATES!r} or {DROPPED!r}.")
    if thing == DROPPED:
        return show_dropped(workspace, which, reason, number)
    if thing == DUPLICATES:
        return show_duplicates(which, workspace)
    path = location(thing)
    if path.suffix in (".yaml", ".yml"):
        path = path.parent / "comparison.json"
        if not path.exists():
            raise ArtifactError(f"{thing} has not been compared yet ({path} is not there). Run: assay compare {thing}")
    if path.suffix == ".json" and path.exists():
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cost_table(content["cost"]["steps"]) if costs else table(content)
        except (ValueError, KeyError, TypeError):
            raise ArtifactError(f"{path} is not a comparison.json of this version of Assay.") from None
    folder = _folder(thing, path, workspace)
    manifest = Manifest.load(folder)
    if costs:
        return cost_table(steps_to(manifest, workspace))
    kind = _KINDS.get(manifest.kind)
    return _facts(manifest, folder) if kind is None else describe(kind(folder, manifest))


def _folder(thing: str, path: Location, workspace: Workspace) -> Location:
    """The folder that is meant; one of the user's own, such as pool/, does not hide the artifacts of its name."""
    is_artifact = any((path / name).exists() for name in (MANIFEST, EXPORT_MANIFEST))
    return path if is_artifact or ("/" in thing and path.is_dir()) else workspace.find(thing)


def describe(artifact: Artifact) -> RenderableType:
    """An artifact with its facts and what its kind has to show: quantiles of scores and figures of their fit, the
    funnel of a selection.
    """
    parts: list[RenderableType] = [_facts(artifact.manifest, artifact.folder, artifact.facts())]
    if isinstance(artifact, Comparison):
        parts = [table(artifact.content), Text(f"Report  {artifact.report}")]
    elif isinstance(artifact, Verification):
        parts.append(verification_table(artifact.content))
    elif isinstance(artifact, Scores):
        parts += _distributions(artifact)
        told = {k: v for k, v in artifact.manifest.summary.items() if k not in _TOLD_ELSEWHERE}
        if artifact.name == Contamination.name:
            parts += describe_contamination(artifact)
        elif told:
            options: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "default_flow_style": None}
            parts.append(Text(yaml.safe_dump(_shortened(told), width=60, **options)))
    elif isinstance(artifact, Run) and (answers := artifact.answers()) is not None:
        parts.append(_answers(answers))
    elif isinstance(artifact, Selection | Export):
        parts.append(_funnel(artifact.manifest.counts))
        if "groups" in artifact.manifest.summary:
            parts.append(_groups(artifact.manifest.summary["groups"]))
        if isinstance(artifact, Selection):
            parts += funnel_tables(artifact)
    return Group(*parts)


def _groups(groups: dict[str, dict[str, float]]) -> RenderableType:
    """What was taken of each source, the largest first."""
    unit = next(name for name in next(iter(groups.values())) if name != "share") if groups else "tokens"
    grid = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim")
    grid.add_column("group")
    for column in (unit, "share", "epochs", "documents"):
        grid.add_column(column, justify="right")
    ordered = sorted(groups.items(), key=lambda item: -item[1]["share"])
    for name, taken in ordered[:_NUM_GROUPS]:
        cells = (human_count(taken[unit]), f"{taken['share']:.2%}", f"{taken['epochs']:.2f}", f"{taken['documents']:,}")
        grid.add_row(Text(name), *cells)
    if len(ordered) > _NUM_GROUPS:
        grid.caption = f"and {len(ordered) - _NUM_GROUPS:,} more groups"
    return grid


def _answers(answers: pa.Table) -> RenderableType:
    """Benchmarks with the means over their items."""
    grid = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim")
    grid.add_column("benchmark")
    for column in ("items", "accuracy", "by length", "answer, bits/byte", "cut to fit"):
        grid.add_column(column, justify="right")
    for row in summary(answers).to_pylist():
        figures = (row["accuracy"], row["accuracy_norm"], row["bits_per_byte"])
        cells = ["–" if value is None else f"{value:.3f}" for value in figures]
        grid.add_row(row["task"], f"{row['items']:,}", *cells, f"{row['truncated']:,}")
    return grid


def _facts(manifest: Manifest, folder: Location, facts: dict[str, str] | None = None) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_row(Text(manifest.kind.capitalize(), style="bold"), Text(manifest.name, style="bold"))
    parameters = {k: v for k, v in manifest.parameters.items() if v is not None}
    rows = {
        **(facts or {}),
        "fingerprint": manifest.fingerprint,
        "parameters": json.dumps(parameters),
        "cost": ", ".join(f"{n} {cell}" for n, cell in zip(HEADINGS, cost_cells(manifest.cost), strict=True)),
        "folder": str(folder),
    }
    for label, value in rows.items():
        grid.add_row(Text(label, style="dim"), Text(value))
    return grid


def _distributions(scores: Scores) -> list[RenderableType]:
    """Quantiles of the columns that hold numbers, and the commonest values of those that hold text."""
    columns = {name: scores.to_table([name])[name] for name in scores.column_names}
    # The numbers of clusters only name; truth values are shown as 0 and 1.
    numbers = {name: c for name, c in columns.items() if _is_number(c.type) and not name.endswith(".cluster")}
    texts = {name: column for name, column in columns.items() if pa.types.is_string(column.type)}
    tables = [_quantiles(numbers)] if numbers else []
    return tables + ([_commonest(texts)] if texts else [])


def _shortened(value: Any) -> Any:
    """Figures of a fit: numbers to four digits, of long lists the first."""
    if isinstance(value, dict):
        return {key: _shortened(each) for key, each in value.items()}
    if isinstance(value, list):
        more = [f"and {len(value) - _NUM_VALUES:,} more"] if len(value) > _NUM_VALUES else []
        return [_shortened(each) for each in value[:_NUM_VALUES]] + more
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _quantiles(columns: dict[str, pa.ChunkedArray]) -> RenderableType:
    grid = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim")
    grid.add_column("column")
    for name in ("nulls", "min", "10 %", "median", "90 %", "max"):
        grid.add_column(name, justify="right")
    for name, column in columns.items():
        values = column.drop_null().cast(pa.float64()).to_numpy()
        points = np.quantile(values, [0, 0.1, 0.5, 0.9, 1]) if len(values) else []
        grid.add_row(name, f"{column.null_count:,}", *(f"{p:,.4g}" for p in points))
    return grid


def _commonest(columns: dict[str, pa.ChunkedArray]) -> RenderableType:
    grid = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim")
    for name in ("column", "commonest values and their documents"):
        grid.add_column(name)
    for name in ("values", "nulls"):
        grid.add_column(name, justify="right")
    for name, column in columns.items():
        counts = Counter(column.drop_null().to_pylist())
        listed = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        shown = ", ".join(f"{value} {number:,}" for value, number in listed[:_NUM_VALUES])
        grid.add_row(name, Text(shown), f"{len(counts):,}", f"{column.null_count:,}")
    return grid


def _funnel(counts: dict[str, Any]) -> RenderableType:
    grid = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim")
    grid.add_column("what became of it")
    grid.add_column("documents", justify="right")
    grid.add_row("in", f"{counts['in']:,}")
    grid.add_row(Text("kept", style="bold"), Text(f"{counts['kept']:,}", style="bold"))
    for reason, number in counts["dropped"].items():
        grid.add_row(in_words(reason), f"{number:,}")
    for reason, number in counts["failed"].items():
        grid.add_row(f"set aside: {reason}", f"{number:,}")
    return grid


def _listing(workspace: Workspace) -> RenderableType:
    grid = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim")
    for name in ("kind", "name", "fingerprint"):
        grid.add_column(name, no_wrap=True)
    for name in ("rows", "size", "seconds"):
        grid.add_column(name, justify="right")
    folders = [path.parent for path in workspace.manifests()]
    damaged = []
    for folder in folders:
        try:
            manifest = Manifest.load(folder)
        except ArtifactError as error:
            damaged.append(Text(f"damaged: {error}", style="red"))
            continue
        rows = sum(part["rows"] for part in manifest.parts)
        size = sum(part["bytes"] for part in manifest.parts)
        seconds = manifest.cost["wall_seconds"]
        grid.add_row(
            manifest.kind, manifest.name, manifest.fingerprint, f"{rows:,}", f"{human_count(size)}B", f"{seconds:.1f}"
        )
    if not folders:
        return Text(f"Nothing yet in {workspace.root}.")
    total = Text(f"{len(folders) - len(damaged)} artifacts in {workspace.root}", style="dim")
    return Group(grid, total, *damaged)
