"""An S3 server on loopback (moto's) with a door before it, at which requests can be answered wrongly."""

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.test import run_wsgi_app

from assay.artifacts.remote import RemotePath

KEY, SECRET = "AKIAPLANTEDKEY", "planted/secret+key"
CUT = "cut"
ERRORS = {
    403: "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>",
    500: "<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>",
    503: "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>",
}


class _Silent(WSGIRequestHandler):
    def log(self, *args: Any, **options: Any) -> None:
        pass


class Server:
    """fault: asked for each request (method, path); gives a status to answer with, CUT to break off half-way, or None.

    requests: (method, path, query) of all that came. num_bytes: of the bodies that went.
    """

    def __init__(self) -> None:
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Silent)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.fault: Callable[[str, str], int | str | None] | None = None
        self.requests: list[tuple[str, str, str]] = []
        self.num_bytes = 0
        self._buckets = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def make_bucket(self) -> RemotePath:
        self._buckets += 1
        name = f"bucket-{self._buckets}"
        urlopen(Request(f"{self.url}/{name}", method="PUT")).close()
        return RemotePath(f"s3://{name}")

    @contextmanager
    def failing(self, fault: Callable[[str, str], int | str | None]) -> Iterator[None]:
        self.fault = fault
        try:
            yield
        finally:
            self.fault = None

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Any:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        self.requests.append((method, path, environ["QUERY_STRING"]))
        fault = self.fault(method, path) if self.fault is not None else None
        if isinstance(fault, int):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response(f"{fault} fault", [("Content-Type", "application/xml")])
            return [b"" if method == "HEAD" else ERRORS[fault].encode()]
        body, status, headers = run_wsgi_app(self._app, environ, buffered=True)
        start_response(status, list(headers))
        whole = b"".join(body)
        self.num_bytes += len(whole)
        return [whole[: len(whole) // 2] if fault == CUT else whole]


def upload_folder(folder: Path, to: RemotePath) -> None:
    """Puts every file below a local folder at the same place below an address."""
    for path in folder.rglob("*"):
        if path.is_file():
            (to / path.relative_to(folder).as_posix()).upload(path)


def content(folder: Path | RemotePath) -> dict[str, bytes]:
    """Relative path -> bytes of every file below a folder."""
    root = str(folder) + "/"
    return {str(p).removeprefix(root): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
