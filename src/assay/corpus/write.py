"""Writing chosen documents as Parquet or JSON lines, for any trainer to read."""

import json
import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assay.artifacts.kinds import Corpus, Selection
from assay.artifacts.manifest import EXPORT_MANIFEST, Manifest, atomic_path, remove_abandoned
from assay.corpus.engine import map_parts
from assay.errors import ArtifactError, check_choice
from assay.progress import step

FORMATS = {"parquet": ".parquet", "jsonl": ".jsonl", "jsonl.zst": ".jsonl.zst"}
_ROW_GROUP_ROWS = 16_384


def write_selection(corpus: Corpus, selection: Selection, to: Path, format: str) -> Manifest:
    """Writes every chosen document, with all its columns, as often as it is to be seen.

    One file for each part of the corpus that has a chosen document, in corpus order. The folder appears when it is
    whole; one that Assay wrote before is replaced, any other that is not empty is refused.

    Raises:
        ArtifactError: the folder holds something else.
    """
    check_choice("format", format, FORMATS)
    _check_replaceable(to)
    draft = to.with_name(f".{to.name}.{os.getpid()}.tmp")
    remove_abandoned(to.parent)
    draft.mkdir(parents=True, exist_ok=True)
    parts = range(corpus.num_parts)
    entries: list[dict[str, Any]] = []
    with step(f"write {to.name}", selection.manifest.counts["kept"], "documents") as advance:
        for entry in map_parts(partial(_write_part, corpus, selection, draft, format), parts):
            if entry is not None:
                entries.append(entry)
                advance(entry["documents"])
    manifest = Manifest(
        kind="export",
        name=to.name,
        fingerprint=selection.fingerprint,
        version=1,
        parameters={"format": format},
        inputs={"corpus": corpus.fingerprint, "selection": selection.fingerprint},
        schema=corpus.manifest.schema,
        parts=entries,
        counts=selection.manifest.counts,
        summary=selection.manifest.summary,
    )
    manifest.save(draft, EXPORT_MANIFEST)
    if to.exists():
        shutil.rmtree(to)
    os.rename(draft, to)
    return manifest


def _write_part(corpus: Corpus, selection: Selection, to: Path, format: str, part: int) -> dict[str, Any] | None:
    repeats = selection.repeats(part)
    if not repeats.any():
        return None
    path = to / f"part-{part:05d}{FORMATS[format]}"
    batches = _chosen(corpus, repeats, part)
    with atomic_path(path) as temporary:
        rows = _write_parquet(batches, temporary) if format == "parquet" else _write_jsonl(batches, temporary, format)
        size = temporary.stat().st_size
    assert rows == repeats.sum()
    return {"file": path.name, "rows": rows, "bytes": size, "documents": int((repeats > 0).sum())}


def _chosen(corpus: Corpus, repeats: np.ndarray, part: int) -> Iterator[pa.RecordBatch]:
    first = 0
    for batch in corpus.batches(part, corpus.column_names):
        rows = np.repeat(np.arange(len(batch)), repeats[first : first + len(batch)])
        first += len(batch)
        if len(rows):
            yield batch.take(pa.array(rows))


def _write_parquet(batches: Iterator[pa.RecordBatch], path: Path) -> int:
    rows = 0
    first = next(batches)
    with pq.ParquetWriter(path, first.schema, compression="zstd") as writer:
        for batch in (first, *batches):
            writer.write_batch(batch, row_group_size=_ROW_GROUP_ROWS)
            rows += len(batch)
    return rows


def _write_jsonl(batches: Iterator[pa.RecordBatch], path: Path, format: str) -> int:
    rows = 0
    compression = "zstd" if format.endswith(".zst") else None
    with pa.output_stream(str(path), compression=compression) as stream:
        for batch in batches:
            lines = [json.dumps(row, ensure_ascii=False, default=str) for row in batch.to_pylist()]
            stream.write(("\n".join(lines) + "\n").encode())
            rows += len(batch)
    return rows


def _check_replaceable(to: Path) -> None:
    if not to.exists() or (to.is_dir() and not any(to.iterdir())):
        return
    if not to.is_dir():
        raise ArtifactError(f"{to} is a file; `to` must be a folder.")
    try:
        kind = Manifest.load(to).kind
    except ArtifactError:
        kind = "folder"
    if kind != "export":
        raise ArtifactError(
            f"{to} is not empty and was not written by `assay write`. Choose another folder, or empty it."
        )
