"""What a language model says of documents: one from a folder, or n-grams of the pool itself, which take seconds.

The n-gram models are cross-fitted. A model that has read a document finds it easy, so a bounded sample of the pool is
cut into two halves by the hash of the id, a model is trained on each, and every document of the pool is judged by the
model of the half that it would not be in. That does nothing about copies under other ids, which look easy, as they do
to any model that has seen one: deduplicate first.

State: the two models, about 20 bytes a distinct n-gram: 38 MB for 5,000 documents of 1,800 bytes at order 4.
"""

from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from assay.errors import InvalidParameterError, NotFittedError, check, check_integer
from assay.kernels.arrow import utf8
from assay.kernels.hashing import hash_strings, mix64_array
from assay.models.lm import LM, NGramLM, check_ngram, document_sums
from assay.models.tokenizer import BPE
from assay.scorers.base import Scorer, State
from assay.scorers.sampling import merge_samples, sampled, shortened, sketch_sample

DIGITS = 4  # that scores are rounded to: rounding of a model's matrix products begins at the sixth
MAX_BYTES = 8000  # of each text that a model reads
_TOKENIZER_BYTES = 4 << 20  # that it learns its merges from


class Judged(NamedTuple):
    """What a model says of some documents.

    ids [tokens], starts [documents + 1]: their tokens. log_probabilities: natural logarithm, of each token [tokens].
    """

    ids: np.ndarray
    starts: np.ndarray
    log_probabilities: np.ndarray

    @property
    def num_tokens(self) -> np.ndarray:
        """Tokens of each document [documents] int64."""
        return np.diff(self.starts)

    def losses(self) -> np.ndarray:
        """Mean loss of each document's tokens, in nats [documents]; NaN for one without tokens."""
        return mean(-self.log_probabilities, self.starts)


