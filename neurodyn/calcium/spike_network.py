"""Expected spikes from ΔF/F by a supervised network: one set of weights for every frame rate; only numpy computes here."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from neurodyn.core.errors import DataError

HALF = (0.0, 0.02, 0.05, 0.09, 0.15, 0.23, 0.35, 0.5, 0.75, 1.1, 1.6, 2.4, 3.5)
EDGES = np.array([*(-edge for edge in HALF[:0:-1]), *HALF])
"""Borders, s from a frame's middle, of the intervals over which the trace is averaged: finer where they are nearer."""
OFFSETS = (-0.6, -0.2, -0.07, 0.0, 0.07, 0.2, 0.6)
"""Where a layer looks at the one below, s from a frame's middle."""
SLOW = 15.0
"""Half the length, s, of the running mean that says how active the cell is about then."""
BASELINE, SMOOTH = 60.0, 1.0
"""Length of the rolling minimum and maximum, and standard deviation of the Gaussian before them, s."""
FASTEST = 60.0
"""Frames per second at most; faster recordings are averaged over so many frames that fewer come."""
SLOWEST = 4.0
CONTEXT = 8
TAUS = (0.4, 1.2)
"""Decay times, s, with which the trace is deconvolved beforehand, whatever the indicator."""
INPUTS = (2 + len(TAUS)) * (EDGES.size - 1) + 2
LEAST_AMPLITUDE = 3.0  # √Hz; a trace of noise alone reaches about as far
STEP_OF_NOISE = math.sqrt(2) * 0.6745  # median step between neighbouring frames of white noise of standard deviation 1
STILL = 1e-6  # of the largest value: what varies less is rounding
LARGEST = 1000.0  # noise is taken for at least the 99.5th percentile over this: simulations may have none
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
        How much of the answer is what deconvolution says by itself: it holds where the network has seen nothing alike.

    Source: supervised inference from simultaneous recordings after Rupprecht et al., Nat Neurosci 24, 1324 (2021).
    """

    members: tuple[tuple[Layer, ...], ...]
    share: float

    def expected(self, stretches: Sequence[np.ndarray], rate_hz: float) -> list[np.ndarray]:
        """Return the expected number of spikes of one cell in each frame, a float32 array for each stretch.

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
        if not stretches:
            return []
        every = max(1, math.ceil(rate_hz / FASTEST))
        coarse = [_averaged(stretch, every) for stretch in stretches]
        rate = rate_hz / every
        cell = Scaled.of(coarse, rate)
        if cell is None:
            return [np.zeros(stretch.size, dtype=np.float32) for stretch in stretches]
        bound = [tuple(layer.of_cell(cell.context) for layer in member) for member in self.members]
        places = range(len(cell.stretches))
        found = [np.mean([_rates(cell, place, member) for member in bound], axis=0) for place in places]
        found = _joined(found, [_smoothed(cell.events[place].mean(axis=0), rate) for place in places], self.share, rate)
        return [
            np.repeat(one / np.float32(rate_hz), every)[: stretch.size]
            for one, stretch in zip(found, stretches, strict=True)
        ]


def _joined(network: list[np.ndarray], deconvolved: list[np.ndarray], share: float, rate_hz: float) -> list[np.ndarray]:
    """Return what the network expects, a share of it replaced by deconvolved events of the same strength.

    Both vary alike once they are smoothed; the number of spikes stays what the network says.
    """
    if not share:
        return network
    wide = [np.concatenate([_smoothed(each, rate_hz, 0.2) for each in both]).std() for both in (network, deconvolved)]
    total = sum(float(each.sum()) for each in network)
    if not min(wide) or not total:
        return network
    both = [
        (1 - share) * ours / wide[0] + share * theirs / wide[1]
        for ours, theirs in zip(network, deconvolved, strict=True)
    ]
    scale = total / sum(float(each.sum()) for each in both)
    return [np.float32(scale) * each for each in both]


