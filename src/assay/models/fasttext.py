"""fastText's supervised models, read from their own files, plain (.bin) and quantised (.ftz).

Joulin et al. 2017 (arXiv:1607.01759) and 2016 (arXiv:1612.03651, quantisation). Probabilities are those of the package
(fasttext 0.9.2, `predict(text, k=-1)`) to 1e-5, its peculiarities included: 1e-5 is added to every probability before
it is handed out, and the sigmoid of one-vs-all and negative sampling comes from a table of 512 steps.

Text becomes the mean of its vectors, and a label's margin is a product with that mean; so where there are fewer labels
than dimensions, every vector is multiplied out when the model is opened, and scoring adds up one number per label
instead of a hundred. The file is mapped into memory and read once for that (1 GB: about 2 s); what stays is 4 bytes *
labels * rows, 16 MB for two labels and 2 million buckets. With more labels than dimensions (lid.176) the vectors
themselves stay.
"""

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from assay.errors import InputError
from assay.kernels.arrow import utf8
from assay.kernels.fasttext import add_subwords_of_words, build_lookup, mean_vectors, read_entries
from assay.models.calibration import softmax

_MAGIC = 793712314
_VERSIONS = (11, 12)
_SUPERVISED = 3
_HIERARCHICAL, _NEGATIVE, _SOFTMAX, _ONE_VS_ALL = 1, 2, 3, 4
_WORD, _LABEL = 0, 1
_END = b"</s>"
_PREFIX = b"__label__"
_MAX_ORDER = 64
_MAX_BUCKETS = 1 << 27
_CENTROIDS = 256
_BLOCK_ROWS = 1 << 16
_ADDED = 1e-5  # to every probability, as std_log does in fastText
_SIGMOID_STEPS, _SIGMOID_END = 512, 8


class FastText:
    """A supervised model; `labels` are as in the file, "__label__" included, in its order."""

    def __init__(self, tables: "_Tables", labels: tuple[str, ...]):
        self._tables, self.labels = tables, labels

    @classmethod
    def load(cls, path: str | Path) -> "FastText":
        """Opens a .bin or .ftz file.

        Raises:
            InputError: no such file, not of fastText, of word vectors without labels, or damaged.
        """
        try:
            with open(path, "rb") as stream:  # the mapping is left when nothing looks at it any more
                return _read(_Reader(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ), str(path)))
        except FileNotFoundError:
            raise InputError(f"There is no model {str(path)!r}.") from None
        except IsADirectoryError:
            raise InputError(f"{str(path)!r} is a folder, and no fastText model.") from None
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{str(path)!r} is no fastText model: it is empty.") from None  # as mmap says it

    def predict(self, texts: pa.Array, *, newline: str = " ") -> np.ndarray:
        """Probability of each label [documents, labels] float64; NaN where no word of a text is known.

        Args:
            newline: what stands for a newline, which fastText takes none of: " " parts words, as DCLM does, "" lets
                them grow together, as datatrove does by default.
        """
        text, t = utf8(texts), self._tables
        means = mean_vectors(
            text.data,
            text.offsets,
            newline == "",
            t.slots,
            np.frombuffer(_END, np.uint8),
            np.frombuffer(_PREFIX, np.uint8),
            t.order,
            t.min_n,
            t.max_n,
            t.num_buckets,
            t.pruned,
            t.words,
            t.counts,
            t.vectors,
        )
        return _probabilities(t.loss, means if t.output is None else means @ t.output.T, t.tree)


@dataclass(frozen=True)
class _Tables:
    """What `kernels.fasttext.mean_vectors` needs, and how its means become probabilities.

    output: [labels, dimensions], or None where it is multiplied out. tree: for each inner node of a hierarchical
    softmax, from the root, its two children [labels - 1, 2].
    """

    slots: np.ndarray
    order: int
    min_n: int
    max_n: int
    num_buckets: int
    pruned: np.ndarray
    words: np.ndarray
    counts: np.ndarray
    vectors: np.ndarray
    loss: int
    output: np.ndarray | None
    tree: np.ndarray


