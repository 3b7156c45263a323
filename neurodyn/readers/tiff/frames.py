"""Frames of TIFF files, read when asked for."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from neurodyn.data.damage import library
from neurodyn.data.lazy import DiskArray
from neurodyn.readers.images import unreadable
from neurodyn.readers.tiff.file import Piece


def frames_of(pieces: Sequence[Piece]) -> Any:
    """Return all frames of files in their order, shape (frame, y, x): a memory map where they lie in one piece."""
    if len(pieces) == 1 and pieces[0].offset is not None:
        return _mapped(pieces[0])
    return Frames(pieces)


def _mapped(piece: Piece) -> np.memmap:
    return np.memmap(piece.path, np.dtype(piece.dtype), "r", piece.offset or 0, (piece.count, *piece.shape))


class Frames(DiskArray):
    """Frames of one or more files, decoded when asked for; one file is open at a time.

    Parameters
    ----------
    pieces
        In the order of their frames; all of one shape and type.
    """

    def __init__(self, pieces: Sequence[Piece]) -> None:
        first = next(piece for piece in pieces if piece.count)
        self.pieces = pieces
        self.borders = np.cumsum([0, *(piece.count for piece in pieces)])
        super().__init__((int(self.borders[-1]), *first.shape), np.dtype(first.dtype).newbyteorder("="))
        self._open: dict[Path, tifffile.TiffFile] = {}
        weakref.finalize(self, _close, self._open)

    def _block(self, key: tuple[slice, ...]) -> np.ndarray:
        rows = np.arange(self.shape[0])[key[0]]
        out = np.empty((rows.size, *self.shape[1:]), self.dtype)
        owner = np.searchsorted(self.borders, rows, side="right") - 1
        for index in np.unique(owner):
            mine = np.flatnonzero(owner == index)
            out[mine] = self._frames(self.pieces[index], rows[mine] - self.borders[index])
        return out[(slice(None), *key[1:])]

    def _frames(self, piece: Piece, frames: np.ndarray) -> np.ndarray:
        if piece.offset is not None:
            return self._copied(piece, frames)
        path = piece.path
        try:
            with library(path, unreadable):
                if path not in self._open:
                    _close(self._open)
                    self._open[path] = tifffile.TiffFile(path, is_ome=False)
                found = np.asarray(self._open[path].asarray(key=frames.tolist()))
        except MemoryError as error:
            if _inside(self._open[path], frames.tolist(), path.stat().st_size):
                raise
            raise unreadable(path, ValueError("a frame reaches beyond the file")) from error
        if found.size != len(frames) * self.shape[1] * self.shape[2]:
            raise unreadable(path, ValueError(f"frames of shape {found.shape}"))
        return found.reshape(len(frames), *self.shape[1:])

    def _copied(self, piece: Piece, frames: np.ndarray) -> np.ndarray:
        with library(piece.path, unreadable):  # it may be shorter than when it was looked at
            return np.array(_mapped(piece)[frames])


def _inside(tif: tifffile.TiffFile, pages: list[int], size: int) -> bool:
    """Say whether pages lie inside a file of that size."""
    found = (tif.pages[page] for page in pages)
    return all(a + b <= size for page in found for a, b in zip(page.dataoffsets, page.databytecounts, strict=True))


def _close(files: dict[Path, tifffile.TiffFile]) -> None:
    while files:
        files.popitem()[1].close()
