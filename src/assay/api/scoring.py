"""`assay.score`: fit a scorer, then give every document its numbers."""

import errno
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial, reduce
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from assay.api.build import build_parts, lower_is_better, part_bytes
from assay.api.collecting import run_collective
from assay.api.content import path_fingerprint
from assay.api.embedding import Vectors, embed_for, embedded_batches, embedding_of, embeddings_draft
from assay.api.grouping import WORK, clear_work, run_grouping
from assay.api.isolating import FIT, PART, SCORER_FAILED, Quarantine, conclude, in_short, known_rows, to_blame
from assay.artifacts.kinds import Corpus, Scores, check_corpus
from assay.artifacts.manifest import Manifest
from assay.artifacts.storage import Location, atomic_path, open_bytes
from assay.artifacts.workspace import Draft, Workspace, make_folder
from assay.corpus.engine import map_step
from assay.corpus.failures import check_failed_share
from assay.corpus.read import read_corpus
from assay.corpus.sharing import share_step
from assay.errors import AssayError, InputError, InvalidParameterError, check, check_choice, check_number
from assay.scorers import EMBEDDING, SCORERS, Collective, Column, Grouping, Method, Scorer, State

_STATE = "state.npz"
_READ_SETTINGS = ("text", "id", "format", "extract", "max_failed_share")  # of `assay.read`
_MAX_SKETCHES = 256  # files between the parts of the pool and the fitted state: as large as the state, and not more


def score(
    corpus: Corpus,
    scorer: Method | str,
    *,
    target: Corpus | Mapping[str, Corpus] | None = None,
    max_failed_share: float = 0.0,
    workspace: Workspace | str | Location | None = None,
) -> Scores:
    """Scores every document of `corpus`; finds the scores again when the same were computed before.

    Args:
        scorer: a scorer or grouping with its parameters, or the name of one to take as it is ("dsir", "minhash").
        target: documents of the kind wanted, or several targets by name; needed by target-aware scorers only.
        max_failed_share: share of documents on which the scorer may raise. They are set aside in the failed/ folder of
            the scores, with id and error, and have no score; above this share scoring stops.
        workspace: where artifacts are kept; default `.assay` here.

    Raises:
        InvalidParameterError: unknown scorer, or a target missing or not wanted.
        InputError: the scorer raises on more documents than allowed, or on a target document.
    """
    check_corpus(corpus)
    check_number("max_failed_share", max_failed_share, "a share from 0 to 1", lambda x: 0 <= x <= 1)
    if isinstance(scorer, str):
        check_choice("scorer", scorer, SCORERS)
        scorer = SCORERS[scorer]()
    check(isinstance(scorer, Method), "scorer", scorer, "a scorer such as DSIR(), or the name of one")
    space = Workspace(workspace)
    targets = _targets(scorer, target)
    document_sets = open_document_sets(scorer, space)
    inputs = {"corpus": corpus.fingerprint} | {f"target.{name}": t.fingerprint for name, t in targets.items()}
    inputs |= {f"documents.{name}": documents.fingerprint for name, documents in document_sets.items()}
    inputs |= {f"file.{name}": path_fingerprint(name, path, space) for name, path in scorer.paths().items()}
    alone = scorer.inner() if isinstance(scorer, Collective) else {}
    for name, method in {EMBEDDING: scorer, **{f"{EMBEDDING}.{name}": inner for name, inner in alone.items()}}.items():
        if (embedding := embedding_of(method)) is not None:
            inputs[name] = embeddings_draft(corpus, embedding, corpus, space).fingerprint
    draft = space.open_draft("scores", scorer.name, scorer.version, scorer.question(), inputs)
    manifest = draft.finished()
    if manifest is None:
        if isinstance(scorer, Grouping):
            manifest = run_grouping(draft, corpus, scorer, max_failed_share)
        elif isinstance(scorer, Collective):
            inner = partial(score, corpus, target=target, max_failed_share=max_failed_share, workspace=space)
            nested = {name: inner(one) for name, one in scorer.inner().items()}
            found = embed_for(scorer, corpus, [], space)[corpus.fingerprint]
            manifest = run_collective(draft, corpus, scorer, nested, found)
        else:
            assert isinstance(scorer, Scorer)
            make = partial(_run_scorer, draft, corpus, scorer, targets, document_sets, max_failed_share, space)
            manifest = draft.or_finished(make)
    clear_work(draft)
    failed = Counter(manifest.counts.get("failed", {}))
    check_failed_share(corpus.name, corpus.num_documents - failed.total(), failed, draft.folder, max_failed_share)
    return Scores(draft.folder, manifest)


