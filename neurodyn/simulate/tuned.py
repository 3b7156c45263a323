"""Cells with known tuning to direction, contrast or position, under slow drift and any order of trials."""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
import xarray as xr
from pydantic import Field, model_validator

from neurodyn.core.config import Params
from neurodyn.data.recording import Recording, entry
from neurodyn.simulate.base import Simulator
from neurodyn.simulate.signals import calcium, pink
from neurodyn.simulate.two_photon import tuning

Arrays = dict[str, np.ndarray]
CONTRASTS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
TRACK = 100.0  # cm


class TunedParams(Params):
    """What cells are tuned to, and what hides it."""

    to: Literal["direction", "contrast", "position"] = Field(default="direction", description="what cells are tuned to")
    cells: int = Field(default=60, ge=1, description="number of cells")
    tuned: float = Field(
        default=0.5, ge=0, le=1, description="share of cells that are tuned; the others respond to nothing"
    )
    repeats: int = Field(default=12, ge=2, description="trials of each condition; laps, of position")
    order: Literal["random", "cycle", "blocks"] = Field(
        default="random", description="of conditions: at random, one round after the other, or each in two blocks"
    )
    on: float = Field(default=2.0, gt=0, description="duration of a stimulus, s")
    off: float = Field(default=2.0, gt=0, description="blank before each, s")
    lap: float = Field(default=8.0, gt=0, description="mean duration of a lap, s (to: position)")
    rate_hz: float = Field(default=10.0, gt=0, description="frames per second, Hz")
    spontaneous_rate: float = Field(default=0.3, ge=0, description="firing without a stimulus, spikes/s")
    evoked_rate: float = Field(default=4.0, ge=0, description="mean extra firing at the preferred condition, spikes/s")
    amplitude: float = Field(default=0.2, gt=0, description="peak of the response to one spike, ΔF/F")
    decay: float = Field(default=0.5, gt=0, description="decay time constant of calcium, s")
    noise: float = Field(default=0.1, ge=0, description="standard deviation of noise, ΔF/F")
    drift: float = Field(default=0.0, ge=0, description="standard deviation of a slow drift of each trace, ΔF/F")
    gain_drift: float = Field(
        default=0.0, ge=0, lt=1, description="standard deviation of a slow drift of each cell's firing"
    )
    seed: int = Field(default=0, ge=0, description="seed of every draw")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.order == "blocks" and self.repeats % 2:
            raise ValueError("two blocks of each condition need an even number of repeats")
        return self


class Tuned(Simulator):
    """Poisson cells of known tuning, seen through calcium.

    Direction: two von Mises peaks of random width and direction selectivity. Contrast: Naka & Rushton's curve. Position:
    one Gaussian field on a track that is run in laps of uneven speed. `dff` follows the spikes through AR(1) calcium;
    `counts` are the spikes per frame.
    """

    Params = TunedParams
    params: TunedParams

    def make(self) -> Recording:
        """Return the recording; `truth` has every cell's parameters and its tuning curve."""
        p = self.params
        plan_rng, cell_rng, spike_rng, slow_rng, noise_rng = np.random.default_rng(p.seed).spawn(5)
        is_tuned = cell_rng.permutation(p.cells) < round(p.tuned * p.cells)
        if p.to == "position":
            time, position, stimulus = _laps(p, plan_rng)
            truth, evoked = _places(p, position, cell_rng)
            behavior = xr.Dataset({"position": ("behavior_time", position, {"units": "cm"})}, {"behavior_time": time})
        else:
            stimulus = _trials(p, plan_rng)
            time = np.arange(round((stimulus["stop"][-1] + p.off) * p.rate_hz)) / p.rate_hz
            truth, curves = (_directions if p.to == "direction" else _contrasts)(p, stimulus[p.to], cell_rng)
            evoked, behavior = _shown(time, stimulus, curves), None
        size = p.evoked_rate * cell_rng.gamma(4.0, 0.25, p.cells) * is_tuned
        gain = np.maximum(0, 1 + p.gain_drift * np.real(pink(time.size, p.cells, slow_rng, 3.0)))
        spikes = spike_rng.poisson(gain * (p.spontaneous_rate + evoked * size) / p.rate_hz)
        clean = p.amplitude * calcium(spikes, p.rate_hz, 0.0, p.decay)
        slow = p.drift * np.real(pink(time.size, p.cells, slow_rng, 3.0))
        dff = clean + slow + p.noise * noise_rng.standard_normal(clean.shape)
        return Recording.from_arrays(
            {"dff": xr.Variable(("time", "roi"), dff.astype(np.float32)),
             "counts": xr.Variable(("time", "roi"), spikes.astype(np.uint16))},
            units={"counts": "spikes per frame"},
            rate_hz=p.rate_hz,
            session=f"tuned-{p.to}-{p.seed}",
            indicator=f"simulated, decay {p.decay:g} s",
            stimulus=stimulus,
            behavior=behavior,
            truth=_told(truth | {"tuned": is_tuned, "evoked_rate": size}),
            history=[entry("simulate tuned", p.model_dump(mode="json"))],
        )  # fmt: skip


