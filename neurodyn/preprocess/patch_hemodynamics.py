"""Hemodynamic correction by the optimal linear estimator of small patches of pixels in two channels."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import zarr
from pydantic import Field, field_validator
from threadpoolctl import threadpool_limits

from neurodyn.core.config import Params
from neurodyn.core.errors import DataError
from neurodyn.core.processor import processors
from neurodyn.preprocess.base import Step, Workspace
from neurodyn.preprocess.hemodynamics import map_name
from neurodyn.preprocess.optimal_linear import Estimate, Form, Output, correlations, estimate, varying
from neurodyn.preprocess.patches import Patch, Region, regions
from neurodyn.preprocess.scan import scan
from neurodyn.preprocess.tiles import blocks, inside, require_light, same_shape

LOGGER = logging.getLogger(__name__)

STEP = "patch_hemodynamics"
FEW_PIXELS = 9
MOST_THREADS = 8
MAPS = ("correlation_before", "correlation_after", "rank")


class PatchHemodynamicsParams(Params):
    """Settings of the patch estimator."""

    input: str = Field(default="fluorescence", description="calcium-dependent channel")
    reference: str = Field(default="reference", description="calcium-independent channel, at the same frame times")
    output: str = Field(default="corrected", description="variable to make")
    side: int = Field(
        default=9,
        ge=3,
        le=31,
        description="side of a patch, pixels, odd: 3 is the paper's 'p = 9' read as 9 pixels, 9 read as 9 x 9, and 15 "
        "what the published code computes for its patchSize = 14",
    )
    block: int | None = Field(
        default=None,
        ge=1,
        description="side of the block of centre pixels that share a patch (default: about side/2; 1 when literal)",
    )
    form: Form = Field(
        default="stable",
        description="stable: truncated at the Marchenko-Pastur edge, positive semidefinite; literal: as published",
    )
    product: Output = Field(
        default="denoise",
        description="denoise: calcium alone, 5 to 13 % too small but without noise; subtract: the signal less the "
        "estimated hemodynamics, unbiased and as noisy as before",
    )
    noise: Literal["median", "temporal"] = Field(
        default="median",
        description="noise variance: median eigenvalue of the patch, right while the ranks of calcium and hemodynamics "
        "add up to less than half of its pixels; or second differences over time, right where both are slow",
    )
    normalise: Literal["mean", "none"] = Field(
        default="mean", description="divide each pixel by its mean first, so that channels in counts are comparable"
    )

    @field_validator("side")
    @classmethod
    def _odd(cls, side: int) -> int:
        if side % 2 == 0:
            raise ValueError("a patch has a centre pixel, so that its side is odd")
        return side

    @property
    def centres(self) -> int:
        """Side of the block of centre pixels that share a patch."""
        if self.block is not None:
            return min(self.block, self.side)
        return 1 if self.form == "literal" else ((self.side + 1) // 2 - 1) // 2 * 2 + 1


@dataclass(frozen=True)
class Scaling:
    """What relative change is taken about, shape (y, x) of the frame, per channel.

    Parameters
    ----------
    mean
        Mean over time.
    level
        What divides: the mean, or 1.
    """

    mean: tuple[np.ndarray, np.ndarray]
    level: tuple[np.ndarray, np.ndarray]


class PatchHemodynamics(Step):
    """Estimate calcium from both channels of a small patch of pixels at once.

    With y₁ = F/mean(F) - 1 and y₂ = R/mean(R) - 1 of the p pixels of a patch, x̂ = [P_x, 0] P_y⁻¹ [y₁; y₂]; the model
    and how P_x comes from the covariance of the data is in `optimal_linear`. Unlike the regression of single pixels it
    allows the reference to see the hemodynamics blurred and displaced, and takes the noise of both channels into
    account. The output is mean(F) (1 + x̂) ("denoise") or mean(F) (1 + y₁ - ẑ) ("subtract"): in counts.

    The centre pixels of a block share one patch; patches end at the brain's border, and at the frame's border they are
    shifted inwards. Where fewer than 9 pixels are left the noise variances come from second differences over time.
    Pixels that do not vary stay as they are. Covariances are summed in float64 over pieces of time, region by region,
    then the weights are applied in a second pass; regions overlap by a patch, so that a little is read more often.

    Source: Lohani, Moberly et al., Nat Neurosci 25, 1706 (2022).
    """

    Params = PatchHemodynamicsParams
    params: PatchHemodynamicsParams
    kinds = frozenset({"movie"})
    citation = "Lohani, Moberly et al., Nat Neurosci 25, 1706 (2022), doi:10.1038/s41593-022-01202-6"
    passes = 2

    def apply(self, workspace: Workspace) -> None:
        """Gather the covariances of a region's patches, solve them, apply the weights; then the next region."""
        p = self.params
        same_shape(workspace, p.input, p.reference, STEP)
        signal = workspace[p.input]
        mask, scaling = inside(workspace, signal), self._scaling(workspace)
        parts = list(regions(signal, mask, p.side, p.centres))
        self._check_frames(signal.shape[0], max(patch.pixels.size for part in parts for patch in part.patches))
        maps = {what: np.zeros(mask.shape, dtype=np.float32) for what in MAPS}
        target = workspace.create(p.output, p.input, str(signal.attrs["units"]), STEP, side=p.side, block=p.centres)
        crowded = still = 0
        with _threads() as spread:
            for done, part in enumerate(parts):
                if not part.patches:
                    _blank(target, part)
                    continue
                work = _Work(workspace, self.params, part, scaling, spread, (done, len(parts)))
                found = work.estimates()
                work.write(target, found)
                crowded += sum(one.crowded for one, _ in found)
                still += work.fill(maps, found)
        self._report(crowded, sum(len(part.patches) for part in parts), still)
        for what, values in maps.items():
            workspace.keep("qc", map_name(STEP, what, p.output), ("y", "x"), values, "1")

    def _scaling(self, workspace: Workspace) -> Scaling:
        """Return the means, and the means or ones to divide by."""
        mask = inside(workspace, workspace[self.params.input])
        means = [np.where(mask, scan(workspace, name, step=STEP).mean, 1.0) for name in self.requires]
        if self.params.normalise == "none":
            ones = np.ones(mask.shape)
            return Scaling((means[0], means[1]), (ones, ones))
        for name, mean in zip(self.requires, means, strict=True):
            require_light(workspace, name, mean, STEP, f"take the values as they are: --set {STEP}.normalise=none")
        return Scaling((means[0], means[1]), (means[0], means[1]))

    def _check_frames(self, frames: int, pixels: int) -> None:
        """Refuse a recording that cannot give the covariance of a patch, warn of one that gives it badly."""
        if frames <= 4 * pixels:
            smaller = max(3, int((frames / 4) ** 0.5 - 0.01) // 2 * 2 - 1)
            raise DataError(
                f"{STEP}: {frames} frames are too few for patches of {pixels} pixels in two channels.",
                f"More than {4 * pixels} are needed, {20 * pixels} are advised.",
                f"Make the patch smaller (--set {STEP}.side={smaller}), or regress single pixels: --chain widefield",
            )
        if frames < 20 * pixels:
            LOGGER.warning(
                "%s: %d frames for patches of %d pixels; at least %d are advised, expect a noisier estimate.",
                *(STEP, frames, pixels, 20 * pixels),
            )

    def _report(self, crowded: int, patches: int, still: int) -> None:
        if crowded and self.params.noise == "median":
            LOGGER.warning(
                "%s: in %d of %d patches half of the dimensions or more are signal, so that the noise is overestimated; "
                "enlarge the patch (side) or set noise=temporal.",
                *(STEP, crowded, patches),
            )
        if still:
            LOGGER.warning("%s: %d pixels do not vary in one of the channels; they stay uncorrected.", STEP, still)

    def methods(self) -> str:
        """Return one sentence for a methods section."""
        p = self.params
        made = "calcium estimated" if p.product == "denoise" else "hemodynamics estimated and subtracted"
        return (
            f"Hemodynamic signals were removed from '{p.input}' with the optimal linear estimator of {p.side} x {p.side} "
            f"pixel patches of it and of '{p.reference}' ({p.form} form, noise variances: {p.noise}, {made})."
        )


Found = list[tuple[Estimate, np.ndarray]]
"""Per patch: the estimate, and the covariance it came from."""


@dataclass(frozen=True)
class _Work:
    """One region: its covariances, its estimates, its part of the output.

    Parameters
    ----------
    spread
        Calls a function for every number below a count, on all processors.
    place
        Which of how many regions this is.
    """

    workspace: Workspace
    params: PatchHemodynamicsParams
    region: Region
    scaling: Scaling
    spread: Callable[[Callable[[int], None], int], None]
    place: tuple[int, int]

    def pieces(self, part: int, dtype: type[np.floating]) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield frames and both channels without their means, the signal's pixels first, shape (2 pixel, time).

        The array is overwritten by the next piece.
        """
        arrays = [self.workspace[name] for name in (self.params.input, self.params.reference)]
        frames, strips, count = [block.keep for block in blocks(arrays[0])], self.region.strips(), self.region.count
        buffer = np.empty((2 * count, max(some.stop - some.start for some in frames)), dtype=dtype)
        for done, some in enumerate(frames, start=1):
            values = buffer[:, : some.stop - some.start]
            for channel, array in enumerate(arrays):
                movie = np.asarray(array[(some, *self.region.read)])
                self._lay(movie, channel, strips, values[channel * count :][:count])
            yield some, values
            share = (part + done / len(frames)) / 2
            self.workspace.progress((self.place[0] + share) / self.place[1])

    def _lay(self, movie: np.ndarray, channel: int, strips: list[slice], rows: np.ndarray) -> None:
        mean, level = self.scaling.mean[channel], self.scaling.level[channel]
        self.spread(lambda k: self.region.lay_rows(movie, strips[k], mean, level, rows), len(strips))

    def both(self, patch: Patch) -> np.ndarray:
        """Return the rows of a patch in both channels, shape (2 p,)."""
        return np.concatenate([patch.pixels, patch.pixels + self.region.count])

    def estimates(self) -> Found:
        """Estimate patch by patch, from covariances summed over time."""
        p, patches, frames = self.params, self.region.patches, self.workspace.time.size
        sums, noise = self._sums()
        found: dict[int, tuple[Estimate, np.ndarray]] = {}

        def solve(k: int) -> None:
            rows, pixels = self.both(patches[k]), patches[k].pixels.size
            own = None
            if p.noise == "temporal" or pixels < FEW_PIXELS:
                own = float(noise[rows[:pixels]].mean()), float(noise[rows[pixels:]].mean())
            found[k] = estimate(sums[k], patches[k].centres, frames, p.product, own, p.form), sums[k]

        self.spread(solve, len(patches))
        return [found[k] for k in range(len(patches))]

    def _sums(self) -> tuple[list[np.ndarray], np.ndarray]:
        """Return each patch's covariance, shape (2 p, 2 p), and each row's noise variance, shape (2 pixel,).

        The noise variance is the mean square of the second differences over time divided by 6.
        """
        rows = [self.both(patch) for patch in self.region.patches]
        sums = [np.zeros((row.size, row.size)) for row in rows]
        squares, tail = np.zeros(2 * (self.region.count)), None
        temporal = self.params.noise == "temporal" or min(row.size for row in rows) < 2 * FEW_PIXELS
        for _, values in self.pieces(0, np.float64):

            def add(k: int, values: np.ndarray = values) -> None:
                some = values[rows[k]]
                sums[k] += some @ some.T

            self.spread(add, len(rows))
            if temporal:
                longer = values if tail is None else np.hstack([tail, values])
                squares += (np.diff(longer, 2, axis=1) ** 2).sum(axis=1)
                tail = longer[:, -2:].copy()  # the buffer is used again
        frames = self.workspace.time.size
        for one in sums:
            one /= frames
        return sums, squares / (6 * max(1, frames - 2))

    def write(self, target: zarr.Array, found: Found) -> None:
        """Apply the weights, piece by piece of time, in float32 as the output is."""
        part, patches, strips = self.region, self.region.patches, self.region.strips()
        offset, factor = (
            values[0][part.read][part.mask][:, None].astype(np.float32)
            for values in (self.scaling.mean, self.scaling.level)
        )
        rows, weights = [self.both(patch) for patch in patches], [one.weights.astype(np.float32) for one, _ in found]
        for frames, values in self.pieces(1, np.float32):
            made = np.zeros((part.count, values.shape[1]), dtype=np.float32)
            movie = np.zeros((values.shape[1], *part.shape), dtype=np.float32)

            def use(k: int, values: np.ndarray = values, made: np.ndarray = made) -> None:
                own = patches[k].rows
                made[own] = weights[k] @ values[rows[k]] * factor[own] + offset[own]

            def lay(k: int, made: np.ndarray = made, movie: np.ndarray = movie) -> None:
                part.lay_frames(made, strips[k], movie)

            self.spread(use, len(patches))
            self.spread(lay, len(strips))
            target[(frames, *part.write)] = movie

    def fill(self, maps: dict[str, np.ndarray], found: Found) -> int:
        """Fill in the maps of the region; return how many pixels do not vary."""
        still, values = 0, {what: np.zeros(self.region.count) for what in maps}
        for patch, (one, joint) in zip(self.region.patches, found, strict=True):
            before, after = correlations(one.weights, joint, patch.centres)
            still += int((~varying(joint)[patch.centres]).sum())
            for what, value in zip(MAPS, (before, after, one.rank), strict=True):
                values[what][patch.rows] = value
        for what, rows in values.items():
            self.region.lay_frames(rows[:, None], slice(None), maps[what][None, *self.region.write])
        return still


def _blank(target: zarr.Array, part: Region) -> None:
    """Write zeros where there is no data, so that no chunk of the output is missing."""
    for block in blocks(target):
        target[(block.keep, *part.write)] = 0.0


@contextmanager
def _threads() -> Iterator[Callable[[Callable[[int], None], int], None]]:
    """Yield a function that calls another for 0 to n - 1 on all processors.

    The matrices are small: one thread each, many at once, is an order of magnitude faster than the linear algebra
    library's own threads.
    """
    count = min(MOST_THREADS, processors())

    def share(work: Callable[[int], None], some: range) -> None:
        for k in some:
            work(k)

    with threadpool_limits(1), ThreadPoolExecutor(count) as pool:

        def spread(work: Callable[[int], None], calls: int) -> None:
            list(pool.map(lambda first: share(work, range(first, calls, count)), range(count)))

        yield spread
