"""TIFF movies: stacks, BigTIFF, ImageJ, OME, and folders of TIFF files; read frame by frame."""

from __future__ import annotations

import logging
import re
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import tifffile

from neurodyn.core.errors import DataError
from neurodyn.data.readers import Reader, ReadOptions
from neurodyn.data.recording import RATE_TOLERANCE, Recording
from neurodyn.data.sources import (
    View,
    brain_mask,
    build,
    check_interleaved,
    refuse_others,
    regular_times,
    same_length,
    wanted,
)

LOGGER = logging.getLogger(__name__)
SUFFIXES = (".tif", ".tiff", ".btf")
UNREADABLE = (tifffile.TiffFileError, OSError, ValueError)
TYPE_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}  # others take 1
TO_SECONDS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "min": 60.0, "sec": 1.0}


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
        """Read lazily; frame i belongs to channel i modulo the number of channels."""
        refuse_others(options, "tiff", {"fs", "channels", "variables", "brain"})
        files = tiff_files(path)
        stack = Pages(files) if path.is_dir() else open_stack(files[0], len(options.channels))
        check_interleaved(stack.shape[0], options, path)
        axes = ("time", "y", "x")
        views = {name: View(stack, axes, place.first, place.every) for name, place in wanted(options).items()}
        neural = same_length(views, path)
        frames = next(iter(neural.values())).shape[0]
        fs = _rate(files[0], options)
        time = regular_times(path, frames, fs)
        brain = brain_mask(path, None, options, stack.shape[1:])
        return build("tiff", path, neural, time, options, rate_hz=fs, brain=brain)


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
        image = np.load(path, allow_pickle=False) if path.suffix == ".npy" else tifffile.imread(path)
    except UNREADABLE as error:
        raise _unreadable(path, error) from error
    return np.asarray(image)


def open_stack(path: Path, channels: int = 0) -> Any:
    """Open one file as frames, shape (time, y, x): a memory map where the frames lie in one piece, else page by page.

    Parameters
    ----------
    channels
        Number of interleaved channels asked for; a file with a channel axis of that length inside time is flattened.

    Raises
    ------
    DataError
        If the file is truncated, in colour, or has more axes.
    """
    check_whole(path)
    try:
        with tifffile.TiffFile(path) as tif:
            if len(tif.series) != 1:
                shapes = ", ".join(str(series.shape) for series in tif.series[:4])
                raise _not_a_stack(path, f"{len(tif.series)} image series of shapes {shapes}")
            series, pages = tif.series[0], len(tif.pages)
            _check_layout(path, series, channels)
            if tif.is_ome and series.dataoffset is None and len(series.pages) != pages:
                raise _not_a_stack(path, "an OME file whose frames lie in other files")
            if series.dataoffset is None:
                return Pages([path])
            end, size = series.dataoffset + series.nbytes, path.stat().st_size
            if end > size:
                raise _truncated(path, f"its frames end at byte {end} of {size}")
            dtype = np.dtype(tif.byteorder + series.dtype.char)
            frames = int(np.prod(series.shape[:-2], dtype=np.int64))
            return np.memmap(path, dtype, "r", series.dataoffset, (frames, *series.shape[-2:]))
    except UNREADABLE as error:
        raise _unreadable(path, error) from error


def _check_layout(path: Path, series: Any, channels: int) -> None:
    axes = series.axes
    leading = [(axis, size) for axis, size in zip(axes[:-2], series.shape[:-2], strict=True) if size > 1]
    interleaved = len(leading) == 2 and leading[-1] == ("C", channels)
    if not axes.endswith("YX") or (len(leading) > 1 and not interleaved) or series.dtype.kind not in "uif":
        raise _not_a_stack(path, f"axes {axes} of shape {series.shape}, {series.dtype}")
    if len(leading) == 1 and leading[0][0] == "C" and channels != leading[0][1]:
        raise _not_a_stack(path, f"{leading[0][1]} channels and one frame")


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
            except UNREADABLE as error:
                raise _unreadable(path, error) from error
        try:
            return self._open[path].asarray(key=pages.tolist()).reshape(len(pages), *self.shape[1:])
        except (*UNREADABLE, IndexError) as error:
            raise _unreadable(path, error) from error


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
                raise _not_a_stack(path, f"pages of shape {page.shape}, {page.dtype}")
            if last.shape != page.shape:
                raise _not_a_stack(path, f"pages of shapes {page.shape} and {last.shape}")
            end = max((a + b for a, b in zip(last.dataoffsets, last.databytecounts, strict=True)), default=0)
            if end > path.stat().st_size:
                raise _truncated(path, f"its last frame ends at byte {end} of {path.stat().st_size}")
            return count, (page.shape, np.dtype(page.dtype).str), page.compression != 1
    except UNREADABLE as error:
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
        entries, pages = b"", 0
        while offset:
            if pages == 1:
                _check_end(path, dialect.values_end(entries), size)
            entries, offset = _page(file, dialect, path, offset, pages, size)
            pages += 1
    _check_end(path, dialect.values_end(entries), size)


def _check_end(path: Path, end: int, size: int) -> None:
    if end > size:
        raise _truncated(path, f"its tags reach to byte {end} of {size}")


def _page(file: BinaryIO, dialect: Dialect, path: Path, offset: int, page: int, size: int) -> tuple[bytes, int]:
    """Return the tags of the page at `offset` and the offset of the next page."""
    width, count_bytes, next_bytes = (20, 8, 8) if dialect.big else (12, 2, 4)
    file.seek(offset)
    length = dialect.number(file.read(count_bytes)) * width
    rest = file.read(length + next_bytes) if offset + count_bytes + length + next_bytes <= size else b""
    if len(rest) < length + next_bytes:
        raise _truncated(path, f"page {page} should be at byte {offset} of {size}")
    return rest[:length], dialect.number(rest[length:])


def _rate(path: Path, options: ReadOptions) -> float | None:
    """Return frames per second and channel: as given, else where an OME or ImageJ file clearly says it."""
    with tifffile.TiffFile(path) as tif:
        interval = _interval(tif)
    said = 1 / interval if interval and len(options.channels) < 2 and not options.variables else None
    if options.fs and said and abs(options.fs / said - 1) > RATE_TOLERANCE:
        LOGGER.warning("%s says %g Hz; the given %g Hz is used.", path, said, options.fs)
    return options.fs or said


def _interval(tif: tifffile.TiffFile) -> float | None:
    if tif.is_imagej and tif.imagej_metadata:
        value = tif.imagej_metadata.get("finterval")
        unit = TO_SECONDS.get(str(tif.imagej_metadata.get("tunit", "s")))
        return float(value) * unit if value and unit else None
    if tif.is_ome and tif.ome_metadata:
        value = re.search(r'TimeIncrement="([0-9.eE+-]+)"', tif.ome_metadata)
        unit = re.search(r'TimeIncrementUnit="([^"]+)"', tif.ome_metadata)
        factor = TO_SECONDS.get(unit.group(1) if unit else "s")
        return float(value.group(1)) * factor if value and factor else None
    return None


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DataError(f"{path} cannot be read as TIFF.", f"{reason}.", "Check that the file is whole; copy it again.")


def _truncated(path: Path, found: str) -> DataError:
    return DataError(f"{path} is truncated.", f"Found: {found}.", "Copy or write the file again.")


def _not_a_stack(path: Path, found: str) -> DataError:
    return DataError(
        f"{path} is not a stack of grey frames.",
        f"Found {found}; expected (time, y, x).",
        "Export one plane as a grey stack; name interleaved channels: --channels a,b",
    )
