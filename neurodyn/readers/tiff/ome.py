"""What OME-XML says of the planes in one TIFF file or in a set of them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.readers.tiff.layout import TO_SECONDS, Order, check_promise, counted, not_a_stack, rate_of, rising
from neurodyn.readers.tiff.markup import named, parse

ORDERS = re.compile(r"XY(?=[TZC]{3}$)(?!.*(.).*\1)")
Attributes = Mapping[str, str]


@dataclass(frozen=True)
class Blocks:
    """Planes of one image that follow each other in one file.

    Parameters
    ----------
    file, uuid
        Of the file, where they are said.
    first
        First time point, plane and channel.
    ifd
        Page of the first of them.
    count
        How many they are; None: all pages of the file.
    """

    file: str | None
    uuid: str | None
    first: Mapping[str, int]
    ifd: int
    count: int | None


@dataclass(frozen=True)
class Image:
    """One image of a header.

    Parameters
    ----------
    name
        As the header has it.
    sizes
        Of T, Z and C.
    loops
        T, Z and C, the slowest first.
    blocks
        Where the planes lie.
    rate_hz
        Frames per second, where the header says the time between them.
    times
        Of each frame, s, shape (time, plane), where the header says them.
    """

    name: str
    sizes: Mapping[str, int]
    loops: str
    blocks: Sequence[Blocks]
    rate_hz: float | None
    times: np.ndarray | None

    @property
    def promised(self) -> int:
        """Number of planes."""
        return int(np.prod(list(self.sizes.values()), dtype=np.int64))

    @property
    def files(self) -> set[str]:
        """Names of the files that the planes lie in, as far as they are said."""
        return {block.file for block in self.blocks if block.file}


@dataclass(frozen=True)
class Source:
    """A file whose pages are planes: its names, its first frame among all, and its number of frames."""

    names: tuple[str | None, ...]
    begin: int
    pages: int


def read_header(path: Path, text: str) -> tuple[list[Image], str, str]:
    """Return the images of a header, its own UUID, and the file that describes it where it does not do so itself.

    Raises
    ------
    DataError
        If the header is damaged.
    """
    root = parse(path, text)
    elsewhere = next((element.get("MetadataFile", "") for element in named(root, "BinaryOnly")), "")
    images = [_image(path, image, pixels) for image in named(root, "Image") for pixels in named(image, "Pixels")]
    return images, root.get("UUID", ""), elsewhere


def _image(path: Path, image: Any, pixels: Any) -> Image:
    try:
        sizes = {axis: int(pixels.get(f"Size{axis}", "1")) for axis in "TZC"}
        check_promise(path, math.prod(sizes.values()))
        order = pixels.get("DimensionOrder", "XYCZT")
        if not ORDERS.match(order) or min(sizes.values()) < 1:
            raise ValueError(f"DimensionOrder {order}, sizes {sizes}")
        blocks = [_block(element) for element in named(pixels, "TiffData")] or [Blocks(None, None, {}, 0, None)]
        if any(
            block.ifd < 0 or block.first[axis] not in range(sizes[axis]) for block in blocks for axis in block.first
        ):
            raise ValueError("it names planes that there cannot be")
        times = _times(pixels, sizes)
    except ValueError as error:
        raise DataError(f"{path}: the OME header is damaged.", f"{error}.", "Copy the file again.") from error
    rate = rate_of(pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s"))
    return Image(image.get("Name", ""), sizes, order[:1:-1], blocks, rate, times)


def _block(element: Any) -> Blocks:
    known = next(named(element, "UUID"), None)
    ifd, count = element.get("IFD"), element.get("PlaneCount")
    first = {axis: int(element.get(f"First{axis}", "0")) for axis in "TZC"}
    said = None if count is None and ifd is None else int(count or 1)
    file, uuid = (None, None) if known is None else (known.get("FileName"), (known.text or "").strip())
    return Blocks(file, uuid, first, int(ifd or 0), said)


def _times(pixels: Any, sizes: Mapping[str, int]) -> np.ndarray | None:
    """Return when each frame of the first channel was taken, s, shape (time, plane); None unless all say so."""
    planes = list(named(pixels, "Plane"))
    if len(planes) < sizes["T"] * sizes["Z"] or sizes["T"] < 2:
        return None
    times = np.full((sizes["T"], sizes["Z"]), np.nan)
    for plane in planes:
        place, unit = _place(plane), TO_SECONDS.get(plane.get("DeltaTUnit", "s").lower(), np.nan)
        if place[2] == 0 and place[0] in range(sizes["T"]) and place[1] in range(sizes["Z"]):
            times[place[:2]] = _number(plane.get("DeltaT")) * unit
    return times - times.min() if rising(times) else None


def _place(plane: Any) -> tuple[int, int, int]:
    t, z, c = (int(plane.get(f"The{axis}", "0")) for axis in "TZC")
    return t, z, c


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def of_image(path: Path, image: Image, sources: Sequence[Source]) -> Order:
    """Return the order of one image's planes among the frames of files; -1 where a plane is not there.

    Raises
    ------
    DataError
        If the files have pages that the header does not describe.
    """
    shape = tuple(image.sizes[axis] for axis in image.loops)
    flat = np.full(image.promised, -1)
    for block in image.blocks:
        found = _source(block, image, sources)
        if found is None:
            continue
        start = int(np.ravel_multi_index([block.first.get(a, 0) for a in image.loops], shape))
        pages = found.begin + block.ifd + np.arange(found.pages if block.count is None else block.count)
        pages = pages[: image.promised - start]
        flat[start : start + len(pages)] = np.where(pages < found.begin + found.pages, pages, -1)
    spare = sum(source.pages for source in sources) - np.unique(flat[flat >= 0]).size
    if spare > 0:
        raise not_a_stack(path, f"{spare} pages that its OME header, of {image.promised} planes, does not describe")
    table = flat.reshape(shape).transpose([image.loops.index(axis) for axis in "TZC"])
    return _as_movie(image, table)


def _as_movie(image: Image, table: np.ndarray) -> Order:
    words = f"OME header: {counted(image.sizes)}"
    several = [axis for axis in "TZC" if image.sizes[axis] > 1]
    if several != ["Z"]:
        return Order(table, image.rate_hz, times=image.times, words=words)
    return Order(table.transpose(1, 0, 2), image.rate_hz, words=f"{words} (planes taken for time points)")


def _source(block: Blocks, image: Image, sources: Sequence[Source]) -> Source | None:
    if block.file is None and block.uuid is None:
        return sources[0]
    for source in sources:
        if block.file in source.names or (block.uuid and block.uuid in source.names):
            return source
    renamed = len(sources) == 1 and len(image.files) == 1 and len({block.uuid for block in image.blocks}) == 1
    return sources[0] if renamed else None
