"""`assay.label`: which documents to have labelled next, until a budget of labels is spent.

Active learning by files: the folder gets ask-001.jsonl, a person (or a program) fills in `label` in each of its lines,
the same call again reads the answers, learns from all labels so far and asks for the documents that would teach most.
Nothing else is remembered, so it can be stopped anywhere. labels.jsonl holds all labels so far, for `classifier`.
With an oracle it answers itself, which is how a strategy is tried on labels that are known.

Documents are asked for out of `candidates` of the pool, drawn by hash of the id; strategies and pseudo-labels are told
in `models.querying`, what they are worth in docs/labels.md. Cost: about a second a round for 10,000 candidates, and one
pass over the pool. Memory: the candidates.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from assay.api.build import part_bytes
from assay.api.embedding import embed
from assay.api.scoring import merged
from assay.artifacts.kinds import Corpus, check_corpus
from assay.artifacts.storage import Location, atomic_path
from assay.artifacts.workspace import Workspace
from assay.corpus.engine import map_step
from assay.corpus.split import store_subset
from assay.errors import ArtifactError, InputError, InvalidParameterError, check, check_choice, check_integer
from assay.kernels.linear import margins_of_rows
from assay.kernels.vectors import neighbours, snapped
from assay.models.embedding import Embedding, as_embedding
from assay.models.gradients import Gradients
from assay.models.linear import MULTICLASS, Rows, chosen_rows, features, predictions
from assay.models.linear_fit import fit
from assay.models.querying import DIVERSE, NUM_NEIGHBOURS, QUERIES, RANDOM, pseudo_labels, query
from assay.scorers.base import State
from assay.scorers.sampling import merge_samples, sampled, sketch_sample

Oracle = Callable[[Sequence[str]], Sequence[str]] | Mapping[str, str]
SKIP = "skip"
LABELS, _SETTINGS = "labels.jsonl", "settings.json"
_NUM_BUCKETS = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Labels:
    """How far labelling is.

    path: labels.jsonl: `id`, `text`, `label`, `by` (annotator or model) and, by a model, `confidence`.
    num_labels: answers, and num_skipped of them without a label. num_pseudo: labels that the model gave.
    to_answer: the file that waits for answers; None when the budget is spent, or no candidate is left.
    accuracy: of a model of the labels so far on labelled documents it did not learn from; None while there are too few.
        They are hard ones, chosen for that, so on the whole pool it is higher.
    """

    path: Path
    num_labels: int
    num_skipped: int
    num_pseudo: int
    to_answer: Path | None
    accuracy: float | None


def label(
    corpus: Corpus,
    to: str | Path,
    *,
    classes: Sequence[str],
    budget: int = 200,
    batch: int = 20,
    strategy: str = "diverse",
    pseudo: bool = False,
    oracle: Oracle | None = None,
    candidates: int = 10_000,
    seed: int = 0,
    embedding: Embedding | str | Mapping[str, Any] = Embedding(),  # noqa: B008  (it is frozen)
    workspace: Workspace | str | Location | None = None,
) -> Labels:
    """Reads the answers in a folder and asks for the next documents; with an oracle, until the budget is spent.

    Args:
        to: folder for the questions and labels.jsonl. A `label` of "skip" counts as an answer, and is not learnt from.
        classes: the labels that there are, at least two.
        budget: labels in all; may be raised later. batch: how many are asked for at a time.
        strategy: "random", "least_confidence", "margin" or "diverse".
        pseudo: let the model label documents that it is sure of, and learn from these as well.
        oracle: what answers: a function from texts to labels, or a mapping from id to label. Default: people do.
        candidates: documents of the pool that are considered; seed: which, and in what order.
        embedding: what finds neighbours, for "diverse" and `pseudo`.

    Raises:
        InvalidParameterError: a bad parameter, or a folder that is of another pool or other settings.
        InputError: an answer that is not one of the classes, or lines that were not asked for.
    """
    check_corpus(corpus)
    is_list = isinstance(classes, list | tuple) and all(isinstance(c, str) and c.strip() for c in classes)
    check(is_list and len(set(classes)) == len(classes) >= 2, "classes", classes, "a list of at least two names")
    check(SKIP not in classes, "classes", SKIP, "other names", f"{SKIP!r} is the answer to what cannot be labelled.")
    for name, value in (("budget", budget), ("batch", batch), ("candidates", candidates)):
        check_integer(name, value, 1)
    check_integer("seed", seed, 0)
    check_choice("strategy", strategy, QUERIES)
    is_oracle = oracle is None or callable(oracle) or isinstance(oracle, Mapping)
    check(is_oracle, "oracle", oracle, "a function from texts to labels, or a mapping from id to label")
    space, folder, model = Workspace(workspace), Path(to), as_embedding(embedding)
    settings = {"pool": corpus.fingerprint, "classes": list(classes), "candidates": candidates, "seed": seed}
    _claim(folder, settings)
    drawn = _drawn(corpus, candidates, seed, space)
    table = pa.Table.from_batches([b for k in range(drawn.num_parts) for b in drawn.batches(k)])
    vectors = _vectors(drawn, model, space) if pseudo or strategy == DIVERSE else np.empty((len(table), 0), np.float32)
    num_near = min(NUM_NEIGHBOURS, len(table) - 1) if pseudo else 0
    texts = table["text"].combine_chunks()
    desk = _Desk(
        folder=folder,
        classes=tuple(classes),
        strategy=strategy,
        pseudo=pseudo,
        ids=table["id"].to_pylist(),
        texts=texts,
        rows=features(texts, num_buckets=_NUM_BUCKETS),
        vectors=vectors,
        nearest=neighbours(vectors, num_near)[0] if num_near else np.empty((len(table), 0), np.int32),
    )
    while True:
        found = desk.round(budget, batch)
        if found.to_answer is None or oracle is None:
            return found
        _answer(found.to_answer, oracle, (*classes, SKIP))


@dataclass(frozen=True, kw_only=True)
class _Desk:
    """The candidates, in a random order, and the folder with what has been asked about them.

    texts: [candidates]. rows: the same as a model learns from them. vectors: of unit length [candidates, dimensions].
    nearest: neighbours of each [candidates, neighbours], none where they are not needed.
    """

    folder: Path
    classes: tuple[str, ...]
    strategy: str
    pseudo: bool
    ids: list[str]
    texts: pa.Array
    rows: Rows
    vectors: np.ndarray
    nearest: np.ndarray

    def round(self, budget: int, batch: int) -> Labels:
        """Reads all answers, writes labels.jsonl, and asks again if that is due."""
        answers = self._answers()
        probabilities, given, confidence, accuracy = self._learnt(answers.labels)
        self._write(answers.labels, given, confidence)
        waiting, number = answers.waiting, min(batch, budget - int(answers.is_asked.sum()))
        if waiting is None and number > 0 and not answers.is_asked.all():
            strategy = RANDOM if probabilities is None else self.strategy
            known = np.empty((0, 0)) if probabilities is None else probabilities
            chosen = query(strategy, known, self.vectors, answers.is_asked, number)
            waiting = self._ask(chosen, answers.num_files + 1)
        num_labels = int(answers.is_asked.sum()) - answers.num_open
        return Labels(
            path=self.folder / LABELS,
            num_labels=num_labels,
            num_skipped=num_labels - int((answers.labels >= 0).sum()),
            num_pseudo=int((given >= 0).sum()),
            to_answer=waiting,
            accuracy=accuracy,
        )

    def _answers(self) -> "_Answers":
        """Reads every file of questions.

        Raises:
            InputError: a line that is no JSON, was not asked for, or has a label that is no class.
        """
        places = {id: k for k, id in enumerate(self.ids)}
        labels, is_asked = np.full(len(self.ids), -1), np.zeros(len(self.ids), np.bool_)
        files, num_open, waiting = sorted(self.folder.glob("ask-*.jsonl")), 0, None
        for file in files:
            for number, line in enumerate(_lines(file), 1):
                place, given = self._answer_of(line, f"{file}, line {number}", places)
                is_asked[place] = True
                if given is None:
                    num_open, waiting = num_open + 1, waiting or file
                elif given != SKIP:
                    labels[place] = self.classes.index(given)
        return _Answers(labels, is_asked, len(files), num_open, waiting)

    def _answer_of(self, line: str, where: str, places: Mapping[str, int]) -> tuple[int, str | None]:
        try:
            row = json.loads(line)
            id, given = row["id"], row["label"]
        except (ValueError, TypeError, KeyError):
            raise InputError(f"{where} must be JSON with `id` and `label`, as it was written.") from None
        if not isinstance(id, str) or id not in places:
            raise InputError(f"{where}: document {id!r} was not asked for. Take the line out.")
        if given is not None and given not in (*self.classes, SKIP):
            known = ", ".join((*self.classes, SKIP))
            raise InputError(f"{where}: `label` (={given!r}) must be one of {known}, or null as long as there is none.")
        return places[id], given

    def _learnt(self, labels: np.ndarray) -> tuple[np.ndarray | None, np.ndarray, np.ndarray, float | None]:
        """Probabilities of all candidates [candidates, classes], pseudo-labels [candidates], how sure the model was of
        each [candidates], held-out accuracy.

        None, none, 0 and None where fewer than two classes, or two different texts, have been met.
        """
        nothing, unsure = np.full(len(labels), -1), np.zeros(len(labels))
        if min(len(np.unique(x[labels >= 0])) for x in (labels, self.rows.keys)) < 2:
            return None, nothing, unsure, None
        probabilities, accuracy = self._fitted(labels)
        if not self.pseudo:
            return probabilities, nothing, unsure, accuracy
        given = pseudo_labels(probabilities, labels, self.nearest)
        confidence = probabilities.max(axis=1)  # before the model has learnt from its own labels
        return self._fitted(np.where(labels >= 0, labels, given))[0], given, confidence, accuracy

    def _fitted(self, labels: np.ndarray) -> tuple[np.ndarray, float]:
        members = np.flatnonzero(labels >= 0)
        wanted = labels[members].astype(np.float64)
        model, figures = fit(chosen_rows(self.rows, members), wanted, kind=MULTICLASS, classes=self.classes)
        rows = self.rows
        arrays = (rows.starts, rows.buckets, rows.counts, rows.scales, np.arange(len(rows)))
        return predictions(MULTICLASS, margins_of_rows(*arrays, model.weights, model.bias), model.bias), figures[
            "accuracy"
        ]

    def _write(self, labels: np.ndarray, given: np.ndarray, confidence: np.ndarray) -> None:
        """labels.jsonl: first what was answered, then what the model says."""
        lines = [
            self._line(k, label=self.classes[labels[k]], by="annotator") for k in np.flatnonzero(labels >= 0).tolist()
        ]
        for k in np.flatnonzero(given >= 0).tolist():
            sure = round(float(confidence[k]), 4)
            lines.append(self._line(k, label=self.classes[given[k]], by="model", confidence=sure))
        with atomic_path(self.folder / LABELS) as path:
            path.write_text("".join(lines), encoding="utf-8")

    def _ask(self, chosen: np.ndarray, number: int) -> Path:
        while (file := self.folder / f"ask-{number:03d}.jsonl").exists():  # one before it was taken away
            number += 1
        with atomic_path(file) as path:
            path.write_text("".join(self._line(k, label=None) for k in chosen.tolist()), encoding="utf-8")
        return file

    def _line(self, k: int, **more: Any) -> str:
        row = {"id": self.ids[k], "text": self.texts[k].as_py(), **more}
        return json.dumps(row, ensure_ascii=False) + "\n"


class _Answers(NamedTuple):
    """labels: class of each candidate, -1 where none. num_open: questions without answer, the first in `waiting`."""

    labels: np.ndarray
    is_asked: np.ndarray
    num_files: int
    num_open: int
    waiting: Path | None


def _claim(folder: Path, settings: Mapping[str, Any]) -> None:
    """Makes the folder, or finds that it is of the same labelling.

    Raises:
        ArtifactError: it cannot be made. InvalidParameterError: it is of another labelling.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"{folder} cannot be made ({error.strerror}). Choose another folder.") from None
    file = folder / _SETTINGS
    if not file.exists():
        check(not any(folder.iterdir()), "to", str(folder), "an empty folder, or one of this labelling")
        with atomic_path(file) as path:
            path.write_text(json.dumps(settings, ensure_ascii=False) + "\n", encoding="utf-8")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        found = {}
    other = [name for name, value in settings.items() if not isinstance(found, dict) or found.get(name) != value]
    if other:
        raise InvalidParameterError(
            f"`to` (={str(folder)!r}) holds labels that were asked for with another {other[0]!r}. "
            "Choose another folder."
        )


