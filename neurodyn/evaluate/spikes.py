"""Score inferred activity against recorded spikes: cells of many recordings into one table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import Field

from neurodyn.core.config import Params
from neurodyn.core.errors import DataError
from neurodyn.data.clock import stretch_slices, stretch_starts
from neurodyn.data.recording import Recording
from neurodyn.data.scores import Score
from neurodyn.data.truth import spike_times
from neurodyn.evaluate.base import EVERY, MINUS, RecordingEvaluation
from neurodyn.metrics.intervals import bootstrap_interval
from neurodyn.metrics.spike_inference import matched_f1, paired_bins, pearson
from neurodyn.preprocess.events import noise_levels


class SpikesConfig(Params):
    """How inferred activity is compared with recorded spikes."""

    features: tuple[str, ...] = Field(
        default=(), description="variables to score, the first against each other one (default: spikes*, then dff)"
    )
    slow_hz: float = Field(default=7.5, gt=0, description="bins per second of the slow comparison")
    slow_smooth: float = Field(
        default=0.2, ge=0, description="standard deviation of the Gaussian on both courses of the slow comparison, s"
    )
    fast_hz: float = Field(
        default=25.0, gt=0, description="bins per second of the fast comparison, which is not smoothed"
    )
    native: bool = Field(default=True, description="compare frame by frame, too, at the recording's own rate")
    window: float = Field(
        default=0.1, gt=0, description="how far a discrete spike may be from a recorded one to be the same, s"
    )
    bootstraps: int = Field(default=2000, ge=100, description="resamples of cells for the intervals")
    seed: int = Field(default=0, ge=0, description="seed of the resamples")

    @property
    def measures(self) -> dict[str, tuple[float | None, float]]:
        """Metric name -> bins per second, None for the recording's own; Gaussian in s."""
        slow = f"r at {self.slow_hz:g} Hz, {1000 * self.slow_smooth:g} ms"
        native: dict[str, tuple[float | None, float]] = {"r at the frame rate": (None, 0.0)} if self.native else {}
        return {slow: (self.slow_hz, self.slow_smooth), f"r at {self.fast_hz:g} Hz": (self.fast_hz, 0.0)} | native

    @property
    def matched(self) -> str:
        """Name of the metric of discrete spikes."""
        return f"F1 within {1000 * self.window:g} ms"


BIAS, NOISE = "log2 of expected over fired", "noise level"


@dataclass(frozen=True)
class Cell:
    """One cell's scores.

    Parameters
    ----------
    dataset, name
        Where it is from.
    noise
        Noise level, %/√Hz; NaN without ΔF/F.
    values
        (feature, metric) -> the score; no entry where a feature has none.
    """

    dataset: str
    name: str
    noise: float
    values: dict[tuple[str, str], float]


class Spikes(RecordingEvaluation):
    """Inferred activity against recorded spikes, cell by cell.

    Every feature of every cell is correlated with the cell's recorded spikes. A dataset's value is the mean over its cells,
    its interval a bootstrap over cells; differences between the first feature and the others are paired by cell. Cells
    without spikes, or with a constant feature, have no correlation and are left out of a mean. Features in units of spikes
    are asked, too, how many they expect for each that was fired, as a logarithm to base 2 (1: twice as many), half a
    spike added to both; discrete ones how many of them are within a window of a recorded one. Each cell's noise level
    stands beside. Recordings need a group `truth`: `spike_time` and `spike_roi`, or `spikes` per frame.
    """

    name = "spikes"
    figure = "spikes"
    Config = SpikesConfig
    config: SpikesConfig

    def score(self, sources: Sequence[Recording]) -> Iterator[Score]:
        """Return every cell's scores, their means, and the means of paired differences."""
        features = self._features(sources)
        sessions = [recording.session for recording in sources]
        cells = [
            cell
            for recording in sources
            for cell in _cells(recording, features, self.config, alone=sessions.count(recording.session) == 1)
        ]
        groups = {
            name: [cell for cell in cells if cell.dataset == name] for name in dict.fromkeys(c.dataset for c in cells)
        }
        groups |= {EVERY: cells} if len(groups) > 1 else {}
        for name, group in groups.items():
            yield from _rows(name, group, features, self.config)

    def record(self, sources: Sequence[Recording]) -> dict[str, Any]:
        """Return the recordings' paths, and the features that were scored."""
        return super().record(sources) | {"features": list(self._features(sources))}

    def _features(self, recordings: Sequence[Recording]) -> tuple[str, ...]:
        return self.config.features or _default_features(recordings[0])


def _default_features(recording: Recording) -> tuple[str, ...]:
    names = sorted(name for name in recording.variables if name.startswith("spikes"))
    found = (*names, *(name for name in ("dff",) if name in recording.variables))
    if not found:
        raise DataError(
            f"Recording '{recording.session}' has nothing to score.",
            f"Found: {', '.join(recording.variables)}; expected inferred spikes, or dff.",
            "Infer them first, or name them, --features NAME. To infer: neurodyn preprocess RECORDING --chain spikes",
        )
    return found


