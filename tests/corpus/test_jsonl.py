"""JSON lines: what is read, what is set aside and why, and that cutting changes nothing."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import assay
from assay.artifacts.workspace import Workspace
from assay.corpus import jsonl, parts
from assay.corpus.failures import Failure, read_failures
from assay.errors import InputError, SchemaError
from tests.conftest import make_documents, write_jsonl, write_parquet

GOOD = b'{"id": "a", "text": "first"}'
AFTER = b'{"id": "z", "text": "last"}'
# Line -> reason it is set aside for, and what the message says.
BAD_LINES = [
    (b"not json", "not_json", "Expecting value"),
    (b'{"id": "b", "text": "cut', "not_json", "Unterminated string"),
    (b'{"id": "b", "text": "x"} y', "not_json", "Extra data"),
    (b'["id", "text"]', "not_an_object", "it is a list"),
    (b"17", "not_an_object", "it is a int"),
    (b'{"id": "b", "body": "x"}', "missing_text", "it has 'id', 'body'"),
    (b'{"id": "b", "text": null}', "null_text", ""),
    (b'{"id": "b", "text": 17}', "text_not_string", "it is a int"),
    (b'{"id": "b", "text": ["x"]}', "text_not_string", "it is a list"),
    (b'{"id": "b", "text": "\xff\xfe"}', "invalid_utf8", "byte 22: invalid start byte"),
    (b'{"id": "b", "text": "\xed\xa0\x80"}', "invalid_utf8", "byte 22: invalid continuation byte"),
    (b'{"id": "b", "text": "\\ud800"}', "invalid_utf8", "half a surrogate pair"),
    (b'{"id": null, "text": "x"}', "missing_id", "'id' is null"),
    (b'{"text": "x"}', "missing_id", "'id' is not there"),
    (b'{"id": "a", "text": "again"}', "duplicate_id", "id 'a'"),
]


def rows(corpus: assay.Corpus, columns: list[str] | None = None) -> list[dict[str, Any]]:
    names = columns or corpus.column_names
    return [row for k in range(corpus.num_parts) for batch in corpus.batches(k, names) for row in batch.to_pylist()]


@pytest.mark.parametrize(("line", "reason", "detail"), BAD_LINES, ids=[f"{k}-{b[1]}" for k, b in enumerate(BAD_LINES)])
def test_a_bad_line_is_set_aside_with_file_line_and_reason(
    tmp_path: Path, workspace: Workspace, line: bytes, reason: str, detail: str
) -> None:
    path = tmp_path / "pool.jsonl"
    path.write_bytes(b"\n".join([GOOD, line, AFTER]) + b"\n")
    with pytest.raises(InputError) as stopped:
        assay.read(path, workspace=workspace)
    message = str(stopped.value)
    assert message.startswith(f"1 of 3 rows of 'pool' cannot be used (1 {reason}):\n  pool.jsonl, line 2: ")
    assert detail in message and "max_failed_share: 0.34 (now 0)" in message
    corpus = assay.read(path, max_failed_share=0.34, workspace=workspace)
    assert [row["text"] for row in rows(corpus)] == ["first", "last"]
    assert corpus.manifest.counts == {"documents": 2, "failed": {reason: 1}, "empty_files": 0}
    (failure,) = read_failures(corpus.folder)
    assert failure[:3] == ("pool.jsonl", 2, reason)
    if reason != "duplicate_id":
        assert failure.raw == line
    with pytest.raises(InputError):
        assay.read(path, max_failed_share=0.33, workspace=workspace)


def test_a_message_counts_by_reason_and_shows_one_of_each(tmp_path: Path, workspace: Workspace) -> None:
    path = tmp_path / "pool.jsonl"
    path.write_bytes(b"\n".join([GOOD, *[b"{"] * 5, b'{"id": "b", "text": null}', *[b"[]"] * 2]))
    with pytest.raises(InputError) as stopped:
        assay.read(path, workspace=workspace)
    message = str(stopped.value)
    assert "8 of 9 rows" in message and "(5 not_json, 2 not_an_object, 1 null_text)" in message
    assert all(f"line {n}:" in message for n in (2, 7, 8))


def test_a_text_column_that_no_row_has_is_a_wrong_name(tmp_path: Path, workspace: Workspace) -> None:
    path = write_jsonl(tmp_path / "pool.jsonl", [{"id": "a", "body": "x"}, {"id": "b", "body": "y"}])
    with pytest.raises(SchemaError, match="No row has the column 'text': pool.jsonl, line 1: .* .it has 'id', 'body'"):
        assay.read(path, workspace=workspace)
    corpus = assay.read(path, text="body", workspace=workspace)
    assert rows(corpus) == [{"id": "a", "text": "x"}, {"id": "b", "text": "y"}]


ODD_BUT_GOOD: list[tuple[bytes, list[dict[str, Any]]]] = [
    (b'\xef\xbb\xbf{"id": "a", "text": "mark"}\n', [{"id": "a", "text": "mark"}]),
    (b'{"id": "a", "text": "x"}\r\n{"id": "b", "text": "y"}\r\n', [{"id": "a", "text": "x"}, {"id": "b", "text": "y"}]),
    (b'\n{"id": "a", "text": "x"}\n  \n\n{"id": "b", "text": ""}', [{"id": "a", "text": "x"}, {"id": "b", "text": ""}]),
    (b'{"id": 7, "text": "x"}', [{"id": "7", "text": "x"}]),
    (b'{"id": 1.5, "text": "\\u0000\\u00e9\\ud83d\\ude42"}', [{"id": "1.5", "text": "\x00é🙂"}]),
    (b'{"id": "a", "text": "x", "q": NaN}', [{"id": "a", "text": "x", "q": float("nan")}]),
    (b'{"id": "a", "text": "x", "when": "2020-01-01"}', [{"id": "a", "text": "x", "when": "2020-01-01"}]),
    (
        b'{"id": "a", "text": "x"}\n{"id": "b", "text": "y", "when": "2020-01-01", "n": 3}',
        [{"id": "a", "text": "x", "when": None, "n": None}, {"id": "b", "text": "y", "when": "2020-01-01", "n": 3}],
    ),
    (
        b'{"id": "a", "text": "x", "n": 1, "ok": true}\n{"id": "b", "text": "y", "n": 2.5, "ok": null}',
        [{"id": "a", "text": "x", "n": 1.0, "ok": True}, {"id": "b", "text": "y", "n": 2.5, "ok": None}],
    ),
    (
        b'{"id": "a", "text": "x", "n": 1}\n{"id": "b", "text": "y", "n": "two"}',
        [{"id": "a", "text": "x", "n": "1"}, {"id": "b", "text": "y", "n": "two"}],
    ),
    (
        b'{"id": "a", "text": "x", "meta": {"k": [1, null]}, "big": 123456789012345678901234567890}',
        [{"id": "a", "text": "x", "meta": '{"k": [1, null]}', "big": "123456789012345678901234567890"}],
    ),
    (b'{"id": "a", "text": "x", "text": "y"}', [{"id": "a", "text": "y"}]),
]


@pytest.mark.parametrize(("content", "expected"), ODD_BUT_GOOD, ids=range(len(ODD_BUT_GOOD)))
def test_odd_but_good_lines_are_read(
    tmp_path: Path, workspace: Workspace, content: bytes, expected: list[dict[str, Any]]
) -> None:
    (tmp_path / "pool.jsonl").write_bytes(content)
    corpus = assay.read(tmp_path / "pool.jsonl", workspace=workspace)
    assert repr(rows(corpus)) == repr(expected)


def test_the_three_ways_of_decoding_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Straight to Arrow, line by line, and as a line is taken that is not strict JSON: the same documents."""
    documents = make_documents(300, seed=1)
    for k, document in enumerate(documents):
        document |= {"n": k, "share": k / 7, "ok": k % 2 == 0, "lang": None if k % 5 else "en", "url": f"u{k}"}
    path = write_jsonl(tmp_path / "pool.jsonl", documents)
    read = lambda name: rows(assay.read(path, workspace=tmp_path / name))  # noqa: E731
    monkeypatch.setattr(jsonl, "_decode", None)
    monkeypatch.setattr(jsonl, "has_id", lambda paths, text_key: True)
    assert read("straight") == documents
    monkeypatch.undo()
    monkeypatch.setattr(jsonl, "_parse_flat", lambda *arguments: None)
    monkeypatch.setattr(jsonl, "_decode_odd", None)
    assert read("by-line") == documents
    monkeypatch.undo()
    path.write_bytes(path.read_bytes().replace(b'"n": 7,', b'"n": 7, "odd": NaN,'))
    assert [{k: v for k, v in row.items() if k != "odd"} for row in rows(assay.read(path, workspace=tmp_path))] == (
        documents
    )


