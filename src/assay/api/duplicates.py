"""The largest clusters of duplicates, for people: who is in them, and how near to the one that stands for them."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from assay.api.grouping import document_orders
from assay.artifacts.kinds import Corpus, Scores, check_corpus
from assay.artifacts.manifest import Manifest
from assay.artifacts.workspace import Workspace
from assay.errors import ArtifactError, InvalidParameterError, check, check_integer
from assay.kernels.arrow import utf8
from assay.kernels.minhash import distinct_shingles
from assay.kernels.unicode import tables
from assay.kernels.words import word_windows
from assay.scorers.minhash import MinHash

_CLUSTER = ".cluster"
_SHOWN_CHARACTERS = 48


@dataclass(frozen=True, kw_only=True)
class Member:
    """A document of a cluster.

    source: its `source`, or the file that it was read from. characters: of its text.
    jaccard: of its word shingles and the representative's. beginning: of its text, white space squeezed.
    """

    id: str
    source: str
    characters: int
    jaccard: float
    beginning: str


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Documents that are the same or alike. size: how many; members: some of them, the representative first."""

    number: int
    size: int
    members: tuple[Member, ...]


def duplicates(corpus: Corpus, scores: Scores, *, clusters: int = 10, members: int = 4) -> list[Cluster]:
    """The largest clusters of more than one document, the largest first; those of one size by their number.

    Args:
        scores: of `Exact` or `MinHash`, of this corpus.
        clusters: at most so many. members: at most so many of each, by the hash of their ids.

    Raises:
        InvalidParameterError: scores of another corpus, or without clusters.
    """
    check_corpus(corpus)
    check(isinstance(scores, Scores), "scores", scores, "scores, as assay.score(...) returns")
    check_integer("clusters", clusters, 1)
    check_integer("members", members, 1)
    scores.require_made_from(corpus)
    name = _cluster_column(scores)
    if name is None:
        raise InvalidParameterError(
            f"Scores {scores.name!r} ({scores.fingerprint}) put no documents into clusters. "
            "Pass those of assay.Exact() or assay.MinHash()."
        )
    largest = heapq.nsmallest(clusters, _representatives(scores, name))
    picked = _picked(corpus, scores, name, [number for _, number in largest], members)
    ngrams = scores.manifest.parameters.get("ngrams", MinHash().ngrams)
    return [Cluster(number=number, size=-size, members=_members(picked[number], ngrams)) for size, number in largest]


def show_duplicates(which: str | None, workspace: Workspace) -> RenderableType:
    """`duplicates` of scores in the workspace, as a table.

    Args:
        which: the name ("minhash") or (the start of) the fingerprint of scores; None for the last that were made.

    Raises:
        ArtifactError: there are none, or their corpus is gone.
    """
    known = _clusterings(workspace)
    if not known:
        raise ArtifactError(
            f"Nothing in {workspace.root} has looked for duplicates yet. Use `where: minhash.representative` in an arm "
            "of a recipe and run: assay score recipe.yaml"
        )
    matching = [s for s in known if which is None or s.name == which or s.fingerprint.startswith(which)]
    if not matching:
        listed = ", ".join(f"{s.name} ({s.fingerprint})" for s in known)
        raise ArtifactError(f"No scores with clusters in {workspace.root} match {which!r}. There: {listed}.")
    scores = matching[-1]
    corpus = Corpus(workspace.find(scores.manifest.inputs["corpus"]))
    found = duplicates(corpus, scores)
    total = scores.manifest.summary["clusters"]
    others = "".join(f"; also: {s.name} {s.fingerprint}" for s in known if s != scores)
    head = (
        f"{scores.name} {scores.fingerprint} of {corpus.name}: {corpus.num_documents:,} documents in {total:,} "
        f"clusters, {corpus.num_documents - total:,} could go{others}. The first of each cluster stands for it."
    )
    return Group(Text(head), _table(found)) if found else Text(head)


def _table(clusters: list[Cluster]) -> Table:
    grid = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim")
    grid.add_column("copies", justify="right", no_wrap=True)
    grid.add_column("id", overflow="fold", min_width=10, max_width=24)
    grid.add_column("source", overflow="ellipsis", no_wrap=True, max_width=14)
    grid.add_column("chars", justify="right", no_wrap=True)
    grid.add_column("Jaccard", justify="right", no_wrap=True)
    grid.add_column("begins", overflow="fold", min_width=16)
    for cluster in clusters:
        for k, member in enumerate(cluster.members):
            grid.add_row(
                f"{cluster.size:,}" if k == 0 else "",
                Text(member.id),
                Text(member.source),
                f"{member.characters:,}",
                "first" if k == 0 else f"{member.jaccard:.2f}",
                Text(member.beginning),
            )
        grid.add_section()
    return grid


