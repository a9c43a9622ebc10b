"""Batches with vectors, and scorers fitted to them without an engine."""

from collections.abc import Mapping
from functools import reduce
from itertools import pairwise

import numpy as np
import pyarrow as pa

from assay.scorers import Scorer, State


def to_batch(vectors: np.ndarray, prefix: str = "d", is_null: np.ndarray | None = None) -> pa.RecordBatch:
    """Documents d0, d1, ... with these vectors [documents, dimensions], brought to unit length."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float16)
    mask = None if is_null is None else pa.array(is_null)
    column = pa.FixedSizeListArray.from_arrays(
        pa.array(unit.ravel()), type=pa.list_(pa.float16(), unit.shape[1]), mask=mask
    )
    missing = np.zeros(len(vectors), bool) if is_null is None else is_null
    texts = pa.array([None if out else "text" for out in missing], pa.string())
    ids = pa.array([f"{prefix}{k}" for k in range(len(vectors))])
    return pa.RecordBatch.from_arrays([ids, texts, column], names=["id", "text", "embedding"])


def fit(scorer: Scorer, pool: list[pa.RecordBatch], targets: Mapping[str, pa.RecordBatch]) -> State:
    prepared = scorer.prepare({name: scorer.sketch_target(batch) for name, batch in sorted(targets.items())})
    known = {**prepared, "num_documents": np.array([sum(map(len, pool))])}
    return scorer.finish(prepared, reduce(scorer.merge, (scorer.sketch_pool(batch, known) for batch in pool)))


def scored(
    scorer: Scorer, pool: pa.RecordBatch, targets: Mapping[str, pa.RecordBatch], cuts: int = 1
) -> dict[str, np.ndarray]:
    """Columns by name; the fit sees the pool in so many batches."""
    bounds = np.linspace(0, len(pool), cuts + 1).astype(int)
    pieces = [pool.slice(a, b - a) for a, b in pairwise(bounds)]
    columns = scorer.columns(tuple(sorted(targets)))
    arrays = scorer.score(pool, fit(scorer, pieces, targets))
    return {c.name: a.to_numpy(zero_copy_only=False) for c, a in zip(columns, arrays, strict=True)}
