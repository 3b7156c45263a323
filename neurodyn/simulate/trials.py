"""Trials of a population: conditions that repeat with new spikes and new noise, seen through calcium."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import xarray as xr
from pydantic import Field, model_validator

from neurodyn.core.config import Params
from neurodyn.data.recording import Recording, entry
from neurodyn.simulate.signals import calcium


class TrialParams(Params):
    """How many trials there are, and how spikes become fluorescence."""

    conditions: int = Field(default=65, ge=1, description="conditions, each one course of firing rates")
    repeats: int = Field(default=20, ge=2, description="trials of each condition, with spikes and noise of their own")
    train_repeats: int = Field(
        default=16, ge=1, description="of these, trials in part train; the others are in part valid"
    )
    held_out: int = Field(default=13, ge=0, description="further conditions, all of whose trials are in part test")
    held_out_repeats: int = Field(default=4, ge=1, description="trials of each held-out condition")
    bins: int = Field(default=100, ge=2, description="frames per trial")
    rate_hz: float = Field(default=10.0, gt=0, description="frames per second, Hz")
    gap: float = Field(default=1.0, gt=0, description="pause between trials, s; at least one frame")
    cells: int = Field(default=30, ge=1, description="number of cells")
    calcium: Literal["linear", "hill"] = Field(
        default="linear",
        description="fluorescence follows calcium c itself, or the dye's saturation c^n / (1 + gamma c^n)",
    )
    decay: float = Field(default=0.3, gt=0, description="decay time constant of calcium, s")
    gamma: float = Field(default=0.01, ge=0, description="saturation of the dye (calcium: hill); published text: 1e-4")
    exponent: float = Field(default=2.0, gt=0, description="Hill exponent n of the dye (calcium: hill)")
    noise: float = Field(default=0.2, ge=0, description="standard deviation of noise, peaks of one spike's transient")
    seed: int = Field(default=0, ge=0, description="seed of every draw")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.train_repeats >= self.repeats:
            raise ValueError("train_repeats must be fewer than repeats, so that some are left to validate on")
        if self.gap * self.rate_hz < 1 - 1e-9:
            raise ValueError("gap must be at least one frame, so that no window crosses from trial to trial")
        return self


@dataclass(frozen=True)
class Trials:
    """Trials in the order they were run.

    Parameters
    ----------
    condition
        Number of each trial's condition; held-out ones follow the others, shape (trial,).
    repeat
        Number of the trial among those of its condition, shape (trial,).
    part
        "train", "valid" or "test", shape (trial,).
    """

    condition: np.ndarray
    repeat: np.ndarray
    part: np.ndarray


@dataclass(frozen=True)
class Courses:
    """What happens in each condition.

    Parameters
    ----------
    latents
        State of the population, shape (condition, time, latent), a.u.
    rates
        Firing rates, Hz, shape (condition, time, roi).
    inputs
        What enters the dynamics from outside, shape (condition, time, input); None where nothing does.
    """

    latents: np.ndarray
    rates: np.ndarray
    inputs: np.ndarray | None = None


def plan_trials(p: TrialParams, rng: np.random.Generator) -> Trials:
    """Deal repeats to train and valid, held-out conditions to test, and put the trials in random order."""
    seen = np.indices((p.conditions, p.repeats)).reshape(2, -1)
    held = np.indices((p.held_out, p.held_out_repeats)).reshape(2, -1)
    condition = np.concatenate([seen[0], p.conditions + held[0]])
    repeat = np.concatenate([seen[1], held[1]])
    part = np.where(condition >= p.conditions, "test", np.where(repeat < p.train_repeats, "train", "valid"))
    order = rng.permutation(condition.size)
    return Trials(condition[order], repeat[order], part[order])


def trial_times(within: np.ndarray, period: float) -> np.ndarray:
    """Lay trials along one time axis.

    Parameters
    ----------
    within
        Frame times, s from the trial's start, shape (trial, time).
    period
        Time from the start of one trial to that of the next, s.

    Returns
    -------
    numpy.ndarray
        Frame times, s, shape (trial, time).
    """
    return np.arange(len(within))[:, None] * period + within


def hill(c: np.ndarray, gamma: float, exponent: float) -> np.ndarray:
    """Return the fluorescence of a dye that binds calcium cooperatively, d = c^n / (1 + gamma c^n).

    Deneux et al., Nat Commun 7, 12190 (2016).

    Parameters
    ----------
    c
        Calcium, peaks of one spike's transient, any shape.
    """
    power = c**exponent
    return power / (1 + gamma * power)


def trial_recording(
    name: str, p: TrialParams, courses: Courses, rng: np.random.Generator, truth: Mapping[str, Any] | None = None
) -> Recording:
    """Draw Poisson spikes in every trial, let calcium follow them, and add noise.

    Calcium decays by exactly exp(-dt/decay) per frame from 0 at the start of a trial, and rises by 1 with each spike.

    Parameters
    ----------
    name
        Of the simulator.
    courses
        Of every condition, held-out ones last.
    truth
        Further variables of the group `truth`.

    Returns
    -------
    Recording
        `dff` and `counts` (true spikes per frame), trials apart by a gap in time; `stimulus` with condition, repeat
        and part; `truth` with latents, rates (Hz), spikes (per frame), calcium, and inputs where there are any.
    """
    order_rng, spike_rng, noise_rng = rng.spawn(3)
    trials = plan_trials(p, order_rng)
    within = np.broadcast_to(np.arange(p.bins) / p.rate_hz, (trials.condition.size, p.bins))
    time = trial_times(within, p.bins / p.rate_hz + p.gap)
    rates = courses.rates[trials.condition].astype(np.float32)
    spikes = spike_rng.poisson(rates / p.rate_hz).astype(np.uint16)
    concentration = np.moveaxis(calcium(np.moveaxis(spikes, 1, 0), p.rate_hz, 0.0, p.decay), 0, 1)
    clean = concentration if p.calcium == "linear" else hill(concentration, p.gamma, p.exponent)
    known = {"latents": courses.latents, "inputs": courses.inputs}
    known = {key: values[trials.condition] for key, values in known.items() if values is not None}
    known |= {"rates": rates, "spikes": spikes, "calcium": concentration}
    return Recording.from_arrays(
        {"dff": joined(clean + p.noise * noise_rng.standard_normal(clean.shape)), "counts": joined(spikes)},
        units={"counts": "spikes per frame"},
        time=time.ravel(),
        rate_hz=p.rate_hz,
        session=f"{name}-{p.calcium}-{p.seed}",
        indicator=f"simulated, decay {p.decay:g} s",
        stimulus={"start": time[:, 0], "stop": time[:, -1] + 1 / p.rate_hz, **vars(trials)},
        truth=_truth(known).assign(truth or {}).assign_coords(time=time.ravel()),
        history=[entry(f"simulate {name}", p.model_dump(mode="json"))],
        attrs={"dataset": f"{name}, {p.calcium} calcium"},
    )


def joined(values: np.ndarray) -> np.ndarray:
    """Lay trials end to end, shape (time, ...); floats become float32."""
    flat = values.reshape(-1, *values.shape[2:])
    return flat.astype(np.float32) if flat.dtype.kind == "f" else flat


def _truth(known: Mapping[str, np.ndarray]) -> xr.Dataset:
    axes = {"latents": "latent", "inputs": "input"}
    units = {"rates": "Hz", "spikes": "spikes per frame", "calcium": "peaks of one spike's transient"}
    return xr.Dataset(
        {
            name: (("time", axes.get(name, "roi")), joined(values), {"units": units.get(name, "a.u.")})
            for name, values in known.items()
        }
    )
