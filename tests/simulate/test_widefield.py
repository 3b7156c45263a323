"""The widefield simulator: planted statistics come back out of the pixels."""

import numpy as np
import pytest
from scipy.optimize import curve_fit

from neurodyn.data.window_config import WindowConfig
from neurodyn.data.windows import Windows
from neurodyn.decode.settings import DecodeConfig
from neurodyn.decode.source import Source
from neurodyn.decode.targets import make_labels
from neurodyn.simulate.widefield import (
    AwakeWidefield,
    AwakeWidefieldParams,
    Widefield,
    WidefieldParams,
    hemodynamics,
    naka_rushton,
)


def make(**params):
    return Widefield(WidefieldParams(**params)).make()


@pytest.fixture(scope="module")
def clean():
    """A session without shot noise."""
    return make(trials=36, shot_noise=0.0, seed=3)


def channel(recording, name):
    """Return (F - dark) / (F0 bleaching) - 1 inside the brain, shape (time, pixel)."""
    truth, brain = recording.table("truth"), recording.brain
    light = truth[f"baseline_{name}"].values[brain] * truth[f"bleaching_{name}"].values[:, None]
    return (recording[name].values[:, brain].astype(float) - 100) / light - 1


def test_frames_times_units_and_dark_surround(clean):
    assert clean["fluorescence"].shape == clean["reference"].shape == (36 * 70, 40, 40)
    assert clean["fluorescence"].dtype == np.uint16
    assert clean["fluorescence"].attrs["units"] == "counts"
    np.testing.assert_allclose(np.diff(clean.time), 0.1)
    assert (clean["fluorescence"].values[:, ~clean.brain] == 100).all()
    assert 0.5 < clean.brain.mean() < 0.8


def test_truth_rebuilds_both_movies(clean):
    truth, brain = clean.table("truth"), clean.brain
    for name in ("fluorescence", "reference"):
        absorbed = 1 + hemodynamics(truth, name)[:, brain]
        calcium = 1 + truth["dff"].values[:, brain] if name == "fluorescence" else 1
        np.testing.assert_allclose(channel(clean, name), absorbed * calcium - 1, atol=2e-3)


def test_spontaneous_and_hemodynamic_amplitudes(clean):
    quiet = make(trials=36, shot_noise=0.0, peak=0.0, spontaneous=0.015, seed=3)
    inside = quiet.table("truth")["dff"].values[:, quiet.brain]
    assert np.sqrt(np.mean(inside**2)) == pytest.approx(0.015, rel=0.01)
    assert np.linalg.matrix_rank(inside.astype(float), tol=1e-3) == 10
    truth = clean.table("truth")
    blood = np.tensordot(truth["hemodynamics_course"].values, truth["hemodynamics_map"].values, axes=1)
    assert np.sqrt(np.mean(blood[:, clean.brain] ** 2)) == pytest.approx(0.02, rel=0.01)


def test_v1_follows_naka_rushton_and_the_trial_amplitudes():
    recording = make(trials=60, spontaneous=0.0, hemodynamics=0.0, shot_noise=0.0, bleach=0.0, gain_sd=0.0, c50=0.15)
    truth, stimulus = recording.table("truth"), recording.stimulus
    v1 = np.unravel_index(truth["area_map"].values[0].argmax(), (40, 40))
    f = recording["fluorescence"].values[:, *v1].astype(float) - 100
    peaks = np.array([f[(recording.time >= a) & (recording.time < a + 4)].max() for a in stimulus["start"].values])
    dff = peaks / f[0] - 1
    assert np.corrcoef(dff, truth["amplitude"].values)[0, 1] > 0.999
    (peak, c50, n), _ = curve_fit(naka_rushton, stimulus["contrast"].values, dff, p0=[0.05, 0.3, 1], bounds=(0.01, 5))
    assert (peak, c50, n) == (pytest.approx(0.1, rel=0.06), pytest.approx(0.15, rel=0.05), pytest.approx(1.5, rel=0.05))
    means = [dff[stimulus["contrast"].values == c].mean() for c in (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)]
    assert (np.diff(means) > 0).all()


def test_trial_gain_spread_and_balanced_contrasts():
    recording = make(trials=180, height=8, width=8, rate_hz=2.0)
    truth, contrast = recording.table("truth"), recording.stimulus["contrast"].values
    assert truth["gain"].values.std() == pytest.approx(0.25, rel=0.2)
    np.testing.assert_allclose(
        truth["amplitude"].values, truth["gain"].values * naka_rushton(contrast, 0.1, 0.2, 1.5), rtol=1e-6
    )
    assert (np.unique(contrast, return_counts=True)[1] == 30).all()


def test_label_variance_is_that_of_the_published_contrast_task():
    recording = make(trials=60, height=8, width=8)
    label = np.full(recording.time.size, -1.0)
    for start, stop, contrast in zip(
        *(recording.stimulus[k].values for k in ("start", "stop", "contrast")), strict=True
    ):
        label[(recording.time >= start - 1e-9) & (recording.time < stop - 1e-9)] = 2 * np.sqrt(contrast) - 1
    assert label.var() == pytest.approx(0.283, abs=0.002)


