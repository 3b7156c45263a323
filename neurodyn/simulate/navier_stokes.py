"""Forced two-dimensional flows, seen in a few noisy frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from pydantic import Field, model_validator
from scipy.fft import irfft2, rfft2

from neurodyn.core.errors import WorkError
from neurodyn.data.recording import Recording
from neurodyn.simulate.base import Simulator
from neurodyn.simulate.sequences import SequenceParams, dense_truth, sequence_recording

CACHED = 2**15  # pixels of flows that are followed together, so that they stay in the processor's cache


class NavierStokesParams(SequenceParams):
    """The benchmark of interpolation in movies."""

    trials: int = Field(default=200, ge=1, description="number of flows, each one trial")
    size: int = Field(default=32, ge=8, multiple_of=2, description="height and width of a frame, pixels")
    frames: int = Field(default=10, ge=2, description="observed frames of each flow")
    interval: float = Field(
        default=5.0, gt=0, description="time between frames, s; ten frames of the published 50 s are as far apart"
    )
    queries: int = Field(
        default=20, ge=1, description="further times, drawn once for all flows, at which the truth is kept"
    )
    noise: float = Field(
        default=0.1, ge=0, description="standard deviation of noise on frames, standard deviations of the vorticity"
    )
    viscosity: float = Field(default=1e-3, ge=0, description="kinematic viscosity, sides² per s")
    forcing: float = Field(default=0.1, ge=0, description="amplitude of the forcing, per s²")
    spread: float = Field(
        default=343.0,
        ge=0,
        description="factor of the initial vorticity's covariance; 7³ as the published generator draws, 7^1.5 in its text",
    )
    step: float = Field(default=0.05, gt=0, description="longest integration step, s")

    @model_validator(mode="after")
    def _room_for_queries(self) -> Self:
        free = (self.frames - 1) * (self.substeps - 1)
        if self.queries > free:
            raise ValueError(f"there are {free} integration steps between the frames: fewer queries, or a shorter step")
        return self

    @property
    def substeps(self) -> int:
        """Integration steps from frame to frame."""
        return int(np.ceil(self.interval / self.step - 1e-9))


class NavierStokes(Simulator):
    """Vorticity of incompressible flows on the unit torus, stirred by one forcing from random initial states.

    ∂w/∂t + u·∇w = ν ∆w + f, ∇·u = 0, w = ∇×u, f = 0.1 (sin 2π(x + y) + cos 2π(x + y)),
    w(0) ~ N(0, s (-∆ + 49)^(-5/2)). Pseudo-spectral in space with the 2/3 rule, Crank-Nicolson for diffusion and
    second-order Adams-Bashforth for advection in time. A movie of `frames` noisy frames per flow.

    Source: Li et al., Fourier neural operator (ICLR 2021), whose flows were computed on a finer grid.
    """

    Params = NavierStokesParams
    params: NavierStokesParams
    citation = "Li et al., Fourier neural operator for parametric partial differential equations, ICLR 2021"

    def make(self) -> Recording:
        """Return the recording; `truth` has `dense` at the queries, scaled by the vorticity's standard deviation."""
        p = self.params
        state_rng, time_rng, noise_rng = np.random.default_rng(p.seed).spawn(3)
        ticks = np.arange((p.frames - 1) * p.substeps + 1)
        seen = ticks[:: p.substeps]
        asked = np.sort(time_rng.choice(np.setdiff1d(ticks, seen), p.queries, replace=False))
        clean, dense = _record(p, state_rng, seen, asked)
        scale = float(dense.std())
        found = clean + np.float32(p.noise * scale) * noise_rng.standard_normal(clean.shape, dtype=np.float32)
        return sequence_recording(
            "navier_stokes",
            p,
            {"vorticity": found},
            np.arange(p.frames) * p.interval,
            rate_hz=1 / p.interval,
            truth=dense_truth(asked * p.interval / p.substeps, dense, scale),
        )


