"""Gradient: documents that move a model's weights the way the target's documents do.

Paper: LESS: Selecting Influential Data for Targeted Instruction Tuning, Xia et al. 2024 (arXiv:2402.04333), sections 3
and 4. Authors' code: princeton-nlp/LESS at 8abf962. The score of a document is the sum over checkpoints of learning
rate times cosine between its projected Adam step and a target document's projected gradient; the mean over the
documents of a subtask, then the best over subtasks. Here a subtask is a target, and the score is that sum over the sum
of the rates, from -1 to 1. Vectors come from `embedding`, which makes them once and keeps them: `models.gradients`.

What differs:
- Gradients are of the last block's weights of the model itself, or all (`layers`), not of LoRA matrices that were
  trained first. The default model needs no network: a softmax over hashed words (`models.bag`).
- 2,048 dimensions, not 8,192, and vectors rounded as all are here (`kernels.vectors`).
- With `damping`, the target's gradient is multiplied by (F + damping * mean of F's diagonal)^-1, F being the mean of
  the outer products of the pool's vectors, before the products are taken: the influence function with the Fisher matrix
  for the Hessian, as TRAK has it (Park et al. 2023, arXiv:2303.14186) and Quad (arXiv:2409.16986) with K-FAC. As
  damping grows the order becomes that of plain products. The values are then no cosines.

The mean over a target's documents is a product with the mean of their vectors, so a target may have any size.

Cost: vectors 0.2 s for 1,000 documents without a network (docs/influence.md has those with one); then some hundred
thousand documents a second. Memory: a vector for each target; with `damping` 32 MB for each thread, 2 MB at 512
dimensions. When not to use: for a target of many kinds of text under one name, whose mean is like none of them: give
each its name; with a network, where the pool is larger than what can be read once forwards and once backwards.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from assay.errors import InvalidParameterError, NotFittedError, check_number
from assay.kernels.arrow import masked
from assay.kernels.solving import solve_positive
from assay.models.embedding import Embedding
from assay.models.gradients import Gradients
from assay.scorers.base import Column, Scorer, State
from assay.scorers.vectors import set_embedding, vectors_of

_GRID = 2.0**40  # so fine are references, against their length: products with snapped vectors are exact in float64


@dataclass(frozen=True, kw_only=True)
class Gradient(Scorer):
    """Mean cosine of a document's projected gradient with those of a target, the best over targets.

    embedding: gradients of which model, projected how. An embedding of another kind works too.
    damping: None = plain cosines; else how much of the mean curvature is added to each direction's.
    """

    name: ClassVar[str] = "gradient"
    version: ClassVar[int] = 1
    needs_target: ClassVar[bool] = True

    embedding: Embedding | Gradients = Gradients()  # noqa: RUF009  (it is frozen)
    damping: float | None = None

    def __post_init__(self) -> None:
        set_embedding(self)
        if self.damping is not None:
            check_number("damping", self.damping, "a number from 1e-6 up, or none", lambda x: x >= 1e-6)
        object.__setattr__(self, "reads_pool", self.damping is not None)

    def columns(self, targets: tuple[str, ...]) -> list[Column]:
        """`gradient.similarity` (the score), and per target when there are several."""
        what = "mean cosine of gradients" if self.damping is None else "influence"
        columns = [Column("gradient.similarity", pa.float64(), True, f"{what}, of the best target")]
        if len(targets) > 1:
            columns += [Column(f"gradient.similarity.{t}", pa.float64(), True, f"{what}, target {t}") for t in targets]
        return columns

    def sketch_target(self, batch: pa.RecordBatch) -> State:
        """Sum of the vectors [dimensions] float64, which is exact, and how many there are [1]."""
        vectors, is_valid = vectors_of(batch)
        return {"sum": vectors[is_valid].sum(axis=0, dtype=np.float64), "number": np.array([is_valid.sum()])}

    def prepare(self, targets: Mapping[str, State]) -> State:
        """Mean vector of each target [targets, dimensions].

        Raises:
            InvalidParameterError: a target has no text that the model finds anything in.
        """
        for name, state in targets.items():
            if not state["number"][0]:
                raise InvalidParameterError(
                    f"Target {name!r} has no document that a gradient can be taken of; give it text with words."
                )
        means = np.stack([state["sum"] / state["number"][0] for state in targets.values()])
        return {"references": _rounded(means)}

    def sketch_pool(self, batch: pa.RecordBatch, prepared: State) -> State:
        """Sum of the outer products of the vectors [dimensions, dimensions] float64, which is exact."""
        vectors, is_valid = vectors_of(batch)
        rows = vectors[is_valid].astype(np.float64)
        return {"products": rows.T @ rows, "number": np.array([len(rows)])}

    def finish(self, prepared: State, pool: State) -> State:
        """`references` [targets, dimensions], divided by the curvature where `damping` is given.

        Raises:
            InvalidParameterError: no document of the pool has a vector.
        """
        if self.damping is None:
            return prepared
        if not pool["number"][0]:
            raise InvalidParameterError("The pool has no document that a gradient can be taken of.")
        fisher = pool["products"] / pool["number"][0]
        mean = np.trace(fisher) / len(fisher)
        fisher[np.diag_indices(len(fisher))] += self.damping * mean
        # In units of the damped mean curvature, so that numbers stay in range whatever the damping.
        solved = solve_positive(fisher / (mean * (1 + self.damping)), prepared["references"].T).T
        return {"references": _rounded(solved)}

    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        """Similarity per row, of the best target and to each.

        Raises:
            NotFittedError: `state` is not what `finish` returned.
        """
        if "references" not in state:
            raise NotFittedError(
                "Gradient has not been fitted; `assay.score(corpus, Gradient(), target=...)` fits and scores."
            )
        vectors, is_valid = vectors_of(batch)
        each = vectors.astype(np.float64) @ state["references"].T
        columns = [each.max(axis=1), *(each.T if each.shape[1] > 1 else ())]
        return [masked(column, is_valid) for column in columns]


def _rounded(references: np.ndarray) -> np.ndarray:
    """References [targets, dimensions] on a grid, so that no order of summation changes a product."""
    lengths = np.sqrt(np.sum(references * references, axis=1, keepdims=True))
    unit = 2.0 ** np.ceil(np.log2(np.where(lengths > 0, lengths, 1.0))) / _GRID
    rounded: np.ndarray = np.rint(references / unit) * unit
    return rounded