class _Reader:
    """A file from front to back; asking for more than there is tells that it is damaged."""

    def __init__(self, content: mmap.mmap, path: str):
        self.content, self.path, self.position = content, path, 0

    def bad(self, why: str) -> InputError:
        return InputError(f"{self.path!r} is no fastText model that can be read: {why}.")

    def bytes(self, number: int) -> bytes:
        if number < 0 or self.position + number > len(self.content):
            raise self.bad("it is damaged, or cut off")
        self.position += number
        return self.content[self.position - number : self.position]

    def values(self, layout: str) -> tuple:
        return struct.unpack(f"<{layout}", self.bytes(struct.calcsize(f"<{layout}")))

    def array(self, dtype: str, number: int) -> np.ndarray:
        return np.frombuffer(self.bytes(number * np.dtype(dtype).itemsize), dtype)


class _Dense:
    """A matrix in the file; rows are copied out block by block."""

    def __init__(self, reader: _Reader):
        self.num_rows, self.width = reader.values("qq")
        self._reader, self._start = reader, reader.position
        size = 4 * self.num_rows * self.width
        if self.num_rows < 0 or self.width < 1 or reader.position + size > len(reader.content):
            raise reader.bad("it is damaged, or cut off")
        reader.position += size

    def rows(self, first: int, last: int) -> np.ndarray:
        size = 4 * self.width
        block = self._reader.content[self._start + first * size : self._start + last * size]
        return np.frombuffer(block, "<f4").reshape(last - first, self.width)


class _Quantised:
    """A matrix as a product quantiser's codes: each piece of a row is one of 256, and so may be its length."""

    def __init__(self, reader: _Reader):
        (has_norms,) = reader.values("?")
        self.num_rows, self.width, code_size = reader.values("qqi")
        if self.num_rows < 0 or self.width < 1:
            raise reader.bad("it is damaged")
        codes = reader.array("u1", code_size)
        self._pieces = _centroids(reader, self.width)
        if code_size != self.num_rows * len(self._pieces):
            raise reader.bad("it is damaged")
        self._codes = codes.reshape(self.num_rows, len(self._pieces))
        self._norms = None
        if has_norms:
            norm_codes = reader.array("u1", self.num_rows)
            (centroids,) = _centroids(reader, 1)
            self._norms = centroids[norm_codes, 0]

    def rows(self, first: int, last: int) -> np.ndarray:
        pieces = [centroids[self._codes[first:last, k]] for k, centroids in enumerate(self._pieces)]
        rows = np.concatenate(pieces, axis=1)
        return rows if self._norms is None else rows * self._norms[first:last, None]


def _centroids(reader: _Reader, width: int) -> list[np.ndarray]:
    """Of each piece of a row, its 256 values [256, columns]."""
    dim, num_pieces, size, last_size = reader.values("iiii")
    if dim != width or num_pieces < 1 or size < 1 or last_size < 1 or (num_pieces - 1) * size + last_size != dim:
        raise reader.bad("it is damaged")
    flat = reader.array("<f4", dim * _CENTROIDS)
    sizes = [size] * (num_pieces - 1) + [last_size]
    bounds = np.concatenate(([0], np.cumsum(sizes))) * _CENTROIDS
    return [flat[bounds[k] : bounds[k + 1]].reshape(_CENTROIDS, sizes[k]) for k in range(num_pieces)]


@dataclass(frozen=True)
class _Dictionary:
    """Words and, behind them, labels: where each has its bytes in `data`, how often it was met; and what was pruned."""

    data: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    counts: np.ndarray
    num_words: int
    pruned: dict[int, int] | None

    def text(self, k: int) -> bytes:
        return self.data[self.starts[k] : self.ends[k]].tobytes()


