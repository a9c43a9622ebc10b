"""Pages in, main text out: the program of a worker process, and the only file that knows the `html` extra.

It runs in a process of its own because the libraries hold Python's lock while they work, so that threads would share
one core, and because a page may make them run for hours, eat all memory or crash. Such a page takes this process with
it and nothing else. It is run by its path and imports nothing of Assay, which would take it a second.

On its input: a length (4 bytes, little-endian) and so many bytes of MessagePack, {extract, limits, pages}. On its
output, page by page, the same with [{text, reason, detail, content_type, status}, core seconds]; `reason` is None for
a document.
"""

import io
import os
import re
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import msgspec

_WARC_HEAD = b"WARC/1.0\r\nWARC-Type: response\r\nContent-Type: application/http\r\nContent-Length: %d\r\n\r\n"
_HTML_TYPES = ("text/html", "application/xhtml+xml")
_LOOKS_LIKE_HTML = re.compile(rb"<(?:!doctype\s+html|html|head|body|title|meta)\b", re.I)
_MARKS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
# A page that could be read so far as to say that it is UTF-16 is not.
_DECLARATION = re.compile(
    rb"""<(?:meta\b[^>]*?\bcharset|\?xml\b[^>]*?\bencoding)\s*=\s*["']?\s*([\w.:-]+)""", re.I | re.A
)
_DECLARED_WITHIN = 4096
_DETECTED_WITHIN = 1 << 17
_REPLACEMENT = "\ufffd"
_NOT_ASCII = re.compile("[^\x00-\x7f]")
_CONTROL = bytes([*range(0x09), *range(0x0E, 0x1B), *range(0x1C, 0x20)])
_MAX_BROKEN_SHARE = 0.1  # of the characters beyond ASCII; a wrong encoding breaks nearly all of them, a slip few
_MAX_CONTROL_SHARE = 0.01  # of all bytes; text has none, a picture sent as text/html many
_MAX_LATIN_SHARE = 0.25  # of letters beyond ASCII in a language of Western Europe; Serbian in Cyrillic has 80 %
# Tags that stay open until they are closed: not those that are always empty, whose end may be left out, or that close
# themselves, as in SVG.
_NESTING_TAG = re.compile(
    r"<(/?)(?!(?:area|base|br|col|embed|hr|img|input|link|meta|param|source|track|wbr|"
    r"p|li|d[td]|t[drh]|tbody|thead|tfoot|colgroup|option|optgroup|rt|rp)\b)[a-z][^<>]*?(/?)>",
    re.I,
)


