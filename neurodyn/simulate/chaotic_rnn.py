"""A chaotic network that is kicked once in every trial."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from neurodyn.data.recording import Recording
from neurodyn.simulate.base import Simulator
from neurodyn.simulate.integration import rk4
from neurodyn.simulate.trials import Courses, TrialParams, trial_recording


class ChaoticRNNParams(TrialParams):
    """The benchmark of inferred inputs."""

    conditions: int = Field(default=400, ge=1, description="conditions, each an initial state and a time of the kick")
    repeats: int = Field(default=10, ge=2, description="trials of each condition, with spikes and noise of their own")
    train_repeats: int = Field(
        default=8, ge=1, description="of these, trials in part train; the others are in part valid"
    )
    held_out: int = Field(default=20, ge=0, description="further conditions, all of whose trials are in part test")
    cells: int = Field(default=50, ge=2, description="number of cells, all of the network")
    gain: float = Field(default=2.5, gt=0, description="scale of the recurrent weights; above 1 the network is chaotic")
    time_constant: float = Field(default=0.25, gt=0, description="time constant of the network, s")
    max_rate: float = Field(default=5.0, gt=0, description="rate of a fully active cell, Hz")
    kick: float = Field(default=10.0, ge=0, description="size of the kick, standard deviation over cells")
    substeps: int = Field(default=10, ge=1, description="integration steps per frame")
    burn_in: float = Field(default=10.0, ge=0, description="time before a trial, to leave the initial draw, s")


class ChaoticRNN(Simulator):
    """Poisson spikes of a random recurrent network, pushed once per condition along one direction.

    τ dy/dt = -y + W tanh(y), W ~ gain N(0, 1/cells); in one frame of the middle half y moves by kick · B,
    B ~ N(0, 1) per cell and the same in all conditions. rates = max_rate (1 + tanh(y)) / 2. The latents are tanh(y),
    the input is 1 in the frame in which the kick is first seen.

    Source: Sussillo et al., LFADS (2016) and Pandarinath et al., Nat Methods 15, 805 (2018), as set up for CaLFADS.
    """

    Params = ChaoticRNNParams
    params: ChaoticRNNParams
    citation = "Pandarinath et al., Nat Methods 15, 805 (2018), doi:10.1038/s41592-018-0109-9"

    def make(self) -> Recording:
        """Return the recording; `truth` has latents, rates, spikes, calcium, inputs and weights."""
        p = self.params
        network_rng, state_rng, trial_rng = np.random.default_rng(p.seed).spawn(3)
        weights = p.gain * network_rng.standard_normal((p.cells, p.cells)) / np.sqrt(p.cells)
        direction = network_rng.standard_normal(p.cells)
        latents, inputs = _run(p, weights, direction, state_rng)
        courses = Courses(latents, p.max_rate * (1 + latents) / 2, inputs)
        truth = {"weights": (("to", "from"), weights), "input_weights": ("roi", p.kick * direction)}
        return trial_recording("chaotic_rnn", p, courses, trial_rng, truth)


def _run(
    p: ChaoticRNNParams, weights: np.ndarray, direction: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return tanh(y), shape (condition, time, latent), and the input, shape (condition, time, 1)."""
    count, step = p.conditions + p.held_out, 1 / (p.rate_hz * p.substeps)

    def flow(y: np.ndarray) -> np.ndarray:
        return (np.tanh(y) @ weights.T - y) / p.time_constant

    y = rng.standard_normal((count, p.cells))
    for _ in range(round(p.burn_in / step)):
        y = rk4(flow, y, step)
    kicked = rng.integers(p.bins // 4, p.bins - p.bins // 4, count)
    latents = np.empty((count, p.bins, p.cells))
    for t in range(p.bins):
        y = y + p.kick * direction * (kicked == t)[:, None]
        latents[:, t] = np.tanh(y)
        for _ in range(p.substeps):
            y = rk4(flow, y, step)
    return latents, (kicked[:, None] == np.arange(p.bins)).astype(float)[..., None]
