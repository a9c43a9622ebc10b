"""Parts on a Ray cluster: with a stand-in for Ray, and on three machines that are really processes of this one."""

import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from assay.corpus import cluster, engine
from assay.corpus.cluster import MAX_TRIES, TASK_SECONDS
from assay.corpus.engine import map_parts
from assay.errors import ClusterError, InputError, InvalidParameterError, MissingExtraError
from tests.conftest import make_prose, write_jsonl


def test_an_unknown_runner_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_RUNNER", "spark")
    with pytest.raises(InvalidParameterError, match="`runner` .='spark'. must be native, ray or ray://host:port"):
        list(map_parts(str, range(3)))


def test_without_ray_the_error_has_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_RUNNER", "ray")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'assay\[ray\]'"):
        list(map_parts(str, range(3)))


class _StandIn:
    """As much of Ray as `_Tasks` needs; runs a task when it is waited for, the last one first.

    run(numbers) -> seconds it took, or raises one of `exceptions`.
    """

    _names = "WorkerCrashedError NodeDiedError OutOfMemoryError ObjectLostError LocalRayletDiedError RayTaskError"
    exceptions = SimpleNamespace(**{name: type(name, (Exception,), {}) for name in _names.split()})

    def __init__(self, run: Callable[[list[int]], float], num_cpus: int = 2, memory: float = 64e9):
        self.run, self.num_cpus, self.memory = run, num_cpus, memory
        self.tasks: list[list[int]] = []
        self.again: list[int] = []
        self.cancelled = 0

    def remote(self, function: Any) -> Any:
        def submit(load: Any, numbers: list[int], is_again: bool) -> int:
            self.tasks.append(numbers)
            self.again += numbers if is_again else []
            return len(self.tasks) - 1

        return SimpleNamespace(options=lambda **options: SimpleNamespace(remote=submit))

    def wait(self, tasks: list[int], num_returns: int, timeout: float) -> tuple[list[int], list[int]]:
        return tasks[-1:], tasks[:-1]

    def get(self, task: int) -> tuple[float, list[tuple[None, int]]]:
        return self.run(self.tasks[task]), [(None, number * number) for number in self.tasks[task]]

    def nodes(self) -> list[dict[str, Any]]:
        own = {"CPU": self.num_cpus, "memory": self.memory}
        return [{"Alive": True, "Resources": own}, {"Alive": False, "Resources": own}, {"Alive": True, "Resources": {}}]

    def put(self, load: Any) -> Any:
        return load

    def cancel(self, task: int, force: bool) -> None:
        self.cancelled += 1


