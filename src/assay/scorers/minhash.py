"""MinHash: clusters of near duplicates, found by locality-sensitive hashing and checked by true Jaccard similarity.

Papers: Broder 1997, "On the resemblance and containment of documents"; bands and rows as in Leskovec, Rajaraman and
Ullman, "Mining of massive datasets", section 3.4; sizes as in FineWeb (Penedo et al. 2024, arXiv:2406.17557, appendix
E.1: word 5-grams, 14 bands of 8 rows).

A document is the set of its runs of `ngrams` words, in lower case and without punctuation, each as a 32-bit hash; one
of fewer words is the one run of all it has, one without words stands alone. Two documents of Jaccard similarity J share
a band with probability 1 - (1 - J^rows)^bands. Those that do are compared by the whole sets, and pairs of at least
`threshold` make the cluster together with whatever they are paired with in turn. (Two different runs share a hash once
in 4 * 10^9: that lifts J by less than one part in a thousand for texts below a million words.)

In a bucket of more than 256 documents each is compared with 256 leaders at most, so that a million copies of a page
cost a million comparisons; a document there that is alike to none of the leaders is not found by this band.

What differs from FineWeb's code: candidates are checked (`threshold=0` with `bands` and `rows` does without), and 32
bits of hash instead of 64.

Cost: about 150 MB/s and core to sketch. Documents that bands connect, directly or by way of others, are brought
together before they are compared, and two that are in one cluster already are not; so each is read once, and compared
about as often as it has different candidates. On disk while it runs: 32 bytes a band and document, and 8 bytes a
word. In memory, for each worker: a partition of 32 MB of keys or 64 MB of documents, or the most frequent band (16
bytes a document), or the largest set of documents that bands connect (4 bytes a word, 8 a band). When not to use: for
languages written without spaces, whose "words" here are whole clauses; for texts that share passages, see
`substrings`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import pyarrow as pa

from assay.errors import InvalidParameterError, check, check_integer, check_number
from assay.kernels.arrow import utf8
from assay.kernels.grouping import by_partition, equal_keys
from assay.kernels.hashing import GOLDEN, mix64_array
from assay.kernels.minhash import band_keys, distinct_shingles, link, signatures
from assay.kernels.unicode import tables
from assay.kernels.words import word_windows
from assay.scorers.base import Column
from assay.scorers.grouping import Linking, cluster_columns

MAX_LEADERS = 256
_MIN_RECALL = 0.9
_MAX_HASHES = 4096
_SLICE_BYTES = 1 << 18


@dataclass(frozen=True, kw_only=True)
class MinHash(Linking):
    """Clusters of documents that are alike.

    ngrams: words of a shingle.
    threshold: least Jaccard similarity of two documents that are taken for near duplicates.
    num_hashes: permutations to use. Of the bands that fit, the longest are taken that still let a pair at the threshold
        be found with a probability of 0.9: 14 bands of 8 rows for 0.8 and 112.
    bands, rows: set these instead, both.
    """

    name: ClassVar[str] = "minhash"
    version: ClassVar[int] = 2
    record_words: ClassVar[int] = 2  # the hash of a band, and where the document stands

    ngrams: int = 5
    threshold: float = 0.8
    num_hashes: int = 112
    bands: int | None = None
    rows: int | None = None

    def __post_init__(self) -> None:
        check_integer("ngrams", self.ngrams, 1, 1000)
        check_integer("num_hashes", self.num_hashes, 1, _MAX_HASHES)
        check((self.bands is None) == (self.rows is None), "rows", self.rows, "given together with `bands`")
        if self.bands is None:
            check_number("threshold", self.threshold, "a similarity above 0, at most 1", lambda t: 0 < t <= 1)
        else:
            check_number("threshold", self.threshold, "a similarity from 0 to 1", lambda t: 0 <= t <= 1)
            check_integer("bands", self.bands, 1, _MAX_HASHES)
            check_integer("rows", self.rows, 1, _MAX_HASHES // self.bands)
        self.shape()

    def shape(self) -> tuple[int, int]:
        """(bands, rows).

        Raises:
            InvalidParameterError: too few hashes for so low a threshold.

        >>> MinHash(threshold=0.8, num_hashes=128).shape()
        (16, 8)
        """
        if self.bands is not None and self.rows is not None:
            return self.bands, self.rows
        for rows in range(self.num_hashes, 0, -1):
            bands = self.num_hashes // rows
            if found_with_probability(self.threshold, bands, rows) >= _MIN_RECALL:
                return bands, rows
        raise InvalidParameterError(
            f"`num_hashes` (={self.num_hashes}) must be larger for a `threshold` of {self.threshold}: even in bands "
            f"of one row, pairs at the threshold would be found with a probability below {_MIN_RECALL}."
        )

    def columns(self, targets: tuple[str, ...] = ()) -> list[Column]:
        """`minhash.cluster_size` (the score), `minhash.cluster`, `minhash.representative`."""
        return cluster_columns(self.name, "near duplicates of each other or of others in it")

    def expected_records(self, num_documents: int, num_bytes: int) -> int:
        return num_documents * self.shape()[0]

    @property
    def num_keys(self) -> int:
        return self.shape()[0]

    def sketch(self, batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        text = utf8(batch.column("text"))
        bands, rows = self.shape()
        keys, features, starts = [np.empty((0, bands), np.uint64)], [np.empty(0, np.uint32)], [np.zeros(1, np.int64)]
        for first, end in _slices(text.offsets):
            hashes, ends = word_windows(text.data, text.offsets[first : end + 1], self.ngrams, tables())
            shingles, ends = distinct_shingles(hashes, ends)
            keys.append(band_keys(signatures(shingles, ends, *_permutations(bands * rows)), bands, rows))
            features.append(shingles)
            starts.append(ends[1:] + starts[-1][-1])
        return np.concatenate(keys), np.concatenate(features), np.concatenate(starts)

    def link(self, keys: np.ndarray, order: np.ndarray, features: np.ndarray, starts: np.ndarray) -> np.ndarray:
        ranked = np.argsort(order, kind="stable")
        groups, num_groups = equal_keys(keys[ranked].reshape(-1, 1), 1)
        by_bucket, bucket_starts = by_partition(groups, num_groups)
        members = np.repeat(ranked, keys.shape[1])[by_bucket]
        return link(members, bucket_starts, features, starts, float(self.threshold), MAX_LEADERS)


def found_with_probability(similarity: float, bands: int, rows: int) -> float:
    """1 - (1 - J^rows)^bands: how likely documents of Jaccard similarity J share a band.

    >>> round(found_with_probability(0.8, 14, 8), 3)
    0.924
    """
    return 1 - (1 - similarity**rows) ** bands


def _slices(offsets: np.ndarray) -> Iterator[tuple[int, int]]:
    """First and end of runs of documents of about 256 kB, whose hashes stay in the processor's cache."""
    first, num = 0, len(offsets) - 1
    while first < num:
        end = max(first + 1, int(np.searchsorted(offsets, offsets[first] + _SLICE_BYTES)))
        yield first, min(end, num)
        first = end


@cache
def _permutations(num: int) -> tuple[np.ndarray, np.ndarray]:
    """A (odd) and b of each permutation [num] uint32; the first ones are the same whatever `num`."""
    mixed = mix64_array(np.arange(1, num + 1, dtype=np.uint64) * GOLDEN)
    return (mixed >> np.uint64(32)).astype(np.uint32) | np.uint32(1), mixed.astype(np.uint32)
