"""Writing documents into the Parquet parts of a corpus."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assay.artifacts.kinds import as_type, footer_hash
from assay.artifacts.storage import Location, atomic_path
from assay.corpus.failures import Failure
from assay.kernels.arrow import Utf8, utf8
from assay.kernels.unicode import tables
from assay.kernels.words import measure

PART_BYTES = 32 << 20
_ROW_GROUP_BYTES = 8 << 20


class PartWriter:
    """Collects tables of documents and writes a part whenever about 32 MB of text have come together.

    Where a part ends depends on the text alone, so the same file gives the same parts.
    """

    def __init__(self, folder: Location, prefix: str, label: str):
        self._folder, self._prefix, self._label = folder, prefix, label
        self._pending: list[pa.Table] = []
        self._pending_bytes = 0
        self._pending_lines: list[np.ndarray] = []
        self._parts: list[dict[str, Any]] = []
        self._schema = pa.schema([])
        self._tokens = 0

    def add(self, table: pa.Table, lines: Sequence[int] | np.ndarray | None) -> None:
        """Adds documents with at least `id` and `text`; `lines` says on which line of its file each stands.

        Where each document is a file of its own, any consecutive numbers will do. None: the table has a column `offset`
        that says at which byte.
        """
        data = utf8(table["text"])
        self._tokens += estimate_tokens(data)
        self._pending.append(table)
        if lines is not None:
            self._pending_lines.append(np.asarray(lines, np.int64))
        self._pending_bytes += int(data.offsets[-1] - data.offsets[0])
        if self._pending_bytes >= PART_BYTES:
            self._write()

    def finish(self, failures: list[Failure]) -> dict[str, Any]:
        """Writes what is left; returns parts, schema, token estimate and failed counts for the manifest."""
        if self._pending:
            self._write()
        return {
            "parts": self._parts,
            "schema": {field.name: str(field.type) for field in self._schema},
            "estimated_tokens": self._tokens,
            "failed": dict(Counter(f.reason for f in failures)),
        }

    def _write(self) -> None:
        schema = unify_schemas([table.schema for table in self._pending])
        table = pa.concat_tables([conform(table, schema) for table in self._pending])
        name = f"{self._prefix}-{len(self._parts):05d}.parquet"
        rows_per_group = max(1, len(table) * _ROW_GROUP_BYTES // max(1, self._pending_bytes))
        with atomic_path(self._folder / name) as path:
            # Text is compressed lightly because it is read again and again; a dictionary would only cost time.
            dictionary = [c for c in table.column_names if c not in ("id", "text", "url")]
            options = {"compression": "lz4", "use_dictionary": dictionary, "write_page_checksum": True}
            pq.write_table(table, path, row_group_size=rows_per_group, **options)
            size, footer = path.stat().st_size, footer_hash(path)
        part = {
            "file": name,
            "rows": len(table),
            "bytes": size,
            "text_bytes": self._pending_bytes,
            "label": self._label,
        }
        if isinstance(self._folder, Path):  # of what it holds an object store has checksums
            part["footer"] = footer
        if self._pending_lines:
            lines = np.concatenate(self._pending_lines)
            jumps = np.flatnonzero(np.diff(lines, prepend=lines[0] - 2) != 1)
            part["lines"] = [[int(row), int(lines[row])] for row in jumps]
        self._parts.append(part)
        self._schema = unify_schemas([self._schema, schema])
        self._pending, self._pending_bytes, self._pending_lines = [], 0, []


def estimate_tokens(text: Utf8) -> int:
    """About how many tokens these documents have, from the first eighth of them; `scorers.length` counts them all."""
    num_measured = -(-(len(text.offsets) - 1) // 8)
    offsets = text.offsets[: num_measured + 1]
    measured_bytes = max(1, int(offsets[-1] - offsets[0]))
    tokens = int(measure(text.data, offsets, tables())[:, 2].sum())
    return round(tokens / measured_bytes * int(text.offsets[-1] - text.offsets[0]))


def line_of(part: dict[str, Any], row: int) -> int:
    """The line (or Parquet row), from 1, on which row `row` of a part stands in the file it came from."""
    if "first_row" in part:
        return part["first_row"] + row + 1
    start, line = max(entry for entry in part["lines"] if entry[0] <= row)
    return line + row - start


def renamed(column: str, text: str, id_column: str | None) -> str:
    """What a source's column is called in the corpus: `original_id`, `original_text` where those names are taken.

    A column that has such a name already gets the prefix once more, so no two become one.
    """
    taken = {"id", "text"} - {text, id_column}
    return f"original_{column}" if re.sub("^(original_)+", "", column) in taken else column


def unify_schemas(schemas: list[pa.Schema]) -> pa.Schema:
    """One schema for all: null gives way to any type, integers to floats, and what else disagrees becomes a string."""
    types: dict[str, pa.DataType] = {}
    for schema in schemas:
        for field in schema:
            known = types.get(field.name)
            types[field.name] = field.type if known is None else _common_type(known, field.type)
    return pa.schema(list(types.items()))


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`table` with the columns and types of `schema`; what it lacks is null."""
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            columns.append(pa.nulls(len(table), field.type))
        else:
            columns.append(as_type(table[field.name], field.type))
    return pa.table(columns, schema=schema)


def _common_type(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    if a == b or pa.types.is_null(b):
        return a
    if pa.types.is_null(a):
        return b
    if pa.types.is_integer(a) and pa.types.is_integer(b):
        return pa.string() if pa.uint64() in (a, b) else pa.int64()
    numbers = (pa.types.is_integer, pa.types.is_floating)
    return pa.float64() if all(any(is_kind(t) for is_kind in numbers) for t in (a, b)) else pa.string()
