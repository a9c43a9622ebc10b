"""Files that were cut off, changed or deleted: one sentence that names them, and a rerun gives the same bytes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import assay
from assay.api import scoring
from assay.api.status import status
from assay.artifacts.kinds import Artifact, Corpus, Scores
from assay.artifacts.manifest import Manifest
from assay.artifacts.workspace import Workspace
from assay.errors import ArtifactError, InputError
from tests.conftest import make_documents, write_jsonl, write_parquet

ROWS = make_documents(120, seed=5, length=30)


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << (position % 8)
    path.write_bytes(content)


def tree(folder: Path) -> dict[str, bytes]:
    names = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix in (".parquet", ".npz", ".arrow")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in names}


@pytest.fixture
def made(tmp_path: Path) -> Callable[[], tuple[Corpus, Scores]]:
    """Reads, fits and scores, or finds all of it again."""
    write_jsonl(tmp_path / "pool.jsonl", ROWS)
    write_jsonl(tmp_path / "target.jsonl", make_documents(20, seed=6))

    def make() -> tuple[Corpus, Scores]:
        space = Workspace(tmp_path / "workspace")
        pool = assay.read(tmp_path / "pool.jsonl", workspace=space)
        target = assay.read(tmp_path / "target.jsonl", workspace=space)
        scores = assay.score(pool, assay.DSIR(num_buckets=500), target=target, workspace=space)
        scores.to_table()
        return pool, scores

    return make


@pytest.mark.parametrize("which", [0, 1])
def test_a_bit_flipped_anywhere_in_a_part_is_found_and_mended_by_a_rerun(
    tmp_path: Path, made: Callable[[], tuple[Corpus, Scores]], which: int
) -> None:
    artifact: Artifact = made()[which]
    whole = tree(tmp_path / "workspace")
    size = artifact.part_path(0).stat().st_size
    num_found = 0
    for position in np.random.default_rng(0).integers(0, size, 30).tolist():
        flip(artifact.part_path(0), position)
        try:
            found = [b for b in made()[0].batches(0)] if which == 0 else made()[1].table(0)
        except ArtifactError as error:
            num_found += 1
            assert str(error).startswith(f"{artifact.part_path(0)} is damaged (")
            assert str(error).endswith("Run the same command again: it is made anew.")
        else:  # in bytes that say nothing, or that the file has twice
            assert found == ([b for b in artifact.batches(0)] if which == 0 else artifact.table(0))  # type: ignore[attr-defined]
            artifact.part_path(0).unlink()
        made()
        assert tree(tmp_path / "workspace") == whole
    assert num_found > 10


def test_a_part_that_was_cut_off_is_made_again(tmp_path: Path, made: Callable[[], tuple[Corpus, Scores]]) -> None:
    pool, scores = made()
    whole = tree(tmp_path / "workspace")
    for artifact in (pool, scores):
        for is_finished in (True, False):
            content = artifact.part_path(0).read_bytes()
            artifact.part_path(0).write_bytes(content[: len(content) // 2])
            if not is_finished:  # as a run that was killed leaves it, on a disk that then lost the end of a file
                (artifact.folder / "manifest.json").unlink()
                for path in artifact.folder.glob("part-*.json"):
                    path.unlink()
            made()
            assert tree(tmp_path / "workspace") == whole


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", None])
def test_a_fitted_state_that_cannot_be_read_is_fitted_again(
    tmp_path: Path, made: Callable[[], tuple[Corpus, Scores]], content: bytes | None
) -> None:
    scores = made()[1]
    whole = tree(tmp_path / "workspace")
    state = scores.folder / "state.npz"
    state.write_bytes(state.read_bytes()[:-300] if content is None else content)
    (scores.folder / "manifest.json").unlink()
    scores.part_path(0).unlink()
    made()
    assert tree(tmp_path / "workspace") == whole


def test_a_bit_flipped_anywhere_in_a_fitted_state_raises_nothing(tmp_path: Path) -> None:
    """Some bits make an encrypted archive of it, or one that begins before the file does."""
    path = tmp_path / "state.npz"
    scoring._save(path, {"counts": np.arange(20.0)})
    whole = path.read_bytes()
    for k in range(0, len(whole)):
        path.write_bytes(whole[:k] + bytes([whole[k] ^ (1 << k % 8), *whole[k + 1 :]]))
        state = scoring._stored(path)
        assert state is not None or not path.exists()


def test_parquet_in_place_that_is_damaged_or_gone_is_named_and_left_alone(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "pool.parquet", ROWS)
    content = path.read_bytes()
    corpus = assay.read(path, workspace=tmp_path / "workspace")
    text = pq.ParquetFile(path).metadata.row_group(0).column(1)
    assert text.path_in_schema == "text"
    start, end = text.data_page_offset, text.data_page_offset + 200
    path.write_bytes(content[:start] + bytes(200) + content[end:])  # the footer is as it was
    with pytest.raises(InputError, match=r"pool.parquet is damaged \(.*\). Restore it, or read the corpus again"):
        assay.score(corpus, "length", workspace=tmp_path / "workspace")
    assert path.exists()
    with pytest.raises(InputError, match=r"pool.parquet, row groups 0 to 1, cannot be read as Parquet.*leave it out"):
        assay.read(path, workspace=tmp_path / "other")
    path.unlink()
    with pytest.raises(InputError, match="pool.parquet is gone. Restore it, or read the corpus again"):
        assay.score(corpus, "length", workspace=tmp_path / "workspace")
    path.write_bytes(content)
    assert assay.score(corpus, "length", workspace=tmp_path / "workspace").num_rows == 120


def test_a_source_that_vanishes_while_parts_are_scored_ends_the_run_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [write_parquet(tmp_path / f"pool-{k}.parquet", ROWS[40 * k : 40 * k + 40]) for k in range(3)]
    corpus = assay.read(tmp_path / "pool-*.parquet", workspace=tmp_path / "workspace")
    real = assay.Length.score

    def score(self: assay.Length, batch: Any, state: Any) -> Any:
        paths[2].unlink(missing_ok=True)  # after the first part was opened
        return real(self, batch, state)

    kept = shutil.copy(paths[2], tmp_path / "kept")
    monkeypatch.setattr(assay.Length, "score", score)
    with pytest.raises(InputError, match="pool-2.parquet is gone. Restore it"):
        assay.score(corpus, "length", workspace=tmp_path / "workspace")
    monkeypatch.undo()
    shutil.copy(kept, paths[2])
    resumed = assay.score(corpus, "length", workspace=tmp_path / "workspace")
    whole = assay.score(corpus, "length", workspace=tmp_path / "whole")
    assert resumed.to_table().equals(whole.to_table()) and tree(resumed.folder) == tree(whole.folder)


def damages(content: Any) -> list[Any]:
    """Other values in its place, of its own type and of others."""
    own = {str: "x", int: 7, float: 0.5, list: [{"file": "part-00000.parquet", "rows": 3, "bytes": 1}], dict: {"a": 1}}
    return [v for v in (None, -1, "", [], {}, 10**30, [[]], own[type(content)]) if v != content]


def test_a_manifest_with_any_field_damaged_or_missing_is_told_and_made_again(
    tmp_path: Path, made: Callable[[], tuple[Corpus, Scores]]
) -> None:
    for artifact in made():
        path = artifact.folder / "manifest.json"
        text = path.read_text()
        content = json.loads(text)
        whole = {k: v for k, v in content.items() if k not in ("cost", "checksum")}
        for field in whole:
            for value in [*damages(content[field]), "missing"]:
                changed = content | {field: value}
                if value == "missing":
                    del changed[field]
                path.write_text(json.dumps(changed))
                with pytest.raises(ArtifactError, match="is not a manifest of this version of Assay"):
                    Manifest.load(artifact.folder)
        cost = content["cost"]
        for value in (None, [], {}, "x", *({k: v for k, v in cost.items() if k != key} for key in cost)):
            path.write_text(json.dumps(content | {"cost": value}))
            with pytest.raises(ArtifactError, match="its cost is none"):
                Manifest.load(artifact.folder)
        for value in ("x", None, float("nan"), True, 10**400):
            path.write_text(json.dumps(content | {"cost": cost | {"core_seconds": value}}))
            assert {found["state"] for found in status(Workspace(tmp_path / "workspace"))["artifacts"]} >= {"damaged"}
        path.write_text(json.dumps(content | {"parts": [content["parts"][0] | {"rows": 119}]}))
        made()
        again = json.loads(path.read_text())
        assert {k: v for k, v in again.items() if k not in ("cost", "checksum")} == whole
        path.write_text("[" * 100_000)
        with pytest.raises(ArtifactError, match="is not a manifest of this version of Assay"):
            Manifest.load(artifact.folder)
        made()


def test_a_manifest_of_another_artifact_is_not_taken(tmp_path: Path, made: Callable[[], tuple[Corpus, Scores]]) -> None:
    scores = made()[1]
    space = Workspace(tmp_path / "workspace")
    pool = assay.read(tmp_path / "pool.jsonl", workspace=space)
    length = assay.score(pool, "length", workspace=space)
    expected = length.to_table()
    shutil.rmtree(length.folder)
    shutil.copytree(scores.folder, length.folder)
    assert assay.score(pool, "length", workspace=space).to_table().equals(expected)


def test_a_damaged_artifact_that_is_a_link_is_left_to_the_user(
    tmp_path: Path, made: Callable[[], tuple[Corpus, Scores]]
) -> None:
    scores = made()[1]
    elsewhere = tmp_path / "elsewhere"
    shutil.move(scores.folder, elsewhere)
    scores.folder.symlink_to(elsewhere)
    made()  # whole, it is taken as it is
    (elsewhere / "manifest.json").write_text("{}")
    (elsewhere / "mine.txt").write_text("mine")
    with pytest.raises(ArtifactError, match="It is a link, so this is left to you"):
        made()
    assert (elsewhere / "mine.txt").exists()
