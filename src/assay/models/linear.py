"""A linear model over hashed word n-grams: what it is, what it says about text, and how it is stored.

The document's vector is 1 + ln(count) of each hashed 1- to `ngrams`-gram, scaled to length 1. On planted domains (20
documents against 200 unlabelled ones, mean AUC of nine) this form, trained by plain gradient descent (`linear_fit`),
reached 0.95, counts instead of logarithms 0.93, shares of counts (as fastText's) 0.92, AdaGrad 0.87.

Cost: scores 90 MB/s and core; `4 * buckets * outputs` bytes, 4 MB by default for two classes.
"""

import io
import zipfile
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from assay.artifacts.storage import Location, atomic_path, location, open_bytes
from assay.errors import InputError, check_integer
from assay.kernels.arrow import utf8
from assay.kernels.hashing import hash_strings
from assay.kernels.linear import margins_of_texts, ngram_rows
from assay.kernels.unicode import tables
from assay.kernels.words import MAX_ORDER
from assay.memory import num_workers
from assay.models.calibration import sigmoid, softmax

BINARY, MULTICLASS, ORDINAL, REGRESSION, PAIRWISE = "binary", "multiclass", "ordinal", "regression", "pairwise"
KINDS = (BINARY, MULTICLASS, ORDINAL, REGRESSION, PAIRWISE)
MAX_BUCKETS = 1 << 28
_FIELDS = ("kind", "classes", "ngrams", "weights", "bias")
_PREFIX = "linear."
_PIECE_BYTES = 1 << 22


@dataclass(frozen=True)
class Rows:
    """Documents as a model is trained on them; see `kernels.linear.ngram_rows`. About a byte a byte of text.

    keys: hash of each text [documents] uint64; documents are split and ordered by it, so that the order in which they
    come changes nothing, and equal ones stay on one side of a split.
    """

    starts: np.ndarray
    buckets: np.ndarray
    counts: np.ndarray
    scales: np.ndarray
    keys: np.ndarray
    ngrams: int
    num_buckets: int

    def __len__(self) -> int:
        return len(self.keys)


def features(texts: pa.Array, *, ngrams: int = 2, num_buckets: int = 1 << 20) -> Rows:
    """Hashed n-grams of each document, made on all cores; a null is an empty document.

    Raises:
        InvalidParameterError: ngrams outside 1 to 8, num_buckets outside 2 to 2^28.
    """
    check_integer("ngrams", ngrams, 1, MAX_ORDER)
    check_integer("num_buckets", num_buckets, 2, MAX_BUCKETS)
    text = utf8(texts)
    length = int(text.offsets[-1] - text.offsets[0])
    bounds = np.searchsorted(text.offsets, text.offsets[0] + np.arange(0, length + _PIECE_BYTES, _PIECE_BYTES))
    bounds = np.unique(np.concatenate((np.minimum(bounds, len(texts)), [0, len(texts)]))).tolist()
    table = tables()

    def rows_of(k: int) -> tuple[np.ndarray, ...]:
        return ngram_rows(text.data, text.offsets[bounds[k] : bounds[k + 1] + 1], ngrams, num_buckets, table)

    with ThreadPoolExecutor(num_workers()) as pool:
        pieces = list(pool.map(rows_of, range(len(bounds) - 1)))
    if not pieces:
        pieces = [ngram_rows(text.data, text.offsets, ngrams, num_buckets, table)]
    sizes = np.concatenate([np.diff(starts) for starts, *_ in pieces])
    buckets, counts, scales = (np.concatenate([piece[k] for piece in pieces]) for k in (1, 2, 3))
    starts = np.concatenate(([0], np.cumsum(sizes)))
    return Rows(starts, buckets, counts, scales, hash_strings(text.data, text.offsets), ngrams, num_buckets)


def chosen_rows(rows: Rows, members: np.ndarray) -> Rows:
    """Some documents of many [members], in the order given."""
    sizes = np.diff(rows.starts)[members]
    starts = np.concatenate(([0], np.cumsum(sizes)))
    places = np.arange(starts[-1]) + np.repeat(rows.starts[members] - starts[:-1], sizes)
    return Rows(
        starts,
        rows.buckets[places],
        rows.counts[places],
        rows.scales[members],
        rows.keys[members],
        rows.ngrams,
        rows.num_buckets,
    )


