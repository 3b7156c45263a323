"""ThorImage: one TIFF file per frame, plane and channel, described by Experiment.xml beside them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from neurodyn.core.errors import DataError
from neurodyn.readers.tiff.grid import Grid, of_places
from neurodyn.readers.tiff.markup import named, parse_file

NAME = re.compile(r"^Chan([A-Z])_(\d+)_(\d+)_(\d+)_(\d+)$", re.IGNORECASE)
PREVIEW = re.compile(r"^Chan[A-Z]_?Preview$", re.IGNORECASE)


def arranged(path: Path, files: Sequence[Path]) -> Grid | None:
    """Return the grid of a ThorImage folder, channel by area, tile, plane and time point; None where names are others.

    Raises
    ------
    DataError
        If there are several areas, or files of other names.
    """
    known = {file: found for file in files if (found := NAME.match(file.stem))}
    if not known:
        return None
    strange = [file for file in files if file not in known and not PREVIEW.match(file.stem)]
    areas = {(found[2], found[3]) for found in known.values()}
    if strange or len(areas) > 1:
        raise DataError(
            f"{path} is not one ThorImage series.",
            f"Found {len(areas)} areas or tiles, and {len(strange)} other files"
            f"{f', the first of them {strange[0].name}' if strange else ''}.",
            "Give each area a folder of its own, and move other files out.",
        )
    places = {file: (int(found[5]), int(found[4]), ord(found[1].upper())) for file, found in known.items()}
    planes = len({place[1] for place in places.values()})
    rate, times = _experiment(path / "Experiment.xml", planes)
    letters = ", ".join(f"Chan{chr(code)}" for code in sorted({place[2] for place in places.values()}))
    by = "names and Experiment.xml" if rate or times else "names"
    skipped = f", {len(files) - len(known)} previews left out" if len(files) > len(known) else ""
    grid = of_places(places, f"ThorImage, by {by}, {letters}{skipped}", times)
    return replace(grid, order=replace(grid.order, rate_hz=rate))


def _experiment(path: Path, planes: int) -> tuple[float | None, int | None]:
    """Return frames per second and plane, and the number of time points, as far as the description tells them."""
    if not path.is_file():
        return None, None
    root = parse_file(path)
    scan, streaming, lapse = (_attributes(root, name) for name in ("LSM", "Streaming", "Timelapse"))
    rate = _number(scan, "frameRate")
    if rate and _number(scan, "averageMode") == 1:
        rate /= _number(scan, "averageNum") or 1
    fast = streaming.get("zFastEnable", "1") == "1"
    if rate and planes > 1:
        flyback = _number(streaming, "flybackFrames") or 0 if _number(streaming, "zFastEnable") == 1 else 0
        rate = rate / (planes + flyback) if fast else None
    streamed = _number(_attributes(root, "CaptureMode"), "mode") == 1
    return rate or None, None if streamed else int(_number(lapse, "timepoints") or 0) or None


def _attributes(root: Any, name: str) -> dict[str, str]:
    found = next(named(root, name), None)
    return {} if found is None else dict(found.attrib)


def _number(attributes: dict[str, str], name: str) -> float | None:
    try:
        return float(attributes[name])
    except (KeyError, ValueError):
        return None
