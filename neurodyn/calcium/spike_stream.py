"""Expected spikes while an experiment runs: frames in, spikes out a fixed time later."""

from __future__ import annotations

import math

import numpy as np

from neurodyn.calcium.spike_inputs import BASELINE, EDGES, SLOW, SMOOTH, frames_ahead
from neurodyn.calcium.spike_network import CALIBRATION, OFFSETS, SpikeNetwork, averaged, averaged_frames, check_rate
from neurodyn.core.errors import DataError

REACH = BASELINE + 2 * SMOOTH + SLOW + float(EDGES[-1])
"""How far back a frame sees without what layers look at, s."""


class SpikeStream:
    """Expected spikes of cells whose frames come in one after another, as the whole recording would have them.

    Parameters
    ----------
    network
        With a lookahead: `load(causal=True)`.
    first
        ΔF/F of the first minute, shape (time, roi), finite: it tells noise and amplitude for good. Push it, too.
    rate_hz
        Frames per second.

    Raises
    ------
    DataError
        If the network sees any distance ahead, or frames come too slowly.
    """

    def __init__(self, network: SpikeNetwork, first: np.ndarray, rate_hz: float) -> None:
        check_rate(rate_hz)
        if network.lookahead is None:
            raise DataError(
                "These weights cannot infer from a stream.",
                "They see all that comes later; weights with a lookahead were expected.",
                "Load those that come with neurodyn, load(causal=True), or train some: --set lookahead=0.1",
            )
        self.network, self.rate_hz = network, rate_hz
        self.every, self._rate = averaged_frames(rate_hz)
        head = first[: round(CALIBRATION * self._rate) * self.every]
        self._cells = [network.scaled([averaged(trace, self.every)], self._rate) for trace in head.T]
        self._waiting = np.empty((0, first.shape[1]))
        self._seen = np.empty((0, first.shape[1]))
        self._done = 0  # of the averaged frames that are seen
        back = len(network.members[0]) * -OFFSETS[0]
        self._keep = math.ceil((REACH + back) * self._rate) + 8

    @property
    def late(self) -> int:
        """How many more frames have to come before a frame's spikes are told, at most."""
        return ((frames_ahead(self.network.lookahead, self._rate) or 0) + 1) * self.every - 1

    def push(self, frames: np.ndarray) -> np.ndarray:
        """Take in frames and return the expected spikes of those that are told now, both of shape (time, roi)."""
        waiting = np.concatenate([self._waiting, frames])
        whole = len(waiting) // self.every * self.every
        self._waiting = waiting[whole:]
        fresh = waiting[:whole].reshape(-1, self.every, waiting.shape[1]).mean(axis=1)
        self._seen = np.concatenate([self._seen, fresh])
        return self._told(len(self._seen) - (frames_ahead(self.network.lookahead, self._rate) or 0))

    def close(self) -> np.ndarray:
        """Return the expected spikes of the frames that are left, as if the last one stayed, shape (time, roi)."""
        left = len(self._waiting)
        if left:
            held = np.repeat(self._waiting[-1:], self.every - left, axis=0)
            self._seen = np.concatenate([self._seen, np.concatenate([self._waiting, held]).mean(axis=0)[None]])
        spikes = self._told(len(self._seen))
        return spikes[: len(spikes) - (self.every - left if left else 0)]

    def _told(self, until: int) -> np.ndarray:
        """Return the expected spikes of averaged frames not told before, and forget what no frame sees any more."""
        frames = slice(self._done, max(self._done, until))
        out = np.zeros((frames.stop - frames.start, self._seen.shape[1]), dtype=np.float32)
        if out.size:
            for roi, cell in enumerate(self._cells):
                if cell is not None:
                    out[:, roi] = self.network.rates(cell.like([self._seen[:, roi]]), 0, frames)
        gone = max(0, frames.stop - self._keep)
        self._seen, self._done = self._seen[gone:], frames.stop - gone
        return np.repeat(out / np.float32(self.rate_hz), self.every, axis=0)
