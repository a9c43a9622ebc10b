"""Files in, corpus out: finds the files, picks the reader, checks ids, writes the manifest."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assay.artifacts.cost import count_read
from assay.artifacts.kinds import Corpus
from assay.artifacts.manifest import Manifest
from assay.artifacts.remote import RemotePath
from assay.artifacts.storage import Location, atomic_path, find_glob, location, read_texts, sizes
from assay.artifacts.workspace import Draft, Workspace
from assay.corpus import jsonl, pages, parquet, textfiles, warc
from assay.corpus.extraction import DEFAULT_EXTRACTOR, EXTRACTORS, extractor_versions
from assay.corpus.extraction import VERSION as EXTRACTION_VERSION
from assay.corpus.failures import FAILED_FOLDER, Failure, check_failed_share, describe, read_failures, write_failures
from assay.corpus.ids import doubled_rows
from assay.corpus.parts import line_of, renamed, unify_schemas
from assay.corpus.sharing import share_step
from assay.errors import InputError, SchemaError, check, check_choice, check_number
from assay.progress import count_failed, note

VERSION = 1
FORMATS = ("parquet", "jsonl", "text", "html", "warc")
_EXTRACTING = ("html", "warc")
_SUFFIXES = {
    "parquet": (".parquet", ".pq"),
    "jsonl": tuple(s + c for s in (".jsonl", ".ndjson", ".json") for c in ("", ".gz", ".zst", ".zstd")),
    "text": (".txt", ".md", ".rst", ".text", ".tex", ".py"),
    "html": tuple(s + c for s in (".html", ".htm") for c in ("", ".gz")),
    "warc": tuple(s + c for s in (".warc", ".wet") for c in ("", ".gz")),
}


def read_corpus(
    read: str | Location | Sequence[str | Location],
    *,
    text: str = "text",
    id: str | None = None,
    format: str | None = None,
    extract: str | None = None,
    name: str | None = None,
    max_failed_share: float = 0.0,
    workspace: Workspace,
) -> Corpus:
    """See `assay.read`."""
    check_number("max_failed_share", max_failed_share, "a share from 0 to 1", lambda x: 0 <= x <= 1)
    check(isinstance(text, str) and text != "", "text", text, "the name of a column")
    files = find_files(read, format)
    format = format or _format_of(files)
    extract = _extractor(extract, format)
    files, empty = _without_empty(files)
    name = name or _name(read)
    labels = _labels(files)
    # One order, however the files were listed: the same files are the same corpus, part by part.
    labels, files = map(list, zip(*sorted(zip(labels, files, strict=True)), strict=True))
    inputs = dict(zip(labels, workspace.file_fingerprints(files), strict=True))
    parameters: dict[str, Any] = {"format": format, "text": text, "id": id}
    if extract is not None:
        parameters["extract"] = {"version": EXTRACTION_VERSION, **extractor_versions(extract)}
    elif format == "parquet":  # read in place, so the place is part of the question
        parameters["folder"] = [str(file.parent.absolute()) for file in files]
    draft = workspace.open_draft("corpus", name, VERSION, parameters, inputs)
    manifest = draft.finished()
    if manifest is None:
        draft.start()
        if empty:
            note(f"{len(empty)} empty file(s) skipped: {', '.join(str(path) for path in empty[:3])}")
        task = _Task(workspace, draft, files, labels, text, id, extract, max_failed_share, len(empty))
        try:
            manifest = draft.or_finished(partial(_READERS[format], task))
        except (InputError, SchemaError, FileNotFoundError):
            _require_unchanged(task)  # an object that was replaced or deleted explains what looks like damage
            raise
    failed = Counter(manifest.counts["failed"])
    corpus = Corpus(draft.folder, manifest)
    check_failed_share(name, corpus.num_documents, failed, draft.folder, max_failed_share)
    return corpus


def find_files(read: str | Location | Sequence[str | Location], format: str | None = None) -> list[Location]:
    """The files that a path, address, folder, glob or list of these stands for, sorted.

    Raises:
        InputError: one of them matches nothing.
        InvalidParameterError: an address of an unknown scheme, or with a key in it.
        StorageError: an object store that refuses or cannot be reached.
    """
    if format is not None:
        check_choice("format", format, FORMATS)
    patterns = [read] if isinstance(read, str | Location) else read
    is_list = isinstance(patterns, Sequence) and all(isinstance(p, str | Location) for p in patterns)
    check(is_list and len(patterns) > 0, "read", read, "a path, a folder, a glob or a list of these")
    files: dict[Location, None] = {}
    for pattern in patterns:
        path = location(pattern)
        if path.is_dir():
            found = _in_folder(path, format)
        elif path.exists():
            found = [path]
        else:
            found = find_glob(path)
        if not found:
            if isinstance(path, RemotePath):
                path.require_bucket()
            where = f" (looked in {Path.cwd()})" if isinstance(path, Path) else ""
            raise InputError(f"No file matches {str(pattern)!r}{where}. Check `read`.")
        files |= dict.fromkeys(found)
    return list(files)


def _in_folder(folder: Location, format: str | None) -> list[Location]:
    """The files below a folder that are not hidden: those of `format`, or of any known one when it is not given."""
    root = _pure(folder)
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not _is_hidden(_pure(p).relative_to(root)))
    if format == "text":
        return files
    if format is not None:
        return [path for path in files if _kind(path) == format] or files
    known = [path for path in files if _kind(path) is not None]
    if files and not known:
        raise InputError(
            f"The names of the files in {folder} do not tell their format; the first is {files[0].name}. "
            f"Pass format=, one of {', '.join(FORMATS)}."
        )
    if len(known) < len(files):
        note(f"{len(files) - len(known)} file(s) in {folder} left out: their names do not tell their format")
    return known


class _Task(NamedTuple):
    """What to read and how; see `read_corpus`."""

    workspace: Workspace
    draft: Draft
    files: list[Location]
    labels: list[str]
    text: str
    id: str | None
    extract: str | None
    max_failed_share: float
    num_empty: int

    def labelled(self) -> list[tuple[Location, str]]:
        """(path, label) of each file."""
        return list(zip(self.files, self.labels, strict=True))


def _read_jsonl(task: _Task) -> Manifest:
    id_key = task.id if task.id is not None else ("id" if jsonl.has_id(task.files, task.text) else None)
    sources = [
        jsonl.Source(file, label, *bounds, text_key=task.text, id_key=id_key, extract=task.extract)
        for file, label in task.labelled()
        for bounds in jsonl.cut(file)
    ]
    amounts = [(source.end or source.path.stat().st_size) - source.start for source in sources]
    return _ingest(task, sources, amounts, jsonl.read_range)


def _read_text(task: _Task) -> Manifest:
    sources = [textfiles.Source(group) for group in textfiles.group(task.labelled())]
    return _ingest(task, sources, _file_sizes(sources), textfiles.read_group)


def _read_html(task: _Task) -> Manifest:
    sources = [pages.Source(group, str(task.extract)) for group in textfiles.group(task.labelled())]
    return _ingest(task, sources, _file_sizes(sources), pages.read_group)


def _read_warc(task: _Task) -> Manifest:
    sources = [
        warc.Source(file, label, *bounds, extract=str(task.extract))
        for file, label in task.labelled()
        for bounds in warc.cut(file)
    ]
    amounts = [(source.end or source.path.stat().st_size) - source.start for source in sources]
    return _ingest(task, sources, amounts, warc.read_range, mend=warc.wrongly_cut)


def _read_parquet(task: _Task) -> Manifest:
    files, text = task.files, task.text
    checked = [parquet.check_columns(file, text, task.id, may_be_bytes=task.extract is not None) for file in files]
    id_column = checked[0][0]
    for file, (other, _) in zip(files, checked, strict=True):
        if other != id_column:
            raise SchemaError(f"{files[0]} has an 'id' column and {file} has not, or the reverse. Pass id=...")
    sources, amounts = [], []
    for file, label in task.labelled():
        pieces = parquet.cut(file)
        sources += [parquet.Source(file, label, *piece, text, id_column, task.extract) for piece in pieces]
        amounts += [file.stat().st_size // max(1, len(pieces))] * len(pieces)
    if task.extract is not None:
        return _ingest(task, sources, amounts, parquet.extract_part)
    schema, columns = _place_schema([schema for _, schema in checked], text, id_column)
    task.draft.parameters = task.draft.parameters | {"columns": columns}
    return _ingest(task, sources, amounts, parquet.scan, schema=schema)


_READERS: dict[str, Callable[[_Task], Manifest]] = {
    "parquet": _read_parquet,
    "jsonl": _read_jsonl,
    "text": _read_text,
    "html": _read_html,
    "warc": _read_warc,
}


def _ingest(
    task: _Task,
    sources: Sequence[Any],
    amounts: list[int],
    read: Callable[..., dict[str, Any]],
    *,
    schema: dict[str, str] | None = None,
    mend: Callable[..., dict[int, Any]] | None = None,
) -> Manifest:
    """Runs a reader over its sources, keeping what earlier runs finished, and puts the results together.

    `mend` names sources that turn out to have been cut wrongly, as they are to be read again. They get new names, and
    the old files stay to the end: another process may just be looking at them.
    """
    draft = task.draft
    prefixes, wrong = [f"part-{k:05d}" for k in range(len(sources))], []
    done = _read_sources(draft, sources, prefixes, amounts, read)
    while mend is not None and (again := mend(sources, done)):
        sources = [again.get(k, source) for k, source in enumerate(sources)]
        for k in again:
            (draft.folder / FAILED_FOLDER / f"{prefixes[k]}.parquet").unlink(missing_ok=True)
            wrong.append(prefixes[k])
            prefixes[k] += "r"
        done = _read_sources(draft, sources, prefixes, amounts, read)
    _require_unchanged(task)
    parts = [part for result in done for part in result["parts"]]
    failed = sum((Counter(result["failed"]) for result in done), Counter())
    num_documents = sum(part["rows"] for part in parts)
    _check_text_column(draft, failed, num_documents)
    schema = schema or _common_schema([result["schema"] for result in done if result["parts"]])
    failed["duplicate_id"] = _set_duplicates_aside(draft, parts, schema)
    failed = +failed
    num_documents = sum(part["rows"] for part in parts)
    check_failed_share(draft.name, num_documents, failed, draft.folder, task.max_failed_share)
    no_documents = sum((Counter(result.get("no_documents", {})) for result in done), Counter())
    if num_documents == 0:
        raise InputError(_nothing(draft.name, no_documents))
    counts: dict[str, Any] = {"documents": num_documents, "failed": dict(failed), "empty_files": task.num_empty}
    if no_documents:
        counts["no_documents"] = dict(sorted(no_documents.items()))
    manifest = draft.finish(
        schema=schema,
        parts=[part for part in parts if part["rows"]],
        counts=counts,
        summary={"estimated_tokens": sum(result["estimated_tokens"] for result in done)},
    )
    for path in [path for prefix in wrong for path in draft.folder.glob(f"{prefix}[.-]*")]:
        path.unlink(missing_ok=True)
    return manifest


def _read_sources(
    draft: Draft,
    sources: Sequence[Any],
    prefixes: list[str],
    amounts: list[int],
    read: Callable[..., dict[str, Any]],
) -> list[dict[str, Any]]:
    """The result of each source, taken from the folder where it has been read before."""
    paths = [draft.folder / f"{prefix}.json" for prefix in prefixes]
    todo = [k for k, size in enumerate(sizes(draft.folder, [path.name for path in paths])) if not size]
    work = partial(_read_source, read, draft.folder)
    items = [(sources[k], prefixes[k], amounts[k]) for k in todo]
    new = [paths[k] for k in todo]

    def count_set_aside(k: int) -> None:
        count_failed(sum(json.loads(new[k].read_text(encoding="utf-8"))["failed"].values()))

    todo_amounts = [amounts[k] for k in todo]
    share_step(draft, f"read {draft.name}", work, items, new, todo_amounts, then=count_set_aside)
    return [json.loads(text) for text in read_texts(paths)]


def _require_unchanged(task: _Task) -> None:
    """Raises InputError when an object was replaced while it was read: what came of it fits neither."""
    files = [file for file in task.files if isinstance(file, RemotePath)]
    known = dict(zip(task.files, task.draft.inputs.values(), strict=True))
    try:
        for file, now in zip(files, task.workspace.file_fingerprints(files), strict=True):
            if now != known[file]:
                raise InputError(f"{file} was changed while it was read. Run the same command again.")
    except FileNotFoundError as error:
        raise InputError(f"{error.filename} is gone: it was there when reading began.") from error


def _read_source(read: Callable[..., dict[str, Any]], folder: Location, item: tuple[Any, str, int]) -> None:
    """Reads one source and leaves its result in a file, which a rerun takes instead of reading again."""
    source, prefix, size = item
    count_read(size)
    try:
        result = read(source, folder, prefix)
    except FileNotFoundError as error:
        path = error.filename or source.path  # pyarrow's own openers do not tell
        raise InputError(f"{path} is gone: it was there when reading began.") from error
    with atomic_path(folder / f"{prefix}.json") as path:
        path.write_text(json.dumps(result), encoding="utf-8")


def _set_duplicates_aside(draft: Draft, parts: list[dict[str, Any]], schema: dict[str, str]) -> int:
    """Skips documents whose id came before, keeping a record in failed/; returns how many."""
    corpus = Corpus(draft.folder, _provisional(draft, parts, schema))
    failures: list[Failure] = []
    for k, rows in doubled_rows(corpus).items():
        at_byte = "lines" not in parts[k] and "first_row" not in parts[k]  # a part of a WARC file
        columns = ["id", "text", "offset"] if at_byte else ["id", "text"]
        repeated = corpus.table(k, columns).take(pa.array(rows))
        offsets = repeated["offset"].to_pylist() if at_byte else [None] * len(rows)
        stored = np.setdiff1d(np.arange(parts[k]["rows"] + len(parts[k].get("skip", []))), parts[k].get("skip", []))
        for row, name, offset in zip(rows, repeated["id"].to_pylist(), offsets, strict=True):
            line, unit = (line_of(parts[k], int(stored[row])), "line") if offset is None else (offset, "byte")
            detail, raw = f"id {name!r}", str(name).encode()
            failures.append(Failure(parts[k]["label"], line, "duplicate_id", detail, raw, unit))
        parts[k]["skip"] = sorted({*parts[k].get("skip", []), *(int(stored[row]) for row in rows)})
        parts[k]["rows"] -= len(rows)
        parts[k]["text_bytes"] -= pc.sum(pc.binary_length(repeated["text"])).as_py()
    write_failures(draft.folder, "ids", failures)
    return len(failures)


def _provisional(draft: Draft, parts: list[dict[str, Any]], schema: dict[str, str]) -> Manifest:
    return Manifest(
        kind="corpus",
        name=draft.name,
        fingerprint=draft.fingerprint,
        version=VERSION,
        parameters=draft.parameters,
        inputs=draft.inputs,
        schema=schema,
        parts=parts,
    )


def _check_text_column(draft: Draft, failed: Counter[str], num_documents: int) -> None:
    """A corpus in which no row has the text column is a wrong name, not a thousand bad rows."""
    if num_documents == 0 and failed["missing_text"] and failed.total() == failed["missing_text"]:
        first = read_failures(draft.folder)[0]
        raise SchemaError(f"No row has the column {draft.parameters['text']!r}: {describe(first)}. Pass text=...")


def _common_schema(schemas: list[dict[str, str]]) -> dict[str, str]:
    types = unify_schemas([pa.schema([(n, pa.type_for_alias(t)) for n, t in schema.items()]) for schema in schemas])
    return {field.name: str(field.type) for field in types}


def _place_schema(schemas: list[dict[str, str]], text: str, id_column: str) -> tuple[dict[str, str], dict[str, str]]:
    """Columns of a corpus read in place (name to type) and where they are stored when they are called otherwise."""
    schema = {"id": "string", "text": "string"}
    columns = {"id": id_column, "text": text}
    for other in schemas:
        for stored, kind in other.items():
            if stored in (text, id_column):
                continue
            name = renamed(stored, text, id_column)
            if name != stored:
                columns[name] = stored
            if schema.setdefault(name, kind) != kind:
                schema[name] = str(unify_schemas([_one(name, schema[name]), _one(name, kind)]).field(name).type)
    return schema, columns


def _one(name: str, kind: str) -> pa.Schema:
    try:
        return pa.schema([(name, pa.type_for_alias(kind))])
    except ValueError:
        return pa.schema([(name, pa.string())])


def _kind(path: Location) -> str | None:
    return next((kind for kind, suffixes in _SUFFIXES.items() if path.name.lower().endswith(suffixes)), None)


def _extractor(extract: str | None, format: str) -> str | None:
    """What takes the text from web pages; None where there are none to read."""
    if extract is None:
        return DEFAULT_EXTRACTOR if format in _EXTRACTING else None
    check_choice("extract", extract, EXTRACTORS)
    way_out = "Leave it out, or pass format='html'."
    check(format != "text", "extract", extract, "left out when files are read as plain text", way_out)
    return extract


def _file_sizes(sources: Sequence[Any]) -> list[int]:
    return [sum(path.stat().st_size for path, _ in source.files) for source in sources]


def _nothing(name: str, no_documents: Counter[str]) -> str:
    if not no_documents:
        return f"{name!r} has no documents: every file that `read` names is empty."
    listed = ", ".join(f"{count:,} {reason}" for reason, count in no_documents.most_common())
    return f"{name!r} has no documents: no record is a page ({listed}). Check that `read` names the right files."


def _format_of(files: list[Location]) -> str:
    kinds = {_kind(file): file for file in files}
    unknown = kinds.pop(None, None)
    if unknown is not None:
        raise InputError(
            f"The format of {unknown} cannot be told from its name. Pass format=, one of {', '.join(FORMATS)}."
        )
    if len(kinds) > 1:
        examples = ", ".join(f"{file.name} ({kind})" for kind, file in kinds.items())
        raise InputError(f"`read` matches files of several formats: {examples}. Narrow it, or pass format=.")
    return next(kind for kind in kinds if kind is not None)


def _without_empty(files: list[Location]) -> tuple[list[Location], list[Location]]:
    empty = [file for file in files if file.stat().st_size == 0]
    if len(empty) == len(files):
        raise InputError(f"Every file that `read` names is empty (0 bytes), the first is {files[0]}.")
    return [file for file in files if file not in set(empty)], empty


def _labels(files: list[Location]) -> list[str]:
    """Paths from the deepest folder that holds all files, so that moving the folder changes nothing."""
    paths = [_pure(file) for file in files]
    common = paths[0].parent
    while not all(path.is_relative_to(common) for path in paths):
        common = common.parent
    return [path.relative_to(common).as_posix() for path in paths]


def _name(read: str | Location | Sequence[str | Location]) -> str:
    first = location(read if isinstance(read, str | Location) else read[0]).absolute()
    stem = first.name.split(".")[0]
    return (first.parent.name if set(stem) & set("*?[") else stem) or "corpus"


def _pure(path: Location) -> PurePosixPath:
    """The path from the root, to be compared and cut; s3://bucket/key is /s3:/bucket/key."""
    return PurePosixPath(path.absolute()) if isinstance(path, Path) else path.pure


def _is_hidden(path: PurePosixPath) -> bool:
    """As for other readers of such folders; `_manifest.json` lies beside exported documents."""
    return any(part.startswith((".", "_")) for part in path.parts)
