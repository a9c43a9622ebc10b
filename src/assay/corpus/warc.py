"""WARC and WET files, plain or gzipped, read once into Parquet parts.

A file is cut into byte ranges, so one big file uses all cores. A range takes the records that start in it, at a gzip
member where the file is gzipped, and looks for its first one by itself; afterwards the ranges are held against each
other, and one that began at what only looked like a record is read again from where the one before it ended. So what
comes out is what reading from the start would have given, wherever the file was cut.

Standard: ISO 28500 (WARC 1.0, 1.1); version 0.17 and records that end in bare line feeds are read as well.
"""

import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa

from assay.artifacts.storage import Location, open_bytes
from assay.corpus.extraction import (
    BATCH_BYTES,
    BATCH_PAGES,
    HTML_TYPES,
    MAX_PAGE_BYTES,
    NO_DOCUMENT,
    Extracted,
    Page,
    extract_pages,
)
from assay.corpus.failures import MAX_RAW_BYTES, Failure, inflates_too_far, write_failures
from assay.corpus.parts import PartWriter

RANGE_BYTES = 32 << 20
_BLOCK_BYTES = 256 << 10
_GZIP_MAGIC = b"\x1f\x8b\x08"
_VERSION = b"WARC/"
# No field is called WARC/..: a header that was left half written ends where the next one begins.
_HEADER = re.compile(rb"WARC/\d+\.\d+[^\n]*\n(?:(?!WARC/)[^\r\n][^\n]*\n)*?\r?\n")
_CHARSET = re.compile(r"""charset\s*=\s*["']?([\w.:-]+)""", re.I)
_LENGTH = "[0-9]{1,18}"
_PADDING = b"\r\n\0"  # line ends close a record, zeros fill up a file
_MAX_HEADER_BYTES = 64 << 10
_MAX_BODY_BYTES = MAX_PAGE_BYTES + _MAX_HEADER_BYTES  # what is kept of a record; more cannot be a page
_CAPTURES = ("response", "resource", "conversion")
_NO_CAPTURES = ("warcinfo", "request", "metadata", "revisit", "continuation")
_NO_DOCUMENT = (*NO_DOCUMENT, *_NO_CAPTURES, "unknown_type")
_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.string()),
        ("source", pa.string()),
        ("url", pa.string()),
        ("date", pa.string()),
        ("content_type", pa.string()),
        ("status", pa.int64()),
        ("offset", pa.int64()),
    ]
)


class Source(NamedTuple):
    """A byte range of one file. `is_start`: a record is known to start at `start`, else the first one is looked for."""

    path: Location
    label: str
    start: int
    end: int | None
    is_start: bool
    extract: str


class Record(NamedTuple):
    """One record: where it starts (`inner`: how far into its gzip member), its headers, what is kept of its body."""

    offset: int
    inner: int
    headers: dict[str, str]
    body: bytes
    num_bytes: int


class _Broken(Exception):
    """A record that cannot be read: reason, detail, and once they are known its offset and what was read of it."""

    def __init__(self, reason: str, detail: str):
        super().__init__(reason)
        self.reason, self.detail, self.raw = reason, detail, b""
        self.offset: int | None = None


def cut(path: Location) -> list[tuple[int, int | None, bool]]:
    """(start, end, whether a record is known to start there) of the ranges that `path` is read in."""
    starts = range(0, path.stat().st_size, RANGE_BYTES)
    return [(s, s + RANGE_BYTES if s != starts[-1] else None, s == 0) for s in starts]


def read_range(source: Source, folder: Location, prefix: str) -> dict[str, Any]:
    """Reads one range into parts `prefix-*.parquet` of `folder` and what cannot be used into failed/.

    Returns:
        what the manifest needs, and where the first record of this range and of the next one start.
    """
    writer = PartWriter(folder, prefix, source.label)
    failures: list[Failure] = []
    no_documents: Counter[str] = Counter()
    with open_bytes(source.path) as file:
        stream = _Stream(file)
        first = source.start if source.is_start else stream.find_start(source.start)
        stream.seek(first)
        for batch in _batches(_records(stream, source, failures)):
            rows = _rows(batch, source, failures, no_documents)
            if rows:
                writer.add(pa.Table.from_pylist(rows, _SCHEMA), None)
        reached = stream.position[0]
    failures.sort(key=lambda failure: failure.line)
    write_failures(folder, prefix, failures)
    return writer.finish(failures) | {"no_documents": dict(no_documents), "first": first, "reached": reached}


