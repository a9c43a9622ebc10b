"""What goes wrong on real machines: kills, Ctrl-C, full and read-only disks, two at once."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import make_prose, write_jsonl

RECIPE = """
pool: {read: "pool-*.jsonl"}
target: {read: target.jsonl, holdout: 0.4}
budget: 40k tokens
seeds: 4
proxy: {ngram: {order: 3, vocab_size: 600}}
arms:
  dsir: {score: {dsir: {smoothing: 0.5}}, select: {sample: {}}}
  longest: {score: length.bytes}
write: {arm: dsir, to: chosen}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("faults")
    for k in range(6):
        write_jsonl(path / f"pool-{k}.jsonl", make_prose(300, seed=k, topic="g") + make_prose(60, seed=k, topic="t"))
    write_jsonl(path / "target.jsonl", make_prose(60, seed=99, topic="t"))
    (path / "recipe.yaml").write_text(RECIPE)
    return path


def start(folder: Path, workspace: Path, out: Path, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "assay.cli", "compare", "recipe.yaml"]
    command += ["--workspace", str(workspace), "--out", str(out), "--set", f"write.to={out / 'chosen'}"]
    return subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=300)
    return process.returncode, errors


def result(out: Path) -> dict[str, Any]:
    content = json.loads((out / "comparison.json").read_text())
    del content["seconds"]
    return content


@pytest.fixture(scope="module")
def uninterrupted(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    out = tmp_path_factory.mktemp("compiled")  # on a fresh machine kernels are compiled first
    code, errors = finish(start(folder, out / "workspace", out))
    assert code == 0, errors
    out = tmp_path_factory.mktemp("uninterrupted")
    started = time.perf_counter()
    code, errors = finish(start(folder, out / "workspace", out))
    assert code == 0, errors
    return out, time.perf_counter() - started


@pytest.mark.slow
def test_five_kills_and_a_rerun_give_the_same_bytes(
    folder: Path, uninterrupted: tuple[Path, float], tmp_path: Path
) -> None:
    expected, seconds = uninterrupted
    rng = random.Random(0)
    for _ in range(5):
        process = start(folder, tmp_path / "workspace", tmp_path)
        time.sleep(rng.uniform(0.2, 0.9) * seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    code, errors = finish(start(folder, tmp_path / "workspace", tmp_path))
    assert code == 0, errors
    assert result(tmp_path) == result(expected)
    for part in [*(expected / "workspace").rglob("part-*"), *(expected / "workspace").rglob("state.npz")]:
        if part.suffix == ".json":
            continue  # how long reading took
        twin = tmp_path / "workspace" / part.parent.name / part.name
        assert twin.read_bytes() == part.read_bytes(), twin
    chosen = {path.name: path.read_bytes() for path in (expected / "chosen").glob("part-*")}
    assert {path.name: path.read_bytes() for path in (tmp_path / "chosen").glob("part-*")} == chosen
    assert not list((tmp_path / "workspace").rglob("*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_ctrl_c_leaves_a_sentence(
    folder: Path, uninterrupted: tuple[Path, float], tmp_path: Path, share: float
) -> None:
    num_artifacts = len(list((uninterrupted[0] / "workspace").glob("*/manifest.json")))
    process = start(folder, tmp_path / "workspace", tmp_path)
    while len(list((tmp_path / "workspace").glob("*/manifest.json"))) < share * num_artifacts:
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGINT)
    code, errors = finish(process)
    assert code == 130
    assert "Interrupted. What is finished is kept; run the same command again to go on." in errors
    assert "Traceback" not in errors


@pytest.mark.slow
def test_two_at_once_on_one_workspace_do_no_harm(
    folder: Path, uninterrupted: tuple[Path, float], tmp_path: Path
) -> None:
    outs = [tmp_path / "a", tmp_path / "b"]
    processes = [start(folder, tmp_path / "workspace", out) for out in outs]
    for process in processes:
        code, errors = finish(process)
        assert code == 0, errors
    for out in outs:
        assert result(out) == result(uninterrupted[0])


def test_a_file_size_limit_is_explained(folder: Path, tmp_path: Path) -> None:
    """As a full disk, but to be had everywhere: no file may grow beyond 20 kB."""
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # noqa: E731
    code, errors = finish(start(folder, tmp_path / "workspace", tmp_path, preexec_fn=limit))
    assert code == 1, errors
    assert "Error: No space left on the disk" in errors and "--workspace" in errors
    assert "Traceback" not in errors


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte; needs the right to mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("may not mount a small file system here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_explained_and_the_run_goes_on_elsewhere_or_later(
    folder: Path, small_disk: Path, tmp_path: Path
) -> None:
    code, errors = finish(start(folder, small_disk / "workspace", tmp_path))
    assert code == 1, errors
    assert "Error: No space left on the disk" in errors and "make room" in errors
    assert "Traceback" not in errors
    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
    code, errors = finish(start(folder, small_disk / "workspace", tmp_path))
    assert code == 0, errors


def test_a_read_only_folder_is_explained(folder: Path, small_disk: Path, tmp_path: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    code, errors = finish(start(folder, small_disk / "workspace", tmp_path))
    assert code == 1, errors
    assert "Cannot write to the workspace" in errors and "Choose another with --workspace" in errors
    assert "Traceback" not in errors


def test_a_workspace_that_cannot_be_is_explained(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    code, errors = finish(start(folder, tmp_path / "file" / "workspace", tmp_path))
    assert code == 1, errors
    assert "Cannot write to the workspace" in errors
    assert "Traceback" not in errors
