"""Progress as programs and people see it, and that it changes nothing."""

import io
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

import assay
from assay import progress
from assay.api.recipe import Recipe
from assay.api.showing import show
from assay.artifacts.manifest import Manifest
from assay.artifacts.workspace import Workspace
from assay.cli import app
from tests.conftest import make_prose, write_jsonl

RECIPE = """
pool: {read: "pool-*.jsonl", max_failed_share: 0.1}
target: {read: target.jsonl, holdout: 0.4}
budget: 15k tokens
seeds: 2
proxy: {ngram: {order: 2, vocab_size: 400}}
arms:
  dsir: {score: {dsir: {smoothing: 0.5}}, select: {sample: {}}}
  longest: {score: length.bytes}
  both: {score: length.bytes, where: "length.words > 3"}
write: {arm: dsir, to: chosen}
"""
KEYS = {"time", "event", "step", "steps", "name", "failed"}
STEP_KEYS = KEYS | {"task", "done", "total", "unit", "seconds", "rate", "seconds_left"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("progress")
    for k in range(3):
        write_jsonl(path / f"pool-{k}.jsonl", make_prose(150, seed=k, topic="g") + make_prose(30, seed=k, topic="t"))
    with open(path / "pool-1.jsonl", "a") as stream:
        stream.write("not JSON\n" * 3)
    write_jsonl(path / "target.jsonl", make_prose(60, seed=99, topic="t"))
    (path / "recipe.yaml").write_text(RECIPE)
    return path


def run(folder: Path, workspace: Path, *options: str, mode: str = "json") -> tuple[int, str]:
    command = [sys.executable, "-m", "assay.cli", "compare", "recipe.yaml", "--progress", mode]
    command += ["--workspace", str(workspace), "--out", str(workspace), "--set", f"write.to={workspace}-chosen"]
    result = subprocess.run([*command, *options], cwd=folder, capture_output=True, text=True, check=False)
    return result.returncode, result.stderr


def events(errors: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in errors.splitlines()]


@pytest.fixture(scope="module")
def first_run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    workspace = tmp_path_factory.mktemp("json") / "workspace"
    code, errors = run(folder, workspace)
    assert code == 0, errors
    return workspace, events(errors)


def test_json_lines_tell_a_run_from_plan_to_end(first_run: tuple[Path, list[dict[str, Any]]]) -> None:
    _, told = first_run
    plan = told[0]
    names = [step["name"] for step in plan["plan"]]
    assert plan["event"] == "plan" and plan["steps"] == len(names) and not any(s["found"] for s in plan["plan"])
    assert names[0] == "read pool" and names[-1] == "write workspace-chosen"
    assert len(set(names)) == len(names)  # a scorer that two arms go by is one step
    assert [(e["step"], e["name"]) for e in told if e["event"] == "step"] == list(enumerate(names, 1))
    assert [e["time"] for e in told] == sorted(e["time"] for e in told)
    assert told[-1]["event"] == "finished"
    assert {e["failed"] for e in told} == {0, 3}  # rows set aside, as they come
    assert next(e for e in told if e.get("task") == "read pool" and e["event"] == "end")["failed"] == 3


def test_steps_are_monotone_and_end_at_a_hundred_percent(first_run: tuple[Path, list[dict[str, Any]]]) -> None:
    _, told = first_run
    opened: list[dict[str, Any]] = []
    for event in told:
        if event["event"] not in ("start", "progress", "end"):
            assert set(event) <= KEYS | {"plan", "seconds", "message"}
            continue
        assert set(event) == STEP_KEYS
        if event["event"] == "start":
            assert event["done"] == 0 and event["rate"] is None and event["seconds_left"] is None  # no guess
            opened.append(event)
            continue
        before = opened[-1]
        assert event["task"] == before["task"] and before["done"] <= event["done"] <= event["total"]
        opened[-1] = event
        if event["event"] == "end":
            assert event["done"] == event["total"]
            opened.pop()
    assert not opened
    units = {e["task"]: e["unit"] for e in told if e["event"] == "start"}
    assert units["score dsir"] == "bytes" and units["train all arms at 15k tokens"] == "runs"


def test_what_is_done_is_not_planned_again(folder: Path, first_run: tuple[Path, list[dict[str, Any]]]) -> None:
    workspace, _ = first_run
    code, errors = run(folder, workspace)
    assert code == 0, errors
    told = events(errors)
    assert [s["found"] for s in told[0]["plan"]] == [True] * (told[0]["steps"] - 1) + [False]  # documents are written
    assert [e["name"] for e in told if e["event"] == "step"] == ["write workspace-chosen"]


def test_progress_changes_no_byte(folder: Path, first_run: tuple[Path, list[dict[str, Any]]], tmp_path: Path) -> None:
    workspace, _ = first_run
    code, errors = run(folder, tmp_path / "workspace", mode="none")
    assert (code, errors) == (0, "")
    files = [path for path in workspace.rglob("*") if path.is_file() and path.name not in ("manifest.json",)]
    assert len(files) > 30
    for path in files:
        if path.name in ("comparison.json", "report.html", "files.json"):
            continue  # what it cost, and where and when files changed
        assert (tmp_path / "workspace" / path.relative_to(workspace)).read_bytes() == path.read_bytes(), path


def test_every_artifact_behind_a_comparison_is_in_its_costs_once(
    folder: Path, first_run: tuple[Path, list[dict[str, Any]]]
) -> None:
    workspace, _ = first_run
    content = json.loads((workspace / "comparison.json").read_text())
    steps = content["cost"]["steps"]
    manifests = [Manifest.load(path.parent) for path in Workspace(workspace).manifests()]
    made = [manifest for manifest in manifests if manifest.kind != "comparison"]
    assert sum(step["artifacts"] for step in steps) == len(made)
    assert not any(step["found"] for step in steps)
    for key in ("core_seconds", "read_bytes", "written_bytes"):
        assert sum(step[key] for step in steps) == pytest.approx(sum(manifest.cost[key] for manifest in made))
    assert max(step["peak_bytes"] for step in steps) == max(manifest.cost["peak_bytes"] for manifest in made)
    by_name = {step["step"]: step for step in steps}
    sizes = [path.stat().st_size for path in folder.glob("pool-*.jsonl")]
    assert sum(sizes) <= by_name["read pool"]["read_bytes"] < 2 * sum(sizes)
    assert by_name["score overlap"]["read_bytes"] >= 2 * content["pool"]["bytes"]  # to fit, and to score
    assert by_name["train both"]["artifacts"] == 2 and by_name["select both"]["artifacts"] == 3
    assert steps[0]["step"] == "read pool" and steps[-1]["step"].startswith("train")


def test_what_was_done_before_is_marked_in_the_costs(
    folder: Path, first_run: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    shutil.copytree(first_run[0], tmp_path / "workspace")
    recipe = Recipe.load(folder / "recipe.yaml", {"arms.new": "{score: length.bytes, where: length.words > 9}"})
    second = assay.compare(replace(recipe, write=None), workspace=tmp_path / "workspace", out=tmp_path)
    steps = second.content["cost"]["steps"]
    new = {step["step"] for step in steps if step["found"] < step["artifacts"]}
    assert new == {"select new", "train new"}
    text = io.StringIO()
    shown = show(str(tmp_path / "comparison.json"), Workspace(tmp_path / "workspace"), costs=True)
    Console(file=text, width=80).print(shown)
    assert re.search(r"score dsir +done before +[\d.]+ s +[\d.]+ [MG]B", text.getvalue())
    assert max(map(len, text.getvalue().splitlines())) <= 80
    selection = next((tmp_path / "workspace").glob("selection-new-*"))
    text.truncate(0)
    Console(file=text, width=80).print(show(str(selection), Workspace(tmp_path / "workspace"), costs=True))
    assert "read pool" in text.getvalue() and "select new" in text.getvalue() and "done before" not in text.getvalue()


def test_a_failure_is_told_in_json_too(folder: Path, tmp_path: Path) -> None:
    code, errors = run(folder, tmp_path / "workspace", "--set", "pool.max_failed_share=0")
    told = events(errors)
    assert code == 1
    assert told[-1]["event"] == "error" and "3 of 543 rows of 'pool' cannot be used" in told[-1]["message"]
    assert not any(e["event"] == "finished" for e in told)


def test_an_unknown_mode_is_explained() -> None:
    result = CliRunner().invoke(app, ["compare", "recipe.yaml", "--progress", "jsno"])
    assert result.exit_code == 2
    assert "must be one of auto, bars, lines, json, none" in " ".join(result.stderr.replace("│", " ").split())


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Progress for the test alone, in lines, and what it printed."""
    output = io.StringIO()
    monkeypatch.setattr(progress, "_board", progress._Board())
    monkeypatch.setattr(progress, "_console", Console(file=output, width=100))
    progress.set_mode("lines")
    yield output


def test_an_error_inside_a_step_is_told_and_goes_on(board: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    progress.set_mode("json")
    with pytest.raises(ValueError, match="broken"), progress.step("work", 10, "parts") as advance:
        advance(4)
        raise ValueError("broken")
    last = events(capsys.readouterr().err)[-1]
    assert (last["event"], last["task"], last["done"], last["message"]) == ("failed", "work", 4, "ValueError: broken")
    assert not progress._board.steps


def test_events_come_at_most_once_a_second(board: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    progress.set_mode("json")
    with progress.step("work", 10_000, "parts") as advance:
        for _ in range(10_000):
            advance(1)
    told = events(capsys.readouterr().err)
    assert [told[0]["event"], told[-1]["event"]] == ["start", "end"]
    assert len(told) - 2 <= told[-1]["seconds"]


def test_one_line_stays_for_a_step_and_none_for_those_inside(board: io.StringIO) -> None:
    with progress.step("outer", 2e6) as advance:
        advance(2e6)
        with progress.step("inner", 1, "runs"):
            progress.count_failed(2)
    with progress.step("next", 3, "runs"):
        progress.count_failed(1)
    lines = board.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("  ✓ outer  2.0 MB in 0.0 s")
    assert lines[1].startswith("  ✓ next  3 runs in 0.0 s") and lines[1].endswith("1 row set aside")


def test_a_plan_says_what_was_found_and_what_it_took(board: io.StringIO) -> None:
    with progress.plan(["read", "score", "write"], [True, False, False]) as begin:
        begin(1)
        with progress.step("score", 1, "runs"):
            pass
        begin(2)
    lines = board.getvalue().splitlines()
    assert lines[0].strip() == "1 of 3 steps were done before"
    assert lines[-1].strip() == "2 steps in 0.0 s"


def test_bars_fit_into_80_columns(board: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    monkeypatch.setattr(progress, "_console", Console(file=output, width=80, force_terminal=False))
    board_now = progress._board
    board_now.plan = progress._Plan(["a step whose name is long"] * 12, [False] * 12, current=4)
    step = progress._Step("score " + "a scorer with a very long name indeed", 1e12, "bytes")
    step.started -= 5000
    step.done = 4e11
    board_now.steps, board_now.failed = [step], 1234
    progress._console.print(progress._bars())
    lines = output.getvalue().splitlines()
    assert len(lines) == 2 and max(map(len, lines)) <= 80
    assert "…" in lines[0] and "40 %" in lines[0] and "80.0 MB/s" in lines[0] and "2:05:00" in lines[0]
    assert "step 5 of 12" in lines[1] and "at least 2:05:00 left" in lines[1]


def test_workers_are_not_heard(board: io.StringIO) -> None:
    def work() -> None:
        with progress.step("in a thread", 1):
            progress.note("nobody hears this")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert board.getvalue() == ""


def test_notes_of_what_is_tried_in_vain_are_forgotten(board: io.StringIO) -> None:
    with pytest.raises(KeyError), progress.held_notes():
        progress.note("not yet")
        raise KeyError
    with progress.held_notes():
        progress.note("now")
    assert board.getvalue().split() == ["now"]


INTERRUPTED = """
import asyncio
from assay.options import reported

async def batches():
    try:
        yield 1
    finally:
        await asyncio.sleep(0)

@reported
def command():
    held = batches()
    try:
        held.__anext__().send(None)
    except StopIteration:
        pass
    raise KeyboardInterrupt

command()
"""


def test_interrupted_work_that_the_engine_drops_says_nothing_of_itself() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True)
    assert "Interrupted. What is finished is kept" in done.stderr
    assert "asynchronous generator" not in done.stderr
    assert "RuntimeError" not in done.stderr


SWALLOWED = """
import os, signal
from assay.artifacts.process import hear_interrupts
from assay.corpus.engine import map_parts
from assay.options import reported

@reported
def command():
    hear_interrupts()
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        pass  # as the engine does where it comes just as a piece of work ends
    list(map_parts(len, ["a", "b"]))
    print("went on")

command()
"""


def test_an_interrupt_that_the_engine_swallowed_is_heard_before_the_next_work() -> None:
    done = subprocess.run([sys.executable, "-c", SWALLOWED], capture_output=True, text=True)
    assert "Interrupted. What is finished is kept" in done.stderr
    assert "went on" not in done.stdout
