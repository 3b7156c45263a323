"""A population whose rates rotate in a plane, as motor cortex does during a reach."""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import Field, model_validator

from neurodyn.data.recording import Recording
from neurodyn.simulate.base import Simulator
from neurodyn.simulate.trials import Courses, TrialParams, trial_recording


class RotationsParams(TrialParams):
    """Rotational dynamics with a known frequency and plane."""

    conditions: int = Field(default=40, ge=1, description="conditions, each an initial phase and amplitude")
    repeats: int = Field(default=20, ge=2, description="trials of each condition, with spikes and noise of their own")
    held_out: int = Field(default=8, ge=0, description="further conditions, all of whose trials are in part test")
    bins: int = Field(default=90, ge=2, description="frames per trial")
    rate_hz: float = Field(default=100.0, gt=0, description="frames per second, Hz")
    cells: int = Field(default=60, ge=3, description="number of cells")
    decay: float = Field(default=0.1, gt=0, description="decay time constant of calcium, s")
    frequency: float = Field(default=1.5, gt=0, description="turns per second, Hz")
    base_rate: float = Field(default=15.0, gt=0, description="mean rate, Hz")
    depth: float = Field(default=0.6, ge=0, lt=1, description="largest modulation by the rotation, share of base_rate")
    common: float = Field(
        default=0.3, ge=0, lt=1, description="modulation that all conditions share, share of base_rate"
    )

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if self.depth + self.common > 1:
            raise ValueError("depth and common must not exceed 1 together, or rates would be cut off at 0")
        return self

    @property
    def angles(self) -> np.ndarray:
        """Phase since the start of a trial, radians, shape (time,)."""
        return 2 * np.pi * self.frequency * np.arange(self.bins) / self.rate_hz


class Rotations(Simulator):
    """Poisson spikes of rates that are linear in a rotation, then calcium and noise.

    x(t) = a (cos(2π f t + φ), sin(2π f t + φ)) with amplitude a and phase φ of the condition;
    rate of cell i = base (1 + depth w_i·x + common v_i s(t)), w_i of unit length, v_i 1 or -1, and s(t) a course that
    all conditions share: half a sine over the trial. The rates' differences between conditions lie in one plane.

    Source: the rotations of Churchland et al., Nature 487, 51 (2012), through the calcium of Prince et al. (CaLFADS).
    """

    Params = RotationsParams
    params: RotationsParams
    citation = "Churchland et al., Nature 487, 51 (2012), doi:10.1038/nature11129"

    def make(self) -> Recording:
        """Return the recording; `truth` has latents (two rotating, one shared), rates, loadings and frequency."""
        p = self.params
        condition_rng, cell_rng, trial_rng = np.random.default_rng(p.seed).spawn(3)
        latents = _latents(p, condition_rng)
        loadings = _loadings(p, cell_rng)
        rates = p.base_rate * (1 + latents @ loadings)
        truth = {
            "loadings": (("latent", "roi"), loadings),
            "frequency": ((), p.frequency, {"units": "Hz"}),
        }
        return trial_recording("rotations", p, Courses(latents, rates), trial_rng, truth)


def _latents(p: RotationsParams, rng: np.random.Generator) -> np.ndarray:
    """Return cosine and sine of the rotation and the shared course, shape (condition, time, latent)."""
    count = p.conditions + p.held_out
    phase = rng.uniform(0, 2 * np.pi, (count, 1)) + p.angles
    amplitude = rng.uniform(0.5, 1, (count, 1))
    shared = np.broadcast_to(np.sin(np.pi * (np.arange(p.bins) + 0.5) / p.bins), phase.shape)
    return np.stack([amplitude * np.cos(phase), amplitude * np.sin(phase), shared], axis=-1)


def _loadings(p: RotationsParams, rng: np.random.Generator) -> np.ndarray:
    """Return each cell's share in the latents, shape (latent, roi)."""
    preferred = rng.uniform(0, 2 * np.pi, p.cells)
    sign = rng.choice([-1.0, 1.0], p.cells)
    return np.stack([p.depth * np.cos(preferred), p.depth * np.sin(preferred), p.common * sign])
