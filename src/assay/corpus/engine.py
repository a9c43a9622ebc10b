"""The engine: runs a function over parts, with Daft on this machine or on a Ray cluster.

With `cluster`, the only place that knows how parallel work is done.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

for _switch, _value in {
    "DAFT_ANALYTICS_ENABLED": "0",
    "DAFT_PROGRESS_BAR": "0",
    "DAFT_SHOW_QUERY_ID": "0",
    "DO_NOT_TRACK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}.items():
    os.environ.setdefault(_switch, _value)

from assay.artifacts import cost  # noqa: E402  (the switches above are read when daft and ray are imported)
from assay.artifacts.process import check_interrupt  # noqa: E402
from assay.artifacts.workspace import Draft  # noqa: E402
from assay.corpus import cluster  # noqa: E402
from assay.errors import check  # noqa: E402
from assay.memory import num_workers  # noqa: E402
from assay.progress import step  # noqa: E402

RUNNER = "ASSAY_RUNNER"
_NATIVE, _RAY = "native", "ray"
T = TypeVar("T")
_worker = threading.local()
_num_slots = 0
_slots = threading.BoundedSemaphore()


def map_parts(work: Callable[[Any], T], items: Sequence[Any]) -> Iterator[T]:
    """Results of `work(item)` in the order of `items`, several at a time on all cores that memory allows.

    `work` runs in the engine's threads (native runner) or in processes of a cluster, so it and its items must be
    picklable, arrays in them may be read-only, and it must let other threads run while it computes: our kernels do.
    Inside `work` a further `map_parts` goes one by one.

    The environment variable ASSAY_RUNNER chooses: "native" (default), "ray" or "ray://host:port".

    Raises:
        whatever `work` raised first, as it was raised there.
        KeyboardInterrupt: the engine was told to stop (it hears Ctrl-C by itself, even where Python ignores it).
        ClusterError: see `cluster.map_on_cluster`.
    """
    runner = os.environ.get(RUNNER, _NATIVE)
    is_known = runner in (_NATIVE, _RAY) or runner.startswith(f"{_RAY}://")
    check(is_known, "runner", runner, "native, ray or ray://host:port", "Change --runner or ASSAY_RUNNER.")
    check_interrupt()
    if len(items) < 2 or getattr(_worker, "busy", False):
        return map(work, items)
    if runner == _NATIVE:
        return _billed(_map_here(work, items))
    return _billed(cluster.map_on_cluster(_Guarded(work, items), items, None if runner == _RAY else runner))


def map_step(
    draft: Draft | None, what: str, work: Callable[[Any], T], items: Sequence[Any], amounts: Sequence[float], unit: str
) -> Iterator[T]:
    """`map_parts` as one step of work that people see, whose cost is kept as it grows.

    Args:
        draft: the artifact that the work is for; None where the work itself makes artifacts.
        what, unit: as for `progress.step`. amounts: how much of it each item is.
    """
    with step(what, sum(amounts), unit) as advance:
        for result, amount in zip(map_parts(work, items), amounts, strict=True):
            advance(amount)
            if draft is not None:
                draft.keep_cost()
            yield result


def stop() -> None:
    """Leaves the cluster, if this process is part of one; its exit does the same, unless it is `os._exit`."""
    if "ray" in sys.modules:
        cluster.leave()


def _billed(results: Iterator[tuple[T, cost.Cost]]) -> Iterator[T]:
    for result, spent in results:
        cost.add(spent)
        yield result


def _map_here(work: Callable[[Any], T], items: Sequence[Any]) -> Iterator[tuple[T, cost.Cost]]:
    import daft
    import pyarrow as pa

    _limit_workers(num_workers())
    run = daft.func(_Guarded(work, items), return_dtype=daft.DataType.python())
    frame = daft.from_arrow(pa.table({"index": range(len(items))})).into_batches(1)
    num_done = 0
    for row in frame.select(run(daft.col("index")).alias("result")).iter_rows():
        error, result = row["result"]
        if error is not None:
            raise error
        num_done += 1
        check_interrupt()
        yield result
    check_interrupt()
    if num_done < len(items):
        raise KeyboardInterrupt


def _limit_workers(number: int) -> None:
    """Lets only so many of Daft's threads work at once; it has one a core, and no limit of its own for functions."""
    global _slots, _num_slots
    if number != _num_slots:
        _slots, _num_slots = threading.BoundedSemaphore(number), number


class _Guarded:
    """Works on an item by its number, and carries an exception back as a value: (error, (result, cost)).

    Given the items themselves, Daft would turn some into types of its own; an exception it would turn into text.
    """

    def __init__(self, work: Callable[[Any], Any], items: Sequence[Any]):
        self.work, self.items = work, items
        self.__name__ = getattr(work, "__name__", type(work).__name__)

    def __call__(self, index: int) -> tuple[BaseException | None, Any]:
        with _slots:
            _worker.busy = True
            try:
                return None, cost.measured(self.work, self.items[index])
            except Exception as error:
                return error, None
            finally:
                _worker.busy = False
