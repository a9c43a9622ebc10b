"""Embeddings: a text as a short vector, such that texts about the same things have vectors that point the same way.

The embedded model, "words", is latent semantic analysis (Deerwester et al. 1990) over hashed words: a word that a
document has c times weighs ln(1 + c) times its idf, ln((1 + n) / (1 + df)) + 1 over n documents of a sample; documents
have unit length; the leading right singular vectors of that matrix turn words into `dimensions` numbers. It is fitted
on the pool, so it knows the pool's words and nothing else.

The first singular vector is left out: it is close to the mean of all documents, and every cosine would start from what
they have in common (Mu and Viswanath 2018, "All-but-the-top", arXiv:1702.01417). Among the planted domains of
tests/reference/test_yardstick.py that lifts the mean AUC from 0.955 to 0.966, the least from 0.849 to 0.876.

Words are runs of word characters or of others, lower-cased, as in `kernels.words`. In a script without blanks a whole
clause is a word, which no other document has: for Chinese, Japanese or Thai take a model from a folder.

Cost: see docs/embeddings.md. Memory: the model, 34 MB for 65,536 words and 128 dimensions; while it is fitted 0.5 GB.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from assay.errors import InvalidParameterError, check, check_choice, check_integer, check_text, did_you_mean
from assay.kernels.arrow import utf8
from assay.kernels.embedding import project_words
from assay.kernels.spectral import eigen, gram, sparse_times, sparse_transposed_times, times
from assay.kernels.unicode import tables
from assay.models.bag import NUM_BUCKETS
from assay.models.gradients import WORDS, Gradients

POOLINGS = ("mean", "position")
MAX_WORDS = 1 << 16
_OVERSAMPLED = 10  # directions beyond those wanted, which make the last ones exact sooner
_NUM_ITERATIONS = 5
_NEGLIGIBLE = 1e-12  # of the largest eigenvalue; below that there is only rounding


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """What turns a text into a vector.

    model: "words", which is fitted on the pool, or the path of a folder with a sentence-transformers or model2vec
        model; nothing is downloaded.
    dimensions: of "words"; a model from a folder has its own.
    pooling: "mean" takes all words (or tokens) alike, "position" the i-th of n with weight i / (1 + ... + n).
    """

    model: str = WORDS
    dimensions: int = 128
    pooling: str = "mean"

    def __post_init__(self) -> None:
        check_text("model", self.model)
        check_integer("dimensions", self.dimensions, 2, 4096)
        check_choice("pooling", self.pooling, POOLINGS)

    @property
    def is_fitted_on_pool(self) -> bool:
        """Whether the model is "words", and not one from a folder."""
        return self.model == WORDS

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders of models; none for "words"."""
        return () if self.is_fitted_on_pool else (self.model,)

    def in_folders(self, folders: tuple[str, ...]) -> "Embedding":
        """The same with its model in another folder."""
        return replace(self, model=folders[0])

    @property
    def of_target(self) -> "Embedding":
        """What the target's vectors come from: the same."""
        return self


def as_embedding(value: Any, name: str = "embedding") -> Embedding | Gradients:
    """An embedding from itself, a model's name or path, or a mapping of parameters, as recipes have them.

    A mapping with a key `gradients` means vectors of gradients.

    Raises:
        InvalidParameterError: anything else, or an unknown parameter.
    """
    if isinstance(value, Embedding | Gradients):
        return value
    if isinstance(value, str):
        value = {"model": value}
    check(isinstance(value, Mapping), name, value, 'an Embedding, "words", the path of a model, or a mapping')
    kind = Gradients if "gradients" in value else Embedding
    known = list(kind.__dataclass_fields__)
    for key in value:
        if key not in known:
            text = f"`{name}` has no parameter {key!r}; it has {', '.join(known)}. {did_you_mean(key, known)}"
            raise InvalidParameterError(text.rstrip())
    try:
        return kind(**value)
    except InvalidParameterError as error:
        raise InvalidParameterError(f"{name}: {error}") from None


class Encoder(Protocol):
    """A model that is ready to work; it can be pickled."""

    @property
    def dimensions(self) -> int:
        """Numbers in a vector."""

    def encode(self, texts: pa.Array, pooling: str) -> np.ndarray:
        """Vectors of unit length [texts, dimensions] float32; zeros where a text has nothing to go by, or is null."""


