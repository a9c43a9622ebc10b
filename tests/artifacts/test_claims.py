"""Claims: one owner at a time, whatever clocks, process numbers and hosts do."""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from assay.artifacts import claims
from assay.artifacts.claims import Owner, Watch, claim_of, claimed, claims_below, own_first, parse_part, read_claim
from assay.artifacts.process import is_gone, own_name
from assay.errors import InvalidParameterError
from tests.conftest import ended_process

ELSEWHERE = Owner("00000000-77-1", "node12", "2026-01-01T00:00:00+00:00")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "part-00003.parquet"


def put(path: Path, owner: Owner) -> None:
    claim_of(path).write_text(json.dumps(asdict(owner)))


def can_take(path: Path, stale: Owner | None = None) -> bool:
    with claimed(path, stale) as is_mine:
        return is_mine


def test_only_one_of_many_threads_has_a_claim_at_a_time(path: Path) -> None:
    inside, most, taken = [0], [0], [0]

    def work() -> None:
        for _ in range(200):
            with claimed(path) as is_mine:
                if is_mine:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                    taken[0] += 1
                    inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 1 and taken[0] > 0
    assert not list(path.parent.iterdir())


def test_a_claim_says_who_holds_it_and_is_given_up_after_an_error(path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), claimed(path) as is_mine:
        owner = read_claim(path)
        assert is_mine and owner is not None and owner.process == own_name() and owner.number == os.getpid()
        assert not can_take(path)
        raise KeyboardInterrupt
    assert read_claim(path) is None and can_take(path)


def test_what_a_worker_died_over_is_taken_from_it_on_another_host(path: Path) -> None:
    put(path, ELSEWHERE)
    leaving = path.with_name(f".{path.name}.{ELSEWHERE.process}.tmp")
    leaving.touch()
    assert not can_take(path)
    with claims.taking_over():
        assert can_take(path)
    assert leaving.exists()  # it may live after all, and be writing
    put(path, ELSEWHERE)
    assert not can_take(path)


def test_the_claim_of_a_process_that_ended_is_taken_at_once(path: Path) -> None:
    put(path, Owner(ended_process(), "here", "2026-01-01T00:00:00+00:00"))
    assert Watch().free([path])[path] is not None
    assert can_take(path)


def test_a_number_used_again_by_another_process_keeps_no_claim_alive(path: Path) -> None:
    place, number, start = own_name().split("-")
    put(path, Owner(f"{place}-{number}-{int(start) - 1}", "here", "2026-01-01T00:00:00+00:00"))
    assert can_take(path)


def test_a_process_that_was_killed_and_not_yet_waited_for_has_ended() -> None:
    code = "import time; from assay.artifacts.process import own_name; print(own_name(), flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    name = process.stdout.readline().strip()
    assert not is_gone(name)
    process.kill()
    deadline = time.monotonic() + 10
    while not is_gone(name) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert is_gone(name)
    process.communicate()
    assert is_gone(name)


