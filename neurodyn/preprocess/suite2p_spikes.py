"""suite2p's own spike inference, beside ours on the same traces."""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field

from neurodyn.calcium.indicators import known
from neurodyn.core.config import Params
from neurodyn.data.clock import stretch_slices, stretch_starts
from neurodyn.preprocess.base import Step, Workspace
from neurodyn.preprocess.extracted import CITATION
from neurodyn.preprocess.scan import scan
from neurodyn.preprocess.suite2p import import_suite2p
from neurodyn.preprocess.tiles import tiles

DEFAULT_TAU = 1.0
# suite2p's documentation names the GCaMP6 family; jRGECO1a is its authors' advice in issue 233.
TAU = {"gcamp6f": 0.7, "gcamp6m": 1.0, "gcamp6s": 1.25, "jrgeco1a": 0.7}


class Suite2pSpikesParams(Params):
    """Settings of suite2p's spike inference, its defaults."""

    input: str = Field(default="dff", description="variable to deconvolve")
    output: str = Field(default="spikes_suite2p", description="variable to make")
    tau: float | None = Field(
        default=None,
        gt=0,
        description="decay time constant, s (default: what suite2p advises, else its default of 1 s)",
    )
    window: float = Field(default=60.0, gt=0, description="length of the rolling windows of the baseline, s")
    sigma: float = Field(default=10.0, gt=0, description="smoothing before the minimum, frames")
    batch: int = Field(default=500, ge=1, description="ROIs at a time")


class Suite2pSpikes(Step):
    """Infer spikes as suite2p does: maximin baseline subtracted, then `dcnv.oasis`, each stretch between gaps by itself.

    For comparison; the same minimisation as `deconvolution`, but calcium may be negative, nothing is known of the rise,
    and the baseline's smoothing counts frames.
    """

    judges_noise = True
    Params = Suite2pSpikesParams
    params: Suite2pSpikesParams
    kinds = frozenset({"traces"})
    citation = CITATION

    def apply(self, workspace: Workspace) -> None:
        """Infer one chunk of ROIs after another."""
        p, source, rate = self.params, workspace[self.params.input], workspace.rate_hz
        scan(workspace, p.input, step="suite2p_spikes")
        dcnv = import_suite2p().extraction.dcnv
        tau = p.tau or TAU.get(known(workspace.indicator) or "", DEFAULT_TAU)
        stretches = stretch_slices(stretch_starts(workspace.time, rate), source.shape[0])
        target = workspace.create(
            p.output, p.input, "events, arbitrary, per frame", "suite2p_spikes", tau=tau, tau_unit="s"
        )
        for done, (tile,) in enumerate(tiles(source), start=1):
            traces = np.ascontiguousarray(np.asarray(source[:, tile]).T, dtype=np.float32)
            for part in stretches:
                flat = dcnv.preprocess(
                    traces[:, part].copy(), "maximin", p.window, p.sigma, rate, device=torch.device("cpu")
                )
                target[part, tile] = dcnv.oasis(np.asarray(flat), p.batch, tau, rate).T
            workspace.progress(done / len(tiles(source)))

    def methods(self) -> str:
        """Return one sentence for a methods section."""
        p = self.params
        tau = f"{p.tau:g} s" if p.tau else "as suite2p advises for the indicator"
        return (
            f"For comparison, spikes were inferred from '{p.input}' by suite2p's deconvolution (maximin baseline, window "
            f"{p.window:g} s, smoothing {p.sigma:g} frames; decay time constant {tau})."
        )