def _read_dictionary(reader: _Reader) -> _Dictionary:
    size, num_words, num_labels, _, num_pruned = reader.values("iiiqq")
    if size != num_words + num_labels or min(num_words, num_labels) < 0 or num_pruned < -1:
        raise reader.bad("its dictionary is damaged")
    if size > len(reader.content) - reader.position:
        raise reader.bad("it is damaged, or cut off")
    data = np.frombuffer(reader.content, np.uint8)
    starts, ends, counts = (np.zeros(size, np.int64) for _ in range(3))
    kinds = np.zeros(size, np.uint8)
    end = read_entries(data, reader.position, size, starts, ends, counts, kinds)
    if end < 0 or not ((kinds[:num_words] == _WORD).all() and (kinds[num_words:] == _LABEL).all()):
        raise reader.bad("its dictionary is damaged, or cut off")
    words = data[reader.position : end].copy()  # not a view, which would keep the file open
    first, reader.position = reader.position, end
    pairs = reader.array("<i4", 2 * max(0, num_pruned)).reshape(-1, 2).tolist()
    pruned = dict(pairs) if num_pruned >= 0 else None
    return _Dictionary(words, starts - first, ends - first, counts, num_words, pruned)


def _read(reader: _Reader) -> FastText:
    magic, version = reader.values("ii") if len(reader.content) >= 8 else (0, 0)
    if magic != _MAGIC:
        raise reader.bad("it does not start as one")
    if version not in _VERSIONS:
        raise reader.bad(f"it is of version {version}; known are {', '.join(map(str, _VERSIONS))}")
    _, _, _, _, _, order, loss, model, num_buckets, min_n, max_n, _, _ = reader.values("12id")
    if model != _SUPERVISED:
        raise reader.bad("it holds word vectors, and no labels. Train one with train_supervised")
    max_n = 0 if version == 11 else max_n  # the older format wrote it down without using it
    words = _read_dictionary(reader)
    labels = tuple(words.text(k).decode("utf-8", "replace") for k in range(words.num_words, len(words.starts)))
    if not labels or loss not in (_HIERARCHICAL, _NEGATIVE, _SOFTMAX, _ONE_VS_ALL):
        raise reader.bad("it has no labels" if not labels else f"its loss is number {loss}, which there is not")
    needs_buckets = order > 1 or max_n > 0
    in_range = 1 <= order <= _MAX_ORDER and min_n >= 0 and max_n >= 0 and 0 <= num_buckets <= _MAX_BUCKETS
    if not in_range or (needs_buckets and not num_buckets):
        raise reader.bad("its settings make no sense")
    (is_quantised,) = reader.values("?")
    vectors = _Quantised(reader) if is_quantised else _Dense(reader)
    (is_output_quantised,) = reader.values("?")
    output = _Quantised(reader) if is_quantised and is_output_quantised else _Dense(reader)
    if reader.position != len(reader.content):
        raise reader.bad("something stands behind its end")
    if output.num_rows != len(labels) or output.width != vectors.width or vectors.num_rows < words.num_words:
        raise reader.bad("its matrices do not fit its dictionary")
    pruned = _pruned_rows(reader, words, num_buckets, vectors.num_rows - words.num_words)
    if words.pruned is None and needs_buckets and vectors.num_rows != words.num_words + num_buckets:
        raise reader.bad("its matrices do not fit its settings")
    tables = _tables(words, vectors, output.rows(0, len(labels)), (order, min_n, max_n, num_buckets), pruned, loss)
    if not np.isfinite(tables.words).all() or not np.isfinite(tables.vectors).all():
        raise reader.bad("it holds numbers that are not finite")
    return FastText(tables, labels)


def _pruned_rows(reader: _Reader, words: _Dictionary, num_buckets: int, num_rows: int) -> np.ndarray:
    if words.pruned is None:
        return np.empty(0, np.int32)
    rows = np.full(max(1, num_buckets), -1, np.int32)
    for bucket, row in words.pruned.items():
        if not (0 <= bucket < num_buckets and 0 <= row < num_rows):
            raise reader.bad("what is pruned does not fit its settings")
        rows[bucket] = row
    return rows


