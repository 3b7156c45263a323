"""`Prediction`: what a run's model gave, opened, checked, and matched with the windows that it was given."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import xarray as xr

from neurodyn.core.errors import DataError
from neurodyn.data.integrity import open_whole
from neurodyn.data.recording import Recording
from neurodyn.data.store import as_text
from neurodyn.data.windows import Windows
from neurodyn.runs.folder import PREDICTION, RunFolder
from neurodyn.runs.windows import PREDICTED, TRAINED, open_recordings, open_windows


@dataclass(frozen=True)
class Prediction:
    """The prediction in a run folder.

    Parameters
    ----------
    run
        Who wrote it.
    values
        Its arrays, read when asked for, each with windows first.
    """

    run: RunFolder
    values: xr.Dataset

    @classmethod
    def open(cls, run: RunFolder) -> Self:
        """Open a run folder's prediction.

        Raises
        ------
        DataError
            If there is none, or it is incomplete.
        """
        path = run.path / PREDICTION
        if not path.is_dir():
            raise DataError(
                f"{run.path} has no prediction to decode.",
                "Expected prediction.zarr, made from the run's held-out windows.",
                f"Make it: neurodyn infer {run.path}",
            )
        values = open_whole(path)
        missing = {"start", "session", "trial"} - {str(name) for name in values.variables}
        if missing:
            raise DataError(
                f"{run.path}/prediction.zarr is incomplete.",
                f"Missing: {', '.join(sorted(missing))}.",
                f"Make it again: neurodyn infer {run.path}",
            )
        return cls(run, values)

    @property
    def settings(self) -> dict[str, Any]:
        """What it was asked for with."""
        return self.values.attrs.get("settings", {})

    @property
    def of_others(self) -> bool:
        """Whether it is of other recordings than the run was trained on."""
        return "all" in self.settings.get("parts", ())

    @property
    def inputs(self) -> dict[str, str]:
        """Recordings it is of: path -> SHA-256 of then."""
        return dict(self.settings["inputs"]) if self.of_others else self.run.inputs

    @property
    def part(self) -> np.ndarray:
        """Part of each window: "train", "valid", "test" or "all", shape (window,)."""
        if "part" not in self.values:
            return np.full(self.values.sizes["window"], "test")
        return as_text(self.values["part"].values)

    @cached_property
    def whole(self) -> Windows:
        """Every window of its recordings, as the run's configuration cuts them.

        Raises
        ------
        DataError
            If the run names no recordings, or one of them is gone or has changed.
        """
        return open_windows(self.run, self.inputs if self.of_others else None)

    def recordings(self) -> list[Recording]:
        """Open the recordings it is of, if they are what they were."""
        return open_recordings(self.run, self.inputs, PREDICTED if self.of_others else TRAINED)

    def take(self, rows: np.ndarray) -> Self:
        """Return it with some of its windows."""
        return replace(self, values=self.values.isel(window=rows))

    def windows(self) -> Windows:
        """Return its windows as windows of its recordings.

        Raises
        ------
        DataError
            If they do not fit.
        """
        whole = self.whole
        session, start = self.values["session"].values, self.values["start"].values
        half = 0.5 / whole.rate_hz
        pairs = zip(session, start, strict=True)
        first = np.array([np.searchsorted(whole.recordings[s].time, begin - half) for s, begin in pairs], dtype=int)
        last = np.array([whole.recordings[s].time.size for s in session]) - whole.frames
        if (first > last).any() or self.values.sizes["time"] != whole.frames:
            raise DataError(
                "The run's prediction does not fit its recordings.",
                f"Found windows of {self.values.sizes['time']} frames; the configuration says {whole.frames}.",
                "The recording has changed since: train again.",
            )
        trial = self.values["trial"].values.astype(int)
        return replace(whole, session=session.astype(int), first=first, trial=trial)
