"""Expected spikes from ΔF/F by a supervised network: one set of weights for every frame rate; only numpy computes here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurodyn.calcium.spike_inputs import Scaled, finite_parts, surround
from neurodyn.calcium.spike_timing import beside_events
from neurodyn.core.errors import DataError

OFFSETS = (-0.6, -0.2, -0.07, 0.0, 0.07, 0.2, 0.6)
"""Where a layer looks at the one below, s from a frame's middle."""
FASTEST = 60.0
"""Frames per second at most; faster recordings are averaged over so many frames that fewer come."""
SLOWEST = 4.0
CALIBRATION = 60.0
"""How much of a recording tells noise and amplitude where nothing later may be seen, s."""
BLOCK = 8192  # frames at a time; smaller ones have threads wait for each other, larger ones leave the cache


@dataclass(frozen=True)
class Layer:
    """One linear map.

    Parameters
    ----------
    weight
        float32, shape (input, output); the last `CONTEXT` inputs are what is known of the whole cell.
    bias
        float32, shape (output,).
    """

    weight: np.ndarray
    bias: np.ndarray

    def of_cell(self, context: np.ndarray) -> Layer:
        """Return the layer with what is known of a cell in its bias."""
        return Layer(self.weight[: -context.size], self.bias + context @ self.weight[-context.size :])

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Map values, shape (time, input), onto shape (time, output)."""
        return values @ self.weight + self.bias


@dataclass(frozen=True)
class SpikeNetwork:
    """Networks whose mean answer is the expected number of spikes.

    Each sees a frame's surround as averages over intervals in seconds, in units of the noise's density, so that it knows
    no frames and one set of weights serves every rate; what tells cells apart (noise, rate, amplitude, how the trace's
    correlation falls off) enters every layer. Layers are joined by values at fixed times before and after, interpolated
    between frames.

    Parameters
    ----------
    members
        Layers of each network, first to last.
    share
        How much of the answer is what deconvolution says by itself, at most: it holds where the network has seen
        nothing alike.
    delay
        How late deconvolved events are after spikes, s: slope over the trace's similarity with itself, and at none.
    spread
        How far expected rates have been off in datasets that were left out; None where nobody has looked.
    lookahead
        How far a frame sees ahead, s; None: as far as there is anything.

    Source: supervised inference from simultaneous recordings after Rupprecht et al., Nat Neurosci 24, 1324 (2021).
    """

    members: tuple[tuple[Layer, ...], ...]
    share: float
    delay: tuple[float, float] = (0.0, 0.0)
    spread: RateSpread | None = None
    lookahead: float | None = None

    def expected(self, stretches: Sequence[np.ndarray], rate_hz: float) -> list[np.ndarray]:
        """Return the expected number of spikes of one cell in each frame, a float32 array for each stretch.

        With a lookahead, noise and amplitude are told by the first minute, and are the only thing a frame knows of what
        comes later than that.

        Parameters
        ----------
        stretches
            ΔF/F of stretches without gaps, all finite, each shape (time,).
        rate_hz
            Frames per second.

        Raises
        ------
        DataError
            If there are fewer frames per second than the network learnt.
        """
        check_rate(rate_hz)
        every, rate = averaged_frames(rate_hz)
        coarse = [averaged(stretch, every) for stretch in stretches]
        cell = self.scaled(coarse, rate) if stretches else None
        if cell is None:
            return [np.zeros(stretch.size, dtype=np.float32) for stretch in stretches]
        found = [self.rates(cell, place, slice(0, trace.size)) for place, trace in enumerate(cell.stretches)]
        if self.share and self.lookahead is None:
            found = beside_events(cell, found, self.share, self.delay)
        return [
            np.repeat(one / np.float32(rate_hz), every)[: stretch.size]
            for one, stretch in zip(found, stretches, strict=True)
        ]

    def scaled(self, stretches: Sequence[np.ndarray], rate_hz: float) -> Scaled | None:
        """Return a cell as the network sees it, shape (time,) each; None where it is constant."""
        if self.lookahead is None:
            return Scaled.of(stretches, rate_hz)
        known = Scaled.of(_first(stretches, round(CALIBRATION * rate_hz)), rate_hz, self.lookahead)
        return known.like(stretches) if known else None

    def rates(self, cell: Scaled, place: int, frames: slice) -> np.ndarray:
        """Return the expected spikes per second in some frames of one stretch, float32, shape (time,)."""
        bound = [tuple(layer.of_cell(cell.context) for layer in member) for member in self.members]
        scale = np.float32(self.spread.scale if self.spread else 1.0)
        return scale * np.mean([_rates(cell, place, frames, member, self.offsets) for member in bound], axis=0)

    @property
    def offsets(self) -> tuple[float, ...]:
        """Where a layer looks at the one below, s; only back where there is a lookahead, which the first layer uses up."""
        return OFFSETS if self.lookahead is None else tuple(offset for offset in OFFSETS if offset <= 0)


@dataclass(frozen=True)
class RateSpread:
    """How far expected rates are off in a dataset that is not trained on.

    Parameters
    ----------
    scale
        Spikes fired for each one that the network expects, median over datasets; the answer is multiplied by it.
    absolute
        Natural logarithm of the factor within which, either way, nine in ten rates were.
    relative
        The same of rates over the median rate of their recording.
    """

    scale: float
    absolute: float
    relative: float


def averaged_frames(rate_hz: float) -> tuple[int, float]:
    """Return how many frames are averaged so that they come no faster than `FASTEST`, and how fast they come then, Hz."""
    every = max(1, math.ceil(rate_hz / FASTEST))
    return every, rate_hz / every


def _first(stretches: Sequence[np.ndarray], frames: int) -> list[np.ndarray]:
    """Return the first frames of several stretches; of each what is left to it."""
    ends = np.cumsum([0, *(stretch.size for stretch in stretches)])
    kept = [stretch[: max(0, frames - int(end))] for stretch, end in zip(stretches, ends, strict=False)]
    return [stretch for stretch in kept if stretch.size]


def check_rate(rate_hz: float) -> None:
    """Refuse recordings with fewer frames per second than the network has learnt.

    Raises
    ------
    DataError
        With the range.
    """
    if rate_hz < SLOWEST:
        raise DataError(
            f"spike_network: {rate_hz:.3g} frames per second are too few.",
            f"The network has learnt from {SLOWEST:g} to {FASTEST:g} Hz (what is faster is averaged).",
            "Deconvolve instead: --chain spikes-oasis (or traces-oasis, two-photon-oasis)",
        )


def averaged(trace: np.ndarray, every: int) -> np.ndarray:
    """Return means over so many frames each, float64; the last one is of the frames that are left, held."""
    wide = np.pad(trace.astype(np.float64), (0, -trace.size % every), mode="edge")
    return wide.reshape(-1, every).mean(axis=1)


def around_gaps(network: SpikeNetwork, trace: np.ndarray, starts: np.ndarray, rate_hz: float) -> np.ndarray:
    """Return the expected spikes of one trace, each stretch between gaps and NaN frames by itself; NaN stays NaN.

    Parameters
    ----------
    trace
        ΔF/F, shape (time,).
    starts
        First frame of every stretch without a gap in the frame times.
    """
    out, parts = np.full(trace.size, np.nan, dtype=np.float32), finite_parts(trace, starts)
    for part, spikes in zip(parts, network.expected([trace[part] for part in parts], rate_hz), strict=True):
        out[part] = spikes
    return out


def _rates(
    cell: Scaled, place: int, frames: slice, layers: tuple[Layer, ...], offsets: tuple[float, ...]
) -> np.ndarray:
    """Return the expected spikes per second in some frames of one stretch by one network, float32, shape (time,)."""
    size, (first, *more, last) = cell.stretches[place].size, layers
    halo = math.ceil(len(more) * OFFSETS[-1] * cell.rate_hz) + 2 * len(more)
    out = np.empty(frames.stop - frames.start, dtype=np.float32)
    for start in range(frames.start, frames.stop, BLOCK):
        stop = min(start + BLOCK, frames.stop)
        read = slice(max(0, start - halo), min(size, stop + halo))
        hidden = [np.maximum(first(surround(cell, place, read)), 0)]
        for layer in more:
            hidden.append(np.maximum(_across(layer, hidden[-1], cell.rate_hz, offsets), 0))
        inner = slice(start - read.start, stop - read.start)
        answer = last(np.concatenate([each[inner] for each in hidden], axis=1))[:, 0]
        out[start - frames.start : stop - frames.start] = np.logaddexp(0, answer)
    return out


def _across(layer: Layer, values: np.ndarray, rate_hz: float, offsets: tuple[float, ...]) -> np.ndarray:
    """Return a layer's map of values at the offsets around each frame, shape (time, output); the ends are held.

    Offset by offset: values side by side would leave the processor's cache.
    """
    size, width = values.shape
    pad = math.ceil(OFFSETS[-1] * rate_hz) + 1
    held = np.pad(values, ((pad, pad), (0, 0)), mode="edge")
    out = np.tile(layer.bias, (size, 1))
    for place, offset in enumerate(offsets):
        whole, part = divmod(offset * rate_hz, 1)
        begin, weight = pad + int(whole), layer.weight[place * width : (place + 1) * width]
        out += held[begin : begin + size] @ (np.float32(1 - part) * weight)
        if part:
            out += held[begin + 1 : begin + 1 + size] @ (np.float32(part) * weight)
    return out
