"""Objects at s3://, gs:// and hf:// addresses, with as much of `pathlib.Path` as Assay uses.

An object store has no folders and no renaming, but an object appears whole or not at all. So nothing is written here
in pieces: a file is finished on the local disk and then put in place (`upload`). Requests that a server turns down for
a while, or that break off, are tried again by pyarrow's client, waiting longer each time; after `_ATTEMPTS` of them a
StorageError says what happened. Keys and tokens come from the environment and are refused in an address.
"""

import errno
import io
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from fnmatch import translate
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from assay.errors import AssayError, InvalidParameterError, MissingExtraError, StorageError, did_you_mean

T = TypeVar("T")
SCHEMES = ("s3", "gs", "hf")
_ATTEMPTS = 10
_FIRST_WAIT_S = 0.025  # doubled each time, as the client does: a store that is out for 20 s is not noticed
_GCS_TIME_LIMIT = timedelta(seconds=25)
_CONNECT_TIMEOUT_S = 5
_BUFFER_BYTES = 8 << 20  # one request each, where a file is read from its start to its end
# Any scheme with its two slashes; ours also with one, which is what pathlib leaves of them.
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+(?=://)|s3|gs|hf):/+(.*)", re.DOTALL)
_GLOB = set("*?[")
_REFUSED = re.compile("ACCESS_DENIED|ACCESS_KEY|SIGNATURE|EXPIRED|TOKEN|HTTP status 40[13]|PERMISSION|UNAUTH", re.I)
_MIN_SECRET, _MAX_DETAIL = 8, 300  # characters
_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "HF_TOKEN")
_ENVIRONMENT = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", *_SECRETS),
    "gs": ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS"),
    "hf": ("HF_ENDPOINT", "HF_TOKEN"),
}
_KEYS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "hf": "HF_TOKEN",
}


class Stat(NamedTuple):
    """Size in bytes and time of the last change, as `os.stat` names them."""

    st_size: int
    st_mtime: float
    st_mtime_ns: int


def is_address(text: str) -> bool:
    """Whether this names something by scheme, as in s3://bucket/key, rather than a local file."""
    return _ADDRESS.match(text) is not None


