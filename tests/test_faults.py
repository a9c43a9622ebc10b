"""What goes wrong on real machines: kills, Ctrl-C, full and read-only disks, two at once."""

import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import assay
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


def start(folder: Path, workspace: Path, out: Path, *more: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "assay.cli", "compare", "recipe.yaml"]
    command += ["--workspace", str(workspace), "--out", str(out), "--set", f"write.to={out / 'chosen'}", *more]
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
    del content["cost"]
    return content


def parts(folder: Path) -> dict[Path, bytes]:
    """All that was computed, without what says how long it took."""
    found = [*folder.rglob("part-*"), *folder.rglob("state.npz"), *folder.rglob("tokenizer.json")]
    return {path.relative_to(folder): path.read_bytes() for path in found if not path.match("part-*.json")}


def assert_same_bytes(expected: Path, folder: Path) -> None:
    """Two runs gave the same workspace and export, and nothing half-made or claimed is left."""
    for name in ("workspace", "chosen"):
        wanted, found = parts(expected / name), parts(folder / name)
        assert wanted.keys() == found.keys()
        assert [path for path in wanted if wanted[path] != found[path]] == []
    assert not [*folder.rglob("*.tmp"), *folder.rglob("*.claim"), *folder.rglob("draft.json")]


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
    assert_same_bytes(expected, tmp_path)


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
    assert code == 130, errors
    assert "Interrupted. What is finished is kept; run the same command again to go on." in errors
    assert "Traceback" not in errors


@pytest.mark.slow
def test_a_job_array_of_which_one_task_is_killed_gives_the_same_bytes(
    folder: Path, uninterrupted: tuple[Path, float], tmp_path: Path
) -> None:
    expected, seconds = uninterrupted
    environment = {**os.environ, "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_COUNT": "3"}
    tasks = [
        start(folder, tmp_path / "workspace", tmp_path, "--part", "slurm", env=environment | {"SLURM_ARRAY_TASK_ID": k})
        for k in "012"
    ]
    time.sleep(random.Random(1).uniform(0.4, 0.8) * seconds)
    tasks[1].kill()
    for k, task in enumerate(tasks):
        code, errors = finish(task)
        assert k == 1 or code == 0, errors
    assert result(tmp_path) == result(expected)
    assert_same_bytes(expected, tmp_path)


@pytest.mark.slow
def test_two_recipes_at_once_on_one_workspace_share_their_steps(
    folder: Path, uninterrupted: tuple[Path, float], tmp_path: Path
) -> None:
    """The other recipe lacks an arm, so all that it computes is computed for the first as well."""
    expected, _ = uninterrupted
    (folder / "other.yaml").write_text("".join(line for line in RECIPE.splitlines(True) if "longest" not in line))
    other = ["score", "other.yaml", "--workspace", str(tmp_path / "workspace")]
    one = start(folder, tmp_path / "workspace", tmp_path)
    two = subprocess.Popen([sys.executable, "-m", "assay.cli", *other], cwd=folder, stderr=subprocess.PIPE, text=True)
    for process in (one, two):
        code, errors = finish(process)
        assert code == 0, errors
    assert result(tmp_path) == result(expected)
    assert_same_bytes(expected, tmp_path)
    for made in (tmp_path / "workspace").glob("scores-*"):
        once, shared = (
            json.loads((folder / "manifest.json").read_text())["cost"]["read_bytes"]
            for folder in (expected / "workspace" / made.name, made)
        )
        assert shared <= once, made  # no part was made by both


@pytest.mark.slow
def test_a_workspace_that_is_deleted_under_a_run_is_explained(
    folder: Path, uninterrupted: tuple[Path, float], tmp_path: Path
) -> None:
    process = start(folder, tmp_path / "workspace", tmp_path)
    while len(list((tmp_path / "workspace").glob("*/manifest.json"))) < 3:
        assert process.poll() is None
        time.sleep(0.005)
    while (tmp_path / "workspace").exists():  # the run may be putting things in
        shutil.rmtree(tmp_path / "workspace", ignore_errors=True)
    code, errors = finish(process)
    assert code == 1, errors
    assert re.search("Error: .*(is gone: it was there before|is gone. Run the same|was never finished)", errors), errors
    assert "Traceback" not in errors


def test_clocks_that_jump_lose_nothing_and_make_nothing_stale(tmp_path: Path) -> None:
    """Files from the future and from long ago, as after a clock was set or a host with another time wrote them."""
    path = write_jsonl(tmp_path / "pool.jsonl", make_prose(50))
    corpus = assay.read(path, workspace=tmp_path / "workspace")
    scores = assay.score(corpus, "length", workspace=tmp_path / "workspace")
    before = {p: p.stat().st_ino for p in (tmp_path / "workspace").rglob("part-*")}
    for seconds in (0, 2**33):
        (scores.folder / "manifest.json").unlink()  # as if it had been killed just before
        for file in (path, *(p for p in (tmp_path / "workspace").rglob("*") if p.is_file())):
            os.utime(file, (seconds, seconds))
        again = assay.score(
            assay.read(path, workspace=tmp_path / "workspace"), "length", workspace=corpus.folder.parent
        )
        assert again == scores and again.to_table().equals(scores.to_table())
        assert {p: p.stat().st_ino for p in (tmp_path / "workspace").rglob("part-*")} == before


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
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    code, errors = finish(start(folder, small_disk / "workspace", tmp_path))
    assert code == 1, errors
    assert "Error: Not allowed to use" in errors and "--workspace" in errors and "Traceback" not in errors
    subprocess.run(["mount", "-o", "remount,rw,size=200m", str(small_disk)], check=True)
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
