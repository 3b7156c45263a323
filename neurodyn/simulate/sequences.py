"""Short independent sequences, laid along one time axis with gaps between them and dealt to train, valid and test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from pydantic import Field

from neurodyn.core.config import Params
from neurodyn.data.recording import Recording, entry
from neurodyn.simulate.trials import joined, trial_times


class SequenceParams(Params):
    """How many sequences there are, and which part each is in."""

    trials: int = Field(default=200, ge=1, description="number of sequences, each one trial")
    test: float = Field(default=0.3, ge=0, lt=1, description="share of the trials in part test: the last ones")
    valid: float = Field(
        default=0.1, ge=0, lt=1, description="share in part valid of the other trials: their last ones"
    )
    seed: int = Field(default=0, ge=0, description="seed of every draw")

    @property
    def parts(self) -> np.ndarray:
        """Part of each trial, "train", "valid" or "test", shape (event,)."""
        seen = self.trials - round(self.test * self.trials)
        train = seen - round(self.valid * seen)
        return np.repeat(["train", "valid", "test"], [train, seen - train, self.trials - seen])


def sequence_recording(
    name: str,
    p: SequenceParams,
    frames: Mapping[str, np.ndarray],
    within: np.ndarray,
    *,
    rate_hz: float,
    truth: xr.Dataset,
    columns: Mapping[str, np.ndarray] | None = None,
    regular: bool = True,
) -> Recording:
    """Lay sequences along one time axis, a pause as long as a sequence after each, so that no window crosses.

    Parameters
    ----------
    name
        Of the simulator.
    frames
        Variable -> values, shape (event, frame, *space), a.u.
    within
        Frame times, s from a trial's first frame, shape (frame,) or, where trials differ, (event, frame).
    rate_hz
        Frames per second on average; a trial lasts as long as its frames do at this rate.
    truth
        Known variables; those over time have dims (event, frame, ...), and are laid along `time` like the frames.
    columns
        What was drawn per trial, shape (event,).
    regular
        Whether `rate_hz` is the rate of every step; else the recording's rate is one over its median step.

    Returns
    -------
    Recording
        With `stimulus` start, stop, part and the columns.
    """
    shape = next(iter(frames.values())).shape[:2]
    within = np.broadcast_to(within, shape)
    time = trial_times(within, 2 * shape[1] / rate_hz)
    return Recording.from_arrays(
        {key: joined(values) for key, values in frames.items()},
        time=time.ravel(),
        rate_hz=rate_hz if regular else None,
        session=f"{name}-{p.seed}",
        stimulus={"start": time[:, 0], "stop": time[:, -1] + 1 / rate_hz, "part": p.parts, **(columns or {})},
        truth=_laid(truth, time.ravel()),
        history=[entry(f"simulate {name}", p.model_dump(mode="json"))],
        attrs={"dataset": name},
    )


def dense_truth(
    query: np.ndarray, clean: np.ndarray, scale: float, estimates: Mapping[str, np.ndarray] | None = None
) -> xr.Dataset:
    """Return what is known between the frames.

    Parameters
    ----------
    query
        Times, s from a trial's start, the same for all trials, shape (query,).
    clean
        Noise-free values, a.u., shape (event, query, roi) or (event, query, y, x).
    scale
        What errors are divided by, a.u.
    estimates
        Name -> reference estimates of `clean`, same shape.

    Returns
    -------
    xr.Dataset
        `dense` and the estimates, float32, each with `units` and `scale`.
    """
    dims = ("event", "query", "roi") if clean.ndim == 3 else ("event", "query", "y", "x")
    attrs: dict[str, Any] = {"units": "a.u.", "scale": float(scale)}
    values = {"dense": clean, **(estimates or {})}
    return xr.Dataset(
        {name: (dims, array.astype(np.float32), attrs) for name, array in values.items()},
        coords={"query": ("query", np.asarray(query, dtype=np.float64), {"units": "s"})},
    )


def _laid(truth: xr.Dataset, time: np.ndarray) -> xr.Dataset:
    laid = {}
    for name, variable in truth.data_vars.items():
        if variable.dims[:2] == ("event", "frame"):
            values = variable.values.reshape(-1, *variable.shape[2:])
            laid[name] = (("time", *variable.dims[2:]), values, variable.attrs)
        else:
            laid[name] = variable
    return xr.Dataset(laid, coords=truth.coords).assign_coords(time=time)
