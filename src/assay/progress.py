"""What is going on, for whoever waits: as bars on a terminal, as lines in a log, as JSON lines for programs.

All work reports here and nowhere else. A `step` is one pass over something ("score dsir") with an amount that grows; a
`plan` is what a recipe takes in all, of which some may be found done. Only the main thread is heard: what workers do
counts when their results come home. JSON lines are described in docs/progress.md.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from assay.errors import check_choice
from assay.terminal import console

MODES = ("auto", "bars", "lines", "json", "none")
_EVENT_SECONDS = 1.0  # between two JSON lines about the same step
_console = console(stderr=True)


@dataclass
class _Step:
    what: str
    total: float
    unit: str
    detail: str = ""
    done: float = 0.0
    failed: int = 0
    started: float = field(default_factory=time.perf_counter)
    told: float = field(default_factory=time.monotonic)

    def seconds(self) -> float:
        return time.perf_counter() - self.started

    def rate(self) -> float | None:
        """Units a second so far; None before anything is done, when any number would be a guess."""
        seconds = self.seconds()
        return self.done / seconds if self.done and seconds else None

    def seconds_left(self) -> float | None:
        rate = self.rate()
        return None if rate is None else (self.total - self.done) / rate


@dataclass
class _Plan:
    names: Sequence[str]
    is_found: Sequence[bool]
    current: int | None = None
    started: float = field(default_factory=time.perf_counter)


class _Board:
    """All that is known of what goes on: the plan, the open steps (the innermost last), the rows set aside."""

    def __init__(self) -> None:
        self.mode = "bars" if sys.stderr.isatty() else "none"
        self.plan: _Plan | None = None
        self.steps: list[_Step] = []
        self.failed = 0
        self.live: Live | None = None
        self.held: list[str] | None = None

    def is_heard(self) -> bool:
        return self.mode != "none" and threading.current_thread() is threading.main_thread()

    def refresh(self) -> None:
        """Starts the bars with the first thing to show, and takes them away after the last."""
        has_work = bool(self.steps or self.plan)
        if self.mode == "bars" and has_work and self.live is None:
            self.live = Live(get_renderable=_bars, console=_console, transient=True, refresh_per_second=8)
            self.live.start()
        elif self.live is not None and not has_work:
            live, self.live = self.live, None
            live.stop()

    def say(self, *texts: str | tuple[str, str]) -> None:
        """A line for people that stays, of texts or (text, style)."""
        if self.mode in ("bars", "lines"):
            _console.print(Text.assemble("  ", *texts), soft_wrap=True)

    def tell(self, event: str, step: _Step | None = None, **more: Any) -> None:
        """A line for programs."""
        if self.mode != "json":
            return
        plan = self.plan
        is_inside = plan is not None and plan.current is not None
        record: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "event": event,
            "step": plan.current + 1 if is_inside else None,  # type: ignore[union-attr, operator]
            "steps": len(plan.names) if plan else None,
            "name": plan.names[plan.current] if is_inside else None,  # type: ignore[union-attr, index]
            "failed": self.failed,
        }
        if step is not None:
            step.told = time.monotonic()
            record |= {
                "task": step.what,
                "done": step.done,
                "total": step.total,
                "unit": step.unit,
                "seconds": round(step.seconds(), 3),
                "rate": step.rate(),
                "seconds_left": step.seconds_left(),
            }
            record |= {"detail": step.detail} if step.detail else {}
        sys.stderr.write(json.dumps(record | more) + "\n")  # ASCII: nothing in it commands a terminal
        sys.stderr.flush()


_board = _Board()


def set_mode(mode: str) -> None:
    """How progress is shown. "auto": bars on a terminal, else lines.

    Without a call, as in a Python program, there are bars on a terminal and nothing elsewhere.

    Raises:
        InvalidParameterError: unknown mode.
    """
    check_choice("progress", mode, MODES)
    automatic = "bars" if sys.stderr.isatty() else "lines"
    _board.mode = automatic if mode == "auto" else mode


@contextmanager
def step(what: str, total: float, unit: str = "bytes") -> Iterator[Callable[..., None]]:
    """Shows one step of work and yields `advance(amount)`, counted in `unit` (bytes are shown as MB).

    `advance(amount, "loss 3.21")` shows a word on how it goes beside it.

    When a step that is not part of another ends well, one line stays: what, how much, how long, how fast.
    """
    if not _board.is_heard():
        yield lambda amount, detail="": None
        return
    this = _Step(what, total, unit)

    def advance(amount: float, detail: str = "") -> None:
        this.detail = detail
        this.done = min(this.done + amount, total)
        if time.monotonic() - this.told >= _EVENT_SECONDS:
            _board.tell("progress", this)

    _board.steps.append(this)
    _board.refresh()
    _board.tell("start", this)
    try:
        yield advance
    except BaseException as error:
        _board.tell("failed", this, message=f"{type(error).__name__}: {error}")
        raise
    else:
        this.done = total
        _board.tell("end", this)
        if len(_board.steps) == 1:
            _board.say(("✓", "green"), f" {what}  ", (_sentence(this), "dim"))
    finally:
        _board.steps.remove(this)
        _board.refresh()


@contextmanager
def plan(names: Sequence[str], is_found: Sequence[bool]) -> Iterator[Callable[[int], None]]:
    """Shows how far a recipe has got, while the block runs; yields `begin(number of the step, from 0)`.

    Args:
        is_found: per step, whether it was done before and is not done again.
    """
    if not _board.is_heard() or _board.plan is not None:
        yield lambda number: None
        return
    this = _board.plan = _Plan(names, is_found)
    failed_before = _board.failed

    def begin(number: int) -> None:
        this.current = number
        _board.tell("step")

    steps = [{"name": name, "found": found} for name, found in zip(names, is_found, strict=True)]
    _board.tell("plan", plan=steps)
    if num_found := sum(is_found):
        _board.say((f"{num_found} of {len(names)} steps were done before", "dim"))
    _board.refresh()
    try:
        yield begin
    except BaseException:
        _board.plan = None
        raise
    else:
        this.current = None
        seconds = time.perf_counter() - this.started
        _board.tell("finished", seconds=round(seconds, 3))
        _board.plan = None
        set_aside = _set_aside(_board.failed - failed_before)
        if num_found < len(names):
            _board.say((f"{len(names) - num_found} steps in {_clock(seconds)}{set_aside}", "dim"))
    finally:
        _board.refresh()


def count_failed(number: int) -> None:
    """Counts rows that were set aside."""
    if number and _board.is_heard():
        _board.failed += number
        for open_step in _board.steps[-1:]:
            open_step.failed += number


def note(text: str) -> None:
    """One line for the person who waits; nothing when progress is off."""
    if _board.held is not None:
        _board.held.append(text)
    elif _board.is_heard():
        _board.tell("note", message=text)
        _board.say((text, "dim"))


@contextmanager
def held_notes() -> Iterator[None]:
    """Holds notes back while the block runs, and forgets them when it raises: whoever tries again says them again."""
    held: list[str] = []
    _board.held = held
    try:
        yield
    finally:
        _board.held = None
    for text in held:
        note(text)


def fail(message: str, label: str = "Error: ") -> None:
    """Why the command ends, for the person or the program that waits; whatever the mode."""
    if _board.mode == "json":
        _board.tell("error", message=message)
    else:
        _console.print(Text.assemble((label, "bold red"), message), soft_wrap=True)


def _bars() -> RenderableType:
    """The open steps, and a last line on the plan as a whole."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, overflow="ellipsis", max_width=max(20, _console.width - 58))
    for _ in range(4):
        grid.add_column(no_wrap=True, justify="right")
    for this in _board.steps:
        rate, left = this.rate(), this.seconds_left()
        grid.add_row(
            Text(f"  {this.what}  {this.detail}"),
            ProgressBar(total=max(this.total, 1), completed=this.done, width=20),
            f"{100 * this.done / max(this.total, 1):.0f} %",
            Text("" if rate is None else f"{_amount(rate, this.unit)}/s", style="cyan"),
            "" if left is None else _clock(left, 0),
        )
    return Group(grid, _overall()) if _board.plan else grid


