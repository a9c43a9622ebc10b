"""Claims: who is making which file of an artifact, so that several processes share the work and none does it twice.

A claim is a small file beside the one that is being made, created so that only one process can (O_EXCL). Its owner
rewrites it every 5 seconds. Whoever waits for it takes it over when the owner is known to be gone (same host), or when
the claim has not changed for 60 seconds of watching: no clock of one machine is compared with another's. Claims only
save work: files appear whole and with the same bytes whoever makes them, so two owners at once do no harm.
"""

import json
import os
import platform
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path

from assay.artifacts.process import is_gone, own_name
from assay.artifacts.remote import RemotePath
from assay.artifacts.storage import Location
from assay.errors import InvalidParameterError

BEAT_S = 5.0
STALE_S = 60.0
PART = "ASSAY_PART"
_SLURM = "slurm"
SUFFIX = ".claim"


@dataclass(frozen=True)
class Owner:
    """What a claim says: the process, on which host, since when by that host's clock, and how often it beat since."""

    process: str
    host: str
    since: str
    beats: int = 0

    @property
    def number(self) -> int | None:
        """The process's number on its host."""
        return int(self.process.split("-")[1]) if self.process else None

    def __str__(self) -> str:
        return f"{self.host or 'unknown host'}, process {self.number}"


NOBODY = Owner("", "", "")  # of a claim whose writer died between creating and filling it

_held: dict[Path, Owner] = {}
_lock = threading.RLock()
_heart: list[threading.Thread] = []
_takes_over = False


def claim_of(path: Path) -> Path:
    """The file that says who is making `path`."""
    return path.with_name(f".{path.name}{SUFFIX}")


