"""`assay.membership`: has a model read these documents?"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from assay.api.content import model_path
from assay.artifacts.kinds import Corpus, check_corpus
from assay.artifacts.model import Model
from assay.errors import check, check_integer
from assay.models.lm import LM
from assay.models.membership import SHARES, Membership, tell_apart
from assay.scorers.base import State
from assay.scorers.ngrams import model_of
from assay.scorers.sampling import merge_samples, sampled, sketch_sample, thinned


def membership(
    members: Corpus,
    non_members: Corpus,
    model: LM | Model | str | Path,
    *,
    reference: LM | Model | str | Path | None = None,
    shares: Sequence[float] = SHARES,
    max_documents: int = 2000,
) -> Membership:
    """How well scores of a model tell documents that it may have read from such that it has surely not.

    Where every interval holds 0.5, nothing shows that it has read them. Where the *blind* classifier, which knows no
    model, tells them apart as well, the two sets differ for other reasons and nothing can be said.

    Args:
        members: documents that the model may have read. non_members: documents of the same kind, source and date that
            it has not.
        model: what `assay.train` returned, a folder with a checkpoint of ours or a causal language model of
            transformers, or a model that is ready.
        reference: such a model that has read neither.
        shares: k of Min-K%.
        max_documents: of each set, drawn by the hash of the id.

    Raises:
        InvalidParameterError: fewer than ten documents with text in a set, or a model that cannot be loaded.
        MissingExtraError: a folder, and torch is not installed.
    """
    check_integer("max_documents", max_documents, 10, 1_000_000)
    texts = [_texts(name, given, max_documents) for name, given in (("members", members), ("non_members", non_members))]
    other = None if reference is None else lm_of("reference", reference)
    return tell_apart(texts[0], texts[1], lm_of("model", model), other, shares)


def lm_of(name: str, given: LM | Model | str | Path) -> LM:
    """The language model that a parameter gives, ready to work.

    Raises:
        InvalidParameterError, MissingExtraError: as `membership`.
    """
    if isinstance(given, Model | str | Path):
        return model_of(model_path(given))
    rule = "a trained model, a folder with a language model, or such a model"
    check(hasattr(given, "log_probabilities"), name, given, rule)
    return given


def _texts(name: str, corpus: Corpus, size: int) -> pa.Array:
    check_corpus(corpus, name)
    state: State = {}
    for part in range(corpus.num_parts):
        for batch in corpus.batches(part, ["id", "text"]):
            more = sketch_sample(batch, corpus.num_documents, size)
            state = thinned(merge_samples(state, more), size) if state else more
    check(len(state.get("sample.keys", ())) > 0, name, corpus.name, "documents with text")
    return sampled(state, size).column("text")
