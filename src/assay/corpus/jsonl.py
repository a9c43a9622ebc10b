"""JSON lines, plain, .gz or .zst, read once into Parquet parts.

A plain file is cut into byte ranges, so one big file uses all cores; a compressed one is one stream. A block of flat,
faultless lines goes straight from bytes to Arrow (pyarrow, on all cores); a block with nested columns is decoded in one
call (msgspec); a block in which something is wrong is taken line by line to find out what and where.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.json

from assay.corpus.failures import Failure, write_failures
from assay.corpus.parts import PartWriter

RANGE_BYTES = 64 << 20
_BLOCK_BYTES = 8 << 20
_AT_END = -1  # stands for the line after the last one, until that is known
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}
_ARROW_TYPES = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
_decoder = msgspec.json.Decoder(dict[str, Any])


class Source(NamedTuple):
    """A byte range of one JSONL file and how to read it. `first_line` is the number of its first line, from 1."""

    path: Path
    label: str
    start: int
    end: int | None
    first_line: int
    text_key: str
    id_key: str | None


def cut(path: Path) -> list[tuple[int, int | None, int]]:
    """(start, end, number of the first line) of the ranges that `path` is read in; ends are at line ends."""
    size = path.stat().st_size
    if path.suffix in _COMPRESSIONS or size <= RANGE_BYTES:
        return [(0, None, 1)]
    ranges: list[tuple[int, int | None, int]] = []
    start, line = 0, 1
    with open(path, "rb") as stream:
        while start < size:
            num_lines, end = 0, start
            while end < min(start + RANGE_BYTES, size):
                block = stream.read(_BLOCK_BYTES)
                num_lines += block.count(b"\n")
                end += len(block)
            rest = stream.readline()
            num_lines += rest.endswith(b"\n")
            end += len(rest)
            ranges.append((start, end, line))
            start, line = end, line + num_lines
    return ranges


def read_range(source: Source, folder: Path, prefix: str) -> dict[str, Any]:
    """Reads one range into parts `prefix-*.parquet` of `folder` and its bad lines into failed/.

    Returns:
        what the manifest needs: parts, failed counts, columns seen.
    """
    writer = PartWriter(folder, prefix, source.label)
    failures: list[Failure] = []
    line = source.first_line
    for block in _blocks(source, failures):
        num_lines = block.count(b"\n") + (not block.endswith(b"\n"))
        if line == 1:
            block = block.removeprefix(b"\xef\xbb\xbf")
        table = _parse_flat(block, line, num_lines, source)
        numbers: list[int] | range = range(line, line + num_lines)
        if table is None:
            rows, numbers = _decode(block, line, num_lines, source, failures)
            table = _to_table(rows, numbers, source)
        line += num_lines
        if len(table):
            writer.add(table, numbers)
    if failures and failures[-1].line == _AT_END:
        failures[-1] = failures[-1]._replace(line=line)
    write_failures(folder, prefix, failures)
    return writer.finish(failures)


def has_id(path: Path, text_key: str) -> bool:
    """Whether the first document of a file has an `id`."""
    source = Source(path, path.name, 0, None, 1, text_key, None)
    block = next(_blocks(source, []), b"").removeprefix(b"\xef\xbb\xbf")
    rows, _ = _decode(block[: block.find(b"\n") + 1] or block, 1, 1, source, [])
    return bool(rows) and rows[0].get("id") is not None


def _blocks(source: Source, failures: list[Failure]) -> Iterator[bytes]:
    """The range in blocks that end at a line end. A stream that breaks off gives all that can be had of it."""
    position, rest = 0, b""
    read_bytes = _BLOCK_BYTES
    limit = None if source.end is None else source.end - source.start
    while True:
        try:
            with _open(source, position) as stream:
                while block := stream.read(read_bytes if limit is None else min(read_bytes, limit - position)):
                    position += len(block)
                    head, newline, tail = block.rpartition(b"\n")
                    if newline:
                        yield rest + head + newline
                        rest = tail
                    else:
                        rest += block
            break
        except OSError as error:
            if isinstance(error, FileNotFoundError) or error.errno:
                raise
            if read_bytes > 1:  # what came before the break is still to be had, in smaller and smaller sips
                read_bytes = 4096 if read_bytes > 4096 else 1
                continue
            reason = "truncated_file" if "runcated" in str(error) else "unreadable_file"
            failures.append(Failure(source.label, _AT_END, reason, str(error), rest))
            return
    if rest:
        yield rest


def _open(source: Source, position: int) -> Any:
    compression = _COMPRESSIONS.get(source.path.suffix)
    if compression is None:
        stream = open(source.path, "rb")  # noqa: SIM115 (the caller closes it)
        stream.seek(source.start + position)
        return stream
    stream = pa.input_stream(str(source.path), compression=compression)
    while position:
        position -= len(stream.read(min(position, _BLOCK_BYTES)))
    return stream


def _parse_flat(block: bytes, first_line: int, num_lines: int, source: Source) -> pa.Table | None:
    """The block as a table, or None when anything about it needs a closer look.

    The first line says which type each column has, because left alone pyarrow would take some strings for times.
    """
    try:
        first = _decoder.decode(block[: block.find(b"\n") + 1] or block)
        schema = pa.schema([(key, _ARROW_TYPES[type(value)]) for key, value in first.items() if value is not None])
        table = pyarrow.json.read_json(
            pa.BufferReader(block),
            pyarrow.json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="infer"),
        )
        for column in table.columns:
            column.validate(full=True)
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    needed = [source.text_key] + ([source.id_key] if source.id_key is not None else [])
    flat = all(field.type in _ARROW_TYPES.values() or pa.types.is_null(field.type) for field in table.schema)
    if not flat or len(table) != num_lines or any(n not in table.column_names or table[n].null_count for n in needed):
        return None
    if table[source.text_key].type != pa.string():
        return None
    if source.id_key is None:
        ids = pa.array([f"{source.label}:{n}" for n in range(first_line, first_line + num_lines)], pa.string())
    else:
        ids = table[source.id_key].cast(pa.string())
    others = {_renamed(name): table[name] for name in table.column_names if name not in needed}
    return pa.table({"id": ids, "text": table[source.text_key], **others})


def _decode(
    block: bytes, first_line: int, num_lines: int, source: Source, failures: list[Failure]
) -> tuple[list[dict[str, Any]], list[int] | range]:
    """Rows of a block and the line each stands on; bad lines are added to `failures`."""
    try:
        rows = _decoder.decode_lines(block)
        if len(rows) == num_lines and all(_fault(row, source) is None for row in rows):
            return rows, range(first_line, first_line + num_lines)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    rows, numbers = [], []
    for number, line in enumerate(block.split(b"\n"), first_line):
        if not line.strip():
            continue
        row, fault = _decode_line(line, source)
        if row is None:
            failures.append(Failure(source.label, number, *fault, line))
        else:
            rows.append(row)
            numbers.append(number)
    return rows, numbers


def _decode_line(line: bytes, source: Source) -> tuple[dict[str, Any] | None, tuple[str, str]]:
    """The row of one line, or None with the reason and detail why there is none."""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        return None, ("invalid_utf8", f"byte {error.start + 1}: {error.reason}")
    try:
        row = json.loads(text)  # takes NaN and Infinity, which Python writes and strict JSON does not know
    except (ValueError, RecursionError) as error:
        return None, ("not_json", str(error))
    if not isinstance(row, dict):
        return None, ("not_an_object", f"it is a {type(row).__name__}")
    fault = _fault(row, source)
    if fault is not None:
        return None, fault
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return None, ("invalid_utf8", "an escape stands for half a surrogate pair")
    return row, ("", "")


def _fault(row: dict[str, Any], source: Source) -> tuple[str, str] | None:
    """Reason and detail why a row cannot be a document, or None when it can."""
    text = row.get(source.text_key)
    if type(text) is not str:
        if source.text_key not in row:
            return "missing_text", f"it has {', '.join(map(repr, row))}"
        if text is None:
            return "null_text", ""
        return "text_not_string", f"it is a {type(text).__name__}"
    if source.id_key is not None and row.get(source.id_key) is None:
        return "missing_id", f"{source.id_key!r} is {'null' if source.id_key in row else 'not there'}"
    return None


def _to_table(rows: list[dict[str, Any]], numbers: list[int] | range, source: Source) -> pa.Table:
    """Rows as a table with `id` and `text` first; other columns keep their type, nested ones become JSON text."""
    ids = (
        [f"{source.label}:{n}" for n in numbers] if source.id_key is None else [str(row[source.id_key]) for row in rows]
    )
    columns = {"id": pa.array(ids, pa.string()), "text": pa.array([row[source.text_key] for row in rows], pa.string())}
    keys = dict.fromkeys(key for row in rows for key in row)
    for key in keys:
        if key not in (source.text_key, source.id_key):
            columns[_renamed(key)] = _to_array([row.get(key) for row in rows])
    return pa.table(columns)


def _renamed(key: str) -> str:
    """A column's name in the corpus, where `id` and `text` are taken."""
    return f"original_{key}" if key in ("id", "text") else key


def _to_array(values: list[Any]) -> pa.Array:
    """Strings, integers, floats or booleans as they are; anything nested or mixed as JSON text."""
    if not any(isinstance(value, dict | list) for value in values):
        try:
            return pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            pass
    return pa.array([v if v is None or isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in values])
