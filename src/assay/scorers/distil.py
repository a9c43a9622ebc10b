"""Distil: an expensive score, computed for a sample, learnt from its texts and given to every document.

Source: the step that BETR (Mizrahi et al. 2025), PreSelect (Shum et al. 2025, arXiv:2503.00808), FineWeb-Edu and
QuRating have in common: score a sample, train a classifier or regression on it, run that over the pool. The teacher is
any scorer, or a column of numbers in a file:

    {distil: {of: {zipfit: {}}, sample: 20000}}                       # regression on the teacher's score
    {distil: {of: {betr: {}}, top: 0.1}}                              # BETR: the best tenth against the rest
    {distil: {of: {preselect: {...}}, top: 0.1, bottom: 0.1}}         # PreSelect: best against worst, the rest left out
    {distil: {labels: {read: ratings.jsonl}, column: rating}}

Teacher and pupil are compared on documents that the pupil has not learnt from, those between `top` and `bottom` among
them, since ends are easy to tell apart: their rank correlation is in the summary, and below `floor` the scores are
refused, since a pupil that does not follow its teacher says nothing about it. Half of the variance of ranks is
explained at 0.7. The default, 0.5, is what a pupil reached on text of 13 domains for the length in words, which it
cannot see and can only guess from the kind of text.

What differs: the pupil is `models.linear` instead of fastText. With `top` and no `bottom` all the rest are negatives,
unlike BETR's balanced sample; ranks are the same but for noise.

Cost: the teacher on `sample` documents (and whatever it is fitted to), learning, one pass at about 90 MB/s and core.
Memory: the sample's texts, of which teacher and pupil see the first 100 kB. When not to use: where the teacher is cheap
enough for the whole pool, or goes by what words do not show (length, repetition).
"""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from assay.errors import (
    InvalidParameterError,
    NotFittedError,
    check,
    check_choice,
    check_integer,
    check_number,
    check_text,
)
from assay.kernels.arrow import masked, utf8
from assay.kernels.words import MAX_ORDER
from assay.memory import num_workers
from assay.models.linear import BINARY, MAX_BUCKETS, REGRESSION, Linear, features
from assay.models.linear_fit import Settings, fit
from assay.scorers.base import Column, Scorer, State
from assay.scorers.lessons import labels_of, learnt, lesson, merge_lessons, numbers_of, shortened, told
from assay.scorers.sampling import merge_samples, sampled, sketch_sample

_LABELS = "labels"
_OF = "of."
_MAX_BYTES = 100_000  # of each text that teacher and pupil see
_BATCH = 256  # documents that the teacher gets at a time
_GIVEN_TO_TEACHER = {"id", "text", "embedding"}


