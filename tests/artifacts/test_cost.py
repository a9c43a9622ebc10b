"""Costs against loads that are known, and from several threads and processes."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest

import assay
from assay.api.status import status
from assay.artifacts import workspace as workspace_module
from assay.artifacts.cost import Cost, Meter, add, count_read, count_written, measured, total
from assay.artifacts.kinds import Corpus
from assay.artifacts.workspace import Workspace
from assay.scorers.base import Column, Scorer, State
from tests.conftest import make_documents

BURNT, SLEPT, HELD = 0.2, 0.6, 200 << 20


def burn(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


@dataclass(frozen=True, kw_only=True)
class Load(Scorer):
    """Burns, sleeps and holds memory, as much as is known, once a batch."""

    name: ClassVar[str] = "load"
    version: ClassVar[int] = 1

    def columns(self, targets: tuple[str, ...]) -> list[Column]:
        return [Column("load", pa.float64(), None, "one")]

    def score(self, batch: pa.RecordBatch, state: State) -> list[pa.Array]:
        burn(BURNT)
        time.sleep(SLEPT)
        held = np.ones(HELD, np.uint8)
        return [pa.array(np.full(len(batch), float(held[-1])))]


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc to know the memory before")
def test_a_known_load_is_what_the_manifest_says(make_corpus: Callable[..., Corpus], workspace: Workspace) -> None:
    corpus = make_corpus(make_documents(400))
    before = resident()
    scores = assay.score(corpus, Load(), workspace=workspace)
    cost = scores.manifest.cost
    assert BURNT <= cost["core_seconds"] < BURNT + SLEPT  # sleeping is no work
    assert cost["wall_seconds"] >= BURNT + SLEPT
    assert cost["peak_bytes"] >= before + 0.98 * HELD  # the system counts pages by the handful
    assert corpus.num_bytes <= cost["read_bytes"] <= corpus.num_bytes + 8 * (corpus.num_documents + 1)
    size = sum(path.stat().st_size for path in scores.folder.glob("part-*"))
    assert size <= cost["written_bytes"] <= size + 500  # where it took seconds, the bill is written too


def test_reading_counts_the_bytes_of_files(make_corpus: Callable[..., Corpus], tmp_path: Path) -> None:
    corpus = make_corpus(make_documents(300))
    size = (tmp_path / "pool.jsonl").stat().st_size
    ids = sum(len(f"w-{k}") + 4 for k in range(300)) + 4  # looked at once more, for those that stand twice
    assert corpus.manifest.cost["read_bytes"] == pytest.approx(size + ids, abs=8)


def test_work_in_other_threads_is_brought_home() -> None:
    brought = []

    def work(seconds: float) -> str:
        burn(seconds)
        count_read(7)
        count_written(11)
        return "done"

    meter = Meter()
    thread = threading.Thread(target=lambda: brought.append(measured(work, 0.1)))
    thread.start()
    thread.join()
    assert meter.read()["core_seconds"] < 0.05
    result, cost = brought[0]
    assert result == "done" and 0.1 <= cost.core_seconds < 0.3
    add(cost)
    spent = meter.book()
    assert spent["core_seconds"] >= 0.1
    assert (spent["read_bytes"], spent["written_bytes"]) == (7, 11)


def test_nothing_is_booked_twice() -> None:
    outer = Meter()
    add(Cost(core_seconds=1.0, read_bytes=10))
    inner = Meter()
    add(Cost(core_seconds=2.0, written_bytes=5))
    assert inner.book()["core_seconds"] == pytest.approx(2.0, abs=0.1)
    spent = outer.book()
    assert spent["core_seconds"] == pytest.approx(1.0, abs=0.1)
    assert (spent["read_bytes"], spent["written_bytes"]) == (10, 0)


def test_costs_of_several_are_added_and_the_highest_peak_stands() -> None:
    costs = [Cost(1.0, 100, 10, 1)._asdict() | {"wall_seconds": 2.0}, Cost(2.0, 50, 20, 2)._asdict()]
    assert total(costs) == {
        "core_seconds": 3.0,
        "peak_bytes": 100,
        "read_bytes": 30,
        "written_bytes": 3,
        "wall_seconds": 2.0,
    }


def test_a_process_that_was_killed_leaves_its_bill(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace_module, "_KEEP_SECONDS", 0.0)
    killed, finishes = (workspace.open_draft("scores", "x", 1, {}, {}) for _ in range(2))
    killed.start()
    add(Cost(core_seconds=5.0, read_bytes=100))
    killed.keep_cost()
    finishes.start()
    add(Cost(core_seconds=2.0, read_bytes=1))
    manifest = finishes.finish(schema={}, parts=[])
    assert manifest.cost["core_seconds"] == pytest.approx(7.0, abs=0.1)
    assert manifest.cost["read_bytes"] == 101
    assert [path.name for path in finishes.folder.iterdir()] == ["manifest.json"]


@pytest.mark.parametrize("content", ["", '{"core_sec', "[1]", '{"core_seconds": "5"}', "\0" * 8])
def test_a_bill_that_cannot_be_read_stops_nobody(content: str, workspace: Workspace) -> None:
    """As a machine that lost its power may leave it."""
    draft = workspace.open_draft("scores", "x", 1, {}, {})
    draft.start()
    (draft.folder / "cost-1.json").write_text(content)
    assert status(workspace)["artifacts"][0]["core_seconds"] == 0
    add(Cost(core_seconds=2.0))
    assert draft.finish(schema={}, parts=[]).cost["core_seconds"] == pytest.approx(2.0, abs=0.1)
    assert [path.name for path in draft.folder.iterdir()] == ["manifest.json"]
