"""From an NWB 2 file of the Allen Institute's Visual Behavior, as DANDI:000711 has it, to a `Session`.

The layout is the one that the Institute's SDK writes; no file of the archive itself was read while this was written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurodyn.data.lazy import DiskArray
from neurodyn.readers.allen.nwb1 import Place, courses, leading, part, text
from neurodyn.readers.allen.nwb2 import SEXES, intervals, what_is_said
from neurodyn.readers.allen.session import Session, Table
from neurodyn.readers.containers.hdf5 import Hdf5Array
from neurodyn.readers.lazy_views import Turned

MARKS = ("processing/ophys/dff/traces", "processing/ophys/image_segmentation/cell_specimen_table")
TRACES = {
    "dff": "dff/traces",
    "corrected": "corrected_fluorescence/traces",
    "demixed": "demixed_trace/traces",
    "neuropil": "neuropil_trace/traces",
}
PARAMETERS = {
    "movie_frame_index": "frame",
    "movie_repeat": "repeat",
    "start_frame": "monitor_start_frame",  # start_frame and stop_frame are the microscope's
    "end_frame": "monitor_stop_frame",
}
EYE = "acquisition/EyeTracking/pupil_tracking"
BEHAVIOR = {
    "running_speed": Place("processing/running/speed", None, "cm/s"),
    "licks": Place("processing/licking/licks", None, "monitor frame"),
    "reward_volume": Place("processing/rewards/volume", None, "mL", axis="rewards"),
    "reward_auto": Place("processing/rewards/autorewarded", None, "1", axis="rewards"),
    "pupil_center_x": Place(EYE, 0, "pixel"),
    "pupil_center_y": Place(EYE, 1, "pixel"),
    "pupil_area": Place(EYE, None, "pixel²", "area"),
    "pupil_width": Place(EYE, None, "pixel", "width"),
    "pupil_height": Place(EYE, None, "pixel", "height"),
    "likely_blink": Place("acquisition/EyeTracking/likely_blink", None, "1", axis="pupil_tracking"),
}


class Scattered(DiskArray):
    """Traces of some ROIs as those of all, on disk, shape (roi, time); NaN where a ROI has none.

    Parameters
    ----------
    source
        Shape (some roi, time).
    rows
        Which ROI each of them is, shape (some roi,).
    count
        Number of ROIs.
    """

    def __init__(self, source: Any, rows: np.ndarray, count: int) -> None:
        super().__init__((count, source.shape[1]), np.result_type(source.dtype, np.float32))
        self.source, self.rows = source, rows

    def _block(self, key: tuple[slice, ...]) -> np.ndarray:
        values = np.asarray(self.source[:, key[1]])
        whole = np.full((self.shape[0], values.shape[1]), np.nan, self.dtype)
        whole[self.rows] = values
        return whole[key[0]]


def read_behavior(file: h5py.File, path: Path) -> Session:
    """Read a session of one imaging plane; traces and templates stay on disk.

    Variables are `dff`, `corrected`, and, where the file has them, `demixed`, `neuropil` and `spikes` (detected events).

    Parameters
    ----------
    path
        What the file is called in messages, and where it lies unless it is streamed.

    Raises
    ------
    DataError
        If an essential part is missing.
    OSError, ValueError, KeyError, RuntimeError
        If the file is damaged.
    """
    ophys: Any = part(path, file, "processing/ophys")
    time = np.asarray(part(path, ophys, "dff/traces/timestamps")[()], dtype=np.float64)
    table = part(path, ophys, "image_segmentation/cell_specimen_table")
    valid = table.get("valid_roi")
    picture = ophys.get("images/max_projection")
    return Session(
        metadata=_metadata(file),
        time=time,
        traces=_traces(path, ophys, table["id"].size),
        tables=_tables(file, time),
        behavior=courses(file, BEHAVIOR),
        cells=np.asarray(table["cell_specimen_id"][()]).astype(np.int64),
        roi_ids=np.asarray(table["id"][()]).astype(str),
        neuropil_r=None,
        masks=[np.argwhere(mask) for mask in part(path, table, "image_mask")],
        max_projection=None if picture is None else np.asarray(picture[()]),
        motion=_motion(ophys),
        templates=_templates(path, file),
        trials=_trials(file, time),
        valid=None if valid is None else np.asarray(valid[()]).astype(bool),
    )


def _traces(path: Path, ophys: Any, cells: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        name: Turned(Hdf5Array(path, ophys[place]["data"])) for name, place in TRACES.items() if place in ophys
    }
    if "event_detection" in ophys:
        group = ophys["event_detection"]
        events, rows = Turned(Hdf5Array(path, group["data"])), np.asarray(group["rois"][()]).astype(np.int64)
        every = np.array_equal(rows, np.arange(cells))
        found["spikes"] = events if every else Scattered(events, rows, cells)
    return found


def _tables(file: h5py.File, time: np.ndarray) -> dict[str, Table]:
    groups: Any = file.get("intervals", {})
    tables = {}
    for key in sorted(name for name in groups if name.endswith("_presentations")):
        table = intervals(groups[key], time, PARAMETERS)
        table.pop("stimulus_name", None)  # the same in every row, and the table's name
        if table["start"].size:
            tables[key.removesuffix("_presentations")] = table
    return tables


def _trials(file: h5py.File, time: np.ndarray) -> Table | None:
    group: Any = file.get("intervals/trials")
    if group is None:
        return None
    table = intervals(group, time, {})
    names = {"start_s": "start", "stop_s": "stop", "start": "start_frame", "end": "stop_frame"}
    return {names.get(name, name): column for name, column in table.items()}


def _motion(ophys: Any) -> np.ndarray | None:
    """Return shifts along y and x."""
    places = [f"ophys_motion_correction_{axis}" for axis in "yx"]
    if any(place not in ophys for place in places):
        return None
    return np.stack([np.asarray(ophys[place]["data"][()]) for place in places], axis=1)


def _templates(path: Path, file: h5py.File) -> dict[str, Any]:
    kept: Any = file.get("stimulus/templates", {})
    return {name: Hdf5Array(path, kept[name]["data"]) for name in kept if kept[name]["data"].ndim == 3}


def _metadata(file: h5py.File) -> dict[str, Any]:
    general: Any = file["general"]

    def attribute(*names: str) -> Any:
        attrs = general["metadata"].attrs
        return attrs[next(name for name in names if name in attrs)]

    def plane(name: str) -> str:
        return text(next(iter(general["optophysiology"].values()))[name][()])

    def subject(name: str) -> str:
        return text(general["subject"][name][()])

    def lines(name: str) -> list[str]:
        return [text(value) for value in np.asarray(general["subject"].attrs[name]).ravel()]

    return what_is_said(
        file,
        {
            "experiment_id": lambda: int(attribute("ophys_experiment_id")),
            "container_id": lambda: int(attribute("ophys_container_id", "experiment_container_id")),
            "ophys_session_id": lambda: int(attribute("ophys_session_id")),
            "behavior_session_id": lambda: int(attribute("behavior_session_id")),
            "session_type": lambda: text(attribute("session_type")),
            "depth_um": lambda: int(attribute("imaging_depth")),
            "area": lambda: plane("location"),
            "indicator": lambda: plane("indicator"),
            "genotype": lambda: subject("genotype"),
            "cre_line": lambda: next(line for line in lines("driver_line") if "Cre" in line),
            "reporter_line": lambda: ";".join(lines("reporter_line")),
            "age_days": lambda: leading(subject("age").removeprefix("P")),
            "sex": lambda: SEXES[subject("sex")],
            "session_start": lambda: text(file["session_start_time"][()]),  # pyright: ignore[reportIndexIssue]
        },
    )
