"""Planar curves that solve an integral equation: a benchmark of interpolation with a known best answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from neurodyn.data.recording import Recording
from neurodyn.simulate.base import Simulator
from neurodyn.simulate.sequences import SequenceParams, dense_truth, sequence_recording

GRID = 100  # points of a curve that are known
FINE = 2 * GRID - 1  # points of the quadrature
Residual = Callable[[np.ndarray], np.ndarray]
CANDIDATES = 41  # per axis, where the fit starts from
FIT_STEPS = 15


class SpiralsParams(SequenceParams):
    """The benchmark of interpolation."""

    trials: int = Field(default=500, ge=1, description="number of curves, each one trial")
    points: int = Field(default=10, ge=2, le=GRID, description="observed points of each curve, both ends among them")
    sampling: Literal["regular", "random"] = Field(
        default="regular", description="observed points: evenly spaced, or drawn anew for each curve"
    )
    noise: float = Field(default=0.1, ge=0, description="standard deviation of noise on observed points, a.u.")
    grain: float = Field(
        default=0.0,
        ge=0,
        description="standard deviation of noise on the curves themselves, that is on the truth, too; the published data "
        "have 0.02, a.u.",
    )
    averagings: int = Field(
        default=5,
        ge=0,
        description="damped iterations of the solver; the published data took 5, which leaves steep curves unconverged; "
        "100 converge",
    )

    @model_validator(mode="after")
    def _on_the_grid(self) -> Self:
        if self.sampling == "regular" and (GRID - 1) % (self.points - 1):
            raise ValueError(
                f"{GRID} points hold 2, 4, 10, 12, 34 or 100 evenly spaced ones: take so many, or sampling random"
            )
        return self


class Spirals(Simulator):
    """Noisy points of planar curves y(t), 0 ≤ t ≤ 1 s, that solve an integral equation with two free constants.

    y(t) = c(t) + ∫₀ᵗ K(t, s) tanh(2π y(s)) ds with c(t) = (cos t + a, b - cos t), K(t, s) = ((cos u, -sin u),
    (-sin u, -cos u)), u = 2π (t + s), and a, b ~ U(-1, 1) per curve. The published solver stops a damped Picard
    iteration early, which is part of the data: from y = c and g = F(y), repeat {y = (y + g) / 2, g = F(y)}, keep g.

    Source: Fonseca et al., CST (ICML 2023), appendix C.1, with the kernel and the iterations its data file shows.
    """

    Params = SpiralsParams
    params: SpiralsParams
    citation = "Fonseca, Zappala, Ortega Caro & van Dijk, Continuous spatiotemporal transformers, ICML 2023"

    def make(self) -> Recording:
        """Return the recording; `truth` has `dense`, the estimate `oracle`, and which points were `observed`.

        `dense` are 100 clean points per curve, `scale` the 98 % quantile of their absolute values. `oracle` is the
        true equation with the a and b that fit a curve's noisy points best: what knowing the equation would give.
        """
        p = self.params
        curve_rng, point_rng, noise_rng, grain_rng = np.random.default_rng(p.seed).spawn(4)
        offsets = curve_rng.uniform(-1, 1, (p.trials, 2))
        clean = solve(offsets, p.averagings)
        clean = clean + p.grain * grain_rng.standard_normal(clean.shape)
        index = _observed(p, point_rng)
        found = np.take_along_axis(clean, index[..., None], axis=1)
        found = found + p.noise * noise_rng.standard_normal(found.shape)
        oracle = solve(fit_offsets(found, index, p.averagings), p.averagings)
        query = np.linspace(0, 1, GRID)
        truth = dense_truth(query, clean, np.quantile(np.abs(clean), 0.98), {"oracle": oracle})
        truth["observed"] = (("event", "query"), (index[..., None] == np.arange(GRID)).any(axis=1))
        return sequence_recording(
            "spirals",
            p,
            {"position": found},
            query[index],
            rate_hz=p.points - 1.0,
            regular=p.sampling == "regular",
            truth=truth,
            columns={"a": offsets[:, 0], "b": offsets[:, 1]},
        )


def solve(offsets: np.ndarray, averagings: int) -> np.ndarray:
    """Solve the equation by damped Picard iteration with cumulative trapezoids.

    With y as the complex number y₁ + i y₂ the integral is the conjugate of exp(2πi t) ∫₀ᵗ exp(2πi s) z(s) ds,
    z the elementwise tanh: the kernel separates, and one cumulative sum integrates a whole curve.

    Parameters
    ----------
    offsets
        a and b, shape (curve, 2).
    averagings
        Number of damped iterations.

    Returns
    -------
    numpy.ndarray
        y at 100 even times from 0 to 1 s, shape (curve, 100, 2).
    """
    t = np.linspace(0, 1, FINE)
    turn = np.exp(2j * np.pi * t)
    start = (offsets[:, :1] + np.cos(t)) + 1j * (offsets[:, 1:] - np.cos(t))

    def update(y: np.ndarray) -> np.ndarray:
        inside = turn * (np.tanh(2 * np.pi * np.real(y)) + 1j * np.tanh(2 * np.pi * np.imag(y)))
        steps = (inside[:, 1:] + inside[:, :-1]) / (2 * (FINE - 1))
        integral = np.concatenate([np.zeros_like(steps[:, :1]), np.cumsum(steps, axis=1)], axis=1)
        return start + np.conj(turn * integral)

    y, following = start, update(start)
    for _ in range(averagings):
        y = (y + following) / 2
        following = update(y)
    known = following[:, ::2]
    return np.stack([np.real(known), np.imag(known)], axis=2)


def _observed(p: SpiralsParams, rng: np.random.Generator) -> np.ndarray:
    """Return which of a curve's points are observed, in order, shape (curve, point)."""
    if p.sampling == "regular":
        return np.tile(np.linspace(0, GRID - 1, p.points).round().astype(int), (p.trials, 1))
    inner = 1 + rng.random((p.trials, GRID - 2)).argsort(axis=1)[:, : p.points - 2]
    ends = np.tile([0, GRID - 1], (p.trials, 1))
    return np.sort(np.concatenate([ends, inner], axis=1), axis=1)