def _smoothed(course: np.ndarray, rate_hz: float, sd: float = 0.1) -> np.ndarray:
    from scipy.ndimage import gaussian_filter1d

    return gaussian_filter1d(course.astype(np.float32), sd * rate_hz)


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


def _averaged(trace: np.ndarray, every: int) -> np.ndarray:
    """Return means over so many frames each, float64; the last one is of the frames that are left, held."""
    wide = np.pad(trace.astype(np.float64), (0, -trace.size % every), mode="edge")
    return wide.reshape(-1, every).mean(axis=1)


@dataclass(frozen=True)
class Scaled:
    """A cell as the network sees it.

    Parameters
    ----------
    stretches
        ΔF/F above its baseline in units of the noise's density, float32, √Hz, each shape (time,).
    events
        Non-negative jumps that with each of `TAUS` explain the stretches best, √Hz, each shape (tau, time).
    amplitude
        How high the trace rises, smoothed over .25 s: the 99.5th percentile above the baseline, √Hz.
    context
        What is told of the whole cell, float32, shape (CONTEXT,): noise, rate, how high the trace rises, and how it
        correlates with itself .3, .6 and 1.2 s later.
    rate_hz
        Frames per second.
    """

    stretches: tuple[np.ndarray, ...]
    events: tuple[np.ndarray, ...]
    amplitude: float
    context: np.ndarray
    rate_hz: float

    @classmethod
    def of(cls, stretches: Sequence[np.ndarray], rate_hz: float) -> Scaled | None:
        """Return a cell's stretches of ΔF/F scaled; None where they are constant."""
        whole = np.concatenate([np.ravel(stretch) for stretch in stretches])
        if np.ptp(whole) <= STILL * np.abs(whole).max(initial=0):
            return None
        above = [stretch - _baseline(stretch, rate_hz) for stretch in stretches]
        density = _noise_density(above, rate_hz)
        if density <= 0:
            return None
        scaled = tuple((stretch / density).astype(np.float32) for stretch in above)
        smooth = np.concatenate([_boxcar(stretch, max(1, round(0.25 * rate_hz))) for stretch in scaled])
        amplitude = max(float(np.percentile(smooth, 99.5)), LEAST_AMPLITUDE)
        events = tuple(_deconvolved(stretch, rate_hz) for stretch in scaled)
        return cls(scaled, events, amplitude, _context(smooth, rate_hz, density), rate_hz)


def _baseline(trace: np.ndarray, rate_hz: float) -> np.ndarray:
    """Return the rolling maximum of the rolling minimum of the smoothed trace, shape (time,)."""
    from scipy.ndimage import gaussian_filter1d, maximum_filter1d, minimum_filter1d  # the module is asked by `inspect`

    frames = max(1, round(BASELINE * rate_hz))
    smooth = gaussian_filter1d(trace, SMOOTH * rate_hz)
    return maximum_filter1d(minimum_filter1d(smooth, frames), frames)


def _deconvolved(trace: np.ndarray, rate_hz: float) -> np.ndarray:
    from neurodyn.compiled.nnls import nonnegative_spikes

    start = np.zeros(1, dtype=np.int64)
    return np.concatenate([nonnegative_spikes(trace[None], tau, rate_hz, start, 1) for tau in TAUS])


def _noise_density(stretches: Sequence[np.ndarray], rate_hz: float) -> float:
    """Return the spectral density of the noise, ΔF/F / √Hz, from the differences of neighbouring frames.

    It is at least a thousandth of the largest values, so that traces without noise have a scale, too; 0 for a constant
    trace.
    """
    steps = np.concatenate([np.abs(np.diff(stretch)) for stretch in stretches])
    level = float(np.median(steps)) / STEP_OF_NOISE if steps.size else 0.0
    return max(level / math.sqrt(rate_hz), float(np.percentile(np.concatenate(stretches), 99.5)) / LARGEST)


