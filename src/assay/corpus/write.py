"""Writing chosen documents as Parquet or JSON lines, for any trainer to read."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assay.artifacts.kinds import Corpus, Export, Selection
from assay.artifacts.manifest import EXPORT_MANIFEST, Manifest, remove_abandoned
from assay.artifacts.remote import RemotePath
from assay.artifacts.storage import Location, atomic_path
from assay.corpus.engine import map_parts
from assay.errors import ArtifactError, check_choice
from assay.progress import step

FORMATS = {"parquet": ".parquet", "jsonl": ".jsonl", "jsonl.zst": ".jsonl.zst"}
_ROW_GROUP_ROWS = 16_384
_UNFINISHED = "_unfinished"  # beside the parts of an export on an object store that is being written
_PART = re.compile(r"part-\d{5,}\.(parquet|jsonl|jsonl\.zst)")
_encoder = msgspec.json.Encoder(enc_hook=str)  # NaN, which JSON does not know, becomes null


def write_selection(corpus: Corpus, selection: Selection, to: Location, format: str) -> Export:
    """Writes every chosen document, with all its columns, as often as it is to be seen.

    One file for each part of the corpus that has a chosen document, in corpus order. The folder appears when it is
    whole; one that Assay wrote before is replaced, any other that is not empty is refused. On an object store, which
    has no renaming, the old files go first and the manifest comes last. In JSON lines, NaN is null and bytes
    are base64.

    Raises:
        ArtifactError: the folder holds something else.
        InvalidParameterError: the selection is one of another corpus.
        StorageError: an object store that refuses or cannot be reached.
    """
    check_choice("format", format, FORMATS)
    selection.require_made_from(corpus)
    given = to
    if isinstance(to, Path):
        to = to.resolve()  # where a link leads to, so that the link stays
        remove_abandoned(to.parent, to.name)
    _check_replaceable(to)
    with _replacing(to) if isinstance(to, Path) else _overwriting(to) as draft:
        entries: list[dict[str, Any]] = []
        with step(f"write {to.name}", selection.manifest.counts["kept"], "documents") as advance:
            for entry in map_parts(partial(_write_part, corpus, selection, draft, format), range(corpus.num_parts)):
                if entry is not None:
                    entries.append(entry)
                    advance(entry["documents"])
        manifest = _manifest(corpus, selection, to.name, format, entries)
        manifest.save(draft, EXPORT_MANIFEST)
    return Export(given, manifest)


@contextmanager
def _replacing(to: Path) -> Iterator[Path]:
    """A new folder beside `to` that takes its place when the block ends well, and is removed when it does not."""
    draft, old = (to.with_name(f".{to.name}.{mark}{os.getpid()}.tmp") for mark in ("", "old."))
    for folder in (draft, old):  # a killed process may have had this one's number, as in a container
        shutil.rmtree(folder, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        yield draft
        if to.exists():
            os.rename(to, old)
        os.rename(draft, to)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        if old.exists() and not to.exists():
            os.rename(old, to)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _overwriting(to: RemotePath) -> Iterator[RemotePath]:
    """`to` emptied, and marked as unfinished until the block ends well. A rerun begins again."""
    to.require_writable()
    old = to.sizes()
    with atomic_path(to / _UNFINISHED) as mark:
        mark.write_text("This export was not finished. Write it again, or delete the folder.\n", encoding="utf-8")
    for name in sorted(old, key=lambda name: name != EXPORT_MANIFEST):  # first what says that it is whole
        if name != _UNFINISHED:
            (to / name).unlink(missing_ok=True)
    yield to
    (to / _UNFINISHED).unlink()


def _manifest(corpus: Corpus, selection: Selection, name: str, format: str, entries: list[dict[str, Any]]) -> Manifest:
    return Manifest(
        kind="export",
        name=name,
        fingerprint=selection.fingerprint,
        version=1,
        parameters={"format": format},
        inputs={"corpus": corpus.fingerprint, "selection": selection.fingerprint},
        schema=corpus.manifest.schema,
        parts=entries,
        counts=selection.manifest.counts,
        summary=selection.manifest.summary,
    )


def _write_part(corpus: Corpus, selection: Selection, to: Location, format: str, part: int) -> dict[str, Any] | None:
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
        for batch in chain([first], batches):
            writer.write_batch(batch, row_group_size=_ROW_GROUP_ROWS)
            rows += len(batch)
    return rows


def _write_jsonl(batches: Iterator[pa.RecordBatch], path: Path, format: str) -> int:
    rows = 0
    compression = "zstd" if format.endswith(".zst") else None
    with pa.output_stream(str(path), compression=compression) as stream:
        for batch in batches:
            stream.write(_encoder.encode_lines(batch.to_pylist()))
            rows += len(batch)
    return rows


def _check_replaceable(to: Location) -> None:
    if not to.exists() or (to.is_dir() and not any(to.iterdir())):
        return
    if not to.is_dir():
        raise ArtifactError(f"{to} is a file; `to` must be a folder.")
    names = {path.name for path in to.iterdir()}
    if _UNFINISHED in names and all(_PART.fullmatch(name) for name in names - {_UNFINISHED, EXPORT_MANIFEST}):
        return
    try:
        manifest = Manifest.load(to)
    except ArtifactError:
        manifest = None
    if manifest is None or manifest.kind != "export":
        raise ArtifactError(
            f"{to} is not empty and was not written by `assay write`. Choose another folder, or empty it."
        )
    foreign = {name for name in names if not name.startswith(".")} - {
        EXPORT_MANIFEST,
        *(part["file"] for part in manifest.parts),
    }
    if foreign:
        raise ArtifactError(
            f"{to} would be replaced, but holds {min(foreign)!r}, which `assay write` did not put there. "
            "Move it away, or choose another folder."
        )
