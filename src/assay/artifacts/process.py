"""Names of processes that hold on every host that shares a disk, whether the one so named is gone, and Ctrl-C."""

import hashlib
import os
import platform
import signal
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import FrameType

_interrupted = threading.Event()


def own_name() -> str:
    """What this process marks its files with: place, number, and start, so that a number used again is another name."""
    return _name(os.getpid())  # not remembered as such: a fork is another process


def is_gone(name: str) -> bool:
    """True when the process is sure to have ended; False when it lives, or ran where this host cannot look."""
    place, _, rest = name.partition("-")
    number, _, start = rest.partition("-")
    if place != _place() or not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it is another user's
        return False
    now = _start(int(number))
    return now is not None and now != start


@cache
def _name(pid: int) -> str:
    return f"{_place()}-{pid}-{_start(pid) or 0}"


@cache
def _place() -> str:
    """8 hex digits for where a process number means one process: a host since it was started, or a container on it."""
    marks = [platform.node()]
    with suppress(OSError):  # Linux only; elsewhere the host's name must do
        marks += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    return hashlib.sha256("\n".join(marks).encode()).hexdigest()[:8]


def _start(pid: int) -> str | None:
    """Ticks from the host's start to that of a process, "ended" for one that is only waited for, None if not known."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the command, in brackets before, may hold spaces and brackets
    return "ended" if fields[0] in "ZX" else fields[19]


def hear_interrupts() -> None:
    """Remembers Ctrl-C in this process: the engine swallows it where it comes just as a piece of work ends."""

    def remember(number: int, frame: FrameType | None) -> None:
        _interrupted.set()
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, remember)


def check_interrupt() -> None:
    """Raises KeyboardInterrupt when there was one that nobody saw."""
    if _interrupted.is_set():
        _interrupted.clear()
        raise KeyboardInterrupt
