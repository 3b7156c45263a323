"""From an NWB 2 file of the Allen Brain Observatory's Visual Coding, as DANDI:000728 has it, to a `Session`.

Read by h5py, not by pynwb: a session shows up to nine thousand pictures, each an object of its own to pynwb, which would
cost thousands of requests where the file is streamed. The layout, and the faults told of below, are those of the
converter that wrote version 0.240827.1809; no file of the archive itself was read while this was written.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.data.lazy import DiskArray
from neurodyn.readers.allen.nwb1 import PUPIL, courses, leading, line, part, repeats, running_at_frames, text
from neurodyn.readers.allen.session import Corrected, Session, Table
from neurodyn.readers.containers.hdf5 import Hdf5Array
from neurodyn.readers.lazy_views import Turned

LOGGER = logging.getLogger(__name__)
MARKS = ("processing/ophys/DfOverF/DfOverF", "processing/ophys/ImageSegmentation/PlaneSegmentation/global_roi_id")
SEGMENTATION = "ImageSegmentation/PlaneSegmentation"
PARAMETERS = {
    "orientation_in_degrees": "orientation",
    "spatial_frequency_in_cycles_per_degree": "spatial_frequency",
    "temporal_frequency_in_hz": "temporal_frequency",
    "is_blank_sweep": "blank_sweep",
}
SHOWN_S = {"natural_movie": 1 / 30, "natural_scenes": 0.25, "locally_sparse_noise": 0.25}  # the white paper's
FEWEST_GRATINGS = 100
BLANK = np.uint32(2**32 - 1)  # -1, before it was made a number without sign
SEXES = {"M": "male", "F": "female"}
OMITTED_S = 0.25  # how long an event lasts that has no end: an image left out of a sequence


class Pictures(DiskArray):
    """Pictures of one size, a dataset each, seen as one array of shape (image, y, x)."""

    def __init__(self, path: Path, group: Any) -> None:
        names = sorted((name for name in group if re.search(r"\d+$", name)), key=_number)
        self.each = [Hdf5Array(path, group[name]) for name in names]
        super().__init__((len(names), *self.each[0].shape), self.each[0].dtype)

    def _block(self, key: tuple[slice, ...]) -> np.ndarray:
        return np.stack([one[key[1:]] for one in self.each[key[0]]])


def _number(name: str) -> int:
    return int(re.search(r"\d+$", name)[0])  # pyright: ignore[reportOptionalSubscript]


def read_coding(file: h5py.File, path: Path, templates: bool = False) -> Session:
    """Read a session; traces and templates stay on disk.

    The file's series `Corrected` holds what neurodyn calls `fluorescence`, the traces before demixing, unless it is
    demixed - r · neuropil; `corrected` is computed, as from NWB 1.

    Parameters
    ----------
    path
        What the file is called in messages, and where it lies unless it is streamed.
    templates
        Also look at the pictures that were shown, one by one.

    Raises
    ------
    DataError
        If an essential part is missing.
    OSError, ValueError, KeyError, RuntimeError
        If the file is damaged.
    """
    ophys: Any = part(path, file, "processing/ophys")
    time = np.asarray(part(path, ophys, "DfOverF/DfOverF/timestamps")[()], dtype=np.float64)
    segmentation = part(path, ophys, SEGMENTATION)
    traces, r = _traces(path, ophys)
    tables = _tables(path, file, time)
    gratings = tables.get("static_gratings")
    behavior: Any = file.get("processing/behavior", {})
    picture = ophys.get("SummaryImages/maximum_intensity_projection")
    cells = np.asarray(segmentation["global_roi_id"][()]).astype(np.int64)
    return Session(
        metadata=_metadata(file),
        time=time,
        traces=traces,
        tables=tables,
        behavior=running_at_frames(behavior, time) | courses(behavior, _pupil()),
        cells=cells,
        roi_ids=np.asarray(segmentation["id"][()]).astype(str),
        neuropil_r=r,
        masks=_masks(segmentation),
        max_projection=None if picture is None else np.asarray(picture[()]),
        templates=_templates(path, file, templates),
        epochs=_epochs(file, time),
        faults={} if gratings is None else _faults(path, gratings["start"].size),
    )


def _pupil() -> dict[str, Any]:
    """Return where the pupil's courses lie; the file calls cm m, the numbers are NWB 1's."""
    apart = {"EyeTracking/pupil_location_spherical": "CompassDirection/pupil_location_spherical"}
    return {name: place._replace(series=apart.get(place.series, place.series)) for name, place in PUPIL.items()}


def _traces(path: Path, ophys: Any) -> tuple[dict[str, Any], np.ndarray | None]:
    """Return the traces on disk, and r."""
    places = {
        "dff": "DfOverF/DfOverF",
        "demixed": "Fluorescence/Demixed",
        "neuropil": "Fluorescence/Neuropil",
        "fluorescence": "Fluorescence/Corrected",
        "spikes": "DfOverF/DfOverFEvents",
    }
    arrays: dict[str, Any] = {
        name: Turned(Hdf5Array(path, ophys[place]["data"])) for name, place in places.items() if place in ophys
    }
    stated = ophys.get("ContaminationRatios/ratios")
    r = None if stated is None else np.asarray(stated[()])
    if r is None or not {"demixed", "neuropil"} <= arrays.keys():
        LOGGER.warning("%s has no demixed traces, neuropil or r; corrected is left out, the others are there.", path)
        return arrays, r
    corrected = Corrected(arrays["demixed"], arrays["neuropil"], r)
    first = (slice(None), slice(0, 1))
    if "fluorescence" in arrays and np.allclose(arrays["fluorescence"][first], corrected[first], equal_nan=True):
        arrays.pop("fluorescence")
    return {"dff": arrays.pop("dff"), "corrected": corrected} | arrays, r


def _masks(segmentation: Any) -> list[np.ndarray]:
    """Return the pixels of each ROI as (y, x); the file calls rows x, as NWB orders the axes of pictures."""
    ends = np.asarray(segmentation["pixel_mask_index"][()]).astype(np.int64)
    pixels = segmentation["pixel_mask"][()]
    return np.split(np.stack([pixels["x"], pixels["y"]], axis=1).astype(np.int64), ends[:-1])


def _tables(path: Path, file: h5py.File, time: np.ndarray) -> dict[str, Table]:
    shown: Any = file.get("stimulus/presentation", {})
    tables = {}
    for key in sorted(shown):
        name, group = key.removesuffix("_stimulus"), shown[key]
        if "start_time" in group:
            table = intervals(group, time, PARAMETERS)
        elif "data" in group and "timestamps" in group:
            table = _indexed(path, name, group, time)
        else:
            LOGGER.warning("%s: stimulus %s is in a form neurodyn does not know and is left out.", path, name)
            continue
        if table["start"].size:
            tables[name] = table
    return tables


def intervals(group: Any, time: np.ndarray, names: Mapping[str, str]) -> Table:
    """Return a table of intervals in order of time: its times, the frames nearest to them, its plain columns.

    Parameters
    ----------
    group
        HDF5 group of an NWB table of intervals.
    time
        Frame times, s, shape (time,).
    names
        Name of a column in the file -> name here.
    """
    start, stop = (np.asarray(group[name][()], dtype=np.float64) for name in ("start_time", "stop_time"))
    stop = np.where(np.isnan(stop), start + OMITTED_S, stop)
    columns = {names.get(name, name): _plain(group[name]) for name in group if _is_plain(group, name, start.size)}
    order = np.lexsort((stop, start))
    table = columns | {"start_s": start, "stop_s": stop}
    table |= {"start": nearest(start, time), "end": nearest(stop, time)}
    return {name: column[order] for name, column in table.items()}


def _is_plain(group: Any, name: str, rows: int) -> bool:
    dataset = group[name]
    ragged = f"{name}_index" in group or (name.endswith("_index") and name.removesuffix("_index") in group)
    if name in ("id", "start_time", "stop_time") or ragged or dataset.shape != (rows,):
        return False
    return dataset.dtype.kind in "buif" or h5py.check_string_dtype(dataset.dtype) is not None


def _plain(dataset: Any) -> np.ndarray:
    if h5py.check_string_dtype(dataset.dtype) is None:
        return np.asarray(dataset[()])
    values = np.asarray(dataset.asstr()[()], dtype=str)
    return np.where(values == "N/A", "", values)


def nearest(seconds: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Return the frame nearest to each moment, shape as `seconds`; frame times, s, are of shape (time,)."""
    after = np.clip(np.searchsorted(time, seconds), 1, time.size - 1)
    return after - (np.asarray(seconds) - time[after - 1] <= time[after] - seconds)


