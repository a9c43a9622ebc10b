"""Folders of text: one file is one document, its id the path inside the folder."""

from typing import Any, NamedTuple

import pyarrow as pa

from assay.artifacts.storage import Location
from assay.corpus.failures import Failure, write_failures
from assay.corpus.parts import PartWriter

_BATCH_FILES = 256
_GROUP_BYTES = 32 << 20


class Source(NamedTuple):
    """Text files that make up one task: (path, label) pairs."""

    files: tuple[tuple[Location, str], ...]


def group(files: list[tuple[Location, str]]) -> list[tuple[tuple[Location, str], ...]]:
    """Files put together, in order, until each group holds about 32 MB."""
    groups: list[list[tuple[Location, str]]] = []
    size = _GROUP_BYTES
    for file in files:
        if size >= _GROUP_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(file)
        size += file[0].stat().st_size
    return [tuple(g) for g in groups]


def read_group(source: Source, folder: Location, prefix: str) -> dict[str, Any]:
    """Reads one group into parts `prefix-*.parquet`; a file that is not UTF-8 goes to failed/.

    A byte order mark is left out.
    """
    writer = PartWriter(folder, prefix, prefix)
    failures: list[Failure] = []
    for start in range(0, len(source.files), _BATCH_FILES):
        ids, texts = [], []
        for path, label in source.files[start : start + _BATCH_FILES]:
            raw = path.read_bytes()
            try:
                texts.append(raw.decode("utf-8-sig"))
                ids.append(label)
            except UnicodeDecodeError as error:
                failures.append(Failure(label, 0, "invalid_utf8", f"byte {error.start + 1}: {error.reason}", raw))
        if texts:
            table = pa.table({"id": pa.array(ids, pa.string()), "text": pa.array(texts, pa.string())})
            writer.add(table, range(start, start + len(ids)))
    write_failures(folder, prefix, failures)
    return writer.finish(failures)
