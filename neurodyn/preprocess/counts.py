"""Whole spike counts and the calcium behind them, for models of counts."""

from __future__ import annotations

import logging
import math
from typing import Annotated, Literal

import numpy as np
import zarr
from oasis.oasis_methods import oasisAR1
from pydantic import Field

from neurodyn.calcium.indicators import kinetics
from neurodyn.calcium.kinetics import fit_kinetics, shared_tau
from neurodyn.core.config import Params
from neurodyn.core.errors import DataError
from neurodyn.preprocess import events
from neurodyn.preprocess.base import Step, Workspace
from neurodyn.preprocess.scan import scan
from neurodyn.preprocess.tiles import tiles

LOGGER = logging.getLogger(__name__)
MOST_ROIS = 200
LEAST_FRAMES = 20
WINDOW_SECONDS = 30.0


class CountsParams(Params):
    """Settings of the counts."""

    input: str = Field(default="dff", description="variable to deconvolve; its baseline is 0")
    output: str = Field(default="events", description="variable to make: whole spikes per frame")
    calcium: str = Field(default="calcium", description="variable to make: the input without noise")
    tau: Annotated[float, Field(gt=0)] | Literal["indicator", "estimate"] = Field(
        default="indicator",
        description="decay time constant, s; 'indicator' looks it up, 'estimate' takes the median of what OASIS finds in "
        "up to 200 ROIs",
    )
    quantum: Annotated[float, Field(gt=0)] | Literal["gain", "noise"] = Field(
        default="gain",
        description="size of one spike in the input's unit; 'gain': from each ROI's mean and spectrum, if spikes are "
        "Poisson; 'noise': `factor` times its noise",
    )
    factor: float = Field(default=4.0, gt=0, description="quantum over the noise's standard deviation (quantum: noise)")
    least: float = Field(default=0.5, ge=0, description="smallest event, in quanta")
    initial: Literal["free", "zero"] = Field(
        default="free", description="calcium before a stretch of frames: any, so that no event is seen there; or none"
    )
    fit_on: str = Field(
        default="part",
        description="stimulus column; where there is one, estimates come from its events named train alone",
    )


