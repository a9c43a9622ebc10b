"""How much memory this process may take, and how many workers that allows.

A worker holds a batch of 16 MB of text and what is computed of it, or one partition of a grouping; both have a fixed
size, so that memory follows from how many work at once. Results do not depend on it.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from assay.errors import InvalidParameterError, check

MEMORY = "ASSAY_MEMORY"
_SHARE = 0.75
PROCESS_BYTES = 1_000_000_000  # of one with one worker
_OWN_BYTES = 600_000_000  # libraries and compiled kernels, 0.5 GB, and what is read while nothing is computed
_WORKER_BYTES = 400_000_000  # measured: docs/scale.md
_SCALES = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_OWN_CGROUPS = "/proc/self/cgroup"


def num_workers() -> int:
    """How many may work at once in this process: as many as there are cores, if memory allows it.

    Raises:
        InvalidParameterError: ASSAY_MEMORY is no amount, or too little for one worker.
    """
    return max(1, min(_num_cores(), (limit() - _OWN_BYTES) // _WORKER_BYTES))


def limit() -> int:
    """Bytes: what the environment variable ASSAY_MEMORY says ("4GB"), else 3/4 of what machine and container have.

    Raises:
        InvalidParameterError: ASSAY_MEMORY is no amount, or too little for one worker.
    """
    text = os.environ.get(MEMORY)
    if text is None:
        return int(_SHARE * _available())
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt])b\s*", text.lower())
    if match is None:
        raise InvalidParameterError(f"`memory` (={text!r}) must be a number with a unit. Write for example '4GB'.")
    wanted = int(float(match[1]) * _SCALES[match[2]])
    least = f"at least {PROCESS_BYTES / 1e9:g}GB"
    check(wanted >= PROCESS_BYTES, "memory", text, least, "Change --memory or ASSAY_MEMORY.")
    return wanted


def _available() -> int:
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _limits_of_groups():
        with suppress(OSError):
            if (text := path.read_text().strip()).isdigit():
                found.append(int(text))
    return min(found)


def _limits_of_groups() -> Iterator[Path]:
    """Where limits stand: of a container, and of the groups in it that hold this process, as for a job of Slurm."""
    second, first = map(Path, _CGROUP_LIMITS)
    yield from (second, first)
    with suppress(OSError, ValueError):
        for line in Path(_OWN_CGROUPS).read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            root = second if not controllers else first if "memory" in controllers.split(",") else None
            if root is not None:
                inner = PurePosixPath(group.lstrip("/"))
                yield from (root.parent / place / root.name for place in (inner, *inner.parents))


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
