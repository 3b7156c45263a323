"""Where samples come from: the held-out windows of a run, or the windows of a bare recording."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import xarray as xr

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.recording import Recording
from neurodyn.data.windows import Windows
from neurodyn.decode.column import suitable_windows
from neurodyn.decode.settings import DecodeConfig
from neurodyn.runs.folder import PREDICTION, RunFolder
from neurodyn.runs.prediction import Prediction


@dataclass(frozen=True)
class Source:
    """Windows to decode, and what a model made of them.

    Parameters
    ----------
    windows
        The decoded windows.
    train
        Windows whose frames may fit an unlabelled projection; None where nothing was held out.
    prediction
        The run's prediction, its windows in the same order; None for a bare recording.
    model
        What made the prediction; "none" for a bare recording.
    usable
        Entries of a frame that features are made of, bool, shape (*space); None for all that are data.
    """

    windows: Windows
    train: Windows | None
    prediction: xr.Dataset | None = None
    model: str = "none"
    usable: np.ndarray | None = None

    @property
    def entries(self) -> np.ndarray:
        """Entries of a frame that features are made of, bool, shape (*space)."""
        return self.windows.brain if self.usable is None else self.usable

    def sessions(self) -> Iterator[Self]:
        """Yield one source per recording, in order, with the cells that the recording has."""
        for index in np.unique(self.windows.session):
            windows = _alone(self.windows, index)
            train = None if self.train is None else _alone(self.train, index)
            prediction = self.prediction
            if prediction is not None:
                prediction = prediction.isel(window=np.flatnonzero(self.windows.session == index))
                if "roi" in prediction.dims:
                    prediction = prediction.isel(roi=slice(windows.space[0]))
            yield replace(self, windows=windows, train=train, prediction=prediction)

    def take(self, rows: np.ndarray) -> Self:
        """Return the source with some of its windows."""
        prediction = None if self.prediction is None else self.prediction.isel(window=rows)
        return replace(self, windows=self.windows.take(rows), prediction=prediction)

    @property
    def recording(self) -> Recording:
        """The recording of the first window; the only one after `sessions`."""
        return self.windows.recordings[int(self.windows.session[0])]

    @property
    def last(self) -> np.ndarray:
        """Time of each window's last frame, s, shape (window,)."""
        clock = self.windows.clock()
        return self.windows.start + clock[:, -1] - clock[:, 0]


def _alone(windows: Windows, session: int) -> Windows:
    """Return the windows of one recording, with the cells that it has."""
    mine = windows.take(np.flatnonzero(windows.session == session))
    place = None if windows.places is None else windows.places[session : session + 1]
    recordings = (windows.recordings[session],)
    return replace(mine, recordings=recordings, session=0 * mine.session, padded=None, places=place)


def open_source(path: Path, config: DecodeConfig) -> Source:
    """Open a run folder or a recording.

    Raises
    ------
    DataError
        If it is neither, or the run has no prediction.
    ConfigError
        If `on` asks a run for windows it has no prediction for.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist.", "Expected a run folder or a recording.", "Check the path.")
    if RunFolder(path).begun or (path / PREDICTION).is_dir():
        return _open_run(path, config)
    return _open_recording(path, config)


def _open_recording(path: Path, config: DecodeConfig) -> Source:
    return source_of(Recording.open(path), config)


def source_of(recording: Recording, config: DecodeConfig) -> Source:
    """Return the windows of a recording: its test part, or all."""
    asked = [name.partition(":")[0] for name in config.features]
    named = [name for name in asked if name in recording.variables]  # --features fluorescence names the signal, too
    update = {"variable": named[0]} if named else {}
    windows = Windows.cut([recording], suitable_windows(recording, config).model_copy(update=update))
    if config.on == "test":
        parts = windows.split()
        return Source(parts["test"], parts["train"])
    return Source(windows, None)


def _open_run(path: Path, config: DecodeConfig) -> Source:
    if config.on == "all":
        raise ConfigError(
            "on: all does not fit a run.", "A run is decoded from its held-out windows only.", "Leave `on` out."
        )
    given = _held_out(Prediction.open(RunFolder(path)))
    train = None if given.of_others else given.whole.split()["train"]
    return Source(given.windows(), train, given.values, given.run.model)


def _held_out(given: Prediction) -> Prediction:
    """Leave out windows the model was trained or selected on."""
    rows = np.flatnonzero(np.isin(given.part, ("test", "all")))
    if not rows.size:
        raise DataError(
            f"{given.run.path} has no prediction for held-out windows.",
            f"Found parts: {', '.join(sorted(set(given.part)))}.",
            f"Make it: neurodyn infer {given.run.path}",
        )
    return given.take(rows)