class Counts(Step):
    """Infer how many spikes each ROI fired in each frame, by OASIS with a smallest event.

    c(t) = g c(t-1) + s(t), g = exp(-1 / (tau rate)), closest to the input with every s(t) either 0 or at least the
    smallest event; counts are s / quantum, rounded. Decay and quantum are estimated from training trials alone. Prince
    et al., CaLFADS (2020), take four times the noise for quantum and smallest event: quantum noise, least 1.

    Source: Friedrich, Zhou & Paninski, PLoS Comput Biol 13, e1005423 (2017).
    """

    Params = CountsParams
    params: CountsParams
    kinds = frozenset({"traces"})
    citation = "Friedrich, Zhou & Paninski, PLoS Comput Biol 13, e1005423 (2017), doi:10.1371/journal.pcbi.1005423"

    @property
    def passes(self) -> int:  # type: ignore[override]
        """Twice where the decay time is estimated first."""
        return 2 if self.params.tau == "estimate" else 1

    @property
    def requires(self) -> tuple[str, ...]:
        """ΔF/F."""
        return (self.params.input,)

    @property
    def provides(self) -> tuple[str, ...]:
        """Counts and calcium."""
        return (self.params.output, self.params.calcium)

    def apply(self, workspace: Workspace) -> None:
        """Infer one chunk of ROIs after another."""
        p, source, rate = self.params, workspace[self.params.input], workspace.rate_hz
        scan(workspace, p.input, step="counts")
        starts = events.stretch_starts(workspace.time, rate)
        stretches = events.stretch_slices(starts, source.shape[0])
        training = training_windows(workspace, stretches, p.fit_on)
        tau = self._tau(workspace, training)
        decay = math.exp(-1 / (tau * rate))
        made = {"tau": tau, "tau_unit": "s"}
        counts = workspace.create(p.output, p.input, "spikes, estimated, per frame", "counts", **made)
        calcium = workspace.create(p.calcium, p.input, str(source.attrs["units"]), "counts", **made)
        quanta = np.zeros(source.shape[1])
        for done, (tile,) in enumerate(tiles(source), start=1):
            traces = np.asarray(source[:, tile], dtype=np.float64)
            quanta[tile] = self._quanta(traces[training], rate, tau)
            found = [self._infer(*pair, decay, stretches) for pair in zip(traces.T, quanta[tile], strict=True)]
            counts[:, tile], calcium[:, tile] = (np.stack(part, 1).astype("f4") for part in zip(*found, strict=True))
            workspace.progress(done / len(tiles(source)))
        workspace.keep("qc", f"{p.output}_quantum", ("roi",), quanta, str(source.attrs["units"]), input=p.input)

    def _tau(self, workspace: Workspace, training: np.ndarray) -> float:
        """Return the decay time constant of all ROIs, s."""
        tau, source = self.params.tau, workspace[self.params.input]
        if tau == "indicator":
            return kinetics(workspace.indicator).tau
        if tau != "estimate":
            return tau
        rois = source.shape[1]
        chosen = np.unique(np.linspace(0, rois - 1, min(rois, MOST_ROIS)).round().astype(int))
        traces = np.concatenate([_columns(source, tile, chosen) for (tile,) in tiles(source)], axis=1)
        found = shared_tau(traces[training], workspace.rate_hz)
        LOGGER.info("counts: decay time %.3g s, the median of %d ROIs.", found, chosen.size)
        return found

    def _quanta(self, windows: np.ndarray, rate_hz: float, tau: float) -> np.ndarray:
        """Return the size of one spike in each ROI, from training windows, shape (window, time, roi)."""
        quantum = self.params.quantum
        if not isinstance(quantum, str):
            return np.full(windows.shape[2], quantum)
        known = 1.0 if quantum == "noise" else None
        found = fit_kinetics(windows, rate_hz, tau, known)
        return self.params.factor * found.noise if quantum == "noise" else found.gain

    def _infer(
        self, trace: np.ndarray, quantum: float, decay: float, stretches: list[slice]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return counts and calcium of one ROI, shape (time,)."""
        counts, calcium = np.zeros_like(trace), np.zeros_like(trace)
        before = np.zeros(int(self.params.initial == "zero"))
        for part in stretches:
            values, spikes = oasisAR1(np.concatenate([before, trace[part]]), decay, s_min=self.params.least * quantum)
            spikes[0] = 0.0
            calcium[part], counts[part] = values[before.size :], np.round(spikes[before.size :] / quantum)
        return counts, calcium

    def methods(self) -> str:
        """Return one sentence for a methods section."""
        p = self.params
        tau = {
            "indicator": "that recommended for the indicator",
            "estimate": "the median over ROIs of OASIS's estimates",
        }
        size = {"gain": "estimated from each ROI's mean and spectrum", "noise": f"{p.factor:g} times each ROI's noise"}
        return (
            f"Spikes per frame were counted in '{p.input}' by AR(1) deconvolution with a smallest event (OASIS; decay "
            f"time constant {tau.get(str(p.tau), f'{p.tau} s')}; one spike {size.get(str(p.quantum), f'{p.quantum}')}; "
            f"smallest event {p.least:g} spikes), rounded."
        )


def training_windows(workspace: Workspace, stretches: list[slice], column: str) -> np.ndarray:
    """Return frames to estimate from, cut into windows of one length, indices of shape (window, time).

    They lie in the stimulus events that a column names "train", all of them where there is no such column.

    Raises
    ------
    DataError
        If no stretch of 20 frames is left.
    """
    whole = [np.arange(part.start, part.stop) for part in stretches]
    root = workspace.root
    if f"stimulus/{column}" in root:
        named = np.array([str(value) for value in _stored(root, column)])
        bounds = np.stack([_stored(root, "start"), _stored(root, "stop")], axis=1)[named == "train"]
        inside = np.zeros(workspace.time.size, dtype=bool)
        for first, last in np.searchsorted(workspace.time, bounds - 0.5 / workspace.rate_hz):
            inside[first:last] = True
        whole = [run for part in whole for run in _runs(part[inside[part]])]
    longest = max((run.size for run in whole), default=0)
    length = min(longest, max(LEAST_FRAMES, round(WINDOW_SECONDS * workspace.rate_hz)))
    if length < LEAST_FRAMES:
        raise DataError(
            "counts: there are too few frames to estimate from.",
            f"The longest uninterrupted stretch of training data has {longest} frames; it needs {LEAST_FRAMES}.",
            f"Check frame times and the stimulus column '{column}', or use all frames: --set counts.fit_on=none",
        )
    cut = [run[first : first + length] for run in whole for first in range(0, run.size - length + 1, length)]
    return np.stack(cut)


def _stored(root: zarr.Group, name: str) -> np.ndarray:
    return np.asarray(root[f"stimulus/{name}"][...])  # type: ignore[index]


def _runs(frames: np.ndarray) -> list[np.ndarray]:
    """Split frames where some are left out."""
    return [run for run in np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1) if run.size]


def _columns(source: zarr.Array, tile: slice, chosen: np.ndarray) -> np.ndarray:
    inside = chosen[(chosen >= tile.start) & (chosen < tile.stop)]
    return np.asarray(source[:, tile], dtype=np.float64)[:, inside - tile.start]
