"""Spike inference by a supervised network that knows no frame rate and needs no indicator."""

from __future__ import annotations

import logging
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np
import zarr
from pydantic import Field, model_validator
from threadpoolctl import threadpool_limits

from neurodyn.calcium.spike_discrete import whole_spikes
from neurodyn.calcium.spike_network import RateSpread, SpikeNetwork, around_gaps, check_rate
from neurodyn.calcium.spike_weights import load
from neurodyn.core.config import Params
from neurodyn.core.processor import processors
from neurodyn.data.clock import stretch_starts
from neurodyn.data.recording import Recording
from neurodyn.preprocess import events
from neurodyn.preprocess.base import Step, Workspace
from neurodyn.preprocess.scan import NanPolicy, scan
from neurodyn.preprocess.tiles import tiles

LOGGER = logging.getLogger(__name__)
LIKE_PERCENT = 30.0  # %/√Hz; cells it was trained on have 0.1 to 5


class SpikeNetworkParams(Params):
    """Settings of the network."""

    input: str = Field(default="dff", description="variable to infer from: ΔF/F, as a share (not in percent)")
    output: str = Field(default="spikes", description="variable to make")
    weights: Path | None = Field(
        default=None, description="weights of your own, .safetensors (default: those that come with neurodyn)"
    )
    causal: bool = Field(
        default=False,
        description="weights that see no further ahead than a tenth of a second, as a stream has to: the first minute tells "
        "noise and amplitude",
    )
    discrete: bool = Field(default=False, description="whole spikes in each frame instead of expected ones")
    nan: NanPolicy = Field(
        default="error", description="NaN frames: refuse them, or leave them NaN and infer around them"
    )
    jobs: int = Field(default=0, ge=0, description="threads that share the ROIs; 0: one per core")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.causal and self.weights is not None:
            raise ValueError("weights of your own are causal by themselves or not; give weights, or causal")
        return self


class SpikeNetworkStep(Step):
    """Infer the expected number of spikes in each frame by a network trained on simultaneous recordings.

    One set of weights serves every frame rate and noise level; no indicator has to be known. Each stretch between gaps
    in the frame times is inferred by itself, in the light of the whole cell: its noise, how high the trace rises and how
    it falls off. How many spikes are expected in all is only as sure as the cell resembles those it was trained on; see
    docs/spike-network.md for data, scores and limits. Kept beside it: the noise level of each ROI, its expected rate and
    that over the median rate of all, both with the interval in which nine in ten cells of datasets left out were.

    Source: after Rupprecht et al., Nat Neurosci 24, 1324 (2021).
    """

    judges_noise = True
    Params = SpikeNetworkParams
    params: SpikeNetworkParams
    kinds = frozenset({"traces"})
    citation = "Rupprecht et al., Nat Neurosci 24, 1324 (2021), doi:10.1038/s41593-021-00895-5"

    def suited(self, recording: Recording) -> tuple[Self, str]:
        """Refuse recordings slower than what the network has learnt."""
        check_rate(recording.rate_hz)
        return self, ""

    def apply(self, workspace: Workspace) -> None:
        """Infer one chunk of ROIs after another."""
        p = self.params
        scan(workspace, p.input, p.nan, "spike_network")
        network = load(p.weights, p.causal)
        told = {} if network.lookahead is None else {"lookahead": network.lookahead, "lookahead_unit": "s"}
        kind = "discrete" if p.discrete else "expected"
        target = workspace.create(p.output, p.input, f"spikes, {kind}, per frame", "spike_network", **told)
        levels, rates = self._infer(workspace, network, target)
        self._warn(levels, still=int((rates == 0).sum()))
        prefix = "spike_network" if p.output == "spikes" else p.output
        events.keep_noise_levels(workspace, target, levels, p.input, prefix)
        if network.spread is not None:
            _keep_rates(workspace, prefix, rates, network.spread)

    def _infer(self, workspace: Workspace, network: SpikeNetwork, target: zarr.Array) -> tuple[np.ndarray, np.ndarray]:
        """Fill the target, and return noise levels, %/√Hz, and expected rates, Hz, both of shape (roi,)."""
        p, source, rate = self.params, workspace[self.params.input], workspace.rate_hz
        starts, parts = stretch_starts(workspace.time, rate), tiles(source)
        levels, rates = np.zeros(source.shape[1]), np.zeros(source.shape[1])
        # threads share the ROIs; more of them within each product of matrices would only be in their way
        with threadpool_limits(1), ThreadPoolExecutor(p.jobs or processors()) as pool:
            for done, (tile,) in enumerate(parts, start=1):
                traces = np.ascontiguousarray(np.asarray(source[:, tile]).T, dtype=np.float32)
                levels[tile] = events.noise_levels(traces, starts, rate)
                spikes = list(pool.map(lambda trace: around_gaps(network, trace, starts, rate), traces))
                rates[tile] = [_rate(each, rate) for each in spikes]
                if p.discrete:
                    spikes = list(pool.map(lambda expected: whole_spikes(expected, rate), spikes))
                target[:, tile] = np.stack(spikes, axis=1)
                workspace.progress(done / len(parts))
        return levels, rates

    def _warn(self, levels: np.ndarray, still: int) -> None:
        if np.median(levels) > LIKE_PERCENT:
            LOGGER.warning(
                "spike_network: the noise of '%s' is %.0f %%/√Hz at the median, which is more than recordings have: is it in "
                "percent? The network takes shares (0.1, not 10).",
                *(self.params.input, np.median(levels)),
            )
        if still:
            LOGGER.warning("spike_network: %d of %d ROIs are constant or empty; no spikes there.", still, levels.size)

    def methods(self) -> str:
        """Return one sentence for a methods section."""
        whose = "neurodyn's weights" if self.params.weights is None else f"weights {self.params.weights.name}"
        return (
            f"The expected number of spikes per frame was inferred from '{self.params.input}' by a supervised network "
            f"trained on simultaneous recordings of fluorescence and spikes ({whose}"
            f"{', none of which sees further ahead than a tenth of a second' if self.params.causal else ''})."
            f"{' Whole spikes were placed greedily where they fit it best.' if self.params.discrete else ''}"
        )


def _rate(spikes: np.ndarray, rate_hz: float) -> float:
    """Return expected spikes per second of the finite frames; 0 where there are none."""
    finite = spikes[np.isfinite(spikes)]
    return float(finite.mean()) * rate_hz if finite.size else 0.0


def _keep_rates(workspace: Workspace, prefix: str, rates: np.ndarray, spread: RateSpread) -> None:
    """Put each ROI's rate, and that over the median rate, into `qc`, with the ends of their 90 % intervals."""
    median = float(np.median(rates[rates > 0])) if rates.any() else 1.0
    for name, values, reach, unit in (
        ("rate", rates, spread.absolute, "spikes/s"),
        ("relative_rate", rates / median, spread.relative, "of the median ROI's"),
    ):
        ends = {"": 1.0, "_low": math.exp(-reach), "_high": math.exp(reach)}
        for end, factor in ends.items():
            workspace.keep("qc", f"{prefix}_{name}{end}", ("roi",), values * factor, unit)
