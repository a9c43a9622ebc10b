"""K-shot retrieval: the documents nearest to a few examples, without taking ever more of the same.

Paper: Leveraging Open Knowledge for Advancing Task Expertise in Large Language Models, Yang et al. 2024
(arXiv:2408.15915), in which a few annotated examples of a task choose instructions from open data: those most similar
to an example by embedding, and diverse among themselves. Its own diversity rule could not be had; what stands here is
maximal marginal relevance (Carbonell and Goldstein 1998, "The use of MMR", SIGIR): each next document d has the largest

    (1 - diversity) * max over examples of cos(d, example) - diversity * max over those taken of cos(d, taken).

Only the `candidates` nearest documents compete so; all others come after them, by similarity.

Cost: one product of each document's vector with each example's, and candidates^2 cosines: 10 seconds for 10,000.
Memory: candidates vectors, 5 MB. When not to use: for a budget of more than `candidates` documents, since what lies
beyond is plain similarity (then cap near duplicates with `minhash`, or take a policy that knows clusters).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from assay.errors import NotFittedError, check_integer, check_number
from assay.kernels.arrow import masked
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
class KNN(Scorer):
    """The order in which the nearest documents to the target's examples are taken, and their best cosine.

    embedding: what the vectors come from.
    diversity: weight of unlikeness to what was taken, 0 = plain similarity.
    candidates: documents that compete.
    max_examples: documents of all targets, at most, that the pool is compared with; equally many of each.
    """

    name: ClassVar[str] = "knn"
    version: ClassVar[int] = 2
    needs_target: ClassVar[bool] = True
    reads_pool: ClassVar[bool] = True
    target_columns: ClassVar[tuple[str, ...]] = ("id", "text")
    pool_columns: ClassVar[tuple[str, ...]] = ("id", "text")
    score_columns: ClassVar[tuple[str, ...]] = ("id", "text")

    embedding: Embedding = Embedding()  # noqa: RUF009  (it is frozen)
    diversity: float = 0.3
    candidates: int = 10_000
    max_examples: int = 1000

    def __post_init__(self) -> None:
        set_embedding(self)
        check_number("diversity", self.diversity, "a weight from 0 to below 1", lambda x: 0 <= x < 1)
        check_integer("candidates", self.candidates, 1, 100_000)
        check_integer("max_examples", self.max_examples, 1, 100_000)

    def columns(self, targets: tuple[str, ...]) -> list[Column]:
        """`knn.order` (the score) and `knn.similarity`."""
        return [
            Column("knn.order", pa.float64(), False, "place in the order of taking, from 1; lower is better"),
            Column("knn.similarity", pa.float64(), True, "best cosine with an example"),
        ]

    def sketch_target(self, batch: pa.RecordBatch) -> State:
        """Keys and vectors of at most `max_examples` examples."""
        return sketch_items(batch, self.max_examples)

    def prepare(self, targets: Mapping[str, State]) -> State:
        """Examples [examples, dimensions] of all targets.

        Raises:
            InvalidParameterError: a target has no text that the embedding finds anything in.
        """
        size = max(1, self.max_examples // len(targets))
        few = {name: {key: values[:size] for key, values in state.items()} for name, state in targets.items()}
        return {"examples": items_of(few)[0]}

    def sketch_pool(self, batch: pa.RecordBatch, prepared: State) -> State:
        """The nearest `candidates` of a batch: cosine, key and vector of each."""
        vectors, is_valid = vectors_of(batch)
        rows = np.flatnonzero(is_valid)
        state = {"keys": id_keys(batch)[rows], "vectors": vectors[rows]}
        return self._nearest(state | {"cosines": _best(vectors[rows], prepared["examples"])})

    def merge(self, a: State, b: State) -> State:
        """Examples: those with the least keys. Candidates: the nearest of both."""
        if "cosines" not in a:
            return merge_items(a, b, self.max_examples)
        return self._nearest({key: np.concatenate([a[key], b[key]]) for key in a})

    def _nearest(self, state: State) -> State:
        order = np.lexsort((state["keys"], -state["cosines"]))[: self.candidates]
        return {key: values[order] for key, values in state.items()}

    def finish(self, prepared: State, pool: State) -> State:
        """Keys [candidates] uint64, rising, and their places in the order, from 1."""
        places = np.empty(len(pool["keys"]), np.int64)
        places[_taken(pool["cosines"], pool["vectors"], self.diversity)] = np.arange(1, len(places) + 1)
        order = np.argsort(pool["keys"])
        return {**prepared, "keys": pool["keys"][order], "places": places[order]}

    def fit_summary(self, state: State) -> dict[str, Any]:
        """`examples` that the pool was compared with, and `ordered`, the documents that competed."""
        return {"examples": len(state["examples"]), "ordered": len(state["keys"])}

    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        """Order and similarity per row. Who did not compete has a place between the last one's and 1 more.

        Raises:
            NotFittedError: `state` is not what `finish` returned.
        """
        if "places" not in state:
            raise NotFittedError("KNN has not been fitted; `assay.score(corpus, KNN(), target=...)` fits and scores.")
        vectors, is_valid = vectors_of(batch)
        similarity = _best(vectors, state["examples"]).astype(np.float64)
        order = ordered(id_keys(batch), similarity, state["keys"], state["places"])
        return [masked(column, is_valid) for column in (order, similarity)]


def _best(vectors: np.ndarray, examples: np.ndarray) -> np.ndarray:
    """The best cosine of each vector with an example [rows] float32."""
    found = np.empty(len(vectors), np.float32)
    for rows, cosines in best_cosines(vectors, examples, np.array([0, len(examples)])):
        found[rows] = cosines[:, 0]
    return found


def _taken(cosines: np.ndarray, vectors: np.ndarray, diversity: float) -> np.ndarray:
    """Candidates in the order of maximal marginal relevance; of equals the first."""
    relevance = (1 - diversity) * cosines.astype(np.float64)
    nearest = np.full(len(cosines), 0 if diversity == 0 else -np.inf)
    order = np.empty(len(cosines), np.int64)
    for place in range(len(cosines)):
        chosen = int(np.argmax(relevance if place == 0 else relevance - diversity * nearest))
        order[place] = chosen
        relevance[chosen] = -np.inf
        if diversity > 0:
            np.maximum(nearest, vectors @ vectors[chosen], out=nearest)
    return order