def _run_scorer(
    draft: Draft,
    corpus: Corpus,
    scorer: Scorer,
    targets: Mapping[str, Corpus],
    document_sets: Mapping[str, Corpus],
    max_failed_share: float,
    workspace: Workspace,
) -> Manifest:
    vectors = embed_for(scorer, corpus, [*targets.values(), *document_sets.values()], workspace)
    draft.start()
    state = _fitted(draft, scorer, corpus, targets, document_sets, vectors)
    columns = scorer.columns(tuple(targets))
    entries, figures, schema = build_parts(
        draft,
        partial(_score_part, corpus, scorer, state, vectors, columns, draft.folder),
        part_bytes(corpus.manifest.parts),
        f"score {scorer.name}",
    )
    failed, rows = conclude(
        corpus, draft.folder, max_failed_share, partial(_score_first, corpus, scorer, state, vectors)
    )
    summaries = [{key: np.array(value) for key, value in f["summary"].items()} for f in figures]
    total = reduce(scorer.merge, summaries)
    return draft.finish(
        schema=schema,
        parts=[entry | {"failed": rows[k]} if rows[k] else entry for k, entry in enumerate(entries)],
        counts={
            "in": corpus.num_documents,
            "failed": failed,
            "nulls": {c.name: sum(f["nulls"][c.name] for f in figures) for c in columns},
        },
        summary=scorer.fit_summary(state) | scorer.summary(total) | lower_is_better(columns),
    )


def _targets(scorer: Method, target: Corpus | Mapping[str, Corpus] | None) -> dict[str, Corpus]:
    if not scorer.needs_target:
        return {}
    if target is None:
        raise InvalidParameterError(f"Scorer {scorer.name!r} compares with a target; pass target=assay.read(...).")
    # Sorted, because a fitted state found again must mean the same targets in the same places.
    targets = dict(sorted(target.items())) if isinstance(target, Mapping) else {"target": target}
    for name, documents in targets.items():
        check_corpus(documents, "target" if len(targets) == 1 else f"target[{name!r}]")
    if not targets:
        raise InvalidParameterError(f"Scorer {scorer.name!r} compares with a target; `target` (={{}}) is empty.")
    return targets


def open_document_sets(scorer: Method, workspace: Workspace) -> dict[str, Corpus]:
    """What the scorer learns from, read.

    Raises:
        InvalidParameterError: a parameter is not a path, paths, a mapping for `assay.read` or a corpus.
        InputError: what it names cannot be read.
    """
    opened = {}
    for name, given in scorer.document_sets().items():
        if isinstance(given, Corpus):
            opened[name] = given
            continue
        settings = dict(given) if isinstance(given, Mapping) else {"read": given}
        for key in settings:
            check_choice(name, key, ["read", *_READ_SETTINGS])
        check("read" in settings, name, given, "a path, or a mapping with `read: path`")
        opened[name] = read_corpus(settings.pop("read"), **settings, name=name, workspace=workspace)
    return opened


