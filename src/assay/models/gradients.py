"""Gradients as vectors: documents that would move a model the same way have vectors that point the same way.

A vector is the gradient of the model's loss on the document, mean over its tokens, projected to `dimensions` numbers by
a matrix of random signs (`kernels.projection`) and brought to unit length. LESS (Xia et al. 2024, arXiv:2402.04333,
sections 3.1 and 4.1) compares a target's gradients with the step that Adam would take on a training document,

    ((1 - b1) g + b1 m) / sqrt((1 - b2) g^2 + b2 s + epsilon),

m and s being the averages of gradients and of their squares that the optimiser has at the checkpoint. (As in the
authors' code epsilon is inside the root, and nothing is corrected for the start.) So the documents of the pool have
Adam's vectors where the checkpoint holds these averages, the target's have plain ones.

Of several checkpoints each vector is scaled by the root of its share of the learning rates, and they stand one after
another: the dot product of two is the sum over checkpoints of share times cosine, which is LESS's score.

The embedded model, "words", is `models.bag`: a softmax over hashed words, the last layer of a linear model and nothing
else, whose gradients need no network. It is fitted on the pool by counting; m is then 0, and s the mean square over a
sample of the pool's documents.

Cost and memory: see docs/influence.md.
"""

from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

from assay.errors import check, check_integer, check_number
from assay.kernels.arrow import utf8
from assay.kernels.embedding import count_words
from assay.kernels.projection import WORD, project_sparse, seed_key
from assay.kernels.unicode import tables
from assay.models.bag import Bag, mean_counts

WORDS = "words"
ADAM, PLAIN = "Adam", "plain"
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
MAX_DIMENSIONS = 1 << 13


@dataclass(frozen=True, kw_only=True)
class Gradients:
    """What turns a text into the projected gradient of a model's loss on it; it can stand wherever an embedding does.

    gradients: "words", which is fitted on the pool; or the folder of a causal language model, a checkpoint of ours or
        one of Hugging Face's, or several folders, checkpoints of one run.
    dimensions: of each checkpoint's vectors; a multiple of 64.
    layers: how many of a network's last blocks are taken the gradient by; 0 = all. Never the embedding.
    rates: the learning rate at each checkpoint, which says how much it counts; none = all alike.
    adam: whether vectors of the pool are Adam's where that can be told.
    seed: of the projection.
    """

    gradients: str | tuple[str, ...] = WORDS
    dimensions: int = 2048
    layers: int = 1
    rates: tuple[float, ...] = ()
    adam: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        given = (self.gradients,) if isinstance(self.gradients, str) else self.gradients
        ok = isinstance(given, list | tuple) and len(given) > 0 and all(isinstance(f, str) and f.strip() for f in given)
        check(ok, "gradients", self.gradients, '"words", the folder of a model, or folders of several')
        if not isinstance(self.gradients, str):
            object.__setattr__(self, "gradients", tuple(given) if len(given) > 1 else given[0])
        check_integer("dimensions", self.dimensions, WORD, MAX_DIMENSIONS)
        check(self.dimensions % WORD == 0, "dimensions", self.dimensions, f"a multiple of {WORD}")
        check_integer("layers", self.layers, 0)
        check_integer("seed", self.seed, 0)
        check(isinstance(self.adam, bool), "adam", self.adam, "true or false")
        check(isinstance(self.rates, list | tuple), "rates", self.rates, "a list of learning rates")
        for rate in self.rates:
            check_number("rates", rate, "of numbers above 0", lambda x: x > 0)
        rule = f"one for each of {len(given)} checkpoints, or none"
        check(len(self.rates) in (0, len(given)), "rates", self.rates, rule)
        object.__setattr__(self, "rates", tuple(self.rates))

    @property
    def is_fitted_on_pool(self) -> bool:
        """Whether the model is "words", and not one from a folder."""
        return self.gradients == WORDS

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders of models; none for "words"."""
        if self.is_fitted_on_pool:
            return ()
        return (self.gradients,) if isinstance(self.gradients, str) else self.gradients

    def in_folders(self, folders: tuple[str, ...]) -> "Gradients":
        """The same with its models in other folders."""
        return replace(self, gradients=folders)

    @property
    def shares(self) -> np.ndarray:
        """How much each checkpoint counts [checkpoints], of sum 1."""
        rates = np.array(self.rates or [1.0] * max(1, len(self.folders)))
        return rates / rates.sum()

    @property
    def of_target(self) -> "Gradients":
        """What the target's vectors come from: plain gradients."""
        return replace(self, adam=False)


def adam_step(gradient: np.ndarray, mean: np.ndarray, square: np.ndarray, beta_2: float = BETA_2) -> np.ndarray:
    """The direction that Adam would step in, coordinate by coordinate (LESS, section 3.1); any shapes that fit."""
    step: np.ndarray = ((1 - BETA_1) * gradient + BETA_1 * mean) / np.sqrt(
        (1 - beta_2) * gradient * gradient + beta_2 * square + EPSILON
    )
    return step


@runtime_checkable
class TakesGradients(Protocol):
    """An encoder of gradients."""

    @property
    def steps(self) -> str:
        """Whether vectors are "Adam"'s steps or "plain" gradients."""


@dataclass(frozen=True, eq=False)
class WordGradients:
    """The encoder of "words".

    base: the projection of what a document without words would have [dimensions] float64.
    """

    bag: Bag = field(repr=False)
    dimensions: int
    seed: int
    adam: bool
    base: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, bag: Bag, wanted: Gradients) -> "WordGradients":
        """The encoder of a fitted model; takes a moment, since every word has a part in every gradient."""
        dense = _direction(bag.shares, 0.0, bag.squares, wanted.adam)
        every = np.arange(len(dense))
        base = project_sparse(np.array([0, len(dense)]), every, dense, wanted.dimensions, seed_key(wanted.seed))[0]
        return cls(bag, wanted.dimensions, wanted.seed, wanted.adam, base)

    @property
    def steps(self) -> str:
        """As of `TakesGradients`."""
        return ADAM if self.adam else PLAIN

    def encode(self, texts: pa.Array, pooling: str) -> np.ndarray:
        """Vectors of unit length [texts, dimensions] float32; zeros for a text without words, or null."""
        text = utf8(texts)
        starts, buckets, counts = count_words(text.data, text.offsets, len(self.bag.shares), tables())
        own = mean_counts(starts, counts)
        expected, square = self.bag.shares[buckets], self.bag.squares[buckets]
        without = _direction(expected, 0.0, square, self.adam)
        values = _direction(expected, own, square, self.adam) - without
        vectors = project_sparse(starts, buckets, values, self.dimensions, seed_key(self.seed)) + self.base
        return _unit(vectors, np.diff(starts) > 0)


def _direction(expected: np.ndarray, own: np.ndarray | float, square: np.ndarray, adam: bool) -> np.ndarray:
    """Coordinates of gradients expected - own, or of Adam's step."""
    gradient = expected - own
    return adam_step(gradient, np.zeros(1), square) if adam else gradient


def _unit(vectors: np.ndarray, has_any: np.ndarray) -> np.ndarray:
    """Rows of unit length, float32; zeros where there is nothing."""
    lengths = np.sqrt(np.sum(vectors * vectors, axis=1))
    is_in = has_any & (lengths > 0)
    scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=is_in)
    unit: np.ndarray = (vectors * scale[:, None]).astype(np.float32)
    return unit
