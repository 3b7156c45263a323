"""TIFF movies: stacks, BigTIFF, ImageJ, OME, and folders of TIFF files; read frame by frame."""

from __future__ import annotations

import re
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import tifffile

from neurodyn.core.errors import DataError
from neurodyn.data.damage import DAMAGED, check_packed, load_array, of_library, reason
from neurodyn.data.readers import Reader, ReadOptions
from neurodyn.data.recording import Recording
from neurodyn.data.sources import refuse_others
from neurodyn.data.stacks import OPTIONS, Stack, read_stack
from neurodyn.data.tiff_layout import (
    Layout,
    interval_rate,
    not_a_stack,
    of_scanimage,
    of_series,
    prairie_channels,
    prairie_rate,
)

SUFFIXES = (".tif", ".tiff", ".btf")
TYPE_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}  # others take 1


class TiffReader(Reader):
    """Reads a TIFF stack, or a folder of TIFF files in natural order, as a movie."""

    suffixes = SUFFIXES

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Say whether the path is a TIFF file or a folder with TIFF files in it."""
        if path.is_dir():
            return any(child.suffix.lower() in SUFFIXES for child in path.iterdir())
        return path.suffix.lower() in SUFFIXES

    @classmethod
    def read(cls, path: Path, options: ReadOptions) -> Recording:
        """Read lazily; channels and planes as the file says, else frame i belongs to channel i modulo their number."""
        refuse_others(options, "tiff", OPTIONS | {"variables"})
        files = tiff_files(path)
        groups = prairie_channels(files)
        if len(groups) > 1:
            channels = [Pages(group) for group in groups]
            stack = Stack(lambda channel, _: channels[channel], len(groups), rate_hz=prairie_rate(path))
        elif path.is_dir():
            stack = _of_folder(path, files)
        else:
            stack = open_stack(path)
        if options.variables:  # places in the file as it lies there
            stack = _flat(path, files)
        return read_stack("tiff", path, stack, options)


def _of_folder(path: Path, files: list[Path]) -> Stack:
    pages = Pages(files)
    try:
        with tifffile.TiffFile(files[0], is_ome=False) as tif:
            layout = of_scanimage(tif, pages.shape[0])
        with tifffile.TiffFile(files[0]) as tif:
            said = interval_rate(tif) or prairie_rate(path)
    except DAMAGED as error:
        raise _unreadable(files[0], error) from error
    return (layout or Layout({"T": pages.shape[0]}, 1, said)).stack(pages)


def _flat(path: Path, files: list[Path]) -> Stack:
    frames = Pages(files) if path.is_dir() else _frames(path)[0]
    return Layout({"T": frames.shape[0]}).stack(frames)


def tiff_files(path: Path) -> list[Path]:
    """Return the TIFF files of a folder in natural order ("2.tif" before "10.tif"), or the file itself."""
    if not path.is_dir():
        return [path]
    files = [child for child in path.iterdir() if child.suffix.lower() in SUFFIXES and not child.name.startswith(".")]
    if not files:
        raise DataError(f"{path} has no TIFF files.", "Expected .tif or .tiff files.", "Check the folder.")
    return sorted(files, key=lambda f: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", f.name)])


def read_image(path: Path) -> np.ndarray:
    """Read one image, TIFF or .npy, shape (y, x).

    Raises
    ------
    DataError
        If it is no image.
    """
    try:
        image = load_array(path) if path.suffix == ".npy" else tifffile.imread(path)
    except DAMAGED as error:
        raise _unreadable(path, error) from error
    return np.asarray(image)


def open_stack(path: Path) -> Stack:
    """Open one file: a memory map where the frames lie in one piece, else page by page.

    Raises
    ------
    DataError
        If the file is truncated, in colour, or has axes that are none of a movie's.
    """
    frames, layout = _frames(path)
    return layout.stack(frames)


def _frames(path: Path) -> tuple[Any, Layout]:
    """Return all frames of a file in their order, shape (frame, y, x), and what they are."""
    check_whole(path)
    try:
        with tifffile.TiffFile(path) as tif:
            if tif.is_scanimage:
                pages = Pages([path])
                return pages, of_scanimage(tif, pages.shape[0]) or Layout({"T": pages.shape[0]})
            if len(tif.series) != 1:
                shapes = ", ".join(str(series.shape) for series in tif.series[:4])
                raise not_a_stack(path, f"{len(tif.series)} image series of shapes {shapes}")
            series, pages = tif.series[0], len(tif.pages)
            layout = of_series(path, series, interval_rate(tif))
            if tif.is_ome and series.dataoffset is None and len(series.pages) != pages:
                raise not_a_stack(path, "an OME file whose frames lie in other files; give their folder")
            if series.dataoffset is None:
                return Pages([path]), layout
            end, size = series.dataoffset + series.nbytes, path.stat().st_size
            if end > size:
                raise _truncated(path, f"its frames end at byte {end} of {size}")
            dtype = np.dtype(tif.byteorder + series.dtype.char)
            count = int(np.prod(series.shape[:-2], dtype=np.int64))
            return np.memmap(path, dtype, "r", series.dataoffset, (count, *series.shape[-2:])), layout
    except DAMAGED as error:
        raise _unreadable(path, error) from error


class Pages:
    """Frames of one or more TIFF files, decoded when asked for; one file is open at a time.

    Parameters
    ----------
    files
        In order of time, each with one or more frames of one shape.
    """

    def __init__(self, files: list[Path]) -> None:
        self.files = files
        counts, kinds = zip(*_inspect(files), strict=True)
        if len(set(kinds)) > 1:
            odd = next(k for k, kind in enumerate(kinds) if kind != kinds[0])
            raise DataError(
                f"{files[odd]} does not match the other frames.",
                f"Found {kinds[odd][0]} {kinds[odd][1]}; the first file has {kinds[0][0]} {kinds[0][1]}.",
                "Move files of other kinds out of the folder.",
            )
        self.borders = np.cumsum([0, *counts])
        self.shape = (int(self.borders[-1]), *kinds[0][0])
        self.dtype = np.dtype(kinds[0][1])
        self._open: dict[Path, tifffile.TiffFile] = {}
        weakref.finalize(self, _close, self._open)

    def __getitem__(self, key: tuple[slice, Any, Any]) -> np.ndarray:
        time, *space = key
        rows = np.arange(self.shape[0])[time]
        out = np.empty((rows.size, *self.shape[1:]), self.dtype)
        owner = np.searchsorted(self.borders, rows, side="right") - 1
        for index in np.unique(owner):
            mine = np.flatnonzero(owner == index)
            out[mine] = self._read(self.files[index], rows[mine] - self.borders[index])
        return out[(slice(None), *space)]

    def _read(self, path: Path, pages: np.ndarray) -> np.ndarray:
        if path not in self._open:
            _close(self._open)
            try:
                self._open[path] = tifffile.TiffFile(path, is_ome=False)
            except DAMAGED as error:
                raise _unreadable(path, error) from error
        try:
            return self._open[path].asarray(key=pages.tolist()).reshape(len(pages), *self.shape[1:])
        except DAMAGED as error:
            raise _unreadable(path, error) from error
        except MemoryError as error:
            if _inside(self._open[path], pages.tolist(), path.stat().st_size):
                raise
            raise _unreadable(path, ValueError("a frame reaches beyond the file")) from error


def _inside(tif: tifffile.TiffFile, pages: list[int], size: int) -> bool:
    """Say whether pages lie inside a file of that size."""
    found = (tif.pages[page] for page in pages)
    return all(a + b <= size for page in found for a, b in zip(page.dataoffsets, page.databytecounts, strict=True))


def _close(files: dict[Path, tifffile.TiffFile]) -> None:
    while files:
        files.popitem()[1].close()


def _inspect(files: list[Path]) -> list[tuple[int, tuple[tuple[int, int], str]]]:
    """Return pages, and frame shape and dtype, per file; uncompressed files of one size are opened once."""
    known: dict[int, tuple[int, tuple[tuple[int, int], str]]] = {}
    found = []
    for path in files:
        size = path.stat().st_size
        if size not in known:
            pages, kind, compressed = _inspect_one(path)
            found.append((pages, kind))
            if not compressed:
                known[size] = found[-1]
        else:
            found.append(known[size])
    return found


def _inspect_one(path: Path) -> tuple[int, tuple[tuple[int, int], str], bool]:
    check_whole(path)
    try:
        with tifffile.TiffFile(path, is_ome=False) as tif:
            page, last, count = cast(tifffile.TiffPage, tif.pages[0]), tif.pages[-1], len(tif.pages)
            if page.samplesperpixel != 1 or len(page.shape) != 2 or np.dtype(page.dtype).kind not in "uif":
                raise not_a_stack(path, f"pages of shape {page.shape}, {page.dtype}")
            if last.shape != page.shape:
                raise not_a_stack(path, f"pages of shapes {page.shape} and {last.shape}")
            end = max((a + b for a, b in zip(last.dataoffsets, last.databytecounts, strict=True)), default=0)
            if end > path.stat().st_size:
                raise _truncated(path, f"its last frame ends at byte {end} of {path.stat().st_size}")
            check_packed(path, (count, *page.shape), page.dtype)
            return count, (page.shape, np.dtype(page.dtype).str), page.compression != 1
    except DAMAGED as error:
        raise _unreadable(path, error) from error


@dataclass(frozen=True)
class Dialect:
    """How a TIFF header says that numbers are stored: classic or BigTIFF, either byte order."""

    order: str
    big: bool

    def number(self, data: bytes) -> int:
        """Return an unsigned integer of 2, 4 or 8 bytes."""
        return int.from_bytes(data, "little" if self.order == "<" else "big")

    def values_end(self, entries: bytes) -> int:
        """Return the last byte that a page's tags point to outside the page."""
        width, inline = (20, 8) if self.big else (12, 4)
        end = 0
        for tag in (entries[k : k + width] for k in range(0, len(entries), width)):
            length = TYPE_BYTES.get(self.number(tag[2:4]), 1) * self.number(tag[4 : 4 + inline])
            if length > inline:
                end = max(end, self.number(tag[4 + inline :]) + length)
        return end


