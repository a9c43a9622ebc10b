"""Groupings run out of core: a map over parts, a map over partitions, and back to the parts.

What passes between the maps lies in files of the artifact's folder until its parts are written. Each file is whole or
not there, so an interrupted run goes on where it stopped. In memory: the records
of a batch of 16 MB of text, or one partition, for each worker; on the driver 8 bytes for each batch and partition, and
for `Linking` about 40 bytes for each document that has a near duplicate. Nothing else grows with the documents.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from assay.api.build import build_parts, log_seconds, part_bytes, read_seconds
from assay.api.isolating import PART, SCORER_FAILED, Quarantine, conclude, known_rows, without_text
from assay.artifacts.kinds import Corpus
from assay.artifacts.manifest import Manifest, atomic_path
from assay.artifacts.remote import RemotePath
from assay.artifacts.workspace import Draft, make_folder
from assay.corpus.engine import map_parts
from assay.corpus.failures import copy_failures
from assay.kernels.arrow import masked, utf8
from assay.kernels.grouping import by_partition, connect, least_in_group, roots, take_records
from assay.kernels.hashing import hash_strings
from assay.kernels.minhash import orders
from assay.progress import step
from assay.scorers.grouping import Grouping, Linking, Matching

_PARTITION_BYTES = 32 << 20
_MAX_PARTITIONS = 1 << 12
_WORK = "work"
_NULL, _ALONE = -2, -1  # instead of where a document starts: its text is null, it has nothing to compare


def run_grouping(draft: Draft, corpus: Corpus, method: Grouping, max_failed_share: float = 0.0) -> Manifest:
    """Makes the scores artifact of a grouping, or what an interrupted run left to make of it."""
    try:
        manifest = _run(draft, corpus, method, max_failed_share)
    except FileNotFoundError:  # another process made the same artifact, and has cleared up
        done = draft.finished()
        if done is None:
            raise
        return done
    clear_work(draft)
    return manifest


def clear_work(draft: Draft) -> None:
    """Removes what passed between the maps; a run that was killed after its last part has left it."""
    shutil.rmtree(draft.scratch / _WORK, ignore_errors=True)
    if isinstance(draft.folder, RemotePath):
        shutil.rmtree(draft.scratch, ignore_errors=True)


def _run(draft: Draft, corpus: Corpus, method: Grouping, max_failed_share: float) -> Manifest:
    started = time.perf_counter()
    draft.start()
    work = draft.scratch / _WORK
    make_folder(work)
    schema = pa.schema([(column.name, column.type) for column in method.columns(())])
    amounts = part_bytes(corpus.manifest.parts)
    if isinstance(method, Matching):
        make = _matched(corpus, method, work, amounts)
    else:
        assert isinstance(method, Linking)
        make = _linked(corpus, method, work, amounts)
    entries, figures, types = build_parts(draft, partial(_as_part, make, schema), amounts, f"score {method.name}")
    summary = {"clusters": sum(f["representatives"] for f in figures)} if "representatives" in figures[0] else {}
    if isinstance(draft.folder, RemotePath):
        copy_failures(draft.scratch, draft.folder)
    failed, rows = conclude(corpus, draft.folder, max_failed_share, partial(_describe, method))
    return draft.finish(
        schema=types,
        parts=[entry | {"failed": rows[k]} if rows[k] else entry for k, entry in enumerate(entries)],
        counts={
            "in": corpus.num_documents,
            "failed": failed,
            "nulls": {name: sum(f["nulls"][name] for f in figures) for name in schema.names},
        },
        summary=summary,
        seconds={
            "wall": time.perf_counter() - started,
            "core": sum(read_seconds(work).values()) + sum(f["seconds"] for f in figures),
        },
    )


def document_orders(batch: pa.RecordBatch) -> np.ndarray:
    """The order of each document [documents] uint64: a hash of its id, so that no order of files decides."""
    ids = utf8(batch.column("id"))
    return hash_strings(ids.data, ids.offsets)


def _describe(method: Grouping, batch: pa.RecordBatch) -> Any:
    """What the first map asks of a batch: records and details of a `Matching`, the sketch of a `Linking`."""
    if isinstance(method, Matching):
        return method.records(batch, document_orders(batch))
    assert isinstance(method, Linking)
    return method.sketch(batch, document_orders(batch))


def _as_part(
    make: Callable[[int], Iterator[list[pa.Array]]], schema: pa.Schema, part: int
) -> tuple[pa.Table, dict[str, Any]]:
    pieces = list(make(part))
    table = pa.table([pa.chunked_array(column) for column in zip(*pieces, strict=True)], schema=schema)
    figures: dict[str, Any] = {"nulls": {name: table[name].null_count for name in schema.names}}
    for name in schema.names:
        if name.endswith(".representative"):
            figures["representatives"] = int(np.count_nonzero(table[name].fill_null(False).to_numpy()))
    return table, figures


def _matched(
    corpus: Corpus, method: Matching, work: Path, amounts: Sequence[int]
) -> Callable[[int], Iterator[list[pa.Array]]]:
    """Does both maps of a `Matching`; returns what gives the columns of a part, batch by batch."""
    num_partitions = _num_partitions(method, corpus)
    parts = range(corpus.num_parts)
    with step(f"hash for {method.name}", sum(amounts)) as advance:
        for k, _ in zip(
            parts, map_parts(partial(_write_matching, corpus, method, work, num_partitions), parts), strict=True
        ):
            advance(amounts[k])
    starts = _starts(work, corpus.num_parts)
    with step(f"match {method.name}", num_partitions, "partitions") as advance:
        for _ in map_parts(partial(_write_verdicts, method, work, starts), range(num_partitions)):
            advance(1)
    return partial(_score_matching, corpus, method, work, starts)


def _write_matching(corpus: Corpus, method: Matching, work: Path, num_partitions: int, part: int) -> None:
    def pieces() -> Iterator[np.ndarray]:
        aside = Quarantine(corpus, part, SCORER_FAILED)
        for batch in corpus.batches(part, ["id", "text"]):
            yield aside.run(partial(_describe, method), batch)[0]
        aside.save(work.parent, PART)

    _write_records(work, num_partitions, part, pieces())


def _write_verdicts(method: Matching, work: Path, starts: list[np.ndarray], partition: int) -> None:
    _once(
        work / f"verdicts-{partition:05d}.npy",
        lambda: method.match(_partition(work, starts, method.record_words, partition)),
    )


def _score_matching(
    corpus: Corpus, method: Matching, work: Path, starts: list[np.ndarray], part: int
) -> Iterator[list[pa.Array]]:
    """Takes each record's verdict from where its partition has it: records of a partition keep their order."""
    num_partitions = starts[part].shape[1] - 1
    verdicts = [np.load(work / f"verdicts-{p:05d}.npy", mmap_mode="r") for p in range(num_partitions)]
    following = np.zeros(num_partitions, np.int64)
    for before in starts[:part]:
        following += np.diff(before, axis=1).sum(axis=0)
    first, failed = 0, np.array(known_rows(work.parent, PART, part), np.int64)
    for whole in corpus.batches(part, ["id", "text"]):
        batch = without_text(whole, failed - first)
        first += len(batch)
        records, details = method.records(batch, document_orders(batch))
        order, ends = by_partition(records, num_partitions)
        sizes = np.diff(ends)
        taken = np.concatenate([verdicts[p][following[p] : following[p] + sizes[p]] for p in range(num_partitions)])
        following += sizes
        own = np.empty_like(taken)
        own[order] = taken
        yield method.score(batch, details, own)