# One column whose values are of several kinds: what makes its type, and its text, depend on what is seen together.
MIXED = [
    ["1", "2.5", "null"],
    ["1", '"one"', "1e20", "0.1"],
    ["true", "1", "1.0"],
    ["2.5", "true"],
    ["[1, 2]", '{"k": null}', '"plain"', "7"],
    ["12345678901234567890", "2.5", "9007199254"],
    ["1152921504606846977", "0.5"],
    ["9223372036854775807", "9223372036854775808"],
    ["NaN", "Infinity", "1e400", "1", '"text"'],
    ['"2020-01-01"', '"2020-01-01 00:00:00"', "2020"],
    ["null"],
]


@pytest.mark.parametrize("values", MIXED, ids=range(len(MIXED)))
def test_cutting_anywhere_gives_the_same_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: list[str]
) -> None:
    lines = [f'{{"text": "t{k}", "odd": {value}}}' for k, value in enumerate([*values, *values[::-1]] * 3)]
    lines[::5] = ['{"text": "short", "late": 1}'] * len(lines[::5])
    path = tmp_path / "pool.jsonl"
    path.write_text("\n".join(lines))
    whole = assay.read(path, workspace=tmp_path / "whole")
    for block, range_bytes, part in ((1, 64 << 20, 32 << 20), (100, 200, 50), (64, 64 << 20, 1)):
        monkeypatch.setattr(jsonl, "_BLOCK_BYTES", block)
        monkeypatch.setattr(jsonl, "RANGE_BYTES", range_bytes)
        monkeypatch.setattr(parts, "PART_BYTES", part)
        cut = assay.read(path, workspace=tmp_path / f"cut-{block}")
        assert cut.manifest.schema == whole.manifest.schema
        assert repr(rows(cut)) == repr(rows(whole))


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("12345678901234567890", "12345678901234567890"),
        ("9007199254740993", 9007199254740993),
        ("-9223372036854775808", -9223372036854775808),
        ("-9223372036854775809", "-9223372036854775809"),
    ],
)
@pytest.mark.parametrize("before", ['{"text": "t"}', '{"text": "t", "n": null}'])
def test_long_integers_keep_every_digit(
    tmp_path: Path, workspace: Workspace, value: str, stored: Any, before: str
) -> None:
    (tmp_path / "pool.jsonl").write_text(f'{before}\n{{"text": "t", "n": {value}}}\n')
    assert rows(assay.read(tmp_path / "pool.jsonl", workspace=workspace), ["n"]) == [{"n": None}, {"n": stored}]


