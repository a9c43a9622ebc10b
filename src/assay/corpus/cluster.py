"""Parts on a Ray cluster: small tasks, several for each worker, done again where a worker or a machine dies.

Ray's tasks are used and not Daft's Ray runner, because that runs all tasks of a machine in one process: a document
that crashes a library takes every part of the machine with it, is tried again without end, and nobody can tell which
part it was. A task here has a process to itself, its death names it, and it is tried `MAX_TRIES` times.

What a map needs (its function and items) is put into Ray's object store once; a machine holds it once, arrays are not
copied, and each worker process opens it once. A task carries numbers only. Per task Ray takes about a millisecond of
the driver, so items that take less than `TASK_SECONDS` travel together.
"""

import hashlib
import logging
import os
import pickle
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from assay.artifacts.claims import PART, taking_over
from assay.artifacts.manifest import package_versions
from assay.errors import AssayError, ClusterError, MissingExtraError
from assay.memory import PROCESS_BYTES
from assay.progress import note

MAX_TRIES = 4
TASK_SECONDS = 0.2
_TASKS_PER_CPU = 2  # one that runs and one that waits, so that no worker waits for the driver
_WAIT_SECONDS = 1.0
_SWITCHES = "ASSAY_"
_SHOWN_CHARACTERS = 300


class _Load(NamedTuple):
    """What workers need for one map, and what must be alike on every machine.

    call: (error, result) of an item, by its number.
    """

    call: Callable[[int], tuple[BaseException | None, Any]]
    folder: str
    switches: dict[str, str]
    versions: dict[str, str]


def map_on_cluster(
    call: Callable[[int], tuple[BaseException | None, Any]], items: Sequence[Any], address: str | None
) -> Iterator[Any]:
    """Results of `call(0)`, `call(1)` ... in this order, of a cluster's workers.

    Args:
        call: gives (error, result) of an item by its number.
        items: what the numbers stand for, for messages.
        address: "ray://host:port"; None = the cluster that this machine is part of (or RAY_ADDRESS says), else one of
            this machine's cores, which ends with the process.

    Raises:
        whatever the first item that fails raised, as it was raised there.
        ClusterError: no cluster, other packages there than here, or an item whose worker dies each time.
        MissingExtraError: the extra `ray` is not installed.
    """
    ray = _connect(address)
    switches = {name: value for name, value in os.environ.items() if name.startswith(_SWITCHES)}
    switches.pop(PART, None)  # where this process begins; its workers do what it hands them
    load = ray.put(_Load(call, os.getcwd(), switches, _versions()))
    tasks = _Tasks(ray, load, items)
    finished: dict[int, tuple[BaseException | None, Any]] = {}
    try:
        for number in range(len(items)):
            while number not in finished:
                tasks.submit()
                finished |= tasks.wait()
            error, result = finished.pop(number)
            if error is not None:
                raise _explained(error)
            yield result
    finally:
        tasks.cancel()


def leave() -> None:
    """Leaves the cluster; one that this process started ends."""
    ray = _imported()
    if ray.is_initialized():
        ray.shutdown()


