"""Expected spikes from ΔF/F by a supervised network: one set of weights for every frame rate; only numpy computes here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from neurodyn.calcium.spike_inputs import Scaled, finite_parts, surround
from neurodyn.core.errors import DataError

OFFSETS = (-0.6, -0.2, -0.07, 0.0, 0.07, 0.2, 0.6)
"""Where a layer looks at the one below, s from a frame's middle."""
FASTEST = 60.0
"""Frames per second at most; faster recordings are averaged over so many frames that fewer come."""
SLOWEST = 4.0
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
