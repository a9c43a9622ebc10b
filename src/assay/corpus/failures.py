"""Rows that could not be read: kept aside with file, line and reason, counted, and a reason to stop when too many."""

import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from assay.artifacts.remote import RemotePath
from assay.artifacts.storage import Location, atomic_path, read_parquet
from assay.errors import InputError

FAILED_FOLDER = "failed"
MAX_RAW_BYTES = 64 << 10  # what is kept of a page or record that is set aside
MAX_INFLATED_RATIO = 250  # of a compressed file; text gives 3 to 10, lines that repeat one another 100
FREE_INFLATED_BYTES = 256 << 20  # that any file may inflate to
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
    "truncated_record": "is a WARC record that breaks off",
    "damaged_record": "is no WARC record that can be read",
    "bad_response": "holds no HTTP response that can be read",
    "undecodable": "is in no encoding that fits",
    "page_too_large": "is too large for a page",
    "nested_too_deep": "has its tags nested too deep",
    "page_too_costly": "takes too long, or too much memory, to read",
    "extractor_failed": "made the extractor fail",
    "unreadable_file": "cannot be read",
    "line_too_long": "is too long for a document",
    "inflates_too_far": "inflates further than any text does",
    "scorer_failed": "makes the scorer fail",
    "refiner_failed": "makes the refiner fail",
}

_SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("line", pa.int64()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("raw", pa.binary()),
        ("unit", pa.string()),
    ]
)


def inflates_too_far(num_bytes: int, file_bytes: int) -> str:
    """What is wrong with a compressed file of `file_bytes` that has given `num_bytes`; "" where nothing is."""
    if num_bytes <= max(FREE_INFLATED_BYTES, MAX_INFLATED_RATIO * file_bytes):
        return ""
    return f"{file_bytes:,} bytes have given {num_bytes:,}, and there is more"


class Failure(NamedTuple):
    """One row set aside.

    `line` counts from 1 (a row number in Parquet; 0 = the file as a whole); where `unit` is "byte" it is the offset
    of a WARC record, or of its gzip member, from 0; where it is "document", the place in a part of a corpus, from 1.
    """

    file: str
    line: int
    reason: str
    detail: str
    raw: bytes
    unit: str = "line"


def write_failures(folder: Location, name: str, failures: list[Failure]) -> None:
    """Keeps `failures` in folder/failed/name.parquet; an empty list removes what an earlier try left."""
    path = folder / FAILED_FOLDER / f"{name}.parquet"
    if not failures:
        path.unlink(missing_ok=True)
        return
    if isinstance(path, Path):
        path.parent.mkdir(exist_ok=True)
    table = pa.table(list(zip(*failures, strict=True)), schema=_SCHEMA)
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_failures(folder: Location, name: str = "*") -> list[Failure]:
    """All rows that were set aside while what is in `folder` was made: in file order, duplicate ids last."""
    files: list[Location] = [*(folder / FAILED_FOLDER).glob(f"{name}.parquet")]
    return [Failure(**row) for file in sorted(files, key=str) for row in read_parquet(file, None).to_pylist()]


def copy_failures(folder: Path, to: RemotePath) -> None:
    """Puts what was set aside in a local folder where it belongs."""
    for path in sorted((folder / FAILED_FOLDER).glob("*.parquet")):
        (to / FAILED_FOLDER / path.name).upload(path)


def check_failed_share(
    name: str, num_documents: int, counts: Counter[str], folder: Location, max_failed_share: float
) -> None:
    """Raises InputError when more than `max_failed_share` of all rows were set aside, or when nothing was left.

    The message counts the failures by reason, shows the first few with file and line, and says where all of them are.
    """
    failed = counts.total()
    share = failed / max(1, num_documents + failed)
    if failed == 0 or (num_documents and share <= max_failed_share):
        return
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in counts.most_common())
    examples = "".join(f"\n  {describe(f)}" for f in _first(read_failures(folder)))
    if num_documents:
        enough = f"max_failed_share: {_round_up(share):g} (now {max_failed_share:g})"
        way_out = f"Mend them, or set them aside and go on with {enough}."
    else:
        way_out = "None is left: check that `read` names the right files, and `format`, `text` and `id`."
    raise InputError(
        f"{failed:,} of {num_documents + failed:,} rows of {name!r} cannot be used ({reasons}):{examples}\n"
        f"They are kept in {folder / FAILED_FOLDER}. {way_out}"
    )


def describe(failure: Failure) -> str:
    """ "pool.jsonl, line 17: is not JSON (trailing characters)"."""
    is_file = failure.line == 0 and failure.unit == "line"
    place = failure.file if is_file else f"{failure.file}, {failure.unit} {failure.line:,}"
    return f"{place}: {REASONS[failure.reason]}" + (f" ({failure.detail})" if failure.detail else "")


def _round_up(share: float) -> float:
    """The next number of two significant digits that is no smaller; 0.1234 gives 0.13."""
    scale = 10.0 ** (1 - math.floor(math.log10(share)))
    return math.ceil(share * scale) / scale


def _first(failures: list[Failure]) -> Iterable[Failure]:
    """The first failure of each reason, then others, `_SHOWN` in all."""
    by_reason: dict[str, Failure] = {}
    for failure in failures:
        by_reason.setdefault(failure.reason, failure)
    ordered = [*by_reason.values(), *(f for f in failures if f not in by_reason.values())]
    return ordered[: max(_SHOWN, len(by_reason))]
