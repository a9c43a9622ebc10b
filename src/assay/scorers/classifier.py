"""Classifier: how likely a text is of the kind wanted, learnt from labelled documents or read from a model.

Papers: DataComp-LM, Li et al. 2024 (arXiv:2406.11794, section 4.4: fastText on OpenHermes and ELI5 against the web);
FineWeb-Edu, Penedo et al. 2024 (arXiv:2406.17557, section 4: notes from 0 to 5). It learns from one of

    {classifier: {}}                                                  # the target against a sample of the pool
    {classifier: {positives: good.jsonl, negatives: bad.jsonl}}       # documents against documents, or the pool
    {classifier: {labels: notes.jsonl, column: score, kind: ordinal}} # FineWeb-Edu: where: classifier.note >= 3
    {classifier: {model: dclm.bin, positive: __label__hq}}            # DCLM: where: classifier.probability >= 0.018112

The model is `models.linear`, over hashed word n-grams; of published models fastText's are read as they are.

What differs:
- DCLM's own model averages 100-dimensional embeddings; trained by us it is linear in the n-grams themselves, as
  accurate and many times as fast (docs/classifiers.md). FineWeb-Edu's is a regression on a transformer's embedding.
- Probabilities are calibrated on held-out documents (those of a fastText file are what they are), and the summary says
  how well: area under the curve, accuracy, calibration error.
- Against the pool the negatives hold some documents of the kind wanted, so probabilities are too low, but in order.
- datatrove replaces newlines by nothing, which glues words together; DCLM by a space. `newline` is " " unless said.

Cost: one pass over the labelled documents, learning (docs/classifiers.md), one pass over the pool at about 90 MB/s and
core, fastText's at 120. Memory: `max_documents` texts of each kind, 4 bytes * buckets * outputs. When not to use: where
what is wanted cannot be told from words and pairs of them, or for positives that differ from the negatives in source
more than in quality: the classifier then learns the source.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assay.errors import InvalidParameterError, NotFittedError, check, check_choice, check_integer, check_text
from assay.kernels.arrow import masked, utf8
from assay.kernels.words import MAX_ORDER
from assay.models.fasttext import FastText
from assay.models.linear import BINARY, MAX_BUCKETS, MULTICLASS, ORDINAL, Linear, features
from assay.models.linear_fit import Settings, fit
from assay.scorers.base import Column, Scorer, State
from assay.scorers.holding import held, hold
from assay.scorers.lessons import (
    MAX_BYTES,
    labels_of,
    learnt,
    lesson,
    merge_lessons,
    numbers_of,
    shortened,
    told,
)
from assay.scorers.sampling import merge_samples, sampled, sketch_sample

_KINDS = (BINARY, MULTICLASS, ORDINAL)
_POSITIVES, _NEGATIVES, _LABELS = "positives", "negatives", "labels"
_MAX_NOTES = 50
_SHOWN = 10
_MAX_WEIGHTS = 1 << 28
_loading = Lock()


@dataclass(frozen=True, kw_only=True)
class Classifier(Scorer):
    """Probability of a class, the likeliest class, or the expected note of each document.

    positives: documents of the kind wanted; without them, `labels` and `model` the target is.
    negatives: documents of the other kind; without them a sample of the pool is.
    labels: documents with a label each, in `column`, instead of positives and negatives.
    column: of `labels`.
    kind: "binary": probability of `positive` against all other labels; "multiclass": the likeliest label; "ordinal":
        labels are numbers, and the score is the expected one.
    positive: the label whose probability is wanted; needed for "binary" with `labels` or a model of fastText.
    model: path of a model that is trained already, fastText's (.bin, .ftz) or one that `Linear.save` wrote (.npz).
    newline: what a model of fastText is given for a newline, " " or "".
    ngrams, num_buckets: longest n-gram, and hash buckets.
    epochs, learning_rate, seed: of the descent.
    max_documents: learnt from, of each of positives, negatives and labels; of each the first 20 kB.
    """

    name: ClassVar[str] = "classifier"
    version: ClassVar[int] = 2
    target_columns: ClassVar[tuple[str, ...]] = ("id", "text")
    pool_columns: ClassVar[tuple[str, ...]] = ("id", "text")
    documents: ClassVar[tuple[str, ...]] = (_POSITIVES, _NEGATIVES, _LABELS)
    files: ClassVar[tuple[str, ...]] = ("model",)

    positives: Any = None
    negatives: Any = None
    labels: Any = None
    column: str = "label"
    kind: str = BINARY
    positive: str | None = None
    model: str | None = None
    newline: str = " "
    ngrams: int = 2
    num_buckets: int = 1 << 20
    epochs: int = 10
    learning_rate: float = 2.0
    seed: int = 0
    max_documents: int = 50_000

    def __post_init__(self) -> None:
        check_text("column", self.column)
        check_choice("kind", self.kind, _KINDS)
        for name in ("positive", "model"):
            if getattr(self, name) is not None:
                check_text(name, getattr(self, name))
        check(self.newline in (" ", ""), "newline", self.newline, "' ' or ''")
        check_integer("ngrams", self.ngrams, 1, MAX_ORDER)
        check_integer("num_buckets", self.num_buckets, 2, MAX_BUCKETS)
        check_integer("max_documents", self.max_documents, 2)
        self._settings()
        self._check_sources()
        # What it learns from depends on what it is given.
        learns = self.labels is None and self.model is None
        object.__setattr__(self, "needs_target", learns and self.positives is None)
        object.__setattr__(self, "reads_pool", learns and self.negatives is None)

    def _settings(self) -> Settings:
        return Settings(epochs=self.epochs, learning_rate=self.learning_rate, seed=self.seed)

    def _check_sources(self) -> None:
        pairs = [n for n in (_POSITIVES, _NEGATIVES) if getattr(self, n) is not None]
        sources = [*(["positives and negatives"] if pairs else []), *(["labels"] if self.labels is not None else [])]
        sources += ["model"] if self.model is not None else []
        way_out = f"It has {' and '.join(sources)}; take one of them out."
        check(len(sources) <= 1, "classifier", sources, "given one source to learn from", way_out)
        if self.labels is None and self.model is None:
            check(self.kind == BINARY, "kind", self.kind, "binary", "Several classes and notes come from `labels`.")
            check(self.positive is None, "positive", self.positive, "left out, as `positives` are meant")
        if self.labels is not None and self.kind == BINARY:
            check(self.positive is not None, "positive", None, "the label whose probability is wanted")
        if self.kind != BINARY:
            check(self.positive is None, "positive", self.positive, f"left out where `kind` is {self.kind}")

    def columns(self, targets: tuple[str, ...] = ()) -> list[Column]:
        """Of "binary" `probability`; of "multiclass" `confidence` and `label`; of "ordinal" `score` and `note`."""
        if self.kind == BINARY:
            wanted = "positives" if self.positive is None else self.positive
            return [Column("classifier.probability", pa.float64(), True, f"probability of being of {wanted}")]
        if self.kind == MULTICLASS:
            return [
                Column("classifier.confidence", pa.float64(), None, "probability of the likeliest label"),
                Column("classifier.label", pa.string(), None, "the likeliest label"),
            ]
        return [
            Column("classifier.score", pa.float64(), True, "expected note"),
            Column("classifier.note", pa.int64(), True, "the expected note, rounded to a whole number"),
        ]

    def document_columns(self, name: str) -> tuple[str, ...]:
        return (self.column,) if name == _LABELS else ()

    def sketch_target(self, batch: pa.RecordBatch) -> State:
        """Texts of the target, where it stands for the positives."""
        return lesson(batch, self.max_documents)

    def sketch_documents(self, name: str, batch: pa.RecordBatch) -> State:
        """Texts, and for `labels` their labels."""
        labels = labels_of(batch, self.column, name) if name == _LABELS else None
        return lesson(batch, self.max_documents, labels)

    def prepare(self, targets: Mapping[str, State]) -> State:
        """The model; where the pool's documents are the negatives, what `finish` needs to train it.

        Raises:
            InvalidParameterError: nothing to learn from, or of one class only.
        """
        if self.model is not None:
            return {}
        if self.labels is not None:
            texts, labels = learnt([targets[_LABELS]])
            return self._from_labels(texts, labels, {_LABELS: told(targets[_LABELS]["counts"])})
        given = {name: state for name, state in targets.items() if name != _NEGATIVES}
        texts, _ = learnt(list(given.values()))
        counts = np.sum([state["counts"] for state in given.values()], axis=0)
        if not len(texts):
            raise InvalidParameterError(f"There are no texts in {', '.join(map(repr, given))} to learn from.")
        if self.reads_pool:
            return {**hold(_POSITIVES, texts), "counts": counts}
        negatives, _ = learnt([targets[_NEGATIVES]])
        if not len(negatives):
            raise InvalidParameterError("There are no texts in `negatives` to learn from.")
        sources = {_POSITIVES: told(counts), _NEGATIVES: told(targets[_NEGATIVES]["counts"])}
        return self._against(texts, negatives, sources)

    def sketch_pool(self, batch: pa.RecordBatch, prepared: State) -> State:
        """A sample of the pool, for the negatives."""
        sample = sketch_sample(batch, int(prepared["num_documents"][0]), self.max_documents, self.seed)
        return shortened(sample, MAX_BYTES)

    def merge(self, a: State, b: State) -> State:
        """Texts are put together, of too many those of the least hashes."""
        return merge_lessons(a, b, self.max_documents) if "keys" in a else merge_samples(a, b)

    def finish(self, prepared: State, pool: State) -> State:
        """The model's arrays, and `report`."""
        if not self.reads_pool:
            return prepared
        negatives = sampled(pool, self.max_documents).column("text")
        sources = {_POSITIVES: told(prepared["counts"]), "sample_of_pool": {"documents": len(negatives)}}
        return self._against(held(prepared, _POSITIVES), negatives, sources)

    def _against(self, positives: pa.Array, negatives: pa.Array, sources: dict[str, Any]) -> State:
        labels = np.repeat([1.0, 0.0], [len(positives), len(negatives)])
        return self._trained(_concat(positives, negatives), labels, ("negatives", "positives"), sources)

    def _from_labels(self, texts: pa.Array, labels: pa.Array, sources: dict[str, Any]) -> State:
        found = sorted(set(labels.to_pylist()))
        if len(found) < 2:
            raise InvalidParameterError(
                f"`labels` has {len(labels)} documents with text and label, and {len(found)} different labels "
                f"({', '.join(map(repr, found))}); a classifier learns from two at least."
            )
        if self.kind == BINARY:
            assert self.positive is not None
            check_choice("positive", self.positive, found)
            values = pc.equal(labels, self.positive).to_numpy(zero_copy_only=False).astype(float)
            return self._trained(texts, values, (f"not {self.positive}", self.positive), sources)
        if self.kind == ORDINAL:
            numbers_of(labels, _LABELS)
            found = sorted(found, key=float)
            way_out = "For a number that is measured and not noted, `distil` learns a regression."
            check(len(found) <= _MAX_NOTES, _LABELS, f"{len(found)} different", f"at most {_MAX_NOTES} notes", way_out)
        way_out = f"There are {len(found)} labels; lower `num_buckets`."
        check(
            len(found) * self.num_buckets <= _MAX_WEIGHTS or self.kind == ORDINAL,
            "num_buckets",
            self.num_buckets,
            f"at most {_MAX_WEIGHTS // len(found)}",
            way_out,
        )
        values = pc.index_in(labels, pa.array(found, labels.type)).to_numpy().astype(float)
        return self._trained(texts, values, tuple(found), sources)

    def _trained(self, texts: pa.Array, labels: np.ndarray, classes: tuple[str, ...], sources: dict[str, Any]) -> State:
        rows = features(texts, ngrams=self.ngrams, num_buckets=self.num_buckets)
        for k in np.unique(labels):
            if not rows.scales[labels == k].any():
                raise InvalidParameterError(
                    f"None of the {int((labels == k).sum())} texts of {classes[int(k)]!r} that there are to learn from "
                    "has a word, so nothing can be learnt of them. Give others."
                )
        model, figures = fit(rows, labels, kind=self.kind, classes=classes, settings=self._settings())
        report = {"sources": sources, "classes": list(classes), **figures}
        return {**model.state(), "report": np.array(json.dumps(report))}

    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        """Probability; confidence and label; or score and note.

        Raises:
            NotFittedError: `state` is not what `finish` returned.
            InputError, InvalidParameterError: `model` cannot be read, or does not know `positive`.
        """
        column = batch.column("text")
        is_valid = utf8(column).is_valid
        probabilities, classes = self._probabilities(column, state)
        if self.kind == BINARY:
            return [masked(probabilities[:, classes.index(self._wanted(classes))], is_valid)]
        is_known = is_valid & ~np.isnan(probabilities).any(axis=1)
        if self.kind == MULTICLASS:
            best = np.nan_to_num(probabilities).argmax(axis=1)
            labels = pa.array(np.array(classes, object)[best], pa.string(), mask=~is_known)
            return [masked(probabilities[np.arange(len(best)), best], is_valid), labels]
        expected = probabilities @ np.array(list(map(float, classes)))
        return [masked(expected, is_valid), masked(np.floor(expected + 0.5).astype(np.int64), is_valid)]

    def _probabilities(self, texts: pa.Array, state: State) -> tuple[np.ndarray, list[str]]:
        """Probabilities [documents, classes] and the names of the classes."""
        if self.model is None and "linear.kind" not in state:
            raise NotFittedError(
                "Classifier has not been fitted; `assay.score(corpus, Classifier(...))` fits and scores."
            )
        model = _opened(self.model) if self.model is not None else Linear.of_state(state)
        if isinstance(model, FastText):
            check(self.kind != ORDINAL, "kind", self.kind, "binary or multiclass for a model of fastText")
            return model.predict(texts, newline=self.newline), list(model.labels)
        is_meant = model.kind == self.kind or (model.kind == MULTICLASS and self.kind == BINARY)
        check(is_meant, "kind", self.kind, f"{model.kind}, as {self.model} is")
        found = model.predict(texts)
        return (np.stack([1 - found, found], axis=1) if model.kind == BINARY else found), list(model.classes)

    def _wanted(self, classes: list[str]) -> str:
        """The class whose probability is the score: of two that we trained, the second."""
        if self.positive is None and self.model is None:
            return classes[1]
        way_out = f"{self.model} has {', '.join(classes[:_SHOWN])}{', ...' if len(classes) > _SHOWN else ''}."
        check(self.positive in classes, "positive", self.positive, "a label of the model", way_out)
        assert self.positive is not None
        return self.positive

    def fit_summary(self, state: State) -> dict[str, Any]:
        """What was learnt from, and held-out figures; see `models.linear_fit.fit`."""
        return json.loads(str(state["report"])) if "report" in state else {}


def _concat(*arrays: pa.Array) -> pa.Array:
    return pa.chunked_array([array.cast(pa.large_string()) for array in arrays]).combine_chunks()


def _opened(path: str) -> FastText | Linear:
    """The model at a path, opened once in a process as long as the file stays what it is."""
    try:
        stat = Path(path).stat()
        stamp = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)  # a copy may keep the second, not the third
    except OSError:
        stamp = (0, 0, 0)  # opening it says what is wrong
    with _loading:
        return _load(path, stamp)


@lru_cache(maxsize=2)
def _load(path: str, stamp: tuple[int, int, int]) -> FastText | Linear:
    return Linear.load(path) if path.endswith(".npz") else FastText.load(path)
