"""Running a function over parts."""

import subprocess
import sys
import threading
import time
from functools import partial

import pytest

from assay.corpus.engine import map_parts
from assay.errors import InputError


def add(amount: int, value: int) -> int:
    return value + amount


def test_results_come_in_the_order_of_the_items() -> None:
    def slow_first(item: int) -> int:
        time.sleep(0.05 if item == 0 else 0)
        return item * item

    assert list(map_parts(slow_first, range(20))) == [k * k for k in range(20)]


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_any_number_of_items(count: int) -> None:
    assert list(map_parts(partial(add, 3), range(count))) == [k + 3 for k in range(count)]


def test_items_and_results_are_any_objects() -> None:
    items = [{"a": [1, (2, 3)]}, None, "text", b"bytes", {1, 2}, 1.5]
    assert list(map_parts(lambda item: (item, type(item)), items)) == [(item, type(item)) for item in items]


def test_an_error_comes_out_as_it_was_raised() -> None:
    def fails(item: int) -> int:
        if item == 3:
            raise InputError("file-3 is broken")
        return item

    with pytest.raises(InputError, match="^file-3 is broken$"):
        list(map_parts(fails, range(10)))


def test_maps_inside_maps_go_one_by_one_and_do_not_lock() -> None:
    def inner(item: int) -> tuple[int, str]:
        return item, threading.current_thread().name

    def outer(item: int) -> list[tuple[int, str]]:
        return list(map_parts(inner, [item * 10 + k for k in range(3)]))

    for item, results in enumerate(map_parts(outer, range(6))):
        assert [value for value, _ in results] == [item * 10 + k for k in range(3)]
        assert len({name for _, name in results}) == 1


def test_several_items_are_worked_on_at_once() -> None:
    started = time.perf_counter()
    list(map_parts(lambda item: time.sleep(0.2), range(8)))
    assert time.perf_counter() - started < 1.4


IGNORED = """
import os, signal, threading, time
signal.signal(signal.SIGINT, signal.SIG_IGN)  # as for a command started with & in a script
from assay.corpus.engine import map_parts

def work(item):
    time.sleep(0.3)
    return item

def interrupt():
    time.sleep(1)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
try:
    done = len(list(map_parts(work, range(60))))
except KeyboardInterrupt:
    done = "interrupted"
print(done, flush=True)
os._exit(0)
"""


def test_an_engine_that_was_told_to_stop_does_not_pass_for_done() -> None:
    """Daft hears SIGINT even where Python ignores it, and then ends its results early without a word."""
    done = subprocess.run([sys.executable, "-c", IGNORED], capture_output=True, text=True, timeout=120)
    assert done.stdout.split()[-1] in ("interrupted", "60"), done.stderr
