"""Spike inference by OASIS with an AR(1) calcium model."""

from __future__ import annotations

import logging
import math
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Annotated, Literal

import numpy as np
import zarr
from pydantic import Field

from neurodyn.core.config import Params
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.preprocess.ar1 import LAGS, decay_factor, infer_many, noise_level
from neurodyn.preprocess.base import Step, Workspace
from neurodyn.preprocess.scan import NanPolicy, scan
from neurodyn.preprocess.tiles import tiles

LOGGER = logging.getLogger(__name__)

# Decay time constants, s, as recommended by suite2p: documentation, settings page, "tau" (GCaMP6s: 1.25 to 1.5), and
# issue 233 for jRGECO1a.
DECAY = {"gcamp6f": 0.7, "gcamp6m": 1.0, "gcamp6s": 1.25, "jrgeco1a": 0.7}


class DeconvolutionParams(Params):
    """Settings of the spike inference."""

    input: str = Field(default="dff", description="variable to deconvolve")
    output: str = Field(default="spikes", description="variable to make")
    tau: Annotated[float, Field(gt=0)] | Literal["indicator", "estimate"] = Field(
        default="indicator",
        description="decay time constant, s; 'indicator' looks it up, 'estimate' pools the ROIs' autocovariances",
    )
    penalty: Literal["nnls", "l1", "l0"] = Field(
        default="nnls",
        description="nnls: spikes only non-negative; l1, l0: as sparse as the noise allows, baseline fitted",
    )
    baseline: float | None = Field(
        default=None,
        ge=0,
        le=100,
        description="percentile of each trace taken as its baseline (penalty: nnls); none is right after maximin ΔF/F",
    )
    nan: NanPolicy = Field(
        default="error", description="NaN frames: refuse them, or leave them NaN and infer around them"
    )
    jobs: int = Field(default=1, ge=1, description="processes that share the ROIs")


