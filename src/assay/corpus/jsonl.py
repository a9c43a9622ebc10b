"""JSON lines, plain, .gz or .zst, read once into Parquet parts.

A plain file is cut into byte ranges, so one big file uses all cores; a compressed one is one stream. A block of flat,
faultless lines goes straight from bytes to Arrow (pyarrow); any other is decoded line by line (msgspec), and a line in
which something is wrong once more (json) to find out what. What comes out does not depend on where blocks are cut, save
how integers of 11 digits and more are spelt in a column that also has fractions and text.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from assay.artifacts.storage import Location, open_bytes
from assay.corpus.failures import MAX_RAW_BYTES, Failure, inflates_too_far, write_failures
from assay.corpus.pages import extract_column
from assay.corpus.parts import PartWriter, renamed

RANGE_BYTES = 64 << 20
MAX_LINE_BYTES = 64 << 20  # the longest book has 20 MB
_BLOCK_BYTES = 8 << 20
_AT_END = -1  # stands for the line after the last one, until that is known
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}
_NEWLINE = ord("\n")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SAMPLE_LINES = 100
_INT64_END = 2**63
_ARROW_TYPES: dict[Any, pa.DataType] = {
    NoneType: pa.null(),
    str: pa.string(),
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
}
_decoder = msgspec.json.Decoder(dict[str, Any])


class Source(NamedTuple):
    """A byte range of one JSONL file and how to read it.

    `first_line` is the number of its first line, from 1. `extract`: what takes text from the HTML in its text column.
    """

    path: Location
    label: str
    start: int
    end: int | None
    first_line: int
    text_key: str
    id_key: str | None
    extract: str | None = None


def cut(path: Location) -> list[tuple[int, int | None, int]]:
    """(start, end, number of the first line) of the ranges that `path` is read in; ends are at line ends."""
    size = path.stat().st_size
    if path.suffix.lower() in _COMPRESSIONS or size <= RANGE_BYTES:
        return [(0, None, 1)]
    ranges: list[tuple[int, int | None, int]] = []
    start, line = 0, 1
    with open_bytes(path) as stream:
        while start < size:
            num_lines, end = 0, start
            wanted = min(start + RANGE_BYTES, size)
            while end < wanted:
                block = stream.read(min(_BLOCK_BYTES, wanted - end))
                num_lines += block.count(b"\n")
                end += len(block)
            while rest := stream.readline(_BLOCK_BYTES):
                end += len(rest)
                if rest.endswith(b"\n"):
                    num_lines += 1
                    break
            ranges.append((start, end, line))
            start, line = end, line + num_lines
    return ranges


def read_range(source: Source, folder: Location, prefix: str) -> dict[str, Any]:
    """Reads one range into parts `prefix-*.parquet` of `folder` and its bad lines into failed/.

    Returns:
        what the manifest needs: parts, failed counts, columns seen.
    """
    writer = PartWriter(folder, prefix, source.label)
    failures: list[Failure] = []
    line = source.first_line
    for block in _blocks(source, failures):
        bounds = _line_bounds(block)
        num_lines = len(bounds) + 1
        table = _parse_flat(block, line, bounds, source)
        numbers: Sequence[int] | np.ndarray = range(line, line + num_lines)
        if table is None:
            documents = list(_decode(block, line, source, failures))
            numbers = [number for number, _ in documents]
            table = _to_table([row for _, row in documents], numbers, source)
        line += num_lines
        if source.extract is not None:
            table, numbers = extract_column(table, numbers, source.label, source.extract, failures)
        if len(table):
            writer.add(table, numbers)
    failures = sorted(
        (f if f.line != _AT_END else f._replace(line=line) for f in failures), key=lambda failure: failure.line
    )
    write_failures(folder, prefix, failures)
    return writer.finish(failures)


def has_id(paths: Sequence[Location], text_key: str) -> bool:
    """Whether the first document of these files has an `id`."""
    for path in paths:
        source = Source(path, path.name, 0, None, 1, text_key, None)
        for block in _blocks(source, []):
            for _, row in _decode(block, 1, source, []):
                return row.get("id") is not None
    return False


def _blocks(source: Source, failures: list[Failure]) -> Iterator[bytes]:
    """The range in blocks of whole lines, less a byte order mark at the start of the file."""
    mark = _BYTE_ORDER_MARK if source.start == 0 else b""
    for block in _raw_blocks(source, failures):
        yield block.removeprefix(mark)
        mark = b""


def _raw_blocks(source: Source, failures: list[Failure]) -> Iterator[bytes]:
    """The range in blocks that end at a line end. A stream that breaks off gives all that can be had of it."""
    position, rest = 0, b""
    is_compressed = source.path.suffix.lower() in _COMPRESSIONS
    size = source.path.stat().st_size
    read_bytes = _BLOCK_BYTES
    limit = None if source.end is None else source.end - source.start
    while True:
        try:
            with _open(source, position) as stream:
                while block := stream.read(read_bytes if limit is None else min(read_bytes, limit - position)):
                    position += len(block)
                    if is_compressed and (detail := inflates_too_far(position, size)):
                        failures.append(Failure(source.label, _AT_END, "inflates_too_far", detail, b""))
                        return
                    end = block.rfind(b"\n") + 1
                    if end:
                        yield b"".join((rest, memoryview(block)[:end]))
                        rest = block[end:]
                    elif len(rest) <= MAX_LINE_BYTES:  # of what is longer, enough is kept to see that
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
    compression = _COMPRESSIONS.get(source.path.suffix.lower())
    if compression is None:
        stream = open_bytes(source.path)
        stream.seek(source.start + position)
        return stream
    file = str(source.path) if isinstance(source.path, Path) else source.path.open()
    stream = pa.input_stream(file, compression=compression)
    while position:
        position -= len(stream.read(min(position, _BLOCK_BYTES)))
    return stream


def _line_bounds(block: bytes) -> np.ndarray:
    """Positions of the newlines between the lines of a block. numpy, unlike bytes.count, lets other threads run."""
    bounds = np.flatnonzero(np.frombuffer(block, np.uint8) == _NEWLINE)
    return bounds[:-1] if block.endswith(b"\n") else bounds


def _parse_flat(block: bytes, first_line: int, bounds: np.ndarray, source: Source) -> pa.Table | None:
    """The block as a table, or None when anything about it needs a closer look.

    pyarrow takes values one after the other wherever lines end, so lines are counted where one object ends and the
    next begins. It is told what columns to expect: left alone it takes some strings for times, and deep nesting in a
    column it was not told of overflows its stack.
    """
    num_lines = len(bounds) + 1
    if len(block) > MAX_LINE_BYTES and np.diff(bounds, prepend=-1, append=len(block)).max() > MAX_LINE_BYTES:
        return None
    data = np.frombuffer(block, np.uint8)
    if not ((data[bounds - 1] == ord("}")) & (data[bounds + 1] == ord("{"))).all():
        return None
    try:
        schema = _sampled_schema(block)
        table = pyarrow.json.read_json(
            pa.BufferReader(block),
            pyarrow.json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
        )
        for column in table.columns:
            column.validate(full=True)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, pa.ArrowInvalid):
        return None
    needed = {source.text_key: [pa.string()]}
    if source.id_key is not None:
        needed[source.id_key] = [pa.string(), pa.int64()]
    for name, types in needed.items():
        if name not in table.column_names or table[name].type not in types or table[name].null_count:
            return None
    if len(table) != num_lines or not all(_is_exact(column) for column in table.columns):
        return None
    if source.id_key is None:
        ids = pa.array([f"{source.label}:{n}" for n in range(first_line, first_line + num_lines)], pa.string())
    else:
        ids = table[source.id_key].cast(pa.string())
    others = {
        renamed(name, source.text_key, source.id_key): table[name] for name in table.column_names if name not in needed
    }
    return pa.table({"id": ids, "text": table[source.text_key], **others})


def _sampled_schema(block: bytes) -> pa.Schema:
    """Columns and types of the first lines; raises KeyError where one is nested."""
    kinds: dict[str, type] = {}
    for line in block.split(b"\n", _SAMPLE_LINES)[:_SAMPLE_LINES]:
        for key, value in (_decoder.decode(line) if line else {}).items():
            known = kinds.get(key, NoneType)
            if known is NoneType or (known is int and type(value) is float):
                kinds[key] = type(value)
    return pa.schema([(key, _ARROW_TYPES[kind]) for key, kind in kinds.items()])


def _is_exact(column: pa.ChunkedArray) -> bool:
    """Whether a float column is surely as it was written: integers beyond 64 bits would have lost digits."""
    if not pa.types.is_floating(column.type):
        return True
    return pc.all(pc.less(pc.abs(column), float(_INT64_END)), min_count=0).as_py()


def _decode(
    block: bytes, first_line: int, source: Source, failures: list[Failure]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, row) of each document in a block; lines that are none are added to `failures`, blank ones passed over."""
    for number, line in enumerate(block.split(b"\n"), first_line):
        if len(line) > MAX_LINE_BYTES:
            detail = f"more than {MAX_LINE_BYTES:,} bytes"
            failures.append(Failure(source.label, number, "line_too_long", detail, line[:MAX_RAW_BYTES]))
            continue
        if not line.strip():
            continue
        try:
            row = _decoder.decode(line)
            fault = _fault(row, source)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            row, fault = _decode_odd(line, source)
        if fault is None:
            yield number, row
        else:
            failures.append(Failure(source.label, number, *fault, line))


