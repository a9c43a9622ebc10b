"""SemDeDup: how similar a document is in meaning to one that would be kept before it.

Paper: SemDeDup: Data-efficient learning at web-scale through semantic deduplication, Abbas et al. 2023
(arXiv:2303.09540), section 3 and algorithm A7. Documents are clustered; within a cluster they are put in order by their
similarity to the centre, those least like it first (or last); one whose cosine with any document before it is above
1 - eps is a duplicate.

What differs:
- The largest cosine is a column, and eps a condition: `where: semdedup.similarity <= 0.95`. As in the paper, what is
  compared with may itself be a duplicate of yet another one, so of a chain of small steps one end is kept.
- A cluster of more than `group_size` documents is cut by the hash of the id, and duplicates in different pieces are not
  found. More clusters help: the paper takes 50,000 for 440 million documents.
- Cosines are rounded by about 0.0002; texts that are the same have exactly 1, but for rounding (see `exact`).

Cost: documents * group size * dimensions, at most: 200,000 documents of 128 dimensions in 100 clusters take half a
minute on two cores. Memory: 64 MB a worker for vectors, as much for products. When not to use: for copies and near
copies, which `exact` and `minhash` find without a model's opinion.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from assay.errors import check, check_choice, check_integer
from assay.kernels.semdedup import highest_before
from assay.scorers.base import Column, Method
from assay.scorers.clusters import Clusters
from assay.scorers.collective import CLUSTERS, Collective, Group

_KEPT = ("far", "near")


@dataclass(frozen=True, kw_only=True)
class SemDeDup(Collective):
    """The similarity of each document with the most similar one that is preferred to it.

    clusters: only documents of one cluster are compared; its embedding is that of the method.
    keep: which of two is preferred: "far" = the one less similar to the centre, "near" = the more similar one.
    group_size: documents of a cluster that are compared with each other, at most.
    """

    name: ClassVar[str] = "semdedup"
    version: ClassVar[int] = 1
    nested: ClassVar[tuple[str, ...]] = (CLUSTERS,)

    clusters: Method = Clusters()  # noqa: RUF009  (it is frozen)
    keep: str = "far"
    group_size: int = 32_768

    def __post_init__(self) -> None:
        check(isinstance(self.clusters, Clusters), "clusters", self.clusters, "the scorer clusters")
        check_choice("keep", self.keep, _KEPT)
        check_integer("group_size", self.group_size, 2, 1 << 20)

    def columns(self, targets: tuple[str, ...] = ()) -> list[Column]:
        """`semdedup.similarity`."""
        what = "largest cosine with a document of its cluster that is preferred to it; 0 = there is none"
        return [Column("semdedup.similarity", pa.float64(), False, what)]

    def rate(self, group: Group) -> list[pa.Array]:
        similarity = group.values[CLUSTERS]
        preferred = np.lexsort((group.order, similarity if self.keep == "far" else -similarity))
        cosines = np.empty(len(preferred))
        cosines[preferred] = np.nan_to_num(highest_before(group.vectors[preferred])[0], nan=0.0)
        return [pa.array(cosines)]
