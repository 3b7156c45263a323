# pynwb makes its attributes at run time, so that a type checker cannot see them.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportCallIssue=false
"""From a Recording to an NWB file."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Hashable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from hdmf.common import DynamicTableRegion, VectorData
from hdmf.data_utils import GenericDataChunkIterator
from pynwb import NWBHDF5IO, H5DataIO, NWBFile, ProcessingModule, TimeSeries
from pynwb.base import Images
from pynwb.core import ScratchData
from pynwb.epoch import TimeIntervals
from pynwb.file import Subject
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
from neurodyn.readers.nwb.facts import NwbFacts, known_facts
from neurodyn.readers.nwb.facts import Subject as SubjectFacts
from neurodyn.readers.nwb.hdf5_disk import new_file
from neurodyn.readers.nwb.places import CONTAINERS, FIRST_PLANE, Part, contents, parts, scratch_name, timing

LOGGER = logging.getLogger(__name__)
UNKNOWN_START = datetime(1970, 1, 1, tzinfo=UTC)
ANY_AGE = "P0D/"  # ISO 8601: from birth on
PICTURES = {"mean_image": "meanImg", "max_projection": "max_proj"}  # as suite2p names them


class Chunks(GenericDataChunkIterator):
    """Feeds a lazy variable to HDF5, its axes in the order of `dims`, some hundred frames at a time.

    What was read is turned: a lazy variable that is itself turned would be read through an index for every value.
    """

    def __init__(self, variable: xr.Variable, dims: Sequence[Hashable]) -> None:
        self.variable, self.dims = variable, dims
        shape = self._get_maxshape()
        chunk = chunk_shape(shape)
        super().__init__(chunk_shape=chunk, buffer_shape=(chunk[0], *shape[1:]))

    def _get_data(self, selection: tuple[slice, ...]) -> np.ndarray:
        return self.variable.isel(dict(zip(self.dims, selection, strict=True))).load().transpose(*self.dims).values

    def _get_maxshape(self) -> tuple[int, ...]:
        return tuple(self.variable.sizes[dim] for dim in self.dims)

    def _get_dtype(self) -> np.dtype:
        return self.variable.dtype


def write_nwb(
    recording: Recording, path: Path, facts: NwbFacts | None = None, more: Sequence[ProcessingModule] = ()
) -> Path:
    """Write a recording as an NWB file, streaming and atomically.

    Other programs find movies, traces, ROIs, events and behaviour in NWB's own places. What NWB has no place for
    (ground truth, what preprocessing saw, components of a decomposition) lies in its scratch space, so that reading the
    file gives the very same recording.

    Parameters
    ----------
    facts
        What the recording does not know; what it does is filled in.
    more
        Processing modules of what was found in it, as of `neurodyn.readers.nwb.results`; reading the file passes them over.

    Returns
    -------
    Path
        The file.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        nwbfile = to_nwb(recording, facts or NwbFacts())
        for module in more:
            nwbfile.add_processing_module(module)
        with locked(path):
            clear_partials(path)
            with atomic(path) as temporary, new_file(temporary) as file, NWBHDF5IO(file=file, mode="w") as io:
                io.write(nwbfile)
    for warning in caught:
        LOGGER.debug("pynwb: %s", warning.message)
    return path