class RemotePath:
    """The address of an object, or of all that begin with it and a slash.

    Args:
        listed: size and time of the object, where a listing has told them.

    Raises:
        InvalidParameterError: an unknown scheme, no bucket, or an address that carries a key, a token or a password.
    """

    def __init__(self, address: str, listed: Stat | None = None):
        found = _ADDRESS.match(address)
        assert found is not None, "not an address"
        self.scheme, rest = found[1].lower(), found[2].strip("/")
        _check_address(self.scheme, rest)
        self.key = rest  # with the bucket, as pyarrow has it
        self._listed = listed  # what a listing said of it, so that a thousand files are not asked for one by one

    def __str__(self) -> str:
        return f"{self.scheme}://{self.key}"

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and str(other) == str(self)

    def __lt__(self, other: "RemotePath | Path") -> bool:
        return str(self) < str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __truediv__(self, name: str) -> "RemotePath":
        return RemotePath(f"{self}/{name}")

    @property
    def pure(self) -> PurePosixPath:
        """The same as a local path would be: /s3:/bucket/key."""
        return PurePosixPath("/", f"{self.scheme}:", self.key)

    @property
    def name(self) -> str:
        """What stands behind the last slash."""
        return self.key.rsplit("/", 1)[-1]

    @property
    def suffix(self) -> str:
        """The last ending of the name, with its dot."""
        return PurePosixPath(self.name).suffix

    @property
    def bucket(self) -> str:
        """What stands before the first slash."""
        return self.key.split("/", 1)[0]

    @property
    def parent(self) -> "RemotePath":
        """All before the last slash; the bucket is its own."""
        return RemotePath(f"{self.scheme}://{self.key.rsplit('/', 1)[0]}")

    def absolute(self) -> "RemotePath":
        """Itself."""
        return self

    def exists(self) -> bool:
        """Whether there is such an object, or one below it."""
        return self._listed is not None or self._info().type != fs.FileType.NotFound

    def is_file(self) -> bool:
        """Whether there is such an object."""
        return self._listed is not None or self._info().type == fs.FileType.File

    def is_dir(self) -> bool:
        """Whether there are objects below it."""
        return self._listed is None and self._info().type == fs.FileType.Directory

    def stat(self) -> Stat:
        """Size and time of change, when it was listed or else now.

        Raises:
            FileNotFoundError: there is no such object.
        """
        found = self._listed or _stat(self._info())
        if found is None:
            raise _missing(self)
        return found

    def fingerprint(self) -> str:
        """What the store says of the content: the MD5 of it, or of its pieces (S3's ETag), and its size.

        The same bytes put there in other pieces, or encrypted with keys of one's own, may be told apart; different
        bytes never pass for the same.
        """
        with _told(self, "read"):
            if self.scheme == "hf":
                info = _hub().info(self.key)
                return f"{(info.get('lfs') or {}).get('sha256') or info['blob_id']}-{info['size']}"
            with _filesystem(self.scheme).open_input_file(self.key) as file:
                return f"{_etag(file)}-{file.size()}"

    def open(self, *, is_random: bool = False) -> Any:
        """A binary file to read from, in blocks of 8 MB unless what is read jumps about (`is_random`)."""
        with _told(self, "read"):
            file = _filesystem(self.scheme).open_input_file(self.key)
        raw = _Object(self, file)
        return raw if is_random else io.BufferedReader(raw, _BUFFER_BYTES)

    def read_bytes(self) -> bytes:
        """All of the object."""
        with self.open(is_random=True) as file:
            return file.read()

    def read_text(self, encoding: str = "utf-8") -> str:
        """All of the object as text."""
        return self.read_bytes().decode(encoding)

    def upload(self, file: Path) -> None:
        """Puts a local file here, whole or not at all.

        Raises:
            StorageError: not permitted, no such bucket, or the store did not take it.
        """
        size = file.stat().st_size
        data = pa.memory_map(str(file)).read_buffer() if size else b""
        with _told(self, "write"), _filesystem(self.scheme).open_output_stream(self.key, compression=None) as stream:
            stream.write(data)  # in one call: after an exception between two, closing would finish a shorter object
        if (stored := self.stat().st_size) != size:
            raise StorageError(f"{self} has {stored:,} of {size:,} bytes. Run the same command again.")

    def unlink(self, missing_ok: bool = False) -> None:
        """Deletes the object."""
        try:
            with _told(self, "delete"):
                _filesystem(self.scheme).delete_file(self.key)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def remove_all(self) -> None:
        """Deletes every object below this."""
        if self.is_dir():
            with _told(self, "delete"):
                _filesystem(self.scheme).delete_dir(self.key)

    def iterdir(self) -> list["RemotePath"]:
        """What is directly below this, objects and folders, sorted."""
        return sorted(self._below(info) for info in self._list(recursive=False))

    def sizes(self) -> dict[str, int]:
        """Name -> bytes of each object directly below this; a request for each thousand."""
        return {info.base_name: info.size for info in self._list(recursive=False) if info.type == fs.FileType.File}

    def rglob(self, pattern: str) -> list["RemotePath"]:
        """Every object below this whose name fits the pattern, sorted."""
        fits = re.compile(translate(pattern)).match
        found = (info for info in self._list(recursive=True) if info.type == fs.FileType.File)
        return sorted(self._below(info) for info in found if fits(info.base_name))

    def glob(self, pattern: str) -> list["RemotePath"]:
        """Objects below this that fit a pattern; `*`, `?` and `[` within a name, `**` for any folders. Sorted."""
        first, _, rest = pattern.partition("/")
        if first == "**":
            below = [self, *(self._below(i) for i in self._list(recursive=True) if i.type == fs.FileType.Directory)]
            return sorted({found for folder in below for found in folder.glob(rest or "*")})
        if not _GLOB & set(first):
            here = self / first
            return here.glob(rest) if rest else ([here] if here.is_file() else [])
        fits = re.compile(translate(first)).match
        infos = [info for info in self._list(recursive=False) if fits(info.base_name)]
        if not rest:
            return sorted(self._below(info) for info in infos if info.type == fs.FileType.File)
        folders = [self._below(info) for info in infos if info.type == fs.FileType.Directory]
        if _GLOB & set(rest) or "/" in rest:
            return sorted(found for folder in folders for found in folder.glob(rest))
        wanted = [folder / rest for folder in folders]
        return sorted(path for path, size in zip(wanted, sizes_of(wanted), strict=True) if size is not None)

    def require_writable(self) -> None:
        """Raises StorageError when nothing can be put here: hf://, or no such bucket."""
        if self.scheme == "hf":
            raise StorageError(f"{self} can only be read from. Write to a local folder, s3:// or gs://.")
        self.require_bucket()

    def require_bucket(self) -> None:
        """Raises StorageError when the bucket is not there or cannot be looked at."""
        if self.scheme == "hf":
            return
        with _told(self, "look at"):
            info = _filesystem(self.scheme).get_file_info(self.bucket)
        if info.type == fs.FileType.NotFound:
            raise StorageError(_no_bucket(self))

    def _info(self) -> fs.FileInfo:
        with _told(self, "look at"):
            return _filesystem(self.scheme).get_file_info(self.key)

    def _list(self, recursive: bool) -> list[fs.FileInfo]:
        with _told(self, "list"):
            is_deep = recursive or self.scheme == "gs"  # there the client lists no folders but those that were made
            selector = fs.FileSelector(self.key, allow_not_found=True, recursive=is_deep)
            infos = _filesystem(self.scheme).get_file_info(selector)
        return infos if is_deep == recursive else _top(self.key, infos)

    def _below(self, info: fs.FileInfo) -> "RemotePath":
        return RemotePath(f"{self.scheme}://{info.path}", _stat(info))