def wrongly_cut(sources: Sequence[Source], results: Sequence[dict[str, Any]]) -> dict[int, Source]:
    """The ranges that do not begin where the one before them ended, as they are to be read again, by number.

    Those behind one that is to be read again are left for the next look, unless it is sure to be empty.
    """
    again: dict[int, Source] = {}
    expected: int | None = None
    for k, (source, result) in enumerate(zip(sources, results, strict=True)):
        if k == 0 or sources[k - 1].path != source.path or result["first"] == expected:
            expected = result["reached"]
        elif expected is not None:
            again[k] = source._replace(start=expected, is_start=True)
            expected = expected if source.end is not None and expected >= source.end else None
    return again


def _records(stream: "_Stream", source: Source, failures: list[Failure]) -> Iterator[Record]:
    """The records that start in the range. Where one is broken, it goes on at the next that can be found."""
    while True:
        try:
            if not stream.at_record():
                return
            offset, inner = stream.position
            if inner == 0 and source.end is not None and offset >= source.end:
                return
            yield stream.read_record()
        except _Broken as broken:
            offset = stream.position[0] if broken.offset is None else broken.offset
            failures.append(Failure(source.label, offset, broken.reason, broken.detail, broken.raw, "byte"))
            stream.seek(stream.find_start(offset + 1))