def test_decoding_sees_the_labels_of_the_published_contrast_task():
    recording = make(trials=60, height=8, width=8)
    one_frame = WindowConfig(variable="fluorescence", duration=0.1)
    source = Source(Windows.cut([recording], one_frame), None)
    labels, _ = make_labels(source, DecodeConfig(target="contrast", transform="sqrt"))
    assert labels.target.size == 60 * 70
    assert (labels.target == -1).mean() == pytest.approx(5 / 7, abs=1e-3)
    assert labels.target.max() == 1
    assert labels.target.var() == pytest.approx(0.283, abs=0.003)


def test_ongoing_activity_has_the_shape_of_responses_and_the_asked_size():
    quiet = {"spontaneous": 0.0, "peak": 0.0, "shot_noise": 0.0, "hemodynamics": 0.0}
    truth = make(trials=180, ongoing=0.01, **quiet).table("truth")
    maps = truth["area_map"].values.reshape(6, -1)
    movie = truth["dff"].values.reshape(-1, 1600)
    courses, *_ = np.linalg.lstsq(maps.T.astype(float), movie.T.astype(float), rcond=None)
    np.testing.assert_allclose(courses.T @ maps, movie, atol=1e-6)  # nothing but the areas' maps
    np.testing.assert_allclose(courses.std(axis=1), 0.01, rtol=1e-3)
    between = np.corrcoef(courses)[np.triu_indices(6, 1)]
    assert between.mean() == pytest.approx(0.5, abs=0.12)


def test_ongoing_activity_of_the_awake_preset_rivals_the_response_to_a_tenth_of_contrast():
    p = AwakeWidefieldParams(trials=60, shot_noise=0.0)
    truth = AwakeWidefield(p.model_copy(update={"peak": 0.0})).make().table("truth")
    v1 = np.unravel_index(truth["area_map"].values[0].argmax(), (40, 40))
    answer = naka_rushton(np.array(0.1), p.peak, p.c50, p.exponent)
    assert 0.7 < truth["dff"].values[:, *v1].std() / answer < 1.6


def test_higher_areas_answer_later_and_weaker():
    recording = make(trials=6, contrasts=(1.0,), spontaneous=0.0, hemodynamics=0.0, shot_noise=0.0, gain_sd=0.0)
    truth = recording.table("truth")
    dff, maps = truth["dff"].values, truth["area_map"].values
    v1, am = (np.unravel_index(maps[k].argmax(), (40, 40)) for k in (0, 5))
    onset = np.searchsorted(recording.time, recording.stimulus["start"].values[0])
    rise = [dff[onset + 3, *at] / dff[onset : onset + 30, *at].max() for at in (v1, am)]
    assert rise[1] < rise[0] - 0.05
    assert dff[:, *am].max() < 0.6 * dff[:, *v1].max()


def test_regression_on_the_reference_removes_hemodynamics(clean):
    f, r = channel(clean, "fluorescence"), channel(clean, "reference")
    calcium = clean.table("truth")["dff"].values[:, clean.brain]
    beta = (f * r).sum(axis=0) / (r * r).sum(axis=0)
    truth = clean.table("truth")
    planted = (truth["gain_fluorescence"].values / truth["gain_reference"].values.clip(1e-9))[clean.brain]
    quiet = channel(make(trials=36, shot_noise=0.0, peak=0.0, spontaneous=1e-6, seed=3), "fluorescence")
    blood = channel(make(trials=36, shot_noise=0.0, peak=0.0, spontaneous=1e-6, seed=3), "reference")
    np.testing.assert_allclose((quiet * blood).sum(axis=0) / (blood * blood).sum(axis=0), planted, rtol=0.02)
    before, after = np.mean((f - calcium) ** 2), np.mean((f - beta * r - calcium) ** 2)
    assert after < 0.5 * before


def test_shot_noise_of_one_pixel():
    recording = make(trials=12, spontaneous=0.0, peak=0.0, hemodynamics=0.0, bleach=0.0)
    f = recording["fluorescence"].values[:, recording.brain].astype(float) - 100
    mean = f.mean(axis=0)
    np.testing.assert_allclose(f.std(axis=0) / mean * np.sqrt(mean / 8000), 0.03, rtol=0.12)


def test_bleaching_reaches_the_asked_loss(clean):
    bleaching = clean.table("truth")["bleaching_fluorescence"].values
    assert (bleaching[0], bleaching[-1]) == (pytest.approx(1), pytest.approx(0.9))
    assert (np.diff(bleaching) <= 0).all()


def test_contradictory_parameters_are_refused():
    with pytest.raises(ValueError, match="rise must be shorter"):
        WidefieldParams(rise=0.6)
    with pytest.raises(ValueError, match="fractions"):
        WidefieldParams(contrasts=(2.0, 100.0))