def to_nwb(recording: Recording, facts: NwbFacts) -> NWBFile:
    """Return the recording as an NWB file in memory, its neural variables still on disk."""
    facts = known_facts(recording.tree.attrs, facts)
    nwbfile = _session(recording, facts)
    plane = _imaging_plane(nwbfile, recording, facts)
    found = list(parts(recording))
    placed = {place: {part.name: part for part in found if part.place == place} for place in (
        "series", "column", "event", "course", "brain"
    )}  # fmt: skip
    one_photon = facts.photons == 1 or (facts.photons is None and _looks_widefield(recording))
    movie_type = OnePhotonSeries if one_photon else TwoPhotonSeries
    traces = []
    for part in placed["series"].values():
        if part.variable.ndim == 3:
            nwbfile.add_acquisition(_movie(part, plane, recording, movie_type))
        else:
            traces.append(part)
    if traces or placed["brain"]:
        _add_ophys(nwbfile, recording, plane, traces, placed["column"])
    if facts.suite2p:
        nwbfile.add_acquisition(_movie_elsewhere(plane, recording))
    if placed["event"]:
        nwbfile.add_time_intervals(_intervals(placed["event"]))
    _add_behavior(nwbfile, recording, placed["course"])
    for part in found:
        if part.place == "scratch":
            nwbfile.add_scratch(
                ScratchData(
                    name=scratch_name(part.key), data=_data(part.variable), description=f"Of neurodyn's {part.group}"
                )
            )
    return nwbfile


def _session(recording: Recording, facts: NwbFacts) -> NWBFile:
    start = facts.session_start or UNKNOWN_START
    said = "" if facts.session_start else " When it began is not known; 1970 stands for that."
    told = facts.subject or SubjectFacts()
    _tell_unknown(facts, told)
    animal = {"age": ANY_AGE} | told.model_dump(exclude={"id"}, exclude_none=True)
    subject = Subject(subject_id=told.id, description="The animal of this session", **animal)
    return NWBFile(
        session_description=f"{facts.description or 'A session of calcium imaging, written by neurodyn.'}{said}",
        identifier=recording.session,
        session_id=recording.session.replace("/", "-"),
        session_start_time=start if start.tzinfo else start.replace(tzinfo=UTC),
        file_create_date=UNKNOWN_START,  # so that the same recording gives the same file
        experiment_description=facts.experiment,
        experimenter=list(facts.experimenter) or None,
        institution=facts.institution,
        lab=facts.lab,
        keywords=list(facts.keywords) or None,
        subject=subject,
        notes=contents(recording),
    )


def _tell_unknown(facts: NwbFacts, animal: SubjectFacts) -> None:
    """Warn of what is written in the place of facts that are not known, which archives such as DANDI ask for."""
    if facts.session_start is None:
        LOGGER.warning(
            "When the session began is not known: %s is written in its place, which is not to go into an archive. "
            "Tell neurodyn convert: --set nwb.session_start=2024-05-06T07:08:09+02:00",
            UNKNOWN_START.isoformat(),
        )
    elif facts.session_start.tzinfo is None:
        LOGGER.warning(
            "The start of the session, %s, has no time zone: UTC is written. Tell neurodyn convert: --set nwb.session_start=%s+02:00",
            *(facts.session_start.isoformat(),) * 2,
        )
    if animal.id == "unknown":
        LOGGER.warning(
            "Which animal it was is not known; archives ask for it. Tell neurodyn convert: --set nwb.subject.id=NAME"
        )
    if animal.species is None:
        LOGGER.warning(
            "The animal's species is not known; DANDI refuses that. Tell neurodyn convert: --set 'nwb.subject.species=Mus musculus'"
        )
    if animal.age is None:
        LOGGER.warning(
            "The animal's age is not known: %s, any age, is written in its place. Tell neurodyn convert: --set nwb.subject.age=P90D",
            ANY_AGE,
        )
    others = {"description": facts.description, "location": facts.location, "device": facts.device}
    others |= {"excitation_nm": facts.excitation_nm, "emission_nm": facts.emission_nm}
    if unknown := ", ".join(name for name, value in others.items() if value is None):
        LOGGER.info("Also written as not known: %s. Tell neurodyn convert: --set nwb.KEY=VALUE", unknown)


def _looks_widefield(recording: Recording) -> bool:
    return recording.brain is not None or "reference" in recording.variables


