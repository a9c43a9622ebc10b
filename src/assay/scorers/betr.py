"""BETR: documents by how near they come to the examples of benchmarks, in ranks.

Paper: Language Models Improve When Pretraining Data Matches Target Tasks, Mizrahi et al. 2025 (arXiv:2507.12466),
section 3. No code is public. r_ij is the rank of document j among a sample of the pool by similarity to example i,
1 = nearest; a document's score is the largest value v(r_ij) over all examples, or the mean. Ranks make examples
comparable, some of which are near to everything.

What differs:
- The paper embeds 10 million documents, scores these, and trains a classifier to tell the best tenth from the rest,
  which then scores the pool. Here any document is ranked against a sample's similarities, so that the whole pool can be
  scored directly; `distil` does the paper's second half.
- Between two neighbouring documents of the sample a rank goes on falling towards the nearer one, so documents do not
  tie: with a thousand examples and a sample of 10,000 a tenth of the pool would have rank 1. Rounded up it is the rank.
- All targets give equally many examples, as in the paper: as many as the smallest has, at most `max_examples`, drawn by
  the hash of their ids.
- Vectors come from `embedding`, not from Arctic-Embed 2.0, unless that lies in a folder.

Under `aggregate: max` any falling `value` gives the same order. Mean over examples finds planted domains worse.

Cost: a product of each document's vector with each example's and a binary search: about 20 microseconds a document for
500 examples; embedding costs more, see docs/embeddings.md. Memory: 4 bytes for each pair of a sampled document and an
example, 20 MB a target by default. When not to use: for a target of many thousand documents, of which it takes a few
(`classifier`, `dsir`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from assay.errors import NotFittedError, check_choice, check_integer
from assay.kernels.arrow import masked
from assay.kernels.retrieval import soft_ranks
from assay.kernels.vectors import blocks
from assay.models.embedding import Embedding
from assay.scorers.base import Column, Scorer, State
from assay.scorers.sampling import sample_share
from assay.scorers.vectors import id_keys, items_of, merge_items, set_embedding, sketch_items, vectors_of

_VALUES = {"log": lambda r: -np.log2(r), "reciprocal": lambda r: 1 / r, "negative": lambda r: -r}
_AGGREGATES = {"max": np.maximum, "mean": np.add}


@dataclass(frozen=True, kw_only=True)
class BETR(Scorer):
    """The best (or mean) value of a document's ranks among a sample of the pool, over all examples of the targets.

    embedding: what the vectors come from.
    sample: documents of the pool that are ranked against.
    max_examples: of each target, at most.
    value: of a rank r: log = log2(1 / r), reciprocal = 1 / r, negative = -r.
    aggregate: max or mean over examples.
    """

    name: ClassVar[str] = "betr"
    version: ClassVar[int] = 2
    needs_target: ClassVar[bool] = True
    reads_pool: ClassVar[bool] = True
    target_columns: ClassVar[tuple[str, ...]] = ("id", "text")
    pool_columns: ClassVar[tuple[str, ...]] = ("id", "text")

    embedding: Embedding = Embedding()  # noqa: RUF009  (it is frozen)
    sample: int = 10_000
    max_examples: int = 500
    value: str = "log"
    aggregate: str = "max"

    def __post_init__(self) -> None:
        set_embedding(self)
        check_integer("sample", self.sample, 10, 10_000_000)
        check_integer("max_examples", self.max_examples, 1, 100_000)
        check_choice("value", self.value, _VALUES)
        check_choice("aggregate", self.aggregate, _AGGREGATES)

    def columns(self, targets: tuple[str, ...]) -> list[Column]:
        """`betr.value` (the score), and per target when there are several."""
        columns = [Column("betr.value", pa.float64(), True, f"{self.aggregate} over examples of the rank's value")]
        if len(targets) > 1:
            columns += [Column(f"betr.value.{t}", pa.float64(), True, f"the same, target {t}") for t in targets]
        return columns

    def sketch_target(self, batch: pa.RecordBatch) -> State:
        """Keys and vectors of at most `max_examples` examples."""
        return sketch_items(batch, self.max_examples)

    def prepare(self, targets: Mapping[str, State]) -> State:
        """Equally many examples of each target [examples, dimensions], and where each target's start.

        Raises:
            InvalidParameterError: a target has no text that the embedding finds anything in.
        """
        size = min(self.max_examples, *(len(state["keys"]) for state in targets.values()))
        equal = {name: {key: values[: max(1, size)] for key, values in s.items()} for name, s in targets.items()}
        examples, starts = items_of(equal)
        return {"examples": examples, "starts": starts}

    def sketch_pool(self, batch: pa.RecordBatch, prepared: State) -> State:
        """Keys and vectors of those documents of a batch that are in the sample, or nearly are."""
        vectors, is_valid = vectors_of(batch)
        keys = id_keys(batch)
        is_in = is_valid & (keys / 2.0**64 <= sample_share(self.sample, int(prepared["num_documents"][0])))
        return {"keys": keys[is_in], "vectors": vectors[is_in]}

    def merge(self, a: State, b: State) -> State:
        """Those with the least keys."""
        return merge_items(a, b, max(self.sample, self.max_examples))

    def finish(self, prepared: State, pool: State) -> State:
        """The sample's cosines with each example, rising [examples, sample] float32."""
        sample = pool["vectors"][np.argsort(pool["keys"], kind="stable")][: self.sample]
        thresholds = np.sort(prepared["examples"] @ sample.T, axis=1)
        return {**prepared, "thresholds": thresholds}

    def fit_summary(self, state: State) -> dict[str, Any]:
        """`examples` and `sample`: how many there are of each."""
        return {"examples": len(state["examples"]), "sample": state["thresholds"].shape[1]}

    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        """Values per row, over all targets and of each.

        Raises:
            NotFittedError: `state` is not what `finish` returned.
        """
        if "thresholds" not in state:
            raise NotFittedError("BETR has not been fitted; `assay.score(corpus, BETR(), target=...)` fits and scores.")
        vectors, is_valid = vectors_of(batch)
        examples, starts = state["examples"], state["starts"]
        each = np.empty((len(vectors), len(starts) - 1))
        for rows in blocks(len(vectors), 2 * len(examples)):
            ranks = soft_ranks(vectors[rows] @ examples.T, state["thresholds"])
            each[rows] = _AGGREGATES[self.aggregate].reduceat(_VALUES[self.value](ranks), starts[:-1], axis=1)
        if self.aggregate == "mean":
            each /= np.diff(starts)
        combined = each.max(axis=1) if self.aggregate == "max" else each.mean(axis=1)
        return [masked(column, is_valid) for column in (combined, *(each.T if each.shape[1] > 1 else ()))]
