"""What a run's model says of a recording, as one more variable over time: its windows laid side by side."""

from __future__ import annotations

import numpy as np
import xarray as xr

from neurodyn.data.lazy import DiskArray, lazy
from neurodyn.runs.prediction import Prediction


class Stitched(DiskArray):
    """Windows of a prediction on the frames of their recording, read when asked for.

    Where windows overlap, their mean; NaN where there is none.

    Parameters
    ----------
    windows
        Shape (window, time, *space), on disk.
    rows
        Which of the windows, shape (row,).
    first
        First frame of each of these in the recording, shape (row,).
    shape
        Of the recording's variable: (time, *space).
    """

    def __init__(self, windows: xr.Variable, rows: np.ndarray, first: np.ndarray, shape: tuple[int, ...]) -> None:
        super().__init__(shape, np.float32)
        order = np.argsort(first, kind="stable")
        self.windows, self.rows, self.first = windows, rows[order], first[order]

    def _block(self, key: tuple[slice, ...]) -> np.ndarray:
        time, space = key[0], key[1:]
        length = self.windows.shape[1]
        begin, end = np.searchsorted(self.first, [time.start - length + 1, time.stop])
        order = begin + np.argsort(self.rows[begin:end], kind="stable")  # a chunk holds many windows, read it once
        values = self.windows[(self.rows[order], slice(None), *space)].values
        total = np.zeros((time.stop - time.start, *values.shape[2:]), np.float32)
        count = np.zeros((total.shape[0], *[1] * len(space)), np.float32)
        for window, first in zip(values, self.first[order], strict=True):
            a, b = max(int(first), time.start), min(int(first) + length, time.stop)
            total[a - time.start : b - time.start] += window[a - first : b - first]
            count[a - time.start : b - time.start] += 1
        count[count == 0] = np.nan
        return (total / count)[:: time.step]


def model_variable(prediction: Prediction, session: int) -> xr.Variable | None:
    """Return what a model says of one of a run's recordings, shape (time, *space); None where it says nothing of it.

    Parameters
    ----------
    session
        Number of the recording in the prediction.
    """
    windows, name = prediction.windows(), prediction.run.windows.variable
    recording, rows = windows.recordings[session], np.flatnonzero(windows.session == session)
    if "mean" not in prediction.values or not rows.size or windows.config.irregular or name not in recording.variables:
        return None
    mean, variable = prediction.values["mean"].variable, recording[name].variable
    if mean.ndim != 1 + variable.ndim or any(a < b for a, b in zip(mean.shape[2:], variable.shape[1:], strict=True)):
        return None  # a target of another shape, as the mean of a part
    # sessions of fewer cells than others are padded
    stitched = Stitched(mean, rows, windows.first[rows], variable.shape)
    found = lazy(tuple(map(str, variable.dims)), stitched)
    found.attrs = {"units": variable.attrs["units"], "made_by": prediction.run.model}
    return found
