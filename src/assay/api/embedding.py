"""`assay.embed`: a vector for every document, made once and stored; and how those who go by vectors get at them."""

import threading
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from assay.api.build import build_parts, part_bytes
from assay.api.content import path_fingerprint
from assay.artifacts.kinds import Corpus, Embeddings, check_corpus
from assay.artifacts.manifest import MANIFEST
from assay.artifacts.storage import Location, atomic_path, open_bytes
from assay.artifacts.workspace import Draft, Workspace
from assay.corpus.engine import map_step
from assay.corpus.sharing import share_one
from assay.errors import ArtifactError, InvalidParameterError
from assay.kernels.arrow import utf8
from assay.kernels.embedding import count_words
from assay.kernels.hashing import hash_strings
from assay.kernels.unicode import tables
from assay.models import torch_extra
from assay.models.bag import Bag, fit_bag
from assay.models.embedding import NUM_BUCKETS, Embedding, Encoder, WordModel, as_embedding, fit_words
from assay.models.encoders import load_encoder, model_folder
from assay.models.gradients import Gradients, TakesGradients, WordGradients
from assay.scorers import EMBEDDING, Collective, Method
from assay.selection.noise import keyed_hashes, uniforms

Vectors = Mapping[str, Embeddings]  # by fingerprint of the corpus whose documents they stand for
VERSION = 1
SAMPLE_DOCUMENTS = 50_000
SAMPLE_BYTES = 256 << 20
_MODEL = "model.npz"
_loading = threading.Lock()  # of several threads that need a model the first one loads it


def embed(
    corpus: Corpus,
    embedding: Embedding | Gradients | str | Mapping[str, Any] = Embedding(),  # noqa: B008  (it is frozen)
    *,
    fitted_on: Corpus | None = None,
    workspace: Workspace | str | Location | None = None,
) -> Embeddings:
    """A vector of unit length for every document, as float16; found again when the same were made before.

    Vectors can be compared with each other when the same model made them: for those of a target say
    `fitted_on=pool`, as scorers do.

    Args:
        embedding: an `Embedding`; or "words", or the path of a folder with a sentence-transformers or model2vec model;
            or `Gradients` of a model's loss (docs/influence.md).
        fitted_on: the corpus whose words the model "words" learns; default `corpus` itself.

    Raises:
        InvalidParameterError: a bad parameter, no such folder, no model in it, or no words to fit "words" on.
        MissingExtraError: the package that a folder's model needs is not installed.
    """
    check_corpus(corpus)
    wanted = as_embedding(embedding)
    space = Workspace(workspace)
    source = corpus if fitted_on is None else fitted_on
    check_corpus(source, "fitted_on")
    draft = embeddings_draft(corpus, wanted, source, space)
    manifest = draft.finished()
    if manifest is None:
        folder = _fitted_folder(source, wanted, space) if wanted.is_fitted_on_pool else Path(wanted.folders[0])
        mark = " ".join(value for name, value in draft.inputs.items() if name != "corpus")
        draft.start()
        entries, _, schema = build_parts(
            draft,
            partial(_embed_part, corpus, wanted, folder, mark),
            part_bytes(corpus.manifest.parts),
            f"embed {corpus.name}",
            ".arrow",
        )
        encoder = _encoder(wanted, folder, mark)
        told = {"steps": encoder.steps} if isinstance(encoder, TakesGradients) else {}
        manifest = draft.finish(
            schema=schema,
            parts=entries,
            counts={"in": corpus.num_documents},
            summary={
                "dimensions": encoder.dimensions,
                "model": wanted.model if isinstance(wanted, Embedding) else list(wanted.folders) or wanted.gradients,
                **told,
            },
        )
    return Embeddings(draft.folder, manifest)


