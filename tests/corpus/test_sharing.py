"""Sharing: every file is made once, whoever takes part, dies, sleeps or comes late."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from assay.artifacts import claims
from assay.artifacts.claims import Owner, claim_of, claimed
from assay.artifacts.manifest import atomic_path
from assay.corpus.sharing import share, share_one
from tests.conftest import ended_process, in_this_process

ELSEWHERE = Owner("00000000-77-1", "node12", "2026-01-01T00:00:00+00:00")


def paths_in(folder: Path, count: int) -> list[Path]:
    return [folder / f"part-{k:05d}" for k in range(count)]


def make(path: Path) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(path.name)
    with open(path.parent / "log", "a") as log:
        log.write(path.name + "\n")


def test_what_is_there_is_kept_and_the_rest_made_in_order_of_the_own_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_PART", "2/3")
    paths = paths_in(tmp_path, 9)
    paths[4].write_text("from before")
    assert sorted(share(make, paths, paths)) == list(range(9))
    monkeypatch.setattr("assay.corpus.sharing.map_parts", lambda work, items: map(work, items))
    assert list(share(make, paths, paths)) == [3, 4, 5, 2, 1, 0, 8, 7, 6]
    assert (tmp_path / "log").read_text().count("\n") == 8 and paths[4].read_text() == "from before"


WORKER = r"""
import os, sys, time
from pathlib import Path
from typing import Any
from assay.artifacts import claims
claims.BEAT_S, claims.STALE_S = 0.05, 1.0
from assay.artifacts.manifest import atomic_path
from assay.corpus.sharing import share
folder, count, part, pause = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
os.environ["ASSAY_PART"] = part
paths = [folder / f"part-{k:05d}" for k in range(count)]
def work(path):
    time.sleep(pause)
    with atomic_path(path) as temporary:
        temporary.write_text(path.name)
    with open(folder / "log", "a") as log:
        log.write(path.name + "\n")
print("ready", flush=True)
sys.stdin.readline()
for k in share(work, paths, paths):
    pass
assert all(path.exists() for path in paths)
os._exit(0)
"""


def start(folder: Path, *parts: str, pause: float = 0.01) -> list[subprocess.Popen[str]]:
    commands = [[sys.executable, "-c", WORKER, str(folder), "40", part, str(pause)] for part in parts]
    processes = [subprocess.Popen(c, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for c in commands]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return processes


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_three_processes_make_every_file_once(tmp_path: Path) -> None:
    processes = start(tmp_path, "1/3", "2/3", "3/3")
    for process in processes:
        go(process)
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    made = Counter((tmp_path / "log").read_text().splitlines())
    assert made == Counter(path.name for path in paths_in(tmp_path, 40))
    assert not list(tmp_path.glob(".*"))


def test_the_parts_of_killed_processes_are_taken_over(tmp_path: Path) -> None:
    rng = random.Random(0)
    survivor, *others = start(tmp_path, "1/3", "2/3", "3/3", pause=0.05)
    for process in (survivor, *others):
        go(process)
    for process in others:
        time.sleep(rng.uniform(0.05, 0.3))
        process.kill()
        process.communicate()
    survivor.communicate(timeout=60)
    assert survivor.returncode == 0
    assert all(path.read_text() == path.name for path in paths_in(tmp_path, 40))
    assert not list(tmp_path.glob(".*"))


@pytest.mark.skipif(
    os.environ.get("ASSAY_RUNNER", "native") != "native", reason="Ray leaves its workers to a driver that is stopped"
)
def test_a_process_that_is_stopped_loses_its_parts_and_does_no_harm_when_it_wakes(tmp_path: Path) -> None:
    """As another host would see it: its process lives, but its claims fall silent."""
    sleeper, other = start(tmp_path, "1/2", "2/2", pause=0.05)
    go(sleeper)
    while not list(tmp_path.glob(".*.claim")):
        time.sleep(0.005)
    sleeper.send_signal(signal.SIGSTOP)
    go(other)
    other.communicate(timeout=60)
    assert other.returncode == 0
    before = {path: path.read_text() for path in paths_in(tmp_path, 40)}
    sleeper.send_signal(signal.SIGCONT)
    sleeper.communicate(timeout=60)
    assert sleeper.returncode == 0
    assert {path: path.read_text() for path in before} == before
    assert not list(tmp_path.glob(".*"))


def test_a_process_that_is_stopped_while_it_writes_wakes_to_find_that_gone_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the other one takes over, and removes what is half written, before the first has gone on."""
    monkeypatch.setattr("assay.corpus.sharing.map_parts", lambda work, items: map(work, items))
    paths = paths_in(tmp_path, 3)
    tries: Counter[str] = Counter()

    def work(path: Path) -> None:
        with atomic_path(path) as temporary, open(temporary, "w") as stream:
            stream.write(path.name)
            tries[path.name] += 1
            if tries[path.name] == 1 and path != paths[0]:
                claims._remove_leavings(tmp_path, claims._held[path])
                if path == paths[1]:  # the other one has even finished
                    path.write_text(path.name)

    assert sorted(share(work, paths, paths)) == [0, 1, 2]
    assert [path.read_text() for path in paths] == [path.name for path in paths]
    assert [tries[path.name] for path in paths] == [1, 1, 2]
    assert not list(tmp_path.glob(".*"))