# Lines with as many documents as lines, but not one on each: a parser that counts values would take them.
SHIFTED = [
    (b'{"text": "a"}{"text": "b"}\n\n{"text": "c"}\n', ["c"], [1]),
    (b'{"text":\n"a"}{"text": "b"}\n{"text": "c"}\n', ["c"], [1, 2]),
    (b'{"text": "a"} {"text": "b"}\n{"text": "c",\n"n": 1}\n{"text": "d"}\n', ["d"], [1, 2, 3]),
    (b'{"text": "a"}\n{"text": "b", "n": [{\n"k": 1}]}{"text": "c"}\n', ["a"], [2, 3]),
]


@pytest.mark.parametrize(("content", "texts", "bad"), SHIFTED, ids=range(len(SHIFTED)))
def test_a_line_holds_one_document(
    tmp_path: Path, workspace: Workspace, content: bytes, texts: list[str], bad: list[int]
) -> None:
    (tmp_path / "pool.jsonl").write_bytes(content)
    corpus = assay.read(tmp_path / "pool.jsonl", max_failed_share=0.9, workspace=workspace)
    assert [row["text"] for row in rows(corpus)] == texts
    assert [(f.line, f.reason) for f in read_failures(corpus.folder)] == [(line, "not_json") for line in bad]


