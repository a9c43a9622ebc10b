"""Chosen documents on disk, for others to read."""

import json
import os
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import assay
from assay.artifacts.kinds import Corpus, Selection
from assay.artifacts.workspace import Workspace
from assay.corpus import write as writing
from assay.errors import ArtifactError, InvalidParameterError
from tests.conftest import in_this_process, make_documents, write_jsonl
from tests.corpus.test_jsonl import rows


@pytest.fixture
def corpus(tmp_path: Path, workspace: Workspace) -> Corpus:
    for k in range(3):
        write_jsonl(tmp_path / f"pool-{k}.jsonl", make_documents(40, seed=k, topic=f"t{k}"))
    return assay.read(tmp_path / "pool-*.jsonl", workspace=workspace)


@pytest.fixture
def selection(corpus: Corpus, workspace: Workspace) -> Selection:
    return assay.select(corpus, budget="50 documents", where="source <> 't1'", workspace=workspace)


def chosen(corpus: Corpus, selection: Selection) -> list[dict[str, Any]]:
    repeats = [int(r) for k in range(selection.num_parts) for r in selection.repeats(k)]
    return [row for row, r in zip(rows(corpus), repeats, strict=True) for _ in range(r)]


@pytest.mark.parametrize("format", ["parquet", "jsonl", "jsonl.zst"])
def test_what_is_written_is_what_was_chosen(
    tmp_path: Path, workspace: Workspace, corpus: Corpus, selection: Selection, format: str
) -> None:
    export = assay.write(corpus, selection, tmp_path / "chosen", format=format)
    again = assay.read(tmp_path / "chosen" / f"*.{format}", workspace=workspace)
    assert rows(again) == chosen(corpus, selection)
    assert again.num_documents == 50 == export.manifest.counts["kept"]
    assert sorted(p.name for p in (tmp_path / "chosen").iterdir()) == [
        "_manifest.json",
        f"part-00000.{format}",
        f"part-00002.{format}",
    ]


def test_a_folder_of_parquet_is_read_whole_by_others(tmp_path: Path, corpus: Corpus, selection: Selection) -> None:
    assay.write(corpus, selection, tmp_path / "chosen")
    assert pq.read_table(tmp_path / "chosen").to_pylist() == chosen(corpus, selection)


def test_repeated_documents_are_written_repeatedly(tmp_path: Path, workspace: Workspace, corpus: Corpus) -> None:
    selection = assay.select(corpus, budget="100 documents", where="source = 't0'", max_repeats=3, workspace=workspace)
    assay.write(corpus, selection, tmp_path / "chosen", format="jsonl")
    lines = [json.loads(line) for line in (tmp_path / "chosen/part-00000.jsonl").read_text().splitlines()]
    assert lines == chosen(corpus, selection)
    assert len(lines) == 100 and len({row["id"] for row in lines}) == 40


def test_the_manifest_says_where_it_comes_from(tmp_path: Path, corpus: Corpus, selection: Selection) -> None:
    assay.write(corpus, selection, tmp_path / "chosen")
    manifest = json.loads((tmp_path / "chosen/_manifest.json").read_text())
    assert manifest["inputs"] == {"corpus": corpus.fingerprint, "selection": selection.fingerprint}
    counts = manifest["counts"]
    assert counts["in"] == counts["kept"] + sum(counts["dropped"].values())


def test_only_what_assay_wrote_is_replaced(
    tmp_path: Path, workspace: Workspace, corpus: Corpus, selection: Selection
) -> None:
    to = tmp_path / "chosen"
    assay.write(corpus, selection, to, format="jsonl")
    assay.write(corpus, selection, to)
    assert {path.suffix for path in to.iterdir()} == {".json", ".parquet"}
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "part-00000.parquet").write_text("mine")
    for folder in (precious, corpus.folder):
        with pytest.raises(
            ArtifactError, match="is not empty and was not written by `assay write`. Choose another folder"
        ):
            assay.write(corpus, selection, folder)
    assert (precious / "part-00000.parquet").read_text() == "mine"
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match="is a file; `to` must be a folder"):
        assay.write(corpus, selection, tmp_path / "file")
    with pytest.raises(InvalidParameterError, match=r"`format` \(='csv'\) must be one of parquet, jsonl, jsonl.zst"):
        assay.write(corpus, selection, to, format="csv")


