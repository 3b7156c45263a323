"""What a spike network is trained on, and how: cells recorded both ways, and settings; no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import Field

from neurodyn.calcium.spike_inputs import finite_parts
from neurodyn.core.config import Params
from neurodyn.data.clock import stretch_starts
from neurodyn.data.recording import Recording
from neurodyn.data.truth import spike_times

LEAST_SECONDS = 12.0


class SpikeTraining(Params):
    """How a spike network is trained."""

    width: int = Field(default=32, ge=4, description="features of each layer")
    layers: int = Field(default=2, ge=1, description="layers after the first")
    members: int = Field(
        default=1, ge=1, description="networks whose answers are averaged, from seeds one after another"
    )
    steps: int = Field(default=900, ge=1, description="optimiser steps of each")
    batch: int = Field(default=6, ge=1, description="segments per step")
    seconds: float = Field(default=60.0, gt=LEAST_SECONDS, description="length of a segment, s")
    seen: float = Field(default=120.0, description="how much of a recording tells baseline, noise and amplitude, s")
    slowest: float = Field(default=4.5, gt=0, description="lowest frame rate drawn, Hz")
    warp: float = Field(default=0.4, ge=0, description="time is stretched by up to this power of e, either way")
    noisy: float = Field(default=0.5, ge=0, le=1, description="share of segments that get noise on top")
    share: float = Field(
        default=0.6, ge=0, lt=1, description="how much of the answer is deconvolution's where the trace falls off fast"
    )
    lookahead: float | None = Field(
        default=None,
        ge=0,
        le=3.5,
        description="how far a frame sees ahead, s, for streams; default: as far as there is anything",
    )
    folds: int = Field(
        default=0,
        ge=0,
        description="parts into which datasets are left out, to tell how far expected rates are off; 0: not told",
    )
    lr: float = Field(default=3e-3, gt=0, description="highest learning rate")
    weight_decay: float = Field(default=1e-3, ge=0, description="AdamW's weight decay")
    seed: int = Field(default=0, ge=0, description="seed of weights and of all that is drawn")


@dataclass(frozen=True)
class Stretch:
    """Fluorescence without a gap, and the spikes meanwhile.

    Parameters
    ----------
    dff
        ΔF/F, shape (time,).
    spikes
        Times of the spikes from the beginning of the first frame, s.
    """

    dff: np.ndarray
    spikes: np.ndarray


@dataclass(frozen=True)
class TruthCell:
    """One cell recorded both ways.

    Parameters
    ----------
    dataset
        From where; datasets are drawn by the root of their number of cells.
    stretches
        Its recordings.
    rate_hz
        Frames per second.
    """

    dataset: str
    stretches: tuple[Stretch, ...]
    rate_hz: float


def cells_of(recording: Recording, variable: str = "dff") -> list[TruthCell]:
    """Return a recording's ROIs as cells to train on, a stretch for every run of frames without a gap or NaN.

    Raises
    ------
    DataError
        If it has no recorded spikes, or no such variable.
    """
    values, time, rate = recording[variable].values, recording.time, recording.rate_hz
    dataset, found = str(recording.tree.attrs.get("dataset", recording.session)), []
    for trace, spikes in zip(values.T, spike_times(recording), strict=True):
        parts = finite_parts(trace, stretch_starts(time, rate))
        begins = [(part, float(time[part.start]) - 0.5 / rate) for part in parts if part.stop - part.start > 1]
        stretches = tuple(
            Stretch(trace[part], spikes[(spikes >= at) & (spikes < at + (part.stop - part.start) / rate)] - at)
            for part, at in begins
        )
        found += [TruthCell(dataset, stretches, rate)] if stretches else []
    return found
