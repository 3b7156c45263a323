"""Butterworth bands over time, applied to two channels tile by tile and block by block."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import zarr
from pydantic import Field
from scipy.signal import butter, sosfilt, sosfilt_zi, sosfiltfilt

from neurodyn.core.config import Params
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.recording import Recording
from neurodyn.preprocess.base import Workspace
from neurodyn.preprocess.tiles import Block, blocks, inside, read, tiles
from neurodyn.preprocess.timeline import Timeline

LOGGER = logging.getLogger(__name__)

PADDING = 50
FADED = 1e-9
BUDGET = 192 * 2**20
ROWS = 64


class BandParams(Params):
    """The band that two channels are compared in."""

    highpass: float | None = Field(
        default=None, gt=0, description="cut-off of a Butterworth high-pass of both channels, Hz (default: none)"
    )
    highpass_order: int = Field(default=2, ge=1, le=8, description="order of the high-pass")
    lowpass: float | None = Field(
        default=None,
        gt=0,
        description="cut-off of a Butterworth low-pass, Hz; none is applied where it is not below half of the rate",
    )
    lowpass_order: int = Field(default=2, ge=1, le=8, description="order of the low-pass")
    lowpass_both: bool = Field(default=False, description="low-pass the signal as well, not the reference alone")
    phase: Literal["causal", "zero"] = Field(
        default="causal", description="filter forward in time, or forward and backward so that nothing is delayed"
    )


@dataclass(frozen=True)
class Piece:
    """Two channels in one piece of space and time, without their means, each shape (time, *space).

    Parameters
    ----------
    key
        (time, *space) slices.
    signal, reference
        As they are.
    signal_band, reference_band
        Inside the band; the same arrays where there is no filter.
    """

    key: tuple[slice, ...]
    signal: np.ndarray
    reference: np.ndarray
    signal_band: np.ndarray
    reference_band: np.ndarray


class Band:
    """A band for a signal and its reference.

    Parameters
    ----------
    params
        Cut-offs, orders, phase.
    rate_hz
        Frames per second.
    step
        The step that asks, for messages.

    Raises
    ------
    ConfigError
        If the high-pass does not lie below half of the rate, or not below the low-pass.
    """

    def __init__(self, params: BandParams, rate_hz: float, step: str) -> None:
        high, low, nyquist = params.highpass, params.lowpass, rate_hz / 2
        if high is not None and high >= min(nyquist, low or nyquist):
            raise ConfigError(
                f"{step}: a high-pass of {high:g} Hz is not possible.",
                f"The rate is {rate_hz:g} Hz, so it must lie below {min(nyquist, low or nyquist):g} Hz.",
                f"Lower it: --set {step}.highpass=0.1",
            )
        self.zero_phase, self.step, self.highpass = params.phase == "zero", step, high
        if low is not None and low >= nyquist:
            LOGGER.info("%s: no low-pass, because %g Hz is not below half of the rate (%g Hz).", step, low, nyquist)
            low = None
        upper = [_sections(params.highpass_order, high, "highpass", rate_hz)] if high else []
        lower = [_sections(params.lowpass_order, low, "lowpass", rate_hz)] if low else []
        chosen = (upper + lower * params.lowpass_both, upper + lower)
        self.sections = tuple(np.concatenate(parts) if parts else None for parts in chosen)

    @property
    def open(self) -> bool:
        """Nothing is filtered."""
        return all(sections is None for sections in self.sections)

    @property
    def halo(self) -> int:
        """Frames after which a zero-phase filter has forgotten 1 - 10⁻⁹ of an impulse."""
        poles = [np.abs(np.roots(row[3:])).max() for s in self.sections if s is not None for row in s]
        return math.ceil(math.log(FADED) / math.log(max(poles))) if poles else 0

    def pieces(
        self,
        workspace: Workspace,
        names: tuple[str, str],
        means: list[np.ndarray],
        part: int = 0,
        parts: int = 1,
        whole: bool = False,
    ) -> Iterator[Piece]:
        """Yield both channels piece by piece, each tile from its first frame to its last, and report progress.

        Nothing is filtered across a gap in the frame times: every stretch between gaps begins anew.

        Parameters
        ----------
        names
            Signal and reference.
        means
            Mean over time of each, shape (*space).
        part, parts
            Which of how many passes this is.
        whole
            Do not cut space: for a few hundred time courses that are needed together.
        """
        signal = workspace[names[0]]
        halo = self.halo if self.zero_phase else 0
        spaces = [tuple(slice(0, n) for n in signal.shape[1:])] if whole else _spaces(signal, halo)
        keys = [(block, tile) for tile in spaces for block in self._blocks(workspace, signal, halo)]
        if part == 0 and self.highpass:
            self._warn_short(workspace)
        state: list[Any] = [None, None]
        for done, (block, tile) in enumerate(keys, start=1):
            if block.keep.start in self.begins:
                state = [None, None]
            plain, passed = zip(
                *(self._channel(workspace, names[k], k, means[k], (block, tile), state) for k in range(2)), strict=True
            )
            yield Piece((block.keep, *tile), *plain, *passed)
            del plain, passed  # so that two pieces are never held at once
            workspace.progress((part + done / len(keys)) / parts)

    def _warn_short(self, workspace: Workspace) -> None:
        """Say where the recording is too short between gaps for the slowest frequency that passes."""
        frames = np.diff(Timeline.of(workspace.time, workspace.rate_hz, "restart", 0).stretches, axis=1)[:, 0]
        needed = math.ceil(workspace.rate_hz / (self.highpass or math.inf))
        if (frames < needed).any():
            LOGGER.warning(
                "%s: %d of %d stretches between gaps are shorter than one period of the high-pass (%g Hz, %d frames), the "
                "shortest has %d frames; what they hold below it cannot be told from their mean.",
                *(self.step, (frames < needed).sum(), frames.size, self.highpass, needed, frames.min()),
            )

    def _blocks(self, workspace: Workspace, signal: zarr.Array, halo: int) -> list[Block]:
        """Cut blocks of time where a filter must not go on: at gaps in the frame times."""
        whole = blocks(signal, halo)
        self.begins = {0}
        if self.open:
            return whole
        stretches = Timeline.of(workspace.time, workspace.rate_hz, "restart", 0).stretches
        self.begins = {start for start, _ in stretches}
        return [
            Block(
                slice(max(block.keep.start, start), min(block.keep.stop, stop)),
                slice(max(block.read.start, start), min(block.read.stop, stop)),
            )
            for block in whole
            for start, stop in stretches
            if block.keep.start < stop and start < block.keep.stop
        ]

    def _channel(
        self,
        workspace: Workspace,
        name: str,
        which: int,
        mean: np.ndarray,
        at: tuple[Block, tuple[slice, ...]],
        state: list[Any],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return one channel as it is and inside the band, float64, each shape (time, *tile)."""
        block, tile = at
        array, sections = workspace[name], self.sections[which]
        values = read(array, (block.read, *tile), inside(workspace, array))
        values -= mean[tile]
        if sections is None:
            return values[block.inner], values[block.inner]
        if self.zero_phase:
            return values[block.inner], _both_ways(sections, values)[block.inner]
        passed, state[which] = _forward(sections, values, state[which])
        return values, passed