def embeddings_draft(
    corpus: Corpus, embedding: Embedding | Gradients, fitted_on: Corpus, workspace: Workspace
) -> Draft:
    """Where the vectors of a corpus are, or will be; nothing is fitted or loaded.

    Raises:
        InvalidParameterError: there is no such folder.
    """
    inputs = {"corpus": corpus.fingerprint}
    if embedding.is_fitted_on_pool:
        inputs["model"] = _model_draft(fitted_on, embedding, workspace).fingerprint
    for k, folder in enumerate(embedding.folders):
        name = "embedding.model" if isinstance(embedding, Embedding) else "embedding.gradients"
        inputs[f"model.{k}" if k else "model"] = path_fingerprint(name, str(model_folder(folder, name)), workspace)
    if isinstance(embedding, Embedding):
        question = {"pooling": embedding.pooling}
    else:
        question = {k: v for k, v in asdict(embedding).items() if k != "gradients"}
    return workspace.open_draft("embeddings", corpus.name, VERSION, question, inputs)


def embedding_of(method: Method) -> Embedding | Gradients | None:
    """The embedding that a method goes by, itself or as one that is nested in it.

    What is nested in a collective method is scored by itself, so it may go by another.

    Raises:
        InvalidParameterError: it would need two.
    """
    own = getattr(method, EMBEDDING, None)
    if own is not None and isinstance(method, Collective):
        return own
    named = [own, *map(embedding_of, method.inner().values())]
    found = {embedding for embedding in named if embedding is not None}
    if len(found) > 1:
        raise InvalidParameterError(f"{method.name!r} and what it is made of go by several embeddings. Give them one.")
    return next(iter(found), None)


def embed_for(method: Method, pool: Corpus, others: Sequence[Corpus], workspace: Workspace) -> dict[str, Embeddings]:
    """The vectors that a method goes by, by fingerprint of their corpus; none where it goes by none."""
    embedding = embedding_of(method)
    if embedding is None:
        return {}
    of_others = {c.fingerprint: embed(c, embedding.of_target, fitted_on=pool, workspace=workspace) for c in others}
    return of_others | {pool.fingerprint: embed(pool, embedding, fitted_on=pool, workspace=workspace)}


def embedded_batches(corpus: Corpus, part: int, columns: Sequence[str], vectors: Vectors) -> Iterator[pa.RecordBatch]:
    """`corpus.batches`, with a further column `embedding` where there are vectors of this corpus."""
    found = vectors.get(corpus.fingerprint)
    if found is None:
        yield from corpus.batches(part, columns)
        return
    column, first = found.vectors(part), 0
    for batch in corpus.batches(part, columns):
        own = column.slice(first, len(batch))
        first += len(batch)
        yield pa.RecordBatch.from_arrays([*batch.columns, own], names=[*batch.schema.names, EMBEDDING])


def _model_draft(corpus: Corpus, embedding: Embedding | Gradients, workspace: Workspace) -> Draft:
    parameters = {"sample_documents": SAMPLE_DOCUMENTS, "sample_bytes": SAMPLE_BYTES}
    inputs = {"corpus": corpus.fingerprint}
    if isinstance(embedding, Gradients):  # of whatever dimensions, which only the projection has
        return workspace.open_draft("embedder", "bag", VERSION, parameters, inputs)
    dimensions = embedding.dimensions
    return workspace.open_draft(
        "embedder", f"words{dimensions}", VERSION, {"dimensions": dimensions, **parameters}, inputs
    )


def _fitted_folder(corpus: Corpus, embedding: Embedding | Gradients, workspace: Workspace) -> Location:
    """The folder of the model "words", fitted on a corpus."""
    draft = _model_draft(corpus, embedding, workspace)
    if draft.finished() is None:
        draft.start()
        share_one(lambda: _fit(corpus, embedding, draft), draft.folder / MANIFEST)
    return draft.folder


