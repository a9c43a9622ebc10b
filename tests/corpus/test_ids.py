"""Ids that came before."""

from pathlib import Path

import numpy as np
import pytest

from assay import read
from assay.artifacts.workspace import Workspace
from assay.corpus import ids
from tests.conftest import write_jsonl


@pytest.mark.parametrize("range_bytes", [1 << 20, 4000, 16])  # one range, several, more than there are documents
def test_rows_whose_id_came_before_are_those_that_a_set_finds(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, range_bytes: int
) -> None:
    rng = np.random.default_rng(5)
    seen: set[str] = set()
    expected: list[str] = []
    names = [[f"id-{k}" for k in rng.integers(0, 900, size)] for size in (400, 1, 300)]
    for k, part in enumerate(names):
        for row, name in enumerate(part):
            if name in seen:
                expected.append(f"{k}:{row}")
            seen.add(name)
        write_jsonl(tmp_path / f"{k}.jsonl", [{"id": n, "text": f"{k}:{row}"} for row, n in enumerate(part)])
    monkeypatch.setattr(ids, "_RANGE_BYTES", range_bytes)
    corpus = read(tmp_path / "*.jsonl", max_failed_share=1, workspace=workspace)
    kept = [text for k in range(corpus.num_parts) for text in corpus.table(k, ["text"])["text"].to_pylist()]
    everything = [f"{k}:{row}" for k, part in enumerate(names) for row in range(len(part))]
    assert kept == [place for place in everything if place not in expected]
    assert corpus.manifest.counts["failed"] == {"duplicate_id": len(expected)}
    assert not list(corpus.folder.glob(".*"))


def test_hashes_at_the_ends_of_their_ranges_are_found(tmp_path: Path) -> None:
    ends = np.array([0, 1, 2**63 - 1, 2**63, 2**64 - 1], np.uint64)
    for part in range(2):
        np.save(tmp_path / f"part-{part:05d}.npy", np.stack((ends, np.arange(5, dtype=np.uint64))))
    for num_ranges in (1, 2, 3, 7):
        found = np.concatenate([ids._doubled(2, tmp_path, num_ranges, number) for number in range(num_ranges)], axis=1)
        assert found.tolist() == [[1] * 5, [0, 1, 2, 3, 4]]