@dataclass(frozen=True)
class Torus:
    """Fourier modes of real fields on the unit torus.

    Parameters
    ----------
    size
        Grid points per side.
    """

    size: int

    @cached_property
    def derivative(self) -> tuple[np.ndarray, np.ndarray]:
        """Factors 2πi k that differentiate a spectrum along y and x, shapes (size, 1) and (1, size // 2 + 1)."""
        ky = np.fft.fftfreq(self.size, 1 / self.size)[:, None]
        kx = np.arange(self.size // 2 + 1)[None, :]
        return 2j * np.pi * ky, 2j * np.pi * kx

    @cached_property
    def laplacian(self) -> np.ndarray:
        """Eigenvalues of -∆, per side², shape (size, size // 2 + 1)."""
        dy, dx = self.derivative
        return np.abs(dy) ** 2 + np.abs(dx) ** 2

    @cached_property
    def kept(self) -> np.ndarray:
        """Modes that products of two fields cannot reach by aliasing (Orszag 1971), bool, shape (size, size // 2 + 1)."""
        dy, dx = self.derivative
        return np.maximum(np.abs(dy), np.abs(dx)) < 2 * np.pi * self.size / 3

    def forward(self, field: np.ndarray) -> np.ndarray:
        """Return the kept part of a field's spectrum, shape (..., size, size // 2 + 1)."""
        return np.asarray(rfft2(field)) * self.kept

    def backward(self, spectrum: np.ndarray) -> np.ndarray:
        """Return the field of a spectrum, shape (..., size, size)."""
        return np.asarray(irfft2(spectrum, s=(self.size, self.size)))

    def velocity(self, vorticity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the spectra of the velocity along y and x, from u = (∂ψ/∂y, -∂ψ/∂x), -∆ψ = w.

        Parameters
        ----------
        vorticity
            Spectrum of w = ∂v/∂x - ∂u/∂y, shape (..., size, size // 2 + 1).
        """
        dy, dx = self.derivative
        stream = vorticity / np.where(self.laplacian > 0, self.laplacian, 1.0)
        return -dx * stream, dy * stream

    def advection(self, vorticity: np.ndarray) -> np.ndarray:
        """Return the spectrum of -u·∇w, free of aliasing."""
        dy, dx = self.derivative
        along_y, along_x = (self.backward(part) for part in self.velocity(vorticity))
        carried = along_y * self.backward(dy * vorticity) + along_x * self.backward(dx * vorticity)
        return -self.forward(carried)


def flow(start: np.ndarray, viscosity: float, forcing: np.ndarray, step: float) -> Iterator[np.ndarray]:
    """Yield the spectrum of the vorticity at 0, step, 2 step and so on, without end.

    Crank-Nicolson for diffusion, second-order Adams-Bashforth for advection (Euler in the first step).

    Parameters
    ----------
    start
        Vorticity, per s, shape (flow, y, x).
    viscosity
        Sides² per s.
    forcing
        Curl of the force, per s², shape (y, x).
    step
        s.
    """
    torus = Torus(start.shape[-1])
    spectrum, force = torus.forward(start), torus.forward(forcing)
    half = (viscosity * step / 2) * torus.laplacian
    before = torus.advection(spectrum)
    while True:
        yield spectrum
        now = torus.advection(spectrum)
        spectrum = ((1 - half) * spectrum + step * (1.5 * now - 0.5 * before + force)) / (1 + half)
        before = now


def random_vorticity(count: int, size: int, spread: float, rng: np.random.Generator) -> np.ndarray:
    """Draw Gaussian random fields with covariance spread (-∆ + 49)^(-5/2) and mean 0, shape (count, y, x), per s."""
    torus = Torus(size)
    share = np.sqrt(spread) * (torus.laplacian + 49) ** -1.25 * (torus.laplacian > 0)
    return torus.backward(torus.forward(rng.standard_normal((count, size, size))) * size * share)


def stirring(size: int, amplitude: float) -> np.ndarray:
    """Return the forcing amplitude (sin 2π(x + y) + cos 2π(x + y)), shape (y, x)."""
    phase = 2 * np.pi * np.add.outer(np.arange(size), np.arange(size)) / size
    return amplitude * (np.sin(phase) + np.cos(phase))


def _record(
    p: NavierStokesParams, rng: np.random.Generator, seen: np.ndarray, asked: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the vorticity at two sets of ticks, each float32, shape (flow, tick, y, x)."""
    start = random_vorticity(p.trials, p.size, p.spread, rng)
    ticks = np.sort(np.concatenate([seen, asked]))
    course = np.empty((p.trials, ticks.size, p.size, p.size), np.float32)
    together = max(1, CACHED // p.size**2)
    for begin in range(0, p.trials, together):
        some = slice(begin, begin + together)
        _follow(p, start[some], ticks, course[some])
    if not np.isfinite(course).all():
        raise WorkError(
            "A simulated flow became unstable.",
            f"Steps of {p.interval / p.substeps:g} s are too long for pixels of 1/{p.size} of the side.",
            f"Shorten them: --set step={p.step / 2:g}",
        )
    return course[:, np.isin(ticks, seen)], course[:, np.isin(ticks, asked)]


def _follow(p: NavierStokesParams, start: np.ndarray, ticks: np.ndarray, course: np.ndarray) -> None:
    """Write the vorticity of some flows at the ticks to `course`, shape (flow, tick, y, x)."""
    torus = Torus(p.size)
    columns = {int(tick): column for column, tick in enumerate(ticks)}
    spectra = flow(start, p.viscosity, stirring(p.size, p.forcing), p.interval / p.substeps)
    with np.errstate(over="ignore", invalid="ignore"):  # an unstable flow is reported by the caller
        for tick, spectrum in zip(range(ticks[-1] + 1), spectra, strict=False):
            if tick in columns:
                course[:, columns[tick]] = torus.backward(spectrum)