def _batches(records: Iterator[Record]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    size = 0
    for record in records:
        batch.append(record)
        size += len(record.body)
        if len(batch) >= BATCH_PAGES or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _rows(
    batch: list[Record], source: Source, failures: list[Failure], no_documents: Counter[str]
) -> list[dict[str, Any]]:
    """The documents among these records; the others are added to `failures` or counted."""
    looks = [_look(record) for record in batch]
    extracted = iter(extract_pages([look for look in looks if isinstance(look, Page)], source.extract))
    rows = []
    for record, look in zip(batch, looks, strict=True):
        result = next(extracted) if isinstance(look, Page) else look
        url = record.headers.get("warc-target-uri", "").strip("<>") or None
        if result.reason in _NO_DOCUMENT:
            no_documents[result.reason] += 1
        elif result.reason is not None:
            detail = "; ".join(part for part in (result.detail, url) if part)
            raw = record.body[:MAX_RAW_BYTES]
            failures.append(Failure(source.label, record.offset, result.reason, detail, raw, "byte"))
        else:
            place = f"{record.offset}+{record.inner}" if record.inner else str(record.offset)
            rows.append(
                {
                    "id": record.headers.get("warc-record-id", "").strip("<>") or f"{source.label}:{place}",
                    "text": result.text,
                    "source": source.label,
                    "url": url,
                    "date": record.headers.get("warc-date"),
                    "content_type": result.content_type or _media_type(record),
                    "status": result.status,
                    "offset": record.offset,
                }
            )
    return rows


def _look(record: Record) -> Page | Extracted:
    """The page that is to be read, or what can be said of the record without that."""
    kind, media_type = record.headers.get("warc-type", "").lower(), _media_type(record)
    is_cut = record.num_bytes > len(record.body)
    if kind not in _CAPTURES:
        return Extracted(None, kind if kind in _NO_CAPTURES else "unknown_type", "")
    if media_type == "application/http" and kind == "response":
        return Page(record.body, is_http=True, is_cut=is_cut)
    if media_type in HTML_TYPES:
        found = _CHARSET.search(record.headers["content-type"])
        return Page(record.body, is_cut=is_cut, charset=found[1] if found else None)
    if media_type != "text/plain" or kind != "conversion":
        return Extracted(None, "not_html", "")
    if is_cut:
        return Extracted(None, "page_too_large", f"{record.num_bytes:,} bytes")
    try:
        return Extracted(record.body.decode("utf-8-sig"), None, "")
    except UnicodeDecodeError as error:
        return Extracted(None, "invalid_utf8", f"byte {error.start + 1}: {error.reason}")


def _media_type(record: Record) -> str | None:
    return record.headers.get("content-type", "").split(";")[0].strip().lower() or None


class _Stream:
    """A file's bytes, inflated where it is gzipped, read record by record from any place at which one starts.

    `position` is the offset in the file of the next byte or, in a gzipped file, of its member, and how far into that
    it is. A member is checked (length, CRC) as soon as its last record has been read.
    """

    def __init__(self, file: BinaryIO):
        self._file = file
        self._is_gzip = file.read(2) == _GZIP_MAGIC[:2]
        self._size = file.seek(0, 2)
        self.seek(0)

    def seek(self, offset: int) -> None:
        """Goes to a place where a record, or a gzip member, starts."""
        self._file.seek(offset)
        self._buffer = bytearray()  # inflated, not yet taken
        self._raw = b""  # read, not yet inflated
        self._inflate: Any = None  # None between members
        self._member, self._taken, self._inflated_bytes = offset, 0, 0

    @property
    def position(self) -> tuple[int, int]:
        """(offset in the file, offset inside the gzip member there) of the next byte."""
        if not self._is_gzip:
            return self._member + self._taken, 0
        return self._member, self._taken

    def at_record(self) -> bool:
        """Whether there is more. Goes into the next member where one has ended."""
        while not self._skip_line_ends():
            if not self._is_gzip or not self._next_member():
                return False
        return True

    def read_record(self) -> Record:
        """The record that starts here.

        Raises:
            _Broken: none does, or it breaks off, or its gzip member is damaged.
        """
        offset, inner = self.position
        taken = bytearray()
        try:
            headers = self._read_header(taken)
            length = headers.get("content-length", "")
            if not re.fullmatch(_LENGTH, length):
                raise _Broken("damaged_record", f"its Content-Length is {length!r}")
            header_bytes = len(taken)
            self._read_body(int(length), taken, _MAX_BODY_BYTES + header_bytes)
            more = self._skip_line_ends()  # to the end of the member, where its CRC is checked
            if more and not self._is_header():  # so its Content-Length is wrong, and it may have swallowed others
                raise _Broken("damaged_record", "no record follows where it should end")
        except _Broken as broken:
            broken.offset, broken.raw = offset, bytes((taken + self._buffer)[:MAX_RAW_BYTES])
            raise
        return Record(offset, inner, headers, bytes(taken[header_bytes:]), int(length))

    def find_start(self, offset: int) -> int:
        """The first place from `offset` on where a record seems to start; the size of the file where there is none."""
        return self._find_member(offset) if self._is_gzip else self._find_record(offset)

    def _read_header(self, taken: bytearray) -> dict[str, str]:
        while (found := _HEADER.match(self._buffer)) is None:
            if not self._is_header() or len(self._buffer) > _MAX_HEADER_BYTES:
                raise _Broken("damaged_record", "no WARC header")
            if not self._more(across=True):
                raise _Broken("truncated_record", "in its WARC header")
        taken += self._take(found.end())
        return _parse(bytes(taken))

    def _read_body(self, num_bytes: int, taken: bytearray, max_bytes: int) -> None:
        """Goes `num_bytes` on and adds them to `taken`, as far as it has room for them."""
        left = num_bytes
        while left:
            if not self._buffer and not self._more(across=True):
                raise _Broken("truncated_record", f"{left:,} of {num_bytes:,} bytes are missing")
            block = self._take(min(left, len(self._buffer)))
            left -= len(block)
            taken += block[: max(0, max_bytes - len(taken))]

    def _take(self, num_bytes: int) -> bytes:
        block = bytes(self._buffer[:num_bytes])
        del self._buffer[:num_bytes]
        self._taken += num_bytes
        return block

    def _skip_line_ends(self) -> bool:
        """Whether there is more in this member, behind the line ends that close a record and zeros that pad a file."""
        while self._buffer or self._more(across=False):
            num_ends = len(self._buffer) - len(self._buffer.lstrip(_PADDING))
            self._take(num_ends)
            if self._buffer:
                return True
        return False

    def _is_header(self) -> bool:
        return self._buffer[: len(_VERSION)] == _VERSION[: len(self._buffer)]

    def _more(self, across: bool) -> bool:
        """Adds bytes to the buffer; False at the end of the member, or of the last one where `across` members."""
        if not self._is_gzip:
            block = self._file.read(_BLOCK_BYTES)
            self._buffer += block
            return bool(block)
        while self._inflate is not None or (across and self._next_member()):
            if block := self._inflated():
                self._buffer += block
                return True
        return False

    def _inflated(self) -> bytes:
        """Some bytes of this member, at its end none."""
        while True:
            raw = self._raw or self._file.read(_BLOCK_BYTES)
            if not raw:
                raise _Broken("truncated_record", "the gzip member breaks off")
            try:
                block = self._inflate.decompress(raw, _BLOCK_BYTES)
            except zlib.error as error:
                raise _Broken("damaged_record", str(error)) from None
            self._inflated_bytes += len(block)
            if detail := inflates_too_far(self._inflated_bytes, self._size):
                raise _Broken("inflates_too_far", detail)
            self._raw = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            if self._inflate.eof:
                self._inflate = None
            if block or self._inflate is None:
                return block

    def _next_member(self) -> bool:
        """Starts on the next gzip member; False at the end of the file. Zeros between members are padding."""
        self._raw = self._raw.lstrip(b"\0")
        while not self._raw:
            block = self._file.read(_BLOCK_BYTES)
            if not block:
                self._member, self._taken = self._file.tell(), 0
                return False
            self._raw = block.lstrip(b"\0")
        self._raw += self._file.read(len(_GZIP_MAGIC))
        self._member, self._taken = self._file.tell() - len(self._raw), -len(self._buffer)
        if not self._raw.startswith(_GZIP_MAGIC):
            raise _Broken("damaged_record", "no gzip member")
        self._inflate, self._inflated_bytes = zlib.decompressobj(16 + zlib.MAX_WBITS), 0
        return True

    def _find_member(self, offset: int) -> int:
        for place in self._find(_GZIP_MAGIC, offset):
            self._file.seek(place)
            try:
                start = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(self._file.read(4096), len(_VERSION))
            except zlib.error:
                continue
            if start == _VERSION:
                return place
        return self._file.seek(0, 2)

    def _find_record(self, offset: int) -> int:
        """A record is believed when another one, or the end of the file, comes where its Content-Length says.

        It need not begin a line: what a killed crawler left half written is followed by the next record at once.
        """
        size = self._file.seek(0, 2)
        for place in self._find(_VERSION, offset):
            self._file.seek(place)
            header = _HEADER.match(self._file.read(_MAX_HEADER_BYTES))
            length = _parse(header[0]).get("content-length", "") if header else ""
            if header and re.fullmatch(_LENGTH, length):
                end = place + header.end() + int(length)
                self._file.seek(min(end, size))
                if end == size or (end < size and self._file.read(64).lstrip(_PADDING)[:5] in (b"", _VERSION)):
                    return place
        return size

    def _find(self, mark: bytes, offset: int) -> Iterator[int]:
        """Offsets from `offset` on where `mark` stands in the file."""
        block = b""
        while True:
            self._file.seek(offset + len(block))
            more = self._file.read(_BLOCK_BYTES)
            block += more
            at = block.find(mark)
            while at >= 0:
                yield offset + at
                at = block.find(mark, at + 1)
            if not more:
                return
            rest = block[-len(mark) + 1 :]
            offset, block = offset + len(block) - len(rest), rest


def _parse(header: bytes) -> dict[str, str]:
    """WARC header fields by lower-case name; a line that begins with a blank goes on with the one before it."""
    fields: dict[str, str] = {}
    name = ""
    for line in header.decode("utf-8", "replace").split("\n")[1:]:
        if line[:1] in (" ", "\t") and name:
            fields[name] += " " + line.strip()
        elif ":" in line:
            name, value = (part.strip() for part in line.split(":", 1))
            name = name.lower()
            fields[name] = value
    return fields
