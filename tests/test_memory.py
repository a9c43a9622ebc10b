"""The memory limit: what it says, and that no more work at once than it allows."""

import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import assay
from assay import memory
from assay.corpus.engine import map_parts
from assay.errors import InvalidParameterError

_lock = threading.Lock()
_at_once: list[int] = []
_most: list[int] = []


@pytest.mark.parametrize(
    ("text", "expected"), [("4GB", 4 * 10**9), (" 1.5 gb", 15 * 10**8), ("1200MB", 12 * 10**8), ("1TB", 10**12)]
)
def test_amounts_are_read(text: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_MEMORY", text)
    assert memory.limit() == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lots", "`memory` .='lots'. must be a number with a unit. Write for example '4GB'"),
        ("4", "must be a number with a unit"),
        ("500MB", "`memory` .='500MB'. must be at least 1GB. Change --memory or ASSAY_MEMORY"),
    ],
)
def test_what_cannot_be_is_told(text: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_MEMORY", text)
    with pytest.raises(InvalidParameterError, match=message):
        memory.num_workers()


def test_a_container_with_less_than_the_machine_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASSAY_MEMORY", raising=False)
    (tmp_path / "max").write_text("1500000000\n")
    (tmp_path / "none").write_text("max\n")
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", (str(tmp_path / "none"), str(tmp_path / "max")))
    assert memory.limit() == 1_125_000_000


@pytest.mark.parametrize(
    ("own", "limit"),
    [
        ("0::/slurm/job_7/step_0\n", "two/slurm/job_7/memory.max"),
        ("5:cpu:/x\n4:memory,hugetlb:/slurm/job_7\n0::/\n", "one/slurm/job_7/memory.limit_in_bytes"),
    ],
)
def test_a_job_with_less_than_its_machine_decides(
    own: str, limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm's limits stand in groups inside the machine's."""
    monkeypatch.delenv("ASSAY_MEMORY", raising=False)
    (tmp_path / "own").write_text(own)
    (tmp_path / limit).parent.mkdir(parents=True)
    (tmp_path / limit).write_text("1500000000\n")
    roots = (str(tmp_path / "two/memory.max"), str(tmp_path / "one/memory.limit_in_bytes"))
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", roots)
    monkeypatch.setattr(memory, "_OWN_CGROUPS", str(tmp_path / "own"))
    assert memory.limit() == 1_125_000_000


@pytest.mark.parametrize(("text", "cores", "expected"), [("1GB", 8, 1), ("2GB", 8, 3), ("64GB", 8, 8)])
def test_workers_follow_from_memory_and_cores(
    text: str, cores: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_MEMORY", text)
    monkeypatch.setattr(memory, "_num_cores", lambda: cores)
    assert memory.num_workers() == expected


def _counted(item: int) -> int:
    with _lock:
        _at_once.append(item)
        _most.append(len(_at_once))
    time.sleep(0.05)
    with _lock:
        _at_once.remove(item)
    return item


def test_no_more_work_at_once_than_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_RUNNER", "native")
    for text, expected in (("1GB", 1), ("1.4GB", 2)):
        monkeypatch.setenv("ASSAY_MEMORY", text)
        _most.clear()
        assert list(map_parts(_counted, range(12))) == list(range(12))
        assert 0 < max(_most) <= expected


def test_long_documents_are_scanned_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from assay.corpus import parquet

    path = tmp_path / "long.parquet"
    table = pa.table({"id": [str(k) for k in range(90)], "text": [f"{k} " * 250_000 for k in range(90)]})
    pq.write_table(table, path, row_group_size=90)
    sizes: list[int] = []
    real = parquet._bad_rows

    def seen(batch: pa.RecordBatch, *rest: object) -> list[int]:
        sizes.append(batch.nbytes)
        return real(batch, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(parquet, "_bad_rows", seen)
    corpus = assay.read(path, id="id", workspace=tmp_path / "w")
    assert corpus.num_documents == 90 and max(sizes) <= 40 << 20
