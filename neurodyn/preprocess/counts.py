"""Whole spike counts and the calcium behind them, for models of counts."""

from __future__ import annotations

import logging
import math
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Literal, NamedTuple

import numpy as np
import zarr
from oasis.oasis_methods import oasisAR1
from pydantic import Field

from neurodyn.calcium.cell import Cell
from neurodyn.calcium.indicators import kinetics
from neurodyn.calcium.kinetics import fit_kinetics, shared_tau
from neurodyn.calcium.quantum import counted, tell
from neurodyn.core.config import Params
from neurodyn.core.errors import DataError
from neurodyn.core.processor import processors
from neurodyn.data.clock import stretch_slices, stretch_starts
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
        description="decay time constant, s; 'indicator' looks it up, 'estimate' takes the median of the decays after the "
        "events of up to 200 ROIs",
    )
    quantum: Annotated[float, Field(gt=0)] | Literal["gain", "noise"] = Field(
        default="gain",
        description="size of one spike in the input's unit; 'gain': the one whose multiples explain each ROI's trace "
        "best, and no counts where that cannot be told; 'noise': `factor` times its noise",
    )
    factor: float = Field(default=4.0, gt=0, description="quantum over the noise's standard deviation (quantum: noise)")
    least: float = Field(default=0.5, ge=0, description="smallest event, in quanta (not with quantum: gain)")
    initial: Literal["free", "zero"] = Field(
        default="free", description="calcium before a stretch of frames: any, so that no event is seen there; or none"
    )
    fit_on: str = Field(
        default="part",
        description="stimulus column; where there is one, estimates come from its events named train alone",
    )


class _Counted(NamedTuple):
    """What is said of one ROI: counts and calcium, shape (time,), the size of one spike, and why there are none."""

    counts: np.ndarray
    calcium: np.ndarray
    quantum: float
    reason: str


