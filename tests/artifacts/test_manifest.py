"""Manifests: written whole, checked when read; names that follow from content."""

import json
import os
from pathlib import Path

import pytest

from assay.artifacts.fingerprint import file_fingerprint, fingerprint
from assay.artifacts.kinds import Corpus, Scores, human_count
from assay.artifacts.manifest import Manifest, atomic_path, remove_abandoned
from assay.artifacts.process import own_name
from assay.artifacts.workspace import Draft, Workspace
from assay.errors import ArtifactError
from tests.conftest import ended_process


def finished(workspace: Workspace, name: str = "pool", **parameters: object) -> Draft:
    draft = workspace.open_draft("corpus", name, 1, parameters, {})
    draft.start()
    (draft.folder / "part-00000.parquet").write_bytes(b"12345")
    draft.finish(schema={"id": "string"}, parts=[{"file": "part-00000.parquet", "rows": 1, "bytes": 5}])
    return draft


def test_a_fingerprint_is_the_question_whatever_the_order_of_its_keys() -> None:
    base = ("scores", 1, {"a": 1, "b": [1.5, "x"]}, {"corpus": "ff"})
    mark = fingerprint(*base)
    assert len(mark) == 16 and int(mark, 16) >= 0
    assert fingerprint("scores", 1, {"b": [1.5, "x"], "a": 1}, {"corpus": "ff"}) == mark
    others = [
        ("run", *base[1:]),
        ("scores", 2, *base[2:]),
        (*base[:2], {"a": 2, "b": [1.5, "x"]}, base[3]),
        (*base[:3], {"corpus": "fe"}),
    ]
    assert len({mark, *(fingerprint(*other) for other in others)}) == 5


def test_an_artifact_without_a_manifest_is_unfinished(workspace: Workspace) -> None:
    draft = workspace.open_draft("corpus", "pool", 1, {}, {})
    assert draft.finished() is None
    draft.start()
    assert draft.finished() is None
    with pytest.raises(ArtifactError, match="has no manifest.json: it is not an artifact, or was never finished"):
        Corpus(draft.folder)
    manifest = finished(workspace).finished()
    assert manifest is not None and manifest.fingerprint == draft.fingerprint
    assert set(manifest.versions) >= {"python", "assay", "numpy", "pyarrow"}


def test_who_starts_when_another_has_just_finished_leaves_nothing_in_the_artifact(workspace: Workspace) -> None:
    late = workspace.open_draft("corpus", "pool", 1, {}, {})
    assert late.finished() is None
    first = finished(workspace)
    before = sorted(path.name for path in first.folder.iterdir())
    late.start()
    manifest = late.finish(schema={}, parts=[])
    assert manifest == first.finished() and manifest.parts
    assert sorted(path.name for path in first.folder.iterdir()) == before


def test_what_a_process_killed_after_its_manifest_left_is_cleared_up(workspace: Workspace) -> None:
    draft = finished(workspace)
    before = sorted(path.name for path in draft.folder.iterdir())
    (draft.folder / "draft.json").write_text('{"name": "pool", "inputs": {}}')
    (draft.folder / "cost-ab-1-2.json").write_text("{}")
    assert workspace.open_draft("corpus", "pool", 1, {}, {}).finished() is not None
    assert sorted(path.name for path in draft.folder.iterdir()) == before


def test_a_damaged_artifact_is_named_and_made_anew(workspace: Workspace) -> None:
    draft = finished(workspace)
    (draft.folder / "part-00000.parquet").write_bytes(b"123")
    with pytest.raises(ArtifactError, match=r"part-00000.parquet is missing or is not the 5 bytes long .* Delete "):
        Manifest.load(draft.folder)
    assert draft.finished() is None
    assert not draft.folder.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"kind": "corpus"}', "null"])