def _linked(
    corpus: Corpus, method: Linking, work: Path, amounts: Sequence[int]
) -> Callable[[int], Iterator[list[pa.Array]]]:
    """Does both maps of a `Linking` and unites the pairs; returns what gives the columns of a part."""
    num_partitions = _num_partitions(method, corpus)
    parts = range(corpus.num_parts)
    # Every part has a place of its own in one file, as long as its documents can become; what is not written of it
    # takes no room on the disk.
    rooms = [method.most_words(entry["rows"], entry["text_bytes"]) for entry in corpus.manifest.parts]
    bases = np.concatenate(([0], np.cumsum(rooms, dtype=np.int64)))
    with open(work / "packed.u32", "ab") as stream:
        stream.truncate(int(bases[-1]) * 4)
    with step(f"sketch for {method.name}", sum(amounts)) as advance:
        sketch = partial(_write_linking, corpus, method, work, num_partitions, bases)
        for k, _ in zip(parts, map_parts(sketch, parts), strict=True):
            advance(amounts[k])
    starts = _starts(work, corpus.num_parts)
    with step(f"compare for {method.name}", num_partitions, "partitions") as advance:
        for _ in map_parts(partial(_write_pairs, method, work, starts), range(num_partitions)):
            advance(1)
    _once(work / "clusters.npy", lambda: _unite(work, num_partitions))
    return partial(_score_linking, work)


def _write_linking(
    corpus: Corpus, method: Linking, work: Path, num_partitions: int, bases: np.ndarray, part: int
) -> None:
    def pieces() -> Iterator[np.ndarray]:
        position = int(bases[part])
        documents = [np.empty((2, 0), np.int64)]
        with open(work / "packed.u32", "r+b") as stream:
            stream.seek(position * 4)
            aside = Quarantine(corpus, part, SCORER_FAILED)
            for whole in corpus.batches(part, ["id", "text"]):
                batch, (keys, packed, places) = aside.run(lambda b: (b, _describe(method, b)), whole)
                order = document_orders(batch)
                has_any = places >= 0
                places[has_any] += position
                position += len(packed)
                assert position <= bases[part + 1], "documents are larger than `most_words`"
                packed.tofile(stream)
                alone = np.where(utf8(batch.column("text")).is_valid, _ALONE, _NULL)
                documents.append(np.stack((np.where(has_any, places, alone), order.view(np.int64))))
                whose = np.repeat(places[has_any].astype(np.uint64), keys.shape[1])
                yield np.column_stack((keys[has_any].ravel(), whose))
        aside.save(work.parent, PART)
        _save(work / f"documents-{part:05d}.npy", np.concatenate(documents, axis=1))

    _write_records(work, num_partitions, part, pieces())


