"""Building artifacts part by part: what is there is kept, what is missing is made, the manifest comes last."""

import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from assay.artifacts.kinds import LOWER_IS_BETTER, footer_hash
from assay.artifacts.remote import RemotePath
from assay.artifacts.storage import Location, atomic_path, open_arrow, open_parquet, sizes
from assay.artifacts.workspace import Draft
from assay.corpus.engine import map_parts
from assay.corpus.sharing import share_step
from assay.scorers import Column

_FIGURES = b"assay"
_PARQUET, _ARROW = ".parquet", ".arrow"


def build_parts(
    draft: Draft,
    make: Callable[[int], tuple[pa.Table, dict[str, Any]]],
    amounts: Sequence[int],
    what: str,
    suffix: str = _PARQUET,
    unit: str = "bytes",
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, str]]:
    """Makes the parts that an earlier run did not leave behind; processes that make the same artifact share them.

    Args:
        make: the table of one part, and figures about it that go into the file's own metadata. What it cost does not:
            a part made again has the same bytes.
        amounts: how much of `unit` is behind each part, for the progress bar.
        what: what the progress bar says.
        suffix: ".parquet", or ".arrow" for parts that are memory-mapped.

    Returns:
        the manifest's `parts`, the figures of each part, and the schema.
    """
    paths = [draft.folder / f"part-{k:05d}{suffix}" for k in range(len(amounts))]
    there = sizes(draft.folder, [path.name for path in paths])
    todo = [k for k, (path, size) in enumerate(zip(paths, there, strict=True)) if not size or not _is_whole(path)]
    sizes_of_parts = [amounts[k] for k in todo]
    share_step(draft, what, partial(_make_part, make, paths), todo, [paths[k] for k in todo], sizes_of_parts, unit)
    entries, figures = [], []
    schema: pa.Schema = pa.schema([])
    there = sizes(draft.folder, [path.name for path in paths])
    is_remote = isinstance(draft.folder, RemotePath)  # where each footer is a request, and they had better overlap
    for path, size, (schema, rows) in zip(paths, there, (map_parts if is_remote else map)(_footer, paths), strict=True):
        figures.append(json.loads(schema.metadata[_FIGURES]))
        entry = {"file": path.name, "rows": rows, "bytes": size}
        has_footer = path.suffix == _PARQUET and not is_remote  # of what it holds an object store has checksums
        entries.append(entry | {"footer": footer_hash(path)} if has_footer else entry)
    return entries, figures, {field.name: str(field.type) for field in schema}


def _is_whole(path: Location) -> bool:
    """Whether a part that an earlier run left is whole, as an object always is; what was cut off since is deleted."""
    if isinstance(path, RemotePath):
        return True
    try:
        _footer(path)
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        path.unlink(missing_ok=True)
        return False
    return True


def part_bytes(parts: Sequence[dict[str, Any]]) -> list[int]:
    """Bytes of text behind each part of a corpus."""
    return [part["text_bytes"] for part in parts]


def _make_part(make: Callable[[int], tuple[pa.Table, dict[str, Any]]], paths: list[Location], part: int) -> int:
    table, figures = make(part)
    table = table.replace_schema_metadata({_FIGURES: json.dumps(figures).encode()})
    with atomic_path(paths[part]) as path:
        if paths[part].suffix == _ARROW:
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)
        else:
            pq.write_table(table, path, compression="zstd", compression_level=1, write_page_checksum=True)
    return part


def _footer(path: Location) -> tuple[pa.Schema, int]:
    if path.suffix == _PARQUET:
        with open_parquet(path) as file:
            return file.schema_arrow, file.metadata.num_rows
    with open_arrow(path) as source:
        reader = pa.ipc.open_file(source)
        return reader.schema, sum(reader.get_batch(k).num_rows for k in range(reader.num_record_batches))


def lower_is_better(columns: Iterable[Column]) -> dict[str, list[str]]:
    """Which columns are better when they are lower, as scores say it in their manifest."""
    names = [column.name for column in columns if column.higher_is_better is False]
    return {LOWER_IS_BETTER: names} if names else {}
