"""Collective methods run out of core: documents go to groups, groups are rated, and what they are given comes back.

Two maps with files in between, then the parts. The first sends every document's vector, with the values that nested
scorers gave it, to the partition of its group; the second rates the groups of a partition one by one. What passes
lies in the artifact's folder until its parts are written; each file is whole or not there, so an interrupted run goes
on where it stopped. In memory, for each worker: a partition, 64 MB of vectors, more where one group has more or where
the pool has more than 256 GB of them; and a group with what the method makes of it. On the driver: cluster sizes.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from assay.api.build import build_parts, lower_is_better, part_bytes
from assay.api.embedding import Vectors, embedded_batches
from assay.api.exchange import Exchange
from assay.api.grouping import WORK, document_orders
from assay.artifacts.kinds import Corpus, Embeddings, Scores
from assay.artifacts.manifest import Manifest
from assay.artifacts.workspace import Draft, make_folder
from assay.corpus.engine import map_step
from assay.corpus.sharing import share_step
from assay.kernels.arrow import masked
from assay.kernels.grouping import partition_of
from assay.kernels.vectors import snapped
from assay.scorers import Collective
from assay.scorers.collective import CLUSTERS, Group
from assay.scorers.vectors import vectors_of

_PARTITION_BYTES = 64 << 20
_MAX_PARTITIONS = 1 << 12
_CLUSTER = f"{CLUSTERS}.cluster"
_HEAD = 5  # 32-bit words of a document before its values: row in its part; order; group


def run_collective(
    draft: Draft, corpus: Corpus, method: Collective, nested: Mapping[str, Scores], vectors: Embeddings
) -> Manifest:
    """Makes the scores artifact of a collective method, or what an interrupted run left to make of it.

    Args:
        nested: by parameter, what the method's nested scorers gave.
    """
    return draft.or_finished(partial(_run, draft, corpus, method, nested, vectors))


class _Job(NamedTuple):
    """What the maps share.

    partitions: of each group [groups]. first_groups: number of each cluster's first group [clusters + 1]; without
    clusters there is one of all documents.
    documents: (row, order, group, values, vector) from parts to partitions. ratings: (row, which columns are not null,
    the columns' values) back to the parts.
    """

    corpus: Corpus
    method: Collective
    nested: Mapping[str, Scores]
    vectors: Vectors
    first_groups: np.ndarray
    partitions: np.ndarray
    documents: Exchange
    ratings: Exchange


def _run(draft: Draft, corpus: Corpus, method: Collective, nested: Mapping[str, Scores], found: Embeddings) -> Manifest:
    draft.start()
    work = draft.scratch / WORK
    make_folder(work)
    if (done := draft.finished()) is not None:  # by another process, which has cleared up before we made the folder
        return done
    columns = method.columns(())
    sizes = _cluster_sizes(draft, corpus, nested)
    first_groups = np.concatenate(([0], np.cumsum(np.maximum(1, -(-sizes // method.group_size)))))
    width = _HEAD + 2 * len(nested) + found.dimensions
    partitions = _partitions(sizes, first_groups, 4 * width)
    num_parts, num_partitions = corpus.num_parts, int(partitions[-1]) + 1
    job = _Job(
        corpus=corpus,
        method=method,
        nested=nested,
        vectors={corpus.fingerprint: found},
        first_groups=first_groups,
        partitions=partitions,
        documents=Exchange(work, "documents", num_parts, num_partitions, width, np.uint32),
        ratings=Exchange(work, "ratings", num_partitions, num_parts, 2 + len(columns)),
    )
    amounts = part_bytes(corpus.manifest.parts)
    send, rate = partial(_send_documents, job), partial(_send_ratings, job)
    share_step(draft, f"bring together for {method.name}", send, range(num_parts), job.documents.sent, amounts)
    even = [1] * num_partitions
    share_step(draft, f"rate for {method.name}", rate, range(num_partitions), job.ratings.sent, even, "partitions")
    entries, figures, types = build_parts(draft, partial(_as_part, job), amounts, f"score {method.name}")
    return draft.finish(
        schema=types,
        parts=entries,
        counts={
            "in": corpus.num_documents,
            "failed": {},
            "nulls": {column.name: sum(f["nulls"][column.name] for f in figures) for column in columns},
        },
        summary={"groups": int(first_groups[-1])} | lower_is_better(columns),
    )


def _cluster_sizes(draft: Draft, corpus: Corpus, nested: Mapping[str, Scores]) -> np.ndarray:
    """How many documents each cluster has [clusters] int64; without clusters, how many there are [1]."""
    if CLUSTERS not in nested:
        return np.array([corpus.num_documents])
    counted = partial(_count_clusters, nested[CLUSTERS])
    rows = [part["rows"] for part in corpus.manifest.parts]
    sizes = np.zeros(1, np.int64)
    for found in map_step(draft, f"count clusters for {draft.name}", counted, range(len(rows)), rows, "documents"):
        longer, shorter = (found, sizes) if len(found) > len(sizes) else (sizes, found)
        sizes = longer.copy()
        sizes[: len(shorter)] += shorter
    return sizes


def _count_clusters(clusters: Scores, part: int) -> np.ndarray:
    return np.bincount(clusters.table(part, [_CLUSTER])[_CLUSTER].drop_null().to_numpy())


def _partitions(sizes: np.ndarray, first_groups: np.ndarray, document_bytes: int) -> np.ndarray:
    """The partition of each group, ascending [groups]: whole groups, until they make about 64 MB."""
    pieces = np.diff(first_groups)
    expected = np.repeat(sizes / pieces, pieces)
    total = int(sizes.sum()) * document_bytes
    wanted = min(_MAX_PARTITIONS, 1 + total // _PARTITION_BYTES)
    before = np.cumsum(expected) - expected
    found = np.floor(before / max(1.0, float(expected.sum())) * wanted).astype(np.int64)
    return np.unique(found, return_inverse=True)[1]


def _send_documents(job: _Job, part: int) -> None:
    job.documents.send(part, _records(job, part))


def _records(job: _Job, part: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Records [documents, words] uint32 of those documents of a part that have a vector, and their partitions."""
    values, clusters = _values(job, part)
    first = 0
    for batch in embedded_batches(job.corpus, part, ["id"], job.vectors):
        here = slice(first, first + len(batch))
        first += len(batch)
        own, is_valid = vectors_of(batch)
        vectors = snapped(own)
        rows = np.flatnonzero(is_valid & (clusters[here] >= 0))
        order = document_orders(batch)[rows]
        cluster = clusters[here][rows]
        pieces = np.diff(job.first_groups)[cluster]
        groups = job.first_groups[cluster] + _piece_of(order, pieces)
        heads = np.column_stack((order, groups.astype(np.uint64))).view(np.uint32)
        given = np.ascontiguousarray(values[here][rows]).view(np.uint32)
        numbers = (here.start + rows).astype(np.uint32)
        yield np.column_stack((numbers, heads, given, vectors[rows].view(np.uint32))), job.partitions[groups]


def _piece_of(order: np.ndarray, pieces: np.ndarray) -> np.ndarray:
    """Which of so many pieces of its cluster each document is in [documents] int64."""
    return partition_of(order, pieces.astype(np.uint64))


def _values(job: _Job, part: int) -> tuple[np.ndarray, np.ndarray]:
    """What nested scorers gave the documents of a part [documents, scorers] float64, higher is better, NaN = none.

    And the cluster of each [documents] int64, -1 = none; 0 where there are no clusters.
    """
    size = job.corpus.manifest.parts[part]["rows"]
    values, clusters = np.full((size, len(job.nested)), np.nan), np.zeros(size, np.int64)
    for k, (name, scores) in enumerate(job.nested.items()):
        first = scores.column_names[0]
        column = scores.table(part, [first])[first].cast(pa.float64(), safe=False)
        values[:, k] = column.to_numpy() * (-1 if first in scores.manifest.summary.get("lower_is_better", ()) else 1)
        if name == CLUSTERS:
            clusters = scores.table(part, [_CLUSTER])[_CLUSTER].fill_null(-1).to_numpy()
    return values, clusters


def _send_ratings(job: _Job, partition: int) -> None:
    """Rates the groups of a partition, and sends every document what it was given."""
    if job.ratings.has(partition):
        return
    pieces = job.documents.receive_each(partition)
    records = np.concatenate(pieces)
    order, groups = np.ascontiguousarray(records[:, 1:_HEAD]).view(np.uint64).T
    ratings = np.empty((len(records), job.ratings.width), np.uint64)
    ratings[:, 0] = records[:, 0]
    sequence = np.lexsort((order, groups))
    for rows in np.split(sequence, np.flatnonzero(np.diff(groups[sequence])) + 1) if len(sequence) else ():
        ratings[rows, 1:] = _rated(job, records[rows], order[rows])
    ends = np.concatenate(([0], np.cumsum([len(piece) for piece in pieces])))
    job.ratings.send_sorted(partition, [(ratings, ends)])


def _rated(job: _Job, records: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Which columns are not null, and their values [documents, 1 + columns] uint64, of one group."""
    end = _HEAD + 2 * len(job.nested)
    values = np.ascontiguousarray(records[:, _HEAD:end]).view(np.float64).reshape(len(records), -1)
    vectors = np.ascontiguousarray(records[:, end:]).view(np.float32)
    group = Group(vectors, order, {name: values[:, k] for k, name in enumerate(job.nested)})
    columns = job.method.rate(group)
    rated = np.zeros((len(records), 1 + len(columns)), np.uint64)
    for k, column in enumerate(columns):
        is_valid = column.is_valid().to_numpy(zero_copy_only=False)
        rated[:, 0] |= is_valid.astype(np.uint64) << np.uint64(k)
        filled = column.fill_null(0 if pa.types.is_integer(column.type) else False).to_numpy(zero_copy_only=False)
        rated[:, 1 + k] = (filled if filled.dtype == np.float64 else filled.astype(np.int64)).view(np.uint64)
    return rated


def _as_part(job: _Job, part: int) -> tuple[pa.Table, dict[str, Any]]:
    found = job.ratings.receive(part)
    whole = np.zeros((job.corpus.manifest.parts[part]["rows"], found.shape[1] - 1), np.uint64)
    whole[found[:, 0].astype(np.int64)] = found[:, 1:]
    arrays = {}
    for k, column in enumerate(job.method.columns(())):
        is_valid = (whole[:, 0] >> np.uint64(k) & np.uint64(1)).astype(np.bool_)
        bits = whole[:, 1 + k].copy()
        values = bits.view(np.float64) if pa.types.is_floating(column.type) else bits.view(np.int64)
        arrays[column.name] = masked(values, is_valid).cast(column.type)
    return pa.table(arrays), {"nulls": {name: array.null_count for name, array in arrays.items()}}