def main(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answers requests until there are none. Each answer leaves at once, so the one missing tells the deadly page."""
    limits: dict[str, Any] = {}
    while header := requests.read(4):
        request = msgspec.msgpack.decode(requests.read(struct.unpack("<I", header)[0]))
        if limits != request["limits"]:
            limits = request["limits"]
            _limit_memory(limits["max_memory_bytes"])
        for page in request["pages"]:
            _limit_time(limits["max_cpu_s"])
            before = time.process_time()
            result = _answer(page, request["extract"], limits)
            answer = msgspec.msgpack.encode([result, time.process_time() - before])
            _limit_time(0)
            answers.write(struct.pack("<I", len(answer)) + answer)
            answers.flush()


def _answer(page: dict[str, Any], extract: str, limits: dict[str, Any]) -> dict[str, Any]:
    try:
        return read_page(page, EXTRACTORS[extract], limits)
    except ImportError as error:
        return {"missing": str(error)}
    except MemoryError:
        return _aside("page_too_costly", f"it takes more than {limits['max_memory_bytes'] >> 20:,} MB of memory")


def read_page(page: dict[str, Any], extract: Callable[[str], str], limits: dict[str, Any]) -> dict[str, Any]:
    """The text of one page {data, is_http, is_cut, charset}, or the reason why there is none."""
    data, charset, answer = page["data"], page["charset"], {"content_type": None, "status": None}
    if page["is_http"]:
        try:
            answer, charset, data = open_response(data, limits["max_page_bytes"])
        except OSError as error:
            return _aside("bad_response", str(error))
        if not _is_html(answer["content_type"], data):
            return answer | _aside("not_html", "")
        if not data and not page["is_cut"]:
            return answer | _aside("no_content", "")
    if page["is_cut"] or len(data) > limits["max_page_bytes"]:
        return answer | _aside("page_too_large", f"more than {limits['max_page_bytes']:,} bytes")
    html = decode(data, charset)
    if html is None:
        return answer | _aside("undecodable", f"its charset: {charset or 'not given'}")
    depth = nesting_depth(html, limits["max_depth"])
    if depth > limits["max_depth"]:
        return answer | _aside("nested_too_deep", f"{depth:,} tags inside one another, of {limits['max_depth']:,}")
    return answer | {"text": extract(html), "reason": None, "detail": ""}


def open_response(message: bytes, max_bytes: int) -> tuple[dict[str, Any], str | None, bytes]:
    """({content_type, status}, charset, at most max_bytes + 1 bytes of the body) of an HTTP response.

    Transfer and content encodings are undone where they are real; crawlers often keep the header of one they undid.
    The body of what says that it is no HTML is left alone, and out.

    Raises:
        OSError: no status line, or a body that is not encoded as the header says.
    """
    from fastwarc.warc import ArchiveIterator

    record = _WARC_HEAD % len(message) + message
    for decoding in ("all", "content", "transfer", "none"):
        response = next(iter(ArchiveIterator(io.BytesIO(record), parse_http=True, auto_decode=decoding)))
        headers = response.http_headers
        if headers is None or headers.status_code is None:
            raise OSError("no HTTP status line")
        content_type = response.http_content_type
        answer = {"content_type": content_type.lower() if content_type else None, "status": headers.status_code}
        if content_type and answer["content_type"] not in _HTML_TYPES:
            return answer, None, b""
        try:
            body = response.reader.read(max_bytes + 1)
        except OSError:
            if decoding == "none":
                raise
            continue
        if decoding != "none" or body.lstrip()[:1] == b"<":
            break
        raise OSError("its body is not encoded as its header says")
    return answer, response.http_charset, body


def decode(data: bytes, charset: str | None) -> str | None:
    """Text of a page, or None where no encoding fits.

    Tried in turn: byte order mark, `charset` of the HTTP header, the page's own meta tag, UTF-8, what the bytes look
    like (uchardet), and Windows-1252 where most characters are ASCII. One fits when at most a tenth of the characters
    beyond ASCII are broken in it.
    """
    for mark, marked in _MARKS.items():
        if data.startswith(mark):
            return _fitting(data[len(mark) :], marked)
    for name in _names(data, charset):
        text = _fitting(data, name) if name else None
        if text is not None:
            return text
    text = _fitting(data, "cp1252")
    return text if text is not None and len(_NOT_ASCII.findall(text)) <= _MAX_LATIN_SHARE * len(text) else None


def _names(data: bytes, charset: str | None) -> Iterator[str | None]:
    """Encodings to try, in turn."""
    from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

    if charset:
        yield map_encoding_to_html5(charset, fallback_utf8=False)
    if found := _DECLARATION.search(data[:_DECLARED_WITHIN]):
        name = found[1].decode("ascii").lower()
        yield map_encoding_to_html5("utf-8" if name.startswith("utf-16") else name, fallback_utf8=False)
    if b"\x1b" not in data:  # the seven-bit encodings have escapes, and are ASCII to UTF-8
        yield "utf-8"
    yield detect_encoding(data, max_len=_DETECTED_WITHIN)


def _fitting(data: bytes, encoding: str) -> str | None:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = data.decode(encoding, "replace")
        num_broken = text.count(_REPLACEMENT) - data.count(_REPLACEMENT.encode())
        if num_broken > _MAX_BROKEN_SHARE * len(_NOT_ASCII.findall(text)):
            return None
    plain = text.encode("utf-8", "replace") if encoding.startswith("utf-16") else data
    return text if len(plain) - len(plain.translate(None, _CONTROL)) <= _MAX_CONTROL_SHARE * len(plain) else None


def nesting_depth(html: str, enough: int) -> int:
    """The most tags that are open at once, by one look over them; 0 where there are fewer than `enough` tags at all."""
    if html.count("<") - html.count("</") <= enough:
        return 0
    depth = deepest = 0
    for closes, is_empty in _NESTING_TAG.findall(html):
        if closes:
            depth -= depth > 0
        elif not is_empty:
            depth += 1
            deepest = max(deepest, depth)
    return deepest


def _resiliparse(html: str) -> str:
    from resiliparse.extract.html2text import extract_plain_text

    # Without alternative texts and comments: token F1 against the article 0.930 instead of 0.898 (182 news pages), and
    # 0.850 instead of 0.834 on strings that must stay or go (90 pages); both sets are those named in docs/reading.md.
    return extract_plain_text(html, main_content=True, alt_texts=False, comments=False)


def _trafilatura(html: str) -> str:
    from trafilatura import extract

    return extract(html) or ""


EXTRACTORS = {"resiliparse": _resiliparse, "trafilatura": _trafilatura}


def _is_html(content_type: str | None, body: bytes) -> bool:
    return content_type in _HTML_TYPES if content_type else _LOOKS_LIKE_HTML.search(body[:1024]) is not None


def _aside(reason: str, detail: str) -> dict[str, Any]:
    return {"text": None, "reason": reason, "detail": detail}


def _limit_time(seconds: float) -> None:
    """Lets the system end this process after so much work on a page. Windows has no such limit."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _limit_memory(num_bytes: int) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (num_bytes, resource.getrlimit(resource.RLIMIT_AS)[1]))


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get among the answers
    main(sys.stdin.buffer, answers)