def _decode_odd(line: bytes, source: Source) -> tuple[dict[str, Any], tuple[str, str] | None]:
    """The row of a line that is not strict JSON, and the reason and detail why it cannot be a document, if so."""
    try:
        row = json.loads(line.decode())  # takes NaN and Infinity, which Python writes and strict JSON does not know
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        return {}, ("invalid_utf8", f"byte {error.start + 1}: {error.reason}")
    except UnicodeEncodeError:
        return {}, ("invalid_utf8", "an escape stands for half a surrogate pair")
    except (ValueError, RecursionError) as error:
        return {}, ("not_json", str(error))
    if not isinstance(row, dict):
        return {}, ("not_an_object", f"it is a {type(row).__name__}")
    return row, _fault(row, source)


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


def _to_table(rows: list[dict[str, Any]], numbers: Sequence[int], source: Source) -> pa.Table:
    """Rows as a table with `id` and `text` first; other columns keep their type, nested ones become JSON text."""
    ids = (
        [f"{source.label}:{n}" for n in numbers] if source.id_key is None else [str(row[source.id_key]) for row in rows]
    )
    columns = {"id": pa.array(ids, pa.string()), "text": pa.array([row[source.text_key] for row in rows], pa.string())}
    keys = dict.fromkeys(key for row in rows for key in row)
    for key in keys:
        if key not in (source.text_key, source.id_key):
            columns[renamed(key, source.text_key, source.id_key)] = _to_array([row.get(key) for row in rows])
    return pa.table(columns)


def _to_array(values: list[Any]) -> pa.Array:
    """Strings, integers, floats or booleans as they are, integers among floats as floats; all else as JSON text."""
    kinds: set[Any] = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        kinds = {float}
    fits = all(-_INT64_END <= value < _INT64_END for value in values if type(value) is int)
    if not fits or len(kinds) > 1 or not kinds <= _ARROW_TYPES.keys():
        return pa.array(_to_text(values), pa.string())
    kind: Any = kinds.pop() if kinds else NoneType
    return pa.array([value if value is None else kind(value) for value in values], _ARROW_TYPES[kind])


def _to_text(values: list[Any]) -> list[str | None]:
    """Values of several kinds as text, each as it would look if it stood in a column of its own kind."""
    floats = iter(pa.array([v for v in values if type(v) is float], pa.float64()).cast(pa.string()).to_pylist())
    texts = [next(floats) if type(v) is float else v for v in values]
    return [v if v is None or isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in texts]