@pytest.mark.parametrize("known", [b"", b', "deep": "shallow"'], ids=["unknown column", "known column"])
@pytest.mark.parametrize("first", [True, False])
def test_nesting_without_end_is_set_aside(tmp_path: Path, workspace: Workspace, known: bytes, first: bool) -> None:
    lines = [b'{"text": "t"%s}' % known, b'{"text": "t", "deep": %s}' % (b"[" * 200_000 + b"]" * 200_000)]
    (tmp_path / "pool.jsonl").write_bytes(b"\n".join(lines[::-1] if first else lines) + b"\n")
    corpus = assay.read(tmp_path / "pool.jsonl", max_failed_share=0.5, workspace=workspace)
    (failure,) = read_failures(corpus.folder)
    assert (failure.line, failure.reason) == (1 if first else 2, "not_json")
    assert "recursion" in failure.detail


@pytest.mark.parametrize("start", [b"", b"\n\n", b"oops\n", b'{"id": "b"}\n', b"\xef\xbb\xbf\n", b"\xef\xbb\xbf"])
def test_what_comes_before_the_first_document_does_not_hide_its_id(
    tmp_path: Path, workspace: Workspace, start: bytes
) -> None:
    (tmp_path / "pool-1.jsonl").write_bytes(start)
    (tmp_path / "pool-2.jsonl").write_bytes(start + GOOD + b"\n" + AFTER)
    corpus = assay.read(tmp_path / "pool-*.jsonl", max_failed_share=0.5, workspace=workspace)
    assert [row["id"] for row in rows(corpus)] == ["a", "z"]


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_compressed_files_put_end_to_end_are_one_file(tmp_path: Path, workspace: Workspace, suffix: str) -> None:
    path = tmp_path / f"pool.jsonl.{suffix}"
    content = b""
    for line in (GOOD, AFTER):
        compress(suffix, line + b"\n", path)
        content += path.read_bytes()
    path.write_bytes(content)
    assert [row["id"] for row in rows(assay.read(path, workspace=workspace))] == ["a", "z"]


@pytest.mark.parametrize("block", [1, 50, 333, 8 << 20])
@pytest.mark.parametrize("range_bytes", [64, 1000, 64 << 20])
def test_cutting_anywhere_gives_the_same_documents_and_line_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, range_bytes: int
) -> None:
    lines = [json.dumps({"text": f"text {k} é" * (k % 7 + 1)}, ensure_ascii=False).encode() for k in range(40)]
    lines[5], lines[20], lines[33] = b"oops", b"", b'{"text": 3}'
    path = tmp_path / "pool.jsonl"
    path.write_bytes(b"\n".join(lines))
    expected = assay.read(path, max_failed_share=0.1, workspace=tmp_path / "whole")
    monkeypatch.setattr(jsonl, "_BLOCK_BYTES", block)
    monkeypatch.setattr(jsonl, "RANGE_BYTES", range_bytes)
    cut = assay.read(path, max_failed_share=0.1, workspace=tmp_path / "cut")
    assert rows(cut) == rows(expected)
    assert [row["id"] for row in rows(cut)][:6] == [f"pool.jsonl:{n}" for n in (1, 2, 3, 4, 5, 7)]
    assert [f[:4] for f in read_failures(cut.folder)] == [f[:4] for f in read_failures(expected.folder)]
    assert [f.line for f in read_failures(cut.folder)] == [6, 34]


