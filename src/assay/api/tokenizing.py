"""One tokenizer for all arms, and every document's ids under it."""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from assay.api.build import build_parts, part_bytes
from assay.api.selecting import id_hashes
from assay.artifacts.cost import count_core
from assay.artifacts.kinds import Corpus, Tokens, check_corpus
from assay.artifacts.manifest import MANIFEST
from assay.artifacts.model import Model, model_folder
from assay.artifacts.storage import Location
from assay.artifacts.workspace import Draft, Workspace
from assay.corpus.engine import map_parts
from assay.corpus.sharing import share_one
from assay.models.tokenizer import BPE
from assay.progress import step
from assay.selection.noise import keyed_hashes, uniforms

VERSION = 1
SAMPLE_BYTES = 4 << 20
_TOKENIZER = "tokenizer.json"
_MAX_SAMPLE_CHARACTERS = 100_000


def tokenize(
    corpus: Corpus,
    *,
    vocab_size: int = 8192,
    trained_on: Corpus | Model | None = None,
    workspace: Workspace | str | Location | None = None,
) -> Tokens:
    """Token ids of every document, under a byte-level BPE trained on a neutral sample.

    The sample is about 4 MB of documents drawn by the hash of their ids, so it depends on no arm and no order.

    Args:
        vocab_size: ids of the tokenizer, 257 to 65,534.
        trained_on: the corpus to sample from; default `corpus` itself. Of a trained model, its own tokenizer is taken,
            whatever `vocab_size` says.

    Raises:
        InvalidParameterError: vocab_size out of range.
    """
    check_corpus(corpus)
    space = Workspace(workspace)
    if isinstance(trained_on, Model):
        folder, mark = model_folder(trained_on.folder), trained_on.fingerprint
    else:
        folder, mark = _tokenizer(trained_on or corpus, vocab_size, space)
    inputs = {"corpus": corpus.fingerprint, "tokenizer": mark}
    draft = space.open_draft("tokens", corpus.name, VERSION, {}, inputs)
    manifest = draft.finished()
    if manifest is None:
        draft.start()
        bpe = BPE.load(folder / _TOKENIZER)
        entries, figures, schema = build_parts(
            draft,
            partial(_tokenize_part, corpus, bpe),
            part_bytes(corpus.manifest.parts),
            f"tokenize {corpus.name}",
            ".arrow",
        )
        manifest = draft.finish(
            schema=schema,
            parts=entries,
            counts={"in": corpus.num_documents},
            summary={"tokens": sum(f["tokens"] for f in figures), "vocab_size": bpe.vocab_size},
        )
    return Tokens(draft.folder, manifest)


def tokenizer_of(tokens: Tokens, workspace: Workspace) -> BPE:
    """The tokenizer that made some tokens.

    Raises:
        ArtifactError: it is gone from the workspace.
    """
    folder = workspace.find(tokens.manifest.inputs["tokenizer"])
    is_model = folder.name.startswith(Model.kind)
    return BPE.load((model_folder(folder) if is_model else folder) / _TOKENIZER)


def _tokenizer(corpus: Corpus, vocab_size: int, workspace: Workspace) -> tuple[Location, str]:
    parameters = {"vocab_size": vocab_size, "sample_bytes": SAMPLE_BYTES}
    draft = workspace.open_draft("tokenizer", f"bpe{vocab_size}", VERSION, parameters, {"corpus": corpus.fingerprint})
    if draft.finished() is None:
        draft.start()
        share_one(lambda: _train(corpus, vocab_size, draft), draft.folder / MANIFEST)
    return draft.folder, draft.fingerprint


def _train(corpus: Corpus, vocab_size: int, draft: Draft) -> None:
    with step("train tokenizer", min(SAMPLE_BYTES, corpus.num_bytes)) as advance:
        sample = list(_sample(corpus))
        before = time.process_time() - time.thread_time()
        bpe = BPE.train(sample, vocab_size)
        count_core(time.process_time() - time.thread_time() - before)  # it trains in threads of its own
        advance(SAMPLE_BYTES)
    bpe.save(draft.folder / _TOKENIZER)
    size = (draft.folder / _TOKENIZER).stat().st_size
    draft.finish(
        schema={},
        parts=[{"file": _TOKENIZER, "rows": bpe.vocab_size, "bytes": size}],
        summary={"vocab_size": bpe.vocab_size},
    )


def _sample(corpus: Corpus) -> Iterator[str]:
    share = min(1.0, SAMPLE_BYTES / max(1, corpus.num_bytes))
    for texts in map_parts(partial(_sample_of_part, corpus, share), range(corpus.num_parts)):
        yield from texts


def _sample_of_part(corpus: Corpus, share: float, part: int) -> list[str]:
    chosen = uniforms(keyed_hashes(id_hashes(corpus, part), 0, "tokenizer")) < share
    texts: list[str] = []
    first = 0
    for batch in corpus.batches(part, ["text"]) if chosen.any() else ():
        rows = np.flatnonzero(chosen[first : first + len(batch)])
        first += len(batch)
        texts += [text[:_MAX_SAMPLE_CHARACTERS] for text in batch.column("text").take(pa.array(rows)).to_pylist()]
    return texts


def _tokenize_part(corpus: Corpus, bpe: BPE, part: int) -> tuple[pa.Table, dict[str, Any]]:
    pieces = []
    for batch in corpus.batches(part, ["text"]):
        ids, starts = bpe.encode(batch.column("text"))
        pieces.append(pa.LargeListArray.from_arrays(pa.array(starts), pa.array(ids)))
    tokens = pa.concat_arrays(pieces)
    return pa.table({"tokens": tokens}), {"tokens": len(tokens.flatten())}