def _fitted(
    draft: Draft,
    scorer: Scorer,
    corpus: Corpus,
    targets: Mapping[str, Corpus],
    document_sets: Mapping[str, Corpus],
    vectors: Vectors,
) -> State:
    """The fitted state, from its file when an earlier run got that far."""
    if not scorer.needs_target and not scorer.reads_pool and not document_sets:
        return {}
    path = draft.folder / _STATE
    stored = _stored(path)
    if stored is not None:
        return stored
    sketches: dict[str, State] = {}
    for name, target in targets.items():
        sketch, amounts = partial(_sketch_target, scorer, target, vectors), part_bytes(target.manifest.parts)
        found = map_step(draft, f"fit {scorer.name} to {name}", sketch, range(len(amounts)), amounts, "bytes")
        sketches[name] = merged(scorer.merge, found)
    for name, documents in document_sets.items():
        if name in sketches:
            raise InvalidParameterError(f"Scorer {scorer.name!r} has a parameter {name!r}. Rename that target.")
        sketch = partial(_sketch_documents, scorer, documents, vectors, name)
        amounts = part_bytes(documents.manifest.parts)
        found = map_step(draft, f"fit {scorer.name} to {name}", sketch, range(len(amounts)), amounts, "bytes")
        sketches[name] = merged(scorer.merge, found)
    prepared = scorer.prepare(sketches)
    state = scorer.finish(prepared, _pool_sketch(draft, scorer, prepared, corpus, vectors) if scorer.reads_pool else {})
    _save(path, state)
    return state


def merged(merge: Callable[[State, State], State], states: Iterable[State]) -> State:
    """All states as one, merged two by two: one after the other, a growing sum would be copied each time."""
    stack: list[tuple[int, State]] = []  # how many each stands for: falling powers of two
    for state in states:
        size = 1
        while stack and stack[-1][0] == size:
            state, size = merge(stack.pop()[1], state), 2 * size
        stack.append((size, state))
    return reduce(lambda b, a: merge(a, b), (state for _, state in reversed(stack)))


def _pool_sketch(draft: Draft, scorer: Scorer, prepared: State, corpus: Corpus, vectors: Vectors) -> State:
    """The merged sketch of the pool, from files of a few parts each that processes share."""
    work = draft.folder / WORK
    make_folder(work)
    num_files = min(corpus.num_parts, _MAX_SKETCHES)
    bounds = [corpus.num_parts * k // num_files for k in range(num_files + 1)]
    pieces = [range(*pair) for pair in pairwise(bounds)]
    paths = [work / f"sketch-{k:05d}.npz" for k in range(num_files)]
    amounts = part_bytes(corpus.manifest.parts)
    totals = [sum(amounts[part] for part in piece) for piece in pieces]
    items = list(zip(pieces, paths, strict=True))
    known = {**prepared, "num_documents": np.array([corpus.num_documents])}
    sketch = partial(_sketch_pieces, scorer, known, corpus, vectors)
    share_step(draft, f"fit {scorer.name} to the pool", sketch, items, paths, totals)
    return merged(scorer.merge, map(_required, paths))


def _sketch_pieces(
    scorer: Scorer, prepared: State, corpus: Corpus, vectors: Vectors, item: tuple[range, Location]
) -> None:
    parts, path = item
    folder = path.parent.parent
    sketch = partial(_sketch_pool, scorer, prepared, corpus, vectors, folder)
    _save(path, merged(scorer.merge, map(sketch, parts)))


def _required(path: Location) -> State:
    """A state that was there a moment ago.

    Raises:
        FileNotFoundError: it is gone, or could not be read.
    """
    state = _stored(path)
    if state is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    return state


def _save(path: Location, state: State) -> None:
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, allow_pickle=False, **state)


