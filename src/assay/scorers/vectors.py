"""The column `embedding` of a batch as numpy sees it; what scorers that go by vectors share."""

from typing import Any

import numpy as np
import pyarrow as pa

from assay.errors import SchemaError
from assay.models.embedding import as_embedding
from assay.scorers.base import EMBEDDING


def set_embedding(scorer: Any) -> None:
    """Turns the parameter `embedding` of a frozen dataclass, as a recipe writes it, into an `Embedding`.

    Raises:
        InvalidParameterError: it is none, or has an unknown or bad parameter.
    """
    object.__setattr__(scorer, EMBEDDING, as_embedding(getattr(scorer, EMBEDDING)))


def vectors_of(batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
    """Vectors [rows, dimensions] float32, and whether each row has one [rows] bool; without one it is zeros.

    A row has none where `embedding` or `text` is null.

    Raises:
        SchemaError: there is no column `embedding`.
    """
    if EMBEDDING not in batch.schema.names:
        raise SchemaError("The batch has no column 'embedding'; `assay.score` adds it to what these scorers are given.")
    column = batch.column(EMBEDDING)
    size = column.type.list_size
    flat = column.values.slice(column.offset * size, len(column) * size).to_numpy(zero_copy_only=False)
    is_valid = np.ones(len(batch), np.bool_)
    for name in {EMBEDDING, "text"} & set(batch.schema.names):
        if batch.column(name).null_count:
            is_valid &= batch.column(name).is_valid().to_numpy(zero_copy_only=False)
    vectors = flat.astype(np.float32).reshape(len(batch), size)
    vectors[~is_valid] = 0
    return vectors, is_valid
