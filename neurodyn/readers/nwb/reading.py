# pynwb makes its attributes at run time, so that a type checker cannot see them.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportCallIssue=false
"""From an NWB file to a Recording."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
import xarray as xr
from pydantic import ValidationError
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.ophys import OnePhotonSeries, TwoPhotonSeries

from neurodyn.core.errors import DataError
from neurodyn.data.damage import library, reason
from neurodyn.data.lazy import lazy
from neurodyn.data.recording import Recording, entry
from neurodyn.readers.containers.hdf5 import Hdf5Array
from neurodyn.readers.lazy_views import Computed
from neurodyn.readers.nwb.clock import stated
from neurodyn.readers.nwb.facts import NwbFacts
from neurodyn.readers.nwb.places import CONTAINERS, FIRST_PLANE, scratch_name
from neurodyn.readers.nwb.series import Imaging, imaging_series, select
from neurodyn.readers.nwb.tables import behavior, brain, end_of, rois, stimulus
from neurodyn.readers.options import ReadOptions, VariablePlace
from neurodyn.readers.sources import View, build, refuse_others

LOGGER = logging.getLogger(__name__)
MOVIES = (OnePhotonSeries, TwoPhotonSeries)
NOT_EVENTS = {"epochs", "invalid_times"}


@contextmanager
def opened(path: Path, file: h5py.File | None = None) -> Iterator[NWBFile]:
    """Open an NWB file for reading; pynwb's warnings go to the log.

    Parameters
    ----------
    file
        The file, where it is open already; it is closed in the end.

    Raises
    ------
    DataError
        If it is no NWB file.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with library(path, _no_nwb), NWBHDF5IO(path=path, mode="r") if file is None else NWBHDF5IO(file=file) as io:
            yield cast(NWBFile, io.read())
    for warning in caught:
        LOGGER.debug("pynwb: %s", warning.message)


def _no_nwb(path: Path, error: Exception) -> DataError:
    first: BaseException = error
    while first.__cause__ is not None:  # what hdmf says last is its whole picture of the file
        first = first.__cause__
    return DataError(
        f"{path} cannot be read as NWB.", f"{reason(first)}.", "Check that the file is whole and is NWB 2."
    )


def read_nwb(path: Path, options: ReadOptions, source: NWBFile | None = None) -> Recording:
    """Read an NWB file lazily; one that neurodyn wrote gives the recording that was written.

    Parameters
    ----------
    source
        The file, where it is open already.

    Raises
    ------
    DataError
        If it holds no imaging series, or several that do not go together.
    """
    with opened(path) if source is None else nullcontext(source) as nwbfile:
        own = _own(nwbfile)
        if own and not options.variables and not options.key:
            return _read_own(nwbfile, own, path, options)
        series = select(path, nwbfile, imaging_series(path, nwbfile, options), options)
        neural = {name: _variable(name, one, options) for name, one in series.items()}
        name, first = next(iter(series.items()))
        traces = next((one.item for one in series.values() if not one.is_movie), None)
        place = options.variables.get(name, VariablePlace())
        times = first.clock.times[place.first :: place.every]
        groups: dict[str, Any] = {
            "stimulus": stimulus(path, nwbfile, end_of(times)),
            "behavior": behavior(path, nwbfile),
            "rois": None if traces is None else rois(path, traces),
            "brain": brain(nwbfile),
        }
        rate = options.fs if first.clock.rate_hz is None or options.fs else first.clock.rate_hz / place.every
        groups |= _identity(nwbfile, rate, options)
        groups["attrs"]["layout"] = ", ".join(
            f"{name}: {one.key} ({' x '.join(one.axes)})" for name, one in series.items()
        )
        return build("nwb", path, neural, times, options, **groups, **_mended(series, options))


def _mended(series: dict[str, Imaging], options: ReadOptions) -> dict[str, Any]:
    """Warn of times that the user's rate takes the place of, and return the history that says so."""
    said = [one.clock.said for one in series.values() if one.clock.said]
    for line in said:
        LOGGER.warning("%s", line)
    params = options.model_dump(mode="json", exclude_defaults=True)
    return {"history": [entry("read nwb", params | {"times": said})]} if said else {}


