"""`assay status` against workspaces whose state is known."""

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import assay
from assay.api.status import describe_status, status, to_json
from assay.artifacts.claims import Owner, claim_of, claimed
from assay.artifacts.kinds import Corpus
from assay.artifacts.workspace import Workspace
from assay.errors import StorageError
from tests.conftest import ended_process, make_documents, write_jsonl


def shown(workspace: Workspace, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(describe_status(status(workspace)))
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.fixture
def corpus(tmp_path: Path, workspace: Workspace) -> Corpus:
    for k in range(3):
        write_jsonl(tmp_path / f"pool-{k}.jsonl", make_documents(40, seed=k, topic=f"t{k}"))
    return assay.read(tmp_path / "pool-*.jsonl", name="pool", workspace=workspace)


def unfinished(corpus: Corpus, workspace: Workspace) -> Path:
    """Scores of which one part of three is there, as a killed run leaves them."""
    folder = assay.score(corpus, "length", workspace=workspace).folder
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").unlink()
    for k in (1, 2):
        (folder / f"part-0000{k}.parquet").unlink()
    draft = workspace.open_draft("scores", "length", manifest["version"], manifest["parameters"], manifest["inputs"])
    assert draft.folder == folder
    draft.start()
    draft.keep_cost(at_once=True)
    return folder


def by_kind(workspace: Workspace) -> dict[str, dict[str, Any]]:
    return {artifact["kind"]: artifact for artifact in status(workspace)["artifacts"]}


def test_an_empty_workspace_says_so(workspace: Workspace) -> None:
    assert status(workspace) == {"workspace": str(workspace.root), "artifacts": []}
    assert "Nothing yet in" in shown(workspace)


def test_what_is_done_is_counted_with_its_cost_and_size(corpus: Corpus, workspace: Workspace) -> None:
    assay.score(corpus, "length", workspace=workspace)
    for artifact in status(workspace)["artifacts"]:
        folder = workspace.root / artifact["folder"]
        manifest = json.loads((folder / "manifest.json").read_text())
        assert artifact["state"] == "done" and artifact["claims"] == []
        assert artifact["parts"] == artifact["of"] == 3 and artifact["rows"] == 120
        assert artifact["wall_seconds"] == manifest["cost"]["wall_seconds"]
        assert artifact["core_seconds"] == manifest["cost"]["core_seconds"]
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert artifact["bytes"] >= sum(path.stat().st_size for path in files)
    text = shown(workspace)
    assert all(words in text for words in ("Done", "corpus   pool", "scores   length", "120")), text


def test_what_was_left_is_told_from_what_is_being_made(corpus: Corpus, workspace: Workspace) -> None:
    folder = unfinished(corpus, workspace)
    left = by_kind(workspace)["scores"]
    assert (left["state"], left["name"], left["parts"], left["of"]) == ("half-done", "length", 1, 3)
    assert left["core_seconds"] > 0
    for k, damaged in enumerate(("", "[]", "{}", '{"wall_seconds": "x"}')):
        (folder / f"cost-{k}.json").write_text(damaged)
    assert by_kind(workspace)["scores"]["core_seconds"] == left["core_seconds"]
    path = folder / "part-00001.parquet"
    claim_of(path).write_text(json.dumps(asdict(Owner(ended_process(), "here", "2026-01-01T00:00:00+00:00"))))
    dead = by_kind(workspace)["scores"]
    assert dead["state"] == "half-done" and dead["claims"][0]["is_gone"]
    assert "part-00001.parquet  here, process" in shown(workspace) and "has ended" in shown(workspace)
    with claimed(path) as is_mine:
        assert is_mine
        running = by_kind(workspace)["scores"]
        (claim,) = running["claims"]
        assert running["state"] == "running"
        assert (claim["file"], claim["process"], claim["is_gone"]) == ("part-00001.parquet", os.getpid(), False)
        assert claim["silent_seconds"] < 10
        assert abs((datetime.now(UTC) - datetime.fromisoformat(claim["since"])).total_seconds()) < 60
        text = shown(workspace)
        assert "Being made" in text and "1 of 3 parts" in text and f"process {os.getpid()}, last sign 0 s ago" in text
    assert by_kind(workspace)["scores"]["state"] == "half-done"
    assert assay.score(corpus, "length", workspace=workspace).manifest.counts["in"] == 120
    assert by_kind(workspace)["scores"]["state"] == "done"


def test_a_damaged_artifact_and_strange_files_are_no_obstacle(corpus: Corpus, workspace: Workspace) -> None:
    folder = assay.score(corpus, "length", workspace=workspace).folder
    (folder / "part-00001.parquet").write_bytes(b"")
    (workspace.root / "notes-of-mine.txt").write_text("x")
    (workspace.root / "a-folder").mkdir()
    claim_of(folder / "part-00001.parquet").write_text("")
    found = by_kind(workspace)
    assert found["scores"]["state"] == "damaged" and found["a"]["state"] == "half-done"
    assert found["scores"]["claims"][0]["process"] is None
    assert "Damaged" in shown(workspace)


def test_looking_while_others_work_shows_no_error(
    tmp_path: Path, workspace: Workspace, make_corpus: Callable[..., Corpus]
) -> None:
    corpus = make_corpus(make_documents(200))
    done = threading.Event()

    def work() -> None:
        for name in ("length", "exact", "repeats"):
            assay.score(corpus, name, workspace=workspace)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not done.is_set():
        shown(workspace)
    thread.join()
    assert {artifact["state"] for artifact in status(workspace)["artifacts"]} == {"done"}


def test_the_command_prints_json_that_programs_can_read_and_tables_that_fit(
    corpus: Corpus, workspace: Workspace
) -> None:
    command = [sys.executable, "-m", "assay.cli", "status", "--workspace", str(workspace.root)]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == json.loads(to_json(status(workspace)))
    assert all(len(line) <= 80 for line in shown(workspace, 80).splitlines())


def test_a_workspace_on_an_object_store_is_described_too(tmp_path: Path, s3: Any) -> None:
    space = Workspace(s3.make_bucket() / "space")
    assert status(space)["artifacts"] == []
    corpus = assay.read(write_jsonl(tmp_path / "pool.jsonl", make_documents(40)), workspace=space)
    target = assay.read(write_jsonl(tmp_path / "target.jsonl", make_documents(9, topic="t")), workspace=space)
    assay.score(corpus, "dsir", target=target, workspace=space)
    found = by_kind(space)
    assert found["scores"]["state"] == "done" and found["scores"]["bytes"] > 0 and found["scores"]["rows"] == 40
    assert "scores   dsir" in shown(space)
    (space.root / found["scores"]["folder"] / "manifest.json").unlink()
    text = shown(space).replace("\n", " ")  # where there are no claims, nobody can say that nobody is at work
    assert "it cannot be told on an object store" in text and "nobody is at work on a file" not in text
    with pytest.raises(StorageError, match="There is no bucket 'nowhere-at-all'"):
        status(Workspace("s3://nowhere-at-all/space"))
