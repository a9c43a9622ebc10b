"""Exact duplicates: documents whose text is the same, or the same but for case, punctuation and white space.

Texts are equal when 128-bit hashes of them are: among 10^12 different texts, two with one hash are less likely than
one in 10^14. An empty text is a text, equal to other empty ones. Normalised, a text without any word (an emoji) is
compared as it is.

Cost: two passes over the pool, about 800 MB/s and core each, 200 MB/s normalised. On disk 24 bytes a document while it
runs. In memory one partition, about 32 MB of records, or all copies of the most frequent text where those are more: 24
bytes each. When not to use: for copies with a changed word or date, see `minhash`.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from assay.errors import check
from assay.kernels.arrow import masked, utf8
from assay.kernels.grouping import equal_keys, least_in_group
from assay.kernels.passages import normalised_text_keys, text_keys
from assay.kernels.unicode import tables
from assay.scorers.base import Column
from assay.scorers.grouping import Matching, cluster_columns


@dataclass(frozen=True, kw_only=True)
class Exact(Matching):
    """Clusters of documents with the same text.

    normalise: compare in lower case, without punctuation, any white space as one space.
    """

    name: ClassVar[str] = "exact"
    version: ClassVar[int] = 1
    record_words: ClassVar[int] = 3  # two of the text's hash, then the document's order

    normalise: bool = False

    def __post_init__(self) -> None:
        check(isinstance(self.normalise, bool), "normalise", self.normalise, "true or false")

    def columns(self, targets: tuple[str, ...] = ()) -> list[Column]:
        """`exact.cluster_size` (the score), `exact.cluster`, `exact.representative`."""
        return cluster_columns(self.name, "those with the same text")

    def expected_records(self, num_documents: int, num_bytes: int) -> int:
        return num_documents

    def records(self, batch: pa.RecordBatch, order: np.ndarray) -> tuple[np.ndarray, Any]:
        text = utf8(batch.column("text"))
        if self.normalise:
            keys = normalised_text_keys(text.data, text.offsets, tables())
        else:
            keys = text_keys(text.data, text.offsets)
        return np.column_stack((keys, order))[text.is_valid], text.is_valid

    def match(self, records: np.ndarray) -> np.ndarray:
        """Size and number of the cluster, and 1 for its representative [records, 3] int64."""
        groups, num_groups = equal_keys(records, 2)
        order = records[:, 2]
        least = least_in_group(groups, num_groups, order)
        size = np.bincount(groups, minlength=num_groups)[groups]
        cluster = (order[least] >> np.uint64(1)).astype(np.int64)[groups]
        return np.column_stack((size, cluster, least[groups] == np.arange(len(records))))

    def score(self, batch: pa.RecordBatch, details: Any, verdicts: np.ndarray) -> list[pa.Array]:
        values = np.zeros((len(batch), 3), np.int64)
        values[details] = verdicts
        return [masked(column, details) for column in (values[:, 0], values[:, 1], values[:, 2].astype(np.bool_))]