def test_what_is_not_a_manifest_is_named(workspace: Workspace, content: str) -> None:
    draft = finished(workspace)
    (draft.folder / "manifest.json").write_text(content)
    with pytest.raises(ArtifactError, match="manifest.json is not a manifest of this version of Assay"):
        Manifest.load(draft.folder)


def test_an_artifact_of_another_kind_is_refused(workspace: Workspace) -> None:
    with pytest.raises(ArtifactError, match="holds a corpus, not a scores"):
        Scores(finished(workspace).folder)


def test_artifacts_are_found_by_the_start_of_their_fingerprint(workspace: Workspace) -> None:
    drafts = [finished(workspace, seed=k) for k in range(40)]
    for draft in drafts:
        assert workspace.find(draft.fingerprint) == workspace.find(draft.folder.name) == draft.folder
    with pytest.raises(ArtifactError, match=r"40 artifacts in .* match ''.*corpus-pool-"):
        workspace.find("")
    with pytest.raises(ArtifactError, match=r"No artifacts in .* match 'zz'.*Give more of the name"):
        workspace.find("zz")


def test_a_file_that_cannot_be_finished_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]
    assert path.read_text() == "old"


def test_what_dead_processes_left_is_removed_and_what_living_ones_hold_stays(tmp_path: Path) -> None:
    dead = ended_process()
    place, pid, start = own_name().split("-")
    assert dead.startswith(f"{place}-")
    reused = f"{place}-{pid}-{int(start) - 1}"  # a process of another time that had our number
    elsewhere = f"00000000-{dead.split('-', 1)[1]}"  # a number that is dead here says nothing about another host's
    for name in (f".part.{dead}.tmp", f".other.{dead}.tmp", f".part.{own_name()}.tmp", "part.parquet"):
        (tmp_path / name).write_text("x")
    for name in (f".part.{reused}.tmp", f".part.{elsewhere}.tmp", ".part.strange.tmp"):
        (tmp_path / name).write_text("x")
    (tmp_path / f".chosen.{dead}.tmp").mkdir()
    remove_abandoned(tmp_path, "part")
    assert not (tmp_path / f".part.{dead}.tmp").exists() and (tmp_path / f".other.{dead}.tmp").exists()
    remove_abandoned(tmp_path)
    kept = {f".part.{own_name()}.tmp", f".part.{elsewhere}.tmp", ".part.strange.tmp", "part.parquet"}
    assert {p.name for p in tmp_path.iterdir()} == kept


def test_a_files_hash_is_remembered_until_the_file_changes(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "pool.jsonl"
    path.write_text("one")
    mark = workspace.file_fingerprint(path)
    assert mark == file_fingerprint(path) == workspace.file_fingerprint(path)
    known = json.loads((workspace.root / "files.json").read_text())
    assert list(known) == [str(path)]
    times = path.stat()
    path.write_text("two")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # same size, same modification time
    assert workspace.file_fingerprint(path) == file_fingerprint(path) != mark


def test_what_is_known_of_many_files_is_read_and_written_once(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for each file, 4,000 files took 40 seconds, and 20 each time they were looked at again."""
    paths = [tmp_path / f"{k}.txt" for k in range(50)]
    for path in paths:
        path.write_text(path.name)
    read, looks = Workspace._known_files, []
    monkeypatch.setattr(Workspace, "_known_files", lambda self: looks.append(1) or read(self))
    marks = workspace.file_fingerprints([*paths, paths[0]])
    assert marks == [file_fingerprint(path) for path in (*paths, paths[0])]
    assert len(looks) == 2
    assert workspace.file_fingerprints(paths) == marks[:-1] and len(looks) == 3
    paths[7].unlink()
    with pytest.raises(FileNotFoundError):
        workspace.file_fingerprints([tmp_path / "0.txt", *paths[1:]])


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1234, "1.23k"), (2_000_000, "2M"), (1.5, "1.5"), (33_500_000, "33.5M"), (4e12, "4T")],
)
def test_counts_for_people(number: float, text: str) -> None:
    assert human_count(number) == text