class _Tasks:
    """Tasks under way, and the items that no task has yet."""

    def __init__(self, ray: Any, load: Any, items: Sequence[Any]):
        self._ray, self._load, self._items = ray, load, items
        self._do = ray.remote(_do).options(num_cpus=1, memory=PROCESS_BYTES, max_retries=0)
        self._next = 0
        self._again: deque[int] = deque()
        self._died: set[int] = set()
        self._tries: Counter[int] = Counter()
        self._running: dict[Any, list[int]] = {}
        self._num_done, self._seconds_done = 0, 0.0
        self._num_cpus, self._counted = 0, float("-inf")

    def submit(self) -> None:
        """Keeps every worker of the cluster busy, as far as there are items."""
        while len(self._running) < _TASKS_PER_CPU * max(1, self._cpus()):
            numbers = self._numbers()
            if not numbers:
                return
            # In a list, because Ray would open the load anew for every task.
            self._running[self._do.remote([self._load], numbers, numbers[0] in self._died)] = numbers

    def wait(self) -> dict[int, tuple[BaseException | None, Any]]:
        """(error, result) of the items that have been done since, by number; may be none."""
        ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=_WAIT_SECONDS)
        if ready:
            ready, _ = self._ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
        finished: dict[int, tuple[BaseException | None, Any]] = {}
        for task in ready:
            numbers = self._running.pop(task)
            try:
                seconds, outcomes = self._ray.get(task)
            except self._deaths() as death:
                self._try_again(numbers, death)
            except self._ray.exceptions.RayTaskError as error:
                raise _misfit(error) from None
            else:
                finished |= zip(numbers, outcomes, strict=True)
                self._num_done += len(numbers)
                self._seconds_done += seconds
        return finished

    def cancel(self) -> None:
        """Stops what still runs."""
        for task in self._running:
            with suppress(Exception):  # the cluster may be gone, which must not hide why we stop
                self._ray.cancel(task, force=True)
        self._running.clear()

    def _numbers(self) -> list[int]:
        """The items of the next task: one that is tried again, or as many as take `TASK_SECONDS` together."""
        if self._again:
            return [self._again.popleft()]
        left = len(self._items) - self._next
        size = 1
        if self._num_done:
            quick = TASK_SECONDS * self._num_done / max(self._seconds_done, 1e-6)
            size = int(min(quick, left / (2 * _TASKS_PER_CPU * max(1, self._num_cpus))))
        first, self._next = self._next, self._next + min(max(1, size), left)
        return list(range(first, self._next))

    def _try_again(self, numbers: list[int], death: Exception) -> None:
        """Each item of a task that died gets one of its own, so that the one to blame is known by the next death."""
        reason = self._reason(death)
        note(f"a task died ({reason}); its {len(numbers)} part(s) are done again")
        if len(numbers) == 1:
            self._tries[numbers[0]] += 1
            if self._tries[numbers[0]] >= MAX_TRIES:
                name, errors = _name(self._items[numbers[0]]), self._ray.exceptions
                if isinstance(death, errors.ObjectLostError):
                    raise ClusterError(
                        f"{name} could not be done in {MAX_TRIES} tries: {reason}. Run the driver where all machines "
                        "of the cluster can reach it, with the cluster's RAY_AUTH_MODE and token, or use ray://host:port."
                    )
                raise ClusterError(
                    f"{name} ended its worker {MAX_TRIES} times ({reason}): it crashes a library, or needs more memory "
                    "than a worker may have. What else was finished is kept. Give workers more memory, or leave out "
                    "what this part was made from, and run again."
                )
        self._died.update(numbers)
        self._again.extend(numbers)

    def _reason(self, death: Exception) -> str:
        errors = self._ray.exceptions
        if isinstance(death, errors.OutOfMemoryError):
            return "out of memory"
        if isinstance(death, errors.ObjectLostError):
            return "its machine could not fetch what the driver has handed over"
        is_machine = isinstance(death, (errors.NodeDiedError, errors.LocalRayletDiedError))
        return "its machine is gone" if is_machine else "its process ended"

    def _deaths(self) -> tuple[type[Exception], ...]:
        errors = self._ray.exceptions
        return (
            errors.WorkerCrashedError,
            errors.NodeDiedError,
            errors.OutOfMemoryError,
            errors.ObjectLostError,
            errors.LocalRayletDiedError,
        )

    def _cpus(self) -> int:
        """Workers that the cluster's cores and memory allow now, for machines come and go."""
        if time.monotonic() - self._counted > 5:
            machines = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
            workers = [(has.get("CPU", 0), has.get("memory", 0) // PROCESS_BYTES) for has in machines]
            self._num_cpus = sum(int(min(pair)) for pair in workers)
            if not any(cores for cores, _ in workers):
                note("the cluster has no worker yet; waiting for one")
            elif self._num_cpus == 0:
                raise ClusterError(
                    f"No machine of the cluster has {PROCESS_BYTES / 1e9:g} GB of memory for Ray, as a worker needs. "
                    "Start one with more: ray start --memory=<bytes>."
                )
            self._counted = time.monotonic()
        return self._num_cpus


_opened: tuple[Any, _Load] | None = None  # in a worker: the load of the map it works for


def _do(load: list[Any], numbers: list[int], is_again: bool) -> tuple[float, list[tuple[BaseException | None, Any]]]:
    """In a worker: seconds that the items took, and (error, result) of each. is_again: a worker has died over them."""
    call = _open(load[0]).call
    started = time.perf_counter()
    with taking_over() if is_again else nullcontext():
        outcomes = [call(number) for number in numbers]
    seconds = time.perf_counter() - started
    return seconds, [(None if error is None else _portable(error), result) for error, result in outcomes]


def _open(reference: Any) -> _Load:
    global _opened
    if _opened is None or _opened[0] != reference:
        _opened = None  # lets go of the last one first
        load: _Load = _imported().get(reference)
        here = _versions()
        others = {name: version for name, version in load.versions.items() if here[name] != version}
        if others:
            name, version = next(iter(others.items()))
            raise ClusterError(
                f"A worker ({os.uname().nodename}) has {name} {here[name]}, where the driver has {version}: results "
                "could differ. Install the same packages on every machine of the cluster."
            )
        os.environ.pop(PART, None)
        os.environ.update(load.switches)
        with suppress(OSError):  # only relative paths need it, and they say so themselves
            os.chdir(load.folder)
        _opened = (reference, load)
    return _opened[1]


@cache
def _versions() -> dict[str, str]:
    """Versions of what can change a result; of Assay itself the sources, which a checkout may have changed."""
    sources = hashlib.blake2b(digest_size=8)
    package = Path(__file__).parents[1]
    for path in sorted(package.rglob("*.py")):
        sources.update(f"{path.relative_to(package)}\n".encode() + path.read_bytes())
    return package_versions() | {"the sources of assay": sources.hexdigest()}


def _portable(error: BaseException) -> BaseException:
    """The error as it can travel, with a note of where it came from unless it is meant for users."""
    if not isinstance(error, AssayError):
        error.add_note(f"On {os.uname().nodename}:\n{''.join(traceback.format_exception(error))}")
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


class _NotSharedError(ClusterError, FileNotFoundError):
    """Also a missing file, for it may be gone because another process has finished the artifact and cleared up."""


def _explained(error: BaseException) -> BaseException:
    """An error that means that a worker does not see the driver's files, as one that says so."""
    path = error.filename if isinstance(error, FileNotFoundError) else None
    if path is not None and os.path.exists(os.path.dirname(os.path.abspath(path))):
        return _NotSharedError(
            f"{path} is not there on a machine of the cluster, but its folder is here. Workspace, pool and targets "
            "must lie on a file system that all machines share, under the same path; ASSAY_SCRATCH must, when the "
            "workspace is on an object store."
        )
    return error


def _misfit(error: Exception) -> Exception:
    """An error that was not raised by the work: of a worker that cannot run it."""
    cause = getattr(error, "cause", error)
    if isinstance(cause, ClusterError):
        return cause
    if isinstance(cause, ImportError) or type(cause).__name__ == "RaySystemError":  # so Ray calls what it cannot open
        reason = str(cause).strip().splitlines()[-1]
        return ClusterError(
            f"A worker of the cluster cannot load what it is to do ({reason}). Install the same Assay, and whatever "
            "else your program imports, on every machine of the cluster."
        )
    return error


def _name(item: Any) -> str:
    return f"Part {item}" if isinstance(item, int) else f"The work on {str(item)[:_SHOWN_CHARACTERS]}"


def _imported() -> Any:
    try:
        import ray
    except ImportError:
        raise MissingExtraError(
            "The runner 'ray' needs a package that is not installed. Install it: pip install 'assay[ray]'"
        ) from None
    return ray


def _connect(address: str | None) -> Any:
    """Ray, joined to its cluster; a program that has joined one by itself stays there.

    Raises:
        ClusterError: no cluster answers at the address.
    """
    ray = _imported()
    if ray.is_initialized():
        return ray
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if address is None:
        # What died is said once and in our words; Ray would print a paragraph for each death on standard output.
        ray._private.worker.print_to_stdstream = lambda *args, **options: None
        options |= {"configure_logging": True, "include_dashboard": False}
    try:
        ray.init(address, **options)
    except (ConnectionError, RuntimeError, TimeoutError, ValueError) as error:
        where = address or os.environ.get("RAY_ADDRESS") or "this machine"
        raise ClusterError(
            f"No Ray cluster answers at {where} ({str(error).splitlines()[0]}). Check the address: ray://host:10001 "
            "from outside a cluster, or `ray` alone on one of its machines."
        ) from None
    return ray
