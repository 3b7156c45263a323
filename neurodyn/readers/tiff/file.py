"""One TIFF file: how many frames it has, where they lie, and what its header promises."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from neurodyn.data.damage import check_packed, library
from neurodyn.readers.images import unreadable
from neurodyn.readers.tiff.layout import Order, not_a_stack, of_axes, of_imagej, of_sizes
from neurodyn.readers.tiff.ome import Source, of_image, read_header
from neurodyn.readers.tiff.pages import Chain, chain, descriptions
from neurodyn.readers.tiff.scanimage import Scan, first_number, has_times
from neurodyn.readers.tiff.scanimage import read_header as read_scan

SERIES = 4  # image series that are listed


@dataclass(frozen=True)
class Piece:
    """One file's frames.

    Parameters
    ----------
    path
        The file.
    count
        Whole frames.
    shape, dtype
        Of a frame.
    offset
        Where the frames lie in one piece; None where they are read page by page.
    order
        Which frame is which, as far as the file says it alone; -1 and beyond `count` where a frame is missing.
    promised
        Frames that there would be in a whole file; None where that is not known.
    cut
        Where the file breaks off; empty where it ends as it should.
    scan
        ScanImage's header.
    ome
        The OME header, XML.
    """

    path: Path
    count: int
    shape: tuple[int, int]
    dtype: str
    offset: int | None = None
    order: Order | None = None
    promised: int | None = None
    cut: str = ""
    scan: Scan | None = None
    ome: str = ""

    @property
    def whole(self) -> bool:
        """Whether all the frames are there that the file promises."""
        return not self.cut and self.promised is not None and self.count >= self.promised


@dataclass(frozen=True)
class Series:
    """An image series, as tifffile finds it; `offset` of frames that lie in one piece."""

    axes: str
    shape: tuple[int, ...]
    dtype: str
    offset: int | None

    @property
    def frames(self) -> int:
        """Number of pictures."""
        return int(np.prod(self.shape[:-2], dtype=np.int64))


@dataclass(frozen=True)
class Facts:
    """What the library tifffile says of a file.

    Parameters
    ----------
    whole
        Pages whose frame lies inside the file.
    shape, dtype
        Of the first page.
    compressed
        Whether frames have to be decoded.
    offset
        Where the first frame lies, if it lies in one piece.
    software, description, artist
        Texts of the first page.
    imagej
        ImageJ's header, where there is one.
    series
        The file's image series; empty where they were not asked for.
    cut
        Why the last pages are not whole.
    """

    whole: int
    shape: tuple[int, int]
    dtype: str
    compressed: bool
    offset: int | None
    software: str
    description: str
    artist: str
    imagej: Mapping[str, Any]
    series: Sequence[Series] = ()
    cut: str = ""

    @property
    def bytes(self) -> int:
        """Bytes of a frame that is not compressed."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


def look(path: Path) -> Piece:
    """Find out what frames a file has, without reading them.

    Raises
    ------
    DataError
        If it is no TIFF of grey frames, or contradicts itself. One that is cut off has fewer frames, or none.
    """
    links = chain(path)
    if not links.offsets:
        return Piece(path, 0, (0, 0), "", cut=links.broken or "it has no pages")
    with library(path, unreadable), tifffile.TiffFile(path, is_ome=False) as tif:
        facts = _facts(path, tif, links)
    piece = _piece(path, facts, links)
    check_packed(path, (piece.count, *piece.shape), piece.dtype)
    return piece


def _facts(path: Path, tif: tifffile.TiffFile, links: Chain) -> Facts:
    page: Any = tif.pages[0]
    if page.samplesperpixel != 1 or len(page.shape) != 2 or page.dtype is None or page.dtype.kind not in "uif":
        raise not_a_stack(path, f"pages of shape {page.shape}, {page.dtype}")
    whole, cut = _whole(path, tif, len(links.offsets), path.stat().st_size)
    facts = Facts(
        whole,
        page.shape,
        np.dtype(page.dtype).newbyteorder(tif.byteorder).str,
        page.compression != 1,
        page.dataoffsets[0] if page.is_final and page.dataoffsets else None,
        str(page.software or ""),
        str(page.description or ""),
        _tag(page, "Artist"),
        dict(tif.imagej_metadata or {}) if tif.is_imagej else {},
        cut=links.broken or cut,
    )
    if facts.cut or len(links.offsets) == 1 or read_scan(facts.software, _plain(facts.description)):
        return facts
    found = [Series(one.axes, tuple(map(int, one.shape)), str(one.dtype), one.dataoffset) for one in tif.series]
    return replace(facts, series=found)


def _plain(description: str) -> str:
    """Return a description that is no XML."""
    return "" if description.lstrip().startswith("<") else description


def _tag(page: Any, name: str) -> str:
    tag = page.tags.get(name)
    return str(tag.value) if tag is not None else ""