def _indexed(path: Path, name: str, group: Any, time: np.ndarray) -> Table:
    """Return the table of pictures shown one after the other; how long each was shown is the protocol's."""
    start, frame = np.asarray(group["timestamps"][()], dtype=np.float64), np.asarray(group["data"][()])
    blank = frame == BLANK
    frame = np.where(blank, -1, frame.astype(np.int64))
    if blank.any():
        LOGGER.warning("%s: %d blanks of %s were stored as %d; they are -1.", path, blank.sum(), name, BLANK)
    lasts = next((seconds for kind, seconds in SHOWN_S.items() if name.startswith(kind)), np.median(np.diff(start)))
    stop = np.minimum(start + lasts, np.r_[start[1:], np.inf])
    table = {"frame": frame, "start_s": start, "stop_s": stop}
    table |= {"start": nearest(start, time), "end": nearest(stop, time)}
    return table | ({"repeat": repeats(frame)} if name.startswith("natural_movie") else {})


def _faults(path: Path, gratings: int) -> dict[str, DataError]:
    """Return what is wrong with the static gratings: the converter kept three of some six thousand."""
    if gratings >= FEWEST_GRATINGS:
        return {}
    known = re.search(r"ses-(\d+)", path.name)
    fault = DataError(
        f"{path}: its static gratings are not whole; a fault of the archive's file.",
        f"Found {gratings} of some 6000.",
        f"Use the Institute's own file: neurodyn fetch allen --experiment {known[1] if known else 'ID'} --convert; "
        "or read all else: --set source.skip=[static_gratings]",
    )
    return {"static_gratings": fault}


