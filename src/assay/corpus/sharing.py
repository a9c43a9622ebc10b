"""Maps whose results are files, shared by all processes that want the same files.

Each process does its own part first (`--part`), then what nobody has claimed, then what claims have fallen silent. So
any number of processes, even one, in any order, makes everything, and all of them go on when everything is there.
On an object store, which has no claims, two processes may make the same file, and one of them wins.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from assay.artifacts.claims import Owner, Watch, claimed, own_first, read_claim
from assay.artifacts.process import own_name
from assay.artifacts.storage import Location
from assay.artifacts.workspace import Draft
from assay.corpus.engine import map_parts
from assay.progress import note, step

_QUIET_S = 2.0
_MOST_NAMED = 4


def _exists(path: Location) -> bool:
    return path.exists()


def share(
    work: Callable[[Any], Any],
    items: Sequence[Any],
    paths: Sequence[Location],
    is_done: Callable[[Location], bool] = _exists,
) -> Iterator[int]:
    """Makes each `paths[k]` that is not there by `work(items[k])`, here or elsewhere; yields each k when it is there.

    `work` must write the file whole or not at all, with the same bytes in every process;
    its folder must exist. It runs as in `map_parts`.

    Raises:
        whatever `work` raised first in this process; another process that meets an error gives up its claims.
        FileNotFoundError: the folder is gone. Then another process has cleared up, or somebody deleted it.
    """
    left = dict.fromkeys(own_first(len(paths)))
    watch = Watch()
    free = watch.free([paths[k] for k in left])
    ready = list(left)  # what is claimed at this moment may not be when its turn comes
    while left:
        tasks = [(items[k], paths[k], free.get(paths[k])) for k in ready]
        for k, is_there in zip(ready, map_parts(partial(_attempt, work, is_done), tasks), strict=True):
            if is_there:
                del left[k]
                yield k
        if left:
            ready, free = _wait(watch, {k: paths[k] for k in left}, is_done)


def share_one(work: Callable[[], Any], path: Location, is_done: Callable[[Location], bool] = _exists) -> None:
    """Makes one file, or waits for the process that does; see `share`."""
    for _ in share(lambda _: work(), [None], [path], is_done):
        pass


def share_step(
    draft: Draft | None,
    what: str,
    work: Callable[[Any], Any],
    items: Sequence[Any],
    paths: Sequence[Location],
    amounts: Sequence[float],
    unit: str = "bytes",
    then: Callable[[int], None] = lambda k: None,
) -> None:
    """`share` as one step of work that people see, whose cost is kept as it grows.

    Args:
        draft, what, amounts, unit: as for `engine.map_step`.
        then: called with each k whose file is there.
    """
    if not items:
        return
    with step(what, sum(amounts), unit) as advance:
        try:
            for k in share(work, items, paths):
                then(k)
                advance(amounts[k])
                if draft is not None:
                    draft.keep_cost()
        except BaseException:
            if draft is not None:
                with suppress(OSError):  # a full disk, say, or a folder that is gone
                    draft.keep_cost(at_once=True)
            raise


def _attempt(
    work: Callable[[Any], Any], is_done: Callable[[Location], bool], task: tuple[Any, Location, Owner | None]
) -> bool:
    """Makes a file unless it is there or another process has claimed it; whether it is there."""
    item, path, stale = task
    if is_done(path):
        return True
    with claimed(path, stale) as is_mine:
        if is_mine and not is_done(path):
            try:
                work(item)
            except FileNotFoundError as error:
                if not _was_taken_for_dead(error):
                    raise
                if not is_done(path):
                    work(item)
    return is_mine or is_done(path)


def _was_taken_for_dead(error: FileNotFoundError) -> bool:
    """Whether what is gone is what we were writing: who takes over from a silent process removes that."""
    path = str(error.filename or "")
    return path.endswith(f".{own_name()}.tmp") and os.path.isdir(os.path.dirname(path))


def _wait(
    watch: Watch, left: dict[int, Location], is_done: Callable[[Location], bool]
) -> tuple[list[int], dict[Location, Owner | None]]:
    """Waits until some files that others make are there or free to be made; which these are, and stale claims."""
    started = told = time.monotonic()
    while True:
        free = watch.free(list(left.values()))
        ready = [k for k, path in left.items() if path in free or is_done(path)]
        if ready:
            return ready, free
        now = time.monotonic()
        if now - told > (_QUIET_S if told == started else 60):
            told = now
            note(_waiting([path for path in left.values() if isinstance(path, Path)]))
        time.sleep(min(2.0, max(0.02, (now - started) / 10)))


def _waiting(paths: list[Path]) -> str:
    """ "waiting for what other processes make: part-00003.parquet (node12, process 4242), ..."."""
    listed = ", ".join(f"{path.name} ({read_claim(path) or 'done'})" for path in paths[:_MOST_NAMED])
    more = f" and {len(paths) - _MOST_NAMED} more" if len(paths) > _MOST_NAMED else ""
    return f"waiting for what other processes make: {listed}{more}"
