"""Prairie View (Bruker): one TIFF file per frame and channel, named by cycle, described by an XML file beside them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.readers.tiff.grid import Grid
from neurodyn.readers.tiff.layout import Order, check_promise, rising
from neurodyn.readers.tiff.markup import named, parse_file

NAME = re.compile(r"^(?P<stem>.*)_Cycle(\d+)_(?:CurrentSettings_)?Ch(\d+)_(\d+)(?:\.ome)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Shot:
    """One picture.

    Parameters
    ----------
    files
        VariablePlace -> file and page in it; None: all of its pages.
    relative, absolute
        Its times, s, as the description has them.
    """

    files: Mapping[int, tuple[Path, int | None]]
    relative: float = float("nan")
    absolute: float = float("nan")


@dataclass(frozen=True)
class Description:
    """What the XML file says.

    Parameters
    ----------
    period
        Seconds per picture.
    kinds
        Of each cycle, such as "TSeries ZSeries Element".
    backwards
        Whether every second volume was scanned from below.
    cycles
        Pictures of each cycle, as far as they are listed.
    """

    period: float | None
    kinds: Sequence[str]
    backwards: bool
    cycles: Sequence[Sequence[Shot]]


def arranged(path: Path, files: Sequence[Path]) -> Grid | None:
    """Return the grid of a Prairie View folder; None where names are others.

    Raises
    ------
    DataError
        If the files are of several series, or nothing says whether cycles count time points or planes.
    """
    known = {file: found for file in files if (found := NAME.match(file.stem))}
    if not known:
        return None
    if strange := [file for file in files if file not in known]:
        raise DataError(
            f"{strange[0]} is no frame of a Prairie View series.",
            f"Found {len(known)} files named as …_Cycle00001_Ch1_000001 beside it.",
            "Move files of other kinds out of the folder.",
        )
    stems = sorted({found["stem"] for found in known.values()})
    if len(stems) > 1:
        raise DataError(
            f"{path} holds several series.", f"Found {', '.join(stems[:4])}.", "Give each a folder of its own."
        )
    told = _description(path, stems[0], {file.name: file for file in files})
    cycles = [list(cycle) for cycle in told.cycles] if any(told.cycles) else _by_name(known, len(told.kinds))
    volumes = _volumetric(path, told.kinds, cycles)
    return _grid(_in_planes(cycles, told.backwards) if volumes else [cycles], told, volumes)


def _by_name(known: Mapping[Path, re.Match[str]], promised: int) -> list[list[Shot]]:
    """Return pictures by the numbers of cycle and frame; of cycles that are promised and have no file, empty ones."""
    numbers = {file: (int(found[2]), int(found[4]), int(found[3])) for file, found in known.items()}
    first = min(cycle for cycle, _, _ in numbers.values())
    last = max(max(cycle for cycle, _, _ in numbers.values()), first + promised - 1)
    check_promise(next(iter(known)), max(last, *(frame for _, frame, _ in numbers.values())))
    cycles: list[dict[int, dict[int, tuple[Path, int | None]]]] = [{} for _ in range(first, last + 1)]
    for file, (cycle, frame, channel) in numbers.items():
        cycles[cycle - first].setdefault(frame, {})[channel] = (file, None)
    begin = min(min(frames) for frames in cycles if frames)
    return [[Shot(frames.get(k, {})) for k in range(begin, max(frames, default=begin) + 1)] for frames in cycles]


def _description(path: Path, stem: str, files: Mapping[str, Path]) -> Description:
    own = path / f"{stem}.xml"
    described = [own] if own.is_file() else [file for file in sorted(path.glob("*.xml")) if _of_prairie(file)]
    if not described:
        return Description(None, (), False, ())
    root = parse_file(described[0])
    period = next((_number(one.get("value")) for one in root.iter() if one.get("key") == "framePeriod"), float("nan"))
    sequences = list(named(root, "Sequence"))
    backwards = any(one.get("bidirectionalZ", "").lower() == "true" for one in sequences)
    cycles = [[_shot(frame, files) for frame in named(one, "Frame")] for one in sequences]
    if not any(shot.files for cycle in cycles for shot in cycle):
        cycles = []
    return Description(period if period > 0 else None, [one.get("type", "") for one in sequences], backwards, cycles)


def _of_prairie(file: Path) -> bool:
    with file.open("rb") as content:
        return b"<PVScan" in content.read(4096)


def _shot(frame: Any, files: Mapping[str, Path]) -> Shot:
    pages = {}
    for one in named(frame, "File"):
        file, channel, page = files.get(one.get("filename", "")), one.get("channel", "1"), one.get("page", "1")
        if file is not None and channel.isdecimal() and page.isdecimal():
            pages[int(channel)] = (file, max(0, int(page) - 1))
    return Shot(pages, _number(frame.get("relativeTime")), _number(frame.get("absoluteTime")))


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def _volumetric(path: Path, kinds: Sequence[str], cycles: Sequence[Sequence[Shot]]) -> bool:
    """Say whether each cycle is a volume."""
    volumes = {"zseries" in kind.lower().replace(" ", "").replace("-", "") for kind in kinds if kind}
    if len(volumes) == 1:
        return volumes.pop()
    several = max(map(len, cycles)) > 1
    if len(cycles) == 1 or not several:
        return False
    raise DataError(
        f"{path}: nothing says whether its cycles are volumes or stretches of time.",
        f"Found {len(cycles)} cycles of {max(map(len, cycles))} frames; the series' .xml file tells of "
        f"{' and '.join(sorted(set(kinds))) or 'none'}.",
        "Copy the series' .xml file beside the frames, or give cycles of each kind a folder of their own.",
    )


def _in_planes(cycles: Sequence[Sequence[Shot]], backwards: bool) -> list[list[list[Shot]]]:
    """Return pictures by plane and time; every second volume is turned where the scanner went back through it."""
    planes = max(map(len, cycles))
    full = [[*cycle, *(Shot({}) for _ in range(planes - len(cycle)))] for cycle in cycles]
    turned = [cycle[::-1] if backwards and k % 2 else cycle for k, cycle in enumerate(full)]
    return [[[cycle[plane]] for cycle in turned] for plane in range(planes)]


def _grid(by_plane: Sequence[Sequence[Sequence[Shot]]], told: Description, volumes: bool) -> Grid:
    shots = [[shot for part in plane for shot in part] for plane in by_plane]
    channels = sorted({channel for plane in shots for shot in plane for channel in shot.files})
    files = list(dict.fromkeys(shot.files[c][0] for plane in shots for shot in plane for c in sorted(shot.files)))
    index = {file: k for k, file in enumerate(files)}
    rows = np.full((len(shots[0]), len(shots), len(channels)), -1)
    pages = np.zeros_like(rows)
    for z, plane in enumerate(shots):
        for t, shot in enumerate(plane):
            for c, channel in enumerate(channels):
                if channel in shot.files:
                    file, page = shot.files[channel]
                    rows[t, z, c], pages[t, z, c] = index[file], page or 0
    listed = any(page is not None for plane in shots for shot in plane for _, page in shot.files.values())
    order = _clocked(Order(rows, words=_words(rows, channels, told, volumes)), shots, told, volumes)
    return Grid(files, order, pages if listed else None, "planes" if volumes and len(shots) == 1 else "time")


def _clocked(order: Order, shots: Sequence[Sequence[Shot]], told: Description, volumes: bool) -> Order:
    """Add the rate, and the times where the description lists them; else those of turned volumes."""
    planes = order.rows.shape[1]
    order = replace(order, rate_hz=1 / (told.period * planes) if told.period else None)
    for name in ("relative", "absolute"):
        times = np.array([[getattr(shot, name) for shot in plane] for plane in shots]).T
        if len(times) > 1 and rising(times):
            return replace(order, times=times - times.min())
    if not (volumes and told.backwards):
        return order
    place = np.arange(planes) / planes
    every_second = np.arange(len(order.rows))[:, None] % 2 == 1
    return replace(order, slots=np.arange(len(order.rows))[:, None] + np.where(every_second, place[::-1], place))


def _words(rows: np.ndarray, channels: Sequence[int], told: Description, volumes: bool) -> str:
    by = "names and XML" if told.kinds else "names"
    each = "volume" if volumes else "stretch of time"
    listed = ", ".join(f"Ch{channel}" for channel in channels)
    words = f"Prairie View, by {by}: {rows.shape[0]} time points, {rows.shape[1]} planes, channels {listed}"
    turned = "; every second volume was scanned backwards and is turned" if volumes and told.backwards else ""
    return f"{words}; each cycle is a {each}{turned}"