def sizes_of(paths: Iterable[RemotePath]) -> list[int | None]:
    """Bytes of each object, None for one that is not there; asked for several at a time."""
    found: dict[RemotePath, int | None] = {}
    wanted = list(paths)
    for scheme in {path.scheme for path in wanted}:
        ours = list(dict.fromkeys(path for path in wanted if path.scheme == scheme))
        with _told(ours[0], "look at"):
            infos = _filesystem(scheme).get_file_info([path.key for path in ours])
        found |= {p: i.size if i.type == fs.FileType.File else None for p, i in zip(ours, infos, strict=True)}
    return [found[path] for path in wanted]


class _Object(io.RawIOBase):
    """An object opened for reading at any place; what goes wrong is said of its address.

    Reads are tried again here, too: the client gives up where fewer bytes are asked for than an error message has.
    """

    def __init__(self, path: RemotePath, file: pa.NativeFile):
        self._path, self._file = path, file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._again_and_again(lambda: self._file.read(None if size is None or size < 0 else size))

    def readinto(self, buffer: Any) -> int:
        return self._again_and_again(lambda: self._file.readinto(buffer))

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()

    def _again_and_again(self, read: Callable[[], T]) -> T:
        position = self._file.tell()
        for attempt in range(_ATTEMPTS):
            try:
                with _told(self._path, "read"):
                    return read()
            except StorageError:
                if _stat(self._path._info()) is None:  # raises where the store is out or refuses
                    raise _missing(self._path) from None
                if attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(_FIRST_WAIT_S * 2**attempt)
                self._file.seek(position)
        raise AssertionError


def _top(key: str, infos: Iterable[fs.FileInfo]) -> list[fs.FileInfo]:
    """Of everything below a key what is directly below it, and the folders that the rest is in."""
    found: dict[str, fs.FileInfo] = {}
    for info in infos:
        name, slash, _ = info.path[len(key) + 1 :].partition("/")
        found[name] = fs.FileInfo(f"{key}/{name}", fs.FileType.Directory) if slash else found.get(name, info)
    return list(found.values())


def _stat(info: fs.FileInfo) -> Stat | None:
    is_file = info.type == fs.FileType.File
    return Stat(info.size, (info.mtime_ns or 0) / 1e9, info.mtime_ns or 0) if is_file else None


def _check_address(scheme: str, rest: str) -> None:
    """Refuses what cannot be an address; what might be a secret is not repeated."""
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise InvalidParameterError(
            f"Addresses that begin with {scheme}:// cannot be used; there are {known} and local paths. "
            f"{did_you_mean(scheme, SCHEMES)}".rstrip()
        )
    bucket, *names = rest.split("/")
    if "@" in bucket or re.search(r"\?[^/]*=", rest):
        raise InvalidParameterError(
            f"An address that begins with {scheme}:// carries a name, password, key or signature (before @ or behind "
            f"?). It would be kept in manifests; give credentials in the environment: {_KEYS[scheme]}."
        )
    if not bucket or _GLOB & set(bucket):
        raise InvalidParameterError(f"{scheme}://{rest} names no bucket; write {scheme}://bucket/folder.")
    if {"", ".", ".."} & set(names):
        raise InvalidParameterError(f"{scheme}://{rest} has an empty name, . or .. between its slashes; spell it out.")


