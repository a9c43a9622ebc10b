"""Labelled documents in a state, of bounded number: what classifiers learn from.

Of more than `size` documents those of the least hashes are kept, so that the choice does not depend on order, batch or
machine, and of each text the beginning. Memory: `size` texts of 20 kB at most.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assay.errors import InvalidParameterError
from assay.kernels.arrow import from_utf8, utf8
from assay.kernels.hashing import hash_strings, mix64_array
from assay.kernels.ragged import take_runs
from assay.scorers.base import State
from assay.scorers.holding import held, hold, joined

MAX_BYTES = 20_000  # learnt from, of each text
_ARRAYS = ("keys", "text.bytes", "text.sizes", "label.bytes", "label.sizes")


def lesson(batch: pa.RecordBatch, size: int, labels: pa.Array | None = None) -> State:
    """What a batch contributes: texts and labels, and how many documents there were, without text, without label.

    Args:
        size: how many documents are kept at most; a batch may hold more, and be the only one.
        labels: as text, null where there is none; None = documents need none.
    """
    has_text = batch.column("text").is_valid()
    given = pa.array([""] * len(batch), pa.string()) if labels is None else labels.cast(pa.string())
    is_in = pc.and_(has_text, given.is_valid())
    num_texts = has_text.to_numpy(zero_copy_only=False).sum()
    rows = batch.filter(is_in)
    ids, texts = (utf8(rows.column(name)) for name in ("id", "text"))
    # Documents that share an id are told apart by their text.
    keys = mix64_array(hash_strings(ids.data, ids.offsets)) ^ hash_strings(texts.data, texts.offsets)
    state = {
        "keys": mix64_array(keys),
        **hold("text", beginnings(rows.column("text"), MAX_BYTES)),
        **hold("label", given.filter(is_in)),
        "counts": np.array([len(batch), len(batch) - num_texts, num_texts - len(rows)]),
    }
    return _limited(state, size)


def beginnings(texts: pa.Array, max_bytes: int) -> pa.Array:
    """The first `max_bytes` bytes of each text, in whole characters; a null becomes an empty text."""
    text = utf8(texts)
    starts, whole = text.offsets[:-1], np.diff(text.offsets)
    sizes = np.minimum(whole, max_bytes)
    for _ in range(3):  # a character has four bytes at most
        is_cut = sizes < whole
        is_cut[is_cut] = text.data[(starts + sizes)[is_cut]] & 0xC0 == 0x80
        sizes -= is_cut
    kept = np.empty(sizes.sum(), np.uint8)
    take_runs(text.data, starts, sizes, kept)
    return from_utf8(kept, np.concatenate(([0], np.cumsum(sizes))))


def shortened(sample: State, max_bytes: int) -> State:
    """A contribution to a sample of the pool, with the beginnings of its texts."""
    starts = np.concatenate(([0], np.cumsum(sample["sample.text_bytes"])))
    text = utf8(beginnings(from_utf8(sample["sample.text"], starts), max_bytes))
    return sample | {"sample.text": text.data, "sample.text_bytes": np.diff(text.offsets)}


def merge_lessons(a: State, b: State, size: int) -> State:
    """Two contributions as one; of more than `size` documents those with the least hashes."""
    return _limited(joined(a, b, _ARRAYS) | {"counts": a["counts"] + b["counts"]}, size)


def _limited(state: State, size: int) -> State:
    """A contribution with the documents of least hashes, at most `size`."""
    if len(state["keys"]) <= size:
        return state
    rows = np.sort(np.argsort(state["keys"], kind="stable")[:size])
    kept = (held(state, name).take(pa.array(rows)) for name in ("text", "label"))
    texts, labels = (hold(name, column) for name, column in zip(("text", "label"), kept, strict=True))
    return {"keys": state["keys"][rows], **texts, **labels, "counts": state["counts"]}


def learnt(states: Sequence[State]) -> tuple[pa.Array, pa.Array]:
    """Texts and labels [documents] of several contributions; training puts them in an order of its own."""
    columns = (pa.chunked_array([held(state, name) for state in states]) for name in ("text", "label"))
    texts, labels = (column.combine_chunks() for column in columns)
    return texts, labels


def told(counts: np.ndarray) -> dict[str, int]:
    """The counts of a contribution, for a report."""
    return dict(zip(("documents", "without_text", "without_label"), counts.tolist(), strict=True))


def labels_of(batch: pa.RecordBatch, column: str, parameter: str) -> pa.Array:
    """A column of labels as text; a number that is whole is written without a point.

    Raises:
        InvalidParameterError: there is no such column, or it holds a NaN, lists or records.
    """
    if column not in batch.schema.names:
        raise InvalidParameterError(
            f"`{parameter}` has no column {column!r}; it has {', '.join(batch.schema.names)}. Name it by `column`."
        )
    values = batch.column(column)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_floating(values.type):
        if pc.any(pc.is_nan(values)).as_py() or pc.any(pc.is_inf(values)).as_py():
            raise InvalidParameterError(f"Column {column!r} of `{parameter}` holds a NaN or infinity.")
        return pa.array([None if v is None else str(int(v)) if v == int(v) else repr(v) for v in values.to_pylist()])
    if pa.types.is_nested(values.type):
        raise InvalidParameterError(f"Column {column!r} of `{parameter}` holds lists or records, and no labels.")
    return values.cast(pa.string())


def numbers_of(labels: pa.Array, parameter: str) -> np.ndarray:
    """Labels that are to be numbers [documents] float64.

    Raises:
        InvalidParameterError: one is not.
    """
    try:
        values: np.ndarray = labels.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid as error:
        raise InvalidParameterError(f"`{parameter}` has a label that is no number: {error}") from None
    if not np.isfinite(values).all():
        raise InvalidParameterError(f"`{parameter}` has a label that is no finite number.")
    return values
