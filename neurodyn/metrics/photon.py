"""The noise of a detector: how its variance grows with light, from the movie itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

LEVELS = 32  # brightness levels at which the variance is read
SECOND_DIFFERENCE = 6.0  # variance of x(t-1) - 2 x(t) + x(t+1) in units of that of x, for noise without memory
FEWEST = 3  # frames of a second difference


class StepNoise:
    """Sums over a movie that passes in stretches: mean of every entry, and the variance of its noise.

        v = mean (x(t-1) − 2 x(t) + x(t+1))² / 6

    Second differences leave out whatever changes linearly over three frames. NaN frames are left out.
    """

    def __init__(self) -> None:
        self.count = self.steps = self.total = self.square = np.zeros(())

    def add(self, frames: np.ndarray) -> None:
        """Take in frames that follow each other, shape (time, *space)."""
        data = np.isfinite(frames)
        self.count = self.count + data.sum(0)
        self.total = self.total + np.where(data, frames, 0.0).sum(0, dtype=np.float64)
        if len(frames) < FEWEST:
            return
        bend = frames[2:].astype(np.float64) - 2.0 * frames[1:-1] + frames[:-2]
        there = np.isfinite(bend)
        self.steps = self.steps + there.sum(0)
        self.square = self.square + (np.where(there, bend, 0.0) ** 2).sum(0)

    @property
    def mean(self) -> np.ndarray:
        """Mean of every entry, shape (*space); NaN where there was no datum."""
        return np.where(self.count > 0, self.total / np.maximum(self.count, 1), np.nan)

    @property
    def variance(self) -> np.ndarray:
        """Variance of every entry's noise, shape (*space); NaN where no three frames followed each other."""
        return np.where(self.steps > 0, self.square / (SECOND_DIFFERENCE * np.maximum(self.steps, 1)), np.nan)


@dataclass(frozen=True)
class PhotonTransfer:
    """Shot and read noise: variance = gain · light + read, with light in the data's units.

    Janesick J.R. (2007). Photon transfer. SPIE Press.

    Parameters
    ----------
    gain
        Counts per detected photon; 0 where noise does not grow with light.
    read
        Variance at zero counts; below 0 where zero counts are not zero light (a camera's offset).
    least
        The smallest variance that any entry has; none is told below it.
    """

    gain: float
    read: float
    least: float

    @classmethod
    def fit(cls, mean: np.ndarray, variance: np.ndarray) -> Self:
        """Fit a line to the median variance at up to 32 levels of brightness, each as bright entries as the next.

        The line minimises relative errors: a sample variance is as uncertain as it is large. Medians pass over the few
        entries whose activity looks like noise.

        Parameters
        ----------
        mean, variance
            Of every entry, any one shape; entries that are not finite or do not vary are left out.
        """
        good = np.isfinite(mean) & np.isfinite(variance) & (variance > 0)
        if not good.any():
            return cls(0.0, 0.0, 0.0)
        x, y = mean[good].astype(np.float64), variance[good].astype(np.float64)
        groups = np.array_split(np.argsort(x), min(LEVELS, x.size))
        light, noise = (np.array([np.median(values[group]) for group in groups]) for values in (x, y))
        rows = np.stack([light, np.ones_like(light)], 1) / noise[:, None]
        gain, read = np.linalg.lstsq(rows, np.ones_like(light), rcond=None)[0]
        if gain <= 0 or np.ptp(light) < 1e-9 * abs(light).max():  # no line through one brightness, or a falling one
            gain, read = 0.0, float(np.median(noise))
        return cls(float(gain), float(read), float(y.min()))

    def variance(self, light: np.ndarray) -> np.ndarray:
        """Return the variance of the noise at some brightness, shape of `light`."""
        return np.maximum(self.gain * light + self.read, self.least)