def test_a_file_of_another_host_is_waited_for_while_it_beats_and_made_when_it_falls_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "STALE_S", 0.3)
    paths = paths_in(tmp_path, 3)
    alive = threading.Event()

    def beat() -> None:
        beats = 0
        while not alive.is_set():
            beats += 1
            claim_of(paths[1]).write_text(json.dumps(asdict(ELSEWHERE) | {"beats": beats}))
            time.sleep(0.02)

    thread = threading.Thread(target=beat)
    thread.start()
    while not claim_of(paths[1]).exists():
        time.sleep(0.001)
    threading.Timer(1.0, alive.set).start()
    started, when = time.monotonic(), {}
    for k in share(make, paths, paths):
        when[k] = time.monotonic() - started
    thread.join()
    assert when[0] < 0.9 and when[2] < 0.9 and when[1] > 1.1, when


def test_claims_of_the_dead_stop_nobody(tmp_path: Path) -> None:
    paths = paths_in(tmp_path, 4)
    for path in paths[1:]:
        claim_of(path).write_text(json.dumps(asdict(Owner(ended_process(), "here", "2026-01-01T00:00:00+00:00"))))
    started = time.monotonic()
    assert sorted(share(make, paths, paths)) == [0, 1, 2, 3]
    assert time.monotonic() - started < claims.STALE_S / 10
    assert not list(tmp_path.glob(".*"))


def test_an_error_gives_the_claim_up_and_the_next_goes_on(tmp_path: Path) -> None:
    paths = paths_in(tmp_path, 6)

    def fails(path: Path) -> None:
        if path == paths[3]:
            raise ValueError("of document 7")
        make(path)

    with pytest.raises(ValueError, match="of document 7"):
        list(share(fails, paths, paths))
    assert not paths[3].exists() and not list(tmp_path.glob(".*"))
    assert sorted(share(make, paths, paths)) == list(range(6))


def test_a_folder_that_is_deleted_while_we_wait_ends_the_wait(tmp_path: Path) -> None:
    folder = tmp_path / "artifact"
    folder.mkdir()
    (path,) = paths_in(folder, 1)
    claim_of(path).write_text(json.dumps(asdict(ELSEWHERE)))

    def delete() -> None:
        claim_of(path).unlink()
        folder.rmdir()

    threading.Timer(0.2, delete).start()
    with pytest.raises(FileNotFoundError):
        list(share(make, [path], [path]))


def test_one_thing_is_done_once_by_threads_that_all_want_it(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"

    def work() -> None:
        time.sleep(0.1)
        make(path)

    threads = [threading.Thread(target=share_one, args=(work, path)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "log").read_text() == "state.npz\n"


def test_who_waits_says_for_whom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from assay.corpus import sharing

    notes: list[str] = []
    monkeypatch.setattr(sharing, "note", notes.append)
    monkeypatch.setattr(sharing, "_QUIET_S", 0.05)
    monkeypatch.setattr(claims, "STALE_S", 0.5)
    paths = paths_in(tmp_path, 6)
    for path in paths[1:]:
        claim_of(path).write_text(json.dumps(asdict(ELSEWHERE)))
    with claimed(paths[0]) as is_mine:
        assert is_mine
        threading.Timer(0.4, make, [paths[0]]).start()
        assert sorted(share(make, paths, paths)) == list(range(6))
    assert notes[0].startswith("waiting for what other processes make: part-00000 (") and "2 more" in notes[0]
    assert "part-00001 (node12, process 77)" in notes[0]


@in_this_process
def test_on_an_object_store_what_is_there_is_kept_and_nothing_is_claimed(s3: Any) -> None:
    folder = s3.make_bucket() / "artifact"
    paths = [folder / f"part-{k:05d}" for k in range(4)]
    made: list[str] = []

    def work(path: Any) -> None:
        with atomic_path(path) as temporary:
            temporary.write_text(path.name)
        made.append(path.name)

    work(paths[2])
    assert sorted(share(work, paths, paths)) == [0, 1, 2, 3]
    assert sorted(made) == [path.name for path in paths]
    assert sorted(path.name for path in folder.iterdir()) == sorted(made)
