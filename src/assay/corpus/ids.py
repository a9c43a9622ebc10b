"""Ids that stand twice in a corpus: a map over parts, and a map over ranges of hashes.

In between, 16 bytes a document lie in a folder that is removed at the end. In memory: a range of about 32 MB for each
worker; on the driver 16 bytes for each document whose id came before. Ids with equal 64-bit hashes count as equal: of
10^9 different ones one pair in 40 corpora, and that document is set aside as doubled.
"""

from functools import partial
from pathlib import Path

import numpy as np

from assay.artifacts.kinds import Corpus
from assay.artifacts.process import own_name
from assay.artifacts.storage import atomic_path, clear_scratch, scratch_for
from assay.corpus.engine import map_parts
from assay.kernels.arrow import utf8
from assay.kernels.hashing import hash_strings

_RANGE_BYTES = 32 << 20


def doubled_rows(corpus: Corpus) -> dict[int, np.ndarray]:
    """Per part that has some, the rows whose id came before, in an earlier part or earlier in the same one."""
    num_ranges = 1 + corpus.num_documents * 16 // _RANGE_BYTES
    name = f".ids.{own_name()}.tmp"
    work = scratch_for(corpus.folder) / name
    work.mkdir(parents=True, exist_ok=True)
    try:
        for _ in map_parts(partial(_write_hashes, corpus, work), range(corpus.num_parts)):
            pass
        ranges = range(num_ranges)
        found = [np.empty((2, 0), np.int64), *map_parts(partial(_doubled, corpus.num_parts, work, num_ranges), ranges)]
    finally:
        clear_scratch(corpus.folder, name)
    parts, rows = np.concatenate(found, axis=1)
    order = np.lexsort((rows, parts))
    having, starts = np.unique(parts[order], return_index=True)
    pieces = np.split(rows[order], starts[1:])  # one, and empty, where nothing is doubled
    return dict(zip(having.tolist(), pieces, strict=False))


def _write_hashes(corpus: Corpus, work: Path, part: int) -> None:
    """Hashes of a part's ids, ascending, and the row of each [2, documents] uint64."""
    ids = [utf8(batch.column("id")) for batch in corpus.batches(part, ["id"])]
    hashes = np.concatenate([np.empty(0, np.uint64), *(hash_strings(column.data, column.offsets) for column in ids)])
    order = np.argsort(hashes, kind="stable")
    with atomic_path(_path(work, part)) as temporary, open(temporary, "wb") as stream:
        np.save(stream, np.stack((hashes[order], order.astype(np.uint64))))


def _doubled(num_parts: int, work: Path, num_ranges: int, number: int) -> np.ndarray:
    """Part and row of every document whose id came before, of one range of hashes [2, doubled] int64."""
    first, last = ((number << 64) // num_ranges, ((number + 1 << 64) // num_ranges) - 1)
    pieces = [np.empty((3, 0), np.uint64)]
    for part in range(num_parts):
        stored = np.load(_path(work, part), mmap_mode="r")
        start = np.searchsorted(stored[0], np.uint64(first), side="left")
        end = np.searchsorted(stored[0], np.uint64(last), side="right")
        pieces.append(np.concatenate((stored[:, start:end], np.full((1, end - start), part, np.uint64))))
    hashes, rows, parts = np.concatenate(pieces, axis=1)
    order = np.argsort(hashes, kind="stable")  # equal ones stay in the order of the corpus
    later = order[1:][hashes[order[1:]] == hashes[order[:-1]]]
    return np.stack((parts[later], rows[later])).astype(np.int64)


def _path(work: Path, part: int) -> Path:
    return work / f"part-{part:05d}.npy"
