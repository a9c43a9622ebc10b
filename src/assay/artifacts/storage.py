"""Where artifacts, corpora and exports lie: a local folder, or s3://, gs:// and (to read) hf://.

A `Location` is a `pathlib.Path` or a `RemotePath`, which has the same methods as far as Assay needs them. What a local
file can do and an object cannot (be renamed, be mapped into memory, be written bit by bit) goes by the functions here.
"""

import glob
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from assay.artifacts.cost import count_written
from assay.artifacts.process import own_name
from assay.artifacts.remote import RemotePath, is_address, sizes_of
from assay.errors import StorageError

Location = Path | RemotePath
NUM_REQUESTS = 16  # at a time, where many small objects are asked for


def location(given: str | Location) -> Location:
    """The place that a path or an address means.

    Raises:
        InvalidParameterError: an address of an unknown scheme, or one with a key or password in it.
    """
    if isinstance(given, RemotePath):
        return given
    return RemotePath(str(given)) if is_address(str(given)) else Path(given).expanduser()


def within(folder: Location, file: str) -> Location:
    """A file of a folder, by the name in its manifest: below it, or an absolute path or address (read in place)."""
    if is_address(file) or os.path.isabs(file):
        return location(file)
    return folder / file


def scratch_folder() -> Path:
    """A local folder for what goes to an object store or is worked on beside one.

    ASSAY_SCRATCH, or one for this user where temporary files are kept.

    Raises:
        StorageError: it belongs to somebody else.
    """
    given = os.environ.get("ASSAY_SCRATCH")
    folder = Path(given) if given else Path(tempfile.gettempdir()) / f"assay-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if given is None and folder.stat().st_uid != os.getuid():
        raise StorageError(f"{folder} belongs to another user. Set ASSAY_SCRATCH to a folder of your own.")
    return folder


def scratch_for(folder: Location) -> Path:
    """The local folder that stands for a folder of the workspace: itself, or for a remote one a folder in scratch."""
    return folder if isinstance(folder, Path) else scratch_folder() / _mark(folder)


def find_glob(pattern: Location) -> list[Location]:
    """The files that fit a pattern with `*`, `?`, `[` or `**`, sorted; hidden ones only where it has their dot."""
    if isinstance(pattern, Path):
        return sorted(path for path in map(Path, glob.glob(str(pattern), recursive=True)) if path.is_file())
    bucket = RemotePath(f"{pattern.scheme}://{pattern.bucket}")
    found = bucket.glob(pattern.key.removeprefix(f"{pattern.bucket}/"))
    return [path for path in found if _num_hidden(path) <= _num_hidden(pattern)]


def clear_scratch(folder: Location, name: str) -> None:
    """Deletes a folder of `scratch_for(folder)`, and that when it is empty and only stands for a remote one."""
    scratch = scratch_for(folder)
    shutil.rmtree(scratch / name, ignore_errors=True)
    if isinstance(folder, RemotePath):
        with suppress(OSError):
            scratch.rmdir()


@contextmanager
def atomic_path(path: Location) -> Iterator[Path]:
    """A temporary local file that becomes `path` when the block ends well, and is removed when it does not."""
    if isinstance(path, Path):
        temporary = path.with_name(f".{path.name}.{own_name()}.tmp")
    else:
        temporary = scratch_folder() / f".{path.name}.{_mark(path)}.{own_name()}.tmp"
    try:
        yield temporary
        size = temporary.stat().st_size
        if isinstance(path, Path):
            os.replace(temporary, path)
        else:
            path.upload(temporary)
            temporary.unlink()
        count_written(size)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def open_bytes(path: Location) -> BinaryIO:
    """A file opened for reading; an object is read in blocks of 8 MB."""
    return open(path, "rb") if isinstance(path, Path) else path.open()


def read_texts(paths: Sequence[Location]) -> list[str]:
    """What stands in each of these files; objects are read several at a time."""
    if not any(isinstance(path, RemotePath) for path in paths):
        return [path.read_text(encoding="utf-8") for path in paths]
    with ThreadPoolExecutor(NUM_REQUESTS) as pool:
        return list(pool.map(lambda path: path.read_text(encoding="utf-8"), paths))


def open_parquet(path: Location) -> pq.ParquetFile:
    """A Parquet file opened for reading; of an object only the columns and row groups that are wanted are fetched.

    A local one is read page by page; pyarrow's default is to hold all bytes of a row group at once.
    """
    if isinstance(path, Path):
        return pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20, page_checksum_verification=True)
    return pq.ParquetFile(path.open(is_random=True), pre_buffer=True, page_checksum_verification=True)


def read_parquet(path: Location, columns: Sequence[str] | None) -> pa.Table:
    """Columns of a Parquet file, all of them where None are named."""
    source = path if isinstance(path, Path) else path.open(is_random=True)
    return pq.read_table(source, columns=columns, use_threads=False, page_checksum_verification=True)


def open_arrow(path: Location) -> Any:
    """An Arrow file as a source to read from: mapped into memory, or an object held in it."""
    return pa.memory_map(str(path)) if isinstance(path, Path) else pa.BufferReader(path.read_bytes())


def sizes(folder: Location, files: Sequence[str]) -> list[int | None]:
    """Bytes of files as a manifest names them, None for those that are not there; see `within`."""
    paths = [within(folder, file) for file in files]
    own = folder.sizes() if isinstance(folder, RemotePath) and any(p.parent == folder for p in paths) else {}
    others = [p for p in paths if isinstance(p, RemotePath) and p.parent != folder]
    asked = iter(sizes_of(others))
    found: list[int | None] = []
    for path in paths:
        if isinstance(path, RemotePath):
            found.append(own.get(path.name) if path.parent == folder else next(asked))
        else:
            found.append(path.stat().st_size if path.exists() else None)
    return found


def remove_folder(folder: Location) -> None:
    """Deletes a folder and all in it."""
    if isinstance(folder, Path):
        shutil.rmtree(folder)
    else:
        folder.remove_all()


def _num_hidden(path: RemotePath) -> int:
    return sum(name.startswith(".") for name in path.pure.parts)


def _mark(path: RemotePath) -> str:
    return blake2b(str(path).encode(), digest_size=8).hexdigest()
