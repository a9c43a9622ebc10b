"""Writing chosen documents as Parquet or JSON lines, for any trainer to read."""

import glob
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

from assay.artifacts.claims import claims_below, sweep_claims
from assay.artifacts.cost import Meter
from assay.artifacts.kinds import Corpus, Export, Selection
from assay.artifacts.manifest import EXPORT_MANIFEST, Manifest, remove_abandoned
from assay.artifacts.process import own_name
from assay.artifacts.remote import RemotePath
from assay.artifacts.storage import Location, atomic_path, sizes
from assay.corpus.engine import map_parts
from assay.corpus.sharing import share_one, share_step
from assay.errors import ArtifactError, check_choice

FORMATS = {"parquet": ".parquet", "jsonl": ".jsonl", "jsonl.zst": ".jsonl.zst"}
VERSION = 1
_DRAFT = re.compile(rf"\.[0-9a-f]{{16}}-({'|'.join(map(re.escape, FORMATS))})\.tmp")
_ROW_GROUP_ROWS = 16_384
_UNFINISHED = "_unfinished"  # beside the parts of an export on an object store that is being written
_PART = re.compile(r"part-\d{5,}\.(parquet|jsonl|jsonl\.zst)")
_BESIDE = re.compile(r"\.DS_Store|\.(part-|_manifest).*")  # what file managers and engines leave beside our files
_encoder = msgspec.json.Encoder(enc_hook=str)  # NaN, which JSON does not know, becomes null


def write_selection(corpus: Corpus, selection: Selection, to: Location, format: str) -> Export:
    """Writes every chosen document, with all its columns, as often as it is to be seen.

    One file for each part of the corpus that has a chosen document, in corpus order. The folder appears when it is
    whole; one that Assay wrote before is replaced, any other that is not empty is refused. On an object store, which
    has no renaming, the old files go first and the manifest comes last. What was written is not written again;
    processes that write the same share its parts. In JSON lines, NaN is null and bytes are base64.

    Raises:
        ArtifactError: the folder holds something else.
        InvalidParameterError: the selection is one of another corpus.
        StorageError: an object store that refuses or cannot be reached.
    """
    check_choice("format", format, FORMATS)
    selection.require_made_from(corpus)
    given = to
    to = check_place(to)
    if isinstance(to, Path):
        remove_abandoned(to.parent, to.name)
    if (done := _written(selection, to, format)) is None:
        if isinstance(to, RemotePath):
            with _overwriting(to, f"selection {selection.fingerprint} as {format}"):
                _fill(corpus, selection, to.name, format, to).save(to, EXPORT_MANIFEST)
        else:
            _write_beside(corpus, selection, to, format)
        done = Manifest.load(to)
    return Export(given, done)


def check_place(to: Location) -> Location:
    """The place where an export can be put; where a link leads to, so that the link stays.

    Raises:
        ArtifactError: the folder holds something else.
        StorageError: an object store that refuses or cannot be reached, or can only be read from.
    """
    if isinstance(to, RemotePath):
        to.require_writable()
    else:
        to = to.resolve()
    _check_replaceable(to)
    return to


def _write_beside(corpus: Corpus, selection: Selection, to: Path, format: str) -> None:
    """Writes into a hidden folder that takes the place of `to` when it is whole.

    Its name says what it is to be, so that other processes, and a rerun, go on with it.
    """
    draft = to.with_name(f".{to.name}.{selection.fingerprint}-{format}.tmp")
    try:
        draft.mkdir(parents=True, exist_ok=True)
        manifest = _fill(corpus, selection, to.name, format, draft)
        share_one(lambda: _install(draft, to, manifest), to, lambda _: not draft.exists())
    except (FileNotFoundError, ArtifactError):  # another process may have put the draft in its place
        if _written(selection, to, format) is None:
            raise


def _written(selection: Selection, to: Location, format: str) -> Manifest | None:
    """The manifest of `to` where it is whole, and what is to be written."""
    try:
        manifest = Manifest.load(to)
    except (ArtifactError, NotADirectoryError):
        return None
    is_it = (manifest.kind, manifest.version, manifest.fingerprint) == ("export", VERSION, selection.fingerprint)
    return manifest if is_it and manifest.parameters == {"format": format} else None


