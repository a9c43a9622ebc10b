"""DataMan: notes by fourteen criteria and a domain for each document, learnt from labels in a file.

Paper: DataMan: Data Manager for Pre-training Large Language Models, Peng et al. 2025 (arXiv:2502.19363). Authors' code:
pengr/DataMan at db3bc94 (read, not copied: it has no licence). A model gives every document notes from 1 to 5 and one
of fifteen domains; documents are taken by the overall score, or by the sum of criteria, in the shares of domains:

    score: {dataman: {labels: {read: labels.jsonl}}}
    select: {quota: {by: dataman.domain, within: top}}
    where: "dataman.overall_score >= 4.5"

What differs:
- The annotator is linear over hashed n-grams for each criterion (ordered notes, all thresholds at once) and
  one for the domain, not a language model of 1.5 billion parameters that writes fifteen lines; so a column is the
  expected note, a number between 1 and 5, and not a whole note.
- Labels are the user's: the authors' are not released. Any criteria and domains will do.
- A criterion in which all labels agree cannot be learnt and is refused, not guessed.
- Repeating documents where a domain is short is asked for (`max_repeats`), not done silently.

Cost: docs/ratings.md. Memory: the text of the labelled documents, and 4 bytes a bucket and criterion or domain (30
MB by default). When not to use: where the held-out rank correlations in the summary are low. The overall score mostly
follows from the other criteria.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assay.errors import InvalidParameterError, NotFittedError, check, check_integer, check_number, check_text
from assay.kernels.arrow import masked, utf8
from assay.kernels.linear import margins_of_texts
from assay.kernels.unicode import tables
from assay.kernels.words import MAX_ORDER
from assay.models.linear import MAX_BUCKETS, MULTICLASS, ORDINAL, Rows, chosen_rows, features, predictions
from assay.models.linear_fit import fit
from assay.scorers.base import Column, Scorer, State
from assay.scorers.dataman_lines import CRITERIA, HIGHEST, Unusable, read_answer, read_domain, read_note
from assay.scorers.holding import held, hold, joined

_NOTES = tuple(str(note) for note in range(1, HIGHEST + 1))
_SHOWN = 100  # ids of labels that were not usable
_OVERALL = "overall_score"
_NO_TEXT, _NO_LABEL = "no_text", "no_label"


@dataclass(frozen=True, kw_only=True)
class DataMan(Scorer):
    """Notes by several criteria and a domain, learnt from labelled documents.

    labels: documents with `text`, a column of notes from 1 to 5 for each criterion (4, "4" or "4/5"; null where there
        is none) and one of the domain.
    criteria: columns with notes; `overall_score`, or else the first, is the score.
    domain: column with a domain, or with DataMan's letters; None = there is none.
    answer: column with DataMan's fifteen lines, instead of one a criterion.
    max_unusable: the largest share of labels that may be unreadable; these are counted, listed and not learnt from.
    ngrams, num_buckets: longest n-gram, and hash buckets.
    """

    name: ClassVar[str] = "dataman"
    version: ClassVar[int] = 2
    documents: ClassVar[tuple[str, ...]] = ("labels",)

    labels: Any = None
    criteria: tuple[str, ...] = CRITERIA
    domain: str | None = "domain"
    answer: str | None = None
    max_unusable: float = 0.05
    ngrams: int = 2
    num_buckets: int = 1 << 18

    def __post_init__(self) -> None:
        check(self.labels is not None, "labels", None, "documents with labels", "Write {read: labels.jsonl}.")
        names = self.criteria
        is_list = isinstance(names, list | tuple) and len(names) > 0 and all(isinstance(n, str) and n for n in names)
        check(is_list and len(set(names)) == len(names), "criteria", names, "a list of different names")
        object.__setattr__(self, "criteria", tuple(names))
        for name in ("domain", "answer"):
            if getattr(self, name) is not None:
                check_text(name, getattr(self, name))
        known = self.answer is None or set(self.criteria) <= set(CRITERIA)
        check(known, "criteria", self.criteria, f"some of {', '.join(CRITERIA)}, where `answer` is given")
        check_number("max_unusable", self.max_unusable, "a share from 0 to 1", lambda x: 0 <= x <= 1)
        check_integer("ngrams", self.ngrams, 1, MAX_ORDER)
        check_integer("num_buckets", self.num_buckets, 2, MAX_BUCKETS)

    @property
    def _ordered(self) -> list[str]:
        """The criteria, *the* score first."""
        return sorted(self.criteria, key=lambda name: name != _OVERALL)

    def columns(self, targets: tuple[str, ...]) -> list[Column]:
        """The expected note by each criterion, the domain and its probability."""
        notes = [Column(f"dataman.{n}", pa.float64(), True, f"expected note by {n}, 1 to 5") for n in self._ordered]
        if self.domain is None:
            return notes
        return [
            *notes,
            Column("dataman.domain", pa.string(), None, "the likeliest domain"),
            Column("dataman.domain_probability", pa.float64(), None, "probability of that domain"),
        ]

    def document_columns(self, name: str) -> tuple[str, ...]:
        wanted = [*self.criteria, self.domain] if self.answer is None else [self.answer]
        return tuple(column for column in wanted if column is not None)

    def sketch_documents(self, name: str, batch: pa.RecordBatch) -> State:
        """Texts, notes [documents, criteria] (0 = none), domains, and the labels that cannot be used."""
        missing = [column for column in self.document_columns(name) if column not in batch.schema.names]
        if missing:
            raise InvalidParameterError(
                f"`labels` has no column {missing[0]!r}; it has {', '.join(batch.schema.names)}. Name what it has by "
                "`criteria` and `domain`, or the column with DataMan's lines by `answer`."
            )
        rows, notes, domains, unusable = [], [], [], []
        texts = batch.column("text").is_valid().to_pylist()
        for row, label in enumerate(batch.select(list(self.document_columns(name))).to_pylist()):
            try:
                domain, own = self._read(label) if texts[row] else (None, None)
            except Unusable as error:
                unusable.append((row, str(error)))
                continue
            if own is None or (not any(own) and domain is None):
                unusable.append((row, _NO_LABEL if texts[row] else _NO_TEXT))
                continue
            rows.append(row)
            notes.append(own)
            domains.append(domain or "")
        ids = batch.column("id")
        return {
            **hold("text", batch.column("text").take(pa.array(rows, pa.int64()))),
            "notes": np.array(notes, np.int8).reshape(len(rows), len(self.criteria)),
            **hold("domain", pa.array(domains, pa.string())),
            **hold("unusable", pa.array([f"{reason}\t{ids[row].as_py()}" for row, reason in unusable], pa.string())),
        }

    def _read(self, label: Mapping[str, Any]) -> tuple[str | None, list[int]]:
        if self.answer is not None:
            if label[self.answer] is None:
                return None, [0] * len(self.criteria)
            read, notes = read_answer(str(label[self.answer]))
            return read, [notes[name] for name in self._ordered]
        domain = None if self.domain is None else read_domain(label[self.domain])
        return domain, [read_note(label[name]) or 0 for name in self._ordered]

    def merge(self, a: State, b: State) -> State:
        """Labels are put one after the other; `prepare` puts them in order."""
        return joined(a, b, a)

    def prepare(self, targets: Mapping[str, State]) -> State:
        """The fitted models: `weights` [buckets, criteria + domains], `thresholds` [criteria, 4], names of domains.

        Raises:
            InvalidParameterError: too many labels that cannot be used, or a criterion (or the domain) that is always
                the same.
        """
        found = targets["labels"]
        report = self._usable(found)
        rows = features(held(found, "text"), ngrams=self.ngrams, num_buckets=self.num_buckets)
        weights, thresholds = [], []
        for k, criterion in enumerate(self._ordered):
            notes = found["notes"][:, k].astype(np.int64)
            model, figures = self._fit(rows, notes > 0, notes - 1, ORDINAL, _NOTES, criterion)
            weights.append(model.weights)
            thresholds.append(model.bias)
            report["criteria"][criterion] = figures
        state = {"thresholds": np.stack(thresholds)}
        if self.domain is not None:
            domains = held(found, "domain")
            names = sorted(set(domains.to_pylist()) - {""})
            if len(names) < 2:
                raise InvalidParameterError(
                    f"The labelled documents are of {len(names)} domains ({', '.join(names)}) and must be of at least "
                    "2. Set `domain` to null to go without."
                )
            which = pc.index_in(domains, pa.array(names, pa.large_string())).fill_null(-1).to_numpy()
            model, figures = self._fit(rows, which >= 0, which, MULTICLASS, tuple(names), self.domain)
            weights.append(model.weights)
            state |= {"domains": np.array(names), "domain_bias": model.bias}
            report["domain"] = figures
        state["weights"] = np.concatenate(weights, axis=1)
        return state | {"ngrams": np.array(self.ngrams), "report": np.array(json.dumps(report))}

    def _usable(self, found: State) -> dict[str, Any]:
        """The beginning of the report: how many labels there are, and which were not usable and why."""
        num_usable = len(found["notes"])
        unusable = sorted(line.split("\t", 1) for line in held(found, "unusable").to_pylist())
        reasons = Counter(reason for reason, _ in unusable)
        total = num_usable + len(unusable)
        check(total > 0, "labels", 0, "of at least two documents")
        if len(unusable) > self.max_unusable * total:
            told = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
            some = ", ".join(repr(id) for _, id in unusable[:3])
            raise InvalidParameterError(
                f"{len(unusable)} of {total} labels cannot be used ({told}; the first are {some}); `max_unusable` is "
                f"{self.max_unusable}. Mend them, or raise it."
            )
        listed = [{"id": id, "reason": reason} for reason, id in unusable[:_SHOWN]]
        return {"labels": total, "unusable": dict(reasons), "unusable_ids": listed, "criteria": {}}

    def _fit(
        self, rows: Rows, is_labelled: np.ndarray, labels: np.ndarray, kind: str, classes: tuple[str, ...], name: str
    ) -> tuple[Any, dict[str, Any]]:
        members = np.flatnonzero(is_labelled)
        values = np.unique(labels[members])
        if len(values) < 2:
            given = f"the note {values[0] + 1}" if len(values) else "no note"
            raise InvalidParameterError(
                f"All {len(members)} labels by {name!r} have {given}, from which nothing can be learnt. Leave it "
                "out of `criteria`."
            )
        model, figures = fit(chosen_rows(rows, members), labels[members], kind=kind, classes=classes)
        commonest = np.bincount(labels[members]).max() / len(members)
        return model, {**figures, "commonest_share": float(commonest)}

    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        """Notes, domain and its probability per row.

        Raises:
            NotFittedError: `state` is not what `prepare` returned.
        """
        if "thresholds" not in state:
            raise NotFittedError("DataMan has not been fitted; `assay.score(corpus, DataMan(...))` fits and scores.")
        text = utf8(batch.column("text"))
        num_criteria = len(state["thresholds"])
        bias = np.concatenate((np.zeros(num_criteria), state.get("domain_bias", np.empty(0))))
        margins = margins_of_texts(text.data, text.offsets, int(state["ngrams"]), state["weights"], bias, tables())
        columns = []
        for k, thresholds in enumerate(state["thresholds"]):
            probabilities = predictions(ORDINAL, margins[:, k : k + 1], thresholds)
            columns.append(masked(1 + probabilities @ np.arange(HIGHEST), text.is_valid))
        if "domains" in state:
            probabilities = predictions(MULTICLASS, margins[:, num_criteria:], bias)
            best = probabilities.argmax(axis=1)
            columns.append(pa.array(state["domains"][best], pa.string(), mask=~text.is_valid))
            columns.append(masked(probabilities[np.arange(len(best)), best], text.is_valid))
        return columns

    def fit_summary(self, state: State) -> dict[str, Any]:
        """Labels that could not be used, and held-out figures by criterion and of the domain.

        `commonest_share` is the accuracy of always saying the commonest label.
        """
        report: dict[str, Any] = json.loads(str(state["report"]))
        return report
