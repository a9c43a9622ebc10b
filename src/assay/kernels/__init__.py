"""Numba kernels: numpy in, numpy out.

Compiled code is cached beside the sources. Numba compares only the file of a function with its cache, so a kernel that
calls into another, changed file would go on with the old code; therefore the cache is emptied when any kernel's file
is another than when it was filled.

Processes that start at once, as a cluster's workers do, compile the same kernels for different types at the same time.
Numba takes a number for each from an index that it reads and writes again without a lock, so that one process would
load what another compiled for other types; therefore reading and writing the cache are done by one process at a time.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any

from numba.core.caching import IndexDataCacheFile

try:
    import fcntl
except ImportError:  # not on Windows, where Ray's clusters are not supported either
    fcntl = None  # type: ignore[assignment]


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Holds other processes and threads back from a cache; not where nobody may write it."""
    try:
        lock = open(cache / "numba.lock", "wb")  # noqa: SIM115 (closed below)
    except OSError:
        yield
        return
    with lock:
        if fcntl is not None:
            with suppress(OSError):  # file systems without locks
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _by_one_at_a_time(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def alone(self: Any, *arguments: Any) -> Any:
        with _alone(Path(self._cache_path)):
            return method(self, *arguments)

    return alone


IndexDataCacheFile.save = _by_one_at_a_time(IndexDataCacheFile.save)
IndexDataCacheFile.load = _by_one_at_a_time(IndexDataCacheFile.load)


def _empty_stale_cache() -> None:
    folder = Path(__file__).parent
    cache = folder / "__pycache__"
    stats = [(path.name, path.stat()) for path in sorted(folder.glob("*.py"))]
    state = repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])
    stamp = cache / "sources.stamp"
    with suppress(OSError):  # where nobody may write, numba keeps its cache elsewhere
        if stamp.exists() and stamp.read_text(encoding="utf-8") == state:
            return
        cache.mkdir(exist_ok=True)
        with _alone(cache):
            if stamp.exists() and stamp.read_text(encoding="utf-8") == state:
                return  # another process was faster
            for path in (*cache.glob("*.nbi"), *cache.glob("*.nbc")):
                path.unlink(missing_ok=True)
            stamp.write_text(state, encoding="utf-8")


_empty_stale_cache()
