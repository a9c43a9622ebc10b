"""Groupings on real machines: kills, and two processes that ask the same at once."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import assay
from assay.artifacts.claims import release_all
from assay.errors import ArtifactError
from assay.scorers.minhash import MinHash
from tests.conftest import in_this_process, make_documents, write_jsonl

CODE = """
import sys, assay
corpus = assay.read(sys.argv[1], id="id", workspace=sys.argv[2])
for name in ("minhash", "substrings"):
    assay.score(corpus, name, workspace=sys.argv[2])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("groupings")
    rows = make_documents(1500, seed=1, length=200)
    for k in range(12):
        again = [{"id": f"{k}-{row['id']}", "text": row["text"] + f" {k // 2}"} for row in rows[k * 50 : k * 50 + 700]]
        write_jsonl(path / f"f{k:02d}.jsonl", again)  # type: ignore[arg-type]
    return path


def start(folder: Path, workspace: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CODE, str(folder / "*.jsonl"), str(workspace)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


def scores(workspace: Path) -> dict[str, bytes]:
    """Every part of every grouping's scores."""
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in workspace.glob("scores-*/part-*")}


@pytest.fixture(scope="module")
def expected(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], float]:
    workspace = tmp_path_factory.mktemp("uninterrupted")
    started = time.perf_counter()
    process = start(folder, workspace)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return scores(workspace), time.perf_counter() - started


@pytest.mark.slow
def test_kills_and_a_rerun_give_the_same_bytes(
    folder: Path, expected: tuple[dict[str, bytes], float], tmp_path: Path
) -> None:
    rng = random.Random(1)
    for _ in range(2):
        process = start(folder, tmp_path)
        time.sleep(rng.uniform(0.4, 0.95) * expected[1])
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    process = start(folder, tmp_path)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert len(expected[0]) == 24 and scores(tmp_path) == expected[0]
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".tmp", ".npy", ".u32", ".rows", ".starts")]


@pytest.mark.slow
def test_two_at_once_do_no_harm(folder: Path, expected: tuple[dict[str, bytes], float], tmp_path: Path) -> None:
    processes = [start(folder, tmp_path) for _ in range(3)]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    assert scores(tmp_path) == expected[0]


@in_this_process
@pytest.mark.parametrize("seed", [214, 218, 239])
def test_clusters_are_the_same_however_many_homes_and_partitions(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one home whatever is a candidate meets; with several only what the search for components brings together."""
    words = np.random.default_rng(seed).integers(0, 30, (12, 3)).tolist()
    texts = [" ".join(f"w{word}" for word in row) for row in words]
    write_jsonl(tmp_path / "pool.jsonl", [{"id": f"{seed}-{k}", "text": text} for k, text in enumerate(texts)])
    found = []
    for size in (1 << 26, 200):
        monkeypatch.setattr("assay.api.grouping._HOME_BYTES", size)
        monkeypatch.setattr("assay.api.grouping._PARTITION_BYTES", size)
        workspace = tmp_path / str(size)
        corpus = assay.read(tmp_path / "pool.jsonl", id="id", workspace=workspace)
        method = MinHash(ngrams=1, threshold=0, bands=2, rows=1)
        found.append(assay.score(corpus, method, workspace=workspace).to_table())
    assert found[0] == found[1]


@in_this_process
@pytest.mark.parametrize(
    ("files", "before"),
    [
        ("keys-00000.starts", "_send_edges"),
        ("*.changed", "_send_labels"),
        ("features-of-00000.u32", "_send_documents"),
        ("documents-of-00000.npy", "_send_documents"),
    ],
)
def test_files_between_maps_that_were_cut_off_are_told(
    files: str, before: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run ends, its machine loses power, and the next run finds half of a file: clusters would come apart."""
    rows = [{"id": f"{k}-{row['id']}", "text": row["text"]} for k in range(2) for row in make_documents(20, length=60)]
    write_jsonl(tmp_path / "pool.jsonl", rows)  # type: ignore[arg-type]
    corpus = assay.read(tmp_path / "pool.jsonl", id="id", workspace=tmp_path)

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"assay.api.grouping.{before}", killed)
        with pytest.raises(KeyboardInterrupt):
            assay.score(corpus, "minhash", workspace=tmp_path)
    (folder,) = tmp_path.glob("scores-minhash-*")
    for path in (folder / "work").glob(files):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ArtifactError, match="is shorter than it was"):
        assay.score(corpus, "minhash", workspace=tmp_path)
    shutil.rmtree(folder / "work")  # as the message says
    assert assay.score(corpus, "minhash", workspace=tmp_path).manifest.summary["clusters"] == 20


@in_this_process
def test_one_who_comes_late_finds_what_the_other_made(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files that pass between the maps are gone in mid-run, because another process has finished with them."""
    from assay.api import grouping

    corpus = assay.read(str(folder / "f0*.jsonl"), id="id", workspace=tmp_path)
    real = grouping._send_clusters
    others: list[assay.Scores] = []

    def overtaken(*arguments: object) -> None:
        if not others:
            monkeypatch.setattr(grouping, "_send_clusters", real)
            release_all()  # as if this process had slept, and the other had taken over
            others.append(assay.score(corpus, "minhash", workspace=tmp_path))
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(grouping, "_send_clusters", overtaken)
    mine = assay.score(corpus, "minhash", workspace=tmp_path)
    assert mine == others[0] and mine.manifest == others[0].manifest