def fit_offsets(found: np.ndarray, index: np.ndarray, averagings: int) -> np.ndarray:
    """Fit a and b to noisy points of each curve by least squares: the best of a grid, refined by Levenberg-Marquardt.

    Marquardt, J Soc Indust Appl Math 11, 431 (1963); derivatives by differences.

    Parameters
    ----------
    found
        Noisy points, shape (curve, point, 2).
    index
        Which of 100 points they are, shape (curve, point).
    averagings
        As in `solve`.

    Returns
    -------
    numpy.ndarray
        a and b, shape (curve, 2).
    """

    def residual(offsets: np.ndarray) -> np.ndarray:
        fitted = np.take_along_axis(solve(offsets, averagings), index[..., None], axis=1)
        return (fitted - found).reshape(len(found), -1)

    offsets = _best_candidates(found, index, averagings)
    now, damping = residual(offsets), np.full(len(found), 1e-2)
    for _ in range(FIT_STEPS):
        step = _step(residual, offsets, now, damping)
        tried = residual(offsets + step)
        better = (tried**2).sum(axis=1) < (now**2).sum(axis=1)
        offsets = np.where(better[:, None], offsets + step, offsets)
        now = np.where(better[:, None], tried, now)
        damping = np.where(better, damping / 4, damping * 8)
    return offsets


def _step(residual: Residual, offsets: np.ndarray, now: np.ndarray, damping: np.ndarray) -> np.ndarray:
    small = 1e-5
    slopes = [(residual(offsets + small * unit) - now) / small for unit in np.eye(2)]
    jacobian = np.stack(slopes, axis=2)  # (curve, residual, 2)
    normal = np.einsum("crk,crl->ckl", jacobian, jacobian)
    normal += (damping[:, None] * np.einsum("ckk->ck", normal) + 1e-12)[..., None] * np.eye(2)
    gradient = np.einsum("crk,cr->ck", jacobian, now)
    return -np.linalg.solve(normal, gradient[..., None])[..., 0]


def _best_candidates(found: np.ndarray, index: np.ndarray, averagings: int) -> np.ndarray:
    """Return the offsets on a grid over [-1, 1]² whose curve is nearest to each curve's points, shape (curve, 2)."""
    axis = np.linspace(-1, 1, CANDIDATES)
    offsets = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=2).reshape(-1, 2)
    curves = solve(offsets, averagings).reshape(len(offsets), -1)
    values, seen = np.zeros((2, len(found), GRID, 2))
    np.put_along_axis(values, index[..., None], found, axis=1)
    np.put_along_axis(seen, index[..., None], 1.0, axis=1)
    distance = seen.reshape(len(found), -1) @ curves.T**2 - 2 * values.reshape(len(found), -1) @ curves.T
    return offsets[distance.argmin(axis=1)]