def _epochs(file: h5py.File, time: np.ndarray) -> Table | None:
    """Return the blocks of stimuli that the file has; 34 sessions have none."""
    group: Any = file.get("intervals/epochs")
    if group is None or "stimulus_type" not in group:
        return None
    table = intervals(group, time, {"stimulus_type": "stimulus"})
    names = {"start_s": "start", "stop_s": "stop", "start": "start_frame", "end": "stop_frame"}
    return {"stimulus": table["stimulus"]} | {name: table[key] for key, name in names.items()}


def _templates(path: Path, file: h5py.File, wanted: bool) -> dict[str, Any]:
    kept: Any = file.get("stimulus/templates", {})
    names = {key.removesuffix("_template"): kept[key] for key in kept}
    if not wanted:
        return dict.fromkeys(names)
    return {
        name: Hdf5Array(path, group["data"]) if "data" in group else Pictures(path, group)
        for name, group in names.items()
    }


def _metadata(file: h5py.File) -> dict[str, Any]:
    general: Any = file["general"]

    def plane(name: str) -> str:
        return text(next(iter(general["optophysiology"].values()))[name][()])

    def subject(name: str) -> str:
        return text(general["subject"][name][()])

    return what_is_said(
        file,
        {
            "experiment_id": lambda: leading(text(general["session_id"][()])),
            "container_id": lambda: int(_note(general, "Container ID")),
            "session_type": lambda: _note(general, "Session type"),
            "area": lambda: plane("location"),
            "depth_um": lambda: leading(re.split(r"depth of ", plane("description"))[1]),
            "cre_line": lambda: line(subject("genotype")),
            "genotype": lambda: subject("genotype"),
            "age_days": lambda: leading(subject("age").removeprefix("P")),
            "sex": lambda: SEXES[subject("sex")],
            "indicator": lambda: plane("indicator"),
            "specimen": lambda: subject("strain"),
            "session_start": lambda: text(file["session_start_time"][()]),  # pyright: ignore[reportIndexIssue]
        },
    )


def _note(general: Any, name: str) -> str:
    notes = dict(row.split(": ", 1) for row in text(general["notes"][()]).splitlines() if ": " in row)
    return notes[name]


def what_is_said(file: h5py.File, said: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """Return what a file says of its session; what is missing or cannot be read is left out, with a warning."""
    found = {}
    for name, ask in said.items():
        try:
            found[name] = ask()
        except (KeyError, IndexError, ValueError, TypeError, StopIteration):
            LOGGER.warning("%s does not say its %s.", file.filename, name)
    return found
