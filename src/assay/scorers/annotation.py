"""Vote-k and IDEAL: which documents to annotate first, by a graph of nearest neighbours.

Papers: Selective Annotation Makes Language Models Better Few-Shot Learners, Su et al. 2022 (arXiv:2209.01975), section
2.1, the fast variant, which asks no model; IDEAL: Influence-Driven Selective Annotations Empower In-Context Learners,
Zhang et al. 2023 (arXiv:2310.10873), section 3. Definitions: `kernels.annotation`.

What differs:
- The authors of IDEAL draw cascades anew for each candidate, count a document that two others reach in one round twice,
  and start from the largest out-degree, though all are 10. Here the same `num_graphs` live-edge graphs serve all.
- Each group is chosen from by itself. For fewer documents than there are groups take a `group_size` that holds all.
- A document has as many neighbours as there are others in its group where these are fewer.

Cost: group size times documents * dimensions for neighbours; for a group of 16,384 documents, all of them ranked, 6 s
(`vote_k`) and 2 s (`ideal`) of a core. Memory: 8 bytes a neighbour. When not to use: to choose training data by the
million; both are made for tens or hundreds of documents.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from assay.errors import check_integer, check_number
from assay.kernels.annotation import ideal, vote_k
from assay.kernels.vectors import neighbours
from assay.models.embedding import Embedding
from assay.scorers.base import Column
from assay.scorers.collective import Collective, Group, as_chosen, chosen_columns, num_of_share
from assay.scorers.vectors import set_embedding

_MAX_GROUP = 1 << 20


@dataclass(frozen=True, kw_only=True)
class VoteK(Collective):
    """In which order documents are taken that most others have among their neighbours.

    num_neighbours: whom each document votes for. discount: by which its vote is divided for each that is chosen.
    share: of each group, how much is taken at most. group_size: about how many documents are in a group, at most.
    """

    name: ClassVar[str] = "vote_k"
    version: ClassVar[int] = 1

    num_neighbours: int = 150
    discount: float = 10.0
    share: float = 1.0
    group_size: int = 16_384
    embedding: Embedding = Embedding()  # noqa: RUF009  (it is frozen)

    def __post_init__(self) -> None:
        check_integer("num_neighbours", self.num_neighbours, 1, 10_000)
        check_number("discount", self.discount, "a number of at least 1", lambda d: d >= 1)
        check_number("share", self.share, "a share above 0, at most 1", lambda s: 0 < s <= 1)
        check_integer("group_size", self.group_size, 2, _MAX_GROUP)
        set_embedding(self)

    def columns(self, targets: tuple[str, ...] = ()) -> list[Column]:
        """`vote_k.rank` (the score) and `vote_k.votes`."""
        return chosen_columns(self.name, "votes", "votes that it had when it was taken, discounted")

    def rate(self, group: Group) -> list[pa.Array]:
        size = len(group.order)
        nearest, _ = neighbours(group.vectors, min(self.num_neighbours, size - 1))
        return as_chosen(*vote_k(nearest, num_of_share(self.share, size), self.discount), size)


@dataclass(frozen=True, kw_only=True)
class Ideal(Collective):
    """In which order documents are taken whose influence reaches most others that none of those before them reaches.

    num_neighbours: where the edges of each document lead; their chances are its cosines, scaled to sum to 1.
    num_graphs: how many times edges are drawn. seed: of these. share, group_size: as for `VoteK`.
    """

    name: ClassVar[str] = "ideal"
    version: ClassVar[int] = 1

    num_neighbours: int = 10
    num_graphs: int = 10
    seed: int = 0
    share: float = 1.0
    group_size: int = 16_384
    embedding: Embedding = Embedding()  # noqa: RUF009  (it is frozen)

    def __post_init__(self) -> None:
        check_integer("num_neighbours", self.num_neighbours, 1, 10_000)
        check_integer("num_graphs", self.num_graphs, 1, 10_000)
        check_integer("seed", self.seed, 0, 1 << 40)
        check_number("share", self.share, "a share above 0, at most 1", lambda s: 0 < s <= 1)
        check_integer("group_size", self.group_size, 2, _MAX_GROUP)
        set_embedding(self)

    def columns(self, targets: tuple[str, ...] = ()) -> list[Column]:
        """`ideal.rank` (the score) and `ideal.reach`."""
        return chosen_columns(self.name, "reach", "documents that it reached when it was taken, beyond those reached")

    def rate(self, group: Group) -> list[pa.Array]:
        size = len(group.order)
        nearest, similar = neighbours(group.vectors, min(self.num_neighbours, size - 1))
        chances = np.maximum(similar, 0).astype(np.float64)
        sums = chances.sum(axis=1, keepdims=True)
        np.divide(chances, sums, out=chances, where=sums > 0)
        num = num_of_share(self.share, size)
        return as_chosen(*ideal(nearest, chances, group.order, num, self.num_graphs, self.seed), size)
