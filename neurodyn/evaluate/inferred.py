"""What models inferred, or recordings hold, beside what is known to be true of the same windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import xarray as xr

from neurodyn.core.config import load_yaml
from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.data.runs import match, model_name, open_prediction, run_windows
from neurodyn.data.scores import Score
from neurodyn.data.splits import PARTS
from neurodyn.data.window_config import WindowConfig
from neurodyn.data.windows import Windows
from neurodyn.decode.column import as_text
from neurodyn.metrics.intervals import bootstrap_interval


@dataclass(frozen=True)
class Inferred:
    """Windows of one session, in parts, with what a model gave for them.

    Parameters
    ----------
    path
        The run folder, or the recording.
    model
        Name of the model; "none" for a bare recording.
    seed
        Seed of the training; 0 for a bare recording.
    windows
        The windows, of one recording.
    part
        "train", "valid", "test" or "all", shape (window,).
    prediction
        What the model gave, windows in the same order; None for a bare recording.
    """

    path: Path
    model: str
    seed: int
    windows: Windows
    part: np.ndarray
    prediction: xr.Dataset | None

    def take(self, rows: np.ndarray) -> Self:
        """Return some of the windows."""
        prediction = None if self.prediction is None else self.prediction.isel(window=rows)
        return replace(self, windows=self.windows.take(rows), part=self.part[rows], prediction=prediction)

    @property
    def recording(self) -> Recording:
        """The one recording."""
        return self.windows.recordings[int(self.windows.session[0])]

    @property
    def dataset(self) -> str:
        """What the recording is one draw of; its session where it says nothing."""
        return str(self.recording.tree.attrs.get("dataset", self.recording.session))

    @property
    def trials(self) -> np.ndarray:
        """Group of each window: its trial, or a number of its own outside any, shape (window,)."""
        alone = self.windows.trial.max(initial=0) + 1 + np.arange(len(self.windows))
        return np.where(self.windows.trial < 0, alone, self.windows.trial)

    @property
    def scored(self) -> list[str]:
        """Parts that nothing was fitted on, as far as they are there."""
        return [name for name in (*PARTS[1:], "all") if (self.part == name).any()]

    def given(self, name: str) -> np.ndarray | None:
        """Return what the model gave under a name, shape (window, time, ...); None where it gave no such thing."""
        if self.prediction is None or name not in self.prediction:
            return None
        given = self.prediction[name]
        if given.dims[-1] == "roi":  # padded where sessions have cells of their own
            given = given.isel(roi=slice(self.recording[self.windows.config.variable].shape[1]))
        return given.values

    def recorded(self, name: str) -> np.ndarray:
        """Return a neural variable of the recording, shape (window, time, ...)."""
        return self._gathered(self.recording[name].values)

    def true(self, name: str) -> np.ndarray | None:
        """Return a course that is known to be true, shape (window, time, ...); None where none is."""
        truth = self.recording.table("truth")
        if truth is None or name not in truth or truth[name].dims[:1] != ("time",):
            return None
        if truth[name].ndim != 2 or truth[name].shape[0] != self.recording.time.size:
            return None
        return self._gathered(truth[name].values)

    def _gathered(self, course: np.ndarray) -> np.ndarray:
        return course[self.windows.first[:, None] + np.arange(self.windows.frames)]

    def score(self, part: str, target: str, metric: str, sums: np.ndarray, statistic: Any, **more: Any) -> Score:
        """Return a score with a 95 % interval by bootstrap over trials.

        Parameters
        ----------
        sums
            What the statistic takes the sum of, per window of the part, shape (window, term).
        statistic
            Takes summed terms, shape (term,).
        more
            `features`, `bootstraps` and `seed` of the bootstrap.
        """
        names, group = np.unique(self.trials[self.part == part], return_inverse=True)
        rows = np.zeros((names.size, sums.shape[1]))
        np.add.at(rows, group, sums)
        low, high = bootstrap_interval(
            lambda index: statistic(rows[index].sum(axis=0)),
            names.size,
            resamples=more["bootstraps"],
            seed=more["seed"],
        )
        return self.row(part, target, metric, more["features"], statistic(rows.sum(axis=0)), (low, high), names.size)

    def means(
        self, part: str, target: str, metric: str, values: np.ndarray, bootstraps: int, seed: int
    ) -> Iterator[Score]:
        """Return the mean over the windows of a part, with its interval, and every window's own value as a fold.

        Parameters
        ----------
        values
            One per window of all parts, shape (window,).
        """
        rows = self.part == part
        sums = np.stack([values[rows], np.ones(rows.sum())], axis=1)
        how = {"features": "", "bootstraps": bootstraps, "seed": seed}
        yield self.score(part, target, metric, sums, lambda s: float(s[0] / s[1]), **how)
        for start, value in zip(self.windows.start[rows], values[rows], strict=True):
            row = self.row(part, target, metric, "", float(value), (float("nan"), float("nan")), 1)
            yield replace(row, fold=f"{start:.3f} s")

    def row(
        self, part: str, target: str, metric: str, features: str, value: float, ci: tuple[float, float], n: int
    ) -> Score:
        """Return one row of the table, its units trials."""
        split = self.windows.config.split if self.prediction is not None else "recorded"
        return Score(
            session=self.recording.session,
            model=self.model,
            seed=self.seed,
            split=f"{split}:{part}",
            target=target,
            metric=metric,
            value=value,
            ci_low=ci[0],
            ci_high=ci[1],
            n=n,
            unit="trials",
            features=features,
        )


def open_inferred(paths: Sequence[Path], windows: WindowConfig | None = None, truth: bool = True) -> list[Inferred]:
    """Open run folders with a prediction, and bare recordings, session by session.

    Parameters
    ----------
    windows
        Windows of bare recordings; None for one per trial, parts as the stimulus column `part` says.
    truth
        Whether the recordings must have ground truth.

    Raises
    ------
    DataError
        If a path is neither, or its recordings have no group `truth`.
    """
    found = []
    for path in paths:
        opened = _of_run(path) if (path / "config.yaml").is_file() else _of_recording(path, windows)
        for session in np.unique(opened.windows.session):
            found.append(opened.take(np.flatnonzero(opened.windows.session == session)))
    for one in found:
        if truth and one.recording.table("truth") is None:
            raise DataError(
                f"Recording '{one.recording.session}' has no ground truth.",
                f"Found groups: {', '.join(one.recording.tree.children)}; expected one named truth.",
                "Simulate one: neurodyn simulate lorenz -o FILE",
            )
    return found


def _of_run(path: Path) -> Inferred:
    prediction, settings = open_prediction(path), load_yaml(path / "config.yaml").values
    windows = match(prediction, run_windows(path, prediction, settings))
    part = as_text(prediction["part"].values) if "part" in prediction else np.full(len(windows), "test")
    seed = int((settings.get("training") or {}).get("seed", 0))
    return Inferred(path, model_name(settings, path), seed, windows, part, prediction)


def _of_recording(path: Path, config: WindowConfig | None) -> Inferred:
    recording = Recording.open(path)
    whole = Windows.cut([recording], config or _trials(recording))
    parts = whole.split()
    chosen = np.concatenate([np.full(len(some), name) for name, some in parts.items()])
    order = np.concatenate([np.flatnonzero(np.isin(whole.first, some.first)) for some in parts.values()])
    return Inferred(path, "none", 0, whole.take(order), chosen, None)


def _trials(recording: Recording) -> WindowConfig:
    """Return one window per stimulus event, as long as the shortest, parts by the column `part`."""
    stimulus = recording.stimulus
    frames = int(np.floor((stimulus["stop"].values - stimulus["start"].values).min() * recording.rate_hz + 1e-6))
    duration = max(1, frames) / recording.rate_hz
    variable = recording.variables[0]
    return WindowConfig(variable=variable, duration=duration, align="events", split="column", condition="part")