def _own(nwbfile: NWBFile) -> dict[str, Any]:
    """Return what `write_nwb` listed; empty for other programs' files."""
    try:
        notes = json.loads(nwbfile.notes or "")
    except ValueError:
        return {}
    own = notes.get("neurodyn", {}) if isinstance(notes, dict) else {}
    return own if "parts" in own else {}


def _read_own(nwbfile: NWBFile, own: dict[str, Any], path: Path, options: ReadOptions) -> Recording:
    """Build the recording that `write_nwb` wrote."""
    refuse_others(options, "nwb", {"fs"})
    variables: dict[str, dict[bool, dict[str, xr.Variable]]] = {}
    for key, listed in own["parts"].items():
        group, _, name = key.partition(".")
        try:
            variable = _part(path, nwbfile, own["parts"], group, name)
        except (KeyError, StopIteration) as error:
            raise DataError(
                f"{path} lacks {group}/{name}.", "neurodyn wrote it there.", "Convert the recording again."
            ) from error
        variables.setdefault(group, {True: {}, False: {}})[listed["coordinate"]][name] = variable
    datasets = {
        group: xr.Dataset(kinds[False], kinds[True], own["groups"].get(group)) for group, kinds in variables.items()
    }
    tree = xr.DataTree.from_dict({"/": xr.Dataset()} | datasets)
    given = {"session": options.session, "rate_hz": options.fs}
    given["indicator"] = None if options.indicator == "unknown" else options.indicator
    tree.attrs = own["attrs"] | {name: value for name, value in given.items() if value is not None}
    return Recording(tree)


def _part(path: Path, nwbfile: NWBFile, listed: dict[str, Any], group: str, name: str) -> xr.Variable:
    """Return one variable from where `neurodyn.readers.nwb.places` says it lies."""
    mine = listed[f"{group}.{name}"]
    dims = tuple(mine["dims"])
    if mine["place"] == "series":
        data = _series_of(nwbfile, name).data
        source: Any = View(_on_disk(data), ("time", "x", "y"), 0, 1) if len(dims) == 3 else _on_disk(data)
        variable = lazy(dims, source)
    else:
        values = _values(path, nwbfile, listed, group, name)
        if isinstance(values, h5py.Dataset) and values.ndim > 1 and values.dtype.kind in "buif":
            variable = lazy(dims, _on_disk(values))
        else:
            values = _typed(values, mine["dtype"])
            variable = xr.Variable(dims, values if values.ndim else values.reshape((1,) * len(dims)))
    variable.attrs = mine["attrs"]
    return variable


def _series_of(nwbfile: NWBFile, name: str) -> TimeSeries:
    if name in nwbfile.acquisition:
        return nwbfile.acquisition[name]
    interfaces = nwbfile.processing["ophys"].data_interfaces
    if name == "dff":
        return interfaces["DfOverF"].roi_response_series[name]
    known = CONTAINERS.get(name)
    return interfaces[known or name].roi_response_series[FIRST_PLANE if known else name]


def _values(path: Path, nwbfile: NWBFile, listed: dict[str, Any], group: str, name: str) -> Any:
    place = listed[f"{group}.{name}"]["place"]
    if place == "times":
        first = next(key for key, part in listed.items() if part["place"] == "series")
        return _times_of(path, _series_of(nwbfile, first.partition(".")[2]))
    if place == "brain":
        return nwbfile.processing["ophys"]["masks"]["brain"].data[:].T
    if place == "column":
        return nwbfile.processing["ophys"]["ImageSegmentation"]["PlaneSegmentation"][name].data[:]
    if place == "event":
        return nwbfile.intervals["stimulus"][{"start": "start_time", "stop": "stop_time"}.get(name, name)].data[:]
    if place == "course":
        courses = nwbfile.processing["behavior"].data_interfaces
        if not listed[f"{group}.{name}"]["coordinate"]:
            return courses[name].data[:]
        of_axis = (key for key, part in listed.items() if part["place"] == "course" and not part["coordinate"]
                   and part["dims"][0] == name)  # fmt: skip
        return _times_of(path, courses[next(of_axis).partition(".")[2]])
    return nwbfile.scratch[scratch_name(f"{group}.{name}")].data


