"""What a scorer is: parameters checked when built, columns stated, global work in `fit`, rows scored one by one.

`fit` happens in sketches, so that any engine may cut the data anywhere: a partial per batch, merged, finished. What
comes out is a *state*, a plain dict of numpy arrays, which is all that `score` needs: it is stored beside the scores,
travels to workers, and is read without pickle.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

State = dict[str, np.ndarray]
EMBEDDING = "embedding"  # the parameter of methods that go by vectors, and the column that these come in


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
    documents: parameters that mean documents to learn from: a path, paths, {read: path, text: column, ...}, or an open
        corpus. files: parameters that are the path of one file or folder. Of both, the content goes into the
        fingerprint, not the path, and None means none. nested: parameters that are scorers themselves.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    needs_target: ClassVar[bool] = False
    prefixes: ClassVar[tuple[str, ...]] = ()
    takes_benchmarks: ClassVar[bool] = False
    documents: ClassVar[tuple[str, ...]] = ()
    files: ClassVar[tuple[str, ...]] = ()
    nested: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def columns(self, targets: tuple[str, ...]) -> list[Column]:
        """The columns that it gives when there are the named targets; the first is *the* score."""

    def parameters(self) -> dict[str, Any]:
        """Its parameters, as one would write them in a recipe."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]

    def is_bare(self) -> bool:
        """Whether every parameter has its default."""
        return all(f.default is not MISSING and getattr(self, f.name) == f.default for f in fields(self))  # type: ignore[arg-type]

    def question(self) -> dict[str, Any]:
        """What goes into the fingerprint beside the content of `document_sets` and `paths`, and what makes vectors."""
        own = {k: v for k, v in self.parameters().items() if k not in (*self.documents, *self.files, EMBEDDING)}
        return own | {k: [inner.name, inner.version, inner.question()] for k, inner in self.inner().items()}

    def document_sets(self) -> dict[str, Any]:
        """The documents to learn from, by parameter; "of.positives" is `positives` of the scorer that is its `of`."""
        own = {name: getattr(self, name) for name in self.documents if getattr(self, name) is not None}
        return own | {f"{k}.{n}": v for k, inner in self.inner().items() for n, v in inner.document_sets().items()}

    def paths(self) -> dict[str, Any]:
        """The files that it reads itself, named like `document_sets`."""
        own = {name: getattr(self, name) for name in self.files if getattr(self, name) is not None}
        return own | {f"{k}.{n}": v for k, inner in self.inner().items() for n, v in inner.paths().items()}

    def inner(self) -> "dict[str, Method]":
        """The scorers that it is made of, by parameter."""
        return {name: getattr(self, name) for name in self.nested if getattr(self, name) is not None}


class Scorer(Method):
    """A method that is fitted, then gives each document its numbers by itself; parameters are keyword-only.

    needs_target: `fit` looks at target documents.
    reads_pool: `fit` looks at the documents of the pool.
    target_columns: what `sketch_target` is given of the target's columns; those that a target has not are left out.
    pool_columns, score_columns: what `sketch_pool` and `score` are given of the pool's columns.

    A method with a parameter `embedding` gets a further column of that name everywhere: vectors of unit length,
    float16, null where the text is; see `scorers.vectors`.
    """

    reads_pool: ClassVar[bool] = False
    target_columns: ClassVar[tuple[str, ...]] = ("text",)
    pool_columns: ClassVar[tuple[str, ...]] = ("text",)
    score_columns: ClassVar[tuple[str, ...]] = ("text",)

    @abstractmethod
    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        """One array per column, in the order of `columns`, one value per row; null where the text is null.

        Row-wise: other rows change nothing.
        """

    def sketch_target(self, batch: pa.RecordBatch) -> State:
        """What one batch of target documents contributes to the fit."""
        return {}

    def document_columns(self, name: str) -> tuple[str, ...]:
        """The columns beside id and text that it wants of a document set; those that are not there are left out."""
        return ()

    def sketch_documents(self, name: str, batch: pa.RecordBatch) -> State:
        """What one batch of a document set contributes to the fit."""
        return {}

    def prepare(self, targets: Mapping[str, State]) -> State:
        """What the pass over the pool has to know, from the merged contributions of each target and document set."""
        return {}

    def sketch_pool(self, batch: pa.RecordBatch, prepared: State) -> State:
        """What one batch of the pool contributes to the fit.

        Args:
            prepared: what `prepare` returned, and `num_documents` [1], how many the pool has.
        """
        return {}

    def merge(self, a: State, b: State) -> State:
        """Two contributions as one; commutative and associative. Default: arrays are added."""
        return {key: a[key] + b[key] for key in a}

    def finish(self, prepared: State, pool: State) -> State:
        """The fitted state, from what was prepared and the merged contributions of the pool."""
        return prepared

    def fit_summary(self, state: State) -> dict[str, Any]:
        """Figures about the fit, for the manifest and the report; they stand beside those of `summary`."""
        return {}

    def summarise(self, columns: Mapping[str, pa.Array]) -> State:
        """What one part's scores contribute to figures about the whole column; merged like sketches."""
        return {}

    def summary(self, total: State) -> dict[str, Any]:
        """Figures about all scores, for the manifest and the report."""
        return {}


def _plain(value: Any) -> Any:
    """A parameter as one would write it: a nested scorer as {name: parameters}, settings as a mapping."""
    if isinstance(value, Method):
        return {value.name: value.parameters()}
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
