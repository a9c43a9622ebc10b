"""`assay.soft_labels`: what a small model holds likeliest at each token, for a larger one to learn from."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from assay.api.build import build_parts, part_bytes
from assay.api.content import model_path, path_fingerprint
from assay.artifacts.kinds import Corpus, SoftLabels, check_corpus
from assay.artifacts.model import Model
from assay.artifacts.storage import Location
from assay.artifacts.workspace import Workspace
from assay.errors import check, check_integer

VERSION = 1
MAX_K = 256


def soft_labels(
    corpus: Corpus,
    model: Model | str | Path,
    *,
    k: int = 8,
    workspace: Workspace | str | Location | None = None,
) -> SoftLabels:
    """The `k` likeliest tokens in the place of each token of every document, and their log probabilities.

    SALT (Rawat et al. 2024, arXiv:2410.18779): a large model learns from a small one's distributions for the first part
    of its training, then from text alone. Parts lie beside those of the corpus, with the model's own token ids.

    Args:
        model: what `assay.train` returned, or the folder of a language model (`models.neural_lm.load_lm`). k: 1 to 256,
            at most its vocabulary.

    Raises:
        InvalidParameterError: no such model, or a `k` out of range.
        MissingExtraError: no torch.
    Cost: the model reads the corpus once; 4 k + 2 bytes a token on disk, and of one part in memory.
    """
    check_corpus(corpus)
    check_integer("k", k, 1, MAX_K)
    space, folder = Workspace(workspace), model_path(model)
    inputs = {"corpus": corpus.fingerprint, "model": path_fingerprint("model", folder, space)}
    draft = space.open_draft("soft_labels", corpus.name, VERSION, {"k": k}, inputs)
    manifest = draft.finished()
    if manifest is None:
        vocab_size = _load(folder).vocab_size
        check(k <= vocab_size, "k", k, f"at most {vocab_size}, the model's vocabulary")
        draft.start()
        entries, figures, schema = build_parts(
            draft,
            partial(_label_part, corpus, folder, k),
            part_bytes(corpus.manifest.parts),
            f"soft labels of {corpus.name}",
            ".arrow",
        )
        tokens = sum(f["tokens"] for f in figures)
        manifest = draft.finish(
            schema=schema,
            parts=entries,
            counts={"in": corpus.num_documents},
            summary={
                "tokens": tokens,
                "k": k,
                "vocab_size": vocab_size,
                "mass": sum(f["mass"] for f in figures) / max(1, tokens),
            },
        )
    return SoftLabels(draft.folder, manifest)


def _load(path: str) -> Any:
    from assay.models import torch_extra

    torch_extra.require("A language model from a folder")
    from assay.models.neural_lm import load_lm

    return load_lm(path)


def _label_part(corpus: Corpus, path: str, k: int, part: int) -> tuple[pa.Table, dict[str, Any]]:
    from assay.models.token_figures import likeliest

    lm = _load(path)
    kind = np.uint16 if lm.vocab_size <= 1 << 16 else np.uint32
    pieces, num_tokens, mass = [], 0, 0.0
    for batch in corpus.batches(part, ["text"]):
        tokens, starts = lm.encode(batch.column("text"))
        ids, log_probabilities = likeliest(lm, tokens, starts, k)
        num_tokens += len(tokens)
        mass += float(np.exp(log_probabilities.astype(np.float64)).sum())
        columns = {
            "tokens": (starts, tokens.astype(kind)),
            "ids": (starts * k, ids.astype(kind).ravel()),
            "log_probabilities": (starts * k, log_probabilities.astype(np.float16).ravel()),
        }
        arrays = [
            pa.LargeListArray.from_arrays(pa.array(where), pa.array(values)) for where, values in columns.values()
        ]
        pieces.append(pa.table(arrays, names=list(columns)))
    return pa.concat_tables(pieces).combine_chunks(), {"tokens": num_tokens, "mass": mass}