def check_band(params: BandParams, recording: Recording, step: str) -> None:
    """Refuse a band that the frame rate or the length of a recording rules out.

    Raises
    ------
    DataError
        If the recording is shorter than one period of the high-pass.
    ConfigError
        If the high-pass does not lie below half of the rate, or not below the low-pass.
    """
    Band(params, recording.rate_hz, step)
    seconds = recording.time.size / recording.rate_hz
    if params.highpass is not None and params.highpass * seconds < 1:
        raise DataError(
            f"{step}: a high-pass of {params.highpass:g} Hz does not suit this recording.",
            f"It lasts {seconds:.4g} s; one period of the cut-off is {1 / params.highpass:.4g} s.",
            f"Raise it (--set {step}.highpass={2 / seconds:.2g}), or filter nothing: --chain widefield",
        )


def _sections(order: int, cutoff: float, kind: str, rate_hz: float) -> np.ndarray:
    """Return a Butterworth filter as second-order sections, shape (section, 6)."""
    return np.asarray(butter(order, cutoff, kind, fs=rate_hz, output="sos"))


def _spaces(array: zarr.Array, halo: int) -> list[tuple[slice, ...]]:
    """Cut a frame into the array's tiles, and those into rows where the halo makes the blocks long."""
    frames = min(array.shape[0], 6 * halo + array.chunks[0])
    result = []
    for tile in tiles(array):
        across = math.prod(s.stop - s.start for s in tile[1:])
        rows = max(1, BUDGET // (8 * frames * across)) if halo else array.shape[1]
        first = tile[0]
        result += [
            (slice(start, min(start + rows, first.stop)), *tile[1:]) for start in range(first.start, first.stop, rows)
        ]
    return result


def _forward(sections: np.ndarray, values: np.ndarray, state: Any) -> tuple[np.ndarray, Any]:
    """Filter a block forward in time, going on from the state that the previous block left.

    Parameters
    ----------
    values
        Shape (time, *space).
    state
        None at the first block: the filter starts as if the first frame had lasted forever.
    """
    if state is None:
        start = sosfilt_zi(sections)
        state = start.reshape(*start.shape, *(1,) * (values.ndim - 1)) * values[:1]
    return sosfilt(sections, values, axis=0, zi=state)


def _both_ways(sections: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Filter forward and backward, a few traces at a time; the ends are continued by 50 mirrored frames."""
    flat = values.reshape(values.shape[0], -1)
    passed = np.empty_like(flat)
    padding = min(PADDING, values.shape[0] - 1)
    for start in range(0, flat.shape[1], ROWS):
        some = slice(start, start + ROWS)
        passed[:, some] = sosfiltfilt(sections, flat[:, some].T, axis=1, padlen=padding).T
    return passed.reshape(values.shape)
