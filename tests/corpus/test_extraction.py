"""Pages that hang, explode or crash: each is set aside with its reason, and the rest come out as ever."""

import gzip
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.corpus import extraction
from assay.corpus.extraction import EXTRACTORS, LIMITS, Page, extract_pages, extractor_versions
from assay.corpus.page_worker import EXTRACTORS as FUNCTIONS
from assay.corpus.page_worker import nesting_depth, read_page
from assay.errors import MissingExtraError

GOOD = Page(b"<html><body><p>a page like any other</p></body></html>")
HTTP = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def change(**values: float) -> None:
        monkeypatch.setattr(extraction, "LIMITS", LIMITS | values)

    return change


def test_the_table_of_extractors_is_the_worker_s() -> None:
    assert list(FUNCTIONS) == list(EXTRACTORS)


@pytest.mark.parametrize("extract", EXTRACTORS)
def test_results_are_the_library_s_and_in_order(extract: str) -> None:
    pages = [Page(f"<html><body><p>{'text of a page ' * 20}{k}</p></body></html>".encode()) for k in range(200)]
    results = extract_pages(pages, extract)
    assert [r.text for r in results] == [FUNCTIONS[extract](page.data.decode()) for page in pages]
    assert all(r.text is not None and r.text.endswith(str(k)) for k, r in enumerate(results))


@pytest.mark.parametrize("extract", EXTRACTORS)
def test_a_page_without_text_has_empty_text(extract: str) -> None:
    (result,) = extract_pages([Page(b"<html><body><script>1</script></body></html>")], extract)
    assert (result.text, result.reason) == ("", None)


@pytest.mark.parametrize(
    ("page", "reason", "detail"),
    [
        (Page(b"<div>" * 3000 + b"x" + b"</div>" * 3000), "nested_too_deep", "3,000 tags inside one another, of 2,000"),
        (Page(b"<p>" * (6 << 20)), "page_too_large", "more than 16,777,216 bytes"),
        (Page(HTTP + b"<p>" * 10, is_http=True, is_cut=True), "page_too_large", "more than 16,777,216 bytes"),
        (Page(b"\x89PNG\r\n\x1a\n" + bytes(range(32)) * 20), "undecodable", "its charset: not given"),
        (Page(b"x", is_http=True), "bad_response", "no HTTP status line"),
        (Page(HTTP, is_http=True), "no_content", ""),
    ],
)
def test_a_page_beyond_a_limit_is_told_by_the_limit(page: Page, reason: str, detail: str) -> None:
    before, result, after = extract_pages([GOOD, page, GOOD], "resiliparse")
    assert (result.text, result.reason, result.detail) == (None, reason, detail)
    assert before.text == after.text == "a page like any other"


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the system has no limit on work")
def test_a_page_that_takes_too_long_is_set_aside_and_the_others_are_read(limits: Callable[..., None]) -> None:
    limits(max_cpu_s=0.2)
    slow = Page(b"<div>" * 1999 + b"<p>x</p>" * 200_000)  # each of many paragraphs looks at each of its parents
    results = extract_pages([GOOD, slow, GOOD, slow, GOOD], "resiliparse")
    assert [r.reason for r in results] == [None, "page_too_costly", None, "page_too_costly", None]
    assert results[1].detail == "it takes more than 0.2 s"


def test_a_page_that_eats_memory_is_set_aside_and_the_others_are_read(limits: Callable[..., None]) -> None:
    """Unclosed formatting is opened again in every paragraph: memory grows with the square of the page."""
    limits(max_memory_bytes=400 << 20)
    hungry = Page(b"".join(b"<font size=%d><p>" % k for k in range(1900)))
    results = extract_pages([GOOD, hungry, GOOD], "resiliparse")
    assert [r.text for r in results] == ["a page like any other", None, "a page like any other"]
    assert results[1].reason in ("extractor_failed", "page_too_costly")