def _stored(path: Location) -> State | None:
    """The fitted state that an earlier run left; what cannot be read is deleted, so that it is made again."""
    try:
        with open_bytes(path) as file, np.load(file, allow_pickle=False) as stored:
            return dict(stored)
    except FileNotFoundError:
        return None
    except AssayError:  # of the store, and not of what it holds
        raise
    except (ValueError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
        pass
    except OSError as error:
        if error.errno != errno.EINVAL:  # as the search for a place before the file's start gives
            raise
    path.unlink(missing_ok=True)
    return None


def _sketch_target(scorer: Scorer, target: Corpus, vectors: Vectors, part: int) -> State:
    columns = [name for name in scorer.target_columns if name in target.column_names]
    batches = embedded_batches(target, part, list(dict.fromkeys(["id", *columns])), vectors)
    work = scorer.sketch_target
    return merged(scorer.merge, (_sketch_given(scorer, work, f"target {target.name!r}", batch) for batch in batches))


def _sketch_documents(scorer: Scorer, documents: Corpus, vectors: Vectors, name: str, part: int) -> State:
    wanted = [column for column in scorer.document_columns(name) if column in documents.column_names]
    batches = embedded_batches(documents, part, list(dict.fromkeys(["id", "text", *wanted])), vectors)
    work = partial(scorer.sketch_documents, name)
    return merged(scorer.merge, (_sketch_given(scorer, work, f"{name!r}", batch) for batch in batches))


def _sketch_given(scorer: Scorer, work: Callable[[pa.RecordBatch], State], whose: str, batch: pa.RecordBatch) -> State:
    """What a batch of documents contributes that somebody chose by hand, so that none is left out.

    Raises:
        InputError: the scorer fails on a document, and not on all.
    """
    try:
        return work(batch)
    except Exception as error:
        found = list(to_blame(work, batch, error))
        if not found or len(found) == len(batch):
            raise
        row, own = found[0]
        raise InputError(
            f"Scorer {scorer.name!r} fails on document {batch.column('id')[row].as_py()!r} of {whose} "
            f"({in_short(own)}). Take it out."
        ) from own


def _sketch_pool(
    scorer: Scorer, prepared: State, corpus: Corpus, vectors: Vectors, folder: Location, part: int
) -> State:
    aside = Quarantine(corpus, part, SCORER_FAILED)
    sketch_pool = partial(scorer.sketch_pool, prepared=prepared)
    columns = list(dict.fromkeys(["text", *scorer.pool_columns]))
    batches = embedded_batches(corpus, part, columns, vectors)
    sketch = merged(scorer.merge, (aside.run(sketch_pool, batch) for batch in batches))
    aside.save(folder, FIT)
    return sketch


def _score_part(
    corpus: Corpus,
    scorer: Scorer,
    state: State,
    vectors: Vectors,
    columns: list[Column],
    folder: Location,
    part: int,
) -> tuple[pa.Table, dict[str, Any]]:
    aside = Quarantine(corpus, part, SCORER_FAILED, known_rows(folder, FIT, part))
    work = partial(scorer.score, state=state)
    pieces = [aside.run(work, batch) for batch in _to_score(corpus, scorer, vectors, part)]
    aside.save(folder, PART)
    whole = [pa.concat_arrays(column) for column in zip(*pieces, strict=True)]
    arrays = {column.name: values.cast(column.type) for column, values in zip(columns, whole, strict=True)}
    figures = {
        "summary": {key: value.tolist() for key, value in scorer.summarise(arrays).items()},
        "nulls": {name: array.null_count for name, array in arrays.items()},
    }
    return pa.table(arrays), figures


def _to_score(corpus: Corpus, scorer: Scorer, vectors: Vectors, part: int) -> Iterator[pa.RecordBatch]:
    return embedded_batches(corpus, part, list(dict.fromkeys(["text", *scorer.score_columns])), vectors)


def _score_first(corpus: Corpus, scorer: Scorer, state: State, vectors: Vectors, batch: pa.RecordBatch) -> None:
    """Scores the first document, of which `batch` is the text, to see what is wrong with all of them."""
    scorer.score(next(_to_score(corpus, scorer, vectors, 0)).slice(0, 1), state)
