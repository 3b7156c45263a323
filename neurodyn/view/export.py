"""One offline file with all that a window shows but the movie."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.core.files import atomic
from neurodyn.view import pack
from neurodyn.view.curation import Curation
from neurodyn.view.frames import greys
from neurodyn.view.scene import Scene
from neurodyn.view.server import SCRIPTS, page_file

MOST_CELLS = 500
PARTS = 1500  # of a trace, each with its lowest and highest value
STEPS = 32767  # of 16-bit numbers; the one below the lowest says that there is no value
AVERAGED = ("dff", "fluorescence", "corrected")


def check_size(scene: Scene) -> None:
    """Refuse what would make a page that no browser opens gladly.

    Raises
    ------
    DataError
        If there are too many cells.
    """
    if len(scene.cells) > MOST_CELLS:
        raise DataError(
            f"{len(scene.cells)} cells are too many for one file.",
            f"At most {MOST_CELLS} fit: each carries its traces and averages.",
            "Drop some first (neurodyn curate), or serve the page: neurodyn view",
        )


def export(scene: Scene, curation: Curation, target: Path) -> Path:
    """Write a page that opens offline, atomically, and return its path.

    Raises
    ------
    DataError
        If there are too many cells.
    """
    check_size(scene)
    told = pack.about(scene)
    told["pictures"] = [one for one in told["pictures"] if one["kind"] != "frame"]
    averaged = [name for name in AVERAGED if name in scene.traces.variables] or list(scene.traces.variables)[:1]
    data = {
        "about": told,
        "quality": pack.quality(scene),
        "pictures": {one["name"]: _picture(scene, one["name"]) for one in told["pictures"]},
        "traces": _traces(scene),
        "averages": {name: _averages(scene, name) for name in averaged},
        "actions": [asdict(each) for each in curation.actions()],
    }
    with atomic(target) as path:
        path.write_text(_page(data), encoding="utf-8")
    return target


def _page(data: dict[str, Any]) -> str:
    """Put style, scripts and data into the page."""
    text = page_file("index.html").replace(
        '<link rel="stylesheet" href="style.css">', f"<style>\n{page_file('style.css')}</style>"
    )
    text = re.sub(r'<script src="[\w.]+"></script>\n', "", text)
    # "</script>" in a name of the data would end it
    embedded = json.dumps(data, ensure_ascii=False, allow_nan=False, default=_plain).replace("</", "<\\/")
    scripts = "".join(f"<script>\n{page_file(name)}</script>\n" for name in SCRIPTS)
    return text.replace("</body>", f'<script type="application/json" id="data">{embedded}</script>\n{scripts}</body>')


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)


def _picture(scene: Scene, name: str) -> dict[str, Any]:
    values, _ = scene.picture(name)
    chosen = scene.levels(name)
    shown = greys(values, chosen.lowest, chosen.highest)
    return {"shape": list(values.shape), "values": pack.packed(shown, "u1"), "levels": asdict(chosen)}


def _traces(scene: Scene) -> dict[str, Any]:
    span = float(scene.time[0]), float(scene.time[-1])
    found = {
        name: [_quantised(*scene.traces.window(name, row, *span, PARTS)) for row in range(len(scene.cells))]
        for name in scene.traces.variables
    }
    return {"time": pack.packed(scene.traces.times(*span, PARTS), "<f8"), "variables": found}


def _quantised(low: np.ndarray, high: np.ndarray) -> dict[str, Any]:
    """Return an envelope as 16-bit numbers: value = offset + scale * number."""
    finite = np.concatenate([low[np.isfinite(low)], high[np.isfinite(high)]]).astype(np.float64)
    bottom, top = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    offset, scale = (bottom + top) / 2, max((top - bottom) / 2 / STEPS, 1e-30)

    def numbers(values: np.ndarray) -> str:
        whole = np.where(np.isfinite(values), np.rint((values - offset) / scale), -STEPS - 1)
        return pack.packed(whole, "<i2")

    return {"offset": offset, "scale": scale, "low": numbers(low), "high": None if high is low else numbers(high)}


def _averages(scene: Scene, variable: str) -> dict[str, list[dict[str, Any]]]:
    return {
        name: [pack.average(scene, row, variable, name) for row in range(len(scene.cells))]
        for name in pack.columns(scene.stimulus)
    }
