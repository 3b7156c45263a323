"""Neuropil correction: the surround's signal, subtracted with a fixed coefficient."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from neurodyn.core.config import Params
from neurodyn.preprocess.base import Step, Workspace
from neurodyn.preprocess.scan import scan
from neurodyn.preprocess.tiles import pieces, same_shape


class NeuropilParams(Params):
    """Settings of the neuropil correction."""

    fluorescence: str = Field(default="fluorescence", description="variable with the ROI's fluorescence")
    neuropil: str = Field(default="neuropil", description="variable with the surround's fluorescence")
    output: str = Field(default="corrected", description="variable to make")
    coefficient: float = Field(
        default=0.7, ge=0, le=2, description="r, share of the surround's signal found in the ROI"
    )
    keep_mean: bool = Field(
        default=False, description="subtract only the surround's change about its mean, so that the ROI keeps its mean"
    )


class Neuropil(Step):
    """Subtract the surround's signal from each ROI.

    F_corrected(t) = F(t) - r Fneu(t), or with `keep_mean` F(t) - r (Fneu(t) - mean(Fneu)). The plain form often leaves
    a baseline near zero or below it; take the ΔF/F denominator from the trace before subtraction then (`dff.f0_from`).

    Source: Chen et al., Nature 499, 295 (2013), r = 0.7.
    """

    Params = NeuropilParams
    params: NeuropilParams
    kinds = frozenset({"traces"})
    citation = "Chen et al., Nature 499, 295-300 (2013), doi:10.1038/nature12354"

    @property
    def requires(self) -> tuple[str, ...]:
        """Fluorescence and neuropil."""
        return (self.params.fluorescence, self.params.neuropil)

    @property
    def provides(self) -> tuple[str, ...]:
        """The corrected fluorescence."""
        return (self.params.output,)

    def apply(self, workspace: Workspace) -> None:
        """Correct one chunk of ROIs and frames after another."""
        p = self.params
        same_shape(workspace, p.fluorescence, p.neuropil, "neuropil")
        for name in self.requires:
            scan(workspace, name, step="neuropil")
        source, surround = workspace[p.fluorescence], workspace[p.neuropil]
        mean = np.zeros(source.shape[1:])
        if p.keep_mean:
            for key in pieces(workspace, surround):
                mean[key[1:]] += np.asarray(surround[key]).sum(axis=0, dtype=np.float64) / surround.shape[0]
        units = str(source.attrs["units"])
        target = workspace.create(p.output, p.fluorescence, units, "neuropil", coefficient=p.coefficient)
        for key in pieces(workspace, source):
            around = np.asarray(surround[key], dtype=np.float64) - mean[key[1:]]
            target[key] = (np.asarray(source[key]) - p.coefficient * around).astype(np.float32)

    def methods(self) -> str:
        """Return one sentence for a methods section."""
        change = "the change about the mean of " if self.params.keep_mean else ""
        return (
            f"From the fluorescence of each ROI, {change}its neuropil fluorescence times {self.params.coefficient:g} "
            "was subtracted."
        )