def _cells(recording: Recording, features: Sequence[str], config: SpikesConfig, alone: bool) -> list[Cell]:
    """Return a recording's cells; where another one has the session's name, they are called by the file's."""
    dataset = str(recording.tree.attrs.get("dataset", recording.session))
    name = recording.session if alone or recording.path is None else recording.path.stem
    starts = stretch_starts(recording.time, recording.rate_hz)
    parts = [part for part in stretch_slices(starts, recording.time.size) if part.stop - part.start > 1]
    times, noise = spike_times(recording), _noise(recording, starts)
    values: list[dict[tuple[str, str], float]] = [{} for _ in times]
    for feature in features:
        signal, unit = recording[feature].values, str(recording[feature].attrs.get("units", ""))
        for roi, spikes in enumerate(times):
            trace = _Trace(recording, signal[:, roi], parts, spikes)
            found = {metric: trace.r(*how) for metric, how in config.measures.items()}
            found |= {BIAS: trace.bias()} if unit.startswith("spikes") else {}
            found |= {config.matched: trace.matched(config.window)} if unit.startswith("spikes, discrete") else {}
            values[roi] |= {(feature, metric): value for metric, value in found.items()}
    return [Cell(dataset, f"{name}:{roi}", noise[roi], each) for roi, each in enumerate(values)]


@dataclass(frozen=True)
class _Trace:
    """One feature of one cell, its stretches without a gap, and the cell's recorded spikes, s."""

    recording: Recording
    values: np.ndarray
    parts: Sequence[slice]
    spikes: np.ndarray

    def r(self, rate_hz: float | None, smooth: float) -> float:
        """Return the correlation in such bins; None: the recording's own frames."""
        time, frame = self.recording.time, 1 / self.recording.rate_hz
        how = rate_hz or self.recording.rate_hz, smooth
        return pearson([paired_bins(self.values[part], time[part], frame, self.spikes, *how) for part in self.parts])

    def bias(self) -> float:
        """Return the logarithm to base 2 of spikes expected for each one that was fired meanwhile."""
        expected = sum(float(np.nansum(self.values[part])) for part in self.parts)
        fired = sum(self._fired(part).size for part in self.parts)
        return math.log2((max(expected, 0.0) + 0.5) / (fired + 0.5))

    def matched(self, window: float) -> float:
        """Return F1 of discrete spikes."""
        time = self.recording.time
        found = [np.repeat(time[part], np.nan_to_num(self.values[part]).astype(int)) for part in self.parts]
        return matched_f1(np.concatenate(found), np.concatenate([self._fired(part) for part in self.parts]), window)

    def _fired(self, part: slice) -> np.ndarray:
        time, half = self.recording.time[part], 0.5 / self.recording.rate_hz
        return self.spikes[(self.spikes >= time[0] - half) & (self.spikes < time[-1] + half)]


def _noise(recording: Recording, starts: np.ndarray) -> np.ndarray:
    """Return the noise level of each ROI's ΔF/F, %/√Hz; NaN where there is none."""
    if "dff" not in recording.variables:
        return np.full(int(recording.neural.sizes.get("roi", 0)), np.nan)
    return noise_levels(recording["dff"].values.T, starts, recording.rate_hz)


def _rows(session: str, cells: Sequence[Cell], features: Sequence[str], config: SpikesConfig) -> list[Score]:
    """Return a dataset's rows: cells one by one, their mean, and the mean of paired differences."""
    rows = []
    for metric in dict.fromkeys(metric for cell in cells for _, metric in cell.values):
        having = [name for name in features if (name, metric) in cells[0].values]
        for name in having:
            values = np.array([cell.values[name, metric] for cell in cells])
            if session != EVERY:
                rows += [
                    _row(session, name, metric, cell.name, np.array([value]), config)
                    for cell, value in zip(cells, values, strict=True)
                ]
            rows.append(_row(session, name, metric, "all", values, config))
        for other in [name for name in having if name != features[0] and features[0] in having]:
            gains = np.array([cell.values[features[0], metric] - cell.values[other, metric] for cell in cells])
            rows.append(_row(session, f"{features[0]}{MINUS}{other}", metric, "all", gains, config))
    if session != EVERY:
        rows += [
            replace(_row(session, "dff", NOISE, cell.name, np.array([cell.noise]), config), unit="%/√Hz")
            for cell in cells
            if np.isfinite(cell.noise)
        ]
    return rows


def _row(session: str, feature: str, metric: str, fold: str, values: np.ndarray, config: SpikesConfig) -> Score:
    finite = values[np.isfinite(values)]
    mean = float(finite.mean()) if finite.size else float("nan")
    low, high = bootstrap_interval(
        lambda index: float(finite[index].mean()), finite.size, resamples=config.bootstraps, seed=config.seed
    )
    lost = values.size - finite.size
    return Score(
        session=session,
        model="none",
        seed=config.seed,
        split="recorded",
        target="spikes",
        metric=metric,
        fold=fold,
        value=mean,
        ci_low=low,
        ci_high=high,
        n=int(finite.size),
        unit="cells",
        features=feature,
        note=f"{lost} cells have no correlation" if lost else "",
    )
