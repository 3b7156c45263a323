"""What a run folder was made from: its recordings, as they were then, their windows, and its prediction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from neurodyn.core.config import build
from neurodyn.core.errors import DataError
from neurodyn.core.files import sha256
from neurodyn.data.integrity import open_whole
from neurodyn.data.recording import Recording
from neurodyn.data.window_config import WindowConfig
from neurodyn.data.windows import Windows

TRAINED = "was trained on it"
PREDICTED = "predicted it"


def recordings_on_record(run: Path, settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the recordings that a run's configuration names: path -> SHA-256 when it was trained.

    Raises
    ------
    DataError
        If there are none, or one has no checksum.
    """
    items = settings.get("recordings") or []
    if not items or any(not isinstance(item, Mapping) or not {"path", "sha256"} <= set(item) for item in items):
        raise DataError(
            f"{run}/config.yaml names no recordings with their checksums.",
            "Expected `recordings: [{path: ..., sha256: ...}]`, as training writes it.",
            "Train again: neurodyn train MODEL RECORDING -o DIR",
        )
    return {str(item["path"]): str(item["sha256"]) for item in items}


def locate(run: Path, name: str) -> Path:
    """Find a recording where the run saw it, or else relative to the run; the former where it is in neither place."""
    candidates = [Path(name), run / name]
    return next((path for path in candidates if path.exists()), candidates[0])


def open_recordings(run: Path, on_record: Mapping[str, str], did: str = TRAINED) -> list[Recording]:
    """Open the recordings of a run or of its prediction, if they are what they were.

    Parameters
    ----------
    run
        The run folder.
    on_record
        Path -> SHA-256 of then.
    did
        What the run did with them then, in words.

    Raises
    ------
    DataError
        If a recording is gone, or has changed: windows of one content and labels of another would be paired, and windows
        held out then might not be the same now.
    """
    again = "Train again, or name it as any other recording" if did == TRAINED else "Predict again"
    found = []
    for name, then in on_record.items():
        path = locate(run, name)
        recording = Recording.open(path)
        if (now := sha256(path)) != then:
            raise DataError(
                f"{path} has changed since {run.name} {did}.",
                f"Its SHA-256 was {then[:12]}… then, and is {now[:12]}… now.",
                f"{again}: neurodyn infer {run} {path}",
            )
        found.append(recording)
    return found


def of_others(prediction: xr.Dataset) -> bool:
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
        If it names no recordings, or one of them is gone or has changed.
    """
    others = of_others(prediction)
    known = dict(prediction.attrs["settings"]["inputs"]) if others else recordings_on_record(path, settings)
    window_config = build(WindowConfig, settings.get("windows") or {}, str(path / "config.yaml"))
    recordings = open_recordings(path, known, PREDICTED if others else TRAINED)
    unlike = len({recording[window_config.variable].shape[1:] for recording in recordings}) > 1
    return Windows.cut(recordings, window_config, ragged=unlike)


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
