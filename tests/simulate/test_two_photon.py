"""The two-photon simulator: planted statistics come back out of traces and movies."""

import numpy as np
import pytest

from neurodyn.simulate.two_photon import TwoPhoton, TwoPhotonParams, tuning


def make(**params):
    return TwoPhoton(TwoPhotonParams(**params)).make()


@pytest.fixture(scope="module")
def session():
    return make(cells=40, seed=5)


def shown(recording):
    """Return the direction of every frame, NaN in blanks, shape (time,)."""
    table, label = recording.stimulus, np.full(recording.time.size, np.nan)
    for start, stop, direction in zip(*(table[k].values for k in ("start", "stop", "direction")), strict=True):
        label[(recording.time >= start - 1e-9) & (recording.time < stop - 1e-9)] = direction
    return label


def test_tuning_has_two_opposite_peaks():
    angles = np.arange(0.0, 360.0)
    curve = tuning(angles, np.array(90.0), 3.0, 0.4)
    assert angles[curve.argmax()] == 90
    assert curve[90] == pytest.approx(1 + 0.4 * np.exp(-6))
    assert curve[270] == pytest.approx(0.4 + np.exp(-6))


def test_every_direction_is_shown_equally_often(session):
    assert (np.unique(session.stimulus["direction"].values, return_counts=True)[1] == 8).all()
    assert session["fluorescence"].shape == session["neuropil"].shape == (session.time.size, 40)


def test_spikes_are_poisson_with_the_planted_rates(session):
    truth = session.table("truth")
    expected = truth["rates"].values / session.rate_hz
    spikes = truth["spikes"].values.astype(float)
    z = (spikes.sum(axis=0) - expected.sum(axis=0)) / np.sqrt(expected.sum(axis=0))
    assert np.abs(z).max() < 4.5
    assert z.std() == pytest.approx(1, abs=0.35)
    blank = spikes[np.isnan(shown(session))]
    assert blank.mean() * session.rate_hz == pytest.approx(0.3, rel=0.1)


def test_preferred_direction_is_recovered_from_spikes(session):
    truth, label = session.table("truth"), shown(session)
    spikes, angles = truth["spikes"].values.astype(float), np.arange(8) * 45.0
    means = np.stack([spikes[label == a].mean(axis=0) for a in angles])
    best = angles[means.argmax(axis=0)]
    error = np.abs((best - truth["preferred_direction"].values + 180) % 360 - 180)
    strong = truth["evoked_rate"].values > 3
    assert strong.sum() > 15
    assert np.mean(error[strong] < 45) > 0.9
    assert (truth["evoked_rate"].values[~truth["tuned"].values] == 0).all()
    assert (~truth["tuned"].values).sum() == 8


def test_trace_is_the_sum_of_its_planted_parts(session):
    truth = session.table("truth")
    signal = truth["baseline"].values * (1 + truth["calcium"].values) + 0.7 * truth["neuropil"].values
    residual = session["fluorescence"].values - signal
    np.testing.assert_allclose(residual.std(axis=0) / truth["baseline"].values.mean(axis=0), 0.05, rtol=0.06)
    assert np.abs(residual.mean(axis=0)).max() < 2


def test_neuropil_share_is_recovered_by_regression():
    quiet = make(cells=10, spontaneous_rate=0.0, evoked_rate=0.0, drift=0.0, noise=0.01)
    fluorescence, neuropil = quiet["fluorescence"].values, quiet["neuropil"].values
    slopes = [np.polyfit(neuropil[:, k], fluorescence[:, k], 1)[0] for k in range(10)]
    np.testing.assert_allclose(slopes, 0.7, rtol=0.05)


def test_movie_holds_the_cells_where_rois_say():
    recording = make(cells=6, repeats=1, movie=True, drift=0.0, noise=0.02, seed=2)
    truth, rois, movie = recording.table("truth"), recording.table("rois"), recording["fluorescence"]
    assert recording.variables == ["fluorescence"]
    assert movie.dtype == np.uint16
    footprints = truth["footprint"].values
    for k in range(6):
        peak = np.unravel_index(footprints[k].argmax(), (64, 64))
        assert np.hypot(peak[0] - rois["y"].values[k], peak[1] - rois["x"].values[k]) <= 0.75
    expected = np.tensordot(truth["baseline"].values * (1 + truth["calcium"].values), footprints, axes=1)
    expected += truth["neuropil"].values[:, :1, None] * truth["background"].values
    np.testing.assert_allclose(movie.values.mean(axis=0), expected.mean(axis=0), rtol=0.04)
    counts_per_photon = (movie.values.var(axis=0) - expected.var(axis=0)) / expected.mean(axis=0)
    assert counts_per_photon.std() < 0.15 * counts_per_photon.mean()


def test_days_of_one_animal_share_cells_and_tuning_alone():
    days = [make(cells=5, repeats=1, movie=True, animal=3, seed=seed) for seed in (1, 2)]
    truths = [day.table("truth") for day in days]
    for name in ("preferred_direction", "footprint"):
        np.testing.assert_array_equal(truths[0][name].values, truths[1][name].values)
    assert (truths[0]["spikes"].values != truths[1]["spikes"].values).any()
    other = make(cells=5, repeats=1, movie=True, animal=4, seed=1).table("truth")
    assert (other["preferred_direction"].values != truths[0]["preferred_direction"].values).all()
