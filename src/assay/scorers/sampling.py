"""A sample of bounded size as a sketch: for what has to be fitted on documents, and cannot be a sum over them.

Documents are drawn by a hash of their id, so the sample does not depend on order, batch or machine. A batch gives those
whose hash is below a limit that lets a few more than wanted through; of these, the least hashes are the sample. Memory:
the sample.
"""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assay.errors import InvalidParameterError
from assay.kernels.arrow import from_utf8, utf8
from assay.kernels.hashing import hash_strings, mix64_array
from assay.scorers.base import State

_SIGMAS = 6.0  # so far above the expected number lies the limit; too few come through once in 10^9 pools


def sketch_sample(batch: pa.RecordBatch, num_documents: int, size: int, seed: int = 0) -> State:
    """What a batch contributes to a sample.

    Args:
        batch: `id`, `text` and, where it has them, `embedding`; documents without text are passed over.
        num_documents: of the whole pool. size: how many are wanted. seed: other seeds draw other samples.
    """
    ids = utf8(batch.column("id"))
    keys = _keys(hash_strings(ids.data, ids.offsets), seed)
    is_in = utf8(batch.column("text")).is_valid & (keys / 2.0**64 <= sample_share(size, num_documents))
    rows = batch.filter(pa.array(is_in))
    state = {"sample.keys": keys[is_in]}
    for name in ("id", "text"):
        column = utf8(rows.column(name))
        state[f"sample.{name}"] = column.data[column.offsets[0] : column.offsets[-1]].copy()
        state[f"sample.{name}_bytes"] = np.diff(column.offsets)
    if "embedding" in batch.schema.names:
        vectors = rows.column("embedding")
        state["sample.embedding"] = np.asarray(vectors.flatten()).reshape(len(rows), vectors.type.list_size)
    return state


def sample_share(size: int, num_documents: int) -> float:
    """Share of a pool's documents that holds at least `size` of them (or all), drawn by hash."""
    return min(1.0, (size + _SIGMAS * (size**0.5 + 1)) / max(1, num_documents))


def merge_samples(a: State, b: State) -> State:
    """Two contributions as one; `sampled` puts the documents in order."""
    return {key: np.concatenate([a[key], b[key]]) for key in a if key.startswith("sample.")}


def thinned(state: State, size: int) -> State:
    """A contribution without most documents that cannot be among the `size` of least hash, for where their number is
    not known beforehand: it stays below twice that.
    """
    return state if len(state["sample.keys"]) <= 2 * size else sketch_sample(sampled(state, size), 0, size)


def shortened(state: State, max_bytes: int) -> State:
    """A contribution with no more of each text than `max_bytes` from its start, which may end inside a character."""
    sizes = state["sample.text_bytes"]
    place = np.arange(len(state["sample.text"])) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    kept = state["sample.text"][place < max_bytes]
    return state | {"sample.text": kept, "sample.text_bytes": np.minimum(sizes, max_bytes)}


def sampled(state: State, size: int) -> pa.RecordBatch:
    """The sample, from all contributions.

    Returns:
        `id`, `text` (large_string) and, where the batches had it, `embedding`, of at most `size` documents, ascending
        by hash. Any first n of them are a sample too.

    Raises:
        InvalidParameterError: no document of the pool has text.
    """
    if not len(state["sample.keys"]):
        raise InvalidParameterError("The pool has no documents with text to learn from.")
    columns = {
        name: from_utf8(state[f"sample.{name}"], _starts(state[f"sample.{name}_bytes"])) for name in ("id", "text")
    }
    # Equal hashes must not be left to chance, nor documents that share an id.
    rank = pc.rank(columns["id"], tiebreaker="min").to_numpy()
    text = utf8(columns["text"])
    rows = np.lexsort((hash_strings(text.data, text.offsets), rank, state["sample.keys"]))[:size]
    taken = {name: column.take(pa.array(rows)) for name, column in columns.items()}
    if "sample.embedding" in state:
        vectors = state["sample.embedding"][rows]
        flat = pa.array(vectors.ravel())
        taken["embedding"] = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    return pa.RecordBatch.from_pydict(taken)


def _keys(hashes: np.ndarray, seed: int) -> np.ndarray:
    """One uint64 a document, independent of what else is drawn by hash of the id."""
    digest = hashlib.blake2b(f"{seed}/sample".encode(), digest_size=8).digest()
    return mix64_array(mix64_array(hashes) ^ np.frombuffer(digest, np.uint64)[0])


def _starts(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)])
