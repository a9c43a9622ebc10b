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
import pyarrow.parquet as pq

from assay.artifacts.kinds import footer_hash
from assay.corpus.failures import Failure, write_failures
from assay.corpus.parts import estimate_tokens
from assay.errors import InputError, SchemaError, did_you_mean
from assay.kernels.arrow import utf8

PART_BYTES = 64 << 20
_BATCH_ROWS = 4096
_TEXT = ("string", "large_string", "string_view")
_NOT_AN_ID = ("nested", "binary", "large_binary", "binary_view", "fixed_size_binary")


class Source(NamedTuple):
    """Consecutive row groups of one file. `id_column` is "" where ids are made from file and row."""

    path: Path
    label: str
    row_groups: tuple[int, ...]
    first_row: int
    text_column: str
    id_column: str


def open_file(path: Path) -> pq.ParquetFile:
    """Opens a Parquet file.

    Raises:
        InputError: it is not Parquet, or is damaged.
    """
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path} cannot be read as Parquet: {str(error).splitlines()[0]} Mend the file or leave it out."
        ) from error


def cut(path: Path) -> list[tuple[tuple[int, ...], int]]:
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


def check_columns(path: Path, text: str, id: str | None) -> tuple[str, dict[str, str]]:
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
    if not _is_any(value, _TEXT):
        raise SchemaError(f"Column {text!r} of {path} holds {kind}, not strings. Columns: {listed}. Pass text=...")
    id_column = id if id is not None else ("id" if "id" in schema.names and text != "id" else "")
    if id_column and _is_any(kind := schema.field(id_column).type, _NOT_AN_ID):
        raise SchemaError(
            f"Column {id_column!r} of {path} holds {kind}, not strings or numbers. Columns: {listed}. Pass id=..."
        )
    return id_column, {field.name: str(field.type) for field in schema}


def scan(source: Source, folder: Path, prefix: str) -> dict[str, Any]:
    """Looks at every row of a part once: counts, and which rows to skip because they cannot be documents."""
    failures: list[Failure] = []
    skip: list[int] = []
    rows = text_bytes = tokens = 0
    columns = [source.text_column] + ([source.id_column] if source.id_column else [])
    for batch in _batches(source, columns):
        text = batch.column(source.text_column)
        bad = _bad_values(text, ("null_text", ""))
        if source.id_column:
            bad |= _bad_values(batch.column(source.id_column), ("missing_id", "null"))
        for row, (reason, detail) in sorted(bad.items()):
            raw = repr(batch.slice(row, 1).to_pydict()).encode() if reason != "invalid_utf8" else b""
            failures.append(Failure(source.label, source.first_row + rows + row + 1, reason, detail, raw))
            skip.append(rows + row)
        data = utf8(text)
        text_bytes += int(np.delete(np.diff(data.offsets), list(bad)).sum())
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


def _batches(source: Source, columns: list[str]) -> Iterator[pa.RecordBatch]:
    with open_file(source.path) as file:
        try:
            yield from file.iter_batches(_BATCH_ROWS, list(source.row_groups), columns, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"{source.path}, row groups {source.row_groups[0]} to {source.row_groups[-1]}, cannot be read as "
                f"Parquet: {str(error).splitlines()[0]}. Mend the file or leave it out."
            ) from error


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
