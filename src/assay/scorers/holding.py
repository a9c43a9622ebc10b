"""Texts in a state, as plain arrays: for documents to learn from, which cannot be summed up batch by batch."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from assay.kernels.arrow import from_utf8, utf8
from assay.scorers.base import State


def hold(name: str, column: pa.Array) -> State:
    """A column of texts as two arrays; a null becomes an empty text."""
    text = utf8(column)
    data = text.data[text.offsets[0] : text.offsets[-1]]
    if data.size != np.diff(text.offsets).sum():
        return hold(name, column.fill_null(""))
    return {f"{name}.bytes": data.copy(), f"{name}.sizes": np.diff(text.offsets)}


def held(state: State, name: str) -> pa.Array:
    """The texts that `hold` put there [documents], large_string."""
    return from_utf8(state[f"{name}.bytes"], np.concatenate(([0], np.cumsum(state[f"{name}.sizes"]))))


def joined(a: State, b: State, keys: Iterable[str]) -> State:
    """Two contributions one after the other; whoever reads them must put them in an order of their own."""
    return {key: np.concatenate((a[key], b[key])) for key in keys}
