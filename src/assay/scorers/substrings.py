"""Repeated passages: how much of a document lies in runs of 50 words or more that also stand elsewhere.

The measure of Lee et al. 2022 ("Deduplicating training data makes language models better", arXiv:2107.06499, section
4.1), which finds repeated runs of 50 tokens with a suffix array. Every repeated run of 50 or more consists of repeated
runs of exactly 50, and each of those is repeated itself; so what repeated windows of 50 words cover is what maximal
repeated runs cover, and windows are found by hashing, out of core. Windows are equal when 128-bit hashes of them are.

What differs: words instead of tokens, in lower case and without punctuation between them (as `overlap`); elsewhere
includes another place of the same document; documents are scored, not cut up.

Cost: two passes over the pool, about 200 MB/s and core each, and on disk 16 bytes a word while it runs, about three
times the text. In memory one partition, about 32 MB of records, or all places of the most frequent window where those
are more: 16 bytes each.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from assay.errors import check_integer
from assay.kernels.arrow import masked, utf8
from assay.kernels.grouping import equal_keys
from assay.kernels.passages import covered_characters, window_keys
from assay.kernels.unicode import tables
from assay.scorers.base import Column
from assay.scorers.grouping import Matching

_BYTES_PER_WORD = 6


@dataclass(frozen=True, kw_only=True)
class Substrings(Matching):
    """Characters of a document, and their share, in runs of words that stand at two places of the corpus or more.

    words: the shortest run that counts.
    """

    name: ClassVar[str] = "substrings"
    version: ClassVar[int] = 2
    record_words: ClassVar[int] = 2  # the hash of a window

    words: int = 50

    def __post_init__(self) -> None:
        check_integer("words", self.words, 2, 10_000)

    def columns(self, targets: tuple[str, ...] = ()) -> list[Column]:
        """`substrings.share` (the score) and `substrings.characters`; 0 for documents of fewer words."""
        return [
            Column("substrings.share", pa.float64(), False, f"share in repeated runs of {self.words}+ words"),
            Column("substrings.characters", pa.int64(), False, "characters in them, from first to last word"),
        ]

    def expected_records(self, num_documents: int, num_bytes: int) -> int:
        return num_bytes // _BYTES_PER_WORD

    def records(self, batch: pa.RecordBatch, order: np.ndarray) -> tuple[np.ndarray, Any]:
        text = utf8(batch.column("text"))
        return window_keys(text.data, text.offsets, self.words, tables())

    def match(self, records: np.ndarray) -> np.ndarray:
        """Whether the window stands at another place too [records] bool."""
        groups, num_groups = equal_keys(records, 2)
        return (np.bincount(groups, minlength=num_groups) > 1)[groups]

    def score(self, batch: pa.RecordBatch, details: Any, verdicts: np.ndarray) -> list[pa.Array]:
        text = utf8(batch.column("text"))
        counts = covered_characters(text.data, text.offsets, self.words, details, verdicts, tables())
        share = counts[:, 0] / np.maximum(1, counts[:, 1])
        return [masked(column, text.is_valid) for column in (share, counts[:, 0])]
