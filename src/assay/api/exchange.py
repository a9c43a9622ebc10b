"""Rows from every source to every destination, by way of files: the shuffle of groupings.

A source writes one file, its rows sorted by destination batch by batch, and beside it where each destination's rows
start. Nobody holds more than a batch, or all rows of one destination. A source is whole or not there, so that an
interrupted run, or another process, goes on with the sources that are missing. What a machine that lost its power has
cut off, or left full of zeros, is told.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from assay.artifacts.cost import count_read
from assay.artifacts.manifest import atomic_path
from assay.errors import ArtifactError
from assay.kernels.grouping import by_partition, take_records

_END_WORDS = 2


class Exchange(NamedTuple):
    """Rows [rows, width] on their way through the files `name-*` of `folder`."""

    folder: Path
    name: str
    num_sources: int
    num_destinations: int
    width: int
    dtype: type = np.uint64

    @property
    def sent(self) -> list[Path]:
        """The file of each source that is there when the source has sent all it has."""
        return [self._starts(source) for source in range(self.num_sources)]

    def has(self, source: int) -> bool:
        """Whether a source has sent all it has."""
        return self._starts(source).exists()

    def send(self, source: int, batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        """Writes batches of rows [rows, width] and their destinations [rows]; rows for one keep their order."""
        self.send_sorted(source, (self._sorted(rows, destinations) for rows, destinations in batches))

    def send_sorted(self, source: int, batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        """As `send`, of rows sorted by destination and where each destination's start [destinations + 1]."""
        if self.has(source):
            return
        starts = [np.empty((0, self.num_destinations + 1), np.int64)]
        position = 0
        with atomic_path(self._rows(source)) as temporary, open(temporary, "wb") as stream:
            for rows, ends in batches:
                np.ascontiguousarray(rows, self.dtype).tofile(stream)
                starts.append(ends[np.newaxis] + position)
                position += len(rows)
        with atomic_path(self._starts(source)) as temporary, open(temporary, "wb") as stream:
            together = np.concatenate(starts)
            together.T.tofile(stream)  # so that what one destination reads lies together
            _end(len(together)).tofile(stream)

    def receive(self, destination: int) -> np.ndarray:
        """All rows for one destination, source after source, in the order they were sent [rows, width].

        Raises:
            ArtifactError: a file has been cut off since.
        """
        ranges = [self._ranges(source, destination) for source in range(self.num_sources)]
        rows: np.ndarray = np.empty((sum(int(np.diff(one).sum()) for one in ranges), self.width), self.dtype)
        filled = 0
        for source, one in enumerate(ranges):
            if len(one):
                filled = self._fill(rows, filled, source, one)
        return rows

    def receive_each(self, destination: int) -> list[np.ndarray]:
        """As `receive`, the rows of each source by themselves."""
        sizes = [int(np.diff(self._ranges(source, destination)).sum()) for source in range(self.num_sources)]
        return np.split(self.receive(destination), np.cumsum(sizes)[:-1])

    def _ranges(self, source: int, destination: int) -> np.ndarray:
        """First and end, in the file of a source, of the rows of each batch for a destination [batches, 2]."""
        with open(self._starts(source), "rb") as stream:
            num_batches, rest = divmod(stream.seek(0, 2) // 8 - _END_WORDS, self.num_destinations + 1)
            stream.seek(max(0, 8 * num_batches * (self.num_destinations + 1)))
            if rest or stream.read() != _end(num_batches).tobytes():
                raise cut_off(self._starts(source))
            stream.seek(8 * num_batches * destination)
            ranges = np.fromfile(stream, np.int64, 2 * num_batches).reshape(2, num_batches).T
        return ranges[ranges[:, 0] < ranges[:, 1]]

    def _fill(self, rows: np.ndarray, filled: int, source: int, ranges: np.ndarray) -> int:
        """Reads ranges of a source's rows into `rows` from row `filled` on; returns where they end."""
        with open(self._rows(source), "rb", buffering=0) as stream:
            for first, end in ranges.tolist():
                into = rows[filled : filled + end - first].data.cast("B")
                count_read(len(into))
                stream.seek(first * self.width * rows.itemsize)
                while len(into) and (size := stream.readinto(into)):
                    into = into[size:]
                if len(into):
                    raise cut_off(self._rows(source))
                filled += end - first
        return filled

    def _sorted(self, rows: np.ndarray, destinations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        order, ends = by_partition(destinations, self.num_destinations)
        return take_records(rows, order), ends

    def _rows(self, source: int) -> Path:
        return self.folder / f"{self.name}-{source:05d}.rows"

    def _starts(self, source: int) -> Path:
        return self.folder / f"{self.name}-{source:05d}.starts"


def cut_off(path: Path) -> ArtifactError:
    """The error of a file between two maps that is not as long as it was."""
    return ArtifactError(f"{path} is shorter than it was. Delete {path.parent} and run again.")


def _end(num_batches: int) -> np.ndarray:
    """What a file of starts ends with, so that one that was cut off is known."""
    return np.array([num_batches, ~num_batches], np.int64)
