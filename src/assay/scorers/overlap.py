"""Overlap: runs of 13 words that a document shares with target or test text.

The contamination rule of GPT-3 (Brown et al. 2020, arXiv:2005.14165, appendix C): lower-case, punctuation dropped,
n-grams of 13 words; n-grams that stand in more than 10 documents of the pool are boilerplate (licences, forms,
reference lists) and do not count. A text of fewer than 13 words counts when a document consists of just these words.

What differs: documents are scored, not cut up; who must go is a decision on the columns.

Cost: two passes over the pool, about 150 MB/s and core each; 8 bytes for each word of target text. At most 32 targets.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from assay.errors import NotFittedError, check, check_integer
from assay.kernels.arrow import masked, utf8
from assay.kernels.hashtable import build, count_documents, count_members
from assay.kernels.unicode import tables
from assay.kernels.words import word_windows
from assay.scorers.base import Column, Scorer, State

_MAX_TARGETS = 32


@dataclass(frozen=True, kw_only=True)
class Overlap(Scorer):
    """Number and share of a document's runs of `words` words that also stand in a target.

    words: length of a run.
    max_documents: a run in more documents of the pool than this is boilerplate and does not count.
    """

    name: ClassVar[str] = "overlap"
    version: ClassVar[int] = 2
    needs_target: ClassVar[bool] = True
    reads_pool: ClassVar[bool] = True

    words: int = 13
    max_documents: int = 10

    def __post_init__(self) -> None:
        check_integer("words", self.words, 1, 1000)
        check_integer("max_documents", self.max_documents, 1)

    def columns(self, targets: tuple[str, ...]) -> list[Column]:
        """`overlap.ngrams` (the score), `overlap.share`, and `overlap.ngrams.<target>` when there are several."""
        check(len(targets) <= _MAX_TARGETS, "target", targets, f"at most {_MAX_TARGETS} targets")
        columns = [
            Column("overlap.ngrams", pa.int64(), False, f"runs of {self.words} words found in a target"),
            Column("overlap.share", pa.float64(), False, "share of the document's runs that were found"),
        ]
        if len(targets) > 1:
            columns += [Column(f"overlap.ngrams.{t}", pa.int64(), False, f"runs found in {t}") for t in targets]
        return columns

    def sketch_target(self, batch: pa.RecordBatch) -> State:
        """Distinct runs of the target documents, sorted [runs]."""
        return {"runs": np.unique(self._windows(batch)[0])}

    def prepare(self, targets: Mapping[str, State]) -> State:
        """All runs, their lookup table, and as bits in which targets each stands [runs]."""
        runs = np.unique(np.concatenate([state["runs"] for state in targets.values()]))
        bits = np.zeros(len(runs), np.uint32)
        for k, state in enumerate(targets.values()):
            bits[np.searchsorted(runs, state["runs"])] |= np.uint32(1 << k)
        return _with_table(runs, bits, len(targets))

    def sketch_pool(self, batch: pa.RecordBatch, prepared: State) -> State:
        """For each run, how many documents of the batch have it [runs]."""
        counts = np.zeros(len(prepared["runs"]), np.int64)
        count_documents(*self._windows(batch), prepared["runs"], prepared["slots"], counts)
        return {"documents": counts}

    def merge(self, a: State, b: State) -> State:
        """Runs are united, document counts added."""
        return {"runs": np.union1d(a["runs"], b["runs"])} if "runs" in a else super().merge(a, b)

    def finish(self, prepared: State, pool: State) -> State:
        """As prepared, without boilerplate."""
        rare = pool["documents"] <= self.max_documents
        return _with_table(prepared["runs"][rare], prepared["targets"][rare], int(prepared["num_targets"][0]))

    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        """Counts of found runs per row.

        Raises:
            NotFittedError: `state` is not what `finish` returned.
        """
        if "runs" not in state:
            raise NotFittedError("Overlap has not been fitted; `assay.score(corpus, Overlap(), target=...)` does both.")
        hashes, starts = self._windows(batch)
        num_targets = int(state["num_targets"][0])
        found = count_members(hashes, starts, state["runs"], state["slots"], state["targets"], num_targets)
        share = found[:, -1] / np.maximum(1, np.diff(starts))
        each = [found[:, k] for k in range(num_targets if num_targets > 1 else 0)]
        is_valid = utf8(batch.column("text")).is_valid
        return [masked(column, is_valid) for column in (found[:, -1], share, *each)]

    def _windows(self, batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
        text = utf8(batch.column("text"))
        return word_windows(text.data, text.offsets, self.words, tables())


def _with_table(runs: np.ndarray, bits: np.ndarray, num_targets: int) -> State:
    return {"runs": runs, "slots": build(runs), "targets": bits, "num_targets": np.array([num_targets])}
