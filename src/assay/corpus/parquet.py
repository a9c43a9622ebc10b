"""Parquet read where it lies: row groups become parts, nothing is copied.

One scan looks at every text and id, so that what cannot be used is known, counted and kept aside before any work
starts, instead of failing hours later.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assay.artifacts.kinds import BATCH_BYTES, as_type, footer_hash
from assay.artifacts.storage import Location, open_parquet
from assay.corpus.failures import MAX_RAW_BYTES, Failure, inflates_too_far, write_failures
from assay.corpus.pages import extract_column
from assay.corpus.parts import PartWriter, estimate_tokens, renamed
from assay.errors import InputError, SchemaError, did_you_mean
from assay.kernels.arrow import utf8

PART_BYTES = 64 << 20
_BATCH_ROWS = 4096
_MAX_BATCH_BYTES = 256 << 20
_BATCH_PAGES = 256
_TEXT = ("string", "large_string", "string_view")
_BYTES = ("binary", "large_binary", "binary_view")
_NOT_AN_ID = ("nested", *_BYTES, "fixed_size_binary")


class Source(NamedTuple):
    """Consecutive row groups of one file. `id_column` is "" where ids are made from file and row.

    `extract`: what takes text from the HTML in its text column, which is then not read in place.
    """

    path: Location
    label: str
    row_groups: tuple[int, ...]
    first_row: int
    text_column: str
    id_column: str
    extract: str | None = None


def open_file(path: Location) -> pq.ParquetFile:
    """Opens a Parquet file.

    Raises:
        InputError: it is not Parquet, or is damaged.
    """
    try:
        return open_parquet(path)
    except FileNotFoundError as error:
        raise InputError(f"{path} is gone: it was there when reading began.") from error
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path} cannot be read as Parquet: {str(error).splitlines()[0]} Mend the file or leave it out."
        ) from error


def cut(path: Location) -> list[tuple[tuple[int, ...], int]]:
    """(row groups, number of rows before them) for parts of about 64 MB uncompressed."""
    groups: list[tuple[tuple[int, ...], int]] = []
    with open_file(path) as file:
        size, row = PART_BYTES, 0
        for k in range(file.metadata.num_row_groups):
            meta = file.metadata.row_group(k)
            if size >= PART_BYTES:
                groups.append(((), row))
                size = 0
            groups[-1] = ((*groups[-1][0], k), groups[-1][1])
            size += meta.total_byte_size
            row += meta.num_rows
    return groups


def check_columns(path: Location, text: str, id: str | None, may_be_bytes: bool = False) -> tuple[str, dict[str, str]]:
    """The id column to use ("" = none) and the schema, name to type, of one file.

    Raises:
        SchemaError: a column is missing or there twice, the text column does not hold strings, or the id column
            what cannot become text.
    """
    with open_file(path) as file:
        schema = file.schema_arrow
    listed = ", ".join(repr(name) for name in schema.names)
    if len(set(schema.names)) < len(schema.names):
        raise SchemaError(f"Several columns of {path} have the same name; it has {listed}. Rename them.")
    for wanted, parameter in ((text, "text"), (id, "id")):
        if wanted is not None and wanted not in schema.names:
            hint = did_you_mean(wanted, schema.names)
            raise SchemaError(
                f"Column {wanted!r} is not in {path}; it has {listed}. Pass {parameter}=... {hint}".rstrip()
            )
    kind = schema.field(text).type
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not _is_any(value, _TEXT + (_BYTES if may_be_bytes else ())):
        raise SchemaError(f"Column {text!r} of {path} holds {kind}, not strings. Columns: {listed}. Pass text=...")
    id_column = id if id is not None else ("id" if "id" in schema.names and text != "id" else "")
    if id_column and _is_any(kind := schema.field(id_column).type, _NOT_AN_ID):
        raise SchemaError(
            f"Column {id_column!r} of {path} holds {kind}, not strings or numbers. Columns: {listed}. Pass id=..."
        )
    return id_column, {field.name: str(field.type) for field in schema}


def scan(source: Source, folder: Location, prefix: str) -> dict[str, Any]:
    """Looks at every row of a part once: counts, and which rows to skip because they cannot be documents."""
    failures: list[Failure] = []
    skip: list[int] = []
    rows = text_bytes = tokens = 0
    columns = [source.text_column] + ([source.id_column] if source.id_column else [])
    for batch in _batches(source, columns):
        bad = _bad_rows(batch, source, rows, failures)
        skip += [rows + row for row in bad]
        data = utf8(batch.column(source.text_column))
        text_bytes += int(np.delete(np.diff(data.offsets), bad).sum())
        if detail := inflates_too_far(text_bytes, source.path.stat().st_size):
            raise InputError(f"{source.path} inflates further than any text does ({detail}). Leave it out.")
        tokens += estimate_tokens(data)
        rows += len(batch)
    write_failures(folder, prefix, failures)
    part = {
        "file": str(source.path.absolute()),
        "rows": rows - len(skip),
        "bytes": source.path.stat().st_size,
        "footer": footer_hash(source.path),
        "text_bytes": text_bytes,
        "row_groups": list(source.row_groups),
        "first_row": source.first_row,
        "label": source.label,
        "skip": skip,
    }
    failed = dict(Counter(f.reason for f in failures))
    return {"parts": [part] if part["rows"] else [], "estimated_tokens": tokens, "failed": failed}


def extract_part(source: Source, folder: Location, prefix: str) -> dict[str, Any]:
    """Takes the text from a column of HTML, and every other column as it is, into parts `prefix-*.parquet`."""
    writer = PartWriter(folder, prefix, source.label)
    failures: list[Failure] = []
    rows = 0
    for batch in _batches(source, None, _BATCH_PAGES):
        keep = np.delete(np.arange(len(batch)), _bad_rows(batch, source, rows, failures))
        lines = source.first_row + rows + keep + 1
        rows += len(batch)
        table = _as_documents(pa.Table.from_batches([batch.take(pa.array(keep))]), lines, source)
        table, lines = extract_column(table, lines, source.label, str(source.extract), failures)
        if len(table):
            writer.add(table, lines)
    failures.sort(key=lambda failure: failure.line)
    write_failures(folder, prefix, failures)
    return writer.finish(failures)


def _as_documents(table: pa.Table, lines: np.ndarray, source: Source) -> pa.Table:
    """`table` with `id` and `text` first; columns of types that cannot be named in a manifest become text."""
    if source.id_column:
        ids = as_type(table[source.id_column], pa.string())
    else:
        ids = pa.array([f"{source.label}:{line - 1}" for line in lines], pa.string())
    columns = {"id": ids, "text": table[source.text_column]}
    for name in table.column_names:
        if name not in (source.text_column, source.id_column):
            column = table[name]
            kind = column.type if _has_alias(column.type) else pa.string()
            columns[renamed(name, source.text_column, source.id_column)] = as_type(column, kind)
    return pa.table(columns)


def _has_alias(kind: pa.DataType) -> bool:
    try:
        return pa.type_for_alias(str(kind)) == kind
    except ValueError:
        return False


def _bad_rows(batch: pa.RecordBatch, source: Source, rows_before: int, failures: list[Failure]) -> list[int]:
    """Rows of a batch that cannot be documents, each added to `failures`."""
    bad = _bad_values(batch.column(source.text_column), ("null_text", ""))
    if source.id_column:
        bad |= _bad_values(batch.column(source.id_column), ("missing_id", "null"))
    for row, (reason, detail) in sorted(bad.items()):
        raw = repr(batch.slice(row, 1).to_pydict()).encode() if reason != "invalid_utf8" else b""
        line = source.first_row + rows_before + row + 1
        failures.append(Failure(source.label, line, reason, detail, raw[:MAX_RAW_BYTES]))
    return sorted(bad)


def _batches(source: Source, columns: list[str] | None, batch_rows: int = _BATCH_ROWS) -> Iterator[pa.RecordBatch]:
    with open_file(source.path) as file:
        groups = [file.metadata.row_group(k) for k in source.row_groups]
        largest = max(group.total_byte_size // max(1, group.num_rows) for group in groups)  # a document, on average
        batch_rows = max(1, min(batch_rows, BATCH_BYTES // max(1, largest)))
        try:
            rows = min(batch_rows, _rows_at_once(source, file.metadata))
            yield from file.iter_batches(rows, list(source.row_groups), columns, use_threads=False)
        except FileNotFoundError:  # an object; a local file that is open stays
            raise
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"{source.path}, row groups {source.row_groups[0]} to {source.row_groups[-1]}, cannot be read as "
                f"Parquet: {str(error).splitlines()[0]}. Mend the file or leave it out."
            ) from error


def _rows_at_once(source: Source, metadata: pq.FileMetaData) -> int:
    """Rows of which no batch has more than 256 MB of text that its pages hold once, however often they name it.

    A dictionary lets a small file stand for a large text a million times. Only local files are looked at.
    """
    names = [metadata.schema.column(k).path for k in range(metadata.num_columns)]
    if source.text_column not in names or not isinstance(source.path, Path):
        return _BATCH_ROWS
    column, longest = names.index(source.text_column), 1
    with pq.ParquetFile(source.path, read_dictionary=[source.text_column], buffer_size=1 << 16) as file:
        for group in source.row_groups:
            if metadata.row_group(group).column(column).has_dictionary_page:
                batch = next(file.iter_batches(1, [group], [source.text_column], use_threads=False), None)
                if batch is not None and pa.types.is_dictionary(batch.column(0).type):
                    sizes = pc.binary_length(batch.column(0).dictionary)
                    longest = max(longest, pc.max(sizes, min_count=0).as_py() or 1)
    return max(1, _MAX_BATCH_BYTES // longest)


def _bad_values(column: pa.Array, if_null: tuple[str, str]) -> dict[int, tuple[str, str]]:
    """Row -> (reason, detail) of values that are null or not UTF-8."""
    bad = {int(row): if_null for row in np.flatnonzero(column.is_null())} if column.null_count else {}
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        data = utf8(column)
        for row in range(len(column)):
            try:
                bytes(data.data[data.offsets[row] : data.offsets[row + 1]]).decode()
            except UnicodeDecodeError as error:
                bad[row] = ("invalid_utf8", f"byte {error.start + 1}: {error.reason}")
    return bad


def _is_any(type: pa.DataType, kinds: tuple[str, ...]) -> bool:
    return any(getattr(pa.types, f"is_{kind}")(type) for kind in kinds)
