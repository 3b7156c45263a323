"""Which cells respond to a stimulus: a label per window and cell, by one of the field's rules."""

from __future__ import annotations

import warnings
from typing import Self

import numpy as np
from pydantic import Field

from neurodyn.core.config import Params
from neurodyn.core.errors import DataError
from neurodyn.data.window_config import ResponseConfig
from neurodyn.data.window_view import WindowView

CHUNK = 64
OF_EVENTS = ("deconvolution", "events")


class ResponseRule(Params):
    """A rule and what it took from training windows.

    Published with QuantFormer (Calcagno et al. 2024); tsai_wen follows Chen et al. 2013, Nature 499:295, whose threshold
    was 0.06.
    """

    config: ResponseConfig = Field(description="the rule")
    levels: tuple[tuple[float, ...], ...] = Field(
        default=(), description="levels of training windows, of each session: one per cell, or one for all"
    )

    @classmethod
    def fit(cls, config: ResponseConfig, windows: WindowView) -> Self:
        """Take from training windows what the rule needs.

        Raises
        ------
        DataError
            If a recording lacks the variable of events.
        """
        if config.rule == "outliers":
            level = _overall(windows)
            return cls(config=config, levels=((level,),) * len(windows.recordings))
        if config.rule == "outliers_95":
            levels = [_percentiles(config, windows, index) for index in range(len(windows.recordings))]
            return cls(config=config, levels=tuple(tuple(map(float, cells)) for cells in levels))
        if config.rule in OF_EVENTS:
            for recording in windows.recordings:
                if config.variable not in recording.variables:
                    raise DataError(
                        f"Recording '{recording.session}' has no {config.variable} to tell responses from.",
                        f"Found {', '.join(recording.variables)}.",
                        "Infer spikes first: neurodyn preprocess … --chain spikes, or --set windows.responses.rule=tsai_wen",
                    )
        return cls(config=config)

    def labels(self, windows: WindowView, indices: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Label windows.

        Returns
        -------
        np.ndarray
            float32, 1 where the cell responds and 0 where it does not; NaN where it has no datum in the frames judged, shape
            (window, *space).
        """
        judged = _judged(self.config, windows, indices, self.config.rule in OF_EVENTS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", category=RuntimeWarning)  # cells without data
            value, level = self._compared(judged, windows, indices)
        return np.where(np.isfinite(value), value > level, np.nan).astype(np.float32)

    def _compared(
        self, judged: np.ndarray, windows: WindowView, indices: np.ndarray | slice
    ) -> tuple[np.ndarray, np.ndarray | float]:
        rule = self.config.rule
        if rule == "tsai_wen":
            return np.nanmean(np.abs(judged), axis=1), self.config.threshold
        if rule in OF_EVENTS:
            return np.nanmax(judged, axis=1), self.config.threshold if rule == "deconvolution" else 0.0
        if rule == "outliers_baseline":
            before = np.abs(_seen(windows, indices)[:, : windows.frames - windows.horizon])
            before = before[:, -max(2, round(self.config.baseline * windows.rate_hz)) :]
            return np.nanmean(judged, axis=1), np.nanmean(before, axis=1) + 2 * np.nanstd(before, axis=1)
        of_session = [np.resize(np.asarray(levels), judged.shape[2:]) for levels in self._own(windows)]
        level = np.stack([of_session[session] for session in windows.session[indices]])
        spread = np.nanstd(judged, axis=1) if rule == "outliers_95" else np.nanmax(np.abs(judged), axis=1)
        return spread, level

    def _own(self, windows: WindowView) -> list[tuple[float, ...]]:
        places = range(len(windows.recordings)) if windows.places is None else windows.places
        return [self.levels[place] for place in places]


def _seen(windows: WindowView, indices: np.ndarray | slice) -> np.ndarray:
    values, mask = windows.values(indices)
    return np.where(mask, values, np.nan)


def _judged(config: ResponseConfig, windows: WindowView, indices: np.ndarray | slice, events: bool) -> np.ndarray:
    """Return the frames that decide, NaN where there is no datum."""
    of = windows.of_variable(config.variable) if events else windows
    begin = windows.frames - windows.horizon
    frames = max(2, min(windows.horizon, round(config.lasting * windows.rate_hz)))
    return _seen(of, indices)[:, begin : begin + frames]


def _overall(windows: WindowView) -> float:
    """Return mean plus two standard deviations of all valid entries."""
    count = total = square = 0.0
    for start in range(0, len(windows), CHUNK):
        values, mask = windows.values(slice(start, start + CHUNK))
        chosen = values[mask].astype(np.float64)
        count, total, square = count + chosen.size, total + chosen.sum(), square + (chosen**2).sum()
    mean = total / max(count, 1)
    return float(mean + 2 * np.sqrt(max(square / max(count, 1) - mean**2, 0.0)))


def _percentiles(config: ResponseConfig, windows: WindowView, session: int) -> np.ndarray:
    mine = np.flatnonzero(windows.session == session)
    chunks = [mine[start : start + CHUNK] for start in range(0, mine.size, CHUNK)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=RuntimeWarning)
        judged = (_judged(config, windows, chunk, events=False) for chunk in chunks)
        spread = np.concatenate([np.nanstd(frames, axis=1) for frames in judged])
        return np.nan_to_num(np.nanpercentile(spread, 95, axis=0), nan=np.inf).ravel()
