"""Removal of slow trends such as bleaching."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field
from scipy.optimize import curve_fit

from neurodyn.core.config import Params
from neurodyn.core.errors import DataError
from neurodyn.preprocess.base import Step, Workspace
from neurodyn.preprocess.scan import scan
from neurodyn.preprocess.tiles import inside, pieces, read


class DetrendParams(Params):
    """Settings of the detrending."""

    input: str = Field(default="fluorescence", description="variable to detrend")
    output: str = Field(default="detrended", description="variable to make")
    method: Literal["polynomial", "exponential"] = Field(
        default="polynomial",
        description="trend: a polynomial in time, or an exponential decay with one time constant for the recording",
    )
    order: int = Field(default=1, ge=1, le=9, description="order of the polynomial; 1 is a straight line")


class Detrend(Step):
    """Subtract a slow trend from each ROI or pixel and keep its mean.

    x'(t) = x(t) - Σ_k a_k φ_k(t), with φ_k the orthonormal zero-mean part of 1, t, t² … (polynomial) or of
    exp(-t / τ) (exponential) at the frame times, pauses included, and a_k = Σ_t φ_k(t) x(t) per ROI or pixel. τ is fitted once, to the mean over ROIs or
    over the brain; it lies between one frame and ten recordings. Entries outside the brain become 0.
    """

    Params = DetrendParams
    params: DetrendParams
    passes = 2

    def apply(self, workspace: Workspace) -> None:
        """Take each entry's share of the trend, then write, one chunk at a time."""
        p, source = self.params, workspace[self.params.input]
        if source.shape[0] < p.order + 3:
            raise DataError(
                f"detrend: {source.shape[0]} frames cannot show a trend of order {p.order}.",
                f"Expected {p.order + 3} at least.",
                "Lower the order: --set detrend.order=1",
            )
        scan(workspace, p.input, step="detrend")
        mask = inside(workspace, source)
        attrs = {}
        if p.method == "exponential":
            tau = decay_time(workspace.time, self._course(workspace, mask))
            attrs["tau_s"] = tau
            basis = orthonormal(np.exp(-(workspace.time - workspace.time[0]) / tau)[:, None])
        else:
            first, last = workspace.time[0], workspace.time[-1]
            place = 2 * (workspace.time - first) / (last - first) - 1
            basis = orthonormal(place[:, None] ** np.arange(1, p.order + 1))
        share = np.zeros((basis.shape[1], *mask.shape))
        for key in pieces(workspace, source, 0, 2):
            share[(slice(None), *key[1:])] += np.tensordot(basis[key[0]].T, read(source, key, mask), axes=1)
        target = workspace.create(p.output, p.input, str(source.attrs["units"]), "detrend", method=p.method, **attrs)
        for key in pieces(workspace, source, 1, 2):
            trend = np.tensordot(basis[key[0]], share[(slice(None), *key[1:])], axes=1)
            target[key] = (read(source, key, mask) - trend).astype(np.float32)

    def _course(self, workspace: Workspace, mask: np.ndarray) -> np.ndarray:
        """Return the mean over the mask, shape (time,)."""
        source = workspace[self.params.input]
        total = np.zeros(source.shape[0])
        for key in pieces(workspace, source, 0, 2):
            total[key[0]] += read(source, key, mask).reshape(key[0].stop - key[0].start, -1).sum(axis=1)
        return total / mask.sum()

    def methods(self) -> str:
        """Return one sentence for a methods section."""
        p = self.params
        what = "an exponential decay" if p.method == "exponential" else f"a polynomial of order {p.order} in time"
        return f"From each '{p.input}' signal, {what} fitted by least squares was subtracted."


def orthonormal(basis: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis of the zero-mean parts of columns, shape (time, column)."""
    return np.linalg.qr(basis - basis.mean(axis=0))[0]


def decay_time(time: np.ndarray, course: np.ndarray) -> float:
    """Fit a + b exp(-t / τ) to a course, shape (time,), and return τ in s."""
    t = time - time[0]
    span, frame = t[-1], float(np.median(np.diff(t)))
    scale = float(np.ptp(course)) or 1.0

    def model(t: np.ndarray, a: float, b: float, log_tau: float) -> np.ndarray:
        return a + b * np.exp(-t / np.exp(log_tau))

    start = (float(course[-1] - course.mean()) / scale, float(course[0] - course[-1]) / scale, np.log(span / 3))
    bounds = ([-np.inf, -np.inf, np.log(frame)], [np.inf, np.inf, np.log(10 * span)])
    found, _ = curve_fit(model, t, (course - course.mean()) / scale, p0=start, bounds=bounds, max_nfev=10_000)
    return float(np.exp(found[2]))
