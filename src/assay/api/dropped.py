"""What became of documents, by where they come from and by language, and examples of what was left out."""

import heapq
from collections import Counter
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from assay.api.selecting import id_hashes
from assay.artifacts.kinds import Corpus, Scores, Selection
from assay.artifacts.workspace import Workspace
from assay.comparison.report import in_words
from assay.corpus.engine import map_parts
from assay.errors import ArtifactError, check_integer, did_you_mean
from assay.selection.presets import PRESETS

KEPT = "kept"
_LANGUAGE = "language.code"
_LANGUAGE_COLUMNS = ("language", "lang")
_EXCERPT_CHARACTERS = 400
_NUM_ROWS = 12


def sources(corpus: Corpus, part: int) -> pa.Array:
    """Where each document of a part comes from: its `source` if that can be read as text, or else its file."""
    found = _as_text(corpus, "source", part)
    if found is not None:
        return found
    entry = corpus.manifest.parts[part]
    return pa.array([str(entry["label"])] * entry["rows"], pa.string())


def languages(corpus: Corpus, scores: tuple[Scores, ...], part: int) -> pa.Array | None:
    """The language of each document of a part: what `language` scores say, else a column of the corpus, else None."""
    for one in scores:
        if _LANGUAGE in one.column_names:
            return one.table(part, [_LANGUAGE])[_LANGUAGE].fill_null("unknown").combine_chunks()
    return next((found for name in _LANGUAGE_COLUMNS if (found := _as_text(corpus, name, part)) is not None), None)


def funnels(corpus: Corpus, selection: Selection, scores: tuple[Scores, ...]) -> dict[str, dict[str, dict[str, int]]]:
    """`by_source` and, where languages are known, `by_language`: per value how many were kept, or dropped by reason."""
    totals: dict[str, dict[str, Counter[str]]] = {"by_source": {}, "by_language": {}}
    for found in map_parts(partial(_count, corpus, selection, scores), range(corpus.num_parts)):
        for kind, counts in found.items():
            for value, outcomes in counts.items():
                totals[kind].setdefault(value, Counter()).update(outcomes)
    return {
        kind: {value: dict(outcomes) for value, outcomes in sorted(counts.items())}
        for kind, counts in totals.items()
        if counts
    }


def funnel_tables(selection: Selection) -> list[RenderableType]:
    """The funnel by source and language, largest first, as far as corpus and scores are still in the workspace."""
    workspace = Workspace(selection.folder.parent)
    try:
        corpus = Corpus(workspace.find(selection.manifest.inputs["corpus"]))
        found = funnels(corpus, selection, _scores(workspace, selection))
    except ArtifactError:
        return []
    return [_funnel_table(kind.removeprefix("by_"), found[kind]) for kind in found if len(found[kind]) > 1]


def show_dropped(
    workspace: Workspace, which: str | None = None, reason: str | None = None, number: int = 10
) -> RenderableType:
    """Documents that a selection left out, drawn by the hash of their ids, each with what its reason is about.

    Args:
        which: name or (the start of) the fingerprint of the selection; None for the last that was made.
        reason: the drop reason; None for all of them. number: examples of each reason.

    Raises:
        ArtifactError: there is no such selection, nothing was dropped for that reason, or the corpus is gone.
    """
    check_integer("number", number, 1)
    selection = _selection(workspace, which, reason)
    corpus = Corpus(workspace.find(selection.manifest.inputs["corpus"]))
    dropped = selection.manifest.counts["dropped"]
    scores = _scores(workspace, selection)
    head = f"{selection.name} {selection.fingerprint} of {corpus.name}: kept {selection.manifest.counts['kept']:,}"
    parts: list[RenderableType] = [Text(head, style="bold")]
    for name in [reason] if reason is not None else dropped:
        parts += [Text(f"\n{in_words(name)}: {dropped[name]:,} documents", style="bold"), Text()]
        parts += _examples(corpus, selection, scores, name, number)
    return Group(*parts)


def _scores(workspace: Workspace, selection: Selection) -> tuple[Scores, ...]:
    marks = [mark for name, mark in selection.manifest.inputs.items() if name.startswith("scores.")]
    return tuple(Scores(workspace.find(mark)) for mark in marks)


