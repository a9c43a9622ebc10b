"""Facility location and graph cut: documents one by one, each the one that adds most to those taken before.

Papers: Wei, Iyer and Bilmes 2015, "Submodularity in data subset selection and active learning" (ICML); INGENIOUS,
Renduchintala et al. 2023 (arXiv:2305.06677), which takes facility location in random parts of the corpus, as here; with
`quality` it is QDIT (Bukharin and Zhao 2023, arXiv:2311.14736): (1 - alpha) * gain + alpha * quality.
`kernels.submodular` has the functions; gains are those of submodlib.

Columns: `rank`, so that the policy `top` takes what was chosen first in every group, and `gain`. Gains of facility
location are in documents: one that covers itself and nothing else adds 1.

What differs from the papers:
- INGENIOUS draws documents with weights 1 + g + g^2 / 2 of their gains g; `sample` by
  `ln(1 + g + g * g / 2)` with g = `facility_location.gain` does that.
- QDIT takes a quality of any scale, and so must be told how much of it is a document. Here a document's quality is the
  share of its group that is not better, 0 to 1.
- Cosines below 0 count as 0.

Cost: 4,096 documents of 128 dimensions, all of them ranked, 0.5 s; memory 4 bytes a pair of a group. Stochastic greedy
(`epsilon` above 0) is for large groups of which few are taken: documents * group size * ln(1 / epsilon) products. When
not to use: where the pool is to keep its proportions; greedy choice takes what is rare as soon as what is frequent.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from assay.errors import check, check_integer, check_number
from assay.kernels.submodular import MAX_LAZY, facility_location, graph_cut
from assay.models.embedding import Embedding
from assay.scorers.base import Column, Method
from assay.scorers.collective import Collective, Group, as_chosen, chosen_columns, num_of_share
from assay.scorers.vectors import set_embedding

_MAX_LAZY_GROUP = MAX_LAZY * 9 // 10  # a hash does not cut groups of exactly the same size
_MAX_GROUP = 1 << 20


@dataclass(frozen=True, kw_only=True)
class FacilityLocation(Collective):
    """In which order documents are taken so that all others always have one near them.

    share: of each group, how much is taken at most; the rest has no rank.
    group_size: about how many documents are in a group, at most.
    epsilon: 0 = the exact greedy choice; above, stochastic greedy, which falls short of it by that share at most, on
        average. seed: of stochastic greedy.
    quality: a scorer whose score counts as well, or None. alpha: how much it counts, 0 to below 1.
    """

    name: ClassVar[str] = "facility_location"
    version: ClassVar[int] = 2
    nested: ClassVar[tuple[str, ...]] = ("quality",)

    share: float = 1.0
    group_size: int = 4096
    epsilon: float = 0.0
    seed: int = 0
    quality: Method | None = None
    alpha: float = 0.5
    embedding: Embedding = Embedding()  # noqa: RUF009  (it is frozen)

    def __post_init__(self) -> None:
        check_number("share", self.share, "a share above 0, at most 1", lambda s: 0 < s <= 1)
        check_number("epsilon", self.epsilon, "a share from 0 to below 1", lambda e: 0 <= e < 1)
        check_integer("group_size", self.group_size, 2, _MAX_GROUP if self.epsilon else _MAX_LAZY_GROUP)
        check_integer("seed", self.seed, 0)
        check(self.quality is None or isinstance(self.quality, Method), "quality", self.quality, "a scorer")
        check_number("alpha", self.alpha, "a share from 0 to below 1", lambda a: 0 <= a < 1)
        set_embedding(self)

    def columns(self, targets: tuple[str, ...] = ()) -> list[Column]:
        """`facility_location.rank` (the score) and `facility_location.gain`."""
        return chosen_columns(self.name, "gain", "documents that it covered more when it was taken")

    def rate(self, group: Group) -> list[pa.Array]:
        num = num_of_share(self.share, len(group.order))
        worth = np.zeros(len(group.order))
        if self.quality is not None:
            worth = self.alpha / (1 - self.alpha) * share_not_better(group.values["quality"])
        seed = self.seed ^ int(group.order[0])  # groups draw independently of each other
        order, gained = facility_location(group.vectors, num, worth, self.epsilon, seed)
        return as_chosen(order, gained - worth[order], len(group.order))


@dataclass(frozen=True, kw_only=True)
class GraphCut(Collective):
    """In which order documents are taken so that they are like all others, and unlike each other.

    penalty: how much likeness among those taken counts against them, 0 to 0.5.
    share, group_size: as for `FacilityLocation`.
    """

    name: ClassVar[str] = "graph_cut"
    version: ClassVar[int] = 2

    penalty: float = 0.5
    share: float = 1.0
    group_size: int = 4096
    embedding: Embedding = Embedding()  # noqa: RUF009  (it is frozen)

    def __post_init__(self) -> None:
        check_number("penalty", self.penalty, "a number from 0 to 0.5", lambda p: 0 <= p <= 0.5)
        check_number("share", self.share, "a share above 0, at most 1", lambda s: 0 < s <= 1)
        check_integer("group_size", self.group_size, 2, _MAX_LAZY_GROUP)
        set_embedding(self)

    def columns(self, targets: tuple[str, ...] = ()) -> list[Column]:
        """`graph_cut.rank` (the score) and `graph_cut.gain`."""
        return chosen_columns(self.name, "gain", "what it added to the function when it was taken")

    def rate(self, group: Group) -> list[pa.Array]:
        num = num_of_share(self.share, len(group.order))
        return as_chosen(*graph_cut(group.vectors, num, self.penalty), len(group.order))


def share_not_better(values: np.ndarray) -> np.ndarray:
    """Which share of values is at most as high as each [values] float64; 0 where there is none (NaN).

    >>> share_not_better(np.array([3.0, 1.0, np.nan, 3.0])).tolist()
    [1.0, 0.5, 0.0, 1.0]
    """
    ordered = np.sort(np.where(np.isnan(values), -np.inf, values))
    return np.where(np.isnan(values), 0, np.searchsorted(ordered, values, side="right") / max(1, len(values)))
