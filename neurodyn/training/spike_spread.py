"""How far expected rates are off in datasets that a network has not seen: intervals that hold for a new dataset; no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from neurodyn.calcium.spike_network import RateSpread, SpikeNetwork
from neurodyn.metrics.conformal import grouped_half_width
from neurodyn.training.spike_cells import TruthCell

COVERAGE = 0.9


def together(cells: Sequence[TruthCell]) -> list[set[str]]:
    """Return the datasets in groups, sorted; those that share a cell (the same spikes, often processed twice) are one."""
    groups: list[set[str]] = []
    seen: dict[bytes, str] = {}
    for cell in sorted(cells, key=lambda cell: cell.dataset):
        spikes = np.concatenate([part.spikes for part in cell.stretches])
        twin = seen.setdefault(np.round(spikes, 3).tobytes(), cell.dataset) if spikes.size else cell.dataset
        touched = [group for group in groups if {twin, cell.dataset} & group]
        groups = [group for group in groups if group not in touched] + [{twin, cell.dataset}.union(*touched)]
    return sorted(groups, key=min)


def missed(network: SpikeNetwork, cell: TruthCell) -> float:
    """Return the natural logarithm of spikes fired for each that is expected, half a spike added to both."""
    expected = network.expected([part.dff for part in cell.stretches], cell.rate_hz)
    fired = sum(part.spikes.size for part in cell.stretches)
    return math.log((fired + 0.5) / (sum(float(each.sum()) for each in expected) + 0.5))


def rate_spread(cells: Sequence[TruthCell], misses: Sequence[float]) -> RateSpread:
    """Return scale and intervals of expected rates from cells of datasets that were left out.

    Datasets are what is drawn at random, not cells: nine in ten cells of a dataset never seen are within the interval, on
    average over datasets. With fewer than nine groups of datasets nothing can be said, and the interval is infinite.

    Parameters
    ----------
    misses
        As `missed` gives them, one for each cell.
    """
    groups = [next(place for place, group in enumerate(together(cells)) if cell.dataset in group) for cell in cells]
    found, names = np.array(misses), np.array([cell.dataset for cell in cells])
    medians = {name: float(np.median(found[names == name])) for name in sorted(set(names))}
    centre = float(np.median(list(medians.values())))
    beside = np.abs(found - np.array([medians[name] for name in names]))
    return RateSpread(
        math.exp(centre),
        grouped_half_width(np.abs(found - centre), groups, COVERAGE),
        grouped_half_width(beside, groups, COVERAGE),
    )
