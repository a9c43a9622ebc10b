"""Quad: documents of high influence from many kinds of text, by a bandit over clusters.

Paper: Harnessing Diversity for Important Data Selection in Pretraining Large Language Models, Zhang et al. 2024
(arXiv:2409.16986). Clusters are a bandit's arms: one is drawn from where its mean influence so far, plus a bonus that
shrinks as it is drawn from more often, is the largest (`kernels.bandit`); what is drawn and has an influence above a
threshold is kept, until there is enough. So the best clusters give much, and others are tried.

Columns: `rank`, so that the policy `top` takes what was kept first in every group, and `influence`.

What differs:
- In the paper the bandit saves gradients, which are computed for drawn documents alone. Here the influence of every
  document is there beforehand (`of`): `influence` learns it from a sample, so that there is little to save, and
  `gradient` with `damping` is the paper's own measure, of which the store of gradients keeps the costly part. What the
  bandit adds is the choice.
- The paper leaves the threshold open, and throws away what is below. Influences are taken in standard deviations from
  the mean of the group here, so 0 is the mean; what was drawn and is not above comes after all that is, by influence.
- Clusters are made in each group of about `group_size` documents by spherical k-means; the paper has 10,000 of them in
  all, here the groups have theirs.

Cost: clusters of 4,096 documents of 128 dimensions 0.5 s, the bandit 10 ms; and that of `of`. Memory: a group. When not
to use: where the influence is mostly noise (the `spearman` of `influence`): a bandit then follows noise.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from assay.errors import check, check_integer, check_number
from assay.kernels.bandit import draw_by_bound
from assay.kernels.kmeans import spherical_kmeans
from assay.kernels.vectors import most_similar
from assay.models.embedding import Embedding
from assay.models.gradients import Gradients
from assay.scorers.base import Column, Method
from assay.scorers.collective import Collective, Group, as_chosen, chosen_columns, num_of_share
from assay.scorers.influence import Influence
from assay.scorers.vectors import set_embedding

_MAX_GROUP = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Quad(Collective):
    """In which order a bandit over clusters keeps documents.

    of: the scorer that tells influence: `influence`, `gradient`, or any whose first column has a better end.
    num_clusters: in each group; at most half as many as it has documents.
    exploration: how much the bonus of clusters that were seldom drawn from counts.
    draws: documents drawn of a cluster at a time.
    threshold: what is not above comes last; in standard deviations above the mean of the group.
    share: of each group, how much is taken at most; the rest has no rank.
    group_size: about how many documents are in a group, at most.
    seed: of the clusters. embedding: what clusters are made by.
    """

    name: ClassVar[str] = "quad"
    version: ClassVar[int] = 1
    nested: ClassVar[tuple[str, ...]] = ("of",)

    of: Method = Influence()  # noqa: RUF009  (it is frozen)
    num_clusters: int = 50
    exploration: float = 1.0
    draws: int = 4
    threshold: float = 0.0
    share: float = 1.0
    group_size: int = 4096
    seed: int = 0
    embedding: Embedding | Gradients = Embedding()  # noqa: RUF009  (it is frozen)

    def __post_init__(self) -> None:
        check(isinstance(self.of, Method), "of", self.of, "a scorer", "Write {quad: {of: {influence: {}}}}.")
        is_ranked = isinstance(self.of, Method) and self.of.columns(("target",))[0].higher_is_better is not None
        check(is_ranked, "of", self.of.name, "a scorer of which one end is better")
        check_integer("num_clusters", self.num_clusters, 1, 10_000)
        check_number("exploration", self.exploration, "a number ≥ 0", lambda x: x >= 0)
        check_integer("draws", self.draws, 1, 10_000)
        check_number("threshold", self.threshold, "a number ≥ 0", lambda x: x >= 0)
        check_number("share", self.share, "a share above 0, at most 1", lambda s: 0 < s <= 1)
        check_integer("group_size", self.group_size, 2, _MAX_GROUP)
        check_integer("seed", self.seed, 0)
        set_embedding(self)

    def columns(self, targets: tuple[str, ...] = ()) -> list[Column]:
        """`quad.rank` (the score) and `quad.influence`."""
        return chosen_columns(self.name, "influence", "in standard deviations above the mean of its group")

    def rate(self, group: Group) -> list[pa.Array]:
        number = len(group.order)
        influence = _standardised(group.values["of"])
        clusters = np.zeros(number, np.int64)
        num_clusters = min(self.num_clusters, max(1, number // 2))
        if num_clusters > 1:
            seed = self.seed ^ int(group.order[0])  # groups are cut independently of each other
            clusters, _ = most_similar(group.vectors, spherical_kmeans(group.vectors, num_clusters, seed))
        rated = np.flatnonzero(np.isfinite(influence))
        own = influence[rated]
        drawn = draw_by_bound(own, clusters[rated], self.exploration, self.draws, len(rated))
        is_kept = own[drawn] > self.threshold
        rest = drawn[~is_kept]
        order = np.concatenate((drawn[is_kept], rest[np.argsort(-own[rest], kind="stable")]))
        order = order[: num_of_share(self.share, number)]
        return as_chosen(rated[order], own[order], number)


def _standardised(values: np.ndarray) -> np.ndarray:
    """Values in standard deviations from their mean; NaN stays, and all are 0 where they do not differ.

    >>> _standardised(np.array([1.0, 3.0, np.nan])).tolist()
    [-1.0, 1.0, nan]
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return values
    spread = known.std()
    return (values - known.mean()) / (spread if spread > 0 else 1.0)