class Deconvolution(Step):
    """Infer spikes from ΔF/F: OASIS with an AR(1) calcium model of one decay time for all ROIs.

    The decay time is a number in seconds, the indicator's from a table, or the median over ROIs of what the
    autocovariance says; a random or per-ROI value is never taken. The output's unit is arbitrary: compare it within an
    ROI. Attributes of the output: `tau` in seconds, `noise` per ROI in the input's unit.

    Source: Friedrich, Zhou & Paninski, PLoS Comput Biol 13, e1005423 (2017).
    """

    Params = DeconvolutionParams
    params: DeconvolutionParams
    kinds = frozenset({"traces"})
    citation = "Friedrich, Zhou & Paninski, PLoS Comput Biol 13, e1005423 (2017), doi:10.1371/journal.pcbi.1005423"

    @property
    def requires(self) -> tuple[str, ...]:
        """ΔF/F."""
        return (self.params.input,)

    @property
    def provides(self) -> tuple[str, ...]:
        """Inferred spikes."""
        return (self.params.output,)

    def apply(self, workspace: Workspace) -> None:
        """Infer one chunk of ROIs after another."""
        p, source = self.params, workspace[self.params.input]
        if source.shape[0] <= LAGS + 1:
            raise DataError(
                f"deconvolution: {source.shape[0]} frames are too few.",
                f"It needs more than {LAGS + 1}.",
                "Give a longer recording.",
            )
        scan(workspace, p.input, p.nan, "deconvolution")
        levels, factors = self._levels(workspace)
        tau = self._tau(workspace, factors)
        noise = [float(level) for level in levels]
        target = workspace.create(
            p.output, p.input, "events, a.u. per frame", "deconvolution", tau=tau, tau_unit="s", noise=noise
        )
        for done, (tile,) in enumerate(tiles(source), start=1):
            spikes = self._spikes(_traces(source, tile), levels[tile], tau, workspace.rate_hz)
            target[:, tile] = spikes.T.astype(np.float32)
            workspace.progress(done / len(tiles(source)))

    def _levels(self, workspace: Workspace) -> tuple[np.ndarray, np.ndarray]:
        """Return each ROI's noise level (0: constant or empty) and AR(1) coefficient (NaN: constant), shape (roi,)."""
        source = workspace[self.params.input]
        levels, factors = np.zeros(source.shape[1]), np.full(source.shape[1], np.nan)
        for (tile,) in tiles(source):
            for roi, trace in enumerate(_traces(source, tile), start=tile.start):
                finite = trace[np.isfinite(trace)]
                if finite.size > LAGS + 1 and np.ptp(finite) > np.finfo(np.float32).eps * np.abs(finite).max():
                    levels[roi], factors[roi] = noise_level(finite), decay_factor(finite)
        still = int(np.isnan(factors).sum())
        if still:
            LOGGER.warning("deconvolution: %d of %d ROIs are constant or empty; no spikes there.", still, levels.size)
        return levels, factors

    def _tau(self, workspace: Workspace, factors: np.ndarray) -> float:
        """Return the decay time constant, s."""
        if isinstance(self.params.tau, float):
            return self.params.tau
        if self.params.tau == "indicator":
            return _indicator_tau(workspace.indicator)
        usable = factors[(factors > 0) & (factors < 1)]
        if 2 * usable.size <= np.isfinite(factors).sum() or not usable.size:
            raise DataError(
                "deconvolution: the decay time cannot be estimated from these traces.",
                f"Only {usable.size} of {factors.size} ROIs have an autocovariance that decays.",
                "Give it in seconds: --set deconvolution.tau=0.7",
            )
        tau = -1.0 / (workspace.rate_hz * math.log(float(np.median(usable))))
        LOGGER.info("deconvolution: decay time %.3g s, the median of %d ROIs.", tau, usable.size)
        return tau

    def _spikes(self, traces: np.ndarray, levels: np.ndarray, tau: float, rate_hz: float) -> np.ndarray:
        """Return spikes, shape (roi, time), from one process or several."""
        p = self.params
        if p.penalty == "nnls" and p.baseline is not None:
            rows = levels > 0
            traces[rows] -= np.nanpercentile(traces[rows], p.baseline, axis=1, keepdims=True)
        if p.jobs == 1 or len(traces) < p.jobs:
            return infer_many(traces, levels, tau, rate_hz, p.penalty)
        shares = np.array_split(np.arange(len(traces)), p.jobs)
        with ProcessPoolExecutor(p.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
            tasks = [pool.submit(infer_many, traces[i], levels[i], tau, rate_hz, p.penalty) for i in shares]
            return np.concatenate([task.result() for task in tasks])

    def methods(self) -> str:
        """Return one sentence for a methods section."""
        p = self.params
        how = {"nnls": "non-negative", "l1": "sparse (L1) non-negative", "l0": "sparse (L0) non-negative"}[p.penalty]
        tau = {
            "indicator": "that recommended for the indicator",
            "estimate": "the median over ROIs of the autocovariance's decay",
        }.get(str(p.tau), f"{p.tau} s")
        return f"Spikes were inferred from '{p.input}' by {how} AR(1) deconvolution (OASIS; decay time constant {tau})."


def _traces(source: zarr.Array, tile: slice) -> np.ndarray:
    """Return ROIs as float64 traces, shape (roi, time)."""
    return np.ascontiguousarray(np.asarray(source[:, tile]).T, dtype=np.float64)


def _indicator_tau(indicator: str) -> float:
    name = indicator.lower().split(" ")[0]
    if name not in DECAY:
        raise ConfigError(
            f"deconvolution: no decay time is on record for the indicator '{indicator}'.",
            f"On record: {', '.join(f'{key} {value:g} s' for key, value in DECAY.items())}.",
            "Give it in seconds (--set deconvolution.tau=0.7), or estimate it (--set deconvolution.tau=estimate)",
        )
    return DECAY[name]
