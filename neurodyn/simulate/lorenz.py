"""A population whose firing rates follow the Lorenz attractor."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from neurodyn.data.recording import Recording
from neurodyn.simulate.base import Simulator
from neurodyn.simulate.integration import rk4
from neurodyn.simulate.trials import Courses, TrialParams, trial_recording

SIGMA, RHO, BETA = 10.0, 28.0, 8 / 3


class LorenzParams(TrialParams):
    """The benchmark of latent dynamics seen through calcium."""

    recipe: Literal["recovered", "paper"] = Field(
        default="recovered",
        description="loadings of size 1 to 2 with random signs and a base rate, as the published numbers need; "
        "or as the published text says: loadings N(0, 1/√cells) and bias 1, which hardly modulates the rates",
    )
    base_rate: float = Field(default=1.0, gt=0, description="rate where the latents are 0, Hz (recipe: recovered)")
    speed: float = Field(default=0.03, gt=0, description="time that passes on the attractor per frame, in its own unit")
    substeps: int = Field(default=2, ge=1, description="integration steps per frame")
    burn_in: int = Field(default=1000, ge=0, description="integration steps before a trial, to reach the attractor")


def lorenz_flow(state: np.ndarray) -> np.ndarray:
    """Return dx/dt of the Lorenz system with sigma 10, rho 28, beta 8/3, shape (..., 3).

    dx = σ (y - x), dy = x (ρ - z) - y, dz = x y - β z (Lorenz, J Atmos Sci 20, 130, 1963).
    """
    x, y, z = np.moveaxis(state, -1, 0)
    return np.stack([SIGMA * (y - x), x * (RHO - z) - y, x * y - BETA * z], axis=-1)


class Lorenz(Simulator):
    """Poisson spikes from log-linear rates of three Lorenz variables, then calcium and noise.

    rates = exp(W x + b) Hz, spikes ~ Poisson(rates dt), c(t) = exp(-dt/τ) c(t-1) + spikes, dff = c + noise or, with
    Hill dye kinetics, cⁿ / (1 + γ cⁿ) + noise. Each condition is one initial state. The latents have mean 0 and reach 1
    over the conditions that are not held out. The published generator integrates the decay of calcium by a
    fourth-order rule, 0.716564 instead of 0.716531 per frame; here it is exact.

    Source: Prince et al., CaLFADS (ICLR 2021 submission), appendix H; the recipe `recovered` is what gives rates and
    fluorescence of the size its experiments had.
    """

    Params = LorenzParams
    params: LorenzParams
    citation = (
        "Prince, Bakhtiari, Gillon & Richards, CaLFADS: latent factor analysis of dynamical systems in calcium imaging"
    )

    def make(self) -> Recording:
        """Return the recording; `truth` has latents, rates, spikes, calcium and loadings."""
        p = self.params
        state_rng, cell_rng, trial_rng = np.random.default_rng(p.seed).spawn(3)
        latents = _latents(p, state_rng)
        weights, bias = _loadings(p, cell_rng)
        courses = Courses(latents, np.exp(latents @ weights + bias))
        truth = {"loadings": (("latent", "roi"), weights), "log_rate": ((), bias)}
        return trial_recording("lorenz", p, courses, trial_rng, truth)


def _latents(p: LorenzParams, rng: np.random.Generator) -> np.ndarray:
    """Return the normalised attractor, shape (condition, time, latent)."""
    step = p.speed / p.substeps
    state = rng.standard_normal((p.conditions + p.held_out, 3))
    for _ in range(p.burn_in):
        state = rk4(lorenz_flow, state, step)
    course = np.empty((len(state), p.bins, 3))
    for t in range(p.bins):
        course[:, t] = state
        for _ in range(p.substeps):
            state = rk4(lorenz_flow, state, step)
    course -= course[: p.conditions].mean(axis=(0, 1))
    return course / np.abs(course[: p.conditions]).max()


def _loadings(p: LorenzParams, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Return W, shape (latent, roi), and b."""
    if p.recipe == "paper":
        return rng.standard_normal((3, p.cells)) / np.sqrt(p.cells), 1.0
    return rng.uniform(1, 2, (3, p.cells)) * rng.choice([-1, 1], (3, p.cells)), float(np.log(p.base_rate))
