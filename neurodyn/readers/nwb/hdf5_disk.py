"""HDF5 files on disks that may be full: HDF5 can neither go on nor close a file that it cannot write."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

MOST_LOST = 64 * 2**20  # bytes


class Disk(io.FileIO):
    """A file that remembers what the system refused to write, and lets HDF5 believe that all is well.

    Once more is lost than a file's indexes take, it says so: a long movie is not read to its end for nothing.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+b")
        self.refused: OSError | None = None
        self.lost = 0

    def write(self, data: Any) -> int:
        """Write all of it, or note why not."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while rest and self.refused is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.refused = error
        self.lost += len(rest)
        if self.lost > MOST_LOST and self.refused is not None:
            self.lost = -(2**62)
            raise self.refused
        if rest:
            self.seek(len(rest), io.SEEK_CUR)
        return size

    def readinto(self, buffer: Any) -> int:
        """Read; of what was lost, zeros."""
        count = super().readinto(buffer) or 0
        if count < len(buffer) and self.refused is not None:
            buffer[count:] = bytes(len(buffer) - count)
            return len(buffer)
        return count


@contextmanager
def new_file(path: Path) -> Iterator[h5py.File]:
    """Create an HDF5 file.

    Raises
    ------
    OSError
        If not all of it could be written.
    """
    with Disk(path) as disk:
        try:
            with h5py.File(disk, "w") as file:
                yield file
        except Exception:
            if disk.refused is None:
                raise
        if disk.refused is not None:
            raise disk.refused
