"""Neuropil correction: the surround's signal, subtracted with a fixed or a fitted coefficient."""

from __future__ import annotations

import logging
from typing import Literal, Self

import numpy as np
from pydantic import Field

from neurodyn.core.config import Params
from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.preprocess.base import Step, Workspace
from neurodyn.preprocess.contamination import FOLDS, SMOOTHNESS, contamination_ratio
from neurodyn.preprocess.scan import NanPolicy, scan
from neurodyn.preprocess.tiles import pieces, same_shape, tiles

LOGGER = logging.getLogger(__name__)

BUDGET = 2**22
ALLEN = "de Vries et al., Nat Neurosci 23, 138-151 (2020), doi:10.1038/s41593-019-0550-9"
SHORTEST_FOLD = 10


class NeuropilParams(Params):
    """Settings of the neuropil correction."""

    fluorescence: str = Field(default="fluorescence", description="variable with the ROI's fluorescence")
    neuropil: str = Field(default="neuropil", description="variable with the surround's fluorescence")
    output: str = Field(default="corrected", description="variable to make")
    method: Literal["fixed", "allen"] = Field(
        default="fixed", description="where r comes from: the coefficient, or the Allen Brain Observatory's fit per ROI"
    )
    coefficient: float = Field(
        default=0.7, ge=0, le=2, description="r, share of the surround's signal found in the ROI (method: fixed)"
    )
    smoothness: float = Field(
        default=SMOOTHNESS,
        gt=0,
        description="λ, penalty on the cell signal's change from frame to frame (method: allen); noise in the surround biases r down, "
        "less with λ = 10",
    )
    keep_mean: bool = Field(
        default=False, description="subtract only the surround's change about its mean, so that the ROI keeps its mean"
    )
    nan: NanPolicy = Field(
        default="error", description="what to do with ROIs that have NaN frames: refuse, or r = 0 where r is fitted"
    )


class Neuropil(Step):
    """Subtract the surround's signal from each ROI.

    F_corrected(t) = F(t) - r Fneu(t), or with `keep_mean` F(t) - r (Fneu(t) - mean(Fneu)). The plain form often leaves
    a baseline near zero or below it; take the ΔF/F denominator from the trace before subtraction then (`dff.f0_from`).

    r is fixed (Chen et al., Nature 499, 295, 2013: 0.7), or fitted per ROI so that the corrected trace is smoothest in
    four contiguous folds (de Vries et al., Nat Neurosci 23, 138, 2020). A ROI whose fit is impossible (NaN frames, a
    constant surround) or leaves a negative mean has r = 0, with a warning; it is then the fluorescence itself.
    """

    Params = NeuropilParams
    params: NeuropilParams
    kinds = frozenset({"traces"})

    citation = "Chen et al., Nature 499, 295-300 (2013), doi:10.1038/nature12354"

    @property
    def source(self) -> str:
        """The paper behind the coefficient."""
        return ALLEN if self.params.method == "allen" else self.citation

    @property
    def passes(self) -> int:  # type: ignore[override]
        """Once more for a fit."""
        return 2 if self.params.method == "allen" else 1

    @property
    def requires(self) -> tuple[str, ...]:
        """Fluorescence and neuropil."""
        return (self.params.fluorescence, self.params.neuropil)

    def suited(self, recording: Recording) -> tuple[Self, str]:
        """Refuse a recording that is too short to fit r."""
        if self.params.method == "allen":
            _check_length(recording.time.size)
        return self, ""

    def apply(self, workspace: Workspace) -> None:
        """Correct one chunk of ROIs and frames after another."""
        p = self.params
        same_shape(workspace, p.fluorescence, p.neuropil, "neuropil")
        looks = [scan(workspace, name, p.nan, "neuropil") for name in self.requires]
        source, surround = workspace[p.fluorescence], workspace[p.neuropil]
        mean = looks[1].mean if p.keep_mean else np.zeros(source.shape[1:])
        fitted = p.method == "allen"
        r = self._fit(workspace, looks[0].broken | looks[1].broken) if fitted else np.full(mean.shape, p.coefficient)
        if fitted:
            r = self._not_negative(r, looks[0].mean - r * (looks[1].mean - mean))
        about = {"method": p.method} if fitted else {"coefficient": p.coefficient}
        units = str(source.attrs["units"])
        target = workspace.create(p.output, p.fluorescence, units, "neuropil", **about)
        for key in pieces(workspace, source, int(fitted), self.passes):
            around = r[key[1:]] * (np.asarray(surround[key], dtype=np.float64) - mean[key[1:]])
            target[key] = (np.asarray(source[key]) - np.where(r[key[1:]] == 0, 0.0, around)).astype(np.float32)
        name = "neuropil_r" if p.output == "corrected" else f"{p.output}_neuropil_r"
        workspace.keep("qc", name, ("roi",), r, "1")

    def _fit(self, workspace: Workspace, broken: np.ndarray) -> np.ndarray:
        """Return r of each ROI, 0 where there is none to be had, shape (roi,)."""
        source, surround = (workspace[name] for name in self.requires)
        frames = source.shape[0]
        _check_length(frames)
        r, at_once = np.full(source.shape[1:], np.nan), max(1, BUDGET // frames)
        for (rois,) in tiles(source):
            for start in range(rois.start, rois.stop, at_once):
                some = slice(start, min(start + at_once, rois.stop))
                traces = [
                    np.where(broken[some], 0, variable[:, some]).T.astype(np.float64) for variable in (source, surround)
                ]
                r[some] = contamination_ratio(traces[0], traces[1], self.params.smoothness)
                workspace.progress(0.5 * some.stop / source.shape[1])
        r[broken] = np.nan
        if np.isnan(r).any():
            LOGGER.warning(
                "neuropil: r cannot be fitted in %d of %d ROIs (NaN frames or a constant surround), r = 0.",
                *(np.isnan(r).sum(), r.size),
            )
        return np.nan_to_num(r)

    def _not_negative(self, r: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """Return r, 0 where the corrected trace's mean would be negative."""
        negative = (r > 0) & (mean < 0)
        if negative.any():
            LOGGER.warning(
                "neuropil: %d of %d ROIs would have a negative mean with their fitted r, r = 0.", negative.sum(), r.size
            )
        return np.where(negative, 0.0, r)

    def methods(self) -> str:
        """Return one sentence for a methods section."""
        p = self.params
        change = "the change about the mean of " if p.keep_mean else ""
        times = (
            f"{p.coefficient:g}"
            if p.method == "fixed"
            else f"a factor fitted per ROI (smoothest corrected trace in {FOLDS} contiguous folds, λ = {p.smoothness:g})"
        )
        return f"From the fluorescence of each ROI, {change}its neuropil fluorescence times {times} was subtracted."


def _check_length(frames: int) -> None:
    if frames < FOLDS * SHORTEST_FOLD:
        raise DataError(
            "neuropil: the recording is too short to fit r.",
            f"It has {frames} frames; {FOLDS * SHORTEST_FOLD} are needed.",
            "Fix it: --set neuropil.method=fixed",
        )