def _trials(p: TunedParams, rng: np.random.Generator) -> Arrays:
    levels = np.arange(0, 360, 45.0) if p.to == "direction" else np.array(CONTRASTS)
    values = np.tile(levels, p.repeats)
    if p.order == "random":
        values = rng.permutation(values)
    elif p.order == "blocks":
        values = np.repeat(np.concatenate([rng.permutation(levels) for _ in range(2)]), p.repeats // 2)
    start = p.off + np.arange(values.size) * (p.on + p.off)
    return {"start": start, "stop": start + p.on, p.to: values}


def _shown(time: np.ndarray, stimulus: Arrays, curves: np.ndarray) -> np.ndarray:
    """Return the response of each cell while its stimuli are on, shape (time, roi), of curves (event, roi)."""
    event = np.searchsorted(stimulus["start"], time + 1e-9, side="right") - 1
    on = (event >= 0) & (time < stimulus["stop"][event] - 1e-9)
    return np.where(on[:, None], curves[event], 0.0)


def _directions(p: TunedParams, direction: np.ndarray, rng: np.random.Generator) -> tuple[Arrays, np.ndarray]:
    preferred, width = rng.uniform(0, 360, p.cells), rng.uniform(1.5, 4.0, p.cells)
    opposite = rng.uniform(0, 1, p.cells)
    truth = {"preferred_direction": preferred, "concentration": width, "opposite": opposite}
    levels = np.arange(0, 360, 45.0)
    truth["curve"] = tuning(levels[:, None], preferred, width, opposite)
    return truth, tuning(direction[:, None], preferred, width, opposite)


def _contrasts(p: TunedParams, contrast: np.ndarray, rng: np.random.Generator) -> tuple[Arrays, np.ndarray]:
    half, exponent = rng.uniform(0.1, 0.5, p.cells), rng.uniform(1.5, 4.0, p.cells)

    def response(c: np.ndarray) -> np.ndarray:
        return c[:, None] ** exponent / (c[:, None] ** exponent + half**exponent)

    return {"c50": half, "exponent": exponent, "curve": response(np.array(CONTRASTS))}, response(contrast)


def _laps(p: TunedParams, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, Arrays]:
    """Return frame times, position, cm, and the laps as events."""
    lengths = p.lap * rng.uniform(0.7, 1.4, p.repeats)
    stop = np.cumsum(lengths)
    time = np.arange(round(stop[-1] * p.rate_hz)) / p.rate_hz
    lap = np.minimum(np.searchsorted(stop, time, side="right"), p.repeats - 1)
    share = (time - (stop - lengths)[lap]) / lengths[lap]
    bend = rng.uniform(0.7, 1.5, p.repeats)[lap]  # no two laps have the same course
    return time, TRACK * share**bend, {"start": stop - lengths, "stop": stop, "lap": np.arange(p.repeats)}


def _places(p: TunedParams, position: np.ndarray, rng: np.random.Generator) -> tuple[Arrays, np.ndarray]:
    centre, width = rng.uniform(0.1 * TRACK, 0.9 * TRACK, p.cells), rng.uniform(4.0, 10.0, p.cells)
    return {"centre": centre, "field": width}, np.exp(-0.5 * ((position[:, None] - centre) / width) ** 2)


def _told(truth: Arrays) -> xr.Dataset:
    units = {"preferred_direction": "degree", "centre": "cm", "field": "cm", "evoked_rate": "spikes/s"}
    return xr.Dataset(
        {
            name: (("level", "roi") if values.ndim == 2 else ("roi",), values, {"units": units.get(name, "1")})
            for name, values in truth.items()
        }
    )
