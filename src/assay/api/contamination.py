"""What `assay show` says of contamination scores: benchmarks, items found, documents affected, and examples."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import pyarrow.compute as pc
from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from assay.artifacts.kinds import Corpus, Scores
from assay.artifacts.workspace import Workspace
from assay.errors import ArtifactError

_NUM_EXAMPLES = 10
_RUN = 4
_NUM_CHARACTERS = 240
_TARGET = "target."


class _Find(NamedTuple):
    """The best item of a document, the `row`-th of part `part`."""

    share: float
    item: str
    what: str
    part: int
    row: int


def describe_contamination(scores: Scores) -> list[RenderableType]:
    """Tables for people; examples only where the texts are still in the workspace."""
    workspace = Workspace(scores.folder.parent)
    sets = {
        name.removeprefix(_TARGET): _opened(workspace, mark)
        for name, mark in scores.manifest.inputs.items()
        if name.startswith(_TARGET)
    }
    pool = _opened(workspace, scores.manifest.inputs["corpus"])
    return [_counts(scores, sets), *([_examples(scores, pool, sets)] if pool is not None else [])]


def _counts(scores: Scores, sets: dict[str, Corpus | None]) -> RenderableType:
    grid = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim")
    grid.add_column("benchmark")
    for name in ("items", "found", "documents"):
        grid.add_column(name, justify="right")
    summary = scores.manifest.summary
    for name, corpus in sets.items():
        found, documents = summary["items_found"].get(name, 0), summary["documents_affected"].get(name, 0)
        grid.add_row(name, "" if corpus is None else f"{corpus.num_documents:,}", f"{found:,}", f"{documents:,}")
    return grid


def _examples(scores: Scores, pool: Corpus, sets: dict[str, Corpus | None]) -> RenderableType:
    grid = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim", show_lines=True)
    for name in ("found", "in the benchmark", "in the document"):
        grid.add_column(name, ratio=None if name == "found" else 1)
    best: dict[str, _Find] = {}
    for find in _finds(scores):
        name = find.item.split(":", 1)[0]
        if name not in best or find.share > best[name].share:
            best[name] = find
    for name, find in sorted(best.items(), key=lambda pair: (-pair[1].share, pair[0]))[:_NUM_EXAMPLES]:
        corpus = sets.get(name)
        item = "" if corpus is None else _item_text(corpus, find.item.split(":", 1)[1])
        document, text = _document(pool, find.part, find.row)
        here, there = _side_by_side(item, text)
        grid.add_row(Text(f"{find.item}\n{find.what}, {find.share:.0%}\nin {document}"), Text(here), Text(there))
    return grid


def _finds(scores: Scores) -> Iterator[_Find]:
    columns = [f"contamination.{name}" for name in ("share", "item", "part")]
    for part in range(scores.num_parts):
        table = scores.table(part, columns)
        for row in pc.indices_nonzero(pc.is_valid(table[columns[1]])).to_pylist():
            share, item, what = (table[name][row].as_py() for name in columns)
            yield _Find(share, item, what, part, row)


def _opened(workspace: Workspace, mark: str) -> Corpus | None:
    try:
        return Corpus(workspace.find(mark))
    except ArtifactError:
        return None


def _item_text(corpus: Corpus, name: str) -> str:
    """Context, question and answer of an item, or its text when it has none of these."""
    columns = [column for column in ("context", "question", "answer_text", "text") if column in corpus.column_names]
    for part in range(corpus.num_parts):
        for batch in corpus.batches(part, ["id", *columns]):
            for row in batch.filter(pc.equal(batch.column("id").cast("string"), name)).to_pylist():
                text = row.pop("text")
                fields = [str(row[column]) for column in columns if row.get(column)]
                return " ".join(fields) or str(text)
    return ""


def _document(pool: Corpus, part: int, row: int) -> tuple[str, str]:
    """Id and text of one document."""
    for batch in pool.batches(part, ["id", "text"]):
        if row < len(batch):
            return str(batch.column("id")[row].as_py()), str(batch.column("text")[row].as_py())
        row -= len(batch)
    raise ArtifactError(f"Part {part} of {pool.name!r} has fewer rows than its scores. Score it again.")


def _side_by_side(item: str, document: str) -> tuple[str, str]:
    """The item from where its first run of words in common starts, and the document from where most of them are."""
    here, there = (list(re.finditer(r"\w+", text)) for text in (item, document))
    runs: dict[tuple[str, ...], int] = {}
    for k in range(len(here) - _RUN + 1):
        runs.setdefault(tuple(word.group().lower() for word in here[k : k + _RUN]), here[k].start())
    common = [
        (there[k].start(), runs[run])
        for k in range(len(there) - _RUN + 1)
        if (run := tuple(word.group().lower() for word in there[k : k + _RUN])) in runs
    ]
    if not common:
        return _cut(item, 0), _cut(document, 0)
    near = [sum(0 <= other - start < 2 * len(item) for other, _ in common) for start, _ in common]
    start, in_item = common[near.index(max(near))]
    return _cut(item, in_item), _cut(document, start)


def _cut(text: str, start: int) -> str:
    shown = " ".join(text[start : start + _NUM_CHARACTERS].split())
    return f"{'…' if start else ''}{shown}{'…' if start + _NUM_CHARACTERS < len(text) else ''}"
