"""Folders where names, or a description beside the files, tell which frame each file holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.stacks import Stack
from neurodyn.readers.tiff.file import Piece
from neurodyn.readers.tiff.frames import frames_of
from neurodyn.readers.tiff.layout import Order, check_promise
from neurodyn.readers.tiff.set import check_alike, finished, look_all, missing

Place = tuple[int, int, int]  # time, plane, channel; numbers as they stand in names


@dataclass(frozen=True)
class Grid:
    """Files by what they hold.

    Parameters
    ----------
    files
        Those that hold frames.
    order
        Which file holds which frame, -1 where one is missing.
    pages
        Which page of it, shape (time, plane, channel); None: all of its pages, as `deep` says.
    deep
        What several pages of a file are: "time" points or "planes".
    headers
        Whether a header within a file may tell of planes and channels, which its name then contradicts.
    """

    files: Sequence[Path]
    order: Order
    pages: np.ndarray | None = None
    deep: str = "time"
    headers: bool = False


def of_places(places: Mapping[Path, Place], words: str, times: int | None = None, dense: bool = True) -> Grid:
    """Return the grid of files by the numbers in their names.

    Parameters
    ----------
    times
        Number of time points that there should be, where it is told.
    dense
        Whether every number of a time point stands for one, so that those left out are missing.

    Raises
    ------
    DataError
        If two files hold the same frame.
    """
    files, numbers = list(places), np.array(list(places.values()))
    first = numbers.min(axis=0)
    end = max(int(numbers[:, 0].max()) + 1, int(first[0]) + (times or 0))
    check_promise(files[0].parent, end - int(first[0]) if dense else 0)
    steps = np.arange(first[0], end) if dense else np.unique(numbers[:, 0])
    axes = [steps, *(np.unique(numbers[:, axis]) for axis in (1, 2))]
    where = tuple(np.searchsorted(axis, numbers[:, k]) for k, axis in enumerate(axes))
    rows = np.full(tuple(len(axis) for axis in axes), -1)
    rows[where] = np.arange(len(files))
    if np.unique(rows[rows >= 0]).size < len(files):
        raise DataError(
            f"{files[0].parent} has several files for one frame.",
            f"Found {len(files)} files of {int((rows >= 0).sum())} frames, by the numbers in their names.",
            "Move files of other recordings out of the folder.",
        )
    shape = rows.shape
    return Grid(files, Order(rows, words=f"{words}: {shape[0]} time points, {shape[1]} planes, {shape[2]} channels"))


def of_grid(path: Path, grid: Grid, options: ReadOptions) -> Stack:
    """Return the stack of files by what they hold.

    Raises
    ------
    DataError
        If the files do not go together.
    QuestionError
        If frames are missing and nobody said that this is known.
    """
    pieces = look_all(grid.files)
    check_alike(path, pieces)
    counts = np.array([piece.count for piece in pieces])
    borders, rows = np.cumsum([0, *counts])[:-1], grid.order.rows
    if grid.pages is None and counts.max() > 1:
        order = _deep(path, grid, pieces, counts, borders)
    else:
        pages = np.zeros_like(rows) if grid.pages is None else grid.pages
        there = (rows >= 0) & (pages < counts[rows])
        order = replace(grid.order, rows=np.where(there, borders[rows] + pages, -1))
    note = _missing(path, order, pieces, options)
    return finished(path, order.within(int(counts.sum())), frames_of(pieces), "", note)


def _deep(path: Path, grid: Grid, pieces: Sequence[Piece], counts: np.ndarray, borders: np.ndarray) -> Order:
    """Return the order of files with several pages each."""
    rows = grid.order.rows
    odd = next((piece for piece in pieces if piece.order is not None and piece.order.rows.shape[1:] != (1, 1)), None)
    if odd is not None and grid.headers:
        raise DataError(
            f"{odd.path} has planes or channels, and its name tells of others.",
            f"Its header says {odd.order.words if odd.order else ''}; its folder is {grid.order.words}.",
            "Read the files one by one.",
        )
    promised = np.array([max(piece.count, piece.promised or 0) for piece in pieces])
    depth = np.where(rows >= 0, promised[rows], 0)
    if grid.deep == "planes":
        pages = np.arange(depth.max())[None, :, None]
        found = np.where(pages < np.where(rows >= 0, counts[rows], 0), borders[rows] + pages, -1)
        rate = grid.order.rate_hz / len(pages[0]) if grid.order.rate_hz else None
        return replace(grid.order, rows=found, rate_hz=rate, times=None, slots=None)
    parts = []
    for row, long in zip(rows, depth.max(axis=(1, 2)), strict=True):
        pages = np.arange(max(long, 1))[:, None, None]
        parts.append(np.where((row >= 0) & (pages < counts[row]), borders[row] + pages, -1))
    return replace(grid.order, rows=np.concatenate(parts), times=None, slots=None, span=None)


def _missing(path: Path, order: Order, pieces: Sequence[Piece], options: ReadOptions) -> str:
    here, cut = int((order.rows >= 0).sum()), next((piece for piece in pieces if piece.cut), None)
    if cut is None and here == order.rows.size:
        return ""
    return missing(path if cut is None else cut.path, here, order.rows.size, "" if cut is None else cut.cut, options)
