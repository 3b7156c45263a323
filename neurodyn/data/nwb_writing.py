# pynwb makes its attributes at run time, so that a type checker cannot see them.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportCallIssue=false
"""From a Recording to an NWB file."""

from __future__ import annotations

import json
import logging
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from hdmf.common import DynamicTableRegion, VectorData
from hdmf.data_utils import GenericDataChunkIterator
from pynwb import NWBHDF5IO, H5DataIO, NWBFile, TimeSeries
from pynwb.base import Images
from pynwb.epoch import TimeIntervals
from pynwb.image import GrayscaleImage
from pynwb.ophys import (
    DfOverF,
    Fluorescence,
    ImageSegmentation,
    ImagingPlane,
    OnePhotonSeries,
    OpticalChannel,
    PlaneSegmentation,
    RoiResponseSeries,
    TwoPhotonSeries,
)

from neurodyn.core.errors import DataError
from neurodyn.core.files import atomic, clear_partials, locked
from neurodyn.data.recording import Recording
from neurodyn.data.store import chunk_shape

LOGGER = logging.getLogger(__name__)
UNKNOWN_START = datetime(1970, 1, 1, tzinfo=UTC)


class Chunks(GenericDataChunkIterator):
    """Feeds a lazy variable to HDF5, some hundred frames at a time."""

    def __init__(self, variable: xr.Variable) -> None:
        self.variable = variable
        chunk = chunk_shape(variable.shape)
        super().__init__(chunk_shape=chunk, buffer_shape=(chunk[0], *variable.shape[1:]))

    def _get_data(self, selection: tuple[slice, ...]) -> np.ndarray:
        return self.variable[selection].values

    def _get_maxshape(self) -> tuple[int, ...]:
        return self.variable.shape

    def _get_dtype(self) -> np.dtype:
        return self.variable.dtype