def mean(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The mean of each document's values [documents] float64; NaN where there are none."""
    with np.errstate(invalid="ignore"):
        return document_sums(values, starts) / np.diff(starts)


def check_model(name: str, model: str | None) -> None:
    """Raises InvalidParameterError unless `model` is the path of something, or None."""
    ok = model is None or (isinstance(model, str) and model.strip() != "")
    check(ok, name, model, "the path of a folder, as text", "Of a trained model that is str(model.path).")


def check_ngrams(sample: int, order: int, vocab_size: int) -> None:
    """Raises InvalidParameterError unless the n-gram models can be had with these parameters."""
    check_integer("sample", sample, 2, 10_000_000)
    check_ngram(vocab_size, order)


def model_of(path: str) -> LM:
    """The language model in a folder; see `models.neural_lm.load_lm` for errors."""
    from assay.models import torch_extra

    torch_extra.require("A language model from a folder")
    from assay.models.neural_lm import load_lm

    return load_lm(path)


def judged_by(lm: LM, batch: pa.RecordBatch) -> Judged:
    """What one model says of a batch."""
    ids, starts = lm.encode(batch.column("text"))
    return Judged(ids, starts, lm.log_probabilities(ids, starts))


def judged(scorer: str, model: str | None, batch: pa.RecordBatch, state: State) -> Judged:
    """What the model in a folder, or if there is none that of the other half, says of a batch with `id` and `text`.

    Raises:
        NotFittedError: neither a model nor a fitted state.
    """
    return judged_by(model_of(model), batch) if model is not None else Halves.of_state(scorer, state).judged(batch)


def sketch_pool(batch: pa.RecordBatch, prepared: State, sample: int) -> State:
    """What a batch contributes to the sample that n-grams are counted in."""
    return shortened(sketch_sample(batch, int(prepared["num_documents"][0]), sample), MAX_BYTES)


def learn_tokenizer(texts: pa.Array, vocab_size: int) -> BPE:
    """A tokenizer of some texts, learnt from the first 4 MB."""
    text = utf8(texts)
    bounds = text.offsets[: np.searchsorted(text.offsets, text.offsets[0] + _TOKENIZER_BYTES) + 1].tolist()
    return BPE.train((text.data[a:b].tobytes().decode(errors="ignore") for a, b in pairwise(bounds)), vocab_size)


class ByModel(Scorer):
    """A scorer with the parameters `model`, `sample`, `order` and `vocab_size`: a folder's model, else `Halves`."""

    pool_columns: ClassVar[tuple[str, ...]] = ("id", "text")
    score_columns: ClassVar[tuple[str, ...]] = ("id", "text")
    files: ClassVar[tuple[str, ...]] = ("model",)

    model: str | None
    sample: int
    order: int
    vocab_size: int

    @property
    def reads_pool(self) -> bool:  # type: ignore[override]
        """Only where n-grams take the place of a model."""
        return self.model is None

    def sketch_pool(self, batch: pa.RecordBatch, prepared: State) -> State:
        """What may be in the sample."""
        return sketch_pool(batch, prepared, self.sample)

    def merge(self, a: State, b: State) -> State:
        """The documents of both."""
        return merge_samples(a, b) if a else {}

    def finish(self, prepared: State, pool: State) -> State:
        """The two models; nothing where there is one from a folder.

        Raises:
            InvalidParameterError: too few documents with text.
        """
        return Halves.fit(pool, self.sample, self.order, self.vocab_size).state() if self.model is None else {}

    def fit_summary(self, state: State) -> dict[str, Any]:
        """`vocab_size` and `ngrams` of the models that were fitted."""
        return Halves.of_state(type(self).__name__, state).figures() if self.model is None else {}


class Halves(NamedTuple):
    """The two models; `lms[k]` has read documents whose `half` is k."""

    lms: tuple[NGramLM, NGramLM]

    @classmethod
    def fit(cls, pool: State, sample: int, order: int, vocab_size: int) -> "Halves":
        """Both models, from all contributions.

        Raises:
            InvalidParameterError: no documents with text, or too few for two halves.
        """
        rows = sampled(pool, sample)
        bpe, half = learn_tokenizer(rows.column("text"), vocab_size), half_of(rows.column("id"))
        texts = [rows.column("text").filter(pa.array(half == k)) for k in (0, 1)]
        if not all(len(bpe.encode(text)[0]) for text in texts):
            raise InvalidParameterError(
                f"The pool has {len(rows)} documents to learn from, which do not make two halves with text, one for "
                "judging the other. Give a larger pool, or a model."
            )
        first, second = (NGramLM.train(bpe, text, order) for text in texts)
        return cls((first, second))

    def state(self) -> State:
        """Both as plain arrays."""
        return {f"half.{k}.{key}": array for k, lm in enumerate(self.lms) for key, array in lm.state().items()}

    @classmethod
    def of_state(cls, scorer: str, state: State) -> "Halves":
        """The models that `state` was of.

        Raises:
            NotFittedError: it was of none; `scorer` is the class that says so.
        """
        if "half.0.tokenizer" not in state:
            raise NotFittedError(f"{scorer} has not been fitted; `assay.score(corpus, {scorer}())` fits and scores.")
        parts: list[State] = [{}, {}]
        for key, array in state.items():
            if key.startswith("half."):
                parts[int(key[5])][key[7:]] = array
        first, second = (NGramLM.of_state(part) for part in parts)
        return cls((first, second))

    def judged(self, batch: pa.RecordBatch) -> Judged:
        """Each document under the model that has not read it."""
        ids, starts = self.lms[0].encode(batch.column("text"))
        found = np.empty(len(ids), np.float32)
        half = half_of(batch.column("id"))
        lengths = np.diff(starts)
        for k in (0, 1):
            own = half != k
            of_own = np.repeat(own, lengths)
            found[of_own] = self.lms[k].log_probabilities(ids[of_own], np.cumsum([0, *lengths[own]]))
        return Judged(ids, starts, found)

    def figures(self) -> dict[str, Any]:
        """`vocab_size` and `ngrams`: distinct ones of the longest order, of both models."""
        sizes = [sum(len(orders[-1].keys) for orders in lm.model.slices) for lm in self.lms]
        return {"vocab_size": self.lms[0].vocab_size, "ngrams": sizes}


def half_of(ids: pa.Array, salt: int = 0x9E3779B97F4A7C15) -> np.ndarray:
    """0 or 1 [documents], from the hash of the id and of nothing else that is drawn by it; `salt` tells draws apart."""
    text = utf8(ids)
    keys = mix64_array(hash_strings(text.data, text.offsets) ^ np.uint64(salt))
    return (keys & np.uint64(1)).astype(np.int64)
