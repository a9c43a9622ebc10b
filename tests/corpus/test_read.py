"""Finding files, remembering what was read, and going on after an interruption."""

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import assay
from assay.artifacts.workspace import Workspace
from assay.corpus import jsonl, parquet, read, sharing, textfiles
from assay.errors import ArtifactError, InputError, InvalidParameterError, SchemaError
from tests.conftest import ended_process, make_documents, write_jsonl, write_parquet
from tests.corpus.test_jsonl import rows


def tree(folder: Path) -> dict[str, bytes]:
    """Every file with its bytes; manifests without what the making cost."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".json":
            content = json.loads(path.read_text())
            content.pop("cost", None)
            found[path.name] = json.dumps(content).encode()
        elif path.is_file():
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def test_text_folders_become_documents_named_by_their_paths(tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "docs" / "sub").mkdir(parents=True)
    (tmp_path / "docs" / ".hidden").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("first é")
    (tmp_path / "docs" / "sub" / "b.md").write_text("# second\n")
    (tmp_path / "docs" / "sub" / "image.png").write_bytes(b"\x89PNG")
    (tmp_path / "docs" / ".hidden" / "c.txt").write_text("not seen")
    corpus = assay.read(tmp_path / "docs", workspace=workspace)
    assert rows(corpus) == [{"id": "a.txt", "text": "first é"}, {"id": "sub/b.md", "text": "# second\n"}]


def test_text_that_is_not_utf8_is_set_aside(tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "a.txt").write_bytes("größe".encode("latin-1"))
    (tmp_path / "b.txt").write_text("fine")
    with pytest.raises(InputError, match=r"a.txt: is not valid UTF-8 \(byte 3: invalid start byte\)"):
        assay.read(tmp_path, workspace=workspace)
    assert assay.read(tmp_path / "*.txt", max_failed_share=0.5, workspace=workspace).num_documents == 1


def test_every_file_is_text_when_one_says_so(tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "LICENSE").write_text("as is")
    (tmp_path / "data.json").write_text("{}")
    corpus = assay.read(tmp_path, format="text", workspace=workspace)
    assert [row["id"] for row in rows(corpus)] == ["LICENSE", "data.json"]


def test_text_files_are_put_together_into_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textfiles, "_GROUP_BYTES", 10)
    files = []
    for k in range(6):
        path = tmp_path / f"{k}.txt"
        path.write_text("x" * 6)
        files.append((path, path.name))
    assert [len(group) for group in textfiles.group(files)] == [2, 2, 2]


@pytest.mark.parametrize(
    ("names", "pattern", "options", "message"),
    [
        ([], "*.jsonl", {}, "No file matches '.*jsonl' .*Check `read`."),
        (["a.jsonl", "b.parquet"], "*", {}, r"several formats: a.jsonl \(jsonl\), b.parquet \(parquet\). Narrow it"),
        (["a.dat"], "*", {}, "The format of .*a.dat cannot be told from its name. Pass format=, one of parquet, jsonl"),
        (["a.jsonl"], "*", {"format": "csv"}, r"`format` \(='csv'\) must be one of parquet, jsonl, text"),
        (["a.jsonl"], "*", {"max_failed_share": 2}, r"`max_failed_share` \(=2\) must be a share from 0 to 1"),
        (["a.jsonl"], "*", {"text": ""}, r"`text` \(=''\) must be the name of a column"),
    ],
)
def test_what_cannot_be_found_or_read_is_explained(
    tmp_path: Path, workspace: Workspace, names: list[str], pattern: str, options: dict[str, Any], message: str
) -> None:
    for name in names:
        (tmp_path / name).write_text('{"id": "a", "text": "x"}\n')
    with pytest.raises((InputError, InvalidParameterError, SchemaError), match=message):
        assay.read(tmp_path / pattern, workspace=workspace, **options)


def test_empty_files_are_counted_and_all_empty_is_an_error(tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "a.jsonl").touch()
    with pytest.raises(InputError, match=r"Every file that `read` names is empty \(0 bytes\), the first is .*a.jsonl"):
        assay.read(tmp_path / "*.jsonl", workspace=workspace)
    write_jsonl(tmp_path / "b.jsonl", make_documents(3))
    assert assay.read(tmp_path / "*.jsonl", workspace=workspace).manifest.counts["empty_files"] == 1
    (tmp_path / "c.jsonl").write_text("\n \n")
    with pytest.raises(InputError, match="'c' has no documents"):
        assay.read(tmp_path / "c.jsonl", workspace=workspace)


def test_lists_of_paths_globs_and_folders_can_be_mixed(tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "more").mkdir()
    for k, name in enumerate(["a.jsonl", "b-1.jsonl", "b-2.jsonl", "more/c.jsonl"]):
        write_jsonl(tmp_path / name, make_documents(5, seed=k, topic=f"t{k}"))
    corpus = assay.read([tmp_path / "a.jsonl", str(tmp_path / "b-*.jsonl"), tmp_path / "more"], workspace=workspace)
    assert [row["source"] for row in rows(corpus)][::5] == ["t0", "t1", "t2", "t3"]


def test_objects_print_what_they_are(tmp_path: Path, workspace: Workspace) -> None:
    corpus = assay.read(write_jsonl(tmp_path / "pool.jsonl", make_documents(1200)), workspace=workspace)
    text = repr(corpus)
    assert text.startswith("Corpus(pool, documents 1,200, text 0.")
    assert "tokens about " in text and corpus.fingerprint in text
    assert "<th style='text-align:left'>documents</th><td>1,200</td>" in corpus._repr_html_()


def test_reading_again_reads_nothing(tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_jsonl(tmp_path / "pool.jsonl", make_documents(50))
    first = assay.read(path, workspace=workspace)
    monkeypatch.setitem(read._READERS, "jsonl", None)
    assert assay.read(path, workspace=workspace).fingerprint == first.fingerprint


def test_the_fingerprint_follows_content_and_parameters_but_not_the_place(tmp_path: Path) -> None:
    documents = make_documents(50)
    (tmp_path / "elsewhere").mkdir()
    marks = [
        assay.read(write_jsonl(path, documents), workspace=tmp_path / f"w{k}").fingerprint
        for k, path in enumerate([tmp_path / "pool.jsonl", tmp_path / "elsewhere" / "pool.jsonl"])
    ]
    assert marks[0] == marks[1]
    other = assay.read(tmp_path / "pool.jsonl", text="source", workspace=tmp_path / "w0")
    assert other.fingerprint != marks[0]
    documents[7]["text"] += "!"
    write_jsonl(tmp_path / "pool.jsonl", documents)
    assert assay.read(tmp_path / "pool.jsonl", workspace=tmp_path / "w0").fingerprint != marks[0]


def test_a_change_that_keeps_size_and_time_in_another_workspace_is_still_seen(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "pool.jsonl", [{"id": "a", "text": "one"}])
    stat = path.stat()
    first = assay.read(path, workspace=tmp_path / "w1")
    write_jsonl(path, [{"id": "a", "text": "two"}])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert assay.read(path, workspace=tmp_path / "w2").fingerprint != first.fingerprint


def test_an_interrupted_read_goes_on_and_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for k in range(4):
        write_jsonl(tmp_path / f"pool-{k}.jsonl", make_documents(30, seed=k, topic=f"t{k}"))
    whole = assay.read(tmp_path / "pool-*.jsonl", workspace=tmp_path / "whole")
    calls: list[str] = []
    real = jsonl.read_range

    def failing(source: jsonl.Source, folder: Path, prefix: str) -> dict[str, Any]:
        calls.append(source.label)
        if source.label == "pool-2.jsonl" and calls.count("pool-2.jsonl") == 1:
            raise KeyboardInterrupt("as from a person")
        return real(source, folder, prefix)

    monkeypatch.setattr(jsonl, "read_range", failing)
    monkeypatch.setattr(sharing, "map_parts", lambda work, items: map(work, items))
    with pytest.raises(KeyboardInterrupt):
        assay.read(tmp_path / "pool-*.jsonl", workspace=tmp_path / "cut")
    assert not list((tmp_path / "cut").glob("corpus-*/manifest.json"))
    resumed = assay.read(tmp_path / "pool-*.jsonl", workspace=tmp_path / "cut")
    assert calls == ["pool-0.jsonl", "pool-1.jsonl", "pool-2.jsonl", "pool-2.jsonl", "pool-3.jsonl"]
    assert tree(resumed.folder) == tree(whole.folder)


def test_a_damaged_artifact_is_made_again(tmp_path: Path, workspace: Workspace) -> None:
    path = write_jsonl(tmp_path / "pool.jsonl", make_documents(50))
    corpus = assay.read(path, workspace=workspace)
    part = corpus.part_path(0)
    part.write_bytes(part.read_bytes()[:-10])
    with pytest.raises(ArtifactError, match=r"is missing or is not the \d+ bytes long"):
        type(corpus)(corpus.folder)
    again = assay.read(path, workspace=workspace)
    assert rows(again) == make_documents(50)


def test_a_parquet_file_that_is_gone_is_explained(tmp_path: Path, workspace: Workspace) -> None:
    path = write_parquet(tmp_path / "pool.parquet", make_documents(5))
    corpus = assay.read(path, workspace=workspace)
    path.unlink()
    with pytest.raises(ArtifactError, match="pool.parquet is missing .* Restore the file or read the corpus again"):
        type(corpus)(corpus.folder)
    with pytest.raises(InputError, match="No file matches"):
        assay.read(path, workspace=workspace)


def test_asking_a_corpus_for_a_column_it_has_not_is_explained(tmp_path: Path, workspace: Workspace) -> None:
    corpus = assay.read(write_jsonl(tmp_path / "pool.jsonl", make_documents(5)), workspace=workspace)
    with pytest.raises(SchemaError, match="Column 'sauce' is not in corpus 'pool'; .* Did you mean 'source'?"):
        corpus.table(0, ["sauce"])


@pytest.mark.parametrize(
    ("names", "format", "expected"),
    [
        (["README.md", "a.jsonl", "b.json"], "jsonl", ["a.jsonl", "b.json"]),
        (["part-0", "part-1"], "jsonl", ["part-0", "part-1"]),
        (["a.jsonl", "LICENSE", "a.jsonl.bz2"], None, ["a.jsonl"]),
        (["a.txt", "LICENSE"], "text", ["LICENSE", "a.txt"]),
        ([".hidden.txt", ".git/a.txt", "sub/b.txt"], None, ["sub/b.txt"]),
    ],
)
def test_a_folder_stands_for_the_files_of_one_format(
    tmp_path: Path, names: list[str], format: str | None, expected: list[str]
) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert read.find_files(tmp_path, format) == [tmp_path / name for name in expected]


@pytest.mark.parametrize("name", ["a.dat", "a.txt.gz", "a.parquet.zst"])
def test_a_folder_in_which_no_name_tells_a_format_is_explained(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(
        InputError, match=f"do not tell their format; the first is {name}. Pass format=, one of parquet"
    ):
        read.find_files(tmp_path)


def test_an_empty_folder_is_explained(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"No file matches '{tmp_path}'"):
        read.find_files(tmp_path)


@pytest.mark.parametrize(
    ("path", "name"),
    [("pool.jsonl.zst", "pool"), ("data/*.jsonl", "data"), ("data", "data"), (".", "here"), ("*.jsonl", "here")],
)
def test_a_corpus_is_called_after_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, name: str
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert read._name(path) == read._name([path, "other"]) == name


def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfmark\r\n\xef\xbb\xbf")
    (tmp_path / "b.txt").touch()
    (tmp_path / "c.txt").write_bytes(b"\xff\xfeU\0T\0F\0")
    corpus = assay.read(tmp_path / "*.txt", max_failed_share=0.5, workspace=workspace)
    assert rows(corpus) == [{"id": "a.txt", "text": "mark\r\n\ufeff"}]
    assert corpus.manifest.counts == {"documents": 1, "failed": {"invalid_utf8": 1}, "empty_files": 1}


def test_how_text_files_are_put_together_changes_no_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs").mkdir()
    for k, document in enumerate(make_documents(30)):
        (tmp_path / "docs" / f"{k:02}.txt").write_text(document["text"])
    whole = assay.read(tmp_path / "docs", workspace=tmp_path / "whole")
    monkeypatch.setattr(textfiles, "_GROUP_BYTES", 2_000)
    monkeypatch.setattr(textfiles, "_BATCH_FILES", 2)
    cut = assay.read(tmp_path / "docs", workspace=tmp_path / "cut")
    assert cut.num_parts > 3 and whole.num_parts == 1
    assert rows(cut) == rows(whole)


@pytest.mark.parametrize("format", ["parquet", "text"])
def test_an_interrupted_read_of_other_formats_goes_on_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    monkeypatch.setattr(textfiles, "_GROUP_BYTES", 1)
    for k in range(4):
        documents: list[dict[str, Any]] = [*make_documents(20, seed=k, topic=f"t{k}"), {"id": "same", "text": "x"}]
        if format == "parquet":
            write_parquet(tmp_path / f"pool-{k}.parquet", documents)
        else:
            (tmp_path / f"pool-{k}.txt").write_bytes(documents[k]["text"].encode() + bytes([0xFF] * (k == 3)))
    module, reader = {"parquet": (parquet, "scan"), "text": (textfiles, "read_group")}[format]
    whole = assay.read(tmp_path / "pool-*", max_failed_share=0.3, workspace=tmp_path / "whole")
    real, calls = getattr(module, reader), []

    def failing(source: Any, folder: Path, prefix: str) -> dict[str, Any]:
        calls.append(prefix)
        if calls == ["part-00000", "part-00001", "part-00002"]:
            raise KeyboardInterrupt("as from a person")
        return real(source, folder, prefix)

    monkeypatch.setattr(module, reader, failing)
    monkeypatch.setattr(sharing, "map_parts", lambda work, items: map(work, items))
    with pytest.raises(KeyboardInterrupt):
        assay.read(tmp_path / "pool-*", max_failed_share=0.3, workspace=tmp_path / "cut")
    resumed = assay.read(tmp_path / "pool-*", max_failed_share=0.3, workspace=tmp_path / "cut")
    assert calls[3:] == ["part-00002", "part-00003"]
    assert resumed.manifest.counts["failed"] == {"duplicate_id": 3} if format == "parquet" else {"invalid_utf8": 1}
    assert tree(resumed.folder) == tree(whole.folder)


def test_what_a_killed_read_left_half_written_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_jsonl(tmp_path / "pool.jsonl", [{"id": "a", "text": "x"}, {"id": "a", "text": "y"}])
    with pytest.raises(InputError):
        assay.read(path, workspace=tmp_path / "w")
    (folder,) = (tmp_path / "w").glob("corpus-*")
    dead = ended_process()
    for half in (folder / f".part-00000-00000.parquet.{dead}.tmp", folder / "failed" / f".ids.parquet.{dead}.tmp"):
        half.write_text("half")
    corpus = assay.read(path, max_failed_share=0.5, workspace=tmp_path / "w")
    assert corpus.folder == folder and not list(folder.rglob("*.tmp"))


@pytest.mark.parametrize(
    "name", ["pool.jsonl", "pool.jsonl.gz", "pool.jsonl.zst", "pool.txt", "pool.parquet", "pool.html", "pool.warc"]
)
def test_a_file_that_is_gone_when_its_turn_comes_is_named(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / name
    if name.endswith(("gz", "zst")):
        with pa.output_stream(str(path), compression="detect") as stream:
            stream.write(b'{"id": "a", "text": "x"}')
    else:
        (write_parquet if name.endswith("parquet") else write_jsonl)(path, make_documents(2))
    real = read._read_source

    def too_late(reader: Any, folder: Path, item: Any) -> str:
        path.unlink()
        return real(reader, folder, item)

    monkeypatch.setattr(read, "_read_source", too_late)
    with pytest.raises(
        InputError, match=f"{path} (is gone: it was there when reading began|cannot be read as Parquet)"
    ):
        assay.read(path, workspace=workspace)


def test_the_order_in_which_files_are_listed_changes_nothing(tmp_path: Path, workspace: Workspace) -> None:
    """Found by its fingerprint, an artifact of one order must fit the corpus of any other."""
    for suffix in ("jsonl", "parquet"):
        files = []
        for k in range(3):
            rows = make_documents(30 + k, seed=k, topic=f"t{k}")
            write = write_jsonl if suffix == "jsonl" else write_parquet
            files.append(write(tmp_path / f"{k}.{suffix}", rows))
        corpora = [
            assay.read(order, workspace=workspace) for order in (files, files[::-1], [files[1], files[0], files[2]])
        ]
        assert len({corpus.fingerprint for corpus in corpora}) == 1
        assert len({tuple(part["label"] for part in corpus.manifest.parts) for corpus in corpora}) == 1


def test_what_was_written_can_be_read(tmp_path: Path, workspace: Workspace) -> None:
    corpus = assay.read(write_jsonl(tmp_path / "pool.jsonl", make_documents(50)), workspace=workspace)
    selection = assay.select(corpus, budget="20 documents", workspace=workspace)
    for format in ("parquet", "jsonl", "jsonl.zst"):
        assay.write(corpus, selection, tmp_path / format, format=format)
        again = assay.read(tmp_path / format, workspace=workspace)
        assert again.num_documents == 20 and again.manifest.counts["failed"] == {}


def test_parquet_that_changes_after_it_was_read_is_noticed(tmp_path: Path, workspace: Workspace) -> None:
    path = write_parquet(tmp_path / "pool.parquet", [{"id": "a", "text": "one"}, {"id": "b", "text": "two"}])
    corpus = assay.read(path, workspace=workspace)
    write_parquet(path, [{"id": "x", "text": "six"}, {"id": "y", "text": "ten"}])
    with pytest.raises(InputError, match="pool.parquet has changed since 'pool' was read. Restore it, or read"):
        assay.score(corpus, "length", workspace=workspace)
    path.unlink()
    with pytest.raises(InputError, match="pool.parquet is gone. Restore it, or read"):
        corpus.table(0, ["id"])
