# pynwb makes its attributes at run time, so that a type checker cannot see them.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
"""The imaging series of an NWB file: which are read, how their axes lie, and what clock they are on."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import h5py
import numpy as np
from pynwb import NWBFile, TimeSeries
from pynwb.image import ImageSeries
from pynwb.ophys import OnePhotonSeries, RoiResponseSeries, TwoPhotonSeries

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.recording import UNITS
from neurodyn.readers.nwb.clock import Clock
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.questions import Need, QuestionError
from neurodyn.readers.sources import parse_axes

LOGGER = logging.getLogger(__name__)
MOVIES = (OnePhotonSeries, TwoPhotonSeries)
HINTS = {"neuropil": "neuropil", "deconv": "spikes", "spike": "spikes", "event": "spikes", "dff": "dff"}


@dataclass(frozen=True)
class Imaging:
    """One imaging series whose frames lie in the file.

    Parameters
    ----------
    path
        The file.
    key
        Where the series lies in it.
    item
        The series: a movie, or responses of ROIs.
    told
        Names of its axes, where the user gives them; else "".
    fs
        Frames per second, where the user gives them.
    """

    path: Path
    key: str
    item: Any
    told: str = ""
    fs: float | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape as it lies in the file."""
        return tuple(self.item.data.shape)

    @property
    def is_movie(self) -> bool:
        """Say whether it holds pictures."""
        return isinstance(self.item, MOVIES)

    @property
    def variable(self) -> str:
        """Return the name of the neural variable it is, by its name, its container's kind and where it lies."""
        if self.item.name in UNITS:
            return self.item.name
        if type(self.item.parent).__name__ == "DfOverF":
            return "dff"
        return next((name for hint, name in HINTS.items() if hint in self.key.lower()), "fluorescence")

    @cached_property
    def axes(self) -> tuple[str, ...]:
        """Return the names of its axes.

        Raises
        ------
        QuestionError
            If neither ROIs nor times tell which axis is which.
        DataError
            If they fit none.
        """
        if self.told or len(self.shape) == 1 or self.is_movie:
            default = "time,x,y" if self.is_movie else ""
            return parse_axes(self.told or default, len(self.shape), self.key)
        return _axes_of_responses(self)

    @property
    def frames(self) -> int:
        """Return the number of frames."""
        return self.shape[self.axes.index("time")]

    @property
    def rois(self) -> int | None:
        """Return how many ROIs it says it has; None where it says nothing."""
        region = getattr(self.item, "rois", None)
        return None if region is None else len(region.data)

    @property
    def cells(self) -> tuple[Any, ...]:
        """Return what two series share whose columns are the same ROIs."""
        region = getattr(self.item, "rois", None)
        return () if region is None else (id(region.table), *np.asarray(region.data[:]).tolist())

    @cached_property
    def clock(self) -> Clock:
        """Return the times of its frames."""
        return Clock.of(self.path, self.key, self.item, self.frames, self.fs)


def _axes_of_responses(series: Imaging) -> tuple[str, ...]:
    """Tell ROIs from time in an array of two axes: the ROI table has a row per ROI, the times one per frame."""
    stamps, rois = series.item.timestamps, series.rois
    by_times = [] if stamps is None else [axis for axis in (0, 1) if series.shape[axis] == len(stamps)]
    by_rois = [] if rois is None else [1 - axis for axis in (0, 1) if series.shape[axis] == rois]
    found = [axis for axis in (0, 1) if all(axis in axes for axes in (by_times, by_rois) if axes)]
    if len(found) == 1:
        if found == [1]:
            LOGGER.warning("%s lies as ROIs x time, against the standard; it is read so: %s.", series.key, series.shape)
        return ("time", "roi") if found == [0] else ("roi", "time")
    said = f"shape {series.shape}, {rois if rois is not None else 'unknown'} ROIs"
    said += f", {len(stamps)} times" if stamps is not None else ", and no list of times"
    raise QuestionError(
        f"{series.path}: the axes of {series.key} cannot be told.",
        f"Found {said}; NWB demands time x ROIs.",
        "Name them: --axes time,roi or --axes roi,time",
        need=Need("--axes time,roi", f"{series.key} has {said}: time first, as NWB demands, unless you know better"),
        guess={"axes": "time,roi"},
    )


def imaging_series(path: Path, nwbfile: NWBFile, options: ReadOptions) -> dict[str, Imaging]:
    """Return the imaging series whose frames lie in the file, by their place."""
    found = {}
    for item in nwbfile.objects.values():
        if not isinstance(item, (*MOVIES, RoiResponseSeries)) or not isinstance(item.data, h5py.Dataset):
            continue
        key = key_of(item)
        if is_elsewhere(item) or not item.data.size:
            _tell_elsewhere(path, key, item)
        elif item.data.ndim not in ((3,) if isinstance(item, MOVIES) else (1, 2)):
            LOGGER.warning("%s has shape %s and is left out.", key, item.data.shape)
        else:
            found[key] = Imaging(path, key, item, _told(item.data.ndim, options), options.fs)
    return dict(sorted(found.items()))


def key_of(item: TimeSeries) -> str:
    """Return where a series lies in its file."""
    return str(PurePosixPath(item.data.name).parent).strip("/")


def _told(ndim: int, options: ReadOptions) -> str:
    return options.axes if len(options.axes.replace(",", " ").split()) == ndim else ""


