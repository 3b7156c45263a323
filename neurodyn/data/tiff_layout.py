"""What a TIFF file says of the frames in it: their order, channels, planes and rate."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tifffile

from neurodyn.core.errors import DataError
from neurodyn.data.cut import Part
from neurodyn.data.stacks import Stack

TO_SECONDS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "min": 60.0, "sec": 1.0}
SCANIMAGE = re.compile(r"^\s*(?:scanimage\.)?((?:SI|state)\.[\w.]+)\s*=\s*(.*?)\s*$", re.MULTILINE)
PRAIRIE_CHANNEL = re.compile(r"_Ch(\d+)_")
PRAIRIE_PERIOD = re.compile(r'key="framePeriod"[^>]*value="([0-9.eE+-]+)"')


@dataclass(frozen=True)
class Layout:
    """Order of the frames in a file.

    Parameters
    ----------
    sizes
        Number of time points T, planes Z and channels C, the slowest first; what is missing has one.
    planes
        Planes with an image; Z may count those lost while the scanner flies back.
    rate_hz
        Frames per second, channel and plane.
    """

    sizes: Mapping[str, int]
    planes: int = 1
    rate_hz: float | None = None

    def stack(self, frames: Any) -> Stack:
        """Return the stack over all frames of the file in their order, shape (frame, y, x)."""
        return Stack(
            lambda channel, plane: self._pick(frames, channel, plane),
            self.sizes.get("C", 1),
            self.planes,
            self.rate_hz,
        )

    def _pick(self, frames: Any, channel: int, plane: int) -> Any:
        stride, step = {}, 1
        for axis, size in reversed(list(self.sizes.items())):
            stride[axis], step = step, step * size
        first = channel * stride.get("C", 0) + plane * stride.get("Z", 0)
        last = first + stride["T"] * self.sizes["T"]
        if (first, last, stride["T"]) == (0, frames.shape[0], 1):
            return frames
        return Part(frames, (range(first, last, stride["T"]), *(range(size) for size in frames.shape[1:])))


def of_series(path: Path, series: Any, rate_hz: float | None) -> Layout:
    """Return the layout of one image series, from the axes that OME, ImageJ or tifffile name.

    Raises
    ------
    DataError
        If it is no series of grey frames.
    """
    axes = series.axes
    leading = {axis: int(n) for axis, n in zip(axes[:-2], series.shape[:-2], strict=True) if n > 1}
    if len(leading) == 1 and "C" not in leading:
        leading = {"T": next(iter(leading.values()))}
    if not axes.endswith("YX") or set(leading) - set("TZC") or series.dtype.kind not in "uif":
        raise not_a_stack(path, f"axes {axes} of shape {series.shape}, {series.dtype}")
    return Layout(leading if "T" in leading else {"T": 1} | leading, leading.get("Z", 1), rate_hz)


def of_scanimage(tif: tifffile.TiffFile, frames: int) -> Layout | None:
    """Return the layout that ScanImage's header gives, version 3 or later; None where there is no such header.

    Frames of channels are innermost, then planes, then volumes; an unfinished last volume is left out.
    """
    page: Any = tif.pages[0]
    header = dict(SCANIMAGE.findall(f"{page.software}\n{page.description}".replace("\r", "\n")))
    if not header:
        return None
    channels = _channels(header)
    planes, per_volume = _volume(header)
    averaged = _number(header, "SI.hScan2D.logAverageFactor", "state.acq.numAvgFramesSave") or 1
    rate = _number(header, "SI.hRoiManager.scanFrameRate", "state.acq.frameRate", "SI.scanFrameRate")
    volumes = _number(header, "SI.hRoiManager.scanVolumeRate")
    if planes > 1:
        rate = volumes or (rate / per_volume if rate else None)
    sizes = {"T": frames // (per_volume * channels), "Z": per_volume, "C": channels}
    return Layout(sizes, planes, rate / averaged if rate else None)


def _channels(header: Mapping[str, str]) -> int:
    saved = re.findall(r"\d+", header.get("SI.hChannels.channelSave", header.get("SI.channelsSave", "")))
    old = [v for k, v in header.items() if re.fullmatch(r"state\.acq\.savingChannel\d", k) and float(v or 0)]
    return max(1, len(saved) or len(old))


def _volume(header: Mapping[str, str]) -> tuple[int, int]:
    """Return planes with an image, and frames per volume with those of the flyback."""
    fast = header.get("SI.hFastZ.enable", "0").lower() in ("1", "true")
    stack = header.get("SI.hStackManager.enable", "0").lower() in ("1", "true")
    per_slice = _number(header, "SI.hStackManager.framesPerSlice") or 1
    if not fast and not (stack and per_slice == 1):
        return 1, 1
    planes = _number(header, "SI.hStackManager.actualNumSlices", "SI.hStackManager.numSlices") or 1
    total = _number(header, "SI.hStackManager.numFramesPerVolumeWithFlyback", "SI.hFastZ.numFramesPerVolume")
    return int(planes), max(int(planes), int(total or planes))


def _number(header: Mapping[str, str], *names: str) -> float | None:
    for name in names:
        try:
            return float(header[name])
        except (KeyError, ValueError):
            continue
    return None


def interval_rate(tif: tifffile.TiffFile) -> float | None:
    """Return frames per second where an OME or ImageJ file clearly says it."""
    value, unit = None, "s"
    if tif.is_imagej and tif.imagej_metadata:
        value, unit = tif.imagej_metadata.get("finterval"), str(tif.imagej_metadata.get("tunit", "s"))
    elif tif.is_ome and tif.ome_metadata:
        found = re.search(r'TimeIncrement="([0-9.eE+-]+)"', tif.ome_metadata)
        named = re.search(r'TimeIncrementUnit="([^"]+)"', tif.ome_metadata)
        value, unit = found.group(1) if found else None, named.group(1) if named else "s"
    period = float(value) * TO_SECONDS.get(unit, 0.0) if value else 0.0
    return 1 / period if period > 0 else None


def prairie_channels(files: list[Path]) -> list[list[Path]]:
    """Group the files of a Prairie View (Bruker) folder, one frame and channel each, by channel; others are one group."""
    groups: dict[int, list[Path]] = {}
    for file in files:
        found = PRAIRIE_CHANNEL.search(file.name)
        groups.setdefault(int(found[1]) if found else -1, []).append(file)
    return [files] if -1 in groups else [groups[key] for key in sorted(groups)]


def prairie_rate(folder: Path) -> float | None:
    """Return frames per second from the folder's Prairie View description, an .xml file."""
    for file in sorted(folder.glob("*.xml")):
        with file.open(encoding="utf-8", errors="replace") as text:
            found = PRAIRIE_PERIOD.search(text.read(2**20))
        if found and float(found[1]) > 0:
            return 1 / float(found[1])
    return None


def not_a_stack(path: Path, found: str) -> DataError:
    """Return what to tell the user of a TIFF that is no movie."""
    return DataError(
        f"{path} is not a stack of grey frames.",
        f"Found {found}; expected (time, y, x), perhaps with channels and planes.",
        "Export it as a grey stack; name interleaved channels: --channels a,b",
    )
