"""HTML files and columns of HTML become documents; what gives no text is set aside by file or row."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import assay
from assay import Recipe
from assay.artifacts.workspace import Workspace
from assay.corpus import pages, parquet
from assay.corpus.failures import read_failures
from assay.errors import InputError, InvalidParameterError, SchemaError
from tests.conftest import write_jsonl
from tests.corpus.test_jsonl import rows

DEEP = "<div>" * 2500 + "x"
TEXTS = [f"The text of page {k}, größer als üblich." for k in range(7)]
PAGES = [f"<html><body><nav>menu</nav><p>{text}</p></body></html>" for text in TEXTS]


def test_html_files_become_documents_named_by_their_paths(tmp_path: Path, workspace: Workspace) -> None:
    folder = tmp_path / "site"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.html").write_bytes(PAGES[0].encode())
    (folder / "b.HTM").write_bytes(PAGES[1].encode("cp1252"))
    (folder / "sub" / "c.html.gz").write_bytes(gzip.compress(PAGES[2].encode()) + gzip.compress(b"<p>more</p>"))
    (folder / "d.html").write_bytes(b"<script>none</script>")
    corpus = assay.read(folder, workspace=workspace)
    expected = {"a.html": TEXTS[0], "b.HTM": TEXTS[1], "d.html": "", "sub/c.html.gz": f"{TEXTS[2]}\n\nmore"}
    assert {row["id"]: row["text"] for row in rows(corpus)} == expected
    assert "no_documents" not in corpus.manifest.counts


def test_a_file_that_gives_no_text_is_set_aside(tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "cut.html.gz").write_bytes(gzip.compress(PAGES[0].encode())[:-20])
    (tmp_path / "broken.html.gz").write_bytes(gzip.compress(PAGES[0].encode())[:10] + b"\xff" * 60)
    (tmp_path / "not.html.gz").write_bytes(b"<p>not gzip")
    (tmp_path / "bomb.html.gz").write_bytes(gzip.compress(bytes(64 << 20)))
    (tmp_path / "deep.html").write_text(DEEP)
    (tmp_path / "picture.html").write_bytes(b"\x89PNG" + bytes(99))
    (tmp_path / "good.html").write_text(PAGES[0], encoding="utf-8")
    with pytest.raises(
        InputError, match=r"(?s)6 of 7 rows of .* cannot be used \(2 unreadable_file, .*deep.html: has its tags"
    ):
        assay.read(tmp_path / "*.html*", workspace=workspace)
    corpus = assay.read(tmp_path / "*.html*", max_failed_share=0.9, workspace=workspace)
    assert rows(corpus) == [{"id": "good.html", "text": TEXTS[0]}]
    assert {f.file: f.reason for f in read_failures(corpus.folder)} == {
        "bomb.html.gz": "page_too_large",
        "broken.html.gz": "unreadable_file",
        "cut.html.gz": "truncated_file",
        "deep.html": "nested_too_deep",
        "not.html.gz": "unreadable_file",
        "picture.html": "undecodable",
    }


def table() -> pa.Table:
    html: list[Any] = [*PAGES[:5], None, DEEP]
    return pa.table(
        {
            "key": pa.array(range(10, 17), pa.int64()),
            "html": pa.array(html, pa.string()),
            "text": pa.array([f"own {k}" for k in range(7)]),
            "when": pa.array(range(7), pa.timestamp("us", tz="UTC")),
            "tags": pa.array([[k] for k in range(7)], pa.list_(pa.int64())),
        }
    )


@pytest.mark.parametrize("kind", [pa.string(), pa.dictionary(pa.int32(), pa.string()), pa.binary(), pa.large_binary()])
def test_a_parquet_column_of_html_becomes_text(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, kind: pa.DataType
) -> None:
    monkeypatch.setattr(parquet, "_BATCH_PAGES", 3)
    monkeypatch.setattr(parquet, "PART_BYTES", 1)
    path = tmp_path / "pool.parquet"
    html = table()["html"]
    content = table().set_column(1, "html", html.dictionary_encode() if "dictionary" in str(kind) else html.cast(kind))
    pq.write_table(content, path, row_group_size=2)
    corpus = assay.read(path, text="html", id="key", extract="resiliparse", max_failed_share=0.5, workspace=workspace)
    found = rows(corpus)
    assert [(row["id"], row["text"], row["original_text"]) for row in found] == [
        (str(10 + k), TEXTS[k], f"own {k}") for k in range(5)
    ]
    assert found[3]["tags"] == "[3]" and found[3]["when"] == "1970-01-01 00:00:00.000003Z"
    assert [(f.line, f.reason) for f in read_failures(corpus.folder)] == [(6, "null_text"), (7, "nested_too_deep")]


def test_bytes_of_a_column_are_decoded_page_by_page(tmp_path: Path, workspace: Workspace) -> None:
    pq.write_table(pa.table({"text": [PAGES[0].encode(), PAGES[1].encode("cp1252")]}), tmp_path / "pool.parquet")
    corpus = assay.read(tmp_path / "pool.parquet", extract="resiliparse", workspace=workspace)
    assert rows(corpus) == [{"id": f"pool.parquet:{k}", "text": TEXTS[k]} for k in range(2)]
    with pytest.raises(SchemaError, match="holds binary, not strings"):
        assay.read(tmp_path / "pool.parquet", workspace=workspace)


def test_a_json_lines_column_of_html_becomes_text(tmp_path: Path, workspace: Workspace) -> None:
    documents: list[dict[str, object]] = [{"id": str(k), "page": page, "n": k} for k, page in enumerate(PAGES)]
    path = write_jsonl(tmp_path / "pool.jsonl", documents)
    with open(path, "a", encoding="utf-8") as stream:
        stream.write(json.dumps({"id": "deep", "page": DEEP}) + "\nnot json\n")
    corpus = assay.read(path, text="page", extract="resiliparse", max_failed_share=0.3, workspace=workspace)
    assert rows(corpus) == [{"id": str(k), "text": text, "n": k} for k, text in enumerate(TEXTS)]
    assert [(f.line, f.reason) for f in read_failures(corpus.folder)] == [(8, "nested_too_deep"), (9, "not_json")]
    plain = assay.read(path, text="page", max_failed_share=0.3, workspace=workspace)
    assert plain.fingerprint != corpus.fingerprint and rows(plain)[0]["text"] == PAGES[0]


def test_the_extractor_is_part_of_the_question(tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "a.html").write_text(PAGES[0], encoding="utf-8")
    default, same, other = (
        assay.read(tmp_path / "a.html", extract=extract, workspace=workspace)
        for extract in (None, "resiliparse", "trafilatura")
    )
    assert default.fingerprint == same.fingerprint != other.fingerprint
    assert list(other.manifest.parameters["extract"]) == ["version", "trafilatura", "resiliparse", "fastwarc", "lxml"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"extract": "resilliparse"}, "must be one of resiliparse, trafilatura. Did you mean 'resiliparse'?"),
        ({"extract": "resiliparse", "format": "text"}, "must be left out when files are read as plain text"),
    ],
)
def test_an_extractor_that_cannot_be_is_explained(
    tmp_path: Path, workspace: Workspace, options: dict[str, Any], message: str
) -> None:
    (tmp_path / "a.html").write_text("x")
    with pytest.raises(InvalidParameterError, match=message):
        assay.read(tmp_path / "a.html", workspace=workspace, **options)


def test_a_recipe_names_the_extractor_of_each_source(tmp_path: Path) -> None:
    recipe = Recipe.from_dict(
        {
            "pool": {"read": "*.warc.gz", "extract": "trafilatura"},
            "target": {"read": "*.jsonl"},
            "budget": "1k tokens",
            "arms": {},
        }
    )
    assert recipe.pool.extract == "trafilatura" and recipe.targets["target"].extract is None


def test_html_is_read_as_it_is_when_asked_for(tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "a.html").write_text(PAGES[0], encoding="utf-8")
    assert rows(assay.read(tmp_path / "a.html", format="text", workspace=workspace))[0]["text"] == PAGES[0]


def test_how_files_are_put_together_changes_no_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k, page in enumerate(PAGES):
        (tmp_path / f"{k}.html").write_text(page, encoding="utf-8")
    whole = rows(assay.read(tmp_path / "*.html", workspace=tmp_path / "whole"))
    monkeypatch.setattr(pages, "_BATCH_FILES", 2)
    monkeypatch.setattr("assay.corpus.textfiles._GROUP_BYTES", 100)
    cut = assay.read(tmp_path / "*.html", workspace=tmp_path / "cut")
    assert cut.num_parts > 2 and rows(cut) == whole