@pytest.mark.parametrize("since", ["1971-01-01T00:00:00+00:00", "2199-01-01T00:00:00+00:00"])
@pytest.mark.parametrize("shift", [-(10**9), 0, 10**9])
def test_another_hosts_claim_is_taken_when_it_was_silent_while_we_watched_whatever_the_clocks_say(
    path: Path, monkeypatch: pytest.MonkeyPatch, since: str, shift: int
) -> None:
    """A clock far ahead or behind, on either side, makes no claim older or younger."""
    now = [1000.0]
    monkeypatch.setattr(claims.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(claims.time, "time", lambda: 1.0)
    owner = Owner(ELSEWHERE.process, "node12", since)
    watch = Watch()

    def look(beats: int) -> dict[Path, Owner | None]:
        put(path, Owner(owner.process, owner.host, owner.since, beats))
        os.utime(path.with_name(claim_of(path).name), (2 * 10**9 + shift, 2 * 10**9 + shift))
        return watch.free([path])

    assert look(0) == {} and not can_take(path)
    for beat in range(1, 5):  # it beats, however slowly
        now[0] += claims.STALE_S - 1
        assert look(beat) == {}
    now[0] += claims.STALE_S - 1
    assert look(4) == {}
    now[0] += 1
    stale = look(4)[path]
    assert stale is not None and not can_take(path)
    put(path, Owner(owner.process, owner.host, owner.since, 5))  # it beat after we looked
    assert not can_take(path, stale)
    put(path, stale)
    assert can_take(path, stale)


@pytest.mark.parametrize("content", ["", "{", "null", "[1]", '{"process": "x"}', "\0" * 40])
def test_a_claim_that_says_nothing_is_taken_only_after_watching(
    path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    """A host went down between creating a claim and filling it."""
    now = [0.0]
    monkeypatch.setattr(claims.time, "monotonic", lambda: now[0])
    claim_of(path).write_text(content)
    watch = Watch()
    assert watch.free([path]) == {} and not can_take(path)
    now[0] += claims.STALE_S
    assert can_take(path, watch.free([path])[path])


def test_an_owner_beats_as_long_as_it_works_and_notices_that_it_lost_its_claim(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "BEAT_S", 0.01)
    claims._heart.clear()  # the thread of earlier tests beats more slowly
    with claimed(path) as is_mine:
        assert is_mine
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and (now := read_claim(path)) and now.beats < 3:
            time.sleep(0.01)
        assert now is not None and now.beats >= 3
        put(path, ELSEWHERE)  # somebody thought that we were gone
        time.sleep(0.1)
        assert read_claim(path) == ELSEWHERE
    assert read_claim(path) == ELSEWHERE, "what is not ours is not removed"
    claims._heart.clear()


def test_who_takes_a_silent_claim_removes_what_its_owner_left_half_written(path: Path) -> None:
    put(path, ELSEWHERE)
    (path.parent / "failed").mkdir()
    half = [path.parent / f".part-00003.parquet.{ELSEWHERE.process}.tmp"]
    half += [path.parent / "failed" / f".part-00003.parquet.{ELSEWHERE.process}.tmp"]
    other = path.parent / ".part-00004.parquet.00000000-78-1.tmp"
    for file in (*half, other):
        file.write_text("half")
    assert can_take(path, ELSEWHERE)
    assert not any(file.exists() for file in half) and other.exists()


def test_a_claim_in_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        can_take(tmp_path / "gone" / "part-00000.parquet")


@pytest.mark.parametrize("count", [0, 1, 7, 16, 100])
@pytest.mark.parametrize("of", [1, 3, 16])
def test_every_process_goes_through_everything_and_their_own_parts_make_the_whole(
    monkeypatch: pytest.MonkeyPatch, count: int, of: int
) -> None:
    own = []
    for part in range(1, of + 1):
        monkeypatch.setenv("ASSAY_PART", f"{part}/{of}")
        order = own_first(count)
        assert sorted(order) == list(range(count))
        own += order[: count * part // of - count * (part - 1) // of]
    assert own == list(range(count))


def test_claims_are_listed_while_others_remove_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    scandir = os.scandir

    def vanish(path: str) -> Any:
        if Path(path) in folders[:1]:
            os.rmdir(path)  # what another process does between our seeing the folder and looking into it
        return scandir(path)

    monkeypatch.setattr(os, "scandir", vanish)
    with claimed(folders[1] / "part"):
        assert [path for path, *_ in claims_below(tmp_path)] == [folders[1] / "part"]
    assert not folders[0].exists()


def test_others_are_helped_from_their_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_PART", "2/4")
    assert own_first(8) == [2, 3, 1, 0, 7, 6, 5, 4]
    monkeypatch.delenv("ASSAY_PART")
    assert own_first(3) == [0, 1, 2]


@pytest.mark.parametrize("text", ["", "3", "0/3", "4/3", "1/0", "-1/3", "a/b", "1/2/3", "1 / x", "Slurm"])
def test_a_part_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameterError, match="must be i/n with i from 1 to n, such as 3/16, or 'slurm'"):
        parse_part(text)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"ARRAY_TASK_ID": "0", "ARRAY_TASK_MIN": "0", "ARRAY_TASK_COUNT": "4"}, (1, 4)),
        ({"ARRAY_TASK_ID": "4", "ARRAY_TASK_MIN": "1", "ARRAY_TASK_COUNT": "4"}, (4, 4)),
        ({"ARRAY_TASK_ID": "10", "ARRAY_TASK_MIN": "0", "ARRAY_TASK_COUNT": "3", "ARRAY_TASK_STEP": "5"}, (3, 3)),
        ({"ARRAY_TASK_ID": "7", "ARRAY_TASK_MIN": "1", "ARRAY_TASK_COUNT": "3"}, (1, 3)),  # --array=1,3,7
        ({"PROCID": "2", "NTASKS": "8"}, (3, 8)),
        ({"ARRAY_TASK_ID": "1", "ARRAY_TASK_MIN": "0", "ARRAY_TASK_COUNT": "2", "PROCID": "2", "NTASKS": "4"}, (7, 8)),
    ],
)
def test_slurm_says_which_part(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: tuple[int, int]
) -> None:
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    with pytest.raises(InvalidParameterError, match="must be used inside a Slurm job"):
        parse_part("slurm")
    for name, value in variables.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert parse_part("slurm") == expected
