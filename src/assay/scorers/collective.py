"""What a collective method is: one whose numbers need many documents side by side, by their vectors.

Documents go to *groups*: pieces of about `group_size` by the hash of the id and, where the method has `clusters`, by
cluster before that. A group is rated as a whole, so what is chosen, or found alike, is so within a group. In memory:
a group, and what the method makes of it. Nothing depends on the order of documents, on files or machines: those of a
group come in the order of the hash of their ids.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from assay.scorers.base import Column, Method

CLUSTERS = "clusters"  # the nested scorer whose column `clusters.cluster` keeps groups apart


class Group(NamedTuple):
    """Documents that are rated together, in the order of the hash of their ids.

    vectors: of unit length, snapped (`kernels.vectors`), none of them zeros [documents, dimensions] float32.
    order: hash of each id [documents] uint64.
    values: by the name of each nested scorer, its score [documents] float64, higher is better; NaN = none.
    """

    vectors: np.ndarray
    order: np.ndarray
    values: Mapping[str, np.ndarray]


class Collective(Method):
    """A method that rates documents in groups; it goes by the vectors of `embedding`, its own or a nested scorer's.

    Its nested scorers give each document a value; that called `clusters` keeps groups apart as well.

    group_size: about how many documents are in a group, at most.
    """

    nested: ClassVar[tuple[str, ...]] = ()
    group_size: int

    @property
    def needs_target(self) -> bool:  # type: ignore[override]
        return any(inner.needs_target for inner in self.inner().values())

    @abstractmethod
    def rate(self, group: Group) -> list[pa.Array]:
        """One array per column, of int64, float64 or bool, one value per document of the group."""


def chosen_columns(name: str, gain: str, meaning: str) -> list[Column]:
    """The two columns of a method that takes documents one by one."""
    rank = "how many of its group were taken before it; null = not taken"
    return [Column(f"{name}.rank", pa.int64(), False, rank), Column(f"{name}.{gain}", pa.float64(), True, meaning)]


def as_chosen(order: np.ndarray, gains: np.ndarray, num_documents: int) -> list[pa.Array]:
    """The values of those columns, from positions in the order in which they were taken, and gains."""
    ranks, gained = np.full(num_documents, -1), np.full(num_documents, np.nan)
    ranks[order], gained[order] = np.arange(len(order)), gains
    return [pa.array(ranks, mask=ranks < 0), pa.array(gained, mask=ranks < 0)]


def num_of_share(share: float, num_documents: int) -> int:
    """How many documents a share of some is, rounded up."""
    return min(num_documents, max(1, int(np.ceil(share * num_documents - 1e-9))))
