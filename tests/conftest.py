"""Fixtures: small corpora made from seeded words, and the shared data where a checkout has it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import settings

from assay import read
from assay.artifacts.kinds import Corpus
from assay.artifacts.workspace import Workspace
from assay.errors import MissingExtraError
from assay.mixtures import extra

settings.register_profile("repeatable", derandomize=True, deadline=None)  # the same examples in every run
settings.load_profile("repeatable")

in_this_process = pytest.mark.skipif(
    os.environ.get("ASSAY_RUNNER", "native") != "native",
    reason="changes a function of this process, and on a cluster others do the work",
)

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real text and published tables; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the real data in {SHARED}, which this checkout does not have")
    return SHARED


@pytest.fixture(scope="session")
def trees() -> None:
    """Skips where regression trees cannot be had: lightgbm wants the system's libgomp, which not all machines have."""
    try:
        extra.require("This test")
    except MissingExtraError as error:
        pytest.skip(str(error))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Any]:
    from tests.s3 import Server  # here, because moto takes half a second to import

    server = Server()
    yield server
    server.stop()


@pytest.fixture
def s3(s3_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The S3 server, with everything in the environment that leads to it."""
    from tests.s3 import KEY, SECRET

    s3_server.requests.clear()
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_PROFILE", "ASSAY_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.url)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("ASSAY_SCRATCH", str(tmp_path / "scratch"))
    return s3_server


@cache
def ended_process() -> str:
    """The name of a process of this host that has ended."""
    command = [sys.executable, "-c", "from assay.artifacts.process import own_name; print(own_name())"]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Objects are tried for twice instead of ten times."""
    from assay.artifacts import remote

    monkeypatch.setattr(remote, "_ATTEMPTS", 2)
    remote._connect.cache_clear()
    yield
    remote._connect.cache_clear()


def words(num_words: int, seed: int, vocabulary: int = 2000, topic: str = "w") -> list[str]:
    """Words with Zipf frequencies, each naming its topic, so that topics can be told apart."""
    ranks = np.random.default_rng(seed).zipf(1.3, size=4 * num_words)
    ranks = ranks[ranks <= vocabulary][:num_words]
    return [f"{topic}{rank}" for rank in ranks]


def make_documents(num_documents: int, *, seed: int = 0, topic: str = "w", length: int = 120) -> list[dict[str, str]]:
    """Documents of a topic's words, of lengths around `length` words."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(max(2, length // 2), length * 3 // 2, num_documents)
    stream = iter(words(int(sizes.sum()), seed, topic=topic))
    texts = [" ".join(next(stream) for _ in range(size)) for size in sizes]
    return [{"id": f"{topic}-{k}", "text": text, "source": topic} for k, text in enumerate(texts)]


def make_prose(
    num_documents: int, *, seed: int = 0, topic: str = "w", length: int = 120, vocabulary: int = 400
) -> list[dict[str, str]]:
    """Documents in which the next word depends on the last: shuffling their words destroys what can be learned.

    All documents of a topic share its grammar (six successors a word); `seed` draws the documents.
    """
    successors = np.random.default_rng(sum(map(ord, topic))).integers(0, vocabulary, (vocabulary, 6))
    rng = np.random.default_rng(seed)
    documents = []
    for k in range(num_documents):
        word, chain = int(rng.integers(vocabulary)), []
        for step in rng.integers(0, 6, int(rng.integers(length // 2, length * 3 // 2))):
            chain.append(f"{topic}{word}")
            word = int(successors[word, step])
        documents.append({"id": f"{topic}-{seed}-{k}", "text": " ".join(chain), "source": topic})
    return documents


def write_jsonl(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def write_parquet(path: Path, rows: list[dict[str, object]], row_group_size: int = 100) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=row_group_size)
    return path


@pytest.fixture
def make_corpus(tmp_path: Path, workspace: Workspace) -> Callable[..., Corpus]:
    """make_corpus(rows, name) -> Corpus read from a JSONL file in its own workspace."""

    def make(rows: list[dict[str, object]], name: str = "pool") -> Corpus:
        return read(write_jsonl(tmp_path / f"{name}.jsonl", rows), name=name, workspace=workspace)

    return make
