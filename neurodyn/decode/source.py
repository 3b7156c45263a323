"""Where samples come from: the held-out windows of a run, or the windows of a bare recording."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import xarray as xr

from neurodyn.core.config import build, load_yaml
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.integrity import open_whole
from neurodyn.data.recording import Recording
from neurodyn.data.windows import WindowConfig, Windows
from neurodyn.decode.settings import DecodeConfig


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
    if (path / "config.yaml").is_file() or (path / "prediction.zarr").is_dir():
        return _open_run(path, config)
    return _open_recording(path, config)


def _open_recording(path: Path, config: DecodeConfig) -> Source:
    recording = Recording.open(path)
    asked = [name.partition(":")[0] for name in config.features]
    named = [name for name in asked if name in recording.variables]  # --features fluorescence names the signal, too
    update = {"variable": named[0]} if named else {}
    windows = Windows.cut([recording], config.windows.model_copy(update=update))
    if config.on == "test":
        parts = windows.split()
        return Source(parts["test"], parts["train"])
    return Source(windows, None)


def _open_run(path: Path, config: DecodeConfig) -> Source:
    if config.on == "all":
        raise ConfigError(
            "on: all does not fit a run.", "A run is decoded from its held-out windows only.", "Leave `on` out."
        )
    prediction = _held_out(open_prediction(path), path)
    settings = load_yaml(path / "config.yaml").values
    whole = run_windows(path, prediction, settings)
    train = None if _of_others(prediction) else whole.split()["train"]
    return Source(match(prediction, whole), train, prediction, model_name(settings, path))


def _of_others(prediction: xr.Dataset) -> bool:
    """Say whether a prediction is of other recordings than the run was trained on."""
    return "all" in prediction.attrs.get("settings", {}).get("parts", ())


def run_windows(path: Path, prediction: xr.Dataset, settings: dict[str, Any]) -> Windows:
    """Cut the recordings a run's prediction was made from as the run's configuration says.

    Parameters
    ----------
    path
        The run folder.
    settings
        Its configuration.

    Raises
    ------
    DataError
        If it names no recordings, or one of them is gone.
    """
    others = _of_others(prediction)
    names = list(prediction.attrs["settings"]["inputs"]) if others else recording_paths(settings)
    if not names:
        raise DataError(f"{path}/config.yaml names no recordings.", "Expected `recordings: [...]`.", "Train again.")
    window_config = build(WindowConfig, settings.get("windows") or {}, str(path / "config.yaml"))
    recordings = [Recording.open(_locate(path, name)) for name in names]
    unlike = len({recording[window_config.variable].shape[1:] for recording in recordings}) > 1
    return Windows.cut(recordings, window_config, ragged=unlike)


def recording_paths(settings: dict[str, Any]) -> list[str]:
    """Return the paths of a run's recordings, from its configuration."""
    items = settings.get("recordings") or []
    return [str(item["path"] if isinstance(item, dict) else item) for item in items]


def as_text(values: np.ndarray) -> np.ndarray:
    """Return fixed-width strings; what a store gives back may be objects or variable-length strings."""
    return np.array([str(value) for value in values])


def _held_out(prediction: xr.Dataset, path: Path) -> xr.Dataset:
    """Leave out windows the model was trained or selected on."""
    if "part" not in prediction:
        return prediction
    part = as_text(prediction["part"].values)
    rows = np.flatnonzero((part == "test") | (part == "all"))
    if not rows.size:
        raise DataError(
            f"{path} has no prediction for held-out windows.",
            f"Found parts: {', '.join(sorted(set(part)))}.",
            f"Make it: neurodyn infer {path}",
        )
    return prediction.isel(window=rows)


def open_prediction(path: Path) -> xr.Dataset:
    """Open a run folder's prediction, lazily.

    Raises
    ------
    DataError
        If there is none, or it is incomplete.
    """
    if not (path / "prediction.zarr").is_dir():
        raise DataError(
            f"{path} has no prediction to decode.",
            "Expected prediction.zarr, made from the run's held-out windows.",
            f"Make it: neurodyn infer {path}",
        )
    prediction = open_whole(path / "prediction.zarr")
    missing = {"start", "session", "trial"} - {str(name) for name in prediction.variables}
    if missing:
        raise DataError(
            f"{path}/prediction.zarr is incomplete.",
            f"Missing: {', '.join(sorted(missing))}.",
            f"Make it again: neurodyn infer {path}",
        )
    return prediction


def _locate(run: Path, name: str) -> Path:
    """Find a recording where the run saw it, or relative to the run."""
    candidates = [Path(name), run / name]
    return next((path for path in candidates if path.exists()), candidates[0])


def match(prediction: xr.Dataset, whole: Windows) -> Windows:
    """Return the prediction's windows as windows of its recordings.

    Raises
    ------
    DataError
        If they do not fit.
    """
    session = prediction["session"].values
    start = prediction["start"].values
    half = 0.5 / whole.rate_hz
    pairs = zip(session, start, strict=True)
    first = np.array([np.searchsorted(whole.recordings[s].time, begin - half) for s, begin in pairs], dtype=int)
    last = np.array([whole.recordings[s].time.size for s in session]) - whole.frames
    if (first > last).any() or prediction.sizes["time"] != whole.frames:
        raise DataError(
            "The run's prediction does not fit its recordings.",
            f"Found windows of {prediction.sizes['time']} frames; the configuration says {whole.frames}.",
            "The recording has changed since: train again.",
        )
    return replace(whole, session=session.astype(int), first=first, trial=prediction["trial"].values.astype(int))


def model_name(settings: dict[str, Any], path: Path) -> str:
    """Return the name of a run's model, from its configuration; the folder's name where it says none."""
    return str(settings.get("name") or settings.get("backend") or path.name)