def _tables(
    words: _Dictionary,
    vectors: _Dense | _Quantised,
    output: np.ndarray,
    settings: tuple[int, int, int, int],
    pruned: np.ndarray,
    loss: int,
) -> _Tables:
    order, min_n, max_n, num_buckets = settings
    is_short = len(output) <= vectors.width
    rows = np.empty((vectors.num_rows, len(output) if is_short else vectors.width), np.float32)
    for first in range(0, len(rows), _BLOCK_ROWS):
        block = vectors.rows(first, min(len(rows), first + _BLOCK_ROWS))
        rows[first : first + len(block)] = block @ output.T if is_short else block
    starts, ends = words.starts[: words.num_words], words.ends[: words.num_words]
    of_words, buckets = rows[: words.num_words].copy(), rows[words.num_words :]
    counts = np.ones(words.num_words, np.int64)
    if max_n > 0:
        end_word = next((k for k in range(words.num_words) if words.text(k) == _END), -1)
        add_subwords_of_words(
            words.data, starts, ends, end_word, min_n, max_n, num_buckets, pruned, buckets, of_words, counts
        )
    size = 1 << max(4, (2 * len(words.starts)).bit_length())
    slots = build_lookup(words.data, words.starts, words.ends, size)
    tree = _huffman_tree(words.counts[words.num_words :]) if loss == _HIERARCHICAL else np.empty((0, 2), np.int64)
    return _Tables(
        slots,
        order,
        min_n,
        max_n,
        num_buckets,
        pruned,
        of_words,
        counts,
        buckets,
        loss,
        None if is_short else output,
        tree,
    )


def _huffman_tree(counts: np.ndarray) -> np.ndarray:
    """Children of each inner node [labels - 1, 2], the root last; node k < labels is label k, the others follow.

    Counts descend, as fastText sorts labels; ties are broken as there.
    """
    num_labels = len(counts)
    weights = [*counts.tolist(), *[10**15] * (num_labels - 1)]
    children = np.zeros((num_labels - 1, 2), np.int64)
    leaf, node = num_labels - 1, num_labels
    for k in range(num_labels - 1):
        for side in (0, 1):
            if leaf >= 0 and weights[leaf] < weights[node]:
                children[k, side], leaf = leaf, leaf - 1
            else:
                children[k, side], node = node, node + 1
        weights[num_labels + k] = sum(weights[child] for child in children[k])
    return children


def _probabilities(loss: int, margins: np.ndarray, tree: np.ndarray) -> np.ndarray:
    """What `predict` of the package gives, from products with the output; both [documents, labels]."""
    if loss == _SOFTMAX:
        return softmax(margins) + _ADDED
    if loss in (_ONE_VS_ALL, _NEGATIVE):
        steps = np.arange(_SIGMOID_STEPS + 1) * 2 * _SIGMOID_END / _SIGMOID_STEPS - _SIGMOID_END
        inside = np.nan_to_num((margins + _SIGMOID_END) * _SIGMOID_STEPS / _SIGMOID_END / 2)
        table = 1 / (1 + np.exp(-steps))
        found = table[np.clip(inside, 0, _SIGMOID_STEPS).astype(np.int64)]
        found = np.where(margins < -_SIGMOID_END, 0.0, np.where(margins > _SIGMOID_END, 1.0, found))
        return np.where(np.isnan(margins), np.nan, found + _ADDED)
    num_labels = margins.shape[1]
    reached = np.ones((len(margins), 2 * num_labels - 1))
    for k in range(num_labels - 2, -1, -1):
        right = 1 / (1 + np.exp(-margins[:, k]))
        reached[:, tree[k, 0]] = reached[:, num_labels + k] * (1 - right + _ADDED)
        reached[:, tree[k, 1]] = reached[:, num_labels + k] * (right + _ADDED)
    return np.where(np.isnan(margins), np.nan, reached[:, :num_labels])