def check_whole(path: Path) -> None:
    """Follow the file's chain of pages to its end; the first and last page's tags must lie inside the file.

    Raises
    ------
    DataError
        If the file is no TIFF, or is truncated.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
        order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
        version = Dialect(order, False).number(head[2:4]) if order else 0
        if version not in (42, 43) or len(head) < 16:
            raise _unreadable(path, ValueError("it has no TIFF header"))
        dialect = Dialect(order, version == 43)
        offset = dialect.number(head[8:16] if dialect.big else head[4:8])
        entries, seen = b"", set()
        while offset:
            if len(seen) == 1:
                _check_end(path, dialect.values_end(entries), size)
            if offset in seen:
                raise _unreadable(path, ValueError(f"page {len(seen)} leads back to an earlier one"))
            seen.add(offset)
            entries, offset = _page(file, dialect, path, offset, len(seen) - 1, size)
    _check_end(path, dialect.values_end(entries), size)


def _check_end(path: Path, end: int, size: int) -> None:
    if end > size:
        raise _truncated(path, f"its tags reach to byte {end} of {size}")


def _page(file: BinaryIO, dialect: Dialect, path: Path, offset: int, page: int, size: int) -> tuple[bytes, int]:
    """Return the tags of the page at `offset` and the offset of the next page."""
    width, count_bytes, next_bytes = (20, 8, 8) if dialect.big else (12, 2, 4)
    file.seek(min(offset, size))
    length = dialect.number(file.read(count_bytes)) * width
    rest = file.read(length + next_bytes) if offset + count_bytes + length + next_bytes <= size else b""
    if len(rest) < length + next_bytes:
        raise _truncated(path, f"page {page} should be at byte {offset} of {size}")
    return rest[:length], dialect.number(rest[length:])


def _unreadable(path: Path, error: Exception) -> DataError:
    if error.__traceback__ is not None and not of_library(error):  # a fault of ours
        raise error
    return DataError(
        f"{path} cannot be read as TIFF.", f"{reason(error)}.", "Check that the file is whole; copy it again."
    )


def _truncated(path: Path, found: str) -> DataError:
    return DataError(f"{path} is truncated.", f"Found: {found}.", "Copy or write the file again.")
