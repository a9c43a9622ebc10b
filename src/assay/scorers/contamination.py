"""Contamination: benchmark items that stand in documents, which, how much of them, and whether with the answer.

After decon (allenai/decon: n-grams as anchors, rarity as weight, question and answer apart) and the 13-word rule of
GPT-3 (Brown et al. 2020, arXiv:2005.14165, appendix C). An item's context, question and answer are passages of
lower-case words without punctuation; a question of fewer than 24 words is a passage together with its answer too, and
an answer on its own only with 13 words or more (a worked solution, code). A passage is found in a document where
- 13 of its words stand in a row, as in GPT-3, unless most of them are a form of words that many items share, or
- half of its weight, and 8 words, stand in runs of 4 words or more within one stretch of the document. A word weighs as
  it is rare among the benchmarks, so that a question's terms count and its phrasing does not. Below 24 words more than
  half is needed, up to 85 % of 8 words: short passages may be made of common phrases.
- A passage of 5 to 7 words must stand there whole. A question as short as that, or one that more than 3 items ask,
  counts only with its answer. Items of fewer than 5 words in all are not looked for.

What differs: from GPT-3, that replaced words and halved items are found, each item is named, and forms of words are
known by how many items share them, not by how many documents; so one pass over the pool is enough. From decon, that
every n-gram is looked up (it samples them), so that no item is missed by chance. Documents are scored, not cut.

Of a document that has n-grams of items at more than 33 million pairs of places (a table of zeros, beside a benchmark of
such tables) the commonest n-grams are left out.

An answer is looked for within 40 words after its question. A short one such as "yes" is often met by chance:
`contamination.part` says that it stands there, no more.

Cost: one pass over the pool, about 60 MB/s and core against 21 benchmarks; building the index of their 9 million words
takes 7 s and 266 MB. Figures: docs/contamination.md. When not to use: against translations and free paraphrases, which
share too few runs of words.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from assay.errors import InvalidParameterError, NotFittedError, check, check_integer, check_number
from assay.kernels.arrow import masked, utf8
from assay.kernels.contamination import Passages, find_passages, follows, hash_runs, word_hashes
from assay.kernels.ragged import take_runs
from assay.kernels.unicode import tables
from assay.models.passages import build_passages
from assay.progress import note
from assay.scorers.base import Column, Scorer, State

CONTEXT, QUESTION, ANSWER, WITH_ANSWER = 1, 2, 4, 8  # the last: question and answer as one passage
_PARTS = {CONTEXT: "context", QUESTION: "question", ANSWER: "answer"}
_ORDER = 4
_MIN_PASSAGE = 5
_MIN_WORDS = 8
_LONG_QUESTION = 24
_MAX_SAME = 3
_ANSWER_WITHIN = 40


@dataclass(frozen=True, kw_only=True)
class Contamination(Scorer):
    """Benchmark items found in each document. The targets are benchmarks: `assay.benchmarks("sets/*/*.jsonl")`.

    min_share: share of a context's or question's weight that must stand in the document.
    words: words in a row that are enough at any share.
    max_items: words that stand in more items than this are a form of words, such as a prompt; a run made of them does
        not count.
    """

    name: ClassVar[str] = "contamination"
    version: ClassVar[int] = 2
    needs_target: ClassVar[bool] = True
    target_columns: ClassVar[tuple[str, ...]] = ("id", "text", "context", "question", "answer", "answer_text")
    takes_benchmarks: ClassVar[bool] = True

    min_share: float = 0.5
    words: int = 13
    max_items: int = 100

    def __post_init__(self) -> None:
        check_number("min_share", self.min_share, "a share above 0, at most 1", lambda x: 0 < x <= 1)
        check_integer("words", self.words, _MIN_WORDS, 1000)
        check_integer("max_items", self.max_items, 1)

    def columns(self, targets: tuple[str, ...]) -> list[Column]:
        """`contamination.share` (the score), `.items`, and of the item with the largest share `.item` and `.part`."""
        for target in targets:
            check(":" not in target, "target", target, "a name without ':'", "Items are called <benchmark>:<id>.")
        return [
            Column("contamination.share", pa.float64(), False, "largest share of an item's passage; 0 = none found"),
            Column("contamination.items", pa.int64(), False, "items found"),
            Column("contamination.item", pa.string(), None, "the item, as <benchmark>:<id>; null = none found"),
            Column("contamination.part", pa.string(), None, "what of it: context, question, answer, joined by +"),
            Column("contamination.found", pa.list_(pa.string()), None, "all items found"),
        ]

    def sketch_target(self, batch: pa.RecordBatch) -> State:
        """Words of items: `ids` [items], `sizes` of context, question and answer [items, 3], `words` [words]."""
        ids = np.array([str(i).encode() for i in batch.column("id").to_pylist()], np.bytes_)
        texts = [part for row in zip(*_parts(batch), strict=True) for part in row]
        column = utf8(pa.array(texts, pa.large_string()))
        words, starts = word_hashes(column.data, column.offsets, tables())
        return {"ids": ids, "sizes": np.diff(starts).reshape(-1, 3), "words": words}

    def can_find(self, batch: pa.RecordBatch) -> bool:
        """Whether any item has words enough to be looked for."""
        return len(self._links(self.sketch_target(batch)["sizes"])[0]) > 0

    def merge(self, a: State, b: State) -> State:
        """Items are put together; the items found in a pool are united, its documents added."""
        if "ids" in a:
            return {key: np.concatenate([a[key], b[key]]) for key in a}
        sets, where = np.unique(np.concatenate([a["sets"], b["sets"]]).astype(str), return_inverse=True)
        documents = np.concatenate([a["documents"], b["documents"]])
        return {
            "items": np.union1d(a["items"].astype(str), b["items"].astype(str)),
            "sets": sets,
            "documents": np.bincount(where, documents, len(sets)).astype(np.int64),
        }

    def prepare(self, targets: Mapping[str, State]) -> State:
        """The index of passages, whose each is, and the words of all answers.

        Raises:
            InvalidParameterError: no item has 5 words.
        """
        sketches = {name: _sorted(sketch) for name, sketch in targets.items()}
        names = [f"{name}:".encode() + i for name, sketch in sketches.items() for i in sketch["ids"]]
        sizes = np.concatenate([sketch["sizes"] for sketch in sketches.values()])
        words = np.concatenate([sketch["words"] for sketch in sketches.values()])
        item, part, where, lengths = self._links(sizes)
        num_brief = len(sizes) - len(np.unique(item))
        if num_brief == len(sizes):
            raise InvalidParameterError(f"No item of {', '.join(targets)} has {_MIN_PASSAGE} words; none can be found.")
        if num_brief:
            note(f"{num_brief:,} of {len(sizes):,} benchmark items are too short to be looked for")
        _, first, passage = np.unique(hash_runs(words, where, lengths), return_index=True, return_inverse=True)
        passages = build_passages(
            _taken(words, where[first], lengths[first]),
            _starts(lengths[first]),
            order=_ORDER,
            min_share=self.min_share,
            min_words=_MIN_WORDS,
            min_run=self.words,
        )
        needs = _needed_without_answer(sizes, item, part, passage, passages)
        order = np.argsort(passage, kind="stable")
        answer_starts = _starts(sizes.ravel())[2::3][: len(sizes)]
        return {
            "names": np.array(names, np.bytes_),
            "has_question": sizes[:, 1] > 0,
            "link_starts": _starts(np.bincount(passage, minlength=len(first))),
            "link_item": item[order],
            "link_part": part[order],
            "link_needs": needs[order],
            "answers": _taken(words, answer_starts, sizes[:, 2]),
            "answer_starts": _starts(sizes[:, 2]),
            **passages._asdict(),
        }

    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        """Five columns per row.

        Raises:
            NotFittedError: `state` is not what `prepare` returned.
        """
        if "names" not in state:
            raise NotFittedError(
                "Contamination has not been fitted; `assay.score(corpus, Contamination(), target=...)` does both."
            )
        text = utf8(batch.column("text"))
        words, starts = word_hashes(text.data, text.offsets, tables())
        row, item, part, share = self._found(words, starts, state)
        best = np.lexsort((item, -share, row))
        best = best[
            np.unique(row[best], return_index=True)[1]
        ]  # of each row, the first: largest share, then first item
        documents = row[best]
        shares, best_item, best_part = np.zeros(len(batch)), np.full(len(batch), -1), np.zeros(len(batch), np.int64)
        shares[documents], best_item[documents], best_part[documents] = share[best], item[best], part[best]
        names = {int(i): state["names"][i].decode() for i in np.unique(item)}
        found: list[list[str] | None] = [[] if valid else None for valid in text.is_valid]
        for r, i in zip(row.tolist(), item.tolist(), strict=True):
            found[r].append(names[i])
        return [
            masked(shares, text.is_valid),
            masked(np.bincount(row, minlength=len(batch)), text.is_valid),
            pa.array([names.get(i) for i in best_item.tolist()], pa.string()),
            pa.array([_part_name(bits) for bits in best_part.tolist()], pa.string()),
            pa.array(found, pa.list_(pa.string())),
        ]

    def summarise(self, columns: Mapping[str, pa.Array]) -> State:
        """Distinct `items` found, and `documents` of each of `sets`."""
        found = [set(_set_of(item) for item in items or ()) for items in columns["contamination.found"].to_pylist()]
        sets, documents = np.unique(np.array([s for one in found for s in one], str), return_counts=True)
        items = columns["contamination.found"].flatten().unique().to_pylist()
        return {"items": np.array(sorted(items), str), "sets": sets, "documents": documents}

    def summary(self, total: State) -> dict[str, Any]:
        """Per benchmark, `items_found` in the pool and `documents_affected`; those with none are left out."""
        sets, items = np.unique(np.array([_set_of(item) for item in total["items"]], str), return_counts=True)
        return {
            "items_found": {str(s): int(n) for s, n in zip(sets, items, strict=True)},
            "documents_affected": {str(s): int(n) for s, n in zip(total["sets"], total["documents"], strict=True)},
        }

    def _links(self, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Passages of all items: whose, which part, where its words start, how many; all [links] int64."""
        starts = _starts(sizes.ravel())[:-1].reshape(-1, 3)
        context, question, answer = sizes.T
        # Not with an answer longer than the question: most of such a passage would be found where only the answer is.
        is_joint = (question > 0) & (question < _LONG_QUESTION) & (answer > 0)
        is_balanced = (answer <= question) | ((question < _MIN_PASSAGE) & (answer < self.words))
        both = np.where(is_joint & is_balanced, question + answer, 0)
        kinds = [
            (CONTEXT, context >= _MIN_PASSAGE, starts[:, 0], context),
            (QUESTION, question >= _MIN_PASSAGE, starts[:, 1], question),
            (WITH_ANSWER, both >= _MIN_PASSAGE, starts[:, 1], both),
            (ANSWER, answer >= self.words, starts[:, 2], answer),
        ]
        items = [np.flatnonzero(taken) for _, taken, _, _ in kinds]
        parts = [np.full(len(i), kind[0]) for i, kind in zip(items, kinds, strict=True)]
        where = [kind[2][i] for i, kind in zip(items, kinds, strict=True)]
        lengths = [kind[3][i] for i, kind in zip(items, kinds, strict=True)]
        return np.concatenate(items), np.concatenate(parts), np.concatenate(where), np.concatenate(lengths)

    def _found(
        self, words: np.ndarray, starts: np.ndarray, state: State
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Items found: row, item, parts as bits, largest share; all [finds], by row and item."""
        index = Passages(**{name: state[name] for name in Passages._fields})
        row, passage, share, first, last = find_passages(words, starts, _ORDER, index, _MIN_WORDS, self.max_items)
        number = np.diff(state["link_starts"])[passage]
        link = np.repeat(state["link_starts"][passage] - _starts(number)[:-1], number) + np.arange(number.sum())
        row, passage, share, first, last = (np.repeat(c, number) for c in (row, passage, share, first, last))
        item, part = state["link_item"][link], state["link_part"][link]
        answer_size = np.diff(state["answer_starts"])[item]
        # An answer comes after its question, or after the context of an item that has no question.
        asks = (part == QUESTION) | (part == WITH_ANSWER) | ((part == CONTEXT) & ~state["has_question"][item])
        begin = starts[row] + np.where(part == WITH_ANSWER, first, last)
        end = np.minimum(starts[row] + last + _ANSWER_WITHIN + answer_size, starts[row + 1])
        answered = asks & follows(words, begin, end, state["answers"], state["answer_starts"], item)
        counts = answered | (share >= state["link_needs"][link])
        part = np.where(part == WITH_ANSWER, QUESTION, part) | ANSWER * answered
        row, item, share, part = row[counts], item[counts], share[counts], part[counts]
        if not len(row):
            return row, item, part, share
        order = np.lexsort((item, row))
        row, item, part, share = row[order], item[order], part[order], share[order]
        new = np.flatnonzero(np.r_[True, (row[1:] != row[:-1]) | (item[1:] != item[:-1])])
        return row[new], item[new], np.bitwise_or.reduceat(part, new), np.maximum.reduceat(share, new)


def _needed_without_answer(
    sizes: np.ndarray, item: np.ndarray, part: np.ndarray, passage: np.ndarray, index: Passages
) -> np.ndarray:
    """Share of each link's passage that must be found where the answer does not follow [links] float32.

    A question that is short, or asked by several items, is anybody's: alone it does not count, and of question and
    answer as one passage half of the answer's weight must be there.

    Args:
        sizes: words of context, question and answer [items, 3]. item, part, passage: of each link [links].
    """
    question, has_answer = sizes[:, 1], sizes[:, 2] > 0
    is_question = part == QUESTION
    is_common = question < _MIN_WORDS
    is_common[item[is_question & (np.bincount(passage)[passage] > _MAX_SAME)]] = True
    is_common = (is_common & has_answer)[item]
    weight = np.concatenate([[0], np.cumsum(index.weights, dtype=np.float64)])
    start = index.starts[passage]
    end = np.minimum(start + question[item], len(weight) - 1)
    of_question = (weight[end] - weight[start]) / np.maximum(index.totals[passage], 1e-9)
    needs = np.where(is_question, 2.0, np.where(part == WITH_ANSWER, (1 + of_question) / 2, 0.0))
    return np.where(is_common, needs, 0.0).astype(np.float32)


def _parts(batch: pa.RecordBatch) -> tuple[list[str], list[str], list[str]]:
    """Context, question and answer of each item, "" where there is none.

    The answer is `answer_text`, or else `answer`. An item without context and question is its `text`, less the answer
    where it ends with it. What is no text (numbers, lists) counts as not there.
    """
    columns = {
        name: batch.column(name).to_pylist() if name in batch.schema.names else [None] * len(batch)
        for name in Contamination.target_columns
    }
    texts = {name: [v if isinstance(v, str) else "" for v in values] for name, values in columns.items()}
    answers = [long or short for long, short in zip(texts["answer_text"], texts["answer"], strict=True)]
    contexts, questions = texts["context"], texts["question"]
    for k, text in enumerate(texts["text"]):
        if not contexts[k].strip() and not questions[k].strip():
            questions[k] = text
            if questions[k].strip().endswith(answers[k].strip()):
                answers[k] = ""
    return contexts, questions, answers


def _sorted(sketch: State) -> State:
    """Items by id, so that the state does not depend on how batches were cut."""
    order = np.argsort(sketch["ids"], kind="stable")
    sizes = sketch["sizes"].sum(axis=1)
    words = _taken(sketch["words"], _starts(sizes)[:-1][order], sizes[order])
    return {"ids": sketch["ids"][order], "sizes": sketch["sizes"][order], "words": words}


def _taken(words: np.ndarray, starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    taken = np.empty(sizes.sum(), words.dtype)
    take_runs(words, starts, sizes, taken)
    return taken


def _starts(sizes: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _part_name(bits: int) -> str | None:
    return "+".join(name for bit, name in _PARTS.items() if bits & bit) or None


def _set_of(item: str) -> str:
    return item.split(":", 1)[0]
