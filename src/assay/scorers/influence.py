"""Influence: by how much one step of training on a document lowers the loss on the target, as learnt from a sample.

Paper: MATES: Model-Aware Data Selection for Efficient Pretraining with Data Influence Models, Yu et al. 2024
(arXiv:2406.06046), section 3. Authors' code: cxcscmu/MATES at 5d2860c. For each of some documents the model as it
stands makes one step on this document alone; the change of its loss on reference documents is the document's influence.
A small model learns that from the text and judges the pool; documents are then sampled with probability proportional to
exp(influence / temperature), influences in standard deviations, temperature 0.5. Training goes on, and all is done
again: what helps a model changes as it learns.

Columns: `influence.value`, in standard deviations of the pool, the higher the better. The policy for it is
`sample: {temperature: 0.5}`; recipe `mates` has the stages.

What differs:
- References are the target's documents, of which a comparison keeps those that it tests on apart. The authors' are the
  test items of LAMBADA, on which they also report.
- The authors' code takes the smallest of x / temperature + Gumbel noise, which is another law than the paper's and much
  greedier; our policy takes the largest of -x / temperature + Gumbel noise (Kool et al. 2019), x being the change of
  the loss.
- The influence model is linear over hashed words and their pairs (`models.linear`), not BERT. `spearman` in the report
  is its rank correlation with measured influences of documents that it has not learnt from.
- Without `model`, the model is `models.bag`, a softmax over words, fitted on a sample of the pool or on `trained_on`;
  what a step on it does is known in closed form.
- With a model: a step of Adam where the checkpoint has its averages, as in the paper; else plain gradient descent, with
  the gradient cut to length 1.

Cost: without a network 1 s to fit, then 60 MB/s and core; with one, a step on each of `sample` documents and a pass
over all references, see docs/influence.md. Memory: twice `sample` texts of 20 kB at most. When not to use: where
`spearman` is near 0, since what is chosen is then a random choice; for one number that holds for all of a training run,
since influence is that on the model as it is.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from assay.errors import InvalidParameterError, NotFittedError, check, check_integer, check_number, check_text
from assay.kernels.arrow import from_utf8, masked, utf8
from assay.kernels.embedding import count_words
from assay.kernels.unicode import tables
from assay.models.bag import NUM_BUCKETS, Bag, Counted, fit_bag, losses, one_step, wanted_shares
from assay.models.linear import REGRESSION, Linear, features
from assay.models.linear_fit import fit
from assay.scorers.base import Column, Scorer, State
from assay.scorers.lessons import MAX_BYTES, shortened
from assay.scorers.sampling import merge_samples, sampled, sketch_sample, thinned

_TRAINED_ON = "trained_on"
_LEAST = 12  # documents whose influence is measured
_NGRAMS, _BUCKETS = 2, 1 << 20


@dataclass(frozen=True, kw_only=True)
class Influence(Scorer):
    """How much one step on a document would lower the loss on the target, in standard deviations.

    model: folder of a causal language model, ours or one of Hugging Face's; None = a softmax over words.
    trained_on: without `model`, documents that the softmax has been trained on; None = a sample of the pool.
    sample: documents whose influence is measured.
    max_examples: documents of all targets, at most, that the loss is measured on; equally many of each.
    learning_rate: of the step.
    seed: other seeds draw other samples.
    """

    name: ClassVar[str] = "influence"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = True
    reads_pool: ClassVar[bool] = True
    target_columns: ClassVar[tuple[str, ...]] = ("id", "text")
    pool_columns: ClassVar[tuple[str, ...]] = ("id", "text")
    files: ClassVar[tuple[str, ...]] = ("model",)
    documents: ClassVar[tuple[str, ...]] = (_TRAINED_ON,)

    model: str | None = None
    trained_on: Any = None
    sample: int = 1000
    max_examples: int = 100
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.model is not None:
            check_text("model", self.model)
        is_one = self.model is None or self.trained_on is None
        check(is_one, _TRAINED_ON, self.trained_on, "left out where `model` is given", "The model knows its own.")
        check_integer("sample", self.sample, _LEAST, 1_000_000)
        check_integer("max_examples", self.max_examples, 1, 100_000)
        check_number("learning_rate", self.learning_rate, "a number above 0, at most 1", lambda x: 0 < x <= 1)
        check_integer("seed", self.seed, 0)

    def columns(self, targets: tuple[str, ...]) -> list[Column]:
        """`influence.value` alone; several targets are read as one, in which each counts alike."""
        meaning = "fall of the loss on the target by one step, as foretold, in standard deviations"
        return [Column("influence.value", pa.float64(), True, meaning)]

    def sketch_target(self, batch: pa.RecordBatch) -> State:
        """Target documents of least hash, and the start of each."""
        return thinned(shortened(sketch_sample(batch, 0, self.max_examples), MAX_BYTES), self.max_examples)

    def sketch_documents(self, name: str, batch: pa.RecordBatch) -> State:
        """How often each word stands in documents that the model has been trained on [buckets] int64."""
        text = utf8(batch.column("text"))
        starts, buckets, counts = count_words(text.data, text.offsets, NUM_BUCKETS, tables())
        summed = np.bincount(buckets, counts, minlength=NUM_BUCKETS).astype(np.int64)
        return {"counts": summed, "number": np.array([np.count_nonzero(np.diff(starts))])}

    def merge(self, a: State, b: State) -> State:
        """Samples: the documents of least hash of both; counts are added."""
        if "counts" in a:
            return super().merge(a, b)
        return thinned(merge_samples(a, b), max(self.max_examples, 2 * self.sample)) if a else {}

    def prepare(self, targets: Mapping[str, State]) -> State:
        """References: `text` [bytes], `text_bytes` [documents], `weights` [documents] of sum 1; and `shares` of words.

        Raises:
            InvalidParameterError: a target has no text, or `trained_on` has no words.
        """
        own = {name: state for name, state in targets.items() if name != _TRAINED_ON}
        size = max(1, self.max_examples // len(own))
        texts, weights = [], []
        for name, state in own.items():
            if not state["sample.text_bytes"].sum():
                raise InvalidParameterError(f"Target {name!r} has no text; the loss is measured on it.")
            rows = sampled(state, self.max_examples).column("text")
            rows = rows.filter(pa.array(np.diff(utf8(rows).offsets) > 0)).slice(0, size)
            texts.append(utf8(rows))
            weights.append(np.full(len(rows), 1 / (len(own) * len(rows))))
        prepared = {
            "text": np.concatenate([text.data[text.offsets[0] : text.offsets[-1]] for text in texts]),
            "text_bytes": np.concatenate([np.diff(text.offsets) for text in texts]),
            "weights": np.concatenate(weights),
        }
        if _TRAINED_ON not in targets:
            return prepared
        return {**prepared, "shares": _shares(targets[_TRAINED_ON])}

    def sketch_pool(self, batch: pa.RecordBatch, prepared: State) -> State:
        """What may be in the sample."""
        number = int(prepared["num_documents"][0])
        return shortened(sketch_sample(batch, number, 2 * self.sample, self.seed), MAX_BYTES)

    def finish(self, prepared: State, pool: State) -> State:
        """The influence model's arrays, mean and spread of what it says of the pool, and `report`.

        Raises:
            InvalidParameterError: too few documents, or all of the same influence.
            MissingExtraError: a model is given, and torch is not installed.
        """
        rows = sampled(pool, 2 * self.sample).column("text")
        rows = rows.filter(pa.array(np.diff(utf8(rows).offsets) > 0))
        references = from_utf8(prepared["text"], np.concatenate(([0], np.cumsum(prepared["text_bytes"]))))
        shares = prepared.get("shares")
        probe = self._probe_bag(rows, shares) if self.model is None else self._probe_network(self.model)
        changes, told = probe(rows.slice(0, self.sample), references, prepared["weights"])
        is_known = np.isfinite(changes)
        num_different = len(np.unique(changes[is_known]))
        if is_known.sum() < _LEAST or num_different < 2:
            raise InvalidParameterError(
                f"`influence` could measure {is_known.sum()} documents with text, of {num_different} different "
                f"influences, and needs at least {_LEAST} that differ. Give a larger pool or `sample`."
            )
        values = -changes[is_known]
        judged = rows.slice(0, self.sample).filter(pa.array(is_known))
        labels = (values - values.mean()) / values.std()
        hashed = features(judged, ngrams=_NGRAMS, num_buckets=_BUCKETS)
        pupil, figures = fit(hashed, labels, kind=REGRESSION)
        others = rows.slice(self.sample)  # of which it has learnt nothing
        said = pupil.predict(others if len(others) >= _LEAST else rows)
        report = {**told, "judged": len(values), "helpful": float(np.mean(values > 0)), **figures}
        spread = said.std()
        return {
            **pupil.state(),
            "mean": np.array([said.mean()]),
            "spread": np.array([spread if spread > 0 else 1.0]),
            "report": np.array(json.dumps(report)),
        }

    def _probe_bag(self, rows: pa.Array, shares: np.ndarray | None) -> Any:
        """What measures influence without a network."""
        if shares is None:
            documents = Counted(rows)
            bag = fit_bag(documents.starts, documents.buckets, documents.counts)
        else:
            bag = Bag(shares, np.zeros(1))

        def probe(texts: pa.Array, references: pa.Array, weights: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
            counted = Counted(references)
            wanted = wanted_shares(counted, weights)
            if not wanted.any():
                raise InvalidParameterError("The target has no words; the loss is measured on it.")
            told = {"model": "softmax over words", "loss": float(np.nansum(losses(bag, counted) * weights))}
            return one_step(bag, Counted(texts), wanted, self.learning_rate), told

        return probe

    def _probe_network(self, model: str) -> Any:
        """What measures influence with the model in a folder."""
        from assay.models import torch_extra

        torch_extra.require("`influence` with a model")
        from assay.models.neural_influence import probe

        return partial(probe, model, rate=self.learning_rate)

    def fit_summary(self, state: State) -> dict[str, Any]:
        """`model`, `loss` on the target in nats a token, `judged`, `helpful` (share that lowers the loss), `spearman`,
        `r2` of the influence model on documents that it has not learnt from.
        """
        return json.loads(str(state["report"])) if "report" in state else {}

    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        """What the influence model says, in standard deviations.

        Raises:
            NotFittedError: `state` is not what `finish` returned.
        """
        if "spread" not in state:
            raise NotFittedError(
                "Influence has not been fitted; `assay.score(corpus, Influence(), target=...)` fits and scores."
            )
        column = batch.column("text")
        values = (Linear.of_state(state).predict(column) - state["mean"][0]) / state["spread"][0]
        return [masked(values, utf8(column).is_valid)]


def _shares(trained_on: State) -> np.ndarray:
    """Share of each word [buckets], with one more document of mean length that has all words equally often.

    Raises:
        InvalidParameterError: there are no words.
    """
    counts, number = trained_on["counts"], int(trained_on["number"][0])
    if not number:
        raise InvalidParameterError(f"`{_TRAINED_ON}` has no words.")
    length = counts.sum() / number
    shares: np.ndarray = (counts + length / len(counts)) / (counts.sum() + length)
    return shares
