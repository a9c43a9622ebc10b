"""Poisonous documents: one on which a method raises is found by halving its batch, and set aside with id and reason.

From then on it counts as a document without text, so its scores are null. What a document does alone decides, so the
result is the same however batches are cut. An error that no single document causes is a mistake of ours, or of the
machine, and is raised as it is; so is that of a method that fails on all of them. A crash of the process (a
segmentation fault in compiled code) cannot be survived from within: it ends the run, under Ray the worker. Cost:
nothing until something fails; then about twice as many calls for each such document as its batch can be halved.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assay.artifacts.kinds import Corpus
from assay.artifacts.storage import Location
from assay.corpus.failures import (
    FAILED_FOLDER,
    MAX_RAW_BYTES,
    Failure,
    check_failed_share,
    read_failures,
    write_failures,
)
from assay.errors import AssayError
from assay.progress import count_failed

T = TypeVar("T")
SCORER_FAILED, REFINER_FAILED = "scorer_failed", "refiner_failed"
FIT, PART = "fit", "part"  # what documents were set aside at, as the names of files in failed/ begin
PATIENCE = 100  # a part whose first documents all fail is given up: they are not to blame
_NOT_THE_DOCUMENTS_FAULT = (MemoryError, AssayError, ImportError, OSError)
_MAX_DETAIL = 200  # characters


class Quarantine:
    """Runs a method over the batches of one part, in order, and collects the documents that it fails on.

    Args:
        known: rows of the part [documents] that an earlier pass set aside; their text is null from the start.

    rows: of the part, all that are set aside; those in `known` too.
    """

    def __init__(self, corpus: Corpus, part: int, reason: str, known: Iterable[int] = ()):
        self._corpus, self._part, self._reason = corpus, part, reason
        self._first = 0  # row of the part at which the next batch starts
        self._errors: dict[int, Exception] = {}
        self._texts: dict[int, bytes] = {}
        self.rows = sorted(known)

    def run(self, work: Callable[[pa.RecordBatch], T], batch: pa.RecordBatch) -> T:
        """`work(batch)`; where that fails, of the batch in which the documents to blame have null for text.

        Raises:
            whatever `work` raises where no document is to blame, or all are.
        """
        first, self._first = self._first, self._first + len(batch)
        batch = without_text(batch, np.array(self.rows, np.int64) - first)
        try:
            return work(batch)
        except Exception as error:
            found = []
            for row, own in to_blame(work, batch, error):
                text = batch.column("text")[row].as_py()
                if text is None:  # what fails on nothing fails by itself
                    raise own from None
                found.append(row)
                self._errors[first + row], self._texts[first + row] = own, text.encode()
                self.rows = sorted([*self.rows, first + row])
                if len(self.rows) >= PATIENCE and self.rows[-1] == len(self.rows) - 1:
                    raise own from None
            if not found:
                raise
        return work(without_text(batch, found))

    def save(self, folder: Location, name: str) -> None:
        """Keeps what was found, `known` left out, in the folder's failed/."""
        failures = []
        if self._errors:
            ids = self._corpus.table(self._part, ["id"])["id"]
            for row, error in sorted(self._errors.items()):
                detail = f"id {ids[row].as_py()!r}: {in_short(error)}"
                place = f"{self._corpus.name}, part {self._part}"
                raw = self._texts[row][:MAX_RAW_BYTES]
                failures.append(Failure(place, row + 1, self._reason, detail[:_MAX_DETAIL], raw, "document"))
        write_failures(folder, f"{name}-{self._part:05d}", failures)


def to_blame(
    work: Callable[[pa.RecordBatch], object], batch: pa.RecordBatch, error: Exception
) -> Iterator[tuple[int, Exception]]:
    """Rows of a batch on which `work` fails alone, in order, each with its error; it fails on the whole with `error`.

    Raises:
        `error`, where it is one that no document can cause.
    """
    if isinstance(error, _NOT_THE_DOCUMENTS_FAULT):
        raise error
    if len(batch) == 1:
        yield 0, error
        return
    middle = len(batch) // 2
    for start, half in ((0, batch.slice(0, middle)), (middle, batch.slice(middle))):
        try:
            work(half)
        except Exception as found:
            yield from ((start + row, own) for row, own in to_blame(work, half, found))


def in_short(error: Exception) -> str:
    """ "ValueError: math domain error", on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def without_text(batch: pa.RecordBatch, rows: Sequence[int] | np.ndarray) -> pa.RecordBatch:
    """The batch with null for the text of some rows; rows that it does not have are passed over."""
    is_out = np.isin(np.arange(len(batch)), rows)
    if not is_out.any():
        return batch
    text = batch.column("text")
    return batch.set_column(
        batch.schema.get_field_index("text"), "text", pc.if_else(pa.array(is_out), pa.scalar(None, text.type), text)
    )


def known_rows(folder: Location, name: str, part: int) -> list[int]:
    """Rows of a part that were set aside at the pass called `name`."""
    failures = read_failures(folder, f"{name}-{part:05d}")
    return [failure.line - 1 for failure in failures]


def conclude(
    corpus: Corpus, folder: Location, max_failed_share: float, fail: Callable[[pa.RecordBatch], object]
) -> tuple[dict[str, int], list[list[int]]]:
    """How many documents were set aside, by reason, and their rows, part by part.

    Args:
        fail: what was done with each batch; raises its own error when there is no document on which it does not.

    Raises:
        InputError: more than `max_failed_share` of all documents were set aside.
    """
    if not (folder / FAILED_FOLDER).is_dir():
        return {}, [[] for _ in range(corpus.num_parts)]
    counts = Counter(failure.reason for failure in read_failures(folder))
    count_failed(counts.total())
    if counts.total() and counts.total() == corpus.num_documents:
        fail(next(corpus.batches(0, ["id", "text"])).slice(0, 1))
    check_failed_share(corpus.name, corpus.num_documents - counts.total(), counts, folder, max_failed_share)
    rows = [sorted(known_rows(folder, FIT, k) + known_rows(folder, PART, k)) for k in range(corpus.num_parts)]
    return dict(counts), rows
