"""WARC and WET: every record accounted for, wherever the file is cut and whatever is broken in it."""

import gzip
import io
import shutil
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fastwarc.warc import ArchiveIterator, any_type
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import assay
from assay.artifacts.workspace import Workspace
from assay.corpus import extraction, sharing, warc
from assay.corpus.failures import describe, read_failures
from assay.errors import InputError
from tests.corpus.test_jsonl import rows
from tests.corpus.test_read import tree

PAGE = "<html><head><title>t</title></head><body><main><p>{}</p></main></body></html>"
FUZZ = settings(
    derandomize=True, deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def record(
    kind: str,
    body: bytes,
    *,
    name: str = "",
    media_type: str = "application/http",
    version: bytes = b"1.0",
    **more: str,
) -> bytes:
    fields = {
        "WARC-Type": kind,
        "WARC-Record-ID": f"<urn:uuid:{name}>",
        "WARC-Date": "2024-05-18T01:58:10Z",
        "WARC-Target-URI": f"https://example.org/{name}",
        "Content-Type": media_type,
        "Content-Length": str(len(body)),
        **{key.replace("_", "-"): value for key, value in more.items()},
    }
    lines = "".join(f"{key}: {value}\r\n" for key, value in fields.items() if value)
    return b"WARC/" + version + b"\r\n" + lines.encode() + b"\r\n" + body + b"\r\n\r\n"


def response(text: str, name: str, *, head: str = "Content-Type: text/html; charset=utf-8", status: int = 200) -> bytes:
    page = PAGE.format(text).encode()
    return record("response", f"HTTP/1.1 {status} OK\r\n{head}\r\n\r\n".encode() + page, name=name)


def some_records(num_records: int = 40) -> list[bytes]:
    """Responses of all lengths among records of other kinds; each response says its number."""
    records = [record("warcinfo", b"software: none\r\n", media_type="application/warc-fields", name="info")]
    for k in range(num_records):
        records.append(record("request", b"GET / HTTP/1.1\r\n\r\n", name=f"q{k}"))
        records.append(response(f"page {k} says " + "word " * (k * 37 % 400), f"r{k}"))
    return records


def write(path: Path, records: list[bytes]) -> Path:
    members = [gzip.compress(r, mtime=0) if path.suffix == ".gz" else r for r in records]
    path.write_bytes(b"".join(members))
    return path


def outcome(corpus: assay.Corpus) -> tuple[list[dict[str, Any]], list[Any], dict[str, Any]]:
    return rows(corpus), read_failures(corpus.folder), corpus.manifest.counts


def read_in_ranges(path: Path, folder: Path, range_bytes: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(warc, "RANGE_BYTES", range_bytes)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        return outcome(assay.read(path, max_failed_share=1, workspace=folder))
    except InputError as error:
        return str(error).split("\nThey are kept")[0]


def test_a_page_becomes_a_document_with_what_the_archive_knows_of_it(tmp_path: Path, workspace: Workspace) -> None:
    head = "Content-Type: Text/HTML; charset=iso-8859-1\r\nX-Other: 1"
    body = f"HTTP/1.1 404 Not Found\r\n{head}\r\n\r\n".encode() + PAGE.format("größer").encode("latin-1")
    path = write(tmp_path / "crawl.warc.gz", [response("first", "a"), record("response", body, name="b")])
    corpus = assay.read(path, workspace=workspace)
    assert rows(corpus)[1] == {
        "id": "urn:uuid:b",
        "text": "größer",
        "source": "crawl.warc.gz",
        "url": "https://example.org/b",
        "date": "2024-05-18T01:58:10Z",
        "content_type": "text/html",
        "status": 404,
        "offset": len(gzip.compress(response("first", "a"), mtime=0)),
    }


@pytest.mark.parametrize("suffix", [".warc", ".warc.gz"])
def test_every_record_is_a_document_set_aside_or_counted_as_none(
    tmp_path: Path, workspace: Workspace, suffix: str
) -> None:
    http = b"HTTP/1.1 200 OK\r\nContent-Type: "
    records = [
        record("warcinfo", b"x", media_type="application/warc-fields"),
        record("request", b"GET / HTTP/1.1\r\n\r\n"),
        record("metadata", b"", media_type="application/json"),
        record("revisit", b""),
        record("continuation", b"x"),
        record("fancy", b"x"),
        record("response", b"1.2.3.4", media_type="text/dns"),
        record("response", http + b"image/png\r\n\r\n\x89PNG"),
        record("response", http + b"text/html\r\n\r\n"),
        record("resource", b"body {}", media_type="text/css"),
        record("resource", PAGE.format("люди").encode("cp866"), media_type="text/html; charset=cp866", name="resource"),
        record("conversion", "plain é\n".encode(), media_type="text/plain", name="wet"),
        record("response", b"HTTP/1.1 200 OK\r\n\r\n<!doctype html><p>no type given</p>", name="untyped"),
        record("response", b"HTTP/1.1 200 OK\r\n\r\nGIF89a", name="untyped picture"),
        record("response", http + b"text/css\r\nContent-Encoding: gzip\r\n\r\nnot gzip", name="style"),
        record("response", b"no status line", name="bad"),
        record("conversion", b"\xff", media_type="text/plain", name="not utf8"),
    ]
    corpus = assay.read(write(tmp_path / f"pool{suffix}", records), max_failed_share=0.5, workspace=workspace)
    assert [(row["id"], row["text"]) for row in rows(corpus)] == [
        ("urn:uuid:resource", "люди"),
        ("urn:uuid:wet", "plain é\n"),
        ("urn:uuid:untyped", "no type given"),
    ]
    counts = corpus.manifest.counts
    assert counts["failed"] == {"bad_response": 1, "invalid_utf8": 1}
    assert counts["no_documents"] == {
        **{"continuation": 1, "metadata": 1, "no_content": 1, "not_html": 5, "request": 1},
        **{"revisit": 1, "unknown_type": 1, "warcinfo": 1},
    }
    assert counts["documents"] + 2 + sum(counts["no_documents"].values()) == len(records)
    first = describe(read_failures(corpus.folder)[0])
    assert first.startswith(f"pool{suffix}, byte ") and first.endswith(
        "holds no HTTP response that can be read (no HTTP status line; https://example.org/bad)"
    )


def test_transfer_and_content_encodings_are_undone_where_they_are_real(tmp_path: Path, workspace: Workspace) -> None:
    page = PAGE.format("the text").encode()
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(page), page)
    heads = {
        "chunked": (b"Transfer-Encoding: chunked", chunked),
        "undone": (b"Transfer-Encoding: chunked", page),
        "gzip": (b"Content-Encoding: gzip", gzip.compress(page)),
        "gzip undone": (b"Content-Encoding: gzip", page),
        "brotli undone": (b"Content-Encoding: br", page),
        "both, one undone": (b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked", gzip.compress(page)),
    }
    records = [
        record("response", b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n" + head + b"\r\n\r\n" + body, name=name)
        for name, (head, body) in heads.items()
    ]
    corpus = assay.read(write(tmp_path / "pool.warc", records), workspace=workspace)
    assert [row["text"] for row in rows(corpus)] == ["the text"] * len(heads)


def test_records_without_an_id_are_named_by_file_and_place(tmp_path: Path, workspace: Workspace) -> None:
    nameless = response("one", "x").replace(b"WARC-Record-ID: <urn:uuid:x>\r\n", b"")
    two = gzip.compress(nameless + nameless, mtime=0)
    (tmp_path / "pool.warc.gz").write_bytes(two + gzip.compress(nameless))
    corpus = assay.read(tmp_path / "pool.warc.gz", workspace=workspace)
    assert [row["id"] for row in rows(corpus)] == [
        "pool.warc.gz:0",
        f"pool.warc.gz:0+{len(nameless)}",
        f"pool.warc.gz:{len(two)}",
    ]


def test_an_id_that_came_before_is_set_aside_with_its_place(tmp_path: Path, workspace: Workspace) -> None:
    records = [response("one", "same"), response("two", "other"), response("three", "same")]
    corpus = assay.read(write(tmp_path / "pool.warc", records), max_failed_share=0.5, workspace=workspace)
    assert [row["text"] for row in rows(corpus)] == ["one", "two"]
    (failure,) = read_failures(corpus.folder)
    assert (failure.reason, failure.unit, failure.line) == ("duplicate_id", "byte", len(records[0] + records[1]))


@pytest.mark.parametrize("suffix", [".warc", ".warc.gz"])
@pytest.mark.parametrize("range_bytes", [50, 100, 777, 5000])
def test_where_a_file_is_cut_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, range_bytes: int
) -> None:
    path = write(tmp_path / f"pool{suffix}", some_records())
    whole = read_in_ranges(path, tmp_path / "whole", 1 << 30, monkeypatch)
    assert read_in_ranges(path, tmp_path / "cut", range_bytes, monkeypatch) == whole
    assert whole[2]["failed"] == {} and whole[2]["no_documents"]["warcinfo"] == 1


def test_an_interrupted_read_goes_on_and_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = b"".join(response(f"inner {k}", f"inner{k}") for k in range(20))
    archived = record(
        "response", b"HTTP/1.1 200 OK\r\nContent-Type: application/warc\r\n\r\n\n" + inner, name="archive"
    )
    path = write(tmp_path / "pool.warc", [*some_records(5), archived, *some_records(9)[15:]])
    monkeypatch.setattr(warc, "RANGE_BYTES", 1500)
    monkeypatch.setattr(sharing, "map_parts", lambda work, items: map(work, items))
    whole = assay.read(path, workspace=tmp_path / "whole")
    real, calls = warc.read_range, []

    def failing(source: warc.Source, folder: Path, prefix: str) -> dict[str, Any]:
        calls.append(prefix)
        if len(calls) == stop:
            raise KeyboardInterrupt("as from a person")
        return real(source, folder, prefix)

    monkeypatch.setattr(warc, "read_range", failing)
    for stop in range(2, 100):
        calls.clear()
        try:
            assay.read(path, workspace=tmp_path / f"cut{stop}")
            break
        except KeyboardInterrupt:
            resumed = assay.read(path, workspace=tmp_path / f"cut{stop}")
            assert tree(resumed.folder) == tree(whole.folder)
    assert len(calls) > len(warc.cut(path)), "some range was read again, as it was cut wrongly"


def stored(content: bytes) -> bytes:
    """A gzip member that holds `content` as it is, as happens to what cannot be compressed."""
    packer = zlib.compressobj(0, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


@pytest.mark.parametrize("suffix", [".warc", ".warc.gz"])
def test_an_archive_inside_an_archive_is_not_taken_for_its_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """Cuts fall among the records of the inner archive, which look real; only the order of the outer ones tells."""
    inner = [response(f"inner {k}", f"inner{k}") for k in range(30)]
    content = b"".join(stored(r) if suffix.endswith("gz") else r for r in inner)
    archived = b"HTTP/1.1 200 OK\r\nContent-Type: application/warc\r\n\r\n\n" + content
    records = [response("before", "a"), record("response", archived, name="archive"), response("after", "b")]
    path = tmp_path / f"pool{suffix}"
    path.write_bytes(b"".join(stored(r) if suffix.endswith("gz") else r for r in records))
    for range_bytes in (300, 1000, 3000):
        found, failures, counts = read_in_ranges(path, tmp_path / "w", range_bytes, monkeypatch)
        assert [row["text"] for row in found] == ["before", "after"]
        assert failures == [] and counts["no_documents"] == {"not_html": 1}


@pytest.mark.parametrize("name", ["whole.warc.gz", "blocks.warc.gz"])
def test_gzip_members_need_not_be_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """As `gzip pool.warc` makes it, or tools that compress blocks of equal size."""
    content = b"".join(some_records())
    size = len(content) if name.startswith("whole") else 1000
    blocks = [gzip.compress(content[k : k + size]) for k in range(0, len(content), size)]
    (tmp_path / name).write_bytes(b"".join(blocks) + gzip.compress(b"") + bytes(100))
    for range_bytes in (1 << 30, 2000):
        found, failures, counts = read_in_ranges(tmp_path / name, tmp_path / "w", range_bytes, monkeypatch)
        assert [row["id"] for row in found] == [f"urn:uuid:r{k}" for k in range(40)]
        assert failures == [] and counts["no_documents"] == {"request": 40, "warcinfo": 1}


@pytest.mark.parametrize("suffix", [".warc", ".warc.gz"])
def test_an_archive_that_breaks_off_gives_all_but_its_last_record(
    tmp_path: Path, workspace: Workspace, suffix: str
) -> None:
    path = write(tmp_path / f"pool{suffix}", some_records(10))
    last = len(write(tmp_path / f"last{suffix}", [some_records(10)[-1]]).read_bytes())
    (tmp_path / f"last{suffix}").unlink()
    path.write_bytes(path.read_bytes()[: -last // 2])
    corpus = assay.read(path, max_failed_share=0.5, workspace=workspace)
    assert len(rows(corpus)) == 9
    (failure,) = read_failures(corpus.folder)
    assert failure.reason == "truncated_record" and failure.raw.startswith(b"WARC/1.0")


@FUZZ
@given(which=st.integers(0, 80), at=st.floats(0, 1), flip=st.integers(1, 255))
def test_a_damaged_gzip_member_costs_one_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: int, at: float, flip: int
) -> None:
    members = [bytearray(gzip.compress(r, mtime=0)) for r in some_records()]
    place = 10 + int(at * (len(members[which]) - 11))  # behind the header, whose time and system do not matter
    members[which][place] ^= flip
    path = tmp_path / "pool.warc.gz"
    path.write_bytes(b"".join(members))
    found, failures, counts = read_in_ranges(path, tmp_path / "w", 1 << 30, monkeypatch)
    assert [f.reason for f in failures] in (["damaged_record"], ["truncated_record"])
    assert failures[0].line == sum(map(len, members[:which]))
    assert len(found) + sum(counts["no_documents"].values()) == len(members) - 1
    assert read_in_ranges(path, tmp_path / "w", 2000, monkeypatch) == (found, failures, counts)


@FUZZ
@given(
    suffix=st.sampled_from([".warc", ".warc.gz"]),
    which=st.integers(1, 79),
    at=st.floats(0, 0.9),
    size=st.integers(-30, 30).filter(lambda size: not 0 <= size <= 4),  # so few are taken from the line ends
)
def test_a_record_with_bytes_missing_or_added_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, which: int, at: float, size: int
) -> None:
    records = [response(f"page {k} " + "word " * (k % 50), f"r{k}") for k in range(81)]
    head = records[which].index(b"HTTP/1.1")
    start = head + int(at * (len(records[which]) - head))
    records[which] = records[which][:start] + b"x" * -size + records[which][start + max(0, size) :]
    path = write(tmp_path / f"pool{suffix}", records)
    found, failures, counts = read_in_ranges(path, tmp_path / "w", 1 << 30, monkeypatch)
    assert [row["id"] for row in found] == [f"urn:uuid:r{k}" for k in range(81) if k != which]
    before = write(tmp_path / f"before{suffix}", records[:which]).stat().st_size
    assert [(f.reason, f.line) for f in failures] == [("damaged_record", before)]
    assert read_in_ranges(path, tmp_path / "w", 1500, monkeypatch) == (found, failures, counts)


PIECES = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([b"WARC/1.0\r\n", b"WARC/", b"\r\n\r\n", b"Content-Length: 5\r\n", b"Content-Length: 99999\r\n"]),
    st.sampled_from([b"\x1f\x8b\x08\x00", gzip.compress(b"WARC/1.0\r\nx"), gzip.compress(b"none"), bytes(9)]),
    st.sampled_from([response("good", "g"), gzip.compress(response("good", "h")), record("request", b"x")]),
)


@settings(FUZZ, max_examples=100)
@given(pieces=st.lists(PIECES, min_size=1, max_size=12), size=st.integers(20, 400))
def test_arbitrary_bytes_are_read_to_the_end_in_the_same_way_however_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pieces: list[bytes], size: int
) -> None:
    path = tmp_path / "pool.warc"
    path.write_bytes(b"".join(pieces) or b"x")
    whole = read_in_ranges(path, tmp_path / "w", 1 << 30, monkeypatch)
    assert read_in_ranges(path, tmp_path / "w", size, monkeypatch) == whole
    if pieces[0].startswith(b"WARC/1.0\r\nWARC-Type: response") and len(pieces) == 1:
        assert [row["text"] for row in whole[0]] == ["good"]


def test_a_record_that_inflates_without_end_is_set_aside(tmp_path: Path, workspace: Workspace) -> None:
    bomb = record("response", b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + b"<p>" * (20 << 20), name="bomb")
    inside = gzip.compress(gzip.compress(bytes(256 << 20), 9, mtime=0), 9, mtime=0)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n"
    twice = record("response", head + gzip.decompress(inside), name="inside")
    path = write(tmp_path / "pool.warc.gz", [bomb, twice, response("after", "a")])
    corpus = assay.read(path, max_failed_share=0.7, workspace=workspace)
    assert [row["text"] for row in rows(corpus)] == ["after"]
    assert [(f.reason, f.detail) for f in read_failures(corpus.folder)] == [
        ("page_too_large", f"more than 16,777,216 bytes; https://example.org/{name}") for name in ("bomb", "inside")
    ]


def test_versions_without_records_are_passed_over_at_once(tmp_path: Path) -> None:
    path = tmp_path / "log.warc"
    path.write_bytes(b"?" + b"WARC/1.0\n" * 30_000 + some_records(1)[0])
    with open(path, "rb") as file:
        started = time.process_time()
        assert warc._Stream(file).find_start(1) == 1 + 9 * 30_000
        assert time.process_time() - started < 3


def test_an_archive_without_pages_says_what_it_holds(tmp_path: Path, workspace: Workspace) -> None:
    path = write(tmp_path / "pool.warc", [record("request", b"x"), record("request", b"x"), record("metadata", b"x")])
    with pytest.raises(InputError, match=r"no record is a page \(2 request, 1 metadata\)"):
        assay.read(path, workspace=workspace)


def test_real_archives_have_the_records_that_fastwarc_finds(shared: Path, workspace: Workspace) -> None:
    paths = [p for p in sorted((shared / "raw" / "warc").rglob("*.warc*")) if ".wat" not in p.name]
    assert len(paths) == 13
    for path in paths:
        expected = Counter(str(r.record_type).split(".")[-1] for r in ArchiveIterator(str(path), record_types=any_type))
        corpus = assay.read(path, workspace=workspace)
        counts = corpus.manifest.counts
        others = counts["no_documents"]
        assert counts["failed"] == {} and all(row["url"] for row in rows(corpus, ["url"]))
        assert counts["documents"] + sum(others.values()) == expected.total()
        assert {k: others.get(k, 0) for k in ("request", "warcinfo", "metadata")} == {
            k: expected[k] for k in ("request", "warcinfo", "metadata")
        }


@pytest.mark.parametrize("name", ["whirlwind.warc", "IAH-20080430204825-00000-blackbook-truncated.warc"])
def test_a_real_archive_gives_the_same_zipped_or_not(shared: Path, tmp_path: Path, name: str) -> None:
    (path,) = (shared / "raw" / "warc").rglob(name)
    plain, zipped = (rows(assay.read(p, workspace=tmp_path)) for p in (path, path.with_name(f"{name}.gz")))
    assert [row["text"] for row in plain] == [row["text"] for row in zipped] and plain[0]["status"] == 200


def test_a_real_archive_is_cut_anywhere(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in [*(shared / "raw" / "warc" / "dolma").glob("*.gz"), shared / "raw" / "warc" / "daft" / "example.warc"]:
        whole = read_in_ranges(path, tmp_path / "w", 1 << 30, monkeypatch)
        assert read_in_ranges(path, tmp_path / "w", 9_999, monkeypatch) == whole


def test_text_of_a_wet_file_is_taken_as_it_is(shared: Path, workspace: Workspace) -> None:
    (path,) = (shared / "raw" / "warc").rglob("*.wet.gz")
    (document,) = rows(assay.read(path, workspace=workspace))
    (expected,) = [
        r.reader.read() for r in ArchiveIterator(io.BytesIO(path.read_bytes())) if "conversion" in str(r.record_type)
    ]
    assert document["text"] == expected.decode() and document["content_type"] == "text/plain"
    assert extraction.LIMITS["max_page_bytes"] > len(expected)
