"""ScanImage's headers: channels, planes, frames per slice, fields above each other in a page, and frame times."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.readers.tiff.layout import Order, counted, rising

LINE = re.compile(r"^\s*(?:scanimage\.)?((?:SI|state)\.[\w.]+)\s*=\s*(.*?)\s*$", re.MULTILINE)
STAMP = re.compile(r"^\s*frameTimestamps_sec\s*=\s*([0-9.eE+-]+)", re.MULTILINE)
NUMBER = re.compile(r"^\s*frameNumbers?\s*=\s*(\d+)", re.MULTILINE)
Header = Mapping[str, str]


@dataclass(frozen=True)
class Scan:
    """What ScanImage wrote into one file.

    Parameters
    ----------
    header
        Name -> value, as text.
    artist
        Regions of interest, JSON, where the version writes them.
    pages
        What each page says of itself, where it tells times.
    first
        Number of the file's first frame in its acquisition; None where pages are not numbered.
    """

    header: Header
    artist: str = ""
    pages: tuple[str, ...] = ()
    first: int | None = None


@dataclass(frozen=True)
class Volume:
    """How the frames of a volume follow each other, those of one channel.

    Parameters
    ----------
    planes
        Planes with an image.
    repeats
        Frames of one plane that follow each other.
    frames
        Frames in a volume with those lost while the scanner flies back.
    """

    planes: int = 1
    repeats: int = 1
    frames: int = 1


def read_header(software: str, description: str) -> dict[str, str]:
    """Return ScanImage's header, version 3 or later, from the tags of a first page; empty where there is none."""
    text = f"{software}\n{description[: 2**20]}".replace("\r", "\n")
    return dict(LINE.findall(text))


def first_number(description: str) -> int | None:
    """Return the number that a page gives its frame."""
    found = NUMBER.search(description)
    return int(found[1]) if found else None


def has_times(description: str) -> bool:
    """Say whether a page tells when it was taken."""
    return STAMP.search(description) is not None


def of_scans(path: Path, scans: Sequence[Scan], counts: Sequence[int]) -> Order:
    """Return the order of the frames of one acquisition, in one file or several.

    Frames of channels are innermost, then repeats of a plane, then planes, then volumes; an unfinished last volume is
    left out.

    Raises
    ------
    DataError
        If there is no whole volume, or the header does not tell how frames follow each other.
    """
    header, total = scans[0].header, sum(counts)
    channels, volume = _channels(header), _volume(path, header)
    volumes, rest = divmod(total, volume.frames * channels)
    if not volumes:
        raise DataError(
            f"{path} has no whole volume.",
            f"Found {total} frames; a volume has {volume.frames} of {channels} channels.",
            "The acquisition was stopped in its first volume; leave the file out.",
        )
    sizes = {"T": volumes * volume.repeats, "Z": volume.planes, "C": channels}
    words = f"ScanImage's header: {counted(sizes)}"
    if volume.frames > volume.planes * volume.repeats:
        words += f", {volume.frames - volume.planes * volume.repeats} flyback frames per volume left out"
    if volume.repeats > 1:
        words += f", {volume.repeats} frames per slice"
    lost = (f"the last volume was not finished, its {rest} frames are left out",) if rest else ()
    return replace(_timed(_order(header, volume, volumes, channels, words), scans), losses=lost)


def _order(header: Header, volume: Volume, volumes: int, channels: int, words: str) -> Order:
    slots = np.arange(volumes * volume.frames).reshape(volumes, volume.frames)
    slots = slots[:, : volume.planes * volume.repeats].reshape(volumes, volume.planes, volume.repeats)
    slots = slots.swapaxes(1, 2).reshape(-1, volume.planes)  # (time, plane), in frames of the scanner
    rows = slots[..., None] * channels + np.arange(channels)
    bursts = volume.repeats > 1 and volume.frames > volume.repeats
    rate = _frame_rate(header, volume)
    if bursts:
        return Order(rows, rate, slots.astype(np.float64), span=float(volumes * volume.frames), words=words)
    each = _number(header, "SI.hRoiManager.scanVolumeRate") if volume.planes > 1 else None
    if each and (_fast(header) or _averaged(header) == 1):
        return Order(rows, each / _averaged(header), words=words)
    return Order(rows, rate / volume.frames if rate else None, words=words)


def _timed(order: Order, scans: Sequence[Scan]) -> Order:
    pages = [page for scan in scans for page in scan.pages]
    stamps = [STAMP.search(page) for page in pages]
    if len(pages) <= int(order.rows.max()) or not all(stamps):
        return order
    times = np.array([float(stamp[1]) for stamp in stamps if stamp])[order.rows[..., 0]]
    return replace(order, times=times - times.min()) if len(times) > 1 and rising(times) else order


