"""The column `embedding` of a batch as numpy sees it, and what scorers that compare vectors with a target's share.

Vectors are snapped (`kernels.vectors`), so a cosine has the same bits in whatever batch, block or machine.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from assay.errors import InvalidParameterError, SchemaError
from assay.kernels.arrow import utf8
from assay.kernels.hashing import hash_strings
from assay.kernels.vectors import blocks, snapped
from assay.models.embedding import as_embedding
from assay.scorers.base import EMBEDDING, State


class Vectors(NamedTuple):
    """What a batch has. values: snapped vectors [rows, dimensions] float32; is_valid: whether a row has one [rows].

    A row has none where text is null, or where the model found nothing in it to go by; zeros stand for it. Their
    cosines would be 0, better than those of all that is unlike what is looked for.
    """

    values: np.ndarray
    is_valid: np.ndarray


def set_embedding(scorer: Any) -> None:
    """Turns the parameter `embedding` of a frozen dataclass, as a recipe writes it, into an `Embedding`.

    Raises:
        InvalidParameterError: it is none, or has an unknown or bad parameter.
    """
    object.__setattr__(scorer, EMBEDDING, as_embedding(getattr(scorer, EMBEDDING)))


def vectors_of(batch: pa.RecordBatch) -> Vectors:
    """The vectors of a batch; those of zeros, and of rows where `embedding` or `text` is null, are not valid.

    Raises:
        SchemaError: there is no column `embedding`.
    """
    if EMBEDDING not in batch.schema.names:
        raise SchemaError("The batch has no column 'embedding'; `assay.score` adds it to what these scorers are given.")
    column = batch.column(EMBEDDING)
    size = column.type.list_size
    flat = column.values.slice(column.offset * size, len(column) * size).to_numpy(zero_copy_only=False)
    is_valid = np.ones(len(batch), np.bool_)
    for name in (EMBEDDING, "text"):
        if name in batch.schema.names and batch.column(name).null_count:
            is_valid &= batch.column(name).is_valid().to_numpy(zero_copy_only=False)
    values = snapped(np.where(is_valid[:, None], flat.reshape(len(batch), size), 0))
    has_direction = np.asarray(values.any(axis=1))
    return Vectors(values, has_direction)


def id_keys(batch: pa.RecordBatch) -> np.ndarray:
    """Hash of each document's id [rows] uint64."""
    ids = utf8(batch.column("id"))
    return hash_strings(ids.data, ids.offsets)


def sketch_items(batch: pa.RecordBatch, size: int) -> State:
    """Of the documents of a batch that have a direction, the `size` with the least hashes of their ids.

    Returns:
        keys [items] uint64, rising, and vectors [items, dimensions] float32.
    """
    vectors, is_valid = vectors_of(batch)
    rows = np.flatnonzero(is_valid)
    return _least({"keys": id_keys(batch)[rows], "vectors": vectors[rows]}, size)


def merge_items(a: State, b: State, size: int) -> State:
    """Two contributions of `sketch_items` as one; nothing of nothing."""
    return _least({key: np.concatenate([a[key], b[key]]) for key in a}, size) if a else {}


def items_of(targets: Mapping[str, State]) -> tuple[np.ndarray, np.ndarray]:
    """The items of all targets, one target after another.

    Returns:
        vectors [items, dimensions] float32, and where each target's start [targets + 1] int64.

    Raises:
        InvalidParameterError: a target has none.
    """
    for name, state in targets.items():
        if not len(state["keys"]):
            raise InvalidParameterError(
                f"Target {name!r} has no document that the embedding finds anything in; give it text with words of the "
                "pool."
            )
    sizes = [len(state["keys"]) for state in targets.values()]
    return np.concatenate([state["vectors"] for state in targets.values()]), np.cumsum([0, *sizes])


def best_cosines(vectors: np.ndarray, items: np.ndarray, starts: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """The best cosine of each vector with the items of each group, block by block of rows: [rows, groups] float32.

    Args:
        vectors [rows, dimensions], items [items, dimensions]: float32, snapped. starts: as from `items_of`.
    """
    is_single = len(starts) == len(items) + 1  # each item is a group of its own
    for rows in blocks(len(vectors), len(items)):
        cosines = vectors[rows] @ items.T
        yield rows, cosines if is_single else np.maximum.reduceat(cosines, starts[:-1], axis=1)


def ordered(keys: np.ndarray, similarity: np.ndarray, known: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Places of documents in an order that holds some of them: the others come after its last, the most similar first.

    Args:
        keys: of the documents [rows] uint64. similarity: best cosine [rows], which tells the place of the others.
        known: keys of the order, rising [ordered] uint64. places: their places from 1 [ordered].

    Returns:
        [rows] float64: a whole number, or one between the last place and 1 more.
    """
    order = len(known) + (1.01 - similarity) / 2.02  # cosines of snapped vectors may be a little over 1
    if len(known):
        position = np.minimum(np.searchsorted(known, keys), len(known) - 1)
        is_known = known[position] == keys
        order[is_known] = places[position[is_known]]
    return order


def _least(state: State, size: int) -> State:
    order = np.argsort(state["keys"], kind="stable")[:size]
    return {key: values[order] for key, values in state.items()}
