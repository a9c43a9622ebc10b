"""What a scorer is: parameters checked when built, columns stated, global work in `fit`, rows scored one by one.

`fit` happens in sketches, so that any engine may cut the data anywhere: a partial per batch, merged, finished. What
comes out is a *state*, a plain dict of numpy arrays, which is all that `score` needs: it is stored beside the scores,
travels to workers, and is read without pickle.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

State = dict[str, np.ndarray]


class Column(NamedTuple):
    """A column that a scorer writes. `higher_is_better` is None where neither end is better."""

    name: str
    type: pa.DataType
    higher_is_better: bool | None
    meaning: str


class Method(ABC):
    """Whatever gives every document numbers: a `Scorer`, or a grouping. Concrete ones are frozen dataclasses.

    name: what recipes call it, and the first part of its columns' names.
    version: to be raised whenever the same parameters would give other numbers.
    needs_target: it compares with target documents.
    prefixes: first parts of its columns' names, where they are not its name.
    takes_benchmarks: the targets are a recipe's benchmarks, not what its data is for.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    needs_target: ClassVar[bool] = False
    prefixes: ClassVar[tuple[str, ...]] = ()
    takes_benchmarks: ClassVar[bool] = False

    @abstractmethod
    def columns(self, targets: tuple[str, ...]) -> list[Column]:
        """The columns that it gives when there are the named targets; the first is *the* score."""

    def parameters(self) -> dict[str, Any]:
        """Its parameters, as they go into the fingerprint and the manifest."""
        return asdict(self)  # type: ignore[call-overload]


class Scorer(Method):
    """A method that is fitted, then gives each document its numbers by itself; parameters are keyword-only.

    needs_target: `fit` looks at target documents.
    reads_pool: `fit` looks at every document of the pool.
    target_columns: what `sketch_target` is given of the target's columns; those that a target has not are left out.
    """

    reads_pool: ClassVar[bool] = False
    target_columns: ClassVar[tuple[str, ...]] = ("text",)

    @abstractmethod
    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        """One array per column, in the order of `columns`, one value per row; null where the text is null.

        Row-wise: other rows change nothing.
        """

    def sketch_target(self, batch: pa.RecordBatch) -> State:
        """What one batch of target documents contributes to the fit."""
        return {}

    def prepare(self, targets: Mapping[str, State]) -> State:
        """What the pass over the pool has to know, from the merged contributions of each named target."""
        return {}

    def sketch_pool(self, batch: pa.RecordBatch, prepared: State) -> State:
        """What one batch of the pool contributes to the fit."""
        return {}

    def merge(self, a: State, b: State) -> State:
        """Two contributions as one; commutative and associative. Default: arrays are added."""
        return {key: a[key] + b[key] for key in a}

    def finish(self, prepared: State, pool: State) -> State:
        """The fitted state, from what was prepared and the merged contributions of the pool."""
        return prepared

    def summarise(self, columns: Mapping[str, pa.Array]) -> State:
        """What one part's scores contribute to figures about the whole column; merged like sketches."""
        return {}

    def summary(self, total: State) -> dict[str, Any]:
        """Figures about all scores, for the manifest and the report."""
        return {}
