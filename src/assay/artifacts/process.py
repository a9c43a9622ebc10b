"""Names of processes that hold on every host that shares a disk, and whether the one so named is gone."""

import hashlib
import os
import platform
from contextlib import suppress
from functools import cache
from pathlib import Path


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
