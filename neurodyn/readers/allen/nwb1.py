"""From an NWB 1 file of the Allen Brain Observatory to a `Session`."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.readers.allen.session import Corrected, Course, Session, Table
from neurodyn.readers.containers.hdf5 import Hdf5Array

LOGGER = logging.getLogger(__name__)
PIPELINE = "processing/brain_observatory_pipeline"
PLANE = "imaging_plane_1"
DEMIXED_SINCE = 2.0  # version of the pipeline from which neuropil is taken from demixed traces


class Place(NamedTuple):
    """Where a course of behaviour lies: its series, the column (None where there is but one), its unit, its dataset."""

    series: str
    column: int | None
    unit: str
    values: str = "data"
    axis: str | None = None  # the series's name


def leading(text: str) -> int:
    """Return the number that a text begins with."""
    return int(re.match(r"\s*(\d+)", text)[1])  # pyright: ignore[reportOptionalSubscript]


def line(genotype: str) -> str:
    """Return the first line of a genotype."""
    return genotype.split(";")[0].split("/")[0]


METADATA: dict[str, tuple[str, Callable[[str], Any]]] = {
    "experiment_id": ("session_id", int),
    "container_id": ("experiment_container_id", int),
    "session_type": ("session_type", str),
    "area": (f"optophysiology/{PLANE}/location", str),
    "depth_um": (f"optophysiology/{PLANE}/imaging depth", leading),
    "cre_line": ("subject/genotype", line),
    "genotype": ("subject/genotype", str),
    "age_days": ("subject/age", leading),
    "sex": ("subject/sex", str),
    "indicator": (f"optophysiology/{PLANE}/indicator", str),
    "specimen": ("specimen_name", str),
    "field_of_view": ("fov", str),
    "device": ("devices/2-photon microscope", str),
}


def metadata_of(name: str, text: str) -> Any:
    """Return what a text of the file means."""
    return METADATA[name][1](text)


PUPIL = {
    "pupil_x": Place("EyeTracking/pupil_location", 0, "cm"),
    "pupil_y": Place("EyeTracking/pupil_location", 1, "cm"),
    "pupil_altitude": Place("EyeTracking/pupil_location_spherical", 0, "degree"),
    "pupil_azimuth": Place("EyeTracking/pupil_location_spherical", 1, "degree"),
    "pupil_area": Place("PupilTracking/pupil_size", None, "pixel"),
}


def read_session(path: Path) -> Session:
    """Read a session; traces and templates stay on disk.

    Raises
    ------
    DataError
        If the file is NWB 1 but no session of the Brain Observatory, or lacks an essential part.
    OSError, ValueError, KeyError, RuntimeError
        If it is damaged.
    """
    with h5py.File(path, "r") as file:
        if PIPELINE not in file:
            raise DataError(
                f"{path} is no session of the Allen Brain Observatory.",
                f"It is NWB 1 without {PIPELINE}.",
                "neurodyn reads NWB 2, and NWB 1 of the Brain Observatory alone.",
            )
        pipeline: Any = file[PIPELINE]
        time = np.asarray(part(path, pipeline, f"Fluorescence/{PLANE}/timestamps")[()], dtype=np.float64)
        segmentation = part(path, pipeline, "ImageSegmentation")
        traces, r = _traces(path, file, pipeline)
        return Session(
            metadata=_metadata(file),
            time=time,
            traces=traces,
            tables=stimulus_tables(path, file),
            behavior=running_at_frames(pipeline, time) | courses(pipeline, PUPIL),
            cells=np.asarray(segmentation["cell_specimen_ids"][()]).astype(np.int64).ravel(),
            roi_ids=np.array(texts(segmentation["roi_ids"])),
            neuropil_r=r,
            masks=[np.argwhere(segmentation[PLANE][name]["img_mask"][()]) for name in _roi_names(segmentation)],
            max_projection=_max_projection(segmentation),
            motion=_motion(pipeline),
            templates=_templates(path, file),
        )


def part(path: Path, group: Any, name: str) -> Any:
    """Return an essential part of a file.

    Raises
    ------
    DataError
        If it is not there.
    """
    if name not in group:
        raise DataError(
            f"{path} lacks an essential part.",
            f"Expected {group.name.strip('/')}/{name}.",
            "Fetch it again: neurodyn fetch allen, or neurodyn fetch dandi",
        )
    return group[name]


def text(value: Any) -> str:
    """Return a text, or the first of several."""
    value = np.asarray(value).ravel()[0] if np.size(value) else b""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def texts(dataset: Any) -> list[str]:
    """Return a dataset of texts."""
    return [text(value) for value in np.asarray(dataset[()]).ravel()]


def _roi_names(segmentation: Any) -> list[str]:
    return texts(segmentation[PLANE]["roi_list"])


def _metadata(file: h5py.File) -> dict[str, Any]:
    """Return what the file says of the session; what is missing or cannot be read is left out, with a warning."""
    general: Any = file["general"]
    found: dict[str, Any] = {}
    for name, (place, _) in METADATA.items():
        try:
            found[name] = metadata_of(name, text(general[place][()]))
        except (KeyError, ValueError, TypeError):
            LOGGER.warning("%s does not say its %s (general/%s).", file.filename, name, place)
    if "session_start_time" in file:
        found["session_start"] = text(file["session_start_time"][()])  # pyright: ignore[reportIndexIssue]
    return found | {"pipeline_version": _version(file)}


def _version(file: h5py.File) -> str:
    stated: Any = file.get("general/generated_by")
    return "0.9" if stated is None else texts(stated)[-1]


def _traces(path: Path, file: h5py.File, pipeline: Any) -> tuple[dict[str, Any], np.ndarray]:
    """Return the traces on disk, and r."""
    plane, apart = f"Fluorescence/{PLANE}", f"Fluorescence/{PLANE}_neuropil_response"
    demixing = float(".".join(_version(file).split(".")[:2])) >= DEMIXED_SINCE
    places = {
        "dff": f"DfOverF/{PLANE}/data",
        "demixed": f"{plane}_demixed_signal/data",
        "neuropil": f"{apart}/data" if demixing else f"{plane}/neuropil_traces",
        "fluorescence": f"{plane}/data",
    }
    if places["demixed"] not in pipeline:
        places.pop("demixed")
    arrays: dict[str, Any] = {name: Hdf5Array(path, part(path, pipeline, place)) for name, place in places.items()}
    r = np.asarray(part(path, pipeline, f"{apart if demixing else plane}/r")[()])
    source = "demixed" if demixing else "fluorescence"
    if source not in arrays:
        LOGGER.warning("%s has no demixed traces; demixed and corrected are left out, the others are there.", path)
        return arrays, r
    return {"dff": arrays.pop("dff"), "corrected": Corrected(arrays[source], arrays["neuropil"], r)} | arrays, r


def stimulus_tables(path: Path, file: h5py.File) -> dict[str, Table]:
    """Return the table of every stimulus, by its name."""
    shown: Any = file.get("stimulus/presentation", {})
    tables = {}
    for key in sorted(shown):
        name = key.removesuffix("_stimulus")
        table = _stimulus_table(name, shown[key])
        if table is None:
            LOGGER.warning("%s: stimulus %s is in a form neurodyn does not know and is left out.", path, name)
        elif table["start"].size:
            tables[name] = table
    return tables


def _stimulus_table(name: str, group: Any) -> Table | None:
    data, frames = np.asarray(group["data"][()]), np.asarray(group["frame_duration"][()]).astype(np.int64)
    if name.startswith("spontaneous"):
        begin, end = np.flatnonzero(data == 1), np.flatnonzero(data == -1)
        pairs = min(begin.size, end.size)
        return {"start": frames[begin[:pairs], 0], "end": frames[end[:pairs], 0]}
    if "features" in group:
        names = texts(group["features"])
        columns = dict(zip(names, data.reshape(len(data), len(names)).T, strict=True))
    elif data.ndim == 1 or data.shape[1:] == (1,):
        columns = {"frame": data.ravel()}
    else:
        return None
    order = np.lexsort((frames[:, 1], frames[:, 0]))
    table = {key: column[order] for key, column in columns.items()} | {
        "start": frames[order, 0],
        "end": frames[order, 1],
    }
    return table | ({"repeat": repeats(table["frame"])} if name.startswith("natural_movie") else {})


def repeats(frame: np.ndarray) -> np.ndarray:
    """Count how often each frame of a movie was shown before, shape (event,)."""
    order = np.argsort(frame, kind="stable")
    ordered = frame[order]
    first = np.searchsorted(ordered, ordered, side="left")
    counts = np.empty(frame.size, dtype=np.int64)
    counts[order] = np.arange(frame.size) - first
    return counts


def running_at_frames(root: Any, time: np.ndarray) -> dict[str, Course]:
    """Return the running speed at every frame, NaN where it was not measured."""
    group = root.get("BehavioralTimeSeries/running_speed")
    if group is None:
        return {}
    values = np.asarray(group["data"][()])
    values = values[:, 0] if values.ndim == 2 else values
    measured = np.asarray(group["timestamps"][()])[: values.size]
    half = float(np.median(np.diff(time))) / 2
    frame = np.searchsorted(time, measured - half)
    inside = frame < time.size
    at_frames = np.full(time.size, np.nan, dtype=np.result_type(values.dtype, np.float32))
    at_frames[frame[inside]] = values[: measured.size][inside]
    return {"running_speed": Course(time, at_frames, "cm/s", "running_speed")}


def courses(root: Any, places: Mapping[str, Place]) -> dict[str, Course]:
    """Return the courses of behaviour that are there.

    Parameters
    ----------
    root
        HDF5 group that the places are relative to.
    """
    found = {}
    for name, place in places.items():
        if (group := root.get(place.series)) is not None:
            values, time = np.asarray(group[place.values][()]), np.asarray(group["timestamps"][()])
            values = values.ravel() if place.column is None else values[:, place.column]
            length = min(values.size, time.size)
            axis = place.axis or place.series.split("/")[-1]
            found[name] = Course(time[:length], values[:length], place.unit, axis)
    return found


def _max_projection(segmentation: Any) -> np.ndarray | None:
    picture = segmentation[PLANE].get("reference_images/maximum_intensity_projection_image/data")
    return None if picture is None else np.asarray(picture[()])


def _motion(pipeline: Any) -> np.ndarray | None:
    """Return shifts along y and x; the file has x first, and says so."""
    series = pipeline.get("MotionCorrection/2p_image_series", {})
    group = series.get("xy_translation", series.get("xy_translations"))
    if group is None:
        return None
    values, names = np.asarray(group["data"][()]), texts(group["feature_description"])
    return np.stack([values[:, names.index(name)] for name in ("y_motion", "x_motion")], axis=1)


def _templates(path: Path, file: h5py.File) -> dict[str, Any]:
    kept: Any = file.get("stimulus/templates", {})
    stacks = {key.removesuffix("_image_stack"): group["data"] for key, group in kept.items() if "data" in group}
    return {name: Hdf5Array(path, stack) for name, stack in stacks.items() if stack.ndim == 3}
