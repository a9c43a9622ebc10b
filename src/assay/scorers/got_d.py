"""GOT-D: documents of which more would move the pool towards the target fastest, by optimal transport.

Paper: Get More for Less: Principled Data Selection for Warming Up Fine-Tuning in LLMs, Kang et al. 2024
(arXiv:2405.02774), section 3. Authors' code: REDSgnaoh/DV4LLM at 41793fb. The cost of transporting the pool to the
target changes with the weight of document i, all others giving up the same, by the calibrated gradient

    f_i - sum over j != i of f_j / (N - 1),

where f is the pool's potential (the dual variable); the most negative ones are taken. `kernels.transport` has the
transport: squared distance of vectors of unit length, epsilon 0.1 as in the authors' code.

What differs:
- Transport is solved between a sample of the pool and at most `max_examples` target documents. Any other document gets
  its potential from the target's (the soft c-transform), as if it were one more point of the sample; so each is scored
  by itself.
- The pool stands for what the model was pretrained on, as in the paper where only that is to be chosen from. The paper
  narrows it to the two to four nearest domains first: `where` does that.
- Several targets are one distribution to which each gives as much.
- Vectors come from `embedding`, not from a DistilBERT that was tuned on the target, unless that lies in a folder.

Cost: fitting 5,000 x 1,000 documents takes 3 s, once (with epsilon 0.01, 24 s); then 6 microseconds a document, an
exponential for each pair with a target document, and embedding (docs/embeddings.md). Memory: 40 MB for the costs. When
not to use: in a pool with copies, which all have the same gradient (take `minhash` first); for a large share of the
pool, since the gradient holds for small changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from assay.errors import InvalidParameterError, NotFittedError, check_integer, check_number
from assay.kernels.arrow import masked
from assay.kernels.transport import sinkhorn, soft_minimum
from assay.kernels.vectors import blocks
from assay.models.embedding import Embedding
from assay.scorers.base import Column, Scorer, State
from assay.scorers.sampling import sample_share
from assay.scorers.vectors import id_keys, items_of, merge_items, set_embedding, sketch_items, vectors_of

_TOLERANCE = 1e-3
_MAX_ITERATIONS = 2000


@dataclass(frozen=True, kw_only=True)
class GotD(Scorer):
    """By how much a document's weight changes the cost of transporting the pool to the target.

    embedding: what the vectors come from.
    sample: documents of the pool that are transported.
    max_examples: documents of all targets, at most; equally many of each.
    epsilon: how blurred the transport is; its unit is that of squared distances, 0 to 4.
    """

    name: ClassVar[str] = "got_d"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = True
    reads_pool: ClassVar[bool] = True
    target_columns: ClassVar[tuple[str, ...]] = ("id", "text")
    pool_columns: ClassVar[tuple[str, ...]] = ("id", "text")

    embedding: Embedding = Embedding()  # noqa: RUF009  (it is frozen)
    sample: int = 5000
    max_examples: int = 1000
    epsilon: float = 0.1

    def __post_init__(self) -> None:
        set_embedding(self)
        check_integer("sample", self.sample, 10, 100_000)
        check_integer("max_examples", self.max_examples, 1, 100_000)
        check_number("epsilon", self.epsilon, "a number from 0.001 to 100", lambda e: 0.001 <= e <= 100)

    def columns(self, targets: tuple[str, ...]) -> list[Column]:
        """`got_d.gradient` alone; several targets are read as one."""
        meaning = "change of the cost of transport to the target with the document's weight; lower is better"
        return [Column("got_d.gradient", pa.float64(), False, meaning)]

    def sketch_target(self, batch: pa.RecordBatch) -> State:
        """Keys and vectors of at most `max_examples` documents."""
        return sketch_items(batch, self.max_examples)

    def prepare(self, targets: Mapping[str, State]) -> State:
        """`examples` [examples, dimensions] of all targets, and `weights` [examples] of sum 1, alike for each target.

        Raises:
            InvalidParameterError: a target has no text that the embedding finds anything in.
        """
        size = max(1, self.max_examples // len(targets))
        few = {name: {key: values[:size] for key, values in state.items()} for name, state in targets.items()}
        examples, starts = items_of(few)
        sizes = np.diff(starts)
        return {"examples": examples, "weights": np.repeat(1 / (len(sizes) * sizes), sizes)}

    def sketch_pool(self, batch: pa.RecordBatch, prepared: State) -> State:
        """Keys and vectors of those documents of a batch that are in the sample, or nearly are."""
        vectors, is_valid = vectors_of(batch)
        keys = id_keys(batch)
        number = int(prepared["num_documents"][0])
        is_in = is_valid & (keys / 2.0**64 <= sample_share(self.sample, number))
        return {"keys": keys[is_in], "vectors": vectors[is_in], "valid": np.array([is_valid.sum()])}

    def merge(self, a: State, b: State) -> State:
        """Those with the least keys; and how many documents have a vector."""
        size = max(self.sample, self.max_examples)
        if "valid" not in a:
            return merge_items(a, b, size)
        items, others = ({key: state[key] for key in ("keys", "vectors")} for state in (a, b))
        return {**merge_items(items, others, size), "valid": a["valid"] + b["valid"]}

    def finish(self, prepared: State, pool: State) -> State:
        """The target's `potential` [examples], the `mean` of the sample's, and what else `score` and the report need.

        Raises:
            InvalidParameterError: fewer than two documents of the pool have a vector.
        """
        sample = pool["vectors"][np.argsort(pool["keys"], kind="stable")][: self.sample]
        if len(sample) < 2:
            raise InvalidParameterError(
                "GOT-D needs at least two documents in whose text the embedding finds anything."
            )
        costs = _costs(sample, prepared["examples"])
        even = np.full(len(sample), 1 / len(sample))
        f, g, error = sinkhorn(costs, even, prepared["weights"], self.epsilon, _TOLERANCE, _MAX_ITERATIONS)
        return {
            "examples": prepared["examples"],
            "log_weights": np.log(prepared["weights"]),
            "potential": g,
            "mean": np.array([f.mean()]),
            "cost": np.array([f.mean() + prepared["weights"] @ g]),
            "error": np.array([error]),
            "sizes": np.array([len(sample), pool["valid"][0]]),
        }

    def fit_summary(self, state: State) -> dict[str, Any]:
        """`examples` and `sample`, `transport_cost` between them, and `marginal_error` (0 to 1) that was left."""
        return {
            "examples": len(state["examples"]),
            "sample": int(state["sizes"][0]),
            "transport_cost": float(state["cost"][0]),
            "marginal_error": float(state["error"][0]),
        }

    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        """Calibrated gradient per row.

        Raises:
            NotFittedError: `state` is not what `finish` returned.
        """
        if "potential" not in state:
            raise NotFittedError(
                "GOT-D has not been fitted; `assay.score(corpus, GotD(), target=...)` fits and scores."
            )
        vectors, is_valid = vectors_of(batch)
        potentials = np.empty(len(vectors))
        for rows in blocks(len(vectors), len(state["examples"])):
            costs = _costs(vectors[rows], state["examples"])
            potentials[rows] = soft_minimum(costs, state["potential"], state["log_weights"], self.epsilon)
        number = int(state["sizes"][1])
        return [masked((potentials - state["mean"][0]) * (number / (number - 1)), is_valid)]


def _costs(vectors: np.ndarray, examples: np.ndarray) -> np.ndarray:
    """Squared distances [vectors, examples] float32, exact but for the lengths, which are taken to be 1."""
    costs: np.ndarray = 2 - 2 * (vectors @ examples.T)
    return costs