def _fit(corpus: Corpus, embedding: Embedding | Gradients, draft: Draft) -> None:
    share = min(1.0, SAMPLE_DOCUMENTS / max(1, corpus.num_documents), SAMPLE_BYTES / max(1, corpus.num_bytes))
    work, amounts = partial(_sample_of_part, corpus, share), part_bytes(corpus.manifest.parts)
    found = list(map_step(draft, f"fit embedding to {corpus.name}", work, range(corpus.num_parts), amounts, "bytes"))
    keys, lengths, buckets, counts = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    order = np.argsort(keys, kind="stable")  # so that it makes no difference which part a document lies in
    starts = np.concatenate([[0], np.cumsum(lengths)])
    ends = np.cumsum(lengths[order])
    entries = np.arange(len(buckets)) + np.repeat(starts[:-1][order] - (ends - lengths[order]), lengths[order])
    counted = np.concatenate([[0], ends]), buckets[entries], counts[entries]
    if isinstance(embedding, Gradients):
        bag = fit_bag(*counted)
        arrays, number = {"shares": bag.shares, "squares": bag.squares}, len(np.unique(buckets))
    else:
        model = fit_words(*counted, embedding.dimensions)
        arrays, number = {"rows": model.rows, "vectors": model.vectors}, len(model.vectors)
    path = draft.folder / _MODEL
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)
    draft.finish(
        schema={},
        parts=[{"file": _MODEL, "rows": number, "bytes": path.stat().st_size}],
        counts={"in": corpus.num_documents, "sample": len(keys)},
        summary={"words": number} | ({} if isinstance(embedding, Gradients) else {"dimensions": embedding.dimensions}),
    )


def _sample_of_part(corpus: Corpus, share: float, part: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of the sampled documents of a part: key, number of distinct words, and these with their counts."""
    pieces = [(np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))]
    for batch in corpus.batches(part, ["id", "text"]):
        ids = utf8(batch.column("id"))
        keys = keyed_hashes(hash_strings(ids.data, ids.offsets), 0, EMBEDDING)
        is_in = uniforms(keys) < share
        text = utf8(batch.column("text").filter(pa.array(is_in)))
        starts, buckets, counts = count_words(text.data, text.offsets, NUM_BUCKETS, tables())
        pieces.append((keys[is_in], np.diff(starts), buckets, counts))
    keys, lengths, buckets, counts = (np.concatenate(arrays) for arrays in zip(*pieces, strict=True))
    return keys, lengths, buckets, counts


def _embed_part(
    corpus: Corpus, embedding: Embedding | Gradients, folder: Location, mark: str, part: int
) -> tuple[pa.Table, dict[str, Any]]:
    with _loading:
        encoder = _encoder(embedding, folder, mark)
    texts = (batch.column("text") for batch in corpus.batches(part, ["text"]))
    pooling = embedding.pooling if isinstance(embedding, Embedding) else "mean"
    pieces = [_embed_texts(encoder, pooling, column) for column in texts]
    return pa.table({EMBEDDING: pa.chunked_array(pieces, _type(encoder.dimensions))}).combine_chunks(), {}


def _embed_texts(encoder: Encoder, pooling: str, texts: pa.Array) -> pa.FixedSizeListArray:
    vectors = encoder.encode(texts, pooling).astype(np.float16)
    is_null = texts.is_null() if texts.null_count else None
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), type=_type(vectors.shape[1]), mask=is_null)


def _type(dimensions: int) -> pa.DataType:
    return pa.list_(pa.float16(), dimensions)


@lru_cache(maxsize=2)
def _encoder(embedding: Embedding | Gradients, folder: Location, mark: str) -> Encoder:
    """The model, kept in the process for as long as its content stays the same, which `mark` stands for.

    Raises:
        ArtifactError: the fitted model is damaged; it is deleted, so that the next run makes it again.
    """
    if not embedding.is_fitted_on_pool:
        return load_encoder(embedding.model) if isinstance(embedding, Embedding) else _of_networks(embedding)
    path = folder / _MODEL
    try:
        with open_bytes(path) as file, np.load(file, allow_pickle=False) as stored:
            if isinstance(embedding, Gradients):
                return WordGradients.of(Bag(stored["shares"], stored["squares"]), embedding)
            return WordModel(stored["rows"], stored["vectors"])
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        for damaged in (path, folder / MANIFEST):
            damaged.unlink(missing_ok=True)
        raise ArtifactError(f"{path} is damaged ({error}). Run the same command again: it is made anew.") from error


def _of_networks(wanted: Gradients) -> Encoder:
    """Gradients of models in folders.

    Raises:
        MissingExtraError: torch is not installed.
    """
    torch_extra.require("`gradients` of a model in a folder")
    from assay.models.neural_gradients import NeuralGradients

    return NeuralGradients(wanted)
