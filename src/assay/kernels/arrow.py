"""The only module that knows Arrow's memory layout: string arrays seen as numpy bytes and offsets, without a copy."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class Utf8(NamedTuple):
    """A string array as kernels take it; nulls have length 0 in `offsets`.

    data: UTF-8 bytes of all strings [bytes], uint8.
    offsets: where each string starts in `data`, and where the last ends [strings + 1], int64.
    is_valid: False where the string is null [strings], bool.
    """

    data: np.ndarray
    offsets: np.ndarray
    is_valid: np.ndarray


def utf8(array: pa.Array | pa.ChunkedArray) -> Utf8:
    """Views a string, large_string or dictionary array (with any offset) as bytes; chunks are joined."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks() if array.num_chunks != 1 else array.chunk(0)
        if isinstance(array, pa.ChunkedArray):  # combine_chunks keeps chunks when 32-bit offsets would overflow
            array = array.cast(pa.large_string()).combine_chunks()
    if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        array = array.cast(pa.large_string())
    width = np.int64 if pa.types.is_large_string(array.type) else np.int32
    _, offset_buffer, data_buffer = array.buffers()
    if len(array) == 0 or offset_buffer is None:
        return Utf8(np.empty(0, np.uint8), np.zeros(len(array) + 1, np.int64), np.ones(len(array), np.bool_))
    offsets = np.frombuffer(offset_buffer, width)[array.offset : array.offset + len(array) + 1].astype(np.int64)
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer else np.empty(0, np.uint8)
    if array.null_count == 0:
        return Utf8(data, offsets, np.ones(len(array), np.bool_))
    is_valid = pc.is_valid(array).to_numpy(zero_copy_only=False)
    if np.any(offsets[1:][~is_valid] != offsets[:-1][~is_valid]):  # bytes may hide under a null
        return utf8(array.take(pa.array(np.arange(len(array)))))
    return Utf8(data, offsets, is_valid)


def masked(values: np.ndarray, is_valid: np.ndarray) -> pa.Array:
    """Arrow array of `values` that is null where `is_valid` is False or a float is NaN."""
    if values.dtype.kind == "f":
        is_valid = is_valid & ~np.isnan(values)
    return pa.array(values, mask=None if is_valid.all() else ~is_valid)


def from_utf8(data: np.ndarray, offsets: np.ndarray) -> pa.Array:
    """Large_string array over bytes [bytes] uint8 and offsets [strings + 1] int64, without a copy; no nulls.

    The bytes must be UTF-8: nothing checks them.
    """
    buffers = [None, pa.py_buffer(np.ascontiguousarray(offsets, np.int64)), pa.py_buffer(np.ascontiguousarray(data))]
    return pa.Array.from_buffers(pa.large_string(), len(offsets) - 1, buffers)
