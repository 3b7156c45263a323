"""Training the spike network: the same numbers as inference, and better than OASIS on a dataset it has not seen."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from neurodyn.calcium import spike_network
from neurodyn.calcium.spike_inputs import Scaled, surround
from neurodyn.calcium.spike_network import SpikeNetwork
from neurodyn.compiled.nnls import nonnegative_spikes
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.metrics.spike_inference import paired_bins, pearson
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.read import read
from neurodyn.training.spike_cells import SpikeTraining, Stretch, TruthCell, cells_of
from neurodyn.training.spike_delay import events_delay
from neurodyn.training.spike_network import SpikeModule, resampled, trained
from neurodyn.training.spike_spread import rate_spread, together

SMALL = SpikeTraining(width=12, members=1, steps=150, batch=4, seconds=30.0)


def simulated(dataset: str, seed: int, rate: float = 20.0) -> TruthCell:
    rng = np.random.default_rng(seed)
    spikes = np.sort(rng.uniform(0, 100, 80))
    time = (np.arange(2000) + 0.5) / rate
    after = time[:, None] - spikes
    dff = (np.exp(-np.maximum(after, 0) / 0.6) * (after > 0)).sum(axis=1) * 0.2 + 0.05 * rng.normal(size=time.size)
    return TruthCell(dataset, (Stretch(dff, spikes),), rate)


@pytest.mark.parametrize("lookahead", [None, 0.1])
@pytest.mark.parametrize("rate", [7.5, 20.0, 41.3])
def test_torch_and_numpy_compute_the_same(rate, lookahead):
    torch.manual_seed(1)
    module = SpikeModule(12, 2, lookahead)
    trace = simulated("a", 0).stretches[0].dff[: round(spike_network.CALIBRATION * rate)]
    seen = Scaled.of([trace], rate, lookahead)
    inputs = torch.from_numpy(surround(seen, 0, slice(0, trace.size)))[None]
    with torch.no_grad():
        expected = module(inputs, torch.from_numpy(seen.context)[None], rate)[0].numpy() / rate
    found = SpikeNetwork((module.exported(),), 0.0, lookahead=lookahead).expected([trace], rate)[0]
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-5)


def test_resampling_keeps_the_mean_and_every_spike():
    part = simulated("a", 0).stretches[0]
    values, counts = resampled(part, 20.0, 7.3, 1.0, 0.0, 1e9, np.random.default_rng(0))
    frames = values.size
    assert counts.sum() == np.sum(part.spikes < frames / 7.3)
    assert values.mean() == pytest.approx(part.dff[: int(frames / 7.3 * 20)].mean(), rel=0.02)


def test_the_same_seed_gives_the_same_weights_and_a_start_is_taken():
    cells = [simulated(name, seed) for seed, name in enumerate("aabbc")]
    config = SMALL.model_copy(update={"steps": 3})
    first, again = (trained(cells, config) for _ in range(2))
    trace = cells[0].stretches[0].dff
    np.testing.assert_array_equal(first.expected([trace], 20.0)[0], again.expected([trace], 20.0)[0])
    tuned = trained(cells, config.model_copy(update={"lr": 1e-9}), first)
    np.testing.assert_allclose(tuned.expected([trace], 20.0)[0], first.expected([trace], 20.0)[0], rtol=1e-4)
    with pytest.raises(ConfigError, match="another shape"):
        trained(cells, config.model_copy(update={"width": 8}), first)
    with pytest.raises(DataError, match="nothing to train"):
        trained([], config)


def test_two_datasets_teach_more_about_a_third_than_oasis_knows(shared_data):
    root = shared_data / "spike_training"
    files = {name: sorted(next(root.glob(f"{name}-*")).glob("*.mat"))[:4] for name in ("DS16", "DS15", "DS17")}
    cells = {
        name: [cell for path in paths for cell in cells_of(read(path, ReadOptions(), "cascade"))]
        for name, paths in files.items()
    }
    network = trained([*cells["DS16"], *cells["DS15"]], SMALL)
    both = [
        (score(network.expected([part.dff for part in cell.stretches], cell.rate_hz), cell), score(oasis(cell), cell))
        for cell in cells["DS17"]
    ]
    ours, theirs = np.mean(both, axis=0)
    assert ours > theirs + 0.03


def oasis(cell: TruthCell) -> list[np.ndarray]:
    start = np.zeros(1, dtype=np.int64)
    return [nonnegative_spikes(part.dff[None].astype("f4"), 1.0, cell.rate_hz, start, 1)[0] for part in cell.stretches]


def score(found: list[np.ndarray], cell: TruthCell) -> float:
    """r at 7.5 Hz, as evaluation has it."""
    frame = 1 / cell.rate_hz
    return pearson(
        [
            paired_bins(spikes, (np.arange(spikes.size) + 0.5) * frame, frame, part.spikes, 7.5, 0.2)
            for spikes, part in zip(found, cell.stretches, strict=True)
        ]
    )


def test_events_that_come_late_are_dated_earlier():
    def late(seconds: float) -> list[TruthCell]:
        cells = [simulated("a", seed) for seed in range(3)]
        return [
            replace(each, stretches=(replace(each.stretches[0], spikes=each.stretches[0].spikes - seconds),))
            for each in cells
        ]

    early, later = (events_delay(late(seconds)) for seconds in (0.0, 0.05))
    similar = Scaled.of([simulated("a", 0).stretches[0].dff], 20.0).similar.mean()
    delays = [slope * similar + at_none for slope, at_none in (early, later)]
    assert delays[1] - delays[0] == pytest.approx(0.05, abs=0.01)
    assert events_delay([TruthCell("a", (Stretch(np.ones(100), np.empty(0)),), 20.0)]) == (0.0, 0.0)


def test_rates_of_datasets_left_out_give_scale_and_intervals():
    cells = [simulated(str(seed // 2), seed) for seed in range(24)]
    misses = [math.log(2) + 0.1 * (seed // 2 - 5.5) + (0.01 if seed % 2 else -0.01) for seed in range(24)]
    spread = rate_spread(cells, misses)
    assert spread.scale == pytest.approx(2, rel=0.01)
    assert spread.absolute == pytest.approx(0.56)
    assert spread.relative == pytest.approx(0.01)


def test_datasets_that_share_a_cell_are_left_out_together():
    assert together([simulated("a", 0), simulated("b", 1), simulated("c", 0)]) == [{"a", "c"}, {"b"}]
    config = SMALL.model_copy(update={"steps": 2, "folds": 2})
    cells = [simulated(name, seed) for seed, name in enumerate("aabbc")]
    found = trained(cells, config).spread
    assert math.isinf(found.absolute)  # of three datasets
    assert 0 < found.scale < 100
    with pytest.raises(ConfigError, match="in 9 parts"):
        trained(cells, config.model_copy(update={"folds": 9}))
