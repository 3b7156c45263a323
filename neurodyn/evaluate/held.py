"""What came in held-out windows, and what was said of it: a run's forecasts, the mean response, the last value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.data.scores import NAN, Score
from neurodyn.data.windows import Windows
from neurodyn.evaluate.inferred import Inferred
from neurodyn.metrics.forecast import last_value

PSTH, LAST_VALUE = "PSTH (reference)", "last value (reference)"
CHUNK_WINDOWS = 64


@dataclass(frozen=True)
class Held:
    """What came in the held-out windows of one part, and what was said of it.

    Parameters
    ----------
    run
        The run, with the windows of the part.
    part
        Name of the part.
    target
        What came, NaN where not valid, shape (window, horizon, neuron).
    forecasts
        The model's and, where they are known, the references', each like `target` or with one entry along time.
    """

    run: Inferred
    part: str
    target: np.ndarray
    forecasts: Mapping[str, np.ndarray]

    def row(self, model: str, metric: str) -> Score:
        """Return a row of the table, its units neurons, without a value."""
        config = self.run.windows.config
        row = self.run.row(self.part, config.target or config.variable, metric, "", NAN, (NAN, NAN), 0)
        return replace(row, model=model, unit="neurons")


def held_of(run: Inferred, part: str, train: Windows | None) -> Held:
    """Return what came in a run's windows, which are those of one part, and what was said of it.

    Parameters
    ----------
    train
        Training windows of the PSTH; None where there are none.

    Raises
    ------
    DataError
        If the prediction is incomplete, or is no number.
    """
    horizon = run.windows.horizon
    observed, mean = run.given("observed"), run.given("mean")
    frames = observed if (other := run.given("target")) is None else other
    if frames is None or mean is None:
        raise DataError(
            f"{run.path}/prediction.zarr is incomplete.",
            "Expected observed and mean.",
            f"Make it again: neurodyn infer {run.path}",
        )
    target = frames[:, -horizon:]
    forecasts = {run.model: mean[:, -horizon:], LAST_VALUE: last_value(frames[:, :-horizon])}
    _check_finite(run, target, forecasts[run.model])
    if train is not None:
        forecasts[PSTH] = _psth(train, target.shape[2])[conditions(run.windows)]
    return Held(run, part, target, forecasts)


def _check_finite(one: Inferred, target: np.ndarray, forecast: np.ndarray) -> None:
    lost = int((np.isfinite(target) & ~np.isfinite(forecast)).sum())
    if lost:
        raise DataError(
            f"{one.path} forecasts what is no number.",
            f"Found {lost} of {np.isfinite(target).sum()} values that are NaN or infinite.",
            "The model diverged: train it again with a smaller learning rate, --set training.lr=RATE",
        )


def conditions(windows: Windows) -> np.ndarray:
    """Return each window's condition, -1 where none is told or known, shape (window,)."""
    return np.full(len(windows), -1) if windows.code is None else windows.stimulus()[1]


def ahead(windows: Windows, cells: int, rows: slice = slice(None)) -> np.ndarray:
    """Return what is to be forecast, NaN where not valid, shape (window, horizon, neuron)."""
    values, mask = windows.values(rows)
    if windows.config.target is not None:
        values, known = windows.targets.values(rows)
        mask = mask & known
    return np.where(mask, values, np.float32(np.nan))[:, -windows.horizon :, :cells]


def _psth(train: Windows, cells: int) -> np.ndarray:
    """Average training windows by condition, and all of them in the last row, shape (condition + 1, horizon, neuron).

    A step without a valid value of its condition gets the mean of all conditions, 0 where that has none either.
    """
    condition = conditions(train)
    rows = (len(train.code.conditions) if train.code else 0) + 1
    total = np.zeros((rows, train.horizon, cells))
    count = np.zeros_like(total)
    for start in range(0, len(train), CHUNK_WINDOWS):
        chunk = slice(start, start + CHUNK_WINDOWS)
        values = ahead(train, cells, chunk)
        valid = np.isfinite(values)
        filled = np.where(valid, values, 0.0)
        for name in np.unique(condition[chunk]):
            mine = condition[chunk] == name
            total[name] += filled[mine].sum(axis=0, dtype=np.float64)
            count[name] += valid[mine].sum(axis=0)
    total[-1], count[-1] = total.sum(axis=0), count.sum(axis=0)
    means = total / np.maximum(count, 1)
    return np.where(count > 0, means, means[-1])
