"""Score denoised movies: against clean frames where these are known, by noise level and reliability of ROIs elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from neurodyn.core.config import Params
from neurodyn.core.errors import DataError
from neurodyn.data.clock import stretch_starts
from neurodyn.data.recording import Recording
from neurodyn.data.regions import read_regions
from neurodyn.data.scores import Score
from neurodyn.evaluate.base import RecordingEvaluation
from neurodyn.metrics.denoising import median_in_time, optimal_shrinkage, split_half
from neurodyn.metrics.intervals import block_length, bootstrap_interval
from neurodyn.metrics.probabilistic import psnr
from neurodyn.preprocess.events import noise_levels
from neurodyn.simulate.clean import clean_frames

MEDIANS = (3, 5, 7)
BASELINE = 20  # percentile of a trace that is its F0


class DenoisingConfig(Params):
    """What denoised movies are compared with."""

    variable: str = Field(default="fluorescence", description="variable that was denoised")
    raw: Path | None = Field(
        default=None, description="recording before denoising (default: the one that the history names)"
    )
    regions: Path | None = Field(
        default=None, description="marked regions whose traces are scored where no clean frames are known"
    )
    references: bool = Field(default=True, description="also score temporal medians, PCA and singular value shrinkage")
    bootstraps: int = Field(default=500, ge=100, description="resamples of frames or ROIs for the intervals")
    seed: int = Field(default=0, ge=0, description="seed of the resamples")


class Denoising(RecordingEvaluation):
    """Denoised movies beside the raw ones, temporal medians, PCA and singular value shrinkage.

    Where a simulator's truth gives clean frames: `psnr`, dB, 10 log₁₀(range² / mean squared error), range that of the clean
    frames in the brain. With --regions, of real movies: `noise_level`, ν of ΔF/F per ROI in %/√Hz, lower is better, and
    `split_half`, r between the traces of an ROI's even and odd pixels. Denoising lets neighbours know of each other, so that
    the latter says how consistent an ROI is, not how true.
    """

    name = "denoising"
    Config = DenoisingConfig
    digits = 2
    config: DenoisingConfig

    def score(self, sources: Sequence[Recording]) -> Iterator[Score]:
        """Return a row per recording, way of denoising and metric."""
        for recording in sources:
            yield from self._of(recording)

    def _of(self, recording: Recording) -> Iterator[Score]:
        variable = self.config.variable
        raw = self._raw(recording)
        movie = np.asarray(raw[variable].values, dtype=np.float32)
        inside = np.ones(movie.shape[1:], dtype=bool) if raw.brain is None else raw.brain
        ways = {"denoised": np.asarray(recording[variable].values, dtype=np.float32), "raw": movie}
        if self.config.references:
            ways |= _references(movie, inside)
        clean = clean_frames(raw)
        if clean is not None:
            yield from self._psnr(recording, ways, clean, inside)
        if self.config.regions is not None:
            yield from self._rois(recording, ways)
        if clean is None and self.config.regions is None:
            raise _unknown(recording, f"Found neither clean frames in {raw.path}'s truth nor --regions.")

    def _raw(self, recording: Recording) -> Recording:
        """Return the movie before denoising."""
        named = [item["params"].get("recording") for item in recording.history if item["step"] == "denoise"]
        path = self.config.raw or (Path(named[-1]) if named and named[-1] else None)
        if path is None or not Path(path).exists():
            raise _unknown(recording, f"Found {path or 'no entry of neurodyn denoise in its history'}.")
        raw = Recording.open(path)
        for each in (raw, recording):
            if each[self.config.variable].ndim != 3:
                raise _unknown(each, f"'{self.config.variable}' is no movie.")
        return raw

    def _psnr(
        self, recording: Recording, ways: dict[str, np.ndarray], clean: np.ndarray, inside: np.ndarray
    ) -> Iterator[Score]:
        span = float(np.ptp(clean[:, inside]))
        for name, movie in ways.items():
            error = ((movie[:, inside] - clean[:, inside]).astype(np.float64) ** 2).mean(1)
            yield self._row(recording, name, "psnr", error, "frames", lambda each: psnr(float(each.mean()), span))

    def _rois(self, recording: Recording, ways: dict[str, np.ndarray]) -> Iterator[Score]:
        pixels = read_regions(Path(str(self.config.regions))).pixels
        if pixels is None:
            raise _unknown(recording, f"{self.config.regions} has centres only.")
        shape = ways["raw"].shape[1:]
        masks = np.zeros((len(pixels), *shape), dtype=bool)
        for mask, region in zip(masks, pixels, strict=True):
            mask[tuple(np.asarray(region).T)] = True
        for name, movie in ways.items():
            traces = np.stack([movie[:, mask].mean(1) for mask in masks], axis=1)
            level = np.percentile(traces, BASELINE, axis=0)
            starts = stretch_starts(recording.time, recording.rate_hz)
            nu = noise_levels(((traces - level) / level).T, starts, recording.rate_hz)
            yield self._row(recording, name, "noise_level", nu, "ROIs", lambda each: float(np.median(each)))
            yield self._row(
                recording, name, "split_half", split_half(movie, masks), "ROIs", lambda each: float(np.median(each))
            )

    def _row(self, recording: Recording, way: str, metric: str, values: np.ndarray, unit: str, statistic: Any) -> Score:
        low, high = bootstrap_interval(
            lambda index: statistic(values[index]),
            len(values),
            block=block_length(len(values)) if unit == "frames" else 1,
            resamples=self.config.bootstraps,
            seed=self.config.seed,
        )
        return Score(
            session=recording.session,
            model="none",
            seed=self.config.seed,
            split="all",
            target=self.config.variable,
            metric=metric,
            value=statistic(values),
            ci_low=low,
            ci_high=high,
            n=len(values),
            unit=unit,
            features=way,
        )


def _references(movie: np.ndarray, inside: np.ndarray) -> dict[str, np.ndarray]:
    ways = {f"median of {frames}": median_in_time(movie, frames) for frames in MEDIANS}
    for name, hard in (("PCA", True), ("SVD shrinkage", False)):
        ways[name] = optimal_shrinkage(movie, inside, hard=hard)[0]
    return ways


def _unknown(recording: Recording, found: str) -> DataError:
    return DataError(
        f"There is nothing to score the denoising of '{recording.session}' against.",
        f"{found} Expected a denoised movie, and the raw one.",
        "Name them: neurodyn evaluate OUT.zarr --metric denoising --set raw=MOVIE.zarr --regions FILE",
    )
