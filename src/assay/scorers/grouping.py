"""What a grouping is: a method whose numbers depend on which documents, lines or runs of words are equal or alike.

It never sees the whole corpus. A map over parts writes *records*, some 64-bit words each, the first of them a
well-mixed hash; records go to partitions by that hash, so that equal keys meet in one; a map over partitions finds what
is equal. From there two ways lead to numbers:

- `Matching`: every record gets a *verdict*, which goes back to the part and place it came from;
- `Linking`: documents that share a key meet, are compared, and what the pairs connect is a cluster.

Nothing depends on the order of documents: where one of several must be taken, it is that of the least *order*, a hash
of the document's id.
"""

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from assay.scorers.base import Column, Method


class Grouping(Method):
    """Common to both kinds.

    record_words: 64-bit words of a record.
    """

    record_words: ClassVar[int]

    @abstractmethod
    def expected_records(self, num_documents: int, num_bytes: int) -> int:
        """About how many records so many documents of so much text give; decides the number of partitions."""


class Matching(Grouping):
    """A grouping that needs to know of each record only which others have its key."""

    @abstractmethod
    def records(self, batch: pa.RecordBatch, order: np.ndarray) -> tuple[np.ndarray, Any]:
        """Records of a batch of documents, in document order, and whatever else `score` wants to know of them.

        Args:
            order: of each document [documents] uint64.

        Returns:
            uint64 [records, record_words], and anything.
        """

    @abstractmethod
    def match(self, records: np.ndarray) -> np.ndarray:
        """One verdict for each record of a partition [records, ...]; other partitions have none of its keys."""

    @abstractmethod
    def score(self, batch: pa.RecordBatch, details: Any, verdicts: np.ndarray) -> list[pa.Array]:
        """One array per column, one value per row, null where the text is null.

        Args:
            details: what `records` returned beside the records. verdicts: of these records, in their order.
        """


class Linking(Grouping):
    """A grouping that compares documents in pairs and takes what the pairs connect for one cluster.

    Documents that share a key are *candidates*; what candidates connect is brought together, and compared there.
    """

    @property
    @abstractmethod
    def num_keys(self) -> int:
        """How many keys `sketch` gives each document."""

    @abstractmethod
    def sketch(self, batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Keys of a batch of documents, and what is compared.

        Returns:
            keys uint64 [documents, num_keys]; features uint32 of all documents, one after the other; where each
            document's start [documents + 1] int64. A document without features has nothing to compare.
        """

    @abstractmethod
    def link(self, keys: np.ndarray, order: np.ndarray, features: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Which documents belong together: a number for each that those of one cluster share [documents] int64.

        Args:
            order: of each document [documents] uint64. keys, features, starts: as `sketch` gives them. With a document
                come all that share a key with it.
        """


def cluster_columns(name: str, what: str) -> list[Column]:
    """The three columns of a method that puts each document into one cluster."""
    return [
        Column(f"{name}.cluster_size", pa.int64(), None, f"documents of the cluster: {what}; 1 = alone"),
        Column(f"{name}.cluster", pa.int64(), None, "number of the cluster, from the id of its representative"),
        Column(f"{name}.representative", pa.bool_(), None, "whether it stands for its cluster: one document does"),
    ]
