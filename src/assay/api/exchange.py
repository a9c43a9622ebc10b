"""Rows from every source to every destination, by way of files: the shuffle of groupings.

A source writes one file, its rows sorted by destination batch by batch, and beside it where each destination's rows
start. Nobody holds more than a batch, or all rows of one destination. A source is whole or not there, so that an
interrupted run, or another process, goes on with the sources that are missing.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from assay.artifacts.manifest import atomic_path
from assay.errors import ArtifactError
from assay.kernels.grouping import by_partition, take_records


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
            np.concatenate(starts).T.tofile(stream)  # so that what one destination reads lies together

    def receive(self, destination: int) -> list[np.ndarray]:
        """From each source in turn, its rows for one destination, in the order they were sent [rows, width].

        Raises:
            ArtifactError: a file has been cut off since.
        """
        return [self._from(source, destination) for source in range(self.num_sources)]

    def _from(self, source: int, destination: int) -> np.ndarray:
        with open(self._starts(source), "rb") as stream:
            num_batches = stream.seek(0, 2) // (8 * (self.num_destinations + 1))
            stream.seek(8 * num_batches * destination)
            ranges = np.fromfile(stream, np.int64, 2 * num_batches).reshape(2, num_batches).T
        if not np.any(ranges[:, 0] < ranges[:, 1]):
            return np.empty((0, self.width), self.dtype)
        pieces = []
        with open(self._rows(source), "rb") as stream:
            for first, end in ranges[ranges[:, 0] < ranges[:, 1]].tolist():
                stream.seek(first * self.width * np.dtype(self.dtype).itemsize)
                pieces.append(np.fromfile(stream, self.dtype, (end - first) * self.width))
        rows = np.concatenate(pieces)
        if len(rows) != np.diff(ranges).sum() * self.width:
            raise ArtifactError(f"{self._rows(source)} is shorter than it was. Delete {self.folder} and run again.")
        return rows.reshape(-1, self.width)

    def _sorted(self, rows: np.ndarray, destinations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        order, ends = by_partition(destinations, self.num_destinations)
        return take_records(rows, order), ends

    def _rows(self, source: int) -> Path:
        return self.folder / f"{self.name}-{source:05d}.rows"

    def _starts(self, source: int) -> Path:
        return self.folder / f"{self.name}-{source:05d}.starts"
