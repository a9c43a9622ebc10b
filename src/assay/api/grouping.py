"""Groupings run out of core: maps over parts and maps over partitions, with files in between.

A `Matching` takes three: records go to partitions, verdicts come back, parts are scored. A `Linking` takes more:
documents that share a key are candidates; what candidates connect (`components`) meets in one *home* with all that is
compared, so that a cluster is whole where it is found and nothing is left to unite.

What passes between the maps lies in the artifact's folder until its parts are written. Each file is whole or not
there, so an interrupted run goes on where it stopped. In memory, for each worker: a batch of 16 MB of text and what
is computed of it, or a partition, 32 MB of records or 64 MB of documents; more where one key or one component has
more. On the driver nothing that grows with the documents. docs/scale.md has figures.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from assay.api.build import build_parts, lower_is_better, part_bytes
from assay.api.components import components_in, edges_from, find_components
from assay.api.exchange import Exchange, cut_off
from assay.api.isolating import PART, SCORER_FAILED, Quarantine, conclude, known_rows, without_text
from assay.artifacts.cost import count_read
from assay.artifacts.kinds import Corpus
from assay.artifacts.manifest import Manifest, atomic_path
from assay.artifacts.remote import RemotePath
from assay.artifacts.storage import clear_scratch
from assay.artifacts.workspace import Draft, make_folder
from assay.corpus.failures import FAILED_FOLDER, copy_failures
from assay.corpus.sharing import share, share_step
from assay.kernels.arrow import masked, utf8
from assay.kernels.grouping import by_partition, distinct, equal_keys, least_in_group, partition_of
from assay.kernels.hashing import hash_strings, mix64_array, unmix64_array
from assay.kernels.ragged import take_runs
from assay.progress import step
from assay.scorers.grouping import Grouping, Linking, Matching

_PARTITION_BYTES = 32 << 20
_HOME_BYTES = 64 << 20
_MAX_PARTITIONS = 1 << 12
WORK = "work"
_PIECE_FEATURES = 4 << 20
_HEAD = 3  # words of a document before its keys: number in the corpus, order, number of features
_NULL = np.uint64(2**64 - 1)  # instead of a number of features: the text is null


def run_grouping(draft: Draft, corpus: Corpus, method: Grouping, max_failed_share: float = 0.0) -> Manifest:
    """Makes the scores artifact of a grouping, or what an interrupted run left to make of it."""
    return draft.or_finished(partial(_run, draft, corpus, method, max_failed_share))


def clear_work(draft: Draft) -> None:
    """Removes what passed between the maps of a finished artifact."""
    clear_scratch(draft.folder, WORK)
    if isinstance(draft.folder, RemotePath):
        clear_scratch(draft.folder, FAILED_FOLDER)
        (draft.folder / WORK).remove_all()


def _run(draft: Draft, corpus: Corpus, method: Grouping, max_failed_share: float) -> Manifest:
    draft.start()
    work = draft.scratch / WORK
    make_folder(work)
    if (done := draft.finished()) is not None:  # by another process, which has cleared up before we made the folder
        return done
    columns = method.columns(())
    schema = pa.schema([(column.name, column.type) for column in columns])
    amounts = part_bytes(corpus.manifest.parts)
    if isinstance(method, Matching):
        make = _matched(draft, corpus, method, work, amounts)
    else:
        assert isinstance(method, Linking)
        make = _linked(draft, corpus, method, work, amounts)
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
        summary=summary | lower_is_better(columns),
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
    return method.sketch(batch)


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


def _num_partitions(method: Grouping, corpus: Corpus) -> int:
    """As many as make a partition about 32 MB of records."""
    expected = method.expected_records(corpus.num_documents, corpus.num_bytes)
    return min(_MAX_PARTITIONS, 1 + expected * method.record_words * 8 // _PARTITION_BYTES)


def _num_homes(method: Linking, corpus: Corpus) -> int:
    """As many as make a home about 64 MB of documents, which have one feature for six bytes of text or fewer."""
    expected = corpus.num_documents * (_HEAD + method.num_keys) * 8 + corpus.num_bytes * 4 // 6
    return min(_MAX_PARTITIONS, 1 + expected // _HOME_BYTES)


def _matched(
    draft: Draft, corpus: Corpus, method: Matching, work: Path, amounts: Sequence[int]
) -> Callable[[int], Iterator[list[pa.Array]]]:
    """Does both maps of a `Matching`; returns what gives the columns of a part, batch by batch."""
    num_parts, num_partitions = corpus.num_parts, _num_partitions(method, corpus)
    records = Exchange(work, "records", num_parts, num_partitions, method.record_words)
    empty = method.match(np.empty((0, method.record_words), np.uint64))
    width = 1 if empty.ndim == 1 else empty.shape[1]
    verdicts = Exchange(work, "verdicts", num_partitions, num_parts, width, empty.dtype.type)
    _each_part(draft, f"hash for {method.name}", partial(_send_records, corpus, method, records), records, amounts)
    _each_partition(draft, f"match {method.name}", partial(_send_verdicts, method, records, verdicts), verdicts)
    return partial(_score_matching, corpus, method, verdicts)


def _each_part(draft: Draft, what: str, work: Callable[[int], Any], to: Exchange, amounts: Sequence[int]) -> None:
    share_step(draft, what, work, range(len(amounts)), to.sent, amounts)


def _each_partition(draft: Draft, what: str, work: Callable[[int], Any], to: Exchange) -> None:
    share_step(draft, what, work, range(to.num_sources), to.sent, [1] * to.num_sources, "partitions")


def _send_records(corpus: Corpus, method: Matching, to: Exchange, part: int) -> None:
    def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        aside = Quarantine(corpus, part, SCORER_FAILED)
        for batch in corpus.batches(part, ["id", "text"]):
            records = aside.run(partial(_describe, method), batch)[0]
            yield records, partition_of(records[:, 0], to.num_destinations)
        aside.save(to.folder.parent, PART)

    if not to.has(part):
        to.send(part, batches())


def _send_verdicts(method: Matching, records: Exchange, to: Exchange, partition: int) -> None:
    if not to.has(partition):
        pieces = records.receive_each(partition)
        verdicts = method.match(np.concatenate(pieces))
        ends = np.concatenate(([0], np.cumsum([len(piece) for piece in pieces])))
        to.send_sorted(partition, [(verdicts, ends)])


def _score_matching(corpus: Corpus, method: Matching, verdicts: Exchange, part: int) -> Iterator[list[pa.Array]]:
    """Gives each record its verdict: those of one partition come back in the order in which the records went."""
    sent = verdicts.receive_each(part)
    following = np.zeros(len(sent), np.int64)
    first, failed = 0, np.array(known_rows(verdicts.folder.parent, PART, part), np.int64)
    for whole in corpus.batches(part, ["id", "text"]):
        batch = without_text(whole, failed - first)
        first += len(batch)
        records, details = method.records(batch, document_orders(batch))
        order, ends = by_partition(partition_of(records[:, 0], len(sent)), len(sent))
        sizes = np.diff(ends)
        taken = np.concatenate([v[n : n + size] for v, n, size in zip(sent, following, sizes, strict=True)])
        following += sizes
        own = np.empty_like(taken)
        own[order] = taken
        yield method.score(batch, details, own if own.shape[1] > 1 else own[:, 0])


class _Links(NamedTuple):
    """What passes between the maps of a `Linking`.

    Documents are numbered through the corpus; mixed, the number is a node of the graph of candidates.

    firsts: number of each part's first document [parts + 1].
    keys: (key, node) from parts to partitions of keys. edges: between documents that share a key.
    labels: (number, component) back to the parts. documents, features: to *homes*, where whole components meet.
    clusters: (number, size, cluster's number, stands for it) of documents that are not alone, back to the parts.
    """

    corpus: Corpus
    method: Linking
    work: Path
    firsts: np.ndarray
    keys: Exchange
    edges: Exchange
    labels: Exchange
    documents: Exchange
    features: Exchange
    clusters: Exchange


def _linked(
    draft: Draft, corpus: Corpus, method: Linking, work: Path, amounts: Sequence[int]
) -> Callable[[int], Iterator[list[pa.Array]]]:
    """Brings together what may be alike, and compares it there; returns what gives the columns of a part."""
    num_parts, num_partitions = corpus.num_parts, _num_partitions(method, corpus)
    num_homes = _num_homes(method, corpus)
    links = _Links(
        corpus=corpus,
        method=method,
        work=work,
        firsts=np.cumsum([0] + [entry["rows"] for entry in corpus.manifest.parts], dtype=np.int64),
        keys=Exchange(work, "keys", num_parts, num_partitions, 2),
        edges=edges_from(work, num_partitions, num_partitions),
        labels=Exchange(work, "labels", num_partitions, num_parts, 2),
        documents=Exchange(work, "documents", num_parts, num_homes, _HEAD + method.num_keys),
        features=Exchange(work, "features", num_parts, num_homes, 1, np.uint32),
        clusters=Exchange(work, "clusters", num_homes, num_parts, 4, np.int64),
    )
    _each_part(draft, f"sketch for {method.name}", partial(_send_keys, links), links.keys, amounts)
    _each_partition(draft, f"find candidates for {method.name}", partial(_send_edges, links), links.edges)
    with step(f"connect candidates for {method.name}", 1, "graph"):
        stars = find_components(links.edges)
        list(share(partial(_send_labels, links, stars), range(num_partitions), links.labels.sent))
    _each_part(draft, f"bring together for {method.name}", partial(_send_documents, links), links.features, amounts)
    _each_partition(draft, f"compare for {method.name}", partial(_send_clusters, links), links.clusters)
    return partial(_score_linking, links)


def _send_keys(links: _Links, part: int) -> None:
    if not links.keys.has(part):
        links.keys.send(part, _sketches(links, part))


def _sketches(links: _Links, part: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Keys of a part, batch by batch, with their partitions; leaves the rest in two files for `_send_documents`."""
    documents = [np.empty((0, _HEAD + links.method.num_keys), np.uint64)]
    number = links.firsts[part]
    with atomic_path(links.work / f"features-of-{part:05d}.u32") as temporary, open(temporary, "wb") as stream:
        aside = Quarantine(links.corpus, part, SCORER_FAILED)
        for whole in links.corpus.batches(part, ["id", "text"]):
            batch, (keys, features, starts) = aside.run(lambda b: (b, _describe(links.method, b)), whole)
            features.tofile(stream)
            numbers = np.arange(number, number + len(batch)).astype(np.uint64)
            number += len(batch)
            sizes = np.diff(starts)
            is_null = ~utf8(batch.column("text")).is_valid
            marked = np.where(is_null, _NULL, sizes.astype(np.uint64))
            documents.append(np.column_stack((numbers, document_orders(batch), marked, keys)))
            flat = keys[sizes > 0].ravel()
            nodes = np.repeat(mix64_array(numbers[sizes > 0]), keys.shape[1])
            yield np.column_stack((flat, nodes)), partition_of(flat, links.keys.num_destinations)
    aside.save(links.work.parent, PART)
    with atomic_path(links.work / f"documents-of-{part:05d}.npy") as temporary, open(temporary, "wb") as stream:
        np.save(stream, np.concatenate(documents))


def _send_edges(links: _Links, partition: int) -> None:
    """Joins each document that shares a key with the least node of those that do."""
    if not links.edges.has(partition):
        records = links.keys.receive(partition)
        groups, num_groups = equal_keys(records, 1)
        hubs = records[least_in_group(groups, num_groups, records[:, 1]), 1][groups]
        is_edge = hubs != records[:, 1]
        found = distinct(np.stack((records[is_edge, 1], hubs[is_edge]), axis=1))
        links.edges.send(partition, [(found, partition_of(found[:, 0], links.edges.num_destinations))])


def _send_labels(links: _Links, stars: Exchange, partition: int) -> None:
    if not links.labels.has(partition):
        found = components_in(stars, partition)
        found[:, 0] = unmix64_array(found[:, 0].copy())
        links.labels.send(partition, [(found, _parts_of(links, found[:, 0]))])


def _parts_of(links: _Links, numbers: np.ndarray) -> np.ndarray:
    return np.searchsorted(links.firsts, numbers.astype(np.int64), "right") - 1


def _documents_of(links: _Links, part: int) -> np.ndarray:
    path = links.work / f"documents-of-{part:05d}.npy"
    try:
        documents = np.load(path)
    except (ValueError, EOFError):
        raise cut_off(path) from None
    count_read(documents.nbytes)
    return documents


def _send_documents(links: _Links, part: int) -> None:
    """Sends each document that has a candidate to the home of its component, some at a time."""
    if links.documents.has(part) and links.features.has(part):
        return
    labels = links.labels.receive(part)
    documents = _documents_of(links, part)
    homes = np.full(len(documents), -1)
    homes[labels[:, 0].astype(np.int64) - links.firsts[part]] = partition_of(
        labels[:, 1], links.features.num_destinations
    )
    rows = np.flatnonzero(homes >= 0)
    links.documents.send(part, [(documents[rows], homes[rows])])
    sizes = np.where(documents[:, 2] == _NULL, 0, documents[:, 2]).astype(np.int64)
    links.features.send_sorted(part, _features(links, part, sizes, homes))


def _features(
    links: _Links, part: int, sizes: np.ndarray, homes: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Features of a part's documents that have a home, sorted by home, some documents at a time."""
    num_homes = links.features.num_destinations
    ends = np.cumsum(sizes)
    first = 0
    path = links.work / f"features-of-{part:05d}.u32"
    with open(path, "rb") as stream:
        while first < len(sizes):
            before = ends[first] - sizes[first]
            end = max(first + 1, int(np.searchsorted(ends, before + _PIECE_FEATURES)))
            num_features = int(ends[min(end, len(ends)) - 1] - before)
            piece = np.fromfile(stream, np.uint32, num_features)
            if len(piece) < num_features:
                raise cut_off(path)
            count_read(piece.nbytes)
            rows = first + np.flatnonzero(homes[first:end] >= 0)
            order, starts = by_partition(homes[rows], num_homes)
            rows = rows[order]
            sent = np.empty(sizes[rows].sum(), np.uint32)
            take_runs(piece, ends[rows] - sizes[rows] - before, sizes[rows], sent)
            yield sent[:, np.newaxis], np.concatenate(([0], np.cumsum(sizes[rows])))[starts]
            first = end


def _send_clusters(links: _Links, home: int) -> None:
    """Links the documents of one home, and sends those that are not alone their cluster."""
    if links.clusters.has(home):
        return
    documents = links.documents.receive(home)
    features = links.features.receive(home)[:, 0]
    starts = np.concatenate(([0], np.cumsum(documents[:, 2].astype(np.int64))))
    order = documents[:, 1].copy()
    trees = links.method.link(documents[:, _HEAD:], order, features, starts)
    sizes = np.bincount(trees, minlength=len(trees))[trees]
    least = least_in_group(trees, len(trees), order)[trees]
    number = (order >> np.uint64(1)).astype(np.int64)[least]
    rows = np.flatnonzero(sizes > 1)
    columns = (documents[:, 0].astype(np.int64), sizes, number, least == np.arange(len(trees)))
    found = np.stack([column[rows] for column in columns], axis=1)
    links.clusters.send(home, [(found, _parts_of(links, found[:, 0]))])


def _score_linking(links: _Links, part: int) -> Iterator[list[pa.Array]]:
    documents = _documents_of(links, part)
    found = links.clusters.receive(part)
    rows = found[:, 0] - links.firsts[part]
    size, stands_for_it = np.ones(len(documents), np.int64), np.ones(len(documents), np.bool_)
    number = (documents[:, 1] >> np.uint64(1)).astype(np.int64)
    size[rows], number[rows], stands_for_it[rows] = found[:, 1], found[:, 2], found[:, 3] > 0
    yield [masked(column, documents[:, 2] != _NULL) for column in (size, number, stands_for_it)]