def _boxcar(trace: np.ndarray, width: int) -> np.ndarray:
    return np.convolve(trace, np.full(width, 1 / width, dtype=trace.dtype), "valid") if trace.size > width else trace


def _context(smooth: np.ndarray, rate_hz: float, density: float) -> np.ndarray:
    high = [math.asinh(float(value)) / 2 for value in np.percentile(smooth, [50, 90, 99.5])]
    centred = smooth - smooth.mean()
    power = float(np.mean(centred**2)) + 1e-9
    lags = [max(1, round(lag * rate_hz)) for lag in (0.3, 0.6, 1.2)]
    similar = [float(np.mean(centred[lag:] * centred[:-lag])) / power if smooth.size > lag + 5 else 0.0 for lag in lags]
    return np.array([math.log(density / 0.02) / 2, math.log(rate_hz / 25), *high, *similar], dtype=np.float32)


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


def finite_parts(trace: np.ndarray, starts: np.ndarray) -> list[slice]:
    """Return the runs of finite frames that no gap interrupts."""
    finite, borders = np.isfinite(trace), np.zeros(trace.size, dtype=bool)
    borders[starts] = True
    borders[1:] |= finite[1:] != finite[:-1]
    cuts = np.r_[np.flatnonzero(borders), trace.size]
    return [slice(int(a), int(b)) for a, b in itertools.pairwise(cuts) if finite[a]]


def surround(cell: Scaled, place: int, frames: slice) -> np.ndarray:
    """Return what the network sees of each frame, float32, shape (time, INPUTS).

    Averages over the intervals between `EDGES`, as shares of the cell's amplitude and, compressed, in units of the noise;
    and how active the cell is about then.

    Parameters
    ----------
    place
        Which stretch.
    frames
        Which of its frames.
    """
    rate, trace, events = cell.rate_hz, cell.stretches[place], cell.events[place]
    first, last = max(0, frames.start - math.ceil(SLOW * rate) - 2), frames.stop + math.ceil(SLOW * rate) + 2
    at = np.arange(frames.start - first, frames.stop - first)
    means = _means(trace[first:last], at, rate)
    jumps = [_means(each[first:last], at, rate) * (np.diff(EDGES) * rate) for each in events]
    slow = _running(trace[first:last], at, round(SLOW * rate))[:, None]
    wide = np.concatenate([means, slow, *jumps], axis=1, dtype=np.float32)
    near = np.concatenate([means, slow], axis=1) / cell.amplitude
    return np.concatenate([near, _compressed(wide)], axis=1, dtype=np.float32)


def _compressed(values: np.ndarray) -> np.ndarray:
    """Return half the inverse hyperbolic sine; numpy's own takes three times as long as root and logarithm."""
    size = np.abs(values)
    return np.copysign(np.log(size + np.sqrt(size * size + 1)) / 2, values)


def _running(values: np.ndarray, at: np.ndarray, half: int) -> np.ndarray:
    """Return means over so many frames on both sides, as far as there are any."""
    total = np.r_[0.0, np.cumsum(values, dtype=np.float64)]
    low, high = np.maximum(at - half, 0), np.minimum(at + half + 1, values.size)
    return (total[high] - total[low]) / (high - low)


def _means(values: np.ndarray, at: np.ndarray, rate_hz: float) -> np.ndarray:
    """Return means over the intervals between `EDGES` around frames, shape (time, interval); the ends are held."""
    pad = math.ceil(EDGES[-1] * rate_hz) + 2
    total = np.r_[0.0, np.cumsum(np.pad(values, pad, mode="edge"), dtype=np.float64)]
    return np.diff(_until(total, at + pad + 0.5, rate_hz)) / (np.diff(EDGES) * rate_hz)


