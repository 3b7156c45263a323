"""Spike inference by OASIS with an autoregressive calcium model."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Annotated, Literal, Self

import numpy as np
import zarr
from pydantic import Field, model_validator

from neurodyn.calcium.ar1 import LEAST_FRAMES, Model, Penalty, infer_many, varies
from neurodyn.calcium.cell import Cell
from neurodyn.calcium.decay import decay_time, shared_decay
from neurodyn.calcium.indicators import kinetics, known, onset_constant, rise_delay
from neurodyn.calcium.quantum import tell
from neurodyn.calcium.traces import bridged
from neurodyn.compiled.nnls import nonnegative_spikes
from neurodyn.core.config import Params
from neurodyn.core.errors import DataError
from neurodyn.core.processor import processors
from neurodyn.data.clock import stretch_slices, stretch_starts
from neurodyn.data.recording import Recording
from neurodyn.preprocess import events
from neurodyn.preprocess.base import Step, Workspace
from neurodyn.preprocess.scan import NanPolicy, scan
from neurodyn.preprocess.tiles import tiles

LOGGER = logging.getLogger(__name__)
POOL_SAMPLES = 2_000_000  # less is done before worker processes have started
SHARES = 4  # parts per worker, so that none waits long for another


class DeconvolutionParams(Params):
    """Settings of the spike inference."""

    input: str = Field(default="dff", description="variable to deconvolve")
    output: str = Field(default="spikes", description="variable to make")
    tau: Annotated[float, Field(gt=0)] | Literal["indicator", "range", "estimate", "auto"] = Field(
        default="indicator",
        description="decay time constant, s; 'indicator' looks it up, 'estimate' takes the median of the decays after the "
        "ROIs' events, 'range' the same, kept between the indicator's single-spike and recommended values; 'auto' looks it "
        "up where the indicator is on record and estimates it where not",
    )
    fit_until: float = Field(
        default=1.0, gt=0, le=1, description="leading share of the frames that tau and quantum are estimated from"
    )
    rise: Annotated[float, Field(ge=0)] | Literal["indicator", "auto"] = Field(
        default=0.0,
        description="time from spike to peak, s; 'indicator' looks it up, 'auto' where it is on record, 0 is instantaneous",
    )
    order: Literal[1, 2] = Field(
        default=1,
        description="1: decay only, and events moved earlier by the mean delay of the rise; 2: rise in the model",
    )
    penalty: Penalty = Field(
        default="nnls",
        description="nnls: spikes only non-negative; l1, l0: as sparse as the noise allows, baseline fitted",
    )
    baseline: Annotated[float, Field(ge=0, le=100)] | Literal["maximin"] | None = Field(
        default=None,
        description="subtracted first: a percentile of each trace, or maximin, as rolling as in suite2p; none is right after maximin ΔF/F",
    )
    window: float = Field(default=60.0, gt=0, description="length of the rolling windows, s (baseline: maximin)")
    sigma: float = Field(default=1.0, gt=0, description="smoothing before the minimum, s (baseline: maximin)")
    smooth: float = Field(default=0.0, ge=0, description="standard deviation of a Gaussian over the events, s; 0: none")
    quantum: Annotated[float, Field(gt=0)] | Literal["roi"] | None = Field(
        default=None,
        description="size of one spike's event, in the input's unit, to divide by; 'roi': the one whose multiples explain each ROI's trace best",
    )
    nan: NanPolicy = Field(
        default="error", description="NaN frames: refuse them, or leave them NaN and infer around them"
    )
    jobs: int = Field(default=0, ge=0, description="threads or processes that share the ROIs; 0: one per core")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.order == 2 and self.rise == 0:
            raise ValueError("order 2 needs a rise, in seconds or 'indicator'")
        if self.order == 2 and self.nan == "nan":
            raise ValueError("order 2 cannot infer around NaN frames; use nan: error")
        if self.quantum == "roi" and self.penalty == "nnls" and self.order == 2:
            raise ValueError("quantum 'roi' needs events of the size of their jump in the input: order 1, or a penalty")
        return self


class Deconvolution(Step):
    """Infer spikes from ΔF/F: OASIS with an autoregressive calcium model of one decay time for all ROIs.

    c(t) = g c(t-1) + s(t) with s >= 0, g = exp(-1 / (tau rate)), as close to ΔF/F as can be (order 1; with order 2
    OASIS is greedy: its sum of squares has been up to half as much again as the least possible), each stretch between gaps
    in the frame times by itself. The decay time is a number in seconds, the indicator's from a table, or the median
    over ROIs of the decay that lets the fewest events explain the trace; a random or per-ROI value is never taken. A response that rises slowly
    makes such events late by τ_on τ / (τ_on + τ) on average: that is taken off, or the rise is modelled (order 2).
    Without a quantum the output's unit is arbitrary: compare it within an ROI. Kept beside it: the noise level of each
    ROI and, if asked for, its quantum.

    Source: Friedrich, Zhou & Paninski, PLoS Comput Biol 13, e1005423 (2017).
    """

    judges_noise = True
    Params = DeconvolutionParams
    params: DeconvolutionParams
    kinds = frozenset({"traces"})
    citation = "Friedrich, Zhou & Paninski, PLoS Comput Biol 13, e1005423 (2017), doi:10.1371/journal.pcbi.1005423"

    @property
    def passes(self) -> int:  # type: ignore[override]
        """Twice where the decay time is estimated first."""
        return 2 if self.params.tau in ("range", "estimate", "auto") else 1

    def suited(self, recording: Recording) -> tuple[Self, str]:
        """Look the indicator up where the decay time depends on it, and say how a rolling baseline is shortened."""
        p, rate = self.params, recording.rate_hz
        starts = stretch_starts(recording.time, rate)
        lengths = np.diff(np.r_[starts, recording.time.size])
        self._check_length(lengths)
        step = type(self)(
            p.model_copy(
                update={"tau": _looked_up(p.tau, recording.indicator), "rise": _rise(p.rise, recording.indicator)}
            )
        )
        if p.baseline != "maximin" or lengths.min() >= int(p.window * rate):
            return step, ""
        return step, (
            f"The baseline's window of {p.window:g} s was shortened to the length of the recording or its stretches "
            f"({lengths.min() / rate:.4g} s at least)."
        )

    def apply(self, workspace: Workspace) -> None:
        """Infer one chunk of ROIs after another."""
        p, source = self.params, workspace[self.params.input]
        starts = stretch_starts(workspace.time, workspace.rate_hz)
        self._check_length(np.diff(np.r_[starts, source.shape[0]]))
        scan(workspace, p.input, p.nan, "deconvolution")
        model, delay = self._model(workspace, starts)
        units = "events, arbitrary, per frame" if p.quantum is None else "spikes, estimated, per frame"
        timing = {"tau": model.tau, "rise": model.rise, "delay": delay, "tau_unit": "s", "smooth": p.smooth}
        target = workspace.create(p.output, p.input, units, "deconvolution", **timing)
        levels, quantum, still = np.zeros(source.shape[1]), np.full(source.shape[1], np.nan), 0
        with self._workers(source) as pool:
            for done, (tile,) in enumerate(tiles(source), start=1):
                traces = self._prepared(source, tile, workspace.rate_hz, starts)
                levels[tile] = events.noise_levels(traces, starts, workspace.rate_hz)
                moving = np.array([varies(trace) for trace in traces])
                still += int((~moving).sum())
                traces[~moving] = np.where(np.isfinite(traces[~moving]), 0, np.nan)
                spikes = self._spikes(traces, model, starts, pool)
                quantum[tile] = self._quantum(traces, model, starts)
                target[:, tile] = self._timed(spikes, delay, workspace.rate_hz, starts).T
                workspace.progress(done / len(tiles(source)))
        if still:
            LOGGER.warning("deconvolution: %d of %d ROIs are constant or empty; no spikes there.", still, levels.size)
        self._keep(workspace, target, levels, quantum)

    def _check_length(self, lengths: np.ndarray) -> None:
        """Refuse stretches without a gap, frames each, of which none is long enough."""
        if lengths.max() < LEAST_FRAMES:
            raise DataError(
                f"deconvolution: {lengths.max()} frames are too few.",
                f"It needs {LEAST_FRAMES} without a gap; the recording has {lengths.sum()} in {lengths.size} stretches.",
                "Give a longer recording, or check its frame times.",
            )

    def _model(self, workspace: Workspace, starts: np.ndarray) -> tuple[Model, float]:
        """Return the calcium model, and by how much its events are late, s."""
        p, rate = self.params, workspace.rate_hz
        asked, rise = _looked_up(p.tau, workspace.indicator), _rise(p.rise, workspace.indicator)
        table = kinetics(workspace.indicator) if "indicator" in (asked, rise) or asked == "range" else None
        peak = rise if isinstance(rise, float) else table.peak if table else 0.0
        if asked == "indicator" and table:
            tau = table.tau
        else:
            tau = asked if isinstance(asked, float) else self._estimate(workspace, starts)
        single = table.tau_single if rise == "indicator" and table else tau
        if peak >= single:
            raise DataError(
                f"deconvolution: the calcium cannot take longer to rise ({peak:g} s) than to fall ({single:.3g} s).",
                "A decay time constant longer than the time from spike to peak was expected.",
                "Give both in seconds: --set deconvolution.tau=0.7 --set deconvolution.rise=0.05",
            )
        onset = onset_constant(peak, single)
        if p.order == 1:
            return Model(tau, 0.0, rate, p.penalty), rise_delay(peak, single)
        # AR(2) answers a spike in the spike's own frame; a response that starts from 0 answers a frame later.
        return Model(tau, onset * single / (onset + single), rate, p.penalty), 1.0 / rate

    def _estimate(self, workspace: Workspace, starts: np.ndarray) -> float:
        """Return the median decay time constant over the ROIs, s, from the leading frames."""
        p, source, rate = self.params, workspace[self.params.input], workspace.rate_hz
        frames = max(1, int(p.fit_until * source.shape[0] + 1e-9))
        parts = [part for part in stretch_slices(starts[starts < frames], frames) if part.stop > part.start]
        edges, found = np.r_[[part.start for part in parts], frames], []
        for (tile,) in tiles(source):
            traces = self._prepared(source, tile, rate, starts[starts < frames], frames)
            found += [decay_time(bridged(trace).astype(np.float64), edges, rate) for trace in traces]
        tau = shared_decay(np.array(found), workspace.indicator, "deconvolution", "deconvolution.tau")
        if p.tau == "range":
            tau = float(np.clip(tau, *kinetics(workspace.indicator).tau_range))
        return tau

    def _prepared(
        self, source: zarr.Array, tile: slice, rate_hz: float, starts: np.ndarray, frames: int | None = None
    ) -> np.ndarray:
        """Return ROIs as traces without their baseline, float32 (float64 if the source is), shape (roi, time)."""
        p = self.params
        kind = np.float64 if source.dtype == np.float64 else np.float32
        traces = np.ascontiguousarray(np.asarray(source[:frames, tile]).T, dtype=kind)
        if p.baseline is None:
            return traces
        if p.baseline == "maximin":
            stretches = stretch_slices(starts, traces.shape[1])
            return events.subtract_maximin(traces, stretches, p.window, p.sigma, rate_hz)
        return events.subtract_percentile(traces, float(p.baseline))

    @contextmanager
    def _workers(self, source: zarr.Array) -> Iterator[ProcessPoolExecutor | None]:
        """Give worker processes for what cannot run on threads, where there is enough of it."""
        threads = self.params.penalty == "nnls" and self.params.order == 1
        jobs = min(self._jobs, source.shape[1])
        if threads or jobs == 1 or (source.size < POOL_SAMPLES and not self.params.jobs):
            yield None
            return
        with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
            yield pool

    @property
    def _jobs(self) -> int:
        return self.params.jobs or processors()

    def _spikes(
        self, traces: np.ndarray, model: Model, starts: np.ndarray, pool: ProcessPoolExecutor | None
    ) -> np.ndarray:
        """Return events per frame in the traces' unit, shape (roi, time)."""
        if model.penalty == "nnls" and model.rise == 0:
            return nonnegative_spikes(traces, model.tau, model.rate_hz, starts, self._jobs)
        if pool is None:
            return infer_many(traces, starts, model)
        shares = np.array_split(np.arange(len(traces)), min(len(traces), SHARES * self._jobs))
        tasks = [pool.submit(infer_many, traces[rows], starts, model) for rows in shares]
        return np.concatenate([task.result() for task in tasks])

    def _timed(self, spikes: np.ndarray, delay: float, rate_hz: float, starts: np.ndarray) -> np.ndarray:
        """Move events to where their spikes were, then smooth them."""
        stretches = stretch_slices(starts, spikes.shape[1])
        spikes = events.earlier(spikes, delay, rate_hz, stretches) if delay else spikes
        spikes = events.smoothed(spikes, self.params.smooth, rate_hz, stretches) if self.params.smooth else spikes
        return spikes.astype(np.float32, copy=False)

    def _quantum(self, traces: np.ndarray, model: Model, starts: np.ndarray) -> np.ndarray:
        """Return the size of one spike's event in each ROI, from the leading frames; NaN where it is not told."""
        if self.params.quantum != "roi":
            return np.full(len(traces), self.params.quantum or np.nan)
        frames = max(1, int(self.params.fit_until * traces.shape[1] + 1e-9))
        edges = np.r_[starts[starts < frames], frames]
        wide = np.ascontiguousarray(traces[:, :frames], dtype=np.float64)
        with ThreadPoolExecutor(self._jobs) as pool:
            told = list(pool.map(lambda trace: tell(Cell.of(trace, edges, model.rate_hz, model.tau)), wide))
        return np.array([np.nan if one.certain is None else one.certain.quantum for one in told])

    def _keep(self, workspace: Workspace, target: zarr.Array, levels: np.ndarray, quantum: np.ndarray) -> None:
        """Put noise levels and quanta beside the spikes, and divide by the quanta."""
        p = self.params
        prefix = "deconvolution" if p.output == "spikes" else p.output
        events.keep_noise_levels(workspace, target, levels, p.input, prefix)
        if p.quantum is None:
            return
        if p.quantum == "roi":
            quantum = _filled(quantum)
        workspace.keep("qc", f"{prefix}_quantum", ("roi",), quantum, str(workspace[p.input].attrs["units"]))
        for (tile,) in tiles(target):
            target[:, tile] = np.asarray(target[:, tile]) / quantum[tile].astype(np.float32)

    def methods(self) -> str:
        """Return one sentence for a methods section."""
        p = self.params
        how = {"nnls": "non-negative", "l1": "sparse (L1) non-negative", "l0": "sparse (L0) non-negative"}[p.penalty]
        tau = {
            "indicator": "that recommended for the indicator",
            "estimate": "the median over ROIs of the decay after events",
            "auto": "that recommended for the indicator or, without one on record, the median over ROIs of the decay after events",
            "range": "the median over ROIs of the decay after events, kept within the indicator's published range",
        }.get(str(p.tau), f"{p.tau} s")
        extras = [f"decay time constant {tau}"]
        if p.rise != 0:
            peak = f"{p.rise:g} s" if isinstance(p.rise, float) else "the indicator's"
            what = "events moved earlier by the mean delay of the rise" if p.order == 1 else "rise modelled"
            extras.append(f"{what}, time to peak {peak}")
        extras += [f"Gaussian of {p.smooth:g} s SD"] if p.smooth else []
        extras += ["in units of the size of one spike's event"] if p.quantum is not None else []
        return (
            f"Spikes were inferred from '{p.input}' by {how} AR({p.order}) deconvolution (OASIS; {'; '.join(extras)})."
        )


def _looked_up(tau: float | str, indicator: str) -> float | str:
    """Return what "auto" stands for with this indicator, anything else as it is."""
    return tau if tau != "auto" else "indicator" if known(indicator) else "estimate"


def _rise(rise: float | str, indicator: str) -> float | str:
    """Return what "auto" stands for with this indicator, anything else as it is."""
    return rise if rise != "auto" else "indicator" if known(indicator) else 0.0


def _filled(quantum: np.ndarray) -> np.ndarray:
    """Give ROIs that do not tell the size of one spike the median quantum of the others, and say so."""
    unknown = ~np.isfinite(quantum)
    if unknown.all():
        raise DataError(
            "deconvolution: the size of one spike's event cannot be estimated.",
            f"In none of {quantum.size} ROIs does one size, with its multiples, explain the trace clearly best.",
            "Give it in the input's unit: --set deconvolution.quantum=0.2",
        )
    if unknown.any():
        LOGGER.warning(
            "deconvolution: the size of one spike is not to be told in %d of %d ROIs; they take the median of the others.",
            *(unknown.sum(), quantum.size),
        )
    return np.where(unknown, np.median(quantum[~unknown]), quantum)