def _write_pairs(method: Linking, work: Path, starts: list[np.ndarray], partition: int) -> None:
    _once(
        work / f"pairs-{partition:05d}.npy",
        lambda: method.link(_partition(work, starts, method.record_words, partition), _packed(work)),
    )


def _unite(work: Path, num_partitions: int) -> np.ndarray:
    """Clusters of the documents that are in a pair: where each starts, how many are in its cluster, and where the
    cluster's representative starts [3, documents] int64, by the first.
    """
    paths = [work / f"pairs-{p:05d}.npy" for p in range(num_partitions)]
    nodes, pending = np.empty(0, np.int64), [np.empty(0, np.int64)]
    for path in paths:
        pending.append(np.unique(np.load(path)))
        if sum(map(len, pending)) >= len(nodes) or path == paths[-1]:  # seldom, or the work grows with its square
            nodes, pending = np.unique(np.concatenate((nodes, *pending))), []
    parents = np.arange(len(nodes))
    for path in paths:
        pairs = np.load(path)
        connect(parents, np.searchsorted(nodes, pairs[:, 0]), np.searchsorted(nodes, pairs[:, 1]))
    tree = roots(parents)
    least = least_in_group(tree, len(nodes), orders(_packed(work), nodes))
    sizes = np.bincount(tree, minlength=len(nodes))
    return np.stack((nodes, sizes[tree], nodes[least[tree]]))


def _score_linking(work: Path, part: int) -> Iterator[list[pa.Array]]:
    places, order = np.load(work / f"documents-{part:05d}.npy")
    nodes, sizes, representatives = np.load(work / "clusters.npy", mmap_mode="r")
    found = np.searchsorted(nodes, places)
    found[found == len(nodes)] = 0
    is_paired = nodes[found] == places if len(nodes) else np.zeros(len(places), np.bool_)
    at = found[is_paired]
    size = np.ones(len(places), np.int64)
    size[is_paired] = sizes[at]
    cluster = order.view(np.uint64).copy()
    cluster[is_paired] = orders(_packed(work), representatives[at])
    stands_for_it = np.ones(len(places), np.bool_)
    stands_for_it[is_paired] = representatives[at] == places[is_paired]
    numbers = (cluster >> np.uint64(1)).astype(np.int64)
    yield [masked(column, places != _NULL) for column in (size, numbers, stands_for_it)]


def _num_partitions(method: Grouping, corpus: Corpus) -> int:
    """As many as make a partition about 32 MB of records."""
    expected = method.expected_records(corpus.num_documents, corpus.num_bytes)
    return min(_MAX_PARTITIONS, 1 + expected * method.record_words * 8 // _PARTITION_BYTES)


def _write_records(work: Path, num_partitions: int, part: int, batches: Iterator[np.ndarray]) -> None:
    """Writes the records of a part, sorted by partition batch by batch, then where partitions start."""

    def write() -> np.ndarray:
        starts = [np.empty((0, num_partitions + 1), np.int64)]
        position = 0
        with atomic_path(_records_path(work, part)) as temporary, open(temporary, "wb") as stream:
            for records in batches:
                order, ends = by_partition(records, num_partitions)
                take_records(records, order).tofile(stream)
                starts.append(ends[np.newaxis] + position)
                position += len(records)
        return np.concatenate(starts)

    _once(work / f"starts-{part:05d}.npy", write)


def _records_path(work: Path, part: int) -> Path:
    return work / f"records-{part:05d}.u64"


def _starts(work: Path, num_parts: int) -> list[np.ndarray]:
    """Per part, where each partition starts in the records of each batch [batches, partitions + 1]."""
    return [np.load(work / f"starts-{k:05d}.npy") for k in range(num_parts)]


def _partition(work: Path, starts: list[np.ndarray], words: int, partition: int) -> np.ndarray:
    """The records of one partition from all batches, in their order [records, words]."""
    pieces = [np.empty(0, np.uint64)]
    for part, ranges in enumerate(starts):
        with open(_records_path(work, part), "rb") as stream:
            for first, end in ranges[:, partition : partition + 2].tolist():
                stream.seek(first * words * 8)
                pieces.append(np.fromfile(stream, np.uint64, (end - first) * words))
    return np.concatenate(pieces).reshape(-1, words)


def _packed(work: Path) -> np.ndarray:
    return np.asarray(np.memmap(work / "packed.u32", np.uint32, "r"))


def _once(path: Path, make: Callable[[], np.ndarray]) -> None:
    """Writes what `make` returns, unless an earlier run did."""
    if not path.exists():
        started = time.thread_time()
        _save(path, make())
        log_seconds(path, time.thread_time() - started)


def _save(path: Path, array: np.ndarray) -> None:
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.save(stream, array)