def _imaging_plane(nwbfile: NWBFile, recording: Recording, facts: NwbFacts) -> ImagingPlane:
    unknown = float("nan")
    device = nwbfile.create_device(name="microscope", description=facts.device or "Microscope, not described further")
    channel = OpticalChannel(
        name="optical_channel",
        description="VariablePlace of the indicator",
        emission_lambda=facts.emission_nm or unknown,
    )
    return nwbfile.create_imaging_plane(
        name="imaging_plane",
        optical_channel=channel,
        description="The plane that was imaged",
        device=device,
        excitation_lambda=facts.excitation_nm or unknown,
        indicator=recording.indicator,
        location=facts.location or "unknown",
        imaging_rate=recording.rate_hz,
    )


def _data(variable: xr.Variable, *dims: str) -> Any:
    """Return what HDF5 is given of a variable, its axes in the order of `dims`, where told."""
    if variable.dtype.kind in "UOT":
        return np.asarray(variable.values, dtype=object) if variable.ndim else str(variable.values)
    if variable.ndim in (2, 3) and variable.size:
        return H5DataIO(
            data=Chunks(variable, dims or variable.dims), compression="gzip", compression_opts=1, shuffle=True
        )
    return (variable.transpose(*dims) if dims else variable).values if variable.ndim else variable.values[()]


def _movie(part: Part, plane: ImagingPlane, recording: Recording, series: Any) -> Any:
    return series(
        name=part.name,
        data=_data(part.variable, "time", "x", "y"),
        unit=part.variable.attrs["units"],
        description=_maker(part.variable),
        imaging_plane=plane,
        **timing(recording.time, recording.rate_hz)[0],
    )


def _maker(variable: xr.Variable) -> str:
    return str(variable.attrs.get("made_by", "source"))


def _add_ophys(
    nwbfile: NWBFile, recording: Recording, plane: ImagingPlane, traces: list[Part], columns: Mapping[str, Part]
) -> None:
    module = nwbfile.create_processing_module(name="ophys", description="Optical physiology")
    if traces:
        segmentation = _segmentation(recording, traces[0].variable.sizes["roi"], plane, columns)
        module.add(ImageSegmentation(plane_segmentations=[segmentation]))
        for part in traces:
            _add_traces(module, part, segmentation, recording)
    if recording.brain is not None:
        mask = GrayscaleImage(name="brain", data=recording.brain.T.astype(np.uint8), description="1 inside the brain")
        module.add(Images(name="masks", description="Masks of pixels", images=[mask]))
    seen = recording.table("qc")
    pictures = {} if seen is None else {PICTURES[name]: seen[name] for name in PICTURES if name in seen}
    if pictures:
        images = [
            GrayscaleImage(name=name, data=array.values.T, description=str(array.name).replace("_", " "))
            for name, array in pictures.items()
        ]
        module.add(Images(name="Backgrounds_0", description="Pictures of the plane", images=images))


def _movie_elsewhere(plane: ImagingPlane, recording: Recording) -> TwoPhotonSeries:
    """Return a series that says the movie's rate and names no file; suite2p takes the rate from here."""
    return TwoPhotonSeries(
        name="TwoPhotonSeries",
        description="The movie these traces are from; it is not in this file",
        imaging_plane=plane,
        unit="counts",
        format="external",
        external_file=[],
        starting_frame=[],
        starting_time=float(recording.time[0]),
        rate=recording.rate_hz,
        num_samples=recording.time.size,
    )


def _add_traces(module: Any, part: Part, segmentation: PlaneSegmentation, recording: Recording) -> None:
    known = CONTAINERS.get(part.name)
    container = DfOverF() if part.name == "dff" else Fluorescence(name=known or part.name)
    module.add(container)  # hdmf wants it in the file before a series in it points to the ROI table
    series = RoiResponseSeries(
        name=FIRST_PLANE if known else part.name,
        data=_data(part.variable),
        unit=part.variable.attrs["units"],
        description=_maker(part.variable),
        rois=DynamicTableRegion(
            name="rois", data=np.arange(part.variable.sizes["roi"]), description="All ROIs", table=segmentation
        ),
        **timing(recording.time, recording.rate_hz)[0],
    )
    container.add_roi_response_series(series)