@in_this_process
def test_an_interrupted_write_leaves_the_old_folder_as_it_was(
    tmp_path: Path, corpus: Corpus, selection: Selection, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = tmp_path / "chosen"
    assay.write(corpus, selection, to)
    before = {path.name: path.read_bytes() for path in to.iterdir()}

    def broken(*arguments: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "_write_jsonl", broken)
    with pytest.raises(OSError, match="No space left"):
        assay.write(corpus, selection, to, format="jsonl")
    assert {path.name: path.read_bytes() for path in to.iterdir()} == before
    monkeypatch.undo()
    assay.write(corpus, selection, to, format="jsonl")
    assert {path.suffix for path in to.iterdir()} == {".json", ".jsonl"} and not list(tmp_path.glob(".chosen*"))


def test_a_write_that_cannot_take_the_old_place_puts_the_old_folder_back(
    tmp_path: Path, corpus: Corpus, selection: Selection, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = tmp_path / "chosen"
    assay.write(corpus, selection, to)
    before = {path.name: path.read_bytes() for path in to.iterdir()}
    real = os.rename

    def second_fails(source: Path, target: Path) -> None:
        if target == to and ".old." not in source.name:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(os, "rename", second_fails)
    with pytest.raises(KeyboardInterrupt):
        assay.write(corpus, selection, to, format="jsonl")
    assert {path.name: path.read_bytes() for path in to.iterdir()} == before
    monkeypatch.undo()
    assay.write(corpus, selection, to, format="jsonl")
    assert {path.suffix for path in to.iterdir()} == {".json", ".jsonl"} and not list(tmp_path.glob(".chosen*"))


def test_what_a_killed_write_left_gets_into_no_later_one(tmp_path: Path, corpus: Corpus, selection: Selection) -> None:
    to = tmp_path / "chosen"
    for given_up in (f"{'0' * 16}-parquet", f"{'0' * 16}-jsonl.zst"):
        half = tmp_path / f".chosen.{given_up}.tmp"
        half.mkdir()
        (half / "part-00001.parquet").write_text("of another selection")
    mine = tmp_path / f".other.{'0' * 16}-parquet.tmp"
    of_another = tmp_path / f".chosen.jsonl.{'0' * 16}-jsonl.tmp"  # what goes to chosen.jsonl
    mine.touch()
    of_another.mkdir()
    assay.write(corpus, selection, to)
    assert sorted(path.name for path in to.iterdir()) == ["_manifest.json", "part-00000.parquet", "part-00002.parquet"]
    assert sorted(path.name for path in tmp_path.glob(".*")) == [of_another.name, mine.name]


def test_a_draft_that_another_process_puts_in_its_place_is_no_error(
    tmp_path: Path, corpus: Corpus, selection: Selection, monkeypatch: pytest.MonkeyPatch
) -> None:
    to, real = tmp_path / "chosen", writing.share_step

    def overtaken(*arguments: Any) -> None:
        real(*arguments)
        monkeypatch.undo()
        assay.write(corpus, selection, to)

    monkeypatch.setattr(writing, "share_step", overtaken)
    assert assay.write(corpus, selection, to).manifest.counts["kept"] == 50
    assert sorted(path.name for path in to.iterdir()) == ["_manifest.json", "part-00000.parquet", "part-00002.parquet"]


@pytest.mark.parametrize("name", ["notes.txt", ".gitignore"])
def test_files_put_beside_an_export_are_not_deleted(
    tmp_path: Path, corpus: Corpus, selection: Selection, name: str
) -> None:
    to = tmp_path / "chosen"
    assay.write(corpus, selection, to)
    for beside in (".DS_Store", ".part-00000.parquet.crc"):
        (to / beside).touch()
    assay.write(corpus, selection, to, format="jsonl")
    (to / name).write_text("mine")
    with pytest.raises(ArtifactError, match=f"would be replaced, but holds '{name}', which `assay write` did not put"):
        assay.write(corpus, selection, to)
    assert (to / name).read_text() == "mine"


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path, corpus: Corpus, selection: Selection) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for _ in range(2):
        assay.write(corpus, selection, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert pq.read_table(tmp_path / "real").to_pylist() == chosen(corpus, selection)


def test_every_line_is_json_whatever_the_columns_hold(tmp_path: Path, workspace: Workspace) -> None:
    table = pa.table(
        {
            "id": ["a"],
            "text": ["é\u2028\x00"],
            "nan": [float("nan")],
            "when": [datetime(2020, 1, 2, tzinfo=UTC)],
            "exact": [Decimal("1.10")],
            "raw": [b"\xff"],
            "meta": [{"k": [1.5, None, float("inf")]}],
        }
    )
    pq.write_table(table, tmp_path / "pool.parquet")
    corpus = assay.read(tmp_path / "pool.parquet", workspace=workspace)
    selection = assay.select(corpus, budget="1 documents", workspace=workspace)
    assay.write(corpus, selection, tmp_path / "chosen", format="jsonl")

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    (line,) = (tmp_path / "chosen/part-00000.jsonl").read_bytes().removesuffix(b"\n").split(b"\n")
    assert json.loads(line, parse_constant=refuse) == {
        "id": "a",
        "text": "é\u2028\x00",
        "nan": None,
        "when": "2020-01-02T00:00:00Z",
        "exact": "1.10",
        "raw": "/w==",
        "meta": {"k": [1.5, None, None]},
    }


def test_rows_that_were_set_aside_are_not_written(tmp_path: Path, workspace: Workspace) -> None:
    documents: list[dict[str, Any]] = [dict(document) for document in make_documents(30)]
    documents[3]["text"], documents[9]["id"], documents[20]["id"] = None, None, "w-2"
    pq.write_table(pa.Table.from_pylist(documents), tmp_path / "pool.parquet", row_group_size=4)
    corpus = assay.read(tmp_path / "pool.parquet", max_failed_share=0.2, workspace=workspace)
    selection = assay.select(corpus, budget="27 documents", workspace=workspace)
    assay.write(corpus, selection, tmp_path / "chosen")
    good = [document for k, document in enumerate(documents) if k not in (3, 9, 20)]
    assert pq.read_table(tmp_path / "chosen").to_pylist() == good