def is_elsewhere(item: Any) -> bool:
    """Say whether a series' pictures lie in files of their own."""
    return isinstance(item, ImageSeries) and (item.format == "external" or item.external_file is not None)


def _tell_elsewhere(path: Path, key: str, item: Any) -> None:
    files = files_of(item)
    if files:
        LOGGER.warning("The frames of %s lie in other files, which are not read: %s.", key, ", ".join(files))
    elif not is_elsewhere(item):
        LOGGER.warning("%s has no frames and is left out.", key)


def files_of(item: Any) -> list[str]:
    """Return the names of the files in which a series' pictures lie."""
    names = [] if not is_elsewhere(item) or item.external_file is None else item.external_file[:]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def select(path: Path, nwbfile: NWBFile, found: dict[str, Imaging], options: ReadOptions) -> dict[str, Imaging]:
    """Return the series that are read, by the names of their variables; all on one clock and of the same ROIs.

    Raises
    ------
    QuestionError
        If the file's series do not go together, and it was not told which to take.
    DataError
        If there is none, the one named is not there, or those named do not go together.
    """
    if options.key is not None and options.variables:
        raise ConfigError("key: give --key or source.variables, not both.", f"Found {options.key}.", "Leave one out.")
    if options.key is not None:
        only = _named(path, nwbfile, found, options.key, "")
        return {only.variable: only}
    if options.variables:
        chosen = {
            name: _named(path, nwbfile, found, place.key or name, place.axes)
            for name, place in options.variables.items()
        }
    else:
        chosen = _by_name(path, nwbfile, found)
    if apart := _apart(chosen):
        raise _choice(path, found, f"has series that do not go together: {apart}")
    return chosen


def _by_name(path: Path, nwbfile: NWBFile, found: dict[str, Imaging]) -> dict[str, Imaging]:
    chosen: dict[str, Imaging] = {}
    for series in found.values():
        if series.variable in chosen:
            raise _choice(path, found, f"has several series that could be {series.variable}")
        chosen[series.variable] = series
    if not chosen:
        raise _nothing(path, nwbfile)
    return chosen


def _apart(chosen: dict[str, Imaging]) -> str:
    """Return what keeps series from being variables of one recording; "" where nothing does."""
    first, *others = chosen.values()
    traces = [series for series in chosen.values() if not series.is_movie]
    for series in others:
        if said := first.clock.apart(series.clock):
            return f"{first.key} and {series.key} have clocks of their own, {said}"
    for series in traces[1:]:
        if series.cells != traces[0].cells:
            return f"{traces[0].key} and {series.key} are of different ROIs"
    return ""


def _named(path: Path, nwbfile: NWBFile, found: dict[str, Imaging], wanted: str, axes: str) -> Imaging:
    hits = [series for key, series in found.items() if wanted.strip("/") == key or series.item.name == wanted]
    if len(hits) == 1:
        return replace(hits[0], told=axes or hits[0].told)
    outside = [item for item in nwbfile.objects.values() if is_elsewhere(item) and wanted in (item.name, key_of(item))]
    if not hits and outside:
        raise _elsewhere(path, outside[0])
    raise DataError(
        f"{path} has {len(hits) or 'no'} series '{wanted}'.", f"Found: {_listed(found)}.", "Name one: --key SERIES"
    )


def _choice(path: Path, found: dict[str, Imaging], what: str) -> QuestionError:
    key = next((key for key, series in found.items() if not series.is_movie), next(iter(found)))
    return QuestionError(
        f"{path} {what}.",
        f"Found: {_listed(found)}.",
        "Choose one: --key SERIES, or several that go together: --set source.variables.fluorescence.key=SERIES",
        need=Need(f"--key {key}", f"the file {what}; it has {_listed(found)}"),
        guess={"key": key},
    )


def _listed(found: dict[str, Imaging]) -> str:
    return ", ".join(f"{key} {series.shape}{_rate(series.item)}" for key, series in found.items()) or "none"


def _rate(item: Any) -> str:
    if item.rate is None:
        return ""
    return f" at {item.rate:g} Hz" + (f" from {item.starting_time:g} s" if item.starting_time else "")


def _nothing(path: Path, nwbfile: NWBFile) -> DataError:
    outside = [item for item in nwbfile.objects.values() if is_elsewhere(item) and files_of(item)]
    outside.sort(key=lambda item: not isinstance(item, MOVIES))
    if outside:
        return _elsewhere(path, outside[0])
    return DataError(
        f"{path} has no imaging data that neurodyn reads.",
        "Expected a OnePhotonSeries, TwoPhotonSeries or RoiResponseSeries with its frames inside the file.",
        "Read the frames from where they lie, for example the TIFF files.",
    )


def _elsewhere(path: Path, item: Any) -> DataError:
    """Return what to tell of a movie that an NWB file only points to."""
    files = files_of(item)
    places = [path.parent / name for name in files]
    there = ", ".join(str(place) for place in places if place.is_file())
    rate = f" --fs {item.rate:g}" if item.rate else ""
    first = next((place for place in places if place.is_file()), places[0] if places else Path("MOVIE"))
    return DataError(
        f"{path}: the frames of {key_of(item)} lie in other files.",
        f"It names {', '.join(files) or 'none'}; {f'found {there}' if there else 'none of them lies beside it'}.",
        f"Read the movie itself: neurodyn convert {first} {first.stem}.zarr{rate}",
    )
