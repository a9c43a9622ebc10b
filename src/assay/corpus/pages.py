"""HTML files, plain or .gz, and columns of HTML: one file, or one row, is one page."""

import gzip
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from assay.artifacts.storage import Location, open_bytes
from assay.corpus.extraction import MAX_PAGE_BYTES, Page, extract_pages
from assay.corpus.failures import MAX_RAW_BYTES, Failure, write_failures
from assay.corpus.parts import PartWriter

_BATCH_FILES = 64


class Source(NamedTuple):
    """HTML files that make up one task: (path, label) pairs, and the extractor."""

    files: tuple[tuple[Location, str], ...]
    extract: str


def read_group(source: Source, folder: Location, prefix: str) -> dict[str, Any]:
    """Reads one group into parts `prefix-*.parquet`; a file that no text can be had from goes to failed/."""
    writer = PartWriter(folder, prefix, prefix)
    failures: list[Failure] = []
    for start in range(0, len(source.files), _BATCH_FILES):
        files = list(_open_files(source.files[start : start + _BATCH_FILES], failures))
        ids, texts = [], []
        results = extract_pages([page for _, page in files], source.extract)
        for (label, page), result in zip(files, results, strict=True):
            if result.reason is None:
                ids.append(label)
                texts.append(result.text)
            else:
                failures.append(Failure(label, 0, result.reason, result.detail, page.data[:MAX_RAW_BYTES]))
        if texts:
            table = pa.table({"id": pa.array(ids, pa.string()), "text": pa.array(texts, pa.string())})
            writer.add(table, range(start, start + len(ids)))
    write_failures(folder, prefix, failures)
    return writer.finish(failures)


def extract_column(
    table: pa.Table, lines: Sequence[int] | np.ndarray, label: str, extract: str, failures: list[Failure]
) -> tuple[pa.Table, np.ndarray]:
    """`table` with text where its column `text` had HTML (strings, or bytes to decode), and the lines of its rows.

    Rows that no text can be had from are left out and added to `failures`.
    """
    column = table["text"]
    pages = [
        Page(value) if isinstance(value, bytes) else Page(value.encode(), charset="utf-8")
        for value in column.to_pylist()
    ]
    results = extract_pages(pages, extract)
    numbers = np.asarray(lines, np.int64)
    for page, line, result in zip(pages, numbers, results, strict=True):
        if result.reason is not None:
            failures.append(Failure(label, int(line), result.reason, result.detail, page.data[:MAX_RAW_BYTES]))
    kept = np.array([result.reason is None for result in results], np.bool_)
    texts = pa.array([result.text for result in results], pa.string())
    table = table.set_column(table.column_names.index("text"), "text", texts)
    return table.filter(pa.array(kept)), numbers[kept]


def _open_files(files: Sequence[tuple[Location, str]], failures: list[Failure]) -> Iterator[tuple[str, Page]]:
    """(label, page) of each file, of a large one as much as shows that it is too large."""
    for path, label in files:
        try:
            with open_bytes(path) as file:
                stream = gzip.GzipFile(fileobj=file) if path.suffix.lower() == ".gz" else file
                data = stream.read(MAX_PAGE_BYTES + 1)
        except EOFError as error:
            failures.append(Failure(label, 0, "truncated_file", str(error), b""))
        except (gzip.BadGzipFile, zlib.error) as error:
            failures.append(Failure(label, 0, "unreadable_file", str(error), b""))
        else:
            yield label, Page(data)
