"""Parquet where it lies: nothing copied, row groups as parts, every row looked at once."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import assay
from assay.artifacts.workspace import Workspace
from assay.corpus import parquet
from assay.corpus.failures import read_failures
from assay.errors import InputError, SchemaError
from tests.conftest import make_documents, write_parquet
from tests.corpus.test_jsonl import rows


def test_parquet_is_read_in_place(tmp_path: Path, workspace: Workspace) -> None:
    documents = make_documents(250, seed=1)
    path = write_parquet(tmp_path / "pool.parquet", documents)
    corpus = assay.read(path, workspace=workspace)
    assert rows(corpus) == documents
    assert corpus.part_path(0) == path
    assert not list(corpus.folder.glob("*.parquet"))


def test_row_groups_become_parts(tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "PART_BYTES", 20_000)
    documents = make_documents(500, seed=1)
    corpus = assay.read(write_parquet(tmp_path / "pool.parquet", documents, row_group_size=50), workspace=workspace)
    assert corpus.num_parts > 3
    assert rows(corpus) == documents
    groups = [group for part in corpus.manifest.parts for group in part["row_groups"]]
    assert groups == list(range(10))


def test_columns_are_mapped_and_what_is_in_their_way_is_renamed(tmp_path: Path, workspace: Workspace) -> None:
    path = write_parquet(tmp_path / "pool.parquet", [{"doc": 7, "content": "x", "text": "t", "id": "i", "n": 1.5}])
    corpus = assay.read(path, text="content", id="doc", workspace=workspace)
    assert rows(corpus) == [{"id": "7", "text": "x", "original_text": "t", "original_id": "i", "n": 1.5}]


def test_ids_are_made_from_file_and_row_when_there_are_none(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "PART_BYTES", 1)
    texts: list[dict[str, Any]] = [{"text": f"t{k}"} for k in range(5)]
    texts[1]["text"] = None
    corpus = assay.read(write_parquet(tmp_path / "p.parquet", texts, 2), max_failed_share=0.5, workspace=workspace)
    assert [row["id"] for row in rows(corpus)] == ["p.parquet:0", "p.parquet:2", "p.parquet:3", "p.parquet:4"]
    assert [row["text"] for row in rows(corpus)] == ["t0", "t2", "t3", "t4"]


@pytest.mark.parametrize("type", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_every_kind_of_string_is_text(tmp_path: Path, workspace: Workspace, type: pa.DataType) -> None:
    table = pa.table({"id": ["a", "b"], "text": pa.array(["x", "é"]).cast(type)})
    pq.write_table(table, tmp_path / "pool.parquet")
    corpus = assay.read(tmp_path / "pool.parquet", workspace=workspace)
    assert rows(corpus) == [{"id": "a", "text": "x"}, {"id": "b", "text": "é"}]


def test_many_files_with_different_columns_are_one_corpus(tmp_path: Path, workspace: Workspace) -> None:
    write_parquet(tmp_path / "a.parquet", [{"id": "1", "text": "x", "n": 1, "only": "here"}])
    write_parquet(tmp_path / "b.parquet", [{"n": 2.5, "text": "y", "id": "2"}])
    corpus = assay.read(tmp_path, workspace=workspace)
    assert rows(corpus) == [
        {"id": "1", "text": "x", "n": 1.0, "only": "here"},
        {"id": "2", "text": "y", "n": 2.5, "only": None},
    ]


def invalid_utf8(texts: list[bytes]) -> pa.Array:
    return pa.Array.from_buffers(pa.string(), len(texts), pa.array(texts, pa.binary()).buffers())


def test_rows_that_cannot_be_documents_are_set_aside_with_their_row(tmp_path: Path, workspace: Workspace) -> None:
    text = invalid_utf8([b"good", b"\xff\xfe", b"fine", b"last"])
    pq.write_table(pa.table({"id": ["a", "b", None, "a"], "text": text}), tmp_path / "pool.parquet")
    with pytest.raises(InputError) as stopped:
        assay.read(tmp_path / "pool.parquet", workspace=workspace)
    message = str(stopped.value)
    assert "3 of 4 rows of 'pool' cannot be used" in message
    for expected in (
        "pool.parquet, line 2: is not valid UTF-8 (byte 1: invalid start byte)",
        "pool.parquet, line 3: has no id (null)",
        "pool.parquet, line 4: has an id that came before (id 'a')",
    ):
        assert expected in message
    corpus = assay.read(tmp_path / "pool.parquet", max_failed_share=0.75, workspace=workspace)
    assert rows(corpus) == [{"id": "a", "text": "good"}]
    assert sorted(f.line for f in read_failures(corpus.folder)) == [2, 3, 4]


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (
            {"id": ["a"], "body": ["x"]},
            {},
            r"Column 'text' is not in .*pool.parquet; it has 'id', 'body'. Pass text=...",
        ),
        ({"id": ["a"], "texts": ["x"]}, {}, "Did you mean 'texts'?"),
        ({"id": ["a"], "text": ["x"]}, {"id": "key"}, "Column 'key' is not in .*; it has 'id', 'text'. Pass id=..."),
        ({"id": ["a"], "text": [7]}, {}, "Column 'text' of .*pool.parquet holds int64, not strings."),
        ({"id": ["a"], "text": [["x"]]}, {}, "holds list<.*>, not strings."),
        ({"id": ["a"], "text": [b"x"]}, {}, "holds binary, not strings."),
        ({"id": [["a"]], "text": ["x"]}, {}, "Column 'id' of .* holds list<.*>, not strings or numbers. Columns: 'id'"),
        ({"id": [b"a"], "text": ["x"]}, {}, "Column 'id' of .* holds binary, not strings or numbers. .* Pass id=..."),
    ],
)
def test_wrong_columns_are_explained(
    tmp_path: Path, workspace: Workspace, table: dict[str, Any], options: dict[str, str], message: str
) -> None:
    pq.write_table(pa.table(table), tmp_path / "pool.parquet")
    with pytest.raises(SchemaError, match=message):
        assay.read(tmp_path / "pool.parquet", workspace=workspace, **options)


def test_files_that_disagree_about_ids_are_refused(tmp_path: Path, workspace: Workspace) -> None:
    write_parquet(tmp_path / "a.parquet", [{"id": "1", "text": "x"}])
    write_parquet(tmp_path / "b.parquet", [{"text": "y"}])
    with pytest.raises(SchemaError, match="has an 'id' column and .* has not, or the reverse. Pass id="):
        assay.read(tmp_path, workspace=workspace)


@pytest.mark.parametrize("content", [b"not parquet at all, really not", b"PAR1" + b"\0" * 40 + b"PAR1"])
def test_a_file_that_is_not_parquet_is_explained(tmp_path: Path, workspace: Workspace, content: bytes) -> None:
    (tmp_path / "pool.parquet").write_bytes(content)
    with pytest.raises(InputError, match="pool.parquet cannot be read as Parquet: "):
        assay.read(tmp_path / "pool.parquet", workspace=workspace)


def test_parquet_without_rows_among_others_is_fine_and_alone_is_not(tmp_path: Path, workspace: Workspace) -> None:
    schema = pa.schema([("id", pa.string()), ("text", pa.string())])
    pq.write_table(schema.empty_table(), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="has no documents"):
        assay.read(tmp_path / "a.parquet", workspace=workspace)
    write_parquet(tmp_path / "b.parquet", [{"id": "1", "text": "x"}])
    assert assay.read(tmp_path / "*.parquet", workspace=workspace).num_documents == 1


def test_a_file_that_changes_after_it_was_read_is_noticed(tmp_path: Path, workspace: Workspace) -> None:
    path = write_parquet(tmp_path / "pool.parquet", make_documents(20, seed=1))
    first = assay.read(path, workspace=workspace)
    write_parquet(path, make_documents(30, seed=2))
    second = assay.read(path, workspace=workspace)
    assert second.fingerprint != first.fingerprint and second.num_documents == 30


def test_two_columns_of_one_name_are_refused(tmp_path: Path, workspace: Workspace) -> None:
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    pq.write_table(table, tmp_path / "pool.parquet")
    with pytest.raises(
        SchemaError, match="Several columns of .*pool.parquet have the same name; it has 'text', 'text'"
    ):
        assay.read(tmp_path / "pool.parquet", workspace=workspace)


def test_parquet_without_row_groups_among_others_is_fine(tmp_path: Path, workspace: Workspace) -> None:
    pq.ParquetWriter(tmp_path / "a.parquet", pa.schema([("id", pa.string()), ("text", pa.string())])).close()
    with pytest.raises(InputError, match="has no documents"):
        assay.read(tmp_path / "a.parquet", workspace=workspace)
    write_parquet(tmp_path / "b.parquet", [{"id": "1", "text": "x"}])
    assert assay.read(tmp_path / "*.parquet", workspace=workspace).num_documents == 1


def test_ids_that_are_not_utf8_are_set_aside(tmp_path: Path, workspace: Workspace) -> None:
    ids = invalid_utf8([b"a", b"\xff", b"\xff", b"d"])
    pq.write_table(pa.table({"id": ids, "text": ["x", "y", None, "z"]}), tmp_path / "pool.parquet")
    corpus = assay.read(tmp_path / "pool.parquet", max_failed_share=0.5, workspace=workspace)
    assert rows(corpus) == [{"id": "a", "text": "x"}, {"id": "d", "text": "z"}]
    assert [(f.line, f.reason) for f in read_failures(corpus.folder)] == [(2, "invalid_utf8"), (3, "invalid_utf8")]
    assert corpus.num_bytes == 2


def test_damaged_pages_are_named(tmp_path: Path, workspace: Workspace) -> None:
    path = write_parquet(tmp_path / "pool.parquet", make_documents(500), row_group_size=100)
    content = bytearray(path.read_bytes())
    content[200:400] = bytes(200)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"pool.parquet, row groups 0 to 4, cannot be read as Parquet: .*\. Mend"):
        assay.read(path, workspace=workspace)


@pytest.mark.parametrize(
    ("types", "values", "expected"),
    [
        (("int64", "double"), (2**60 + 1, 0.5), (float(2**60), 0.5)),
        (("int64", "uint64"), (-1, 2**63), ("-1", str(2**63))),
        (("int32", "int64"), (1, 2**40), (1, 2**40)),
        (("bool", "string"), (True, "x"), ("true", "x")),
        ((pa.list_(pa.int64()), "string"), ([1, None], "x"), ("[1, null]", "x")),
        ((pa.struct([("k", pa.string())]), pa.list_(pa.int64())), ({"k": "é"}, [1]), ('{"k": "é"}', "[1]")),
        ((pa.list_(pa.int64()), "null"), ([1], None), ("[1]", None)),
        ((pa.dictionary(pa.int32(), pa.string()), "string"), ("a", "b"), ("a", "b")),
        ((pa.decimal128(4, 2), "string"), (1, "x"), ("1.00", "x")),
        (("string", "large_string"), ("a", "b"), ("a", "b")),
    ],
    ids=str,
)
def test_columns_that_change_type_between_files_become_one_type(
    tmp_path: Path,
    workspace: Workspace,
    types: tuple[Any, Any],
    values: tuple[Any, Any],
    expected: tuple[Any, Any],
) -> None:
    for name, type, value in zip("ab", types, values, strict=True):
        odd = pa.array([value], pa.type_for_alias(type) if isinstance(type, str) else type)
        pq.write_table(pa.table({"id": [name], "text": ["x"], "odd": odd}), tmp_path / f"{name}.parquet")
    corpus = assay.read(tmp_path, workspace=workspace)
    assert [row["odd"] for row in rows(corpus)] == list(expected)


def test_nested_columns_are_handed_on_as_they_are(tmp_path: Path, workspace: Workspace) -> None:
    documents = [{"id": "a", "text": "x", "meta": {"k": [1, None]}}, {"id": "b", "text": "y", "meta": None}]
    corpus = assay.read(write_parquet(tmp_path / "pool.parquet", documents), workspace=workspace)
    assert rows(corpus) == documents


def test_how_row_groups_are_put_together_changes_no_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents: list[dict[str, Any]] = [dict(document) for document in make_documents(60, seed=1)]
    documents[7]["text"], documents[31]["id"], documents[44]["id"] = None, None, "w-2"
    path = write_parquet(tmp_path / "pool.parquet", documents, row_group_size=7)
    found = []
    for size in (1, 5_000, 64 << 20):
        monkeypatch.setattr(parquet, "PART_BYTES", size)
        monkeypatch.setattr(parquet, "_BATCH_ROWS", size % 11 + 1)
        corpus = assay.read(path, max_failed_share=0.1, workspace=tmp_path / str(size))
        failures = sorted(read_failures(corpus.folder))
        assert [(f.line, f.reason) for f in failures] == [(8, "null_text"), (32, "missing_id"), (45, "duplicate_id")]
        found.append((corpus.num_parts, rows(corpus)))
    assert [parts for parts, _ in found][::2] == [9, 1]
    assert found[0][1] == found[1][1] == found[2][1]
    assert len(found[0][1]) == 57
