"""Rows that could not be read: kept aside with file, line and reason, counted, and a reason to stop when too many."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from assay.artifacts.manifest import atomic_path
from assay.errors import InputError

FAILED_FOLDER = "failed"
_SHOWN = 3

# Reason -> what is wrong, as a person would say it.
REASONS = {
    "not_json": "is not JSON",
    "not_an_object": "is JSON but not an object",
    "missing_text": "has no text column",
    "null_text": "has null for text",
    "text_not_string": "has text that is not a string",
    "invalid_utf8": "is not valid UTF-8",
    "missing_id": "has no id",
    "duplicate_id": "has an id that came before",
    "truncated_file": "is where the compressed file breaks off",
    "unreadable_file": "cannot be read",
}

_SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("line", pa.int64()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("raw", pa.binary()),
    ]
)


class Failure(NamedTuple):
    """One row set aside. `line` counts from 1 (a row number in Parquet; 0 = the file as a whole)."""

    file: str
    line: int
    reason: str
    detail: str
    raw: bytes


def write_failures(folder: Path, name: str, failures: list[Failure]) -> None:
    """Keeps `failures` in folder/failed/name.parquet; an empty list removes what an earlier try left."""
    path = folder / FAILED_FOLDER / f"{name}.parquet"
    if not failures:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(exist_ok=True)
    table = pa.table(list(zip(*failures, strict=True)), schema=_SCHEMA)
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_failures(folder: Path) -> list[Failure]:
    """All rows that were set aside while the corpus in `folder` was read, in file order."""
    files = sorted((folder / FAILED_FOLDER).glob("*.parquet"))
    return [Failure(**row) for file in files for row in pq.read_table(file).to_pylist()]


def check_failed_share(
    name: str, num_documents: int, counts: Counter[str], folder: Path, max_failed_share: float
) -> None:
    """Raises InputError when more than `max_failed_share` of all rows were set aside, or when nothing was left.

    The message counts the failures by reason, shows the first few with file and line, and says where all of them are.
    """
    failed = counts.total()
    if failed == 0 or (num_documents and failed <= max_failed_share * (num_documents + failed)):
        return
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in counts.most_common())
    examples = "".join(f"\n  {describe(f)}" for f in _first(read_failures(folder)))
    share = failed / (num_documents + failed)
    raise InputError(
        f"{failed:,} of {num_documents + failed:,} rows of {name!r} cannot be used ({reasons}):{examples}\n"
        f"They are kept in {folder / FAILED_FOLDER}. Mend them, or set them aside and go on with "
        f"max_failed_share: {max(share * 1.01, 1e-6):.2g} (now {max_failed_share:g})."
    )


def describe(failure: Failure) -> str:
    """ "pool.jsonl, line 17: is not JSON (trailing characters)"."""
    place = failure.file if failure.line == 0 else f"{failure.file}, line {failure.line:,}"
    return f"{place}: {REASONS[failure.reason]}" + (f" ({failure.detail})" if failure.detail else "")


def _first(failures: list[Failure]) -> Iterable[Failure]:
    """The first failure of each reason, then others, `_SHOWN` in all."""
    by_reason: dict[str, Failure] = {}
    for failure in failures:
        by_reason.setdefault(failure.reason, failure)
    ordered = [*by_reason.values(), *(f for f in failures if f not in by_reason.values())]
    return ordered[: max(_SHOWN, len(by_reason))]
