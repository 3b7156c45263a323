"""Z-score over time."""

from __future__ import annotations

import logging

import numpy as np
from pydantic import Field

from neurodyn.core.config import Params
from neurodyn.core.errors import DataError
from neurodyn.preprocess.base import Step, Workspace
from neurodyn.preprocess.scan import NanPolicy, scan
from neurodyn.preprocess.tiles import inside, noun, pieces, read

LOGGER = logging.getLogger(__name__)


class ZScoreParams(Params):
    """Settings of the z-score."""

    input: str = Field(default="dff", description="variable to standardise")
    output: str = Field(default="zscore", description="variable to make")
    fit_until: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="leading share of the frames that mean and standard deviation are taken from",
    )
    nan: NanPolicy = Field(
        default="nan", description="NaN frames: leave them NaN and out of mean and standard deviation, or refuse them"
    )


class ZScore(Step):
    """Standardise each ROI or pixel over time.

    z(t) = (x(t) - mean) / sd, both over the first `fit_until` of the frames, sd with divisor n. With `fit_until` equal
    to the training share of a blocked split, nothing of the test part enters the scaling. Constant ROIs or pixels, and
    pixels outside the brain, become 0. NaN frames, as ΔF/F leaves them where it has no baseline, stay NaN and are left
    out of both; an entry with fewer than two finite frames to fit on becomes NaN.
    """

    Params = ZScoreParams
    params: ZScoreParams

    def apply(self, workspace: Workspace) -> None:
        """Take the mean, then the standard deviation about it, then write, one chunk at a time."""
        p, source = self.params, workspace[self.params.input]
        frames = int(p.fit_until * source.shape[0] + 1e-9)
        if frames < 2:
            raise DataError(
                f"zscore: {frames} frames are too few for a standard deviation.",
                f"The recording has {source.shape[0]} frames; fit_until is {p.fit_until:g}.",
                "Raise it: --set zscore.fit_until=1",
            )
        holes = scan(workspace, p.input, "frames" if p.nan == "nan" else "error", "zscore").broken
        if holes.any():
            LOGGER.warning(
                "zscore: %d of %d %s have NaN frames, which stay NaN.", holes.sum(), holes.size, noun(source)
            )
        mean = self._average(workspace, frames, 0.0, power=1)
        sd = np.sqrt(self._average(workspace, frames, mean, power=2))
        factor = self._factor(workspace, mean, sd)
        target = workspace.create(p.output, p.input, "standard deviations", "zscore", fit_frames=frames)
        for key in pieces(workspace, source, 2, 3):
            values = read(source, key, factor != 0)
            values[~np.isfinite(values)] = np.nan
            target[key] = ((values - mean[key[1:]]) * factor[key[1:]]).astype(np.float32)

    def _average(self, workspace: Workspace, frames: int, center: np.ndarray | float, power: int) -> np.ndarray:
        """Return the mean over the finite fitted frames of (x - center)^power, shape (*space); NaN for fewer than 2."""
        source = workspace[self.params.input]
        mask = inside(workspace, source)
        center, total = np.broadcast_to(center, mask.shape), np.zeros(mask.shape)
        count = np.zeros(mask.shape, dtype=np.int64)
        for key in pieces(workspace, source, power - 1, 3):
            values = read(source, key, mask)[: max(0, frames - key[0].start)]
            good = np.isfinite(values)
            total[key[1:]] += np.where(good, (values - center[key[1:]]) ** power, 0).sum(axis=0)
            count[key[1:]] += good.sum(axis=0)
        return np.divide(total, count, out=np.full(mask.shape, np.nan), where=count > 1)

    def _factor(self, workspace: Workspace, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
        """Return 1/sd, shape (*space), and 0 where the values do not vary or lie outside the brain."""
        source = workspace[self.params.input]
        mask = inside(workspace, source)
        constant = mask & (sd <= np.finfo(np.float32).eps * np.abs(mean))
        if constant.any():
            LOGGER.warning("zscore: %d of %d %s are constant and become 0.", constant.sum(), mask.sum(), noun(source))
        return np.divide(1.0, sd, out=np.zeros(mask.shape), where=mask & ~constant)

    def methods(self) -> str:
        """Return one sentence for a methods section."""
        share = (
            "whole recording" if self.params.fit_until == 1 else f"first {self.params.fit_until:.0%} of the recording"
        )
        return (
            f"Each '{self.params.input}' signal was standardised by its mean and standard deviation over the {share}."
        )
