"""One progress display for the process: a bar with rate and time left on a terminal, one line a step elsewhere."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from assay.terminal import console

_console = console(stderr=True)
_verbose = sys.stderr.isatty()


def set_verbose(verbose: bool) -> None:
    """Turns progress on (the command line does) or off (the default where standard error is not a terminal)."""
    global _verbose
    _verbose = verbose


class _Rate(ProgressColumn):
    """Units per second, in MB where the unit is bytes."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else _amount(speed, task.fields["unit"]) + "/s", style="cyan")


@contextmanager
def step(what: str, total: float, unit: str = "bytes") -> Iterator[Callable[[float], None]]:
    """Shows one step of work and yields `advance(amount)`, counted in `unit` (bytes are shown as MB).

    When the step ends well, one line stays: what, how much, how long, how fast.
    """
    if not _verbose or threading.current_thread() is not threading.main_thread():
        yield lambda amount: None
        return
    start = time.perf_counter()
    columns = (
        TextColumn("  {task.description}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f} %"),
        _Rate(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=_console, transient=True, disable=not _console.is_terminal) as bar:
        task = bar.add_task(what, total=max(total, 1), unit=unit)
        yield lambda amount: bar.advance(task, amount)
    seconds = time.perf_counter() - start
    rate = f", {_amount(total / seconds, unit)}/s" if seconds > 0.05 and total else ""
    done = f"{_amount(total, unit)} in {seconds:.1f} s{rate}"
    _console.print(Text.assemble("  ", ("✓", "green"), f" {what}  ", (done, "dim")))


def note(text: str) -> None:
    """One line for the person who waits; nothing when progress is off."""
    if _verbose:
        _console.print(f"  {text}", style="dim")


def _amount(amount: float, unit: str) -> str:
    if unit == "bytes":
        return f"{amount / 1e6:,.1f} MB"
    return f"{amount:,.0f} {unit}" if amount >= 10 or amount == int(amount) else f"{amount:.1f} {unit}"
