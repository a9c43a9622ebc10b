"""The engine: runs a function over parts with Daft. The only place that knows how parallel work is done."""

import os
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

import daft  # noqa: E402  (the switches above are read at import)
import pyarrow as pa  # noqa: E402

T = TypeVar("T")
_worker = threading.local()


def map_parts(work: Callable[[Any], T], items: Sequence[Any]) -> Iterator[T]:
    """Results of `work(item)` in the order of `items`, several at a time on all cores.

    `work` runs in the engine's threads (native runner) or processes, so it and its items must be picklable, and it
    must let other threads run while it computes: our kernels do. Inside `work` a further `map_parts` goes one by one.

    Raises:
        whatever `work` raised first, as it was raised there.
        KeyboardInterrupt: the engine was told to stop (it hears Ctrl-C by itself, even where Python ignores it).
    """
    if len(items) < 2 or getattr(_worker, "busy", False):
        for item in items:
            yield work(item)
        return
    run = daft.func(_Guarded(work, items), return_dtype=daft.DataType.python())
    frame = daft.from_arrow(pa.table({"index": range(len(items))})).into_batches(1)
    num_done = 0
    for row in frame.select(run(daft.col("index")).alias("result")).iter_rows():
        error, result = row["result"]
        if error is not None:
            raise error
        num_done += 1
        yield result
    if num_done < len(items):
        raise KeyboardInterrupt


class _Guarded:
    """Works on an item by its number, and carries an exception back as a value.

    Given the items themselves, Daft would turn some into types of its own; an exception it would turn into text.
    """

    def __init__(self, work: Callable[[Any], Any], items: Sequence[Any]):
        self.work, self.items = work, items
        self.__name__ = getattr(work, "__name__", type(work).__name__)

    def __call__(self, index: int) -> tuple[BaseException | None, Any]:
        _worker.busy = True
        try:
            return None, self.work(self.items[index])
        except Exception as error:
            return error, None
        finally:
            _worker.busy = False