def _whole(path: Path, tif: tifffile.TiffFile, pages: int, size: int) -> tuple[int, str]:
    """Return how many pages have their frame inside the file, and what is wrong with the next."""
    first: Any = tif.pages[0]
    cut, count = "", pages
    while count:
        last: Any = tif.pages[count - 1]
        if count == pages and last.shape != first.shape:
            raise not_a_stack(path, f"pages of shapes {first.shape} and {last.shape}")
        if len(last.dataoffsets) != len(last.databytecounts):
            raise unreadable(path, ValueError(f"frame {count - 1} has pieces without a length"))
        end = max((a + b for a, b in zip(last.dataoffsets, last.databytecounts, strict=True)), default=0)
        if end <= size:
            break
        cut, count = f"frame {count - 1} ends at byte {end} of {size}", count - 1
    return count, cut


def _piece(path: Path, facts: Facts, links: Chain) -> Piece:
    known = Piece(path, facts.whole, facts.shape, facts.dtype, cut=facts.cut)
    plain = _plain(facts.description)
    if header := read_scan(facts.software, plain):
        times = tuple(descriptions(path, links)[: facts.whole]) if has_times(plain) else ()
        scan = Scan(header, facts.artist, times, first_number(plain))
        return replace(known, promised=None if facts.cut else facts.whole, scan=scan)
    if "<OME" in facts.description[:2000]:
        return _of_ome(replace(known, ome=facts.description), facts, links)
    if facts.imagej:
        order, promised = of_imagej(path, facts.imagej, facts.whole)
        return _filled(replace(known, order=order), facts, links, promised, alone=True)
    return _plain_stack(known, facts, links)


def _plain_stack(known: Piece, facts: Facts, links: Chain) -> Piece:
    """Return a file without a header of a program, but perhaps with the shape that tifffile writes."""
    if len(facts.series) > 1:
        shapes = {one.shape[-2:] + (one.dtype,) for one in facts.series if sum(n > 1 for n in one.shape[:-2]) < 2}
        if len(shapes) > 1 or sum(one.frames for one in facts.series) != facts.whole:
            listed = ", ".join(str(one.shape) for one in facts.series[:SERIES])
            raise not_a_stack(known.path, f"{len(facts.series)} image series of shapes {listed}")
        return replace(known, order=of_sizes({"T": facts.whole}), promised=facts.whole)
    shape, axes, alone = _told_shape(facts)
    if facts.series:
        shape, axes = facts.series[0].shape, facts.series[0].axes
    if shape[-2:] != facts.shape:
        return replace(known, order=of_sizes({"T": facts.whole}), promised=None if facts.cut else facts.whole)
    order = of_axes(known.path, axes, shape)
    return _filled(replace(known, order=order), facts, links, order.rows.size, alone)


def _told_shape(facts: Facts) -> tuple[tuple[int, ...], str, bool]:
    """Return shape and axes that tifffile wrote into a description, and whether one page stands for all frames."""
    try:
        told = json.loads(facts.description) if facts.description.startswith('{"shape"') else {}
        shape = tuple(int(n) for n in told.get("shape", ()))
        axes = str(told.get("axes", "")) or "QQQQQQ"[: max(0, len(shape) - 2)] + "YX"
    except (TypeError, ValueError, AttributeError):
        return (), "", False
    fits = len(axes) == len(shape) >= 2 and min(shape) > 0
    return (shape, axes, bool(told.get("truncated"))) if fits else ((), "", False)


def _filled(known: Piece, facts: Facts, links: Chain, promised: int, alone: bool) -> Piece:
    """Add how many of the promised frames are there, and where.

    Parameters
    ----------
    alone
        Whether a single page may stand for all frames.
    """
    offset, count = _in_one_piece(known.path, facts, links, promised, alone)
    cut = known.cut
    if offset is not None and count < promised and count != facts.whole:
        cut = cut or f"its frames end at byte {offset + promised * facts.bytes} of {known.path.stat().st_size}"
    return replace(known, count=count, offset=offset, promised=promised, cut=cut)


def _in_one_piece(path: Path, facts: Facts, links: Chain, promised: int, alone: bool) -> tuple[int | None, int]:
    """Return where frames lie that follow each other without a gap, and how many are whole; None for where, if they do not."""
    if facts.compressed or facts.offset is None:
        return None, facts.whole
    begin, end = facts.offset, facts.offset + promised * facts.bytes
    following = links.second or (links.offsets[0] if links.offsets[0] > begin else end)
    told = links.second or (alone and len(links.offsets) == 1)
    if promised > 1 and told and following >= end:
        return begin, min(promised, max(0, path.stat().st_size - begin) // facts.bytes)
    if facts.whole == 1 and len(links.offsets) == 1:
        return begin, 1
    if len(facts.series) == 1 and facts.series[0].frames == facts.whole:
        return facts.series[0].offset, facts.whole
    return None, facts.whole


def _of_ome(known: Piece, facts: Facts, links: Chain) -> Piece:
    """Return a file with an OME header; one whose planes lie in other files, too, has no order of its own."""
    images, uuid, elsewhere = read_header(known.path, known.ome)
    own = {known.path.name, uuid} - {""}
    here = [image for image in images if not image.files or image.files & own] or images
    if elsewhere or len(here) != 1 or len(here[0].files) > 1:
        return known
    piece = _filled(known, facts, links, here[0].promised, alone=False)
    return replace(piece, order=of_image(known.path, here[0], [Source((known.path.name, uuid), 0, piece.count)]))