def _funnel_table(title: str, found: dict[str, dict[str, int]]) -> RenderableType:
    grid = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim")
    grid.add_column(title, overflow="ellipsis", no_wrap=True, max_width=32)
    for name in ("in", "kept"):
        grid.add_column(name, justify="right")
    grid.add_column("most left out for")
    sizes = {value: sum(outcomes.values()) for value, outcomes in found.items()}
    for value in sorted(sizes, key=lambda v: (-sizes[v], v))[:_NUM_ROWS]:
        outcomes = dict(found[value])
        kept = outcomes.pop(KEPT, 0)
        reason = max(outcomes, key=lambda r: (outcomes[r], r)) if outcomes else None
        why = "" if reason is None else f"{in_words(reason)}: {outcomes[reason]:,}"
        grid.add_row(Text(value), f"{sizes[value]:,}", f"{kept:,}", why)
    if len(sizes) > _NUM_ROWS:
        grid.add_row(Text(f"and {len(sizes) - _NUM_ROWS:,} more", style="dim"))
    return grid


def _as_text(corpus: Corpus, name: str, part: int) -> pa.Array | None:
    if name not in corpus.column_names:
        return None
    try:
        return corpus.table(part, [name])[name].cast(pa.string()).fill_null("unknown").combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def _count(
    corpus: Corpus, selection: Selection, scores: tuple[Scores, ...], part: int
) -> dict[str, dict[str, Counter[str]]]:
    reasons = selection.table(part, ["reason"])["reason"].cast(pa.string()).fill_null(KEPT)
    counts: dict[str, dict[str, Counter[str]]] = {}
    kinds = {"by_source": sources(corpus, part), "by_language": languages(corpus, scores, part)}
    for kind, values in kinds.items():
        if values is None:
            continue
        table = (
            pa.table({"value": values, "reason": reasons}).group_by(["value", "reason"]).aggregate([([], "count_all")])
        )
        for row in table.to_pylist():
            counts.setdefault(kind, {}).setdefault(row["value"], Counter())[row["reason"]] += row["count_all"]
    return counts


def _selection(workspace: Workspace, which: str | None, reason: str | None) -> Selection:
    """The last selection that fits, of those that dropped something for that reason."""
    folders = sorted(workspace.manifests("selection-*"), key=lambda path: path.stat().st_mtime_ns)
    known = [Selection(path.parent) for path in folders]
    fitting = [s for s in known if which is None or s.name == which or s.fingerprint.startswith(which)]
    if not fitting:
        listed = ", ".join(sorted({s.name for s in known})) or "none yet"
        raise ArtifactError(f"No selection in {workspace.root} matches {which or 'anything'!r}. There: {listed}.")
    with_reason = [s for s in fitting if reason is None or reason in s.manifest.counts["dropped"]]
    if not with_reason:
        there = sorted({name for s in fitting for name in s.manifest.counts["dropped"]})
        raise ArtifactError(
            f"Nothing was dropped for {reason!r}; the reasons were {', '.join(there) or 'none'}. "
            f"{did_you_mean(reason, there)}".rstrip()
        )
    return with_reason[-1]


def _examples(
    corpus: Corpus, selection: Selection, scores: tuple[Scores, ...], reason: str, number: int
) -> list[RenderableType]:
    best: list[tuple[int, int, int]] = []
    for part in range(corpus.num_parts):
        rows = np.flatnonzero(selection.is_dropped_for(part, reason))
        hashes = id_hashes(corpus, part)[rows]
        best = heapq.nsmallest(number, [*best, *((int(h), part, int(r)) for h, r in zip(hashes, rows, strict=True))])
    column = next((rule.column for rules in PRESETS.values() for rule in rules if rule.reason == reason), None)
    shown: list[RenderableType] = []
    for _, part, row in best:
        facts: list[str] = [str(sources(corpus, part)[row].as_py())]
        facts += [f"{column} = {_value(one, part, row, column):.4g}" for one in scores if column in one.column_names]
        document = _document(corpus, part, row)
        text = " ".join(str(document["text"])[:_EXCERPT_CHARACTERS].split())
        more = "…" if len(document["text"]) > _EXCERPT_CHARACTERS else ""
        shown += [Text(f"{document['id']}  ({', '.join(facts)})", style="dim"), Text(f"  {text}{more}")]
    return shown


def _value(scores: Scores, part: int, row: int, column: str | None) -> Any:
    assert column is not None
    return scores.table(part, [column])[column][row].as_py()


def _document(corpus: Corpus, part: int, row: int) -> dict[str, Any]:
    for batch in corpus.batches(part, ["id", "text"]):
        if row < len(batch):
            return batch.slice(row, 1).to_pylist()[0]
        row -= len(batch)
    raise ArtifactError(f"Part {part} of {corpus.name!r} has fewer rows than its selection. Read it again.")
