"""Clusters: which of a number of kinds each document belongs to, by spherical k-means on vectors.

Papers: Dhillon and Modha 2001 (spherical k-means); what is done with clusters is named in docs/diversity.md: balanced
quotas, kMQ (Yu et al. 2024, "Diversify and Conquer", arXiv:2409.11378), caps as in MetaCLIP (Xu et al. 2023,
arXiv:2309.16671), SemDeDup. `kernels.kmeans` says how centres are found.

Centres are fitted on a sample of the pool; each document then goes to the most similar one by itself. A document whose
vector is zero, since the model knows none of its words, belongs to no cluster.

Cost: with 50,000 documents of 128 dimensions, 100 clusters take 2 s, 1,000 take 8 s, once; then about 1 million
documents a second, core and 100 clusters. Memory: the sample's vectors (13 MB) several times over. When not to use:
where a column of the corpus says what kind a document is; the source, say, needs no model.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assay.errors import InvalidParameterError, NotFittedError, check, check_integer
from assay.kernels.arrow import masked
from assay.kernels.kmeans import spherical_kmeans
from assay.kernels.vectors import most_similar, snapped
from assay.models.embedding import Embedding
from assay.scorers.base import Column, Scorer, State
from assay.scorers.sampling import merge_samples, sampled, sketch_sample
from assay.scorers.vectors import set_embedding, vectors_of

MAX_CLUSTERS = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Clusters(Scorer):
    """The cluster of each document.

    num_clusters: how many; at most half as many as the sample has documents, so that not each is a kind of its own.
    sample: documents that the centres are fitted on, at least as many as clusters.
    seed: other seeds draw other samples and starts. embedding: what vectors documents have.
    """

    name: ClassVar[str] = "clusters"
    version: ClassVar[int] = 2
    reads_pool: ClassVar[bool] = True
    pool_columns: ClassVar[tuple[str, ...]] = ("id", "text")

    num_clusters: int = 100
    sample: int = 50_000
    seed: int = 0
    embedding: Embedding = Embedding()  # noqa: RUF009  (it is frozen)

    def __post_init__(self) -> None:
        check_integer("num_clusters", self.num_clusters, 1, MAX_CLUSTERS)
        check_integer("sample", self.sample, 1, 1 << 24)
        check_integer("seed", self.seed, 0)
        is_enough = self.sample >= self.num_clusters
        check(is_enough, "sample", self.sample, f"at least `num_clusters` (={self.num_clusters})")
        set_embedding(self)

    def columns(self, targets: tuple[str, ...] = ()) -> list[Column]:
        """`clusters.similarity` (the score) and `clusters.cluster`."""
        return [
            Column("clusters.similarity", pa.float64(), None, "cosine with the centre of its cluster"),
            Column("clusters.cluster", pa.int64(), None, "number of its cluster, from 0"),
        ]

    def sketch_pool(self, batch: pa.RecordBatch, prepared: State) -> State:
        """What the batch contributes to the sample, the texts left out."""
        nothing = pc.if_else(batch.column("text").is_valid(), pa.scalar("", pa.string()), None)
        without = batch.set_column(batch.schema.get_field_index("text"), "text", nothing)
        return sketch_sample(without, int(prepared["num_documents"][0]), self.sample, self.seed)

    def merge(self, a: State, b: State) -> State:
        return merge_samples(a, b)

    def finish(self, prepared: State, pool: State) -> State:
        """`centres` [clusters, dimensions] float32.

        Raises:
            InvalidParameterError: no document of the sample has a vector.
        """
        found, is_valid = vectors_of(sampled(pool, self.sample))
        vectors = snapped(found[is_valid])
        if not len(vectors):
            raise InvalidParameterError("No document of the pool has words that the embedding knows; try another one.")
        num_clusters = min(self.num_clusters, (len(vectors) + 1) // 2)
        return {"centres": spherical_kmeans(vectors, num_clusters, self.seed)}

    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        """Similarity and cluster per row; null where there is no vector.

        Raises:
            NotFittedError: `state` is not what `finish` returned.
        """
        if "centres" not in state:
            raise NotFittedError("Clusters has not been fitted; `assay.score(corpus, Clusters())` fits and scores.")
        vectors, is_valid = vectors_of(batch)
        numbers, similarities = most_similar(snapped(vectors), state["centres"])
        return [masked(similarities.astype(np.float64), is_valid), masked(numbers, is_valid)]