def _until(total: np.ndarray, middles: np.ndarray, rate_hz: float) -> np.ndarray:
    """Return the integral of the trace up to each edge around each frame, shape (time, edge), linear within a frame."""
    out = np.empty((middles.size, EDGES.size))
    for column, edge in enumerate(EDGES):
        whole, part = divmod(float(middles[0]) + edge * rate_hz, 1)
        begin = int(whole)
        out[:, column] = (1 - part) * total[begin : begin + len(out)] + part * total[begin + 1 : begin + 1 + len(out)]
    return out


def _rates(cell: Scaled, place: int, layers: tuple[Layer, ...]) -> np.ndarray:
    """Return the expected spikes per second of one stretch by one network, float32, shape (time,)."""
    size, (first, *more, last) = cell.stretches[place].size, layers
    halo = math.ceil(len(more) * OFFSETS[-1] * cell.rate_hz) + 2 * len(more)
    out = np.empty(size, dtype=np.float32)
    for start in range(0, size, BLOCK):
        stop = min(start + BLOCK, size)
        read = slice(max(0, start - halo), min(size, stop + halo))
        hidden = [np.maximum(first(surround(cell, place, read)), 0)]
        for layer in more:
            hidden.append(np.maximum(layer(_beside(hidden[-1], cell.rate_hz)), 0))
        inner = slice(start - read.start, stop - read.start)
        answer = last(np.concatenate([each[inner] for each in hidden], axis=1))[:, 0]
        out[start:stop] = np.logaddexp(0, answer)
    return out


def _beside(values: np.ndarray, rate_hz: float) -> np.ndarray:
    """Return values at the offsets around each frame side by side, shape (time, offset * feature); the ends are held."""
    size, width = values.shape
    pad = math.ceil(OFFSETS[-1] * rate_hz) + 1
    held = np.pad(values, ((pad, pad), (0, 0)), mode="edge")
    out = np.empty((size, len(OFFSETS) * width), dtype=np.float32)
    for place, offset in enumerate(OFFSETS):
        whole, part = divmod(offset * rate_hz, 1)
        begin, columns = pad + int(whole), slice(place * width, (place + 1) * width)
        out[:, columns] = np.float32(1 - part) * held[begin : begin + size]
        if part:
            out[:, columns] += np.float32(part) * held[begin + 1 : begin + 1 + size]
    return out


def load(path: Path | None = None) -> SpikeNetwork:
    """Read a network's weights; without a path those that come with neurodyn.

    Raises
    ------
    DataError
        If the file holds no such network.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as parse

    name = path or files("neurodyn.calcium") / "spike_network.safetensors"
    try:
        tensors = parse(name.read_bytes())
        return SpikeNetwork(tuple(_members(tensors)), float(tensors["share"]))
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise DataError(
            f"{name} holds no spike network.",
            f"{type(error).__name__}: {error}",
            "Train one: neurodyn train-spikes GROUND_TRUTH… -o FILE.safetensors",
        ) from error


def save(network: SpikeNetwork, path: Path) -> None:
    """Write a network's weights, .safetensors: MEMBER.LAYER.weight, shape (output, input), and .bias; share."""
    from safetensors.numpy import save_file

    tensors = {"share": np.array(network.share, dtype=np.float32)}
    for member, layers in enumerate(network.members):
        for place, layer in enumerate(layers):
            tensors[f"{member}.{place}.weight"] = np.ascontiguousarray(layer.weight.T)
            tensors[f"{member}.{place}.bias"] = layer.bias
    save_file(tensors, path)


def _members(tensors: dict[str, np.ndarray]) -> Iterator[tuple[Layer, ...]]:
    members = 1 + max(int(name.split(".")[0]) for name in tensors if name.endswith(".weight"))
    for member in range(members):
        count = sum(name.startswith(f"{member}.") for name in tensors) // 2
        names = [f"{member}.{layer}" for layer in range(count)]
        yield tuple(Layer(tensors[f"{name}.weight"].T.copy(), tensors[f"{name}.bias"]) for name in names)
