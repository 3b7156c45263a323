"""Every fault of a recording at once: what breaks the contract, what later stages refuse, what they only suffer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr

from neurodyn.calcium.indicators import known
from neurodyn.core.errors import DataError
from neurodyn.data.clock import SECONDS, alternates, is_usual, likelier_unit
from neurodyn.data.integrity import MEND, losses
from neurodyn.data.recording import Recording, open_tree
from neurodyn.data.schema import violations
from neurodyn.data.store import chunk_shape
from neurodyn.preprocess.scan import Scanner

BLOCK = 4096  # rows of a table read at a time
GAP = 1.5  # frame intervals from which on frames are missing


@dataclass(frozen=True)
class Fault:
    """One fault.

    Parameters
    ----------
    severity
        "error": a later stage refuses the recording, or would be wrong without a word. "warning": worth knowing.
    where
        Group and variable.
    what, fix
        What is wrong, and what to do.
    """

    severity: Literal["error", "warning"]
    where: str
    what: str
    fix: str


def faults_of_folder(path: Path) -> list[Fault]:
    """Find the faults of a recording's folder, even of one that cannot be opened.

    Raises
    ------
    DataError
        If it is no Zarr folder of groups at all.
    """
    lost = [Fault("error", name or "recording", found, MEND) for name, found in losses(path)]
    try:
        tree = open_tree(path)
    except DataError:
        if not lost:
            raise
        return lost
    broken = [*map(_from_error, violations(tree)), *lost]
    return broken or faults(Recording(tree, path))


def faults(recording: Recording) -> list[Fault]:
    """Find the faults of a recording that can be opened; every neural variable is read once."""
    damaged = [*_damage(recording)]
    if damaged:
        return damaged
    found = [*_time(recording), *_rois(recording), *_stimulus(recording), *_behavior(recording)]
    found += _frames(recording)
    for name in recording.variables:
        try:
            found += _values(recording, name)
        except DataError as error:
            found.append(_from_error(error))
    if known(recording.indicator) is None:
        said = (
            "is not known" if recording.indicator == "unknown" else f"'{recording.indicator}' has no kinetics on record"
        )
        found.append(
            Fault("warning", "indicator", f"The indicator {said}.", "Say it when converting: --indicator GCaMP6f")
        )
    return sorted(found, key=lambda fault: fault.severity)


def _damage(recording: Recording) -> Iterator[Fault]:
    """Read every table through."""
    for group, node in recording.tree.children.items():
        table = node.to_dataset(inherit=False)
        for name in table.variables if group != "neural" else table.coords:
            variable = table[name].variable
            try:
                for start in range(0, max(1, len(variable) if variable.ndim else 1), BLOCK):
                    _ = variable[start : start + BLOCK].values if variable.ndim else variable.values
            except DataError as error:
                yield _from_error(error)


def _from_error(error: DataError) -> Fault:
    where, _, what = error.what.partition(": ")
    return Fault("error", where if what else "recording", f"{what or error.what} {error.found}", error.fix)


def _time(recording: Recording) -> Iterator[Fault]:
    steps = np.diff(recording.time)
    if not is_usual(recording.rate_hz):
        unit = likelier_unit(recording.rate_hz)
        likely = f"; in {unit} they would be {recording.rate_hz / SECONDS[unit]:.4g} Hz" if unit else ""
        yield Fault(
            "warning",
            "rate_hz",
            f"{recording.rate_hz:.4g} Hz is a rare frame rate (0.5 to 2000 Hz are usual){likely}.",
            "Are the frame times in seconds? Say their unit when converting: --set source.frame_times.unit=ms",
        )
    if (pair := alternates(recording.time)) is not None:
        yield Fault(
            "warning",
            "neural/time",
            f"The intervals of frames alternate between {pair[0]:.4g} and {pair[1]:.4g} s: two channels may be interleaved.",
            "Name them when converting: --channels fluorescence,reference",
        )
        return
    long = steps * recording.rate_hz > GAP
    if long.any():
        lost = int(np.rint(steps[long] * recording.rate_hz - 1).sum())
        yield Fault(
            "warning",
            "neural/time",
            f"{int(long.sum())} gaps, of {steps[long].max():.3g} s at most; {lost} frames are missing. "
            f"The first gap follows frame {int(np.argmax(long))}.",
            "Between trials that is as it should be. Dropped frames: see the options `gaps` of the steps.",
        )


def _frames(recording: Recording) -> Iterator[Fault]:
    sizes = recording.neural.sizes
    if sizes["time"] < sizes.get("roi", 0):
        yield Fault(
            "warning",
            "neural",
            f"There are fewer frames ({sizes['time']}) than ROIs ({sizes['roi']}): are the axes the other way round?",
            "Then say so when converting: --axes roi,time",
        )


def _values(recording: Recording, name: str) -> Iterator[Fault]:
    """Look at every frame of a variable: NaN, saturation, entries and frames that do not change."""
    array, where = recording[name], f"neural/{name}"
    noun = "pixels" if array.ndim == 3 else str(array.dims[1]).upper() + "s" if array.dims[1] == "roi" else "components"
    brain = recording.brain if array.ndim == 3 and recording.brain is not None else np.ones(array.shape[1:], bool)
    if array.size == 0:
        yield Fault("error", where, f"It is empty: {dict(array.sizes)}.", "Check the source: was any ROI kept?")
        return
    scanner = Scanner(array.shape, array.dtype, brain)
    still, repeated, last = np.ones(array.shape[1:], bool), 0, None
    first = array.variable[0].values
    step = max(1, chunk_shape(array.shape)[0])
    for start in range(0, array.shape[0], step):
        values = array[start : start + step].values
        scanner.add(start, values)
        still &= ((values == first) | ~np.isfinite(values)).all(axis=0)
        joined = values if last is None else np.concatenate([last[None], values])
        repeated += int((joined[1:] == joined[:-1]).all(axis=tuple(range(1, joined.ndim))).sum())
        last = values[-1]
    found = scanner.done()
    if found.broken.any():
        yield Fault(
            "error",
            where,
            f"{int(found.broken.sum())} {noun} have NaN or infinite values; the first is in frame {found.first_broken}.",
            "ΔF/F leaves such frames out of its baseline: --set dff.nan=frames; --set dff.nan=nan drops whole "
            f"{noun}. See: neurodyn show dff",
        )
    if found.saturated_frames.any():
        yield Fault(
            "warning",
            where,
            f"{int((found.saturated > 0).sum())} {noun} are saturated in {int(found.saturated_frames.sum())} of "
            f"{array.shape[0]} frames (value {np.iinfo(array.dtype).max}).",
            "ΔF/F is too small there; see the option `saturated` of the step dff",
        )
    if (count := int((still & brain).sum())) and array.shape[0] > 1:
        yield Fault("warning", where, f"{count} of {int(brain.sum())} {noun} never change.", "Leave them out.")
    if repeated and count < int(brain.sum()):
        yield Fault(
            "warning",
            where,
            f"{repeated} frames are the same as the one before.",
            "Was the camera stuck, or a frame copied?",
        )
    if name == "fluorescence" and (dark := int(((found.mean <= 0) & brain).sum())):
        yield Fault(
            "warning",
            where,
            f"{dark} {noun} have a mean of zero or less: ΔF/F divides by it.",
            "Was a background subtracted, or are these ΔF/F already? Then name the variable dff",
        )


def _rois(recording: Recording) -> Iterator[Fault]:
    table = recording.table("rois")
    if table is None:
        return
    count = table.sizes.get("roi", 0)
    if "mask_roi" in table:
        empty = count - np.unique(table["mask_roi"].values).size
        if empty:
            yield Fault("warning", "rois", f"{empty} of {count} ROIs have no pixels.", "Leave them out.")
    for name in ("y", "x"):
        if name in table and (lost := int(np.isnan(table[name].values.astype(float)).sum())):
            yield Fault("warning", f"rois/{name}", f"{lost} of {count} ROIs have no centre.", "Leave them out.")
    if "cell" in table and table["cell"].dtype.kind in "iuUO":
        cells = table["cell"].values
        twice = cells.size - np.unique(cells.astype(str)).size
        if twice:
            yield Fault(
                "error",
                "rois/cell",
                f"{twice} cell ids stand more than once; a cell is known across sessions by its id.",
                "Give every cell its own id.",
            )


def _stimulus(recording: Recording) -> Iterator[Fault]:
    if recording.table("stimulus") is None:
        return
    start, stop, time = recording.stimulus["start"].values, recording.stimulus["stop"].values, recording.time
    outside = (start < time[0] - 1 / recording.rate_hz) | (stop > time[-1] + 2 / recording.rate_hz)
    if outside.any():
        yield Fault(
            "error" if outside.all() else "warning",
            "stimulus",
            f"{int(outside.sum())} of {start.size} events lie outside the recording "
            f"({time[0]:.1f} to {time[-1]:.1f} s).",
            "Are both on one clock, in seconds? See --stimulus of neurodyn convert",
        )
    if (np.diff(start) < 0).any():
        yield Fault("warning", "stimulus", "Events are not in order of time.", "Sort the table.")


def _behavior(recording: Recording) -> Iterator[Fault]:
    table = recording.table("behavior")
    if table is None:
        return
    for name, array in table.data_vars.items():
        if array.dtype.kind == "f" and (
            lost := int(np.isnan(array.values).any(axis=tuple(range(1, array.ndim))).sum())
        ):
            yield Fault(
                "warning",
                f"behavior/{name}",
                f"{lost} of {array.shape[0]} samples are NaN.",
                "Windows over them are left out of decoding.",
            )
    for name, axis in table.coords.items():
        yield from _axis(str(name), axis, recording.time)


def _axis(name: str, axis: xr.DataArray, time: np.ndarray) -> Iterator[Fault]:
    if axis.dtype.kind not in "iuf" or axis.size < 2:
        return
    values = axis.values.astype(float)
    if not (np.diff(values) > 0).all():
        yield Fault("error", f"behavior/{name}", "The times do not increase.", "Mend the times.")
    elif values[-1] < time[0] or values[0] > time[-1]:
        yield Fault(
            "error",
            f"behavior/{name}",
            f"It lasts from {values[0]:.1f} to {values[-1]:.1f} s, outside the recording.",
            "Are both on one clock, in seconds?",
        )
