"""Text of web pages, from worker processes: the pages go in, their text or the reason why there is none comes out.

Limits are in bytes and depth, which say the same everywhere; CPU seconds and memory are the last resort, for a page
that keeps within those and still explodes. A page that kills its worker is set aside, another worker takes the rest.
"""

import atexit
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from assay.artifacts.cost import count_core
from assay.errors import MissingExtraError

VERSION = 1  # of how pages become text, beside the versions of the packages that do it
EXTRACTORS = ("resiliparse", "trafilatura")
DEFAULT_EXTRACTOR = "resiliparse"
MAX_PAGE_BYTES = 16 << 20
LIMITS = {
    "max_page_bytes": MAX_PAGE_BYTES,
    "max_depth": 2000,  # browsers stop at 512; the deepest of 271 real pages has 290
    "max_cpu_s": 60,  # 16 MB of paragraphs inside 1,999 tags take longer, no real page takes a second
    "max_memory_bytes": 4 << 30,
}
HTML_TYPES = ("text/html", "application/xhtml+xml")
NO_DOCUMENT = ("not_html", "no_content")  # reasons why a page is none and nothing is wrong with it
BATCH_PAGES = 64
BATCH_BYTES = 4 << 20
_MISSING = "Reading web pages needs packages that are not installed ({}). Install them: pip install 'assay[html]'"
_WORKER = Path(__file__).with_name("page_worker.py")


def extractor_versions(extract: str) -> dict[str, str]:
    """The packages that decide what text a page gives, with their versions.

    Raises:
        MissingExtraError: one of them is not installed.
    """
    names = dict.fromkeys((extract, "resiliparse", "fastwarc", *(("lxml",) if extract == "trafilatura" else ())))
    try:
        return {name: version(name) for name in names}
    except PackageNotFoundError as error:
        raise MissingExtraError(_MISSING.format(error.name)) from None


class Page(NamedTuple):
    """A page to read: HTML, or a whole HTTP response. `charset` is what the sender said; `is_cut`: it was longer."""

    data: bytes
    is_http: bool = False
    is_cut: bool = False
    charset: str | None = None


class Extracted(NamedTuple):
    """What became of a page: `text`, or None with a `reason` and a `detail`."""

    text: str | None
    reason: str | None
    detail: str
    content_type: str | None = None
    status: int | None = None


def extract_pages(pages: Sequence[Page], extract: str) -> list[Extracted]:
    """What became of each page, in order. Takes an idle worker, or starts one.

    Raises:
        MissingExtraError: the extra `html` is not installed.
    """
    results: list[Extracted] = []
    is_retry = False
    while len(results) < len(pages):
        batch = _next_batch(pages, len(results))
        worker = _Worker.take(fresh=is_retry)
        try:
            answers = worker.answer(batch, extract)
        except BaseException:
            worker.stop(at_once=True)
            raise
        results += answers
        if len(answers) == len(batch):
            worker.give_back()
            is_retry = False
            continue
        code, message = worker.stop()
        is_limit = hasattr(signal, "SIGPROF") and code == -signal.SIGPROF
        if is_limit:
            results.append(Extracted(None, "page_too_costly", f"it takes more than {LIMITS['max_cpu_s']} s"))
        elif is_retry and not answers:
            results.append(Extracted(None, "extractor_failed", message or f"the extractor ended with {code}"))
        # What earlier pages left in the process may be to blame, so the page has another try in a new one.
        is_retry = not is_limit and not (is_retry and not answers)
    return results


def _next_batch(pages: Sequence[Page], start: int) -> Sequence[Page]:
    size, end = 0, start
    while end < len(pages) and end - start < BATCH_PAGES and size < BATCH_BYTES:
        size += len(pages[end].data)
        end += 1
    return pages[start:end]


class _Worker:
    """A process that reads pages. Those not in use wait in a list; they end with this process, whose pipe they read."""

    _idle: "list[_Worker]" = []  # noqa: RUF012 (shared on purpose)
    _lock = threading.Lock()

    def __init__(self) -> None:
        # -P: the folder of the script has files that are called as modules of the standard library are.
        command = [sys.executable, "-P", str(_WORKER)]
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (closed by stop)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            start_new_session=True,  # an interruption from the keyboard is not for it
        )

    @classmethod
    def take(cls, fresh: bool) -> "_Worker":
        """An idle worker, or a new one."""
        with cls._lock:
            if cls._idle and not fresh:
                return cls._idle.pop()
        return cls()

    def give_back(self) -> None:
        """Leaves the worker to whoever needs one next."""
        with self._lock:
            self._idle.append(self)

    @classmethod
    def stop_idle(cls) -> None:
        """Ends all that wait."""
        with cls._lock:
            while cls._idle:
                cls._idle.pop().stop()

    def answer(self, pages: Sequence[Page], extract: str) -> list[Extracted]:
        """Results of the first pages: of all, or of those before the one that ended the process."""
        request = {"extract": extract, "limits": LIMITS, "pages": [page._asdict() for page in pages]}
        content = msgspec.msgpack.encode(request)
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(struct.pack("<I", len(content)) + content)
            self._process.stdin.flush()
        except BrokenPipeError:
            return []
        results: list[Extracted] = []
        while len(results) < len(pages) and (read := self._read()) is not None:
            answer, core_seconds = read
            count_core(core_seconds)
            if "missing" in answer:
                raise MissingExtraError(_MISSING.format(answer["missing"]))
            results.append(Extracted(**answer))
        return results

    def _read(self) -> tuple[dict[str, Any], float] | None:
        stdout = self._process.stdout
        assert stdout is not None
        header = stdout.read(4)
        size = struct.unpack("<I", header)[0] if len(header) == 4 else 0
        content = stdout.read(size)
        return msgspec.msgpack.decode(content) if size and len(content) == size else None

    def stop(self, at_once: bool = False) -> tuple[int, str]:
        """Ends the process, if it has not ended; its exit code (negative for a signal) and the last line it said."""
        if at_once:
            self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()
        code = self._process.wait()
        with self._said:
            self._said.seek(max(0, self._said.seek(0, 2) - 1000))
            lines = self._said.read().decode("utf-8", "replace").strip().splitlines()
        return code, lines[-1] if lines else ""


atexit.register(_Worker.stop_idle)