@dataclass(frozen=True, eq=False)
class WordModel:
    """The fitted model "words".

    rows: row of `vectors` for each hash bucket of words [buckets] int32, -1 for none.
    vectors: idf times right singular vectors [words, dimensions] float32. Where the sample has less rank the last ones
        are zero.
    """

    rows: np.ndarray = field(repr=False)
    vectors: np.ndarray = field(repr=False)

    @property
    def dimensions(self) -> int:
        """Numbers in a vector."""
        return self.vectors.shape[1]

    def encode(self, texts: pa.Array, pooling: str) -> np.ndarray:
        """Vectors of unit length [texts, dimensions] float32; zeros for a text without any known word, or null."""
        text = utf8(texts)
        return project_words(text.data, text.offsets, self.rows, self.vectors, pooling == "position", tables())


def fit_words(starts: np.ndarray, buckets: np.ndarray, counts: np.ndarray, dimensions: int) -> WordModel:
    """Latent semantic analysis of a sample; the same documents in the same order give the same bytes.

    Words in at least two documents are known, the 65,536 most frequent ones at most. Where the sample is so small that
    no word is in two, all are.

    Args:
        starts, buckets, counts: the sample's words, as `kernels.embedding.count_words` gives them.

    Raises:
        InvalidParameterError: there are no words in the sample.
    """
    num_documents = len(starts) - 1
    frequencies = np.bincount(buckets, minlength=NUM_BUCKETS)
    known = np.flatnonzero(frequencies >= (2 if frequencies.max(initial=0) >= 2 else 1))
    if not len(known):
        raise InvalidParameterError("The documents have no words to fit an embedding on.")
    known = np.sort(known[np.argsort(-frequencies[known], kind="stable")][:MAX_WORDS])
    rows = np.full(NUM_BUCKETS, -1, np.int32)
    rows[known] = np.arange(len(known))
    idf = np.log((1 + num_documents) / (1 + frequencies[known])) + 1
    matrix = _weighted(starts, rows[buckets], counts, idf)
    components = _components(*matrix, len(known), dimensions)
    vectors = np.zeros((len(known), dimensions), np.float32)
    vectors[:, : components.shape[1]] = idf[:, None] * components
    return WordModel(rows, vectors)


def _weighted(
    starts: np.ndarray, columns: np.ndarray, counts: np.ndarray, idf: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sparse rows of unit length, of known words only."""
    is_known = columns >= 0
    documents = np.repeat(np.arange(len(starts) - 1), np.diff(starts))[is_known]
    columns = columns[is_known]
    values = np.log1p(counts[is_known]) * idf[columns]
    lengths = np.sqrt(np.bincount(documents, values * values, minlength=len(starts) - 1))
    ends = np.cumsum(np.bincount(documents, minlength=len(starts) - 1))
    return np.concatenate([[0], ends]), columns, values / lengths[documents]


def _components(
    starts: np.ndarray, columns: np.ndarray, values: np.ndarray, num_columns: int, number: int
) -> np.ndarray:
    """The leading right singular vectors but the first [columns, at most `number`], most important first.

    Subspace iteration from random directions (Halko, Martinsson and Tropp 2011, "Finding structure with randomness",
    algorithm 4.4). Signs: the entry of largest size is positive. A sample of rank 1 keeps its only one.
    """
    width = min(number + 1 + _OVERSAMPLED, num_columns, len(starts) - 1)
    basis = np.random.default_rng(0).standard_normal((num_columns, width))
    for _ in range(_NUM_ITERATIONS):
        images = sparse_times(starts, columns, values, basis)
        basis = _orthonormal(sparse_transposed_times(starts, columns, values, images, num_columns))
    basis = _orthonormal(basis)  # mends what the last time lost to rounding
    eigenvalues, turned = eigen(gram(sparse_times(starts, columns, values, basis)))
    rank = int(np.sum(eigenvalues > _NEGLIGIBLE * eigenvalues[0]))
    found = times(basis, turned)[:, min(1, rank - 1) : min(rank, number + 1)]
    largest = np.abs(found).argmax(axis=0)
    return found * np.sign(found[largest, np.arange(found.shape[1])])


def _orthonormal(basis: np.ndarray) -> np.ndarray:
    """Orthonormal columns that span the same space; directions that are only rounding are left out."""
    eigenvalues, turned = eigen(gram(basis))
    is_real = eigenvalues > _NEGLIGIBLE * eigenvalues[0]
    found: np.ndarray = times(basis, np.ascontiguousarray(turned[:, is_real] / np.sqrt(eigenvalues[is_real])))
    return found
