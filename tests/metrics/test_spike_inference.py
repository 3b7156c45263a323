"""Spike inference metrics against closed forms."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from neurodyn.metrics.spike_inference import bin_edges, binned, matched_f1, paired_bins, pearson


def test_edges_are_whole_bins_within_the_times():
    np.testing.assert_allclose(bin_edges(1.0, 2.0, 4.0), [1, 1.25, 1.5, 1.75, 2])
    assert bin_edges(0.0, 0.99, 4.0).size == 4


def test_binning_keeps_the_sum_and_spreads_frames_evenly():
    time = np.array([0.5, 1.5, 2.5])
    np.testing.assert_allclose(binned(np.array([1.0, 2, 4]), time, 1.0, np.array([0, 1.5, 3])), [2, 5])
    np.testing.assert_allclose(binned(np.array([1.0, 2, 4]), time, 1.0, np.arange(7) / 2), [0.5, 0.5, 1, 1, 2, 2])


def test_the_recorded_spikes_themselves_correlate_perfectly():
    rng = np.random.default_rng(0)
    time = (np.arange(3000) + 0.5) / 50
    spikes = np.sort(rng.uniform(0, 60, 200))
    counts = np.histogram(spikes, np.arange(3001) / 50)[0].astype(float)
    for rate, smooth in ((25.0, 0.0), (7.5, 0.2)):
        assert pearson([paired_bins(counts, time, 0.02, spikes, rate, smooth)]) > (0.999 if rate == 25 else 0.99)


def test_smoothing_forgives_what_fast_bins_do_not():
    rng = np.random.default_rng(1)
    time = (np.arange(6000) + 0.5) / 50
    spikes = np.sort(rng.uniform(0, 119, 150))
    late = np.histogram(spikes + 0.08, np.arange(6001) / 50)[0].astype(float)
    fast = pearson([paired_bins(late, time, 0.02, spikes, 25.0)])
    slow = pearson([paired_bins(late, time, 0.02, spikes, 7.5, 0.2)])
    assert fast < 0.1
    assert slow > 0.9


def test_pearson_is_numpys_on_pairs_laid_end_to_end():
    rng = np.random.default_rng(2)
    pairs = [rng.normal(size=(2, n)) for n in (20, 31)]
    assert pearson(pairs) == pytest.approx(np.corrcoef(np.concatenate(pairs, axis=1))[0, 1])
    assert np.isnan(pearson([np.array([[1.0, 1, 1], [0, 1, 2]])]))


def test_discrete_spikes_are_paired_one_with_one():
    recorded = np.array([1.0, 2.0, 2.05, 5.0])
    assert matched_f1(recorded, recorded, 0.1) == 1
    assert matched_f1(np.array([1.05, 2.02, 7.0]), recorded, 0.1) == pytest.approx(2 * 2 / 7)
    assert matched_f1(np.array([0.95, 1.02]), np.array([1.0]), 0.1) == pytest.approx(2 / 3)
    assert matched_f1(np.empty(0), recorded, 0.1) == 0
    assert np.isnan(matched_f1(np.empty(0), np.empty(0), 0.1))


def test_pairs_are_the_most_there_can_be():
    rng = np.random.default_rng(0)
    for _ in range(30):
        found, recorded = (np.sort(rng.uniform(0, 5, size)) for size in rng.integers(1, 12, 2))
        near = np.abs(found[:, None] - recorded) <= 0.2
        most = (maximum_bipartite_matching(csr_array(near)) >= 0).sum()
        assert matched_f1(found, recorded, 0.2) == pytest.approx(2 * most / (found.size + recorded.size))