def _channels(header: Header) -> int:
    saved = re.findall(r"\d+", header.get("SI.hChannels.channelSave", header.get("SI.channelsSave", "")))
    old = [v for k, v in header.items() if re.fullmatch(r"state\.acq\.savingChannel\d", k) and float(v or 0)]
    return max(1, len(saved) or len(old))


def _volume(path: Path, header: Header) -> Volume:
    if not (_true(header, "SI.hStackManager.enable") or _true(header, "SI.hFastZ.enable")):
        return Volume()
    planes = int(_number(header, "SI.hStackManager.actualNumSlices", "SI.hStackManager.numSlices") or 1)
    repeats = _repeats(path, header)
    said = _number(header, "SI.hStackManager.numFramesPerVolumeWithFlyback")
    inside = _number(header, "SI.hStackManager.numFramesPerVolume", "SI.hFastZ.numFramesPerVolume")
    total = int(said or inside or 0)
    if repeats > 1 and _fast(header):
        repeats = _fast_repeats(path, planes, repeats, int(inside or 0), total)
    return Volume(planes, repeats, max(planes * repeats, total)) if max(planes, total // repeats) > 1 else Volume()


def _fast(header: Header) -> bool:
    return _true(header, "SI.hFastZ.enable") or "fast" in header.get("SI.hStackManager.stackMode", "")


def _repeats(path: Path, header: Header) -> int:
    """Return how many frames of a slice were saved one after the other."""
    taken, averaged = int(_number(header, "SI.hStackManager.framesPerSlice") or 1), int(_averaged(header))
    if taken <= 1 or averaged <= 1:
        return max(1, taken)
    if taken % averaged:
        raise DataError(
            f"{path} does not tell how its frames make up slices.",
            f"ScanImage's header says framesPerSlice {taken} and logAverageFactor {averaged}, which does not divide it.",
            "Export each plane as a stack of its own.",
        )
    return taken // averaged


def _fast_repeats(path: Path, planes: int, repeats: int, inside: int, total: int) -> int:
    """Return the repeats of a fast stack, whose header may keep framesPerSlice from a slow one."""
    if inside == planes or 0 < total < planes * repeats:
        return 1
    if inside == planes * repeats or total >= planes * repeats:
        return repeats
    raise DataError(
        f"{path} does not tell how its frames make up volumes.",
        f"ScanImage's header says framesPerSlice {repeats} and {planes} slices of a fast stack, not its frames per volume.",
        "Export each plane as a stack of its own.",
    )


def _averaged(header: Header) -> float:
    return _number(header, "SI.hScan2D.logAverageFactor", "state.acq.numAvgFramesSave") or 1


def _frame_rate(header: Header, volume: Volume) -> float | None:
    """Return saved frames per second and channel, those of all planes together."""
    rate = _number(header, "SI.hRoiManager.scanFrameRate", "state.acq.frameRate", "SI.scanFrameRate")
    volumes = _number(header, "SI.hRoiManager.scanVolumeRate")
    if rate is None and volumes and volume.frames > 1:
        return volumes * volume.frames
    return rate / _averaged(header) if rate else None


def _true(header: Header, name: str) -> bool:
    return header.get(name, "0").lower() in ("1", "true")


def _number(header: Header, *names: str) -> float | None:
    for name in names:
        try:
            return float(header[name])
        except (KeyError, ValueError):
            continue
    return None


def fields(path: Path, scan: Scan, shape: tuple[int, int]) -> list[tuple[range, range]] | None:
    """Return rows and columns of each field in a page; empty where a page is one field, None where they are not known.

    Fields lie above each other, with equally many lines between them, taken while the scanner flies on.
    """
    if not _true(scan.header, "SI.hRoiManager.mroiEnable"):
        return []
    sizes = _sizes(scan.artist)
    if sizes is None:
        return None
    heights, between = [height for _, height in sizes], 0
    spare = shape[0] - sum(heights)
    if len(sizes) > 1:
        between, spare = divmod(spare, len(sizes) - 1)
    if spare or between < 0 or max(width for width, _ in sizes) > shape[1]:
        return None
    begins = np.cumsum([0, *(height + between for height in heights[:-1])])
    return [
        (range(int(begin), int(begin) + height), range(width))
        for begin, (width, height) in zip(begins, sizes, strict=True)
    ]


def _sizes(artist: str) -> list[tuple[int, int]] | None:
    """Return width and height of each field in pixels, in order; None unless every plane has all of them, of one size."""
    try:
        rois = _listed(json.loads(artist)["RoiGroups"]["imagingRoiGroup"]["rois"])
        depths = {json.dumps(roi.get("zs")) for roi in rois}
        sizes = [{tuple(map(int, part["pixelResolutionXY"])) for part in _listed(roi["scanfields"])} for roi in rois]
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    if not sizes or len(depths) > 1 or any(len(one) != 1 or len(next(iter(one))) != 2 for one in sizes):
        return None
    found = [next(iter(one)) for one in sizes]
    return [(one[0], one[1]) for one in found] if min(map(min, found)) > 0 else None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
