"""Score inferred activity against recorded spikes: cells of many recordings into one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from neurodyn.metrics.spike_inference import paired_bins, pearson


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
    bootstraps: int = Field(default=2000, ge=100, description="resamples of cells for the intervals")
    seed: int = Field(default=0, ge=0, description="seed of the resamples")

    @property
    def measures(self) -> dict[str, tuple[float, float]]:
        """Metric name -> bins per second, Gaussian in s."""
        slow = f"r at {self.slow_hz:g} Hz, {1000 * self.slow_smooth:g} ms"
        return {slow: (self.slow_hz, self.slow_smooth), f"r at {self.fast_hz:g} Hz": (self.fast_hz, 0.0)}


@dataclass(frozen=True)
class Cell:
    """One cell's correlations.

    Parameters
    ----------
    dataset, name
        Where it is from.
    values
        (feature, metric) -> Pearson's r.
    """

    dataset: str
    name: str
    values: dict[tuple[str, str], float]


class Spikes(RecordingEvaluation):
    """Inferred activity against recorded spikes, cell by cell.

    Every feature of every cell is correlated with the cell's recorded spikes. A dataset's value is the mean over its cells,
    its interval a bootstrap over cells; differences between the first feature and the others are paired by cell. Cells
    without spikes, or with a constant feature, have no correlation and are left out of a mean. Recordings need a group
    `truth`: `spike_time` and `spike_roi`, or `spikes` per frame.
    """

    name = "spikes"
    Config = SpikesConfig
    config: SpikesConfig

    def score(self, sources: Sequence[Recording]) -> Iterator[Score]:
        """Return every cell's correlations, their means, and the means of paired differences."""
        features = self._features(sources)
        cells = [cell for recording in sources for cell in _cells(recording, features, self.config)]
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


def _cells(recording: Recording, features: Sequence[str], config: SpikesConfig) -> list[Cell]:
    dataset = str(recording.tree.attrs.get("dataset", recording.session))
    signals = {name: recording[name].values for name in features}
    starts = stretch_starts(recording.time, recording.rate_hz)
    stretches = [part for part in stretch_slices(starts, recording.time.size) if part.stop - part.start > 1]
    found = []
    for roi, spikes in enumerate(spike_times(recording)):
        values = {
            (name, metric): pearson(
                [
                    paired_bins(signal[part, roi], recording.time[part], 1 / recording.rate_hz, spikes, *how)
                    for part in stretches
                ]
            )
            for name, signal in signals.items()
            for metric, how in config.measures.items()
        }
        found.append(Cell(dataset, f"{recording.session}:{roi}", values))
    return found


def _rows(session: str, cells: Sequence[Cell], features: Sequence[str], config: SpikesConfig) -> list[Score]:
    """Return a dataset's rows: cells one by one, their mean, and the mean of paired differences."""
    rows = []
    for metric in config.measures:
        for name in features:
            values = np.array([cell.values[name, metric] for cell in cells])
            if session != EVERY:
                rows += [
                    _row(session, name, metric, cell.name, np.array([value]), config)
                    for cell, value in zip(cells, values, strict=True)
                ]
            rows.append(_row(session, name, metric, "all", values, config))
        for other in features[1:]:
            gains = np.array([cell.values[features[0], metric] - cell.values[other, metric] for cell in cells])
            rows.append(_row(session, f"{features[0]}{MINUS}{other}", metric, "all", gains, config))
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
