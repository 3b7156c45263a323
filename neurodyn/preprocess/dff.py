"""ΔF/F with a rolling baseline."""

from __future__ import annotations

import logging
import math
from typing import Literal

import numpy as np
import zarr
from pydantic import Field
from scipy.ndimage import gaussian_filter1d, maximum_filter1d, minimum_filter1d, percentile_filter

from neurodyn.core.config import Params
from neurodyn.core.errors import DataError
from neurodyn.preprocess.base import Step, Workspace
from neurodyn.preprocess.scan import NanPolicy, scan
from neurodyn.preprocess.tiles import Block, blocks, inside, noun, same_shape, tiles, warn_gaps

LOGGER = logging.getLogger(__name__)

Edge = Literal["reflect", "nearest", "mirror"]
ROWS = 64
TRUNCATE = 4.0


class DffParams(Params):
    """Settings of ΔF/F."""

    input: str = Field(default="fluorescence", description="variable to take ΔF of")
    output: str = Field(default="dff", description="variable to make")
    method: Literal["percentile", "maximin"] = Field(
        default="percentile",
        description="baseline: rolling percentile, or rolling maximum of the rolling minimum when smoothed",
    )
    window: float = Field(default=60.0, gt=0, description="length of the rolling window, s")
    percentile: float = Field(
        default=8.0, ge=0, le=100, description="percentile taken as baseline (method: percentile)"
    )
    sigma: float = Field(
        default=1.0,
        gt=0,
        description="smoothing before the minimum, s (method: maximin); 1 s is suite2p's 10 frames at its 10 Hz",
    )
    decimate: int = Field(
        default=1,
        ge=1,
        description="take the percentile over every k-th frame and interpolate: 1 is exact, 10 about 3x faster",
    )
    edge: Edge = Field(default="reflect", description="how the trace continues beyond its ends")
    f0_from: str | None = Field(
        default=None,
        description="variable whose baseline divides, e.g. fluorescence before neuropil subtraction (default: input)",
    )
    floor: float = Field(
        default=0.01,
        ge=0,
        lt=1,
        description="smallest F0 that may divide, as a share of the mean absolute fluorescence",
    )
    guard: Literal["error", "nan"] = Field(
        default="error", description="what to do where F0 is below the floor or negative"
    )
    nan: NanPolicy = Field(
        default="error", description="what to do with ROIs or pixels that have NaN frames: refuse, or NaN"
    )


def rolling_percentile(traces: np.ndarray, frames: int, percentile: float, edge: Edge = "reflect") -> np.ndarray:
    """Return the rolling percentile of each trace.

    F0(t) is the value of rank floor(frames * percentile / 100) among the `frames` values centred on t. The filter is
    called row by row because the fast rank filter exists in one dimension only.

    Parameters
    ----------
    traces
        Fluorescence, shape (trace, time).
    frames
        Window length, odd.
    """
    traces = np.ascontiguousarray(traces)  # scipy's rank filter loses its result where a row is strided
    baseline = np.empty(traces.shape, traces.dtype)
    for trace, row in zip(traces, baseline, strict=True):
        percentile_filter(trace, percentile, size=frames, mode=edge, output=row)
    return baseline


def decimated_percentile(
    traces: np.ndarray, frames: int, percentile: float, every: int, edge: Edge = "reflect"
) -> np.ndarray:
    """Return the rolling percentile over every k-th frame, interpolated linearly between; the last value is held.

    Parameters
    ----------
    traces
        Fluorescence, shape (trace, time).
    frames
        Window length in frames before decimation.
    every
        k; 1 is exact.
    """
    if every == 1:
        return rolling_percentile(traces, frames, percentile, edge)
    knots = rolling_percentile(traces[:, ::every], _odd(frames / every), percentile, edge)
    left, rest = np.divmod(np.arange(traces.shape[1]), every)
    right = np.minimum(left + 1, knots.shape[1] - 1)
    return knots[:, left] + (knots[:, right] - knots[:, left]) * (rest / every)


def maximin(traces: np.ndarray, frames: int, sigma: float, edge: Edge = "reflect") -> np.ndarray:
    """Return the rolling maximum of the rolling minimum of each smoothed trace.

    Parameters
    ----------
    traces
        Fluorescence, shape (trace, time).
    frames
        Window length of minimum and maximum, odd.
    sigma
        Standard deviation of the Gaussian, in frames.
    """
    smooth = gaussian_filter1d(traces, sigma, axis=1, mode=edge, truncate=TRUNCATE)
    return maximum_filter1d(minimum_filter1d(smooth, frames, axis=1, mode=edge), frames, axis=1, mode=edge)


def _odd(frames: float) -> int:
    return max(1, 2 * round((frames - 1) / 2) + 1)