@dataclass(frozen=True, kw_only=True)
class Distil(Scorer):
    """A score learnt from a teacher's.

    of: the teacher, a scorer; it scores a sample of the pool. labels: documents with the teacher's numbers instead.
    column: which of the teacher's columns is learnt, default its first; of `labels` the column with numbers.
    sample: documents to learn from.
    top: share of the sample that the teacher thinks best; the score is then the probability of being among them.
        Without it the score is the teacher's, by regression.
    bottom: with `top`, share that the teacher thinks worst, which alone are the negatives.
    floor: the least rank correlation of teacher and pupil on held-out documents, else scores are refused.
    ngrams, num_buckets: longest n-gram, and hash buckets.
    epochs, learning_rate, seed: of the descent; `seed` draws the sample, too.
    """

    name: ClassVar[str] = "distil"
    version: ClassVar[int] = 2
    target_columns: ClassVar[tuple[str, ...]] = ("id", "text")
    pool_columns: ClassVar[tuple[str, ...]] = ("id", "text")
    documents: ClassVar[tuple[str, ...]] = (_LABELS,)
    nested: ClassVar[tuple[str, ...]] = ("of",)

    of: Any = None
    labels: Any = None
    column: str | None = None
    sample: int = 20_000
    top: float | None = None
    bottom: float | None = None
    floor: float = 0.5
    ngrams: int = 2
    num_buckets: int = 1 << 20
    epochs: int = 10
    learning_rate: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_integer("sample", self.sample, 20)
        for name in ("top", "bottom"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), "a share above 0 and below 1", lambda x: 0 < x < 1)
        check(self.bottom is None or self.top is not None, "top", self.top, "a share where `bottom` is given")
        together = (self.top or 0) + (self.bottom or 0)
        check(together <= 1, "bottom", self.bottom, "a share that leaves `top` its own")
        check_number("floor", self.floor, "a rank correlation from 0 to below 1", lambda x: 0 <= x < 1)
        check_integer("ngrams", self.ngrams, 1, MAX_ORDER)
        check_integer("num_buckets", self.num_buckets, 2, MAX_BUCKETS)
        self._settings()
        if self.column is not None:
            check_text("column", self.column)
        way_out = "Write {distil: {of: {zipfit: {}}}}, or give `labels` with a `column` of numbers."
        check((self.of is None) != (self.labels is None), "of", self.of, "a scorer, or `labels` given instead", way_out)
        if self.labels is not None:
            check(self.column is not None, "column", None, "the column of `labels` that has the numbers")
            return
        check(isinstance(self.of, Scorer), "of", self.of, "a scorer that rates documents one by one", way_out)
        further = set(self.of.score_columns) - _GIVEN_TO_TEACHER
        check(not further, "of", self.of.name, f"a scorer that goes by the text, and not by {', '.join(further)}")
        # What is fitted depends on the teacher.
        object.__setattr__(self, "needs_target", self.of.needs_target)
        object.__setattr__(self, "takes_benchmarks", self.of.takes_benchmarks)
        object.__setattr__(self, "reads_pool", True)
        object.__setattr__(self, "target_columns", self.of.target_columns)
        object.__setattr__(self, "pool_columns", tuple(dict.fromkeys(("id", "text", *self.of.pool_columns))))

    def _settings(self) -> Settings:
        return Settings(epochs=self.epochs, learning_rate=self.learning_rate, seed=self.seed)

    def _taught(self, targets: tuple[str, ...]) -> tuple[int, Column]:
        """Which of the teacher's columns is learnt."""
        columns = self.of.columns(targets)
        if self.column is None:
            return 0, columns[0]
        check_choice("column", self.column, [column.name for column in columns])
        return next((k, column) for k, column in enumerate(columns) if column.name == self.column)

    def columns(self, targets: tuple[str, ...] = ()) -> list[Column]:
        """`distil.score`; low is better where it is so with the teacher, but never with `top`."""
        taught = Column(f"column {self.column}", pa.float64(), True, "")
        if self.of is not None:
            taught = self._taught(targets)[1]
        if self.top is not None:
            return [Column("distil.score", pa.float64(), True, f"chance to be in the top {self.top} by {taught.name}")]
        return [
            Column("distil.score", pa.float64(), taught.higher_is_better, f"{taught.name}, as learnt from a sample")
        ]

    def document_columns(self, name: str) -> tuple[str, ...]:
        if name == _LABELS:
            assert self.column is not None
            return (self.column,)
        return self._teacher.document_columns(name.removeprefix(_OF))

    @property
    def _teacher(self) -> Scorer:
        teacher: Scorer = self.of
        return teacher

    def sketch_target(self, batch: pa.RecordBatch) -> State:
        """What the teacher learns from a target."""
        return _prefixed(self._teacher.sketch_target(batch))

    def sketch_documents(self, name: str, batch: pa.RecordBatch) -> State:
        """Texts and numbers of `labels`, or what the teacher learns from documents of its own."""
        if name != _LABELS:
            return _prefixed(self._teacher.sketch_documents(name.removeprefix(_OF), batch))
        assert self.column is not None
        return lesson(batch, self.sample, labels_of(batch, self.column, _LABELS))

    def prepare(self, targets: Mapping[str, State]) -> State:
        """The model where numbers are given, else what the teacher has prepared; and the names of the targets.

        Raises:
            InvalidParameterError: too few numbers, or a pupil below `floor`; and what the teacher raises.
        """
        if self.labels is not None:
            texts, labels = learnt([targets[_LABELS]])
            values = numbers_of(labels, _LABELS)
            return self._learnt(texts, values, {"sources": {_LABELS: told(targets[_LABELS]["counts"])}}, True)
        inner = {name.removeprefix(_OF): _own(state) for name, state in targets.items()}
        names = [name for name in targets if not name.startswith(_OF)]
        return {**_prefixed(self._teacher.prepare(inner)), "targets": np.array(names, str)}

    def sketch_pool(self, batch: pa.RecordBatch, prepared: State) -> State:
        """A sample of the pool, and what the teacher learns from the pool."""
        number = prepared["num_documents"]
        found = shortened(sketch_sample(batch, int(number[0]), self.sample, self.seed), _MAX_BYTES)
        if not self._teacher.reads_pool:
            return found
        own = {**_own(prepared), "num_documents": number}
        return {**found, **_prefixed(self._teacher.sketch_pool(batch, own))}

    def merge(self, a: State, b: State) -> State:
        """The sample is merged as samples are, the rest as the teacher does."""
        if "keys" in a:
            return merge_lessons(a, b, self.sample)
        merged = merge_samples(a, b)
        if any(key.startswith(_OF) for key in a):
            merged |= _prefixed(self._teacher.merge(_own(a), _own(b)))
        return merged

    def finish(self, prepared: State, pool: State) -> State:
        """The pupil's arrays, and `report`.

        Raises:
            InvalidParameterError: the pupil is below `floor`, or the teacher says the same of all documents.
        """
        if self.labels is not None:
            return prepared
        targets = tuple(map(str, prepared["targets"]))
        teacher_state = self._teacher.finish(_own(prepared), _own(pool))
        documents = sampled(pool, self.sample)
        which, column = self._taught(targets)

        def taught(first: int) -> np.ndarray:
            scores = self._teacher.score(documents.slice(first, _BATCH), teacher_state)[which]
            values: np.ndarray = scores.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
            return values

        with ThreadPoolExecutor(num_workers()) as threads:
            values = np.concatenate(list(threads.map(taught, range(0, len(documents), _BATCH))))
        is_known = np.isfinite(values)
        report = {"teacher": self._teacher.fit_summary(teacher_state), "not_scored_by_teacher": int((~is_known).sum())}
        texts = documents.column("text").filter(pa.array(is_known))
        return self._learnt(texts, values[is_known], report, column.higher_is_better is not False)

    def _learnt(self, texts: pa.Array, values: np.ndarray, report: dict[str, Any], is_high: bool) -> State:
        """Trains the pupil; `is_high` says that the teacher's high values are the good ones."""
        if len(different := np.unique(values)) < 2:
            raise InvalidParameterError(
                f"The teacher of `distil` gives {len(values)} documents {len(different)} different values, from which "
                "nothing can be learnt. Take another `column`, or a larger `sample`."
            )
        hashed = partial(features, ngrams=self.ngrams, num_buckets=self.num_buckets)
        if self.top is None:
            model, figures = fit(hashed(texts), values, kind=REGRESSION, settings=self._settings())
        else:
            signed = values if is_high else -values
            is_in, is_top = self._ends(signed)
            beside = None
            if not is_in.all():
                beside = hashed(texts.filter(pa.array(~is_in))), signed[~is_in]
            model, figures = fit(
                hashed(texts.filter(pa.array(is_in))),
                is_top[is_in].astype(float),
                kind=BINARY,
                settings=self._settings(),
                compared=signed[is_in],
                beside=beside,
            )
        found = figures["spearman"]
        if found is None or found < self.floor:
            said, number = "none" if found is None else f"{found:.3f}", figures.get("compared", figures["held_out"])
            raise InvalidParameterError(
                f"The pupil of `distil` follows its teacher by a rank correlation of {said} on {number} held-out "
                f"documents; `floor` is {self.floor}. Raise `sample` (={self.sample}), or have the whole pool scored "
                "by the teacher."
            )
        return {**model.state(), "report": np.array(json.dumps({**report, **figures}))}

    def _ends(self, signed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of values of which high ones are good: which are learnt from, and which are the top [documents] bool.

        Equal values go to one side, that of the top.
        """
        assert self.top is not None
        ranked = np.sort(signed)
        least = ranked[len(ranked) - max(1, round(self.top * len(ranked)))]
        is_top = signed >= least
        most = ranked[max(1, round(self.bottom * len(ranked))) - 1] if self.bottom is not None else np.inf
        is_in = is_top | (signed <= most)
        if is_top[is_in].all():
            raise InvalidParameterError(
                f"The teacher's value is the same for {int(is_top.sum())} of {len(signed)} documents, so that none is "
                f"left to be told from the `top` {self.top}. Take another `column`, or leave `top` out."
            )
        return is_in, is_top

    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        """What the pupil says.

        Raises:
            NotFittedError: `state` is not what `finish` returned.
        """
        if "linear.kind" not in state:
            raise NotFittedError("Distil has not been fitted; `assay.score(corpus, Distil(...))` fits and scores.")
        column = batch.column("text")
        return [masked(Linear.of_state(state).predict(column), utf8(column).is_valid)]

    def fit_summary(self, state: State) -> dict[str, Any]:
        """Held-out figures, `spearman` between pupil and teacher among them, and the teacher's own figures."""
        return json.loads(str(state["report"])) if "report" in state else {}


def _prefixed(state: State) -> State:
    return {f"{_OF}{key}": value for key, value in state.items()}


def _own(state: State) -> State:
    return {key.removeprefix(_OF): value for key, value in state.items() if key.startswith(_OF)}
