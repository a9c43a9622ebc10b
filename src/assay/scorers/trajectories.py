"""Trajectories (S2L): documents that are learnt alike, by how their losses fall while a small model is trained.

Paper: SmallToLarge (S2L): Scalable Data Selection for Fine-tuning Large Language Models by Summarizing Training
Trajectories of Small Models, Yang et al. 2024 (arXiv:2403.07384), section 4. Authors' code: BigML-CS-UCLA/S2L at
2bc84dd. The vector of a document is its loss at each checkpoint; k-means makes clusters, and each gets an equal share
of the budget: documents of one trajectory have similar gradients, so that many of a kind add little.

What differs:
- Without `models`, the small model is n-grams that read more and more of a sample (`scorers.checkpoints`).
- Centres are fitted on a sample; each document then goes to the nearest by itself. A document without tokens has no
  trajectory and no cluster, where the authors' code puts losses of 0.
- Checkpoints of one folder stand by the numbers in their names; the authors' code has them as the file system does.
- The balance is the policy `quota` with equal shares, of the `trajectories.cluster` column. It is the paper's rule (the
  smallest cluster first, each at most an equal share of what is left), in tokens instead of documents.

Cost: without `models`, 6 s to fit, once, then 2.8 MB/s and core; with them, each reads the pool once. Memory: the
sample's trajectories, and checkpoints (2 GB of weights, or two). When not to use: where clusters of losses mean no more
than how long or how foreign documents are; look at some before you balance.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from assay.errors import InvalidParameterError, NotFittedError, check, check_integer
from assay.kernels.arrow import masked
from assay.kernels.lloyd import kmeans, nearest
from assay.scorers.base import Column, Scorer, State
from assay.scorers.checkpoints import Ladder, checked_models, losses_at, model_paths
from assay.scorers.ngrams import DIGITS, check_ngrams, sketch_pool
from assay.scorers.sampling import merge_samples, sampled

MAX_CLUSTERS = 10_000


@dataclass(frozen=True, kw_only=True)
class Trajectories(Scorer):
    """Cluster of each document by its losses at several checkpoints, and where these start and end.

    models: a folder with checkpoints of one run, or a list of their folders, earliest first; None = n-grams.
    num_clusters: at most half as many as the sample has documents.
    sample: documents of the pool that centres are fitted on, and n-grams counted in.
    order, vocab_size: of the n-grams. seed: of the clusters' starts.
    """

    name: ClassVar[str] = "trajectories"
    version: ClassVar[int] = 1
    reads_pool: ClassVar[bool] = True
    pool_columns: ClassVar[tuple[str, ...]] = ("id", "text")
    score_columns: ClassVar[tuple[str, ...]] = ("id", "text")
    files: ClassVar[tuple[str, ...]] = ("models",)

    models: str | tuple[str, ...] | None = None
    num_clusters: int = 100
    sample: int = 4000
    order: int = 3
    vocab_size: int = 4096
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "models", checked_models(self.models))
        check_integer("num_clusters", self.num_clusters, 1, MAX_CLUSTERS)
        check_ngrams(self.sample, self.order, self.vocab_size)
        is_enough = self.sample >= self.num_clusters
        check(is_enough, "sample", self.sample, f"at least `num_clusters` (={self.num_clusters})")
        check_integer("seed", self.seed, 0)

    def paths(self) -> dict[str, Any]:
        """The folders of the checkpoints, in their order."""
        return model_paths(self.models)

    def columns(self, targets: tuple[str, ...]) -> list[Column]:
        """`trajectories.drop` (the score), `.cluster`, `.start`, `.end`."""
        return [
            Column(
                "trajectories.drop", pa.float64(), None, "loss at the first checkpoint minus that at the last, nats"
            ),
            Column("trajectories.cluster", pa.int64(), None, "number of its cluster, from 0"),
            Column("trajectories.start", pa.float64(), None, "mean loss of its tokens at the first checkpoint, nats"),
            Column("trajectories.end", pa.float64(), None, "the same at the last checkpoint"),
        ]

    def sketch_pool(self, batch: pa.RecordBatch, prepared: State) -> State:
        """What may be in the sample."""
        return sketch_pool(batch, prepared, self.sample)

    def merge(self, a: State, b: State) -> State:
        """The documents of both."""
        return merge_samples(a, b) if a else {}

    def finish(self, prepared: State, pool: State) -> State:
        """`centres` [clusters, checkpoints] and `mean` [checkpoints], and the n-gram models where there are no others.

        Raises:
            InvalidParameterError: too few documents with text, or checkpoints that are not there.
        """
        ladder = Ladder.fit(pool, self.sample, self.order, self.vocab_size).state() if self.models is None else {}
        found = self._losses(sampled(pool, self.sample), ladder)
        found = found[~np.isnan(found[:, 0])]
        if not len(found):
            raise InvalidParameterError("No document of the pool has text that the models find tokens in.")
        centres = kmeans(found, min(self.num_clusters, (len(found) + 1) // 2), self.seed)
        # Numbered by their last loss, so that a cluster's number says something.
        centres = centres[np.lexsort(centres.T)]
        return {"centres": centres, "mean": found.mean(axis=0), **ladder}

    def fit_summary(self, state: State) -> dict[str, Any]:
        """`clusters`, and `mean_losses` of the sample at each checkpoint: if they do not fall, nothing was learnt."""
        return {"clusters": len(state["centres"]), "mean_losses": state["mean"].round(DIGITS).tolist()}

    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        """Drop, cluster, start and end per row; null for a document without tokens.

        Raises:
            NotFittedError: `state` is not what `finish` returned.
        """
        if "centres" not in state:
            raise NotFittedError(
                "Trajectories has not been fitted; `assay.score(corpus, Trajectories())` fits and scores."
            )
        found = self._losses(batch, state)
        is_known = ~np.isnan(found[:, 0])
        found[~is_known] = 0
        clusters, _ = nearest(found, state["centres"])
        figures = (np.round(found[:, 0] - found[:, -1], DIGITS), clusters, found[:, 0], found[:, -1])
        return [masked(values, is_known) for values in figures]

    def _losses(self, batch: pa.RecordBatch, state: State) -> np.ndarray:
        return np.round(losses_at("Trajectories", self.models, batch, state), DIGITS)