class Dff(Step):
    """Relative change of fluorescence about a rolling baseline.

    ΔF/F(t) = (F(t) - F0(t)) / D(t), where F0 is the rolling baseline of the input and D the same baseline of `f0_from`
    (D = F0 unless that is given). The baseline is a rolling percentile, or `maximin`: Gaussian smoothing, rolling
    minimum, rolling maximum (Pachitariu et al., bioRxiv 061507, 2017). The window counts frames: it runs across gaps
    in the frame times, with a warning. Pixels outside the brain become 0.
    """

    Params = DffParams
    params: DffParams
    citation = (
        "Pachitariu et al., Suite2p: beyond 10,000 neurons with standard two-photon microscopy, bioRxiv 061507 (2017)"
    )

    @property
    def requires(self) -> tuple[str, ...]:
        """The fluorescence, and the variable whose baseline divides."""
        denominator = self.params.f0_from
        return (self.params.input,) if denominator in (None, self.params.input) else (self.params.input, denominator)

    @property
    def provides(self) -> tuple[str, ...]:
        """ΔF/F."""
        return (self.params.output,)

    def apply(self, workspace: Workspace) -> None:
        """Compute tile by tile and block by block; the result does not depend on how the movie is cut."""
        p = self.params
        frames = self._frames(workspace)
        same_shape(workspace, p.input, self.requires[-1], "dff")
        found = [scan(workspace, name, p.nan, "dff") for name in self.requires]
        warn_gaps(workspace, "dff")
        source = workspace[p.input]
        mask, broken, floor = inside(workspace, source), found[0].broken | found[-1].broken, found[-1].scale * p.floor
        low = np.zeros(mask.shape, dtype=bool)
        target = workspace.create(p.output, p.input, "ΔF/F", "dff", baseline=p.method, window_frames=frames)
        keys = [
            (block, tile)
            for tile in tiles(source)
            for block in blocks(source, self._halo(frames, workspace), p.decimate)
        ]
        for done, (block, tile) in enumerate(keys, start=1):
            values, bad = self._block(workspace, block, tile, mask[tile] & ~broken[tile], floor[tile])
            values[:, broken[tile]] = np.nan
            target[(block.keep, *tile)] = values
            low[tile] |= bad
            workspace.progress(done / len(keys))
        self._report(low, broken, source)

    def _frames(self, workspace: Workspace) -> int:
        """Return the window in frames, odd."""
        p, available, rate = self.params, workspace[self.params.input].shape[0], workspace.rate_hz
        frames = _odd(p.window * rate)
        if frames > available or p.window * rate < 2:
            raise DataError(
                f"dff: a window of {p.window:g} s does not suit this recording.",
                f"It has {available} frames at {rate:g} Hz, {available / rate:g} s; the window needs 2 frames at least.",
                f"Check the rate (--fs), or set it between: --set dff.window={max(available / rate / 4, 3 / rate):.3g}",
            )
        return frames

    def _halo(self, frames: int, workspace: Workspace) -> int:
        """Return how many frames on each side a baseline value depends on."""
        p = self.params
        if p.method == "maximin":
            return 2 * (frames // 2) + math.ceil(TRUNCATE * p.sigma * workspace.rate_hz) + 1
        return frames // 2 if p.decimate == 1 else (_odd(frames / p.decimate) // 2 + 2) * p.decimate

    def _block(
        self, workspace: Workspace, block: Block, tile: tuple[slice, ...], mask: np.ndarray, floor: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return ΔF/F, float32, shape (time, *tile), and which entries fell below the floor, bool, shape (*tile)."""
        signal = np.asarray(workspace[self.params.input][(block.read, *tile)])
        divisor = np.asarray(workspace[self.requires[-1]][(block.read, *tile)]) if len(self.requires) > 1 else signal
        values = np.zeros((block.keep.stop - block.keep.start, mask.size), dtype=np.float32)
        low = np.zeros(mask.size, dtype=bool)
        chosen = np.flatnonzero(mask)
        for some in np.array_split(chosen, -(-chosen.size // ROWS)) if chosen.size else []:
            trace = _rows(signal, some)
            f0 = self._baseline(trace, workspace)[:, block.inner]
            below = f0 if divisor is signal else self._baseline(_rows(divisor, some), workspace)[:, block.inner]
            bad = (below <= floor.ravel()[some, None]) | (below <= 0)
            low[some] = bad.any(axis=1)
            values[:, some] = np.divide(trace[:, block.inner] - f0, below, out=np.full(f0.shape, np.nan), where=~bad).T
        return values.reshape(-1, *mask.shape), low.reshape(mask.shape)

    def _baseline(self, traces: np.ndarray, workspace: Workspace) -> np.ndarray:
        p, frames = self.params, _odd(self.params.window * workspace.rate_hz)
        if p.method == "maximin":
            return maximin(traces, frames, p.sigma * workspace.rate_hz, p.edge)
        return decimated_percentile(traces, frames, p.percentile, p.decimate, p.edge)

    def _report(self, low: np.ndarray, broken: np.ndarray, source: zarr.Array) -> None:
        """Refuse or log what could not be divided, and log what was NaN already."""
        what = noun(source)
        if broken.any():
            LOGGER.warning("dff: %d %s have NaN frames and become NaN.", broken.sum(), what)
        if not low.any():
            return
        if self.params.guard == "error":
            raise DataError(
                f"dff: the baseline is near zero or negative in {low.sum()} of {low.size} {what}.",
                f"F0 must exceed {self.params.floor:g} of the mean absolute fluorescence.",
                "Divide by the trace before subtraction (--set dff.f0_from=fluorescence), mask (--brain), or --set dff.guard=nan",
            )
        LOGGER.warning("dff: %d of %d %s have frames without a usable baseline, set to NaN.", low.sum(), low.size, what)

    def methods(self) -> str:
        """Return one sentence for a methods section."""
        p = self.params
        how = (
            f"the {p.percentile:g}th percentile in a rolling window of {p.window:g} s"
            if p.method == "percentile"
            else f"the rolling maximum of the rolling minimum (window {p.window:g} s) after Gaussian smoothing (SD {p.sigma:g} s)"
        )
        divisor = f", divided by the same baseline of '{p.f0_from}'" if p.f0_from not in (None, p.input) else ""
        return f"ΔF/F of '{p.input}' was computed about a baseline F0, {how}{divisor}."


def _rows(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return chosen entries as contiguous float64 traces, shape (entry, time)."""
    return np.ascontiguousarray(values.reshape(values.shape[0], -1)[:, chosen].T, dtype=np.float64)