def mapped(ray: _StandIn, count: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    monkeypatch.setattr(cluster, "_connect", lambda address: ray)
    return list(cluster.map_on_cluster(lambda number: (None, None), range(count), None))


def test_results_come_in_order_although_tasks_end_in_another(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mapped(_StandIn(lambda numbers: 1.0), 50, monkeypatch) == [k * k for k in range(50)]


def test_slow_items_travel_alone_and_quick_ones_together(monkeypatch: pytest.MonkeyPatch) -> None:
    slow, quick = _StandIn(lambda numbers: len(numbers) * 2 * TASK_SECONDS), _StandIn(lambda numbers: 1e-5)
    mapped(slow, 50, monkeypatch)
    assert max(map(len, slow.tasks)) == 1
    assert mapped(quick, 100_000, monkeypatch)[-1] == 99_999**2
    assert len(quick.tasks) < 200
    # The last tasks are small, or one worker would have half of the work when the others are done.
    assert sorted(map(len, quick.tasks))[len(quick.tasks) // 2] < 1000


def test_no_more_work_at_once_than_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = _StandIn(lambda numbers: 1.0, num_cpus=16, memory=3.5e9)  # three workers of 1 GB, so six tasks at once
    most, wait = [], ray.wait
    monkeypatch.setattr(ray, "wait", lambda tasks, **options: most.append(len(tasks)) or wait(tasks, **options))
    assert mapped(ray, 40, monkeypatch) == [number * number for number in range(40)]
    assert max(most) == 6
    with pytest.raises(ClusterError, match="No machine of the cluster has 1 GB of memory"):
        mapped(_StandIn(lambda numbers: 1.0, memory=0.9e9), 2, monkeypatch)


def test_items_of_a_task_that_died_are_done_again_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    deaths = iter([False, False, False, False, False, True])

    def run(numbers: list[int]) -> float:
        if len(numbers) > 1 and next(deaths, False):
            raise _StandIn.exceptions.NodeDiedError
        return 1e-3

    ray = _StandIn(run)
    assert mapped(ray, 2000, monkeypatch) == [k * k for k in range(2000)]
    assert len(ray.again) == sum(map(len, ray.tasks)) - 2000 > 0


def test_an_item_whose_worker_dies_each_time_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(numbers: list[int]) -> float:
        if 1234 in numbers:
            raise _StandIn.exceptions.OutOfMemoryError
        return 1e-3

    ray = _StandIn(run)
    with pytest.raises(ClusterError, match=f"^Part 1234 ended its worker {MAX_TRIES} times .out of memory."):
        mapped(ray, 2000, monkeypatch)
    assert [numbers for numbers in ray.tasks if 1234 in numbers][-MAX_TRIES:] == [[1234]] * MAX_TRIES
    assert ray.cancelled > 0


def test_a_driver_that_workers_cannot_reach_is_not_a_part_that_kills_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(numbers: list[int]) -> float:
        raise _StandIn.exceptions.ObjectLostError

    with pytest.raises(ClusterError, match="could not be done in 4 tries: its machine could not fetch"):
        mapped(_StandIn(run), 20, monkeypatch)


needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray: make cluster-test")


@pytest.fixture(scope="module")
def machines() -> Iterator[Any]:
    """Three raylets with a core each, of which tests may remove some when they put others in their place."""
    from tests.cluster import start

    before = {name: os.environ.get(name) for name in ("ASSAY_RUNNER", "RAY_ADDRESS")}
    engine.stop()
    three = start(3)
    os.environ |= {"ASSAY_RUNNER": "ray", "RAY_ADDRESS": three.address}
    yield three
    engine.stop()
    three.shutdown()
    for name, value in before.items():
        os.environ.pop(name)
        if value is not None:
            os.environ[name] = value


def where(seconds: float, item: int) -> tuple[int, str]:
    """The square of an item and the machine it was computed on."""
    import ray

    time.sleep(seconds)
    return item * item, ray.get_runtime_context().get_node_id()


def die_once(mark: Path, how: int, item: int) -> int:
    if item == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), how)
    return item * item


SQUARES = [k * k for k in range(30)]


@pytest.mark.ray
@needs_ray
class TestOnThreeMachines:
    def test_all_of_them_work_and_results_come_as_they_are_made(self, machines: Any) -> None:
        started = time.monotonic()
        while len({node for _, node in map_parts(partial(where, 0.3), range(12))}) < 3:  # processes are being started
            assert time.monotonic() - started < 60
        started, times, results = time.perf_counter(), [], []
        for result in map_parts(partial(where, 0.3), range(30)):
            times.append(time.perf_counter() - started)
            results.append(result)
        assert [square for square, _ in results] == SQUARES
        counts = sorted([[node for _, node in results].count(node) for node in {node for _, node in results}])
        assert len(counts) == 3 and counts[0] >= 5
        assert times[0] < times[-1] / 2

    def test_items_and_results_are_any_objects(self, machines: Any) -> None:
        items = [{"a": [1, (2, 3)]}, None, "text", b"bytes", {1, 2}, 1.5]
        assert list(map_parts(lambda item: (item, type(item)), items)) == [(item, type(item)) for item in items]

    def test_an_error_comes_out_as_it_was_raised(self, machines: Any) -> None:
        def fails(item: int) -> int:
            if item == 3:
                raise InputError("file-3 is broken")
            if item == 5:
                raise KeyError("a mistake of ours")
            return item

        with pytest.raises(InputError, match="^file-3 is broken$"):
            list(map_parts(fails, range(10)))
        with pytest.raises(KeyError) as mistake:
            list(map_parts(fails, range(4, 10)))
        assert "in fails" in mistake.value.__notes__[0]  # where in the worker it was

    def test_workers_have_the_folder_and_switches_of_the_driver_and_do_maps_inside_maps_themselves(
        self, machines: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("ASSAY_ANYTHING", "7")

        def outer(item: int) -> tuple[str, str | None, list[int], bool]:
            own = os.getpid()
            inner = list(map_parts(lambda k: (k, os.getpid()), range(3)))
            return os.getcwd(), os.environ.get("ASSAY_ANYTHING"), [k for k, _ in inner], {p for _, p in inner} == {own}

        assert list(map_parts(outer, range(4))) == [(str(tmp_path), "7", [0, 1, 2], True)] * 4

    def test_a_large_array_in_the_work_is_stored_once(self, machines: Any) -> None:
        large = np.arange(4_000_000)  # 32 MB; 40 copies would not fit into stores of 200 MB
        found = list(map_parts(lambda item: (int(large.sum()) + item, large.flags.writeable), range(40)))
        assert found == [(int(large.sum()) + k, False) for k in range(40)]  # not writeable: it lies in the store

    @pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV])
    def test_a_worker_that_dies_is_replaced(self, machines: Any, tmp_path: Path, how: int) -> None:
        assert list(map_parts(partial(die_once, tmp_path / "mark", how), range(30))) == SQUARES
        assert (tmp_path / "mark").exists()

    def test_a_part_that_kills_every_worker_is_named(self, machines: Any) -> None:
        def work(item: int) -> int:
            if item == 13:
                os._exit(1)
            return item

        with pytest.raises(ClusterError, match=f"^Part 13 ended its worker {MAX_TRIES} times"):
            list(map_parts(work, range(30)))
        assert list(map_parts(partial(where, 0), range(30)))[-1][0] == 29 * 29  # and others work on

    def test_a_machine_that_is_gone_takes_nothing_with_it(self, machines: Any) -> None:
        lost = machines.add_node(num_cpus=1, object_store_memory=200 << 20)
        results = []
        try:
            for result in map_parts(partial(where, 0.3), range(30)):
                results.append(result)
                if len(results) == 12:
                    machines.remove_node(lost, allow_graceful=False)
        finally:
            if lost in machines.worker_nodes:
                machines.remove_node(lost)
        assert [square for square, _ in results] == SQUARES
        assert lost.node_id in {node for _, node in results[:12]}

    def test_workers_with_other_packages_are_refused(self, machines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        versions = cluster._versions() | {"numpy": "1.0"}
        monkeypatch.setattr(cluster, "_versions", lambda: versions)
        with pytest.raises(ClusterError, match="has numpy .*, where the driver has 1.0: results could differ"):
            list(map_parts(str, range(4)))

    def test_a_folder_that_only_the_driver_sees_is_explained(self, machines: Any, tmp_path: Path) -> None:
        def work(item: int) -> None:
            raise FileNotFoundError(2, "No such file or directory", str(tmp_path / "part-00000.parquet"))

        with pytest.raises(ClusterError, match="on a file system that all machines share"):
            list(map_parts(work, range(4)))

    def test_no_cluster_at_the_address_is_explained(self) -> None:
        program = "from assay.corpus.engine import map_parts; print(list(map_parts(str, range(3))))"
        environment = os.environ | {"ASSAY_RUNNER": "ray://127.0.0.1:1"}
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
        assert "ClusterError: No Ray cluster answers at ray://127.0.0.1:1" in done.stderr

    def test_ctrl_c_stops_workers_at_once(self, machines: Any, tmp_path: Path) -> None:
        process = subprocess.Popen(
            [sys.executable, "-c", STOPPED, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        while not list(tmp_path.glob("begun-*")):
            assert process.poll() is None, process.stderr and process.stderr.read()
            time.sleep(0.05)
        time.sleep(0.5)
        os.kill(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=20)
        assert output.strip() == "interrupted", errors
        time.sleep(3)
        assert not list(tmp_path.glob("ended-*"))


STOPPED = """
import sys, time
from pathlib import Path
from assay.corpus.engine import map_parts, stop

folder = Path(sys.argv[1])

def work(item):
    (folder / f"begun-{item}").touch()
    time.sleep(3)
    (folder / f"ended-{item}").touch()

try:
    list(map_parts(work, range(60)))
except KeyboardInterrupt:
    print("interrupted", flush=True)
stop()
"""

RECIPE = """
pool: {read: "pool-*.jsonl"}
target: {read: target.jsonl, holdout: 0.4}
budget: 20k tokens
seeds: 3
proxy: {ngram: {order: 3, vocab_size: 600}}
arms:
  dsir: {score: {dsir: {smoothing: 0.5}}, select: {sample: {}}}
  unique: {select: {unique: {by: minhash}}}
  rules: {where: "passes('gopher', gopher.too_few_stop_words = 0) or exact.representative"}
write: {arm: dsir, to: chosen}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe")
    for k in range(6):
        rows = make_prose(150, seed=k, topic="g") + make_prose(30, seed=k, topic="t") + make_prose(20, seed=9)
        write_jsonl(path / f"pool-{k}.jsonl", [row | {"id": f"{k}/{row['id']}"} for row in rows])
    write_jsonl(path / "target.jsonl", make_prose(60, seed=99, topic="t"))
    (path / "recipe.yaml").write_text(RECIPE)
    return path


def compare(folder: Path, out: Path, runner: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "assay.cli", "compare", "recipe.yaml", "--runner", runner]
    command += ["--workspace", str(out / "workspace"), "--out", str(out), "--set", f"write.to={out / 'chosen'}"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def content(out: Path) -> dict[str, Any]:
    """All that must not depend on the runner, by name: manifests and results without costs, other files as bytes."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        name = str(path.relative_to(out))
        if path.suffix == ".json":
            found[name] = json.loads(path.read_text())
            for key in ("cost", "checksum", *(["parts"] if "comparison-" in name else [])):  # whose files hold costs
                found[name].pop(key, None)
        elif path.name != "report.html":
            found[name] = path.read_bytes()
    found.pop("workspace/files.json", None)
    return found


def at_work(machines: Any) -> list[int]:
    """Worker processes of these machines that are busy; Ray calls them by their task."""
    found: list[int] = []
    for node in machines.list_all_nodes():
        raylet = node.all_processes["raylet"][0].process.pid
        done = subprocess.run(["pgrep", "-P", str(raylet), "-f", "^ray::_do"], capture_output=True, text=True)
        found += map(int, done.stdout.split())
    return found


@pytest.mark.ray
@needs_ray
def test_a_comparison_on_a_cluster_has_the_same_bytes_even_when_workers_are_killed(
    machines: Any, folder: Path, tmp_path: Path
) -> None:
    native = compare(folder, tmp_path / "native", "native")
    _, errors = native.communicate(timeout=300)
    assert native.returncode == 0, errors
    on_cluster = compare(folder, tmp_path / "ray", "ray")
    rng, killed = random.Random(1), 0
    while on_cluster.poll() is None:
        time.sleep(0.5)
        workers = at_work(machines)
        if workers and killed < 4:
            os.kill(rng.choice(workers), signal.SIGKILL)
            killed += 1
    output, errors = on_cluster.communicate(timeout=300)
    assert on_cluster.returncode == 0, errors
    assert killed > 0
    assert "ray::" not in output and "raylet" not in output + errors
    assert content(tmp_path / "ray") == content(tmp_path / "native")