def test_a_big_file_is_cut_into_ranges_that_cover_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_jsonl(tmp_path / "pool.jsonl", make_documents(200, seed=1))
    monkeypatch.setattr(jsonl, "RANGE_BYTES", 10_000)
    ranges = jsonl.cut(path)
    assert len(ranges) > 5
    assert [r[0] for r in ranges] == [0, *(r[1] for r in ranges[:-1])]
    assert ranges[-1][1] == path.stat().st_size
    content = path.read_bytes()
    assert [r[2] for r in ranges] == [content[: r[0]].count(b"\n") + 1 for r in ranges]


def test_long_files_become_several_parts(tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", 5_000)
    monkeypatch.setattr(jsonl, "_BLOCK_BYTES", 2_000)
    documents = make_documents(100, seed=1)
    corpus = assay.read(write_jsonl(tmp_path / "pool.jsonl", documents), workspace=workspace)
    assert corpus.num_parts > 5
    assert rows(corpus) == documents
    assert corpus.num_bytes == sum(len(d["text"].encode()) for d in documents)


def compress(name: str, content: bytes, path: Path) -> None:
    if name == "gz":
        path.write_bytes(gzip.compress(content))
    else:
        with pa.output_stream(str(path), compression="zstd") as stream:
            stream.write(content)


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_compressed_files_read_like_plain_ones(tmp_path: Path, workspace: Workspace, suffix: str) -> None:
    documents = make_documents(100, seed=1)
    plain = write_jsonl(tmp_path / "plain.jsonl", documents)
    compress(suffix, plain.read_bytes(), tmp_path / f"pool.jsonl.{suffix}")
    assert rows(assay.read(tmp_path / f"pool.jsonl.{suffix}", workspace=workspace)) == documents


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_a_truncated_file_keeps_what_came_before_the_break(tmp_path: Path, workspace: Workspace, suffix: str) -> None:
    documents = make_documents(3000, seed=1)
    plain = write_jsonl(tmp_path / "plain.jsonl", documents).read_bytes()
    path = tmp_path / f"pool.jsonl.{suffix}"
    compress(suffix, plain, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(
        InputError, match=r"1 truncated_file\):\n  pool.jsonl.* is where the compressed file breaks off"
    ):
        assay.read(path, workspace=workspace)
    corpus = assay.read(path, max_failed_share=0.5, workspace=workspace)
    found = rows(corpus)
    assert 0 < len(found) < len(documents)
    assert found == documents[: len(found)]
    (failure,) = read_failures(corpus.folder)
    assert (failure.line, failure.reason) == (len(found) + 1, "truncated_file")
    assert plain.startswith(b"".join(json.dumps(d).encode() + b"\n" for d in found) + failure.raw)


def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "pool.jsonl.zst").write_bytes(GOOD * 10)
    with pytest.raises(InputError, match=r"1 unreadable_file\):\n  pool.jsonl.zst, line 1: cannot be read \(ZSTD"):
        assay.read(tmp_path / "pool.jsonl.zst", workspace=workspace)


def test_duplicate_ids_are_found_across_files_and_parts_with_their_lines(tmp_path: Path, workspace: Workspace) -> None:
    first = make_documents(50, seed=1, topic="a")
    write_jsonl(tmp_path / "pool-1.jsonl", first)
    write_jsonl(tmp_path / "pool-2.jsonl", [*make_documents(10, seed=2, topic="b"), first[3], *first[7:9]])
    corpus = assay.read(tmp_path / "pool-*.jsonl", max_failed_share=0.1, workspace=workspace)
    assert corpus.num_documents == 60 == len({row["id"] for row in rows(corpus)})
    found = [(f.file, f.line, f.detail) for f in read_failures(corpus.folder)]
    assert found == [("pool-2.jsonl", line, f"id 'a-{k}'") for line, k in ((11, 3), (12, 7), (13, 8))]


def test_lines_are_right_after_bad_ones(tmp_path: Path, workspace: Workspace) -> None:
    path = tmp_path / "pool.jsonl"
    path.write_bytes(b"\n".join([GOOD, b"bad", b"", AFTER, GOOD]))
    corpus = assay.read(path, max_failed_share=0.6, workspace=workspace)
    assert [(f.line, f.reason) for f in sorted(read_failures(corpus.folder), key=lambda f: f.line)] == [
        (2, "not_json"),
        (5, "duplicate_id"),
    ]


def test_ids_are_made_from_file_and_line_when_there_are_none(tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "x").mkdir()
    write_jsonl(tmp_path / "pool.jsonl", [{"text": "a"}, {"text": "b"}])
    write_jsonl(tmp_path / "x" / "pool.jsonl", [{"text": "c"}])
    corpus = assay.read([tmp_path / "pool.jsonl", tmp_path / "x/pool.jsonl"], workspace=workspace)
    assert [row["id"] for row in rows(corpus)] == ["pool.jsonl:1", "pool.jsonl:2", "x/pool.jsonl:1"]


def test_a_column_that_is_called_text_is_kept_when_another_is_the_text(tmp_path: Path, workspace: Workspace) -> None:
    path = write_jsonl(tmp_path / "pool.jsonl", [{"key": "k", "id": 5, "body": "b", "text": "t"}])
    corpus = assay.read(path, text="body", id="key", workspace=workspace)
    assert rows(corpus) == [{"id": "k", "text": "b", "original_id": 5, "original_text": "t"}]


def test_columns_that_change_type_between_files_become_one_type(tmp_path: Path, workspace: Workspace) -> None:
    write_jsonl(tmp_path / "pool-1.jsonl", [{"id": "a", "text": "x", "n": 1, "q": 1, "only": "here"}])
    write_jsonl(tmp_path / "pool-2.jsonl", [{"id": "b", "text": "y", "n": 0.5, "q": "high"}])
    corpus = assay.read(tmp_path / "pool-*.jsonl", workspace=workspace)
    assert corpus.manifest.schema == {"id": "string", "text": "string", "n": "double", "q": "string", "only": "string"}
    assert rows(corpus) == [
        {"id": "a", "text": "x", "n": 1.0, "q": "1", "only": "here"},
        {"id": "b", "text": "y", "n": 0.5, "q": "high", "only": None},
    ]


def test_failures_survive_on_disk_as_they_were(tmp_path: Path) -> None:
    from assay.corpus.failures import write_failures

    failures = [Failure("f", 3, "not_json", "why", b"\xff raw"), Failure("g", 0, "invalid_utf8", "", b"")]
    write_failures(tmp_path, "part", failures)
    assert read_failures(tmp_path) == failures
    write_failures(tmp_path, "part", [])
    assert read_failures(tmp_path) == []


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_a_suffix_in_capitals_is_the_same_suffix(tmp_path: Path, workspace: Workspace, suffix: str) -> None:
    path = tmp_path / f"POOL.JSONL.{suffix.upper()}"
    compress(suffix, GOOD, path)
    assert [row["id"] for row in rows(assay.read(path, workspace=workspace))] == ["a"]


@pytest.mark.parametrize(
    ("row", "options", "expected"),
    [
        ({"text": "t", "original_text": "o"}, {}, {"text": "t", "original_text": "o"}),
        (
            {"text": "t", "original_text": "o", "body": "b"},
            {"text": "body"},
            {"text": "b", "original_text": "t", "original_original_text": "o"},
        ),
        ({"text": "t", "original_text": "o"}, {"text": "original_text"}, {"text": "o", "original_text": "t"}),
        ({"text": "t", "key": "k", "id": "i"}, {"id": "key"}, {"id": "k", "text": "t", "original_id": "i"}),
        ({"text": "t", "id": "i"}, {"text": "id", "id": "text"}, {"id": "t", "text": "i"}),
    ],
)
@pytest.mark.parametrize("format", ["jsonl", "parquet", "lines"])
def test_no_column_takes_the_place_of_another(
    tmp_path: Path,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    format: str,
    row: dict[str, Any],
    options: dict[str, str],
    expected: dict[str, Any],
) -> None:
    if format == "lines":
        monkeypatch.setattr(jsonl, "_parse_flat", lambda *arguments: None)
    write = write_parquet if format == "parquet" else write_jsonl
    path = write(tmp_path / f"pool.{'parquet' if format == 'parquet' else 'jsonl'}", [row])
    (found,) = rows(assay.read(path, workspace=workspace, **options))
    assert found == {"id": found["id"], **expected}


def test_with_duplicates_set_aside_the_counts_are_of_what_is_left(tmp_path: Path, workspace: Workspace) -> None:
    documents = [{"id": "a", "text": "12345"}, {"id": "b", "text": "é"}, {"id": "a", "text": "123"}]
    for path in (write_jsonl(tmp_path / "p.jsonl", documents), write_parquet(tmp_path / "p.parquet", documents)):
        corpus = assay.read(path, max_failed_share=0.5, workspace=workspace)
        assert (corpus.num_documents, corpus.num_bytes) == (2, 7)


@pytest.mark.parametrize("bad", [1, 7, 29, 57, 104, 333, 998, 999])
def test_the_share_that_a_message_advises_is_enough_and_not_much_more(
    tmp_path: Path, workspace: Workspace, bad: int
) -> None:
    lines = [b"bad" if k < bad else b'{"id": "%d", "text": "x"}' % k for k in range(1000)]
    path = tmp_path / "pool.jsonl"
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(InputError) as stopped:
        assay.read(path, workspace=workspace)
    advised = float(str(stopped.value).split("max_failed_share: ")[1].split()[0])
    assert bad / 1000 <= advised < 1.1 * bad / 1000
    assert assay.read(path, max_failed_share=bad / 1000, workspace=workspace).num_documents == 1000 - bad
    assert assay.read(path, max_failed_share=advised, workspace=workspace).num_documents == 1000 - bad


def test_a_message_about_a_file_of_which_nothing_is_left_does_not_advise_a_share(
    tmp_path: Path, workspace: Workspace
) -> None:
    (tmp_path / "pool.jsonl").write_text("not json\n[]\n")
    with pytest.raises(InputError) as stopped:
        assay.read(tmp_path / "pool.jsonl", max_failed_share=1, workspace=workspace)
    message = str(stopped.value)
    assert "2 of 2 rows of 'pool' cannot be used (1 not_json, 1 not_an_object)" in message
    assert message.endswith("None is left: check that `read` names the right files, and `format`, `text` and `id`.")


def test_going_on_with_a_larger_share_reads_nothing_again(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for k in range(3):
        (tmp_path / f"pool-{k}.jsonl").write_bytes(b'{"id": "%d", "text": "x"}\nbad\n' % k)
    with pytest.raises(InputError, match="3 of 6 rows"):
        assay.read(tmp_path / "pool-*.jsonl", workspace=workspace)
    monkeypatch.setattr(jsonl, "read_range", None)
    corpus = assay.read(tmp_path / "pool-*.jsonl", max_failed_share=0.5, workspace=workspace)
    assert [row["id"] for row in rows(corpus)] == ["0", "1", "2"]
    assert [(f.file, f.line) for f in read_failures(corpus.folder)] == [(f"pool-{k}.jsonl", 2) for k in range(3)]
