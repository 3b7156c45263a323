"""How late deconvolved events are after spikes, learnt from cells recorded both ways; no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from neurodyn.calcium.spike_inputs import Scaled
from neurodyn.calcium.spike_network import averaged, averaged_frames
from neurodyn.calcium.spike_timing import lag
from neurodyn.training.spike_cells import TruthCell


def events_delay(cells: Sequence[TruthCell]) -> tuple[float, float]:
    """Return how late events are after spikes, s: slope over the trace's similarity with itself, and at none.

    A straight line through the cells, by least squares; every dataset weighs the same. Traces that change slowly are of
    indicators that rise slowly. (0, 0) where no cell tells.
    """
    told = [(cell.dataset, *one) for cell in cells for one in _told(cell)]
    if not told:
        return 0.0, 0.0
    names, similar, delays = zip(*told, strict=True)
    weights = np.sqrt([1 / names.count(name) for name in names])
    line = np.stack([similar, np.ones(len(names))], axis=1)
    slope, at_none = np.linalg.lstsq(line * weights[:, None], delays * weights, rcond=None)[0]
    return float(slope), float(at_none)


def _told(cell: TruthCell) -> Iterator[tuple[float, float]]:
    """Yield a cell's similarity with itself and its events' delay, s; nothing where it is constant or too short."""
    every, rate = averaged_frames(cell.rate_hz)
    scaled = Scaled.of([averaged(part.dff, every) for part in cell.stretches], rate)
    if scaled is None:
        return
    fired = [
        np.histogram(part.spikes, np.arange(events.shape[1] + 1) / rate)[0].astype(float)
        for part, events in zip(cell.stretches, scaled.events, strict=True)
    ]
    found = lag([events.mean(axis=0) for events in scaled.events], fired, rate)
    if found is not None and any(part.any() for part in fired):
        yield float(scaled.similar.mean()), found
