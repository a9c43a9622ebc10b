"""What work costs: core seconds, memory, bytes read and written, counted by the thread that does it.

Whoever reads columns of an artifact or a file that is not one says so (`count_read`), and so does whoever finishes a
file (`count_written`); core seconds and memory are the system's own figures. Work that the engine did in another
thread, process or machine brings its cost home (`measured`, `add`), where a `Meter` finds it as if done there.
"""

import resource
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
_MOST = 1e100  # beyond any amount, NaN and infinity
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


class Cost(NamedTuple):
    """What some work took.

    core_seconds: of the threads that did it, and of the processes that extract text from web pages.
    peak_bytes: the most memory that a process which took part has had up to then, whatever for.
    read_bytes: columns as Arrow holds them, uncompressed, of artifacts; of files that are none, the files' own bytes.
    written_bytes: of finished files.
    """

    core_seconds: float = 0.0
    peak_bytes: int = 0
    read_bytes: int = 0
    written_bytes: int = 0

    def plus(self, other: "Cost") -> "Cost":
        """Both together."""
        return Cost(
            self.core_seconds + other.core_seconds,
            max(self.peak_bytes, other.peak_bytes),
            self.read_bytes + other.read_bytes,
            self.written_bytes + other.written_bytes,
        )

    def since(self, before: "Cost") -> "Cost":
        """What came on top of `before`; of memory there is no such thing, so it stays."""
        return Cost(
            self.core_seconds - before.core_seconds,
            self.peak_bytes,
            self.read_bytes - before.read_bytes,
            self.written_bytes - before.written_bytes,
        )


class _Thread(threading.local):
    """What this thread was told beside what the system counts by itself."""

    def __init__(self) -> None:
        self.told = Cost()


_thread = _Thread()


def add(cost: Cost) -> None:
    """Counts work that was done elsewhere as if this thread had done it."""
    _thread.told = _thread.told.plus(cost)


def count_read(num_bytes: int) -> None:
    """Counts bytes that this thread has read."""
    add(Cost(read_bytes=num_bytes))


def count_written(num_bytes: int) -> None:
    """Counts bytes of a file that this thread has finished."""
    add(Cost(written_bytes=num_bytes))


def count_core(seconds: float) -> None:
    """Counts core seconds of a process that worked for this thread."""
    add(Cost(core_seconds=seconds))


def measured(work: Callable[[Any], T], item: Any) -> tuple[T, Cost]:
    """`work(item)`, and what it cost; to be handed to `add` by whoever gets the result in another thread."""
    before = _so_far()
    result = work(item)
    return result, _so_far().since(before)


class Meter:
    """What this thread spends from now on, apart from what other meters in between have booked."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._before = _so_far()

    def read(self) -> dict[str, float]:
        """The cost until now, with `wall_seconds`, as a manifest has it."""
        return {"wall_seconds": time.perf_counter() - self._started, **self._spent()._asdict()}

    def book(self) -> dict[str, float]:
        """As `read`, after which no other meter counts it."""
        result, spent = self.read(), self._spent()
        add(Cost().since(spent)._replace(peak_bytes=0))
        return result

    def _spent(self) -> Cost:
        return _so_far().since(self._before)


def peak_memory() -> int:
    """The most memory that this process has had until now [bytes].

    Not `ru_maxrss` where Linux tells better: that one begins with the memory of the process that started this one.
    """
    try:
        with open("/proc/self/status", "rb") as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith(b"VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT


def total(costs: list[dict[str, float]]) -> dict[str, float]:
    """The costs of several processes, or of several artifacts, as one: sums, and the highest peak."""
    keys = dict.fromkeys(key for cost in costs for key in cost)
    return {key: (max if key == "peak_bytes" else sum)(cost.get(key, 0) for cost in costs) for key in keys}


def is_cost(found: Any) -> bool:
    """Whether this is a cost as manifests have it; no checksum tells, for it differs between reruns."""
    keys = {"wall_seconds", *Cost._fields}
    return isinstance(found, dict) and keys <= found.keys() and all(map(_is_amount, found.values()))


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MOST


def _so_far() -> Cost:
    return Cost(core_seconds=time.thread_time(), peak_bytes=peak_memory()).plus(_thread.told)
