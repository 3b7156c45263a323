# /// script
# requires-python = "==3.11.*"
# dependencies = ["allensdk==2.16.2", "statsmodels<0.15", "setuptools<81"]
# [tool.uv]
# exclude-newer = "2026-11-01T00:00:00Z"
# ///
# pyright: reportMissingImports=false
"""What the Allen Institute's own SDK makes of its sessions, in an environment of its own.

`uv run --python 3.11 --script allensdk_worker.py REQUEST.json ANSWER.json`. The request may have `cache` (a folder for
what the SDK downloads), `api` (its address), `catalogue` (whether to ask for it), `experiments` (ids to download) and
`read` (pairs of an NWB file and the HDF5 file to write). The answer says what came of each; nothing is told by other ways.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from allensdk.core.brain_observatory_cache import BrainObservatoryCache
from allensdk.core.brain_observatory_nwb_data_set import BrainObservatoryNwbDataSet, NoEyeTrackingException

TRACES = {
    "dff": "get_dff_traces",
    "corrected": "get_corrected_fluorescence_traces",
    "demixed": "get_demixed_traces",
    "neuropil": "get_neuropil_traces",
    "fluorescence": "get_fluorescence_traces",
}


def tried(task: Callable[[], Any]) -> dict[str, Any]:
    """Return the result of a task, or its error, ready for JSON."""
    try:
        return {"result": task()}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def download(cache: BrainObservatoryCache, folder: Path, experiment: int) -> str:
    """Download one session; return where it lies."""
    cache.get_ophys_experiment_data(experiment)
    return str(folder / "ophys_experiment_data" / f"{experiment}.nwb")


def write(source: str, target: str) -> str:
    """Write everything the SDK reads from a session into one HDF5 file."""
    data = BrainObservatoryNwbDataSet(source)
    with h5py.File(target, "w") as file:
        file["time"] = data.get_fluorescence_timestamps()
        for name, method in TRACES.items():
            try:
                file[f"traces/{name}"] = getattr(data, method)()[1]
            except KeyError:  # files without demixed traces
                continue
        file["neuropil_r"] = data.get_neuropil_r()
        file["cells"] = data.get_cell_specimen_ids()
        file["roi_ids"] = np.array(data.get_roi_ids(), dtype="S")
        file["masks"] = data.get_roi_mask_array().astype(np.uint8)
        file["max_projection"] = data.get_max_projection()
        motion = data.get_motion_correction()
        file["motion"] = motion[["y_motion", "x_motion"]].values
        for name in data.list_stimuli():
            table = data.get_stimulus_table(name)
            for column in table.columns:
                file[f"tables/{name}/{column}"] = table[column].values
        write_behavior(file, data)
        file.attrs["metadata"] = json.dumps(data.get_metadata(), default=str)
    return target


def write_behavior(file: h5py.File, data: BrainObservatoryNwbDataSet) -> None:
    """Write running speed, and pupil where it was tracked."""

    def put(name: str, time: np.ndarray, values: np.ndarray, unit: str, axis: str) -> None:
        file[f"behavior/{name}/time"], file[f"behavior/{name}/values"] = time, values
        file[f"behavior/{name}"].attrs.update({"unit": unit, "axis": axis})

    speed, time = data.get_running_speed()
    put("running_speed", time, speed, "cm/s", "running_speed")
    try:
        for spherical, names, unit, axis in (
            (False, ("pupil_x", "pupil_y"), "cm", "pupil_location"),
            (True, ("pupil_altitude", "pupil_azimuth"), "degree", "pupil_location_spherical"),
        ):
            time, place = data.get_pupil_location(as_spherical=spherical)
            for k, name in enumerate(names):
                put(name, time, place[:, k], unit, axis)
        time, area = data.get_pupil_size()
        put("pupil_area", time, area, "pixel", "pupil_size")
    except NoEyeTrackingException:
        return


def main(request_path: str, answer_path: str) -> None:
    """Answer one request."""
    request = json.loads(Path(request_path).read_text(encoding="utf-8"))
    answer: dict[str, Any] = {"downloads": {}, "sessions": []}
    if "cache" in request:
        folder = Path(request["cache"])
        address = {"base_uri": request["api"]} if request.get("api") else {}
        cache = BrainObservatoryCache(manifest_file=str(folder / "manifest.json"), **address)
        if request.get("catalogue"):
            answer["catalogue"] = tried(lambda: len(cache.get_ophys_experiments(include_failed=True)))
        for experiment in request.get("experiments", ()):
            answer["downloads"][experiment] = tried(lambda one=experiment: download(cache, folder, one))
    answer["sessions"] = [tried(lambda pair=pair: write(*pair)) for pair in request.get("read", ())]
    Path(answer_path).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:3])
