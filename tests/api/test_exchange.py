"""Rows that go from sources to destinations."""

from pathlib import Path

import numpy as np
import pytest

from assay.api.exchange import Exchange
from assay.errors import ArtifactError


def test_every_row_arrives_once_and_in_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    exchange = Exchange(tmp_path, "rows", 4, 5, 2)
    sent: list[tuple[int, int, int]] = []
    for source in range(4):
        batches = []
        for _ in range(source):  # the first source has nothing
            rows = rng.integers(0, 1 << 60, (rng.integers(0, 50), 2)).astype(np.uint64)
            destinations = rng.integers(0, 4, len(rows))  # the last destination gets nothing
            batches.append((rows, destinations))
            sent += [(int(d), source, int(row[0])) for d, row in zip(destinations, rows, strict=True)]
        exchange.send(source, batches)
    for destination in range(5):
        pieces = exchange.receive_each(destination)
        assert exchange.receive(destination).tolist() == np.concatenate(pieces).tolist()
        for source, piece in enumerate(pieces):
            assert piece[:, 0].tolist() == [x for d, s, x in sent if (d, s) == (destination, source)]


def test_what_a_source_has_sent_it_does_not_send_again(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, "rows", 1, 1, 1)
    rows = np.array([[7]], np.uint64)
    assert not exchange.has(0)
    exchange.send(0, [(rows, np.zeros(1, np.int64))])
    assert exchange.has(0)
    exchange.send(0, [(rows + np.uint64(1), np.zeros(1, np.int64))])
    assert exchange.receive(0).tolist() == [[7]]


def test_rows_that_are_gone_are_told(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, "rows", 1, 1, 1)
    exchange.send(0, [(np.arange(9, dtype=np.uint64)[:, np.newaxis], np.zeros(9, np.int64))])
    path = tmp_path / "rows-00000.rows"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ArtifactError, match="is shorter than it was. Delete"):
        exchange.receive(0)


@pytest.mark.parametrize("left", [0, 8, 16, 40, 88])
@pytest.mark.parametrize("ending", ["", "zeros"])
def test_starts_that_were_cut_off_are_told(left: int, ending: str, tmp_path: Path) -> None:
    """As after a loss of power. Without a word, all rows of the source would be missing."""
    exchange = Exchange(tmp_path, "rows", 1, 3, 1)
    exchange.send(0, [(np.arange(9, dtype=np.uint64)[:, np.newaxis], np.arange(9) % 3)] * 3)
    path = tmp_path / "rows-00000.starts"
    content = path.read_bytes()
    path.write_bytes(content[:left] + (bytes(len(content) - left) if ending else b""))
    for destination in range(3):
        with pytest.raises(ArtifactError, match="is shorter than it was. Delete"):
            exchange.receive(destination)
