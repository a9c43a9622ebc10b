"""EL2N and GraNd: how wrong models still are about a document early in training, and how hard it pulls at them.

Paper: Deep Learning on a Data Diet: Finding Important Examples Early in Training, Paul et al. 2021 (arXiv:2107.07075),
definitions 2.1 and 2.4. Authors' code: mansheej/data_diet at aee462e. EL2N is |p - y|, the distance of the predicted
probabilities from the truth; GraNd is the length of the loss's gradient, here by the weights of the last layer, which
is |p - y| |(x, 1)| exactly, with x what that layer reads (without the 1 where it has no bias). Both are means over
several models: one is mostly noise.

Two kinds of document:
- With a label in `column` (no `models`): the models are linear over hashed n-grams. The sample is cut in two by hash,
  `runs` times, a model is trained on each side and judges the other: no document is judged by a model that has learnt
  its label, so it makes no difference whether it is in the sample. (The paper's models have seen all examples, a few
  times.) As their x has length 1, GraNd is EL2N but for documents without words.
- Text alone, `models` being folders of language models early in training: the next token is the label, and a document
  has the mean over its tokens. Where the logits are no product of states (a model that clips them), GraNd is null.

GraNd at the very start of training, as in the paper's title figure, did not come out again for others. Highest is not
best: a wrong label, or junk text, is at the top. The paper keeps the highest of clean data, or an offset below them:
`where: el2n.error < 1.2`, say.

Cost: linear, 13 classes: 10 s to fit 8,000 documents, then 10 MB/s and core; memory: 8 x runs x classes x buckets
bytes, 70 MB. Models: each reads the pool once. When not to use: to find what is good for a target; it knows none.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assay.errors import InvalidParameterError, NotFittedError, check, check_integer, check_number, check_text
from assay.kernels import linear as kernels
from assay.kernels.arrow import masked, utf8
from assay.kernels.hashing import hash_strings, mix64_array
from assay.kernels.words import MAX_ORDER
from assay.models.calibration import softmax, spearman
from assay.models.linear import MAX_BUCKETS, Rows, features
from assay.scorers.base import Column, Scorer, State
from assay.scorers.checkpoints import checked_models, folders, model_paths
from assay.scorers.lessons import labels_of, learnt, lesson, merge_lessons
from assay.scorers.ngrams import DIGITS, mean

_MAX_WEIGHTS = 1 << 28
_MAX_RUNS = 100


@dataclass(frozen=True, kw_only=True)
class EL2N(Scorer):
    """Mean error norm of each document, and mean gradient norm of the last layer.

    models: folder of a language model, or of several (a list), early in training; a folder that holds several in
        folders of its own stands for all; None = linear models of labelled documents.
    column: the labels, of the pool.
    runs: how often the sample is cut in two. epochs, learning_rate: of each training; few, as it is to be early.
    ngrams, num_buckets: of the linear models. sample: documents to learn from. seed: of cuts and orders.
    """

    name: ClassVar[str] = "el2n"
    version: ClassVar[int] = 1
    prefixes: ClassVar[tuple[str, ...]] = ("el2n", "grand")
    files: ClassVar[tuple[str, ...]] = ("models",)

    models: str | tuple[str, ...] | None = None
    column: str = "label"
    runs: int = 10
    epochs: int = 2
    learning_rate: float = 2.0
    ngrams: int = 2
    num_buckets: int = 1 << 16
    sample: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "models", checked_models(self.models, 1))
        check_text("column", self.column)
        check_integer("runs", self.runs, 1, _MAX_RUNS)
        check_integer("epochs", self.epochs, 1, 1000)
        check_number("learning_rate", self.learning_rate, "a number above 0", lambda x: x > 0)
        check_integer("ngrams", self.ngrams, 1, MAX_ORDER)
        check_integer("num_buckets", self.num_buckets, 2, MAX_BUCKETS)
        check_integer("sample", self.sample, 4)
        check_integer("seed", self.seed, 0, (1 << 32) - 1)

    @property
    def reads_pool(self) -> bool:  # type: ignore[override]
        """Only where labels are learnt."""
        return self.models is None

    @property
    def pool_columns(self) -> tuple[str, ...]:  # type: ignore[override]
        """With the labels."""
        return ("id", "text", self.column) if self.models is None else ("text",)

    @property
    def score_columns(self) -> tuple[str, ...]:  # type: ignore[override]
        """With the labels."""
        return self.pool_columns

    def paths(self) -> dict[str, Any]:
        """The folders of the models."""
        return model_paths(self.models)

    def columns(self, targets: tuple[str, ...]) -> list[Column]:
        """`el2n.error` (the score) and `grand.norm`."""
        return [
            Column(
                "el2n.error", pa.float64(), None, "distance of the predicted probabilities from the truth, 0 to 1.41"
            ),
            Column("grand.norm", pa.float64(), None, "length of the loss's gradient by the weights of the last layer"),
        ]

    def sketch_pool(self, batch: pa.RecordBatch, prepared: State) -> State:
        """Texts and labels of documents of least hash."""
        return lesson(batch, self.sample, labels_of(batch, self.column, "pool"))

    def merge(self, a: State, b: State) -> State:
        """Those of least hash of both."""
        return merge_lessons(a, b, self.sample) if a else {}

    def finish(self, prepared: State, pool: State) -> State:
        """`weights` [buckets, runs x 2 x classes], `bias`, `classes`, and how well halves of the runs agree.

        Raises:
            InvalidParameterError: too few documents with text and label, all of one label, or too many labels.
        """
        if self.models is not None:
            return {}
        order = np.argsort(pool["keys"], kind="stable")
        texts, labels = (column.take(pa.array(order)) for column in learnt([pool]))
        keys, classes = pool["keys"][order], sorted(set(labels.to_pylist()))
        if len(classes) < 2:
            raise InvalidParameterError(
                f"The pool's column {self.column!r} has {len(labels)} documents with text and label, and "
                f"{len(classes)} different labels; two are the least that one can be wrong about."
            )
        most = _MAX_WEIGHTS // (2 * self.runs * len(classes))
        way_out = f"There are {len(classes)} labels and {self.runs} runs."
        check(self.num_buckets <= most, "num_buckets", self.num_buckets, f"at most {most}", way_out)
        rows = features(texts, ngrams=self.ngrams, num_buckets=self.num_buckets)
        numbers = pc.index_in(labels, pa.array(classes, labels.type)).to_numpy().astype(np.float64)
        fitted = [
            self._train(rows, numbers, len(classes), keys, run, side) for run in range(self.runs) for side in (0, 1)
        ]
        state = {
            "weights": np.concatenate([weights for weights, _ in fitted], axis=1),
            "bias": np.concatenate([bias for _, bias in fitted]),
            "classes": np.array(classes),
        }
        errors = self._errors(rows, numbers.astype(np.int64), keys, state)
        halves = (errors[:, ::2].mean(axis=1), errors[:, 1::2].mean(axis=1)) if self.runs > 1 else None
        agreement = None if halves is None else spearman(*halves)
        figures = [len(labels), errors.mean(), np.nan if agreement is None else 2 * agreement / (1 + agreement)]
        return state | {"figures": np.array(figures)}

    def _train(
        self, rows: Rows, labels: np.ndarray, num_classes: int, keys: np.ndarray, run: int, side: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Weights [buckets, classes] and bias [classes] of one model, which reads the documents of one side."""
        weights, bias = np.zeros((self.num_buckets, num_classes), np.float32), np.zeros(num_classes)
        members = np.flatnonzero(_sides(keys, run, self.seed) == side)
        for epoch in range(self.epochs):
            first, last = (self.learning_rate * (1 - (epoch + passed) / self.epochs) for passed in (0, 1))
            seed = ((self.seed * _MAX_RUNS + run) * 2 + side) * self.epochs + epoch
            arrays = (rows.starts, rows.buckets, rows.counts, rows.scales, members, labels)
            kernels.descend(*arrays, kernels.SOFTMAX, weights, bias, np.empty(0), first, last, seed % (1 << 32))
        ok = bool(np.isfinite(weights).all())
        check(ok, "learning_rate", self.learning_rate, "low enough for the descent to settle", "Take a lower one.")
        return weights, bias

    def _errors(self, rows: Rows, labels: np.ndarray, keys: np.ndarray, state: State) -> np.ndarray:
        """Error norm of each document in each run [documents, runs], under the model that has not read its side.

        Args:
            labels: number of the class, -1 for one that no model knows [documents].
        """
        arrays = (rows.starts, rows.buckets, rows.counts, rows.scales)
        members = np.arange(len(rows))
        margins = kernels.margins_of_rows(*arrays, members, state["weights"], state["bias"])
        margins = margins.reshape(len(rows), self.runs, 2, len(state["classes"]))
        errors = np.empty((len(rows), self.runs))
        for run in range(self.runs):
            other = margins[members, run, 1 - _sides(keys, run, self.seed)]
            errors[:, run] = error_norms(softmax(other), labels)
        return errors

    def fit_summary(self, state: State) -> dict[str, Any]:
        """`documents` learnt from, their `mean_error`, and `reliability`: rank correlation with as many other runs."""
        if "figures" not in state:
            return {}
        documents, error, reliability = state["figures"].tolist()
        return {
            "documents": int(documents),
            "classes": len(state["classes"]),
            "mean_error": error,
            "reliability": None if np.isnan(reliability) else reliability,
        }

    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        """Norms per row, to four digits; null without text, or without label or tokens.

        Raises:
            NotFittedError: `state` is not what `finish` returned.
        """
        if self.models is not None:
            return self._score_texts(batch)
        if "weights" not in state:
            raise NotFittedError("EL2N has not been fitted; `assay.score(corpus, EL2N())` fits and scores.")
        labels = labels_of(batch, self.column, "pool")
        classes = pa.array(state["classes"].tolist(), labels.type)
        numbers = pc.fill_null(pc.index_in(labels, classes), -1).to_numpy(zero_copy_only=False).astype(np.int64)
        rows = features(batch.column("text"), ngrams=self.ngrams, num_buckets=self.num_buckets)
        errors = self._errors(rows, numbers, _keys(batch), state).mean(axis=1) if len(batch) else np.empty(0)
        lengths = np.sqrt(1 + (rows.scales > 0))
        is_known = utf8(batch.column("text")).is_valid & labels.is_valid().to_numpy(zero_copy_only=False)
        return [masked(np.round(values, DIGITS), is_known) for values in (errors, errors * lengths)]

    def _score_texts(self, batch: pa.RecordBatch) -> list[pa.Array]:
        from assay.models import torch_extra

        torch_extra.require("A language model from a folder")
        from assay.models.neural_lm import load_lm
        from assay.models.token_figures import token_norms

        assert self.models is not None
        total = np.zeros((2, len(batch)))
        paths = folders(self.models, 1)
        for path in paths:
            lm = load_lm(path)
            ids, starts = lm.encode(batch.column("text"))
            total += [mean(values, starts) for values in token_norms(lm, ids, starts)]
        means = np.round(total / len(paths), DIGITS)
        return [masked(values, ~np.isnan(values)) for values in means]


