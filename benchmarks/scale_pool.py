"""A pool of any size: documents of the shared pool in families of eight near duplicates, made by seeded edits.

The same whatever its size, so that costs can be compared: as many duplicates, the same lengths, no text that grows.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numba import njit

from assay.kernels.arrow import from_utf8
from assay.kernels.hashing import GOLDEN, mix64
from benchmarks.data import some_texts

FAMILY = 8
_FILE_DOCUMENTS = 1 << 18
_GROUP_BYTES = 16 << 20
_FAMILY_RATE = 1 / 3  # words that tell a family from the document it came from: two of them share a tenth of 5-grams
_COPY_RATE = 0.02  # at most, of words that tell a copy from its family; a third of the copies have none
_LONGEST_WORD = 64
_THREADS = 3
_SCHEMA = pa.schema([("id", pa.string()), ("text", pa.large_string()), ("family", pa.int64())])


def generate(folder: Path, pool: str, num_bytes: int) -> str:
    """Parquet files of about `num_bytes` of text with `id`, `text` and `family`; returns a glob of them.

    Document i is copy i // F of family i mod F, where F is the number of families, so that copies lie far apart.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = pa.array(some_texts(pool, 1 << 40), pa.large_string())
    offsets = np.frombuffer(texts.buffers()[1], np.int64)
    data = np.frombuffer(texts.buffers()[2], np.uint8)
    num_families = max(1, int(num_bytes / (len(data) / len(texts)) / FAMILY))
    firsts = range(0, FAMILY * num_families, _FILE_DOCUMENTS)
    with ThreadPoolExecutor(_THREADS) as threads:
        list(threads.map(partial(_write_file, folder, data, offsets, num_families), firsts))
    return str(folder / "*.parquet")


def _write_file(folder: Path, data: np.ndarray, offsets: np.ndarray, num_families: int, first: int) -> None:
    """Documents from number `first` on, in row groups of about 16 MB."""
    out = np.empty(_GROUP_BYTES + 4 * int(np.diff(offsets).max()) + 1024, np.uint8)
    end = min(first + _FILE_DOCUMENTS, FAMILY * num_families)
    path = folder / f"pool-{first // _FILE_DOCUMENTS:05d}.parquet"
    with pq.ParquetWriter(path, _SCHEMA, compression="lz4", use_dictionary=False) as writer:
        while first < end:
            starts, size = fill(data, offsets, first, end, num_families, _GROUP_BYTES, out)
            numbers = np.arange(first, first + len(starts) - 1)
            ids = pa.array(numbers).cast(pa.string())
            table = pa.table([ids, from_utf8(out[:size], starts), numbers % num_families], schema=_SCHEMA)
            writer.write_table(table)
            first += len(numbers)


@njit(nogil=True, cache=True)
def fill(data, offsets, first, end, num_families, num_bytes, out):  # noqa: ANN001, ANN201
    """Writes documents from number `first` on into `out`; returns where each starts, and where the last ends."""
    starts = [np.int64(0)]
    n = 0
    number = first
    while number < end and n < num_bytes:
        family = np.uint64(number % num_families)
        base = np.int64(mix64(family * GOLDEN + np.uint64(1)) % np.uint64(len(offsets) - 1))
        own = mix64(np.uint64(number) * GOLDEN + np.uint64(2))
        rate = max(0.0, (own >> np.uint64(11)) / 2.0**53 * 1.5 - 0.5) * _COPY_RATE
        n = _edit(data, offsets[base], offsets[base + 1], mix64(family), own, rate, out, n)
        starts.append(np.int64(n))
        number += 1
    return np.array(starts), n


@njit(nogil=True, cache=True)
def _edit(data, start, end, family, own, rate, out, n):  # noqa: ANN001, ANN202
    """One document word by word, some replaced by words from elsewhere in it; returns where it ends in `out`."""
    room = n + 4 * (end - start)
    at = start
    while at < end:
        word = at
        while at < end and data[at] > 32:
            at += 1
        one, other = mix64(family + np.uint64(word - start)), mix64(own + np.uint64(word - start))
        source, source_end = word, at
        for coin, chance in ((one, _FAMILY_RATE), (other, rate)):
            if (coin >> np.uint64(11)) / 2.0**53 < chance and n + _LONGEST_WORD + end - at < room:
                source, source_end = _some_word(data, start, end, mix64(coin), source, source_end)
        for k in range(source, source_end):
            out[n] = data[k]
            n += 1
        while at < end and data[at] <= 32:
            out[n] = data[at]
            n += 1
            at += 1
    return n


@njit(nogil=True, cache=True)
def _some_word(data, start, end, coin, source, source_end):  # noqa: ANN001, ANN202
    """The first word after a random place of a document; the given one where that is none or long."""
    at = start + np.int64(coin % np.uint64(end - start))
    while at < end and data[at] > 32:
        at += 1
    while at < end and data[at] <= 32:
        at += 1
    word = at
    while at < end and data[at] > 32:
        at += 1
    return (word, at) if word < at <= word + _LONGEST_WORD else (source, source_end)