def read_claim(path: Path) -> Owner | None:
    """Who is making `path`; None when nobody is."""
    try:
        return Owner(**json.loads(claim_of(path).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        return NOBODY


@contextmanager
def claimed(path: Location, stale: Owner | None = None) -> Iterator[bool]:
    """Whether this process has the making of `path` for itself while the block runs.

    Args:
        path: what is on an object store is everybody's: nothing there can be created by one process only.
        stale: an owner that was watched for too long without a sign, from whom the claim may be taken.

    Raises:
        OSError: the folder is not there, not writable or full.
    """
    if isinstance(path, RemotePath):
        yield True
        return
    if not _take(path, stale):
        yield False
        return
    try:
        yield True
    finally:
        _release(path)


@contextmanager
def taking_over() -> Iterator[None]:
    """While the block runs, this process takes what others have claimed: it does again what a worker died over.

    On another host nobody could tell that the worker is gone, and would wait a minute.
    """
    global _takes_over
    _takes_over = True
    try:
        yield
    finally:
        _takes_over = False


def release_all() -> None:
    """Gives up every claim of this process, which is about to end with work unfinished."""
    for path in list(_held):
        _release(path)


def sweep_claims(folder: Location) -> None:
    """Removes the claims of a folder in which there is nothing left to make."""
    if isinstance(folder, RemotePath):
        return
    for claim in folder.glob(f".*{SUFFIX}"):
        claim.unlink(missing_ok=True)


def claims_below(folder: Location) -> Iterator[tuple[Path, Owner, float, bool]]:
    """All claims in a folder and its folders: the file, its owner, when the claim was last written, owner is gone."""
    if isinstance(folder, RemotePath):
        return
    for claim in sorted(path for path in paths_below(folder) if fnmatch(path.name, f".*{SUFFIX}")):
        path = claim.with_name(claim.name[1 : -len(SUFFIX)])
        owner = read_claim(path)
        with suppress(FileNotFoundError):  # given up while we look
            if owner is not None:
                yield path, owner, claim.stat().st_mtime, _is_gone(path, owner)


def paths_below(folder: Path) -> Iterator[Path]:
    """All files and folders in a folder and its folders.

    Unlike `Path.rglob` it goes on where another process removes a folder while we look.
    """
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            yield Path(place, name)


class Watch:
    """Tells claims that are kept up from those whose owner is gone, by looking at them again and again."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[Owner, float]] = {}  # what a claim says, and since when by our monotonic clock

    def free(self, paths: Sequence[Location]) -> dict[Location, Owner | None]:
        """Those of `paths` that may be taken now: with None where there is no claim, else with its stale owner."""
        now = time.monotonic()
        free: dict[Location, Owner | None] = {path: None for path in paths if isinstance(path, RemotePath)}
        for path, owner in self._look([path for path in paths if isinstance(path, Path)]).items():
            if owner is None:
                self._seen.pop(path, None)
                free[path] = None
                continue
            known, since = self._seen.get(path, (owner, now))
            self._seen[path] = (owner, since if known == owner else now)
            if _is_gone(path, owner) or now - self._seen[path][1] >= STALE_S:
                free[path] = owner
        return free

    def _look(self, paths: Sequence[Path]) -> dict[Path, Owner | None]:
        """The owners of claims. A folder is listed once: claims are few where paths are many."""
        names = {folder: set(os.listdir(folder)) for folder in {path.parent for path in paths}}
        return {path: read_claim(path) if claim_of(path).name in names[path.parent] else None for path in paths}


def own_first(count: int) -> list[int]:
    """The order in which this process goes through `count` things: its own part, then backwards through the others'.

    `--part 2/4` (ASSAY_PART) makes the second quarter its own. Other processes come to the end of their parts last, so
    that is where to help them.

    Raises:
        InvalidParameterError: ASSAY_PART is not as it must be.
    """
    text = os.environ.get(PART)
    part, of = parse_part(text) if text else (1, 1)
    first, end = count * (part - 1) // of, count * part // of
    return [*range(first, end), *reversed(range(first)), *reversed(range(end, count))]


def parse_part(text: str) -> tuple[int, int]:
    """(i, n) from "i/n", or from "slurm" inside a job array, an `srun` of several tasks, or both.

    Raises:
        InvalidParameterError: neither, or i is not from 1 to n.
    """
    if text == _SLURM:
        return _slurm_part()
    left, slash, right = text.partition("/")
    if slash and left.isdecimal() and right.isdecimal() and 1 <= int(left) <= int(right):
        return int(left), int(right)
    raise InvalidParameterError(
        f"`--part` (={text!r}) must be i/n with i from 1 to n, such as 3/16, or {_SLURM!r} inside a Slurm job. "
        f"It can also be given as {PART}."
    )


def _slurm_part() -> tuple[int, int]:
    """Every task of every array job is a part. The numbers of an array may have gaps; any start is a right one."""

    def number(name: str, default: int) -> int:
        return int(os.environ.get(f"SLURM_{name}", default))

    if not {"SLURM_ARRAY_TASK_ID", "SLURM_PROCID"} & os.environ.keys():
        raise InvalidParameterError(
            f"`--part` (={_SLURM!r}) must be used inside a Slurm job: neither SLURM_ARRAY_TASK_ID nor SLURM_PROCID is "
            "set. Use sbatch --array or srun, or say which part with --part i/n."
        )
    tasks = number("NTASKS", 1)
    jobs = number("ARRAY_TASK_COUNT", 1)
    least = number("ARRAY_TASK_MIN", 0)
    job = (number("ARRAY_TASK_ID", least) - least) // number("ARRAY_TASK_STEP", 1) % jobs
    return job * tasks + number("PROCID", 0) % tasks + 1, jobs * tasks


def _take(path: Path, stale: Owner | None) -> bool:
    owner = Owner(own_name(), platform.node(), datetime.now(UTC).isoformat(timespec="seconds"))
    with _lock:
        if not _create(path, owner):
            found = read_claim(path)
            is_left = found is not None and (_is_gone(path, found) or found == stale)
            if found is None or not (is_left or _takes_over):
                return False
            if is_left:
                _remove_leavings(path.parent, found)
            claim_of(path).unlink(missing_ok=True)
            if not _create(path, owner):  # another was faster
                return False
        _held[path] = owner
        if not _heart or not _heart[0].is_alive():  # a fork has the list, but not the thread
            _heart[:] = [threading.Thread(target=_beat, name="assay-claims", daemon=True)]
            _heart[0].start()
    return True


def _is_gone(path: Path, owner: Owner) -> bool:
    """Whether the owner is sure to have ended; this process may have had its name before it was interrupted here."""
    with _lock:
        return is_gone(owner.process) or (owner.process == own_name() and path not in _held)


def _create(path: Path, owner: Owner) -> bool:
    claim = claim_of(path)
    try:
        with open(claim, "x", encoding="utf-8") as stream:
            try:
                stream.write(json.dumps(asdict(owner)))
                stream.flush()
            except OSError:  # a full disk
                claim.unlink(missing_ok=True)
                raise
    except FileExistsError:
        return False
    return True


def _release(path: Path) -> None:
    with _lock:
        owner = _held.pop(path, None)
        if read_claim(path) == owner:
            claim_of(path).unlink(missing_ok=True)


def _beat() -> None:
    while True:
        time.sleep(BEAT_S)
        for path in list(_held):
            with suppress(OSError), _lock:  # a disk that does not answer now may do so at the next beat
                owner = _held.get(path)
                if owner is not None and read_claim(path) == owner:
                    _held[path] = replace(owner, beats=owner.beats + 1)
                    with open(claim_of(path), "r+", encoding="utf-8") as stream:
                        stream.write(json.dumps(asdict(_held[path])))


def _remove_leavings(folder: Path, owner: Owner) -> None:
    """Deletes the temporary files of an owner that is gone: on another host nobody can tell that they are abandoned."""
    for path in [path for path in paths_below(folder) if fnmatch(path.name, f".*.{owner.process}.tmp")]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