def error_norms(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """|p - y| of each document [documents]: y is 1 for its label and 0 for others (Paul et al. 2021, definition 2.4).

    Args:
        probabilities: [documents, classes]. labels: the class of each document [documents]; -1 for a further class, of
            probability 0.

    >>> error_norms(np.array([[0.6, 0.4], [0.6, 0.4]]), np.array([0, 1])).round(3)
    array([0.566, 0.849])
    """
    given = np.where(labels < 0, 0.0, probabilities[np.arange(len(labels)), labels])
    squares = (probabilities**2).sum(axis=1) - 2 * given + 1
    return np.sqrt(np.maximum(squares, 0))


def _keys(batch: pa.RecordBatch) -> np.ndarray:
    """What documents are told apart by in `lesson` [documents] uint64."""
    ids, texts = (utf8(batch.column(name)) for name in ("id", "text"))
    keys = mix64_array(hash_strings(ids.data, ids.offsets)) ^ hash_strings(texts.data, texts.offsets)
    return mix64_array(keys)


def _sides(keys: np.ndarray, run: int, seed: int) -> np.ndarray:
    """The side of a run's cut that each document is on, 0 or 1 [documents]."""
    salt = np.uint64(0x9E3779B97F4A7C15 * (1 + run + _MAX_RUNS * seed) % (1 << 64))
    return (mix64_array(keys ^ salt) & np.uint64(1)).astype(np.int64)