def _typed(values: Any, dtype: str) -> np.ndarray:
    values = np.asarray(values[()] if isinstance(values, h5py.Dataset) else values)
    if dtype != "str":
        return values.astype(dtype)
    texts = [value.decode() if isinstance(value, bytes) else str(value) for value in values.ravel()]
    return np.array(texts, dtype=str).reshape(values.shape)


def _on_disk(dataset: h5py.Dataset) -> Hdf5Array:
    return Hdf5Array(Path(dataset.file.filename), dataset)


def _identity(nwbfile: NWBFile, rate_hz: float | None, options: ReadOptions) -> dict[str, Any]:
    planes = list(nwbfile.imaging_planes.values())
    indicator = options.indicator if options.indicator != "unknown" or not planes else str(planes[0].indicator)
    session = options.session or nwbfile.session_id or nwbfile.identifier
    facts = {"nwb": _facts(nwbfile)}
    return {"indicator": indicator, "rate_hz": rate_hz, "session": session, "attrs": facts}


def _facts(nwbfile: NWBFile) -> dict[str, Any]:
    """Return what the file says of session, animal and microscope, as `neurodyn.readers.nwb.facts.NwbFacts` names it."""
    facts: dict[str, Any] = {
        "session_start": nwbfile.session_start_time.isoformat(),
        "description": nwbfile.session_description,
        "experiment": nwbfile.experiment_description,
        "experimenter": list(nwbfile.experimenter or ()),
        "institution": nwbfile.institution,
        "lab": nwbfile.lab,
        "keywords": [str(word) for word in nwbfile.keywords[:]] if nwbfile.keywords is not None else [],
    }
    for plane in list(nwbfile.imaging_planes.values())[:1]:
        channel = next(iter(plane.optical_channel), None)
        facts |= {"location": plane.location, "device": plane.device.description or plane.device.name}
        facts |= {"excitation_nm": plane.excitation_lambda}
        facts |= {"emission_nm": None if channel is None else channel.emission_lambda}
    animal = nwbfile.subject
    if animal is not None and animal.subject_id:
        told = {name: getattr(animal, name) for name in ("species", "sex", "age", "genotype", "strain")}
        facts["subject"] = {"id": animal.subject_id} | {name: value for name, value in told.items() if value}
    return {name: value for name, value in facts.items() if value and _is_fact(name, value)}


def _is_fact(name: str, value: Any) -> bool:
    try:
        NwbFacts.model_validate({name: value})
    except ValidationError:
        if value == value:  # noqa: PLR0124 - NaN stands for unknown
            LOGGER.warning("The file's %s is left out: %s.", name, value)
        return False
    return True


def _variable(name: str, series: Imaging, options: ReadOptions) -> xr.Variable:
    place, item = options.variables.get(name, VariablePlace()), series.item
    source: Any = _on_disk(item.data)
    if item.conversion != 1.0 or item.offset:
        source = Computed(partial(_in_unit, factor=item.conversion, offset=item.offset), source, dtype=np.float32)
    view = View(source, series.axes, place.first, place.every)
    variable = lazy(("time", *view.space), view)
    made_by = "source" if item.description in (None, "", "no description") else item.description
    variable.attrs = {"units": options.units.get(name, str(item.unit)), "made_by": made_by}
    if item.control is not None:
        LOGGER.warning("%s marks its frames with numbers (control), which are not kept.", series.key)
    return variable


def _in_unit(values: np.ndarray, factor: float, offset: float) -> np.ndarray:
    """Apply NWB's conversion and offset."""
    return values * factor + offset


def _times_of(path: Path, series: TimeSeries) -> np.ndarray:
    times, wrong = stated(path, series, len(series.data))
    if wrong:
        raise DataError(
            f"{path}: the times of {series.name} are damaged.", f"Here {wrong}", "Convert the recording again."
        )
    return times


def schema_errors(path: Path) -> list[str]:
    """Return what in an NWB 2 file breaks the schema of NWB."""
    from pynwb import validate

    return [str(error) for error in validate(path=path)]