def _fill(corpus: Corpus, selection: Selection, name: str, format: str, draft: Location) -> Manifest:
    """Writes the parts that are not in the draft."""
    meter = Meter()
    counts = list(map_parts(partial(_count, selection), range(corpus.num_parts)))
    parts = [part for part, (rows, _) in enumerate(counts) if rows]
    paths = [draft / f"part-{part:05d}{FORMATS[format]}" for part in parts]
    work = partial(_write_part, corpus, selection, format)
    amounts = [counts[part][1] for part in parts]
    share_step(None, f"write {name}", work, list(zip(parts, paths, strict=True)), paths, amounts, "documents")
    there = sizes(draft, [path.name for path in paths])
    if None in there:
        raise ArtifactError(
            f"{paths[there.index(None)]} is gone: it was written a moment ago. Does another process write there? Run "
            "the same command again."
        )
    entries = [
        {"file": path.name, "rows": counts[part][0], "bytes": size, "documents": counts[part][1]}
        for part, path, size in zip(parts, paths, there, strict=True)
    ]
    return _manifest(corpus, selection, name, format, entries, meter)


def _install(draft: Path, to: Path, manifest: Manifest) -> None:
    """Puts the draft into the place of `to`, or leaves both as they were; then removes what was given up."""
    manifest.save(draft, EXPORT_MANIFEST)
    sweep_claims(draft)
    remove_abandoned(to.parent, to.name)
    old = to.with_name(f".{to.name}.old.{own_name()}.tmp")
    if to.exists():
        os.rename(to, old)
    try:
        os.rename(draft, to)
    except BaseException:
        if old.exists():
            os.rename(old, to)
        raise
    shutil.rmtree(old, ignore_errors=True)
    for other in to.parent.glob(f".{glob.escape(to.name)}.*-*.tmp"):
        is_ours = _DRAFT.fullmatch(other.name.removeprefix(f".{to.name}"))  # not one of "chosen.2" beside "chosen"
        if is_ours and all(is_gone for *_, is_gone in claims_below(other)):
            shutil.rmtree(other, ignore_errors=True)


@contextmanager
def _overwriting(to: RemotePath, what: str) -> Iterator[None]:
    """Marks `to` as not finished yet while the block runs, and empties it unless it is `what` that was not finished."""
    mark, old = to / _UNFINISHED, to.sizes()
    note = f"Not finished: {what}. Write it again, or delete the folder.\n"
    if _UNFINISHED not in old or mark.read_text() != note:
        with atomic_path(mark) as file:
            file.write_text(note, encoding="utf-8")
        for name in sorted(old, key=lambda name: name != EXPORT_MANIFEST):  # first what says that it is whole
            if name != _UNFINISHED:
                (to / name).unlink(missing_ok=True)
    yield
    mark.unlink(missing_ok=True)


def _manifest(
    corpus: Corpus, selection: Selection, name: str, format: str, entries: list[dict[str, Any]], meter: Meter
) -> Manifest:
    return Manifest(
        kind="export",
        name=name,
        fingerprint=selection.fingerprint,
        version=VERSION,
        parameters={"format": format},
        inputs={"corpus": corpus.fingerprint, "selection": selection.fingerprint},
        schema=corpus.manifest.schema,
        parts=entries,
        counts=selection.manifest.counts,
        summary=selection.manifest.summary,
        cost=meter.book(),
    )


def _count(selection: Selection, part: int) -> tuple[int, int]:
    """(rows to write, different documents among them)."""
    repeats = selection.repeats(part)
    return int(repeats.sum()), int(np.count_nonzero(repeats))


def _write_part(corpus: Corpus, selection: Selection, format: str, item: tuple[int, Location]) -> None:
    part, path = item
    repeats = selection.repeats(part)
    batches = _chosen(corpus, repeats, part)
    with atomic_path(path) as temporary:
        rows = _write_parquet(batches, temporary) if format == "parquet" else _write_jsonl(batches, temporary, format)
    assert rows == repeats.sum()


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
    foreign = {name for name in names if not _BESIDE.fullmatch(name)} - {
        EXPORT_MANIFEST,
        *(part["file"] for part in manifest.parts),
    }
    if foreign:
        raise ArtifactError(
            f"{to} would be replaced, but holds {min(foreign)!r}, which `assay write` did not put there. "
            "Move it away, or choose another folder."
        )
