"""Concepts: which of a list of phrases a document has, and how likely it is kept when each phrase keeps so many.

Paper: Demystifying CLIP Data (MetaCLIP), Xu et al. 2023 (arXiv:2309.16671), section 3: texts are matched with a list of
half a million phrases; of a phrase with more than t = 20,000 texts each text is kept with chance t / count, of any
other all are; a text that several phrases have is kept if one of them keeps it. So a document's chance is 1 minus the
product over its phrases of 1 - min(1, t / count), and 0 without a phrase.

Draw by it with `score: {concepts: {...}, by: ln(concepts.chance)}` and `select: sample`: the budget decides how many,
the chances in which proportion. `where: concepts.matches > 0` leaves out what no phrase is found in.

What differs:
- A phrase is found as a run of words in lower case, not as a substring, so that "art" is not found in "party".
- Counts are of documents of the pool that have the phrase. Long documents have many phrases, and are mostly kept;
  MetaCLIP's texts are captions. On web pages the cap of a cluster (policy `cap`) balances more.
- Phrases that have no words are passed over, those of more than 5 words refused.

Cost: two passes over the pool, about 20 MB/s and core for each length of phrase in the list. Memory: 32 bytes a
phrase. When not to use: without a list of what matters; see `clusters`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from assay.errors import InvalidParameterError, NotFittedError, check, check_integer
from assay.kernels.arrow import Utf8, masked, utf8
from assay.kernels.concepts import add_members
from assay.kernels.hashtable import build, count_documents
from assay.kernels.unicode import tables
from assay.kernels.words import word_windows
from assay.scorers.base import Column, Scorer, State

_MAX_WORDS = 5
_SURE = -745.0  # instead of ln(0): the chance is 1 to the last bit of a float64


@dataclass(frozen=True, kw_only=True)
class Concepts(Scorer):
    """Phrases of a list that each document has, and its chance when no phrase may keep more than `limit` documents.

    concepts: documents that are the phrases, one each; a path or {read: path, text: column}.
    limit: MetaCLIP's t.
    """

    name: ClassVar[str] = "concepts"
    version: ClassVar[int] = 1
    reads_pool: ClassVar[bool] = True
    documents: ClassVar[tuple[str, ...]] = ("concepts",)

    concepts: Any = None
    limit: int = 20_000

    def __post_init__(self) -> None:
        check(self.concepts is not None, "concepts", None, "documents, a phrase each", "Write {read: phrases.jsonl}.")
        check_integer("limit", self.limit, 1)

    def columns(self, targets: tuple[str, ...]) -> list[Column]:
        """`concepts.chance` (the score) and `concepts.matches`."""
        return [
            Column("concepts.chance", pa.float64(), None, "chance to be kept when no phrase keeps more than the limit"),
            Column("concepts.matches", pa.int64(), None, "how many different phrases it has"),
        ]

    def sketch_documents(self, name: str, batch: pa.RecordBatch) -> State:
        """Hashes of the phrases, by their number of words.

        Raises:
            InvalidParameterError: a phrase has too many words.
        """
        text = utf8(batch.column("text"))
        num_words = np.diff(word_windows(text.data, text.offsets, 1, tables())[1])
        if num_words.max(initial=0) > _MAX_WORDS:
            row = int(num_words.argmax())
            raise InvalidParameterError(
                f"Phrase {batch.column('text')[row].as_py()!r} of `concepts` has {num_words[row]} words; at most "
                f"{_MAX_WORDS} are possible. Shorten it or leave it out."
            )
        state = {}
        for length in range(1, _MAX_WORDS + 1):
            hashes, starts = word_windows(text.data, text.offsets, length, tables())
            state[f"phrases.{length}"] = hashes[starts[:-1][num_words == length]]
        return state

    def merge(self, a: State, b: State) -> State:
        is_phrases = any(key.startswith("phrases.") for key in a)
        return {key: np.concatenate((a[key], b[key])) if is_phrases else a[key] + b[key] for key in a}

    def prepare(self, targets: Mapping[str, State]) -> State:
        """The different phrases of each number of words, sorted.

        Raises:
            InvalidParameterError: there are none.
        """
        found = {key: np.unique(hashes) for key, hashes in targets["concepts"].items()}
        if not sum(map(len, found.values())):
            raise InvalidParameterError("`concepts` has no phrase with a word in it.")
        return found

    def sketch_pool(self, batch: pa.RecordBatch, prepared: State) -> State:
        """How many documents have each phrase."""
        counts = {}
        for length, keys, hashes, starts in _windows(utf8(batch.column("text")), prepared):
            counts[f"counts.{length}"] = np.zeros(len(keys), np.int64)
            count_documents(hashes, starts, keys, build(keys), counts[f"counts.{length}"])
        return counts

    def finish(self, prepared: State, pool: State) -> State:
        """Phrases by number of words, and for each ln(1 - min(1, limit / count))."""
        state = dict(prepared)
        for key, counts in pool.items():
            shares = self.limit / np.maximum(counts, 1)
            kept = np.full(len(counts), _SURE)
            np.log1p(-shares, where=shares < 1, out=kept)
            state[key.replace("counts", "dropped")] = kept
        return state

    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        """Chance and number of phrases per row.

        Raises:
            NotFittedError: `state` is not what `finish` returned.
        """
        if not any(key.startswith("dropped.") for key in state):
            raise NotFittedError("Concepts has not been fitted; `assay.score(corpus, Concepts(...))` fits and scores.")
        text = utf8(batch.column("text"))
        dropped, numbers = np.zeros(len(batch)), np.zeros(len(batch), np.int64)
        for length, keys, hashes, starts in _windows(text, state):
            weights, last_rows = state[f"dropped.{length}"], np.full(len(keys), -1, np.int64)
            add_members(hashes, starts, keys, build(keys), weights, last_rows, dropped, numbers)
        return [masked(-np.expm1(dropped), text.is_valid), masked(numbers, text.is_valid)]


def _windows(text: Utf8, state: State) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """Each number of words that some phrase has, the hashes of these, and the documents' runs of as many words."""
    for length in range(1, _MAX_WORDS + 1):
        keys = state[f"phrases.{length}"]
        if len(keys):
            yield length, keys, *word_windows(text.data, text.offsets, length, tables())