class Counts(Step):
    """Infer how many spikes each ROI fired in each frame.

    c(t) = g c(t-1) + s(t), g = exp(-1 / (tau rate)), and the input is c, a slow baseline and white noise.

    quantum gain
        s(t) is a whole number of quanta. Quantum, noise, baseline and how often how many spikes come together are those
        that make the trace likeliest, summed over all that the calcium may have been (a hidden Markov model over levels
        of calcium, fitted by expectation maximisation); counts are the expected ones. No count is made up: an ROI
        whose quantum the trace cannot tell gets NaN, its reason in the table of ROIs, and the warning says how many
        those are. Where that is so is tabulated in docs/counts.md.
    quantum noise, or a number
        OASIS: closest to the input with every s(t) either 0 or at least the smallest event; counts are s / quantum,
        rounded. Prince et al., CaLFADS (2020), take four times the noise for quantum and smallest event: quantum
        noise, least 1.

    Decay and quantum are estimated from training trials alone.

    Source: Friedrich, Zhou & Paninski, PLoS Comput Biol 13, e1005423 (2017).
    """

    judges_noise = True
    Params = CountsParams
    params: CountsParams
    kinds = frozenset({"traces"})
    citation = "Friedrich, Zhou & Paninski, PLoS Comput Biol 13, e1005423 (2017), doi:10.1371/journal.pcbi.1005423"

    @property
    def passes(self) -> int:  # type: ignore[override]
        """Twice where the decay time is estimated first."""
        return 2 if self.params.tau == "estimate" else 1

    @property
    def provides(self) -> tuple[str, ...]:
        """Counts and calcium."""
        return (self.params.output, self.params.calcium)

    def apply(self, workspace: Workspace) -> None:
        """Infer one chunk of ROIs after another."""
        p, source, rate = self.params, workspace[self.params.input], workspace.rate_hz
        scan(workspace, p.input, step="counts")
        starts = stretch_starts(workspace.time, rate)
        stretches = stretch_slices(starts, source.shape[0])
        training = training_windows(workspace, stretches, p.fit_on)
        tau = self._tau(workspace, training)
        made = {"tau": tau, "tau_unit": "s"}
        counts = workspace.create(p.output, p.input, "spikes, estimated, per frame", "counts", **made)
        calcium = workspace.create(p.calcium, p.input, str(source.attrs["units"]), "counts", **made)
        quanta, reasons = np.zeros(source.shape[1]), np.full(source.shape[1], "", dtype=object)
        for done, (tile,) in enumerate(tiles(source), start=1):
            traces = np.asarray(source[:, tile], dtype=np.float64)
            likeliest = p.quantum == "gain"
            said = (self._likeliest if likeliest else self._sparsest)(traces, training, stretches, rate, tau)
            for roi, one in zip(range(tile.start, tile.stop), said, strict=True):
                quanta[roi], reasons[roi] = one.quantum, one.reason
            counts[:, tile] = np.stack([one.counts for one in said], 1).astype("f4")
            calcium[:, tile] = np.stack([one.calcium for one in said], 1).astype("f4")
            workspace.progress(done / len(tiles(source)))
        workspace.keep("qc", f"{p.output}_quantum", ("roi",), quanta, str(source.attrs["units"]), input=p.input)
        if p.quantum == "gain":
            _report(reasons)
            workspace.describe_rois(f"{p.output}_not_told", reasons)

    def _likeliest(
        self, traces: np.ndarray, training: np.ndarray, stretches: list[slice], rate_hz: float, tau: float
    ) -> list[_Counted]:
        """Return the likeliest whole counts of each ROI, traces of shape (time, roi)."""
        edges = np.array([part.start for part in stretches] + [len(traces)])
        cells = [Cell.of(np.ascontiguousarray(trace), edges, rate_hz, tau) for trace in traces.T]
        with ThreadPoolExecutor(processors()) as pool:
            return list(pool.map(lambda cell: _said(cell, training), cells))

    def _sparsest(
        self, traces: np.ndarray, training: np.ndarray, stretches: list[slice], rate_hz: float, tau: float
    ) -> list[_Counted]:
        """Return the counts of each ROI by OASIS with a smallest event, traces of shape (time, roi)."""
        quanta, decay = self._quanta(traces[training], rate_hz, tau), math.exp(-1 / (tau * rate_hz))
        found = [self._infer(*pair, decay, stretches) for pair in zip(traces.T, quanta, strict=True)]
        return [_Counted(*pair, float(quantum), "") for pair, quantum in zip(found, quanta, strict=True)]

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
        return shared_tau(traces[training], workspace.rate_hz, workspace.indicator, "counts.tau")

    def _quanta(self, windows: np.ndarray, rate_hz: float, tau: float) -> np.ndarray:
        """Return the size of one spike in each ROI, as the settings say, from windows of shape (window, time, roi)."""
        quantum = self.params.quantum
        if not isinstance(quantum, str):
            return np.full(windows.shape[2], quantum)
        return self.params.factor * fit_kinetics(windows, rate_hz, tau, gain=1.0).noise

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
            "estimate": "the median over ROIs of the decay after events",
        }
        if p.quantum == "gain":
            return (
                f"Spikes per frame were counted in '{p.input}' by the whole multiples of one spike's size that make each ROI's "
                f"trace likeliest (hidden Markov model of AR(1) calcium; decay time constant "
                f"{tau.get(str(p.tau), f'{p.tau} s')}); ROIs in which that size cannot be told were left out."
            )
        size = {"noise": f"{p.factor:g} times each ROI's noise"}
        return (
            f"Spikes per frame were counted in '{p.input}' by AR(1) deconvolution with a smallest event (OASIS; decay "
            f"time constant {tau.get(str(p.tau), f'{p.tau} s')}; one spike {size.get(str(p.quantum), f'{p.quantum}')}; "
            f"smallest event {p.least:g} spikes), rounded."
        )


def _said(cell: Cell, training: np.ndarray) -> _Counted:
    """Return counts and calcium of one ROI, NaN where the size of one spike cannot be told."""
    told = tell(cell.take(training))
    if told.certain is None:
        nothing = np.full(cell.trace.size, np.nan)
        return _Counted(nothing, nothing, math.nan, told.reason)
    return _Counted(*counted(cell, told.certain, told.raised), told.certain.quantum, "")


def _report(reasons: np.ndarray) -> None:
    """Say how many ROIs have no counts, and why; refuse where none has any."""
    why = [f"{what} in {count}" for what, count in sorted(Counter(reasons[reasons != ""]).items())]
    if (reasons != "").all():
        raise DataError(
            "counts: the size of one spike can be told in no ROI.",
            f"Of {reasons.size} ROIs: {'; '.join(why)}.",
            "Give it in the input's unit: --set counts.quantum=0.2",
        )
    if why:
        LOGGER.warning(
            "counts: not to be told in %d of %d ROIs, which become NaN: %s.",
            *((reasons != "").sum(), reasons.size, "; ".join(why)),
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