@lru_cache(maxsize=16)
def _connect(scheme: str, environment: tuple[str | None, ...]) -> Any:
    values = dict(zip(_ENVIRONMENT[scheme], environment, strict=True))
    if scheme == "gs":
        host = values["STORAGE_EMULATOR_HOST"]
        options = {"anonymous": True, **_endpoint(host)} if host else {}
        return fs.GcsFileSystem(retry_time_limit=_GCS_TIME_LIMIT, **options)
    if scheme == "hf":
        return fs.PyFileSystem(fs.FSSpecHandler(_hub()))
    endpoint = values["AWS_ENDPOINT_URL_S3"] or values["AWS_ENDPOINT_URL"]
    return fs.S3FileSystem(
        region=values["AWS_REGION"] or values["AWS_DEFAULT_REGION"],
        connect_timeout=_CONNECT_TIMEOUT_S,
        retry_strategy=fs.AwsDefaultS3RetryStrategy(max_attempts=_ATTEMPTS),
        allow_delayed_open=True,  # an object below 10 MB is one request instead of three
        **(_endpoint(endpoint) if endpoint else {}),
    )


def _filesystem(scheme: str) -> Any:
    return _connect(scheme, tuple(os.environ.get(name) for name in _ENVIRONMENT[scheme]))


def _endpoint(url: str) -> dict[str, str]:
    """Host, port and scheme of a server that speaks the protocol of S3 or GCS."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.username or parts.password or not parts.hostname:
        raise InvalidParameterError(
            "AWS_ENDPOINT_URL (or STORAGE_EMULATOR_HOST) must be like https://host:port, without name or password."
        )
    return {"endpoint_override": parts.netloc, "scheme": parts.scheme}


def _hub() -> Any:
    try:
        from huggingface_hub import HfFileSystem
    except ImportError as error:
        raise MissingExtraError("hf:// needs an extra: pip install 'assay[hf]'") from error
    return HfFileSystem()


def _etag(file: pa.NativeFile) -> str:
    metadata = {str(name).lower(): value for name, value in file.metadata().items()}
    # GCS has an ETag of its own for each time that the same bytes are put, but an MD5 beside it (seldom none).
    return (metadata.get("md5hash") or metadata["etag"]).decode().strip('"')


@contextmanager
def _told(path: RemotePath, doing: str) -> Iterator[None]:
    """Turns what the client says into FileNotFoundError or StorageError, with the address and the way out."""
    try:
        yield
    except FileNotFoundError:
        raise _missing(path) from None
    except AssayError:
        raise
    except Exception as error:
        # What the Hub's client raises depends on its version and on the HTTP library beneath it.
        if path.scheme != "hf" and not isinstance(error, OSError | pa.ArrowException):
            raise
        said = _without_secrets(" ".join(str(error).split()))
        detail = re.sub(r"^.*?AWS Error (.*?) during \w+ operation: ", r"\1: ", said).rstrip(". ")[:_MAX_DETAIL]
        if "NO_SUCH_BUCKET" in said:
            raise StorageError(_no_bucket(path)) from None
        if "NO_SUCH_KEY" in said or "RESOURCE_NOT_FOUND" in said:
            raise _missing(path) from None
        if _REFUSED.search(said):
            raise StorageError(
                f"Not allowed to {doing} {path} ({detail}). Credentials are taken from the environment: "
                f"{_KEYS[path.scheme]}."
            ) from None
        raise StorageError(
            f"Cannot {doing} {path}, also when tried again ({detail}). What is finished is kept; run the same command "
            "again when the store can be reached."
        ) from None


def _missing(path: RemotePath) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "There is no such object", str(path))


def _no_bucket(path: RemotePath) -> str:
    return f"There is no bucket {path.bucket!r} ({path}). Make it first, or mend the name."


def _without_secrets(text: str) -> str:
    for value in (os.environ.get(name) for name in _SECRETS):
        text = text.replace(value, "***") if value and len(value) >= _MIN_SECRET else text
    return text