@dataclass(frozen=True)
class Linear:
    """A trained model.

    kind: BINARY (one output: the margin of `classes[1]`), MULTICLASS (an output per class), ORDINAL (one output;
        P(class > k) = sigmoid(output + bias[k])), REGRESSION or PAIRWISE (one output: the value).
    classes: names, in order; none for REGRESSION and PAIRWISE.
    ngrams: longest n-gram.
    weights: [buckets, outputs] float32. bias: [outputs] float64, for ORDINAL [classes - 1], descending.
    """

    kind: str
    classes: tuple[str, ...]
    ngrams: int
    weights: np.ndarray
    bias: np.ndarray

    def margins(self, texts: pa.Array) -> np.ndarray:
        """Outputs [documents, outputs] float64; without the bias for ORDINAL."""
        text = utf8(texts)
        bias = np.zeros(1) if self.kind == ORDINAL else self.bias
        return margins_of_texts(text.data, text.offsets, self.ngrams, self.weights, bias, tables())

    def predict(self, texts: pa.Array) -> np.ndarray:
        """What the model says of each text; a null counts as empty.

        Returns:
            BINARY: probability of the second class [documents]. MULTICLASS, ORDINAL: probabilities [documents,
            classes]. REGRESSION: the value, PAIRWISE: the rating [documents].
        """
        return predictions(self.kind, self.margins(texts), self.bias)

    def state(self) -> dict[str, np.ndarray]:
        """The model as plain arrays, as a scorer's state holds it."""
        arrays = (np.array(self.kind), np.array(self.classes, str), np.array(self.ngrams), self.weights, self.bias)
        return {_PREFIX + name: array for name, array in zip(_FIELDS, arrays, strict=True)}

    @classmethod
    def of_state(cls, state: Mapping[str, np.ndarray]) -> "Linear":
        """The model that `state` gave.

        Raises:
            InputError: these are not its arrays, or they do not fit together.
        """
        try:
            kind, classes, ngrams, weights, bias = (np.asarray(state[_PREFIX + name]) for name in _FIELDS)
        except KeyError as error:
            raise InputError(f"There is no {error.args[0]!r}.") from None
        _check(kind, classes, ngrams, weights, bias)
        return cls(str(kind), tuple(map(str, classes)), int(ngrams), weights, bias)

    def save(self, path: str | Path | Location) -> None:
        """Writes an .npz file, whole or not at all; a smaller one than memory needs, as zeros are packed."""
        with atomic_path(location(path)) as temporary, open(temporary, "wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, **self.state())

    @classmethod
    def load(cls, path: str | Path | Location) -> "Linear":
        """Reads what `save` wrote, without pickle.

        Raises:
            InputError: there is no such file, or it holds no model.
        """
        try:
            with open_bytes(location(path)) as stream:
                content = io.BytesIO(stream.read())
            with np.load(content, allow_pickle=False) as stored:
                return cls.of_state(dict(stored))
        except FileNotFoundError:
            raise InputError(f"There is no model {str(path)!r}.") from None
        except InputError as error:
            raise InputError(f"{str(path)!r} holds no linear model: {error}") from None
        except (ValueError, TypeError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, AttributeError) as error:
            raise InputError(f"{str(path)!r} holds no linear model ({type(error).__name__}: {error}).") from None


def predictions(kind: str, margins: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """`Linear.predict` from margins [documents, outputs]; `bias` is that of the model, used for ORDINAL only."""
    if kind == BINARY:
        return sigmoid(margins[:, 0])
    if kind == MULTICLASS:
        return softmax(margins)
    if kind == ORDINAL:
        above = sigmoid(margins + bias)
        edges = np.ones((len(margins), 1))
        return -np.diff(np.concatenate((edges, above, 0 * edges), axis=1), axis=1)
    return margins[:, 0]


def _check(kind: np.ndarray, classes: np.ndarray, ngrams: np.ndarray, weights: np.ndarray, bias: np.ndarray) -> None:
    """Raises InputError unless these are the fields of one model."""
    if kind.ndim or kind.dtype.kind != "U" or ngrams.ndim or ngrams.dtype.kind != "i" or classes.dtype.kind != "U":
        raise InputError("its fields have the wrong types.")
    if str(kind) not in KINDS or not 1 <= int(ngrams) <= MAX_ORDER:
        raise InputError(f"it is of kind {str(kind)!r} over 1- to {int(ngrams)}-grams, which there is not.")
    num_classes = {BINARY: 2, REGRESSION: 0, PAIRWISE: 0}.get(str(kind), max(2, len(classes)))
    outputs = num_classes if kind == MULTICLASS else 1
    num_biases = num_classes - 1 if kind == ORDINAL else outputs
    ok = (
        classes.shape == (num_classes,)
        and weights.dtype == np.float32
        and weights.ndim == 2
        and weights.shape[1] == outputs
        and 2 <= len(weights) <= MAX_BUCKETS
        and bias.dtype == np.float64
        and bias.shape == (num_biases,)
        and bool(np.isfinite(bias).all())
        and bool(np.isfinite(weights).all())
    )
    if not ok:
        raise InputError("its arrays do not fit together, or hold numbers that are not finite.")