def _cluster_column(scores: Scores) -> str | None:
    """What the columns with clusters are called before the dot; None where there are none."""
    return next((c.removesuffix(_CLUSTER) for c in scores.column_names if c.endswith(_CLUSTER)), None)


def _clusterings(workspace: Workspace) -> list[Scores]:
    """All scores with clusters, the last made at the end."""
    manifests = sorted(workspace.manifests("scores-*"), key=lambda path: (path.stat().st_mtime, path))
    found = []
    for path in manifests:
        scores = Scores(path.parent, Manifest.load(path.parent))
        if _cluster_column(scores) is not None:
            found.append(scores)
    return found


def _representatives(scores: Scores, name: str) -> Iterator[tuple[int, int]]:
    """(minus size, number) of every cluster of more than one document."""
    for part in range(scores.num_parts):
        table = scores.table(part, [f"{name}.cluster_size", f"{name}{_CLUSTER}", f"{name}.representative"])
        table = table.filter(pc.and_(table[2], pc.greater(table[0], 1)))
        yield from zip((-table[0].to_numpy()).tolist(), table[1].to_pylist(), strict=True)


def _picked(
    corpus: Corpus, scores: Scores, name: str, numbers: list[int], members: int
) -> dict[int, list[tuple[str, str, str]]]:
    """(id, source, text) of the first documents of each cluster, by the hash of their ids; the representative leads."""
    firsts: dict[int, list[tuple[int, int, int]]] = {number: [] for number in numbers}
    wanted = pa.array(numbers, pa.int64())
    for part in range(corpus.num_parts):
        column = scores.table(part, [f"{name}{_CLUSTER}"])[0]
        rows = np.flatnonzero(pc.is_in(column, wanted).to_numpy())
        if not len(rows):
            continue
        order = np.concatenate([document_orders(batch) for batch in corpus.batches(part, ["id"])])[rows]
        for number, one, row in zip(column.take(rows).to_pylist(), order.tolist(), rows.tolist(), strict=True):
            firsts[number].append((one, part, row))
        firsts = {number: heapq.nsmallest(members, places) for number, places in firsts.items()}
    places = sorted({(part, row) for first in firsts.values() for _, part, row in first})
    documents = dict(zip(places, _documents(corpus, places), strict=True))
    return {number: [documents[part, row] for _, part, row in first] for number, first in firsts.items()}


def _documents(corpus: Corpus, places: list[tuple[int, int]]) -> Iterator[tuple[str, str, str]]:
    """(id, source, text) of the documents at these parts and rows, which are in order."""
    has_source = corpus.manifest.schema.get("source") in ("string", "large_string")
    columns = ["id", "text", *(["source"] if has_source else [])]
    for part in sorted({part for part, _ in places}):
        rows = np.array([row for p, row in places if p == part])
        first = 0
        for batch in corpus.batches(part, columns):
            inside = rows[(rows >= first) & (rows < first + len(batch))] - first
            first += len(batch)
            for document in batch.take(pa.array(inside)).to_pylist():
                source = document.get("source") or corpus.manifest.parts[part]["label"]
                yield str(document["id"]), str(source), document["text"]


def _members(documents: list[tuple[str, str, str]], ngrams: int) -> tuple[Member, ...]:
    text = utf8(pa.array([document[2] for document in documents], pa.large_string()))
    shingles, starts = distinct_shingles(*word_windows(text.data, text.offsets, ngrams, tables()))
    sets = [set(shingles[a:b].tolist()) for a, b in pairwise(starts)]
    first = sets[0]
    return tuple(
        Member(
            id=id,
            source=source,
            characters=len(text),
            jaccard=len(first & own) / len(first | own) if first | own else float(text == documents[0][2]),
            beginning=" ".join(text[: 4 * _SHOWN_CHARACTERS].split())[:_SHOWN_CHARACTERS],
        )
        for (id, source, text), own in zip(documents, sets, strict=True)
    )
