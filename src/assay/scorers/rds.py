"""RDS+: retrieval by embedding, each target item taking its nearest documents in turn.

Paper: Large-Scale Data Selection for Instruction Tuning, Ivison et al. 2025 (arXiv:2503.01807), sections 3 and 4.
Authors' code: hamishivi/automated-instruction-selection at df71a04. A document's vector is the mean of a language
model's last hidden states, the i-th of n tokens with weight i / (1 + ... + n). With one target its items take turns:
each takes the nearest document that is left in its own list, and loses its turn when that has been taken. With several,
a document's similarity to a target is its best with any of its items, and the targets take turns.

What differs:
- Vectors come from an embedding (`embedding`), by default hashed words with tf-idf and SVD, whose words are weighted by
  position as the paper's hidden states are. A model in a folder weights its token vectors by position, too.
- Lists (one of each item, or with several targets of each target) are bounded: `candidates` entries in all, so memory
  does not grow with the pool. Documents in no list come after all that are in one, by similarity.
- With several targets nobody loses a turn, so that the targets' shares differ by one document at most.
- Of a target at most `max_items` documents are items, drawn by the hash of their ids.

Cost: a product of each document's vector with each item's: 200,000 documents and 1,000 items take seconds; embedding
them costs more, see docs/embeddings.md. Memory: 12 bytes a candidate, and 4 bytes a dimension of each item. When not to
use: for a budget far beyond `candidates`, since ever more of the choice is then plain similarity; for a pool in which
one near duplicate draws in the next (take `minhash` first).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from assay.errors import NotFittedError, check_integer
from assay.kernels.arrow import masked
from assay.kernels.retrieval import merge_nearest, nearest, round_robin
from assay.models.embedding import Embedding
from assay.scorers.base import Column, Scorer, State
from assay.scorers.vectors import (
    best_cosines,
    id_keys,
    items_of,
    merge_items,
    ordered,
    set_embedding,
    sketch_items,
    vectors_of,
)


@dataclass(frozen=True, kw_only=True)
class RDS(Scorer):
    """The order in which round robin over a target's items takes the documents, and their best cosine.

    embedding: what the vectors come from; by default hashed words, weighted by position.
    candidates: documents in all lists together, 12 bytes each; how far round robin can go.
    max_items: documents of a target, at most, that take turns.
    """

    name: ClassVar[str] = "rds"
    version: ClassVar[int] = 2
    needs_target: ClassVar[bool] = True
    reads_pool: ClassVar[bool] = True
    target_columns: ClassVar[tuple[str, ...]] = ("id", "text")
    pool_columns: ClassVar[tuple[str, ...]] = ("id", "text")
    score_columns: ClassVar[tuple[str, ...]] = ("id", "text")

    embedding: Embedding = Embedding(pooling="position")  # noqa: RUF009  (it is frozen)
    candidates: int = 1 << 20
    max_items: int = 1000

    def __post_init__(self) -> None:
        set_embedding(self)
        check_integer("candidates", self.candidates, 1, 1 << 30)
        check_integer("max_items", self.max_items, 1, 100_000)

    def columns(self, targets: tuple[str, ...]) -> list[Column]:
        """`rds.order` (the score), `rds.similarity`, and similarity per target when there are several."""
        columns = [
            Column("rds.order", pa.float64(), False, "place in the order of round robin, from 1; lower is better"),
            Column("rds.similarity", pa.float64(), True, "best cosine with an item of a target"),
        ]
        if len(targets) > 1:
            columns += [
                Column(f"rds.similarity.{t}", pa.float64(), True, f"best cosine with an item of target {t}")
                for t in targets
            ]
        return columns

    def sketch_target(self, batch: pa.RecordBatch) -> State:
        """Keys and vectors of at most `max_items` items."""
        return sketch_items(batch, self.max_items)

    def prepare(self, targets: Mapping[str, State]) -> State:
        """Items [items, dimensions], where each target's start, and where each list's do.

        Raises:
            InvalidParameterError: a target has no text that the embedding finds anything in.
        """
        items, starts = items_of(targets)
        return {"items": items, "starts": starts, "lists": np.arange(len(items) + 1) if len(targets) == 1 else starts}

    def sketch_pool(self, batch: pa.RecordBatch, prepared: State) -> State:
        """The nearest documents of each list: cosine [lists, depth] float32 and key [lists, depth] uint64."""
        lists = prepared["lists"]
        num_lists = len(lists) - 1
        vectors, is_valid = vectors_of(batch)
        keys = id_keys(batch)[is_valid]
        order = np.argsort(keys, kind="stable")  # of equally near documents the lesser keys are taken
        found = np.empty((num_lists, 0), np.float32), np.empty((num_lists, 0), np.uint64)
        for rows, cosines in best_cosines(vectors[is_valid][order], prepared["items"], lists):
            depth = self._depth(num_lists)
            own, own_keys = nearest(cosines, keys[order][rows], depth)
            found = merge_nearest(*found, own, own_keys, depth)
        return {"cosines": found[0], "keys": found[1]}

    def merge(self, a: State, b: State) -> State:
        """Items: those with the least keys. Lists: the nearest of both, nearest first."""
        if "cosines" not in a:
            return merge_items(a, b, self.max_items)
        depth = self._depth(len(a["keys"]))
        cosines, keys = merge_nearest(a["cosines"], a["keys"], b["cosines"], b["keys"], depth)
        return {"cosines": cosines, "keys": keys}

    def _depth(self, num_lists: int) -> int:
        """Documents in a list."""
        return max(1, self.candidates // num_lists)

    def finish(self, prepared: State, pool: State) -> State:
        """Keys [listed documents] uint64, rising, and their places in the order, from 1."""
        is_single = len(prepared["starts"]) == 2
        keys, numbers = np.unique(pool["keys"], return_inverse=True)
        places = round_robin(numbers.reshape(pool["keys"].shape), len(keys), is_single) + 1
        return {"items": prepared["items"], "starts": prepared["starts"], "keys": keys, "places": places}

    def fit_summary(self, state: State) -> dict[str, Any]:
        """`items` that took turns, and `ordered`, the documents that they took."""
        return {"items": len(state["items"]), "ordered": len(state["keys"])}

    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        """Order and similarity per row. Who is in no list has a place between the last one's and 1 more.

        Raises:
            NotFittedError: `state` is not what `finish` returned.
        """
        if "places" not in state:
            raise NotFittedError("RDS has not been fitted; `assay.score(corpus, RDS(), target=...)` fits and scores.")
        vectors, is_valid = vectors_of(batch)
        starts = state["starts"]
        best = np.empty((len(vectors), len(starts) - 1))
        for rows, cosines in best_cosines(vectors, state["items"], starts):
            best[rows] = cosines
        similarity = best.max(axis=1)
        order = ordered(id_keys(batch), similarity, state["keys"], state["places"])
        each = list(best.T) if best.shape[1] > 1 else []
        return [masked(column, is_valid) for column in (order, similarity, *each)]
