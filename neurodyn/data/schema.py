"""What a recording on disk has to be: its groups, axes, units and times."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

from neurodyn.core.errors import DataError

SCHEMA_VERSION = 1  # the first; whoever raises it keeps a way to read recordings of the versions before
GROUPS = ("neural", "stimulus", "behavior", "rois", "components", "qc", "truth")
LAYOUTS = (("time", "roi"), ("time", "y", "x"), ("time", "component"))
RATE_TOLERANCE = 0.02


def checked_rate(rate_hz: float | None) -> float:
    """Return the frame rate, Hz.

    Raises
    ------
    DataError
        If there is none, or it is not positive.
    """
    if rate_hz is None or not np.isfinite(rate_hz) or rate_hz <= 0:
        raise DataError(
            "rate_hz: the frame rate is unknown or not positive.", f"Found {rate_hz}.", "Give it in Hz: --fs 30"
        )
    return float(rate_hz)


def validate(tree: xr.DataTree) -> None:
    """Check a tree against the Recording contract.

    Raises
    ------
    DataError
        Naming the first field that breaks it.
    """
    for error in violations(tree):
        raise error


def violations(tree: xr.DataTree) -> Iterator[DataError]:
    """Find every field that breaks the Recording contract."""
    if "schema_version" in tree.attrs and tree.attrs["schema_version"] != SCHEMA_VERSION:
        yield _strange_schema(tree.attrs["schema_version"])
        return
    missing = [key for key in ("schema_version", "session", "rate_hz", "history") if key not in tree.attrs]
    if missing or "neural" not in tree.children:
        yield DataError(
            "This is not a neurodyn recording.",
            f"Missing: {', '.join([*missing, *([] if 'neural' in tree.children else ['neural'])])}.",
            "Convert the source file: neurodyn convert SOURCE recording.zarr",
        )
        return
    strangers = [name for name in tree.children if name not in GROUPS]
    if strangers:
        yield DataError(
            f"Unknown groups: {', '.join(strangers)}.", f"Expected: {', '.join(GROUPS)}.", "Rename or drop them."
        )
    neural = tree["neural"].to_dataset()
    for name, variable in neural.data_vars.items():
        yield from _variable_violations(name, variable)
    yield from _time_violations(neural, tree.attrs["rate_hz"])
    if "stimulus" in tree.children:
        yield from _stimulus_violations(tree["stimulus"].to_dataset())
    if "rois" in tree.children and "roi" in neural.sizes:
        found = tree["rois"].to_dataset().sizes.get("roi")
        if found != neural.sizes["roi"]:
            yield DataError(
                "rois: the table does not fit the traces.",
                f"Found {found} rows; the traces have {neural.sizes['roi']} ROIs.",
                "Give one row per ROI.",
            )


def _strange_schema(found: Any) -> DataError:
    newer = isinstance(found, int) and found > SCHEMA_VERSION
    return DataError(
        "The recording was made by a newer neurodyn." if newer else "The recording's format is unknown.",
        f"Its schema_version is {found!r}; this neurodyn reads {SCHEMA_VERSION}.",
        "Update neurodyn: uv pip install -U neurodyn" if newer else "Convert the source file again: neurodyn convert",
    )


def _variable_violations(name: Any, variable: xr.DataArray) -> Iterator[DataError]:
    if variable.dims not in LAYOUTS:
        yield DataError(
            f"neural/{name}: wrong dimensions.",
            f"Found {variable.dims}; expected (time, roi), (time, y, x) or (time, component).",
            "Name the axes: --axes",
        )
    if variable.dtype.kind not in "buif":
        yield DataError(f"neural/{name}: not numbers.", f"Found {variable.dtype}.", "Convert them to numbers.")
    if not variable.attrs.get("units"):
        yield DataError(f"neural/{name}: no units.", "Every variable names its unit.", "Set attrs['units'].")


def _time_violations(neural: xr.Dataset, rate_hz: Any) -> Iterator[DataError]:
    try:
        rate_hz = checked_rate(rate_hz if isinstance(rate_hz, int | float) else None)
    except DataError as error:
        yield error
        rate_hz = None
    if "time" not in neural.coords or neural.sizes.get("time", 0) == 0:
        yield DataError(
            "neural/time: there are no frames.", "Expected at least one frame time.", "Check the source file."
        )
        return
    time = neural["time"].values
    steps = np.diff(time)
    if not np.isfinite(time).all() or (steps <= 0).any():
        bad = int(np.argmax(~np.isfinite(time) | np.r_[False, ~(steps > 0)]))
        yield DataError(
            "neural/time: frame times must be finite and increase.",
            f"Frame {bad} is at {time[bad]} s.",
            "Mend the times, or give --fs alone.",
        )
    elif steps.size and rate_hz is not None and abs(np.median(steps) * rate_hz - 1) > RATE_TOLERANCE:
        yield DataError(
            "rate_hz: the rate contradicts the frame times.",
            f"Given {rate_hz:g} Hz; the times say {1 / np.median(steps):g} Hz.",
            f"Give --fs {1 / np.median(steps):g}, or drop the times.",
        )


def _stimulus_violations(stimulus: xr.Dataset) -> Iterator[DataError]:
    missing = " or ".join(sorted({"start", "stop"} - set(map(str, stimulus.variables))))
    if missing:
        yield DataError(f"stimulus: no column {missing}.", "Every event has both, in seconds.", "Add the column.")
        return
    start, stop = stimulus["start"].values, stimulus["stop"].values
    wrong = ~(stop >= start) | ~np.isfinite(start)
    if wrong.any():
        bad = int(np.argmax(wrong))
        yield DataError(
            f"stimulus: event {bad} stops before it starts, or has no time.",
            f"Found start {start[bad]} and stop {stop[bad]}, in seconds.",
            "Mend the stimulus table.",
        )