def _lines(file: Path) -> list[str]:
    """The lines that say something; a text may hold characters that `splitlines` would break at.

    Raises:
        InputError: an editor stored it in another encoding than UTF-8.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")  # with a mark at the start, as some editors put there
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is no UTF-8 text (byte {error.start}). Store it in this encoding.") from None
    return [line for line in text.split("\n") if line.strip()]


def _drawn(corpus: Corpus, candidates: int, seed: int, workspace: Workspace) -> Corpus:
    """The candidates as a corpus of their own, in the order of their hashes."""

    def make() -> pa.Table:
        sketch = partial(_sketch_part, corpus, candidates, seed)
        amounts = part_bytes(corpus.manifest.parts)
        found = map_step(None, "draw candidates", sketch, range(corpus.num_parts), amounts, "bytes")
        return pa.Table.from_batches([sampled(merged(merge_samples, found), candidates)])

    return store_subset(make, corpus, "candidates", {"candidates": candidates, "seed": seed}, workspace)


def _sketch_part(corpus: Corpus, number: int, seed: int, part: int) -> State:
    batches = corpus.batches(part, ["id", "text"])
    return merged(merge_samples, (sketch_sample(batch, corpus.num_documents, number, seed) for batch in batches))


def _vectors(drawn: Corpus, embedding: Embedding | Gradients, workspace: Workspace) -> np.ndarray:
    made = embed(drawn, embedding, workspace=workspace)
    parts = [made.vectors(k) for k in range(drawn.num_parts)]
    vectors = np.concatenate([np.asarray(p.flatten()).reshape(len(p), made.dimensions) for p in parts])
    return snapped(vectors.astype(np.float32))


def _answer(file: Path, oracle: Oracle, known: Sequence[str]) -> None:
    """Fills in the answers of an oracle.

    Raises:
        InvalidParameterError: it does not know a document, gives another number of labels, or others than `known`.
    """
    rows = [json.loads(line) for line in _lines(file)]
    if isinstance(oracle, Mapping):
        missing = [row["id"] for row in rows if row["id"] not in oracle]
        check(not missing, "oracle", missing[:3], "a label for every document of the pool")
        given: Sequence[str] = [oracle[row["id"]] for row in rows]
    else:
        given = oracle([row["text"] for row in rows])
        is_list = hasattr(given, "__len__") and len(given) == len(rows)
        check(is_list, "oracle", given, f"a function that gives a label for each of {len(rows)} texts")
    strange = [answer for answer in given if answer not in known]
    way_out = f"{SKIP!r} is the answer to what cannot be labelled."
    check(not strange, "oracle", strange[:3], f"one that answers with one of {', '.join(known)}", way_out)
    lines = [json.dumps({**row, "label": answer}, ensure_ascii=False) for row, answer in zip(rows, given, strict=True)]
    with atomic_path(file) as path:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