def test_a_worker_that_died_while_idle_costs_nothing() -> None:
    extract_pages([GOOD], "resiliparse")
    for worker in extraction._Worker._idle:
        os.kill(worker._process.pid, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    assert extract_pages([GOOD], "resiliparse")[0].text == "a page like any other"


def test_an_exception_of_the_extractor_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = Path(extraction._WORKER).read_text(encoding="utf-8")
    broken = tmp_path / "worker.py"
    broken.write_text(
        source.replace(
            "def _resiliparse(html: str) -> str:\n",
            "def _resiliparse(html):\n    1 // len(html[:9999].replace('boom', ''))\n",
        )
    )
    monkeypatch.setattr(extraction, "_WORKER", broken)
    monkeypatch.setattr(extraction._Worker, "_idle", [])
    results = extract_pages([GOOD, Page(b"boom"), GOOD], "resiliparse")
    assert [r.reason for r in results] == [None, "extractor_failed", None]
    assert results[1].detail.startswith("ZeroDivisionError")
    extraction._Worker.stop_idle()


def test_a_missing_package_is_named_with_the_pip_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    message = r"Reading web pages needs .* not installed \(.*nothere.*\). Install them: pip install 'assay\[html\]'"
    with pytest.raises(MissingExtraError, match=message):
        extractor_versions("nothere")
    source = Path(extraction._WORKER).read_text(encoding="utf-8")
    without = tmp_path / "worker.py"
    without.write_text(source.replace("from resiliparse.extract", "from nothere.extract"))
    monkeypatch.setattr(extraction, "_WORKER", without)
    monkeypatch.setattr(extraction._Worker, "_idle", [])
    with pytest.raises(MissingExtraError, match=message):
        extract_pages([GOOD], "resiliparse")


@pytest.mark.parametrize(
    ("html", "depth"),
    [
        ("", 0),
        ("<div><b>x</b></div>", 2),
        ("</div></div><div>", 1),
        ("<ul><li>a<li>b<li>c</ul><br><br><p>one<p>two", 1),
        ("<svg><path d='1'/><path d='2'/></svg>", 2 - 1),
        ("<DIV><Div\nclass=x><dIv>", 3),
        ("a < b and c <d", 0),
    ],
)
def test_nesting_depth_counts_tags_that_stay_open(html: str, depth: int) -> None:
    assert nesting_depth(html, -1) == depth


def test_nesting_depth_is_not_counted_where_there_are_few_tags() -> None:
    assert nesting_depth("<div>" * 10, 10) == 0 and nesting_depth("<div>" * 11, 10) == 11


def test_no_real_page_nests_so_deep(shared: Path) -> None:
    pages = [gzip.decompress(path.read_bytes()) for path in (shared / "raw" / "html").rglob("*.gz")]
    depths = [nesting_depth(page.decode("utf-8", "replace"), -1) for page in pages]
    assert len(depths) == 271 and max(depths) < LIMITS["max_depth"] / 4


FRAGMENTS = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"<p>", b"</div>", b"<table><tr>", b"<![CDATA[", b"<!--", b"&#xD800;", b"&#0;", b"\x00", b"<svg>", b"<a b='"]
    ),
    st.sampled_from(
        [b"\xff\xfe", b"\xef\xbb\xbf", b"\x1b$B", b"<meta charset=utf-16>", b"<meta charset=bogus>", b"\xed\xa0\x80"]
    ),
    st.sampled_from(
        [b"HTTP/1.1 200 OK\r\n", b"Content-Encoding: br\r\n", b"Transfer-Encoding: chunked\r\n", b"\r\n\r\n", HTTP]
    ),
)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    pieces=st.lists(FRAGMENTS, max_size=10),
    is_http=st.booleans(),
    charset=st.sampled_from([None, "latin1", "x", "", "utf-7"]),
)
def test_arbitrary_bytes_give_text_or_a_reason(pieces: list[bytes], is_http: bool, charset: str | None) -> None:
    page = Page(b"".join(pieces), is_http=is_http, charset=charset)
    (result,) = extract_pages([page], "resiliparse")
    assert (result.text is None) == (result.reason is not None)
    assert result.reason not in ("extractor_failed", "page_too_costly")
    assert read_page(page._asdict(), FUNCTIONS["resiliparse"], LIMITS)["text"] == result.text