def _overall() -> Text:
    """Where the plan is. Steps to come have no rate yet, so of the time left only a lower bound is known."""
    plan = _board.plan
    assert plan is not None
    position = ""
    if plan.current is not None:
        position = f"step {plan.current + 1} of {len(plan.names)}, {plan.names[plan.current]} · "
    text = Text(f"  {position}{_clock(time.perf_counter() - plan.started, 0)} so far", style="dim", no_wrap=True)
    left = _board.steps[0].seconds_left() if _board.steps else None
    if left is not None:
        text.append(f" · at least {_clock(left, 0)} left")
    text.append(_set_aside(_board.failed, " · "))
    return text


def _sentence(this: _Step) -> str:
    rate = this.rate() if this.seconds() > 0.05 else None
    speed = "" if rate is None else f", {_amount(rate, this.unit)}/s"
    detail = f", {this.detail}" if this.detail else ""
    return f"{_amount(this.total, this.unit)} in {_clock(this.seconds())}{speed}{detail}{_set_aside(this.failed)}"


def _set_aside(number: int, separator: str = ", ") -> str:
    return f"{separator}{number:,} {'row' if number == 1 else 'rows'} set aside" if number else ""


def _clock(seconds: float, digits: int = 1) -> str:
    """ "4.2 s" below a minute, then "3:20" and "1:03:20"."""
    if round(seconds, digits) < 60:
        return f"{seconds:.{digits}f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _amount(amount: float, unit: str) -> str:
    if unit == "bytes":
        return f"{amount / 1e6:,.1f} MB"
    return f"{amount:,.0f} {unit}" if amount >= 10 or amount == int(amount) else f"{amount:.1f} {unit}"