def _segmentation(
    recording: Recording, count: int, plane: ImagingPlane, columns: Mapping[str, Part]
) -> PlaneSegmentation:
    """Return the ROI table; NWB demands a mask per ROI, where none is known its centre, or weight 0."""
    segmentation = PlaneSegmentation(
        name="PlaneSegmentation", description="Regions of interest, by neurodyn", imaging_plane=plane
    )
    for mask in _masks(recording.table("rois"), count):
        segmentation.add_roi(pixel_mask=mask)
    for name, part in columns.items():
        units = part.variable.attrs.get("units", "none")
        segmentation.add_column(name=name, description=f"{name}, unit: {units}", data=_column(part.variable))
    if "probability" in columns:
        probability = columns["probability"].variable.values.astype(float)
        verdict = _verdict(columns, count)
        segmentation.add_column(
            name="iscell",
            description="As suite2p: is a cell, and its probability",
            data=np.stack([verdict, probability], 1),
        )
    return segmentation


def _verdict(columns: Mapping[str, Part], count: int) -> np.ndarray:
    """Return which ROIs are cells; where cells have ids in the column `cell`, the verdict lies beside it."""
    found = [columns[name].variable.values for name in ("accepted", "cell") if name in columns]
    return next((values for values in found if values.dtype.kind == "b"), np.ones(count))


def _masks(rois: xr.Dataset | None, count: int) -> list[list[tuple[int, int, float]]]:
    """Return (x, y, weight) of every ROI's pixels."""
    rois = xr.Dataset() if rois is None else rois
    if "mask_roi" in rois:
        owner = rois["mask_roi"].values
        weight = rois["mask_weight"].values if "mask_weight" in rois else np.ones(owner.size)
        pixels = list(zip(rois["mask_x"].values.tolist(), rois["mask_y"].values.tolist(), weight.tolist(), strict=True))
        order = np.argsort(owner, kind="stable")
        edges = np.searchsorted(owner[order], np.arange(count + 1))
        each = [[pixels[k] for k in order[a:b]] for a, b in zip(edges[:-1], edges[1:], strict=True)]
        return [mask or [(0, 0, 0.0)] for mask in each]
    if not {"y", "x"} <= set(rois.data_vars):
        return [[(0, 0, 0.0)]] * count
    centres = zip(rois["y"].values, rois["x"].values, strict=True)
    return [[(round(x), round(y), 1.0)] if min(x, y) >= 0 and np.isfinite(x + y) else [(0, 0, 0.0)] for y, x in centres]


def _column(variable: xr.Variable) -> Any:
    return [str(value) for value in variable.values] if variable.dtype.kind in "UOT" else variable.values


def _intervals(columns: Mapping[str, Part]) -> TimeIntervals:
    names = {"start": "start_time", "stop": "stop_time"}
    said = {"start": "Onset of the event, s", "stop": "End of the event, s"}
    data = [
        VectorData(
            name=names.get(name, name),
            description=said.get(name, f"{name}, unit: {part.variable.attrs.get('units', 'none')}"),
            data=_column(part.variable),
        )
        for name, part in columns.items()
    ]
    return TimeIntervals(name="stimulus", description="Stimulus events", columns=data)


def _add_behavior(nwbfile: NWBFile, recording: Recording, courses: Mapping[str, Part]) -> None:
    table = recording.table("behavior")
    if table is None:
        return
    for name, variable in table.data_vars.items():
        if name not in courses:
            raise DataError(
                f"behavior/{name}: its axis '{variable.dims[0]}' has no times.",
                "NWB needs times in seconds.",
                "Add them.",
            )
    module = nwbfile.create_processing_module(name="behavior", description="Behaviour")
    for name, part in courses.items():
        if part.coordinate:
            continue
        values = part.variable.values
        times = table[part.variable.dims[0]].values.astype(float)
        module.add(
            TimeSeries(
                name=name,
                data=values.astype(np.uint8) if values.dtype == bool else values,
                unit=str(part.variable.attrs.get("units", "a.u.")),
                description=f"Course of {name}",
                **timing(times)[0],
            )
        )