def write(recording: Recording, path: Path, photons: Literal[1, 2] | None) -> Path:
    """Write a recording; see `neurodyn.data.nwb.write_nwb`."""
    components = [name for name in recording.variables if "component" in recording[name].dims]
    if len(components) == len(recording.variables):
        raise DataError(
            f"{path}: NWB has no place for components of a decomposition.",
            f"Found {', '.join(components)} alone.",
            "Write them as .zarr, or their time courses as .csv",
        )
    if components:
        LOGGER.warning("%s: NWB has no place for %s; left out.", path, ", ".join(components))
    if recording.table("truth") is not None:
        LOGGER.warning("%s: NWB has no place for ground truth; it is left out.", path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        nwbfile = to_nwb(recording, photons)
        with locked(path):
            clear_partials(path)
            with atomic(path) as temporary, NWBHDF5IO(path=temporary, mode="w") as io:
                io.write(nwbfile)
    for warning in caught:
        LOGGER.debug("pynwb: %s", warning.message)
    return path


def to_nwb(recording: Recording, photons: Literal[1, 2] | None) -> NWBFile:
    """Return the recording as an NWB file in memory, its neural variables still on disk."""
    nwbfile = NWBFile(
        session_description="Written by neurodyn. It does not know when the session began; 1970 stands for unknown.",
        identifier=recording.session,
        session_id=recording.session,
        session_start_time=UNKNOWN_START,
        file_create_date=UNKNOWN_START,
        notes=json.dumps({"neurodyn": recording.tree.attrs}, ensure_ascii=False),
    )
    plane = _imaging_plane(nwbfile, recording)
    one_photon = photons == 1 or (photons is None and _looks_widefield(recording))
    traces = []
    for name in recording.variables:
        array = recording[name]
        if array.ndim == 3:
            nwbfile.add_acquisition(_movie(array, plane, recording, OnePhotonSeries if one_photon else TwoPhotonSeries))
        elif "component" not in array.dims:
            traces.append(array)
    if traces or recording.brain is not None:
        module = nwbfile.create_processing_module(name="ophys", description="Optical physiology")
        if traces:
            _add_traces(module, traces, plane, recording)
        if recording.brain is not None:
            mask = GrayscaleImage(
                name="brain", data=recording.brain.T.astype(np.uint8), description="1 inside the brain"
            )
            module.add(Images(name="masks", images=[mask]))
    if recording.table("stimulus") is not None:
        nwbfile.add_time_intervals(_intervals(recording.stimulus))
    _add_behavior(nwbfile, recording.table("behavior"))
    return nwbfile


def _looks_widefield(recording: Recording) -> bool:
    return recording.brain is not None or "reference" in recording.variables


def _imaging_plane(nwbfile: NWBFile, recording: Recording) -> ImagingPlane:
    unknown = float("nan")
    return nwbfile.create_imaging_plane(
        name="imaging_plane",
        optical_channel=OpticalChannel(name="optical_channel", description="unknown", emission_lambda=unknown),
        description="unknown",
        device=nwbfile.create_device(name="microscope"),
        excitation_lambda=unknown,
        indicator=recording.indicator,
        location="unknown",
        imaging_rate=recording.rate_hz,
    )


def _timing(recording: Recording) -> dict[str, Any]:
    time, rate = recording.time, recording.rate_hz
    if np.array_equal(time, time[0] + np.arange(time.size) / rate):
        return {"starting_time": float(time[0]), "rate": rate}
    return {"timestamps": time}


def _data(variable: xr.Variable) -> H5DataIO:
    return H5DataIO(data=Chunks(variable), compression="gzip", compression_opts=1, shuffle=True)


def _movie(array: xr.DataArray, plane: ImagingPlane, recording: Recording, series: Any) -> Any:
    return series(
        name=str(array.name),
        data=_data(array.variable.transpose("time", "x", "y")),
        unit=array.attrs["units"],
        description=str(array.attrs.get("made_by", "source")),
        imaging_plane=plane,
        **_timing(recording),
    )


def _add_traces(module: Any, traces: list[xr.DataArray], plane: ImagingPlane, recording: Recording) -> None:
    segmentation = _segmentation(recording, traces[0].sizes["roi"], plane)
    module.add(ImageSegmentation(plane_segmentations=[segmentation]))
    containers: dict[str, Any] = {}
    for array in traces:
        kind = DfOverF if array.name == "dff" else Fluorescence
        if kind.__name__ not in containers:
            # hdmf wants the container in the file before a series in it points to the ROI table
            containers[kind.__name__] = kind()
            module.add(containers[kind.__name__])
        region = np.arange(array.sizes["roi"])
        series = RoiResponseSeries(
            name=str(array.name),
            data=_data(array.variable),
            unit=array.attrs["units"],
            description=str(array.attrs.get("made_by", "source")),
            rois=DynamicTableRegion(name="rois", data=region, description="all ROIs", table=segmentation),
            **_timing(recording),
        )
        containers[kind.__name__].add_roi_response_series(series)


def _segmentation(recording: Recording, count: int, plane: ImagingPlane) -> PlaneSegmentation:
    """Return the ROI table; NWB demands a mask per ROI, here its centre (weight 0 where none is known)."""
    rois = recording.table("rois")
    rois = xr.Dataset() if rois is None else rois
    known = {"y", "x"} <= set(rois.data_vars)
    masks = [(0, 0, 0.0)] * count
    if known:
        masks = [(round(x), round(y), 1.0) for y, x in zip(rois["y"].values, rois["x"].values, strict=True)]
    segmentation = PlaneSegmentation(name="rois", description="Regions of interest", imaging_plane=plane)
    for mask in masks:
        segmentation.add_roi(pixel_mask=[mask])
    for name, column in rois.data_vars.items():
        if column.dims == ("roi",):
            units = column.attrs.get("units", "none")
            segmentation.add_column(name=str(name), description=f"unit: {units}", data=_plain(column.values))
    return segmentation


def _plain(values: np.ndarray) -> Any:
    return [str(value) for value in values] if values.dtype.kind in "UOT" else values


def _intervals(stimulus: xr.Dataset) -> TimeIntervals:
    names = {"start": "start_time", "stop": "stop_time"}
    columns = [
        VectorData(name=names.get(str(name), str(name)), description=str(name), data=_plain(column.values))
        for name, column in stimulus.variables.items()
        if column.ndim == 1
    ]
    return TimeIntervals(name="stimulus", description="Stimulus events", columns=columns)


def _add_behavior(nwbfile: NWBFile, behavior: xr.Dataset | None) -> None:
    if behavior is None:
        return
    module = nwbfile.create_processing_module(name="behavior", description="Behaviour")
    for name, array in behavior.data_vars.items():
        axis = str(array.dims[0])
        if axis not in behavior.coords:
            raise DataError(
                f"behavior/{name}: its axis '{axis}' has no times.", "NWB needs times in seconds.", "Add them."
            )
        values = array.values.astype(np.uint8) if array.dtype == bool else array.values
        comments = json.dumps({"dims": [str(dim) for dim in array.dims], "dtype": str(array.dtype)})
        times = behavior[axis].values.astype(float)
        unit = str(array.attrs.get("units", "a.u."))
        module.add(TimeSeries(name=str(name), data=values, unit=unit, timestamps=times, comments=comments))
