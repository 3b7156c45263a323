"""Populations in trials: what is planted comes back, and parts do not mix."""

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.integrate import solve_ivp

from neurodyn.data.window_config import WindowConfig
from neurodyn.data.windows import Windows
from neurodyn.metrics.regression import squared_pearson
from neurodyn.simulate.chaotic_rnn import ChaoticRNN, ChaoticRNNParams
from neurodyn.simulate.integration import rk4
from neurodyn.simulate.lorenz import Lorenz, LorenzParams, lorenz_flow
from neurodyn.simulate.rotations import Rotations, RotationsParams
from neurodyn.simulate.trials import TrialParams, hill

TRIALS = {"conditions": 6, "repeats": 5, "train_repeats": 3, "held_out": 3, "held_out_repeats": 2}


def lorenz(**params):
    return Lorenz(LorenzParams(**params)).make()


def by_trial(recording, name, bins=100):
    values = recording.table("truth")[name].values
    return values.reshape(-1, bins, *values.shape[1:])


@pytest.fixture(scope="module")
def small():
    return lorenz(**TRIALS)


def test_lorenz_equations_against_an_adaptive_solver():
    start = np.array([[1.0, -2.0, 20.0], [8.0, 3.0, 30.0]])

    def equations(_, s):
        return [10 * (s[1] - s[0]), s[0] * (28 - s[2]) - s[1], s[0] * s[1] - 8 / 3 * s[2]]

    state = start
    for _ in range(20):
        state = rk4(lorenz_flow, state, 0.015)
    for before, after in zip(start, state, strict=True):
        exact = solve_ivp(equations, (0, 0.3), before, rtol=1e-10, atol=1e-10).y[:, -1]
        np.testing.assert_allclose(after, exact, rtol=2e-3)


def test_the_attractor_of_a_trial_obeys_the_equations(small):
    whole = by_trial(lorenz(**TRIALS, substeps=20, burn_in=10000), "latents").astype(float)
    # x' = σ(y − x) holds in normalised units too, up to a constant from centring
    rate = np.gradient(whole, 0.03, axis=1)[:, 1:-1, 0].ravel()
    difference = (whole[..., 1] - whole[..., 0])[:, 1:-1].ravel()
    slope = np.polyfit(difference, rate, 1)[0]
    assert slope == pytest.approx(10, rel=0.05)
    assert np.corrcoef(difference, rate)[0, 1] > 0.995


def test_latents_are_centred_and_reach_one_over_seen_conditions(small):
    seen = small.stimulus["part"].values != "test"
    latents = by_trial(small, "latents")[seen]
    np.testing.assert_allclose(latents.mean(axis=(0, 1)), 0, atol=1e-6)
    assert np.abs(latents).max() == pytest.approx(1)


def test_recovered_recipe_has_the_published_size_of_rates_and_fluorescence():
    figures, limits = [], []
    for seed in range(6):
        truth = lorenz(held_out=0, seed=seed, calcium="hill").table("truth")
        rates, c = truth["rates"].values, truth["calcium"].values.astype(float)
        figures.append([rates.mean(), rates.std(), rates.max(), hill(c, 0.01, 2.0).max()])
        noisy = c + 0.2 * np.random.default_rng(seed).standard_normal(c.shape)
        limits.append(squared_pearson(noisy, c))
    # one published draw of loadings: 1.5 Hz, sd 1.9, at most 42 Hz, Hill at most 71, ceiling .937; draws differ
    mean, spread, highest, dye = np.mean(figures, axis=0)
    assert mean == pytest.approx(1.5, abs=0.1)
    assert spread == pytest.approx(1.9, abs=0.35)
    assert highest == pytest.approx(42, abs=15)
    assert dye == pytest.approx(71, abs=10)
    assert np.mean(limits) == pytest.approx(0.937, abs=0.012)


def test_paper_recipe_hardly_modulates_the_rates():
    rates = lorenz(recipe="paper", repeats=2, train_repeats=1).table("truth")["rates"].values
    assert rates.mean() == pytest.approx(2.74, abs=0.02)
    assert rates.std() == pytest.approx(0.33, abs=0.1)


def test_rates_are_log_linear_in_the_latents(small):
    truth = small.table("truth")
    expected = np.exp(truth["latents"].values @ truth["loadings"].values + truth["log_rate"].item())
    np.testing.assert_allclose(truth["rates"].values, expected, rtol=1e-4)
    size = np.abs(truth["loadings"].values)
    assert 1 <= size.min() <= size.max() <= 2


def test_calcium_follows_spikes_exactly_and_starts_anew_in_every_trial(small):
    spikes, c = by_trial(small, "spikes").astype(float), by_trial(small, "calcium")
    np.testing.assert_array_equal(c[:, 0], spikes[:, 0])
    np.testing.assert_allclose(c[:, 1:], np.exp(-1 / 3) * c[:, :-1] + spikes[:, 1:], atol=1e-5)
    residual = small["dff"].values - c.reshape(-1, 30)
    assert residual.std() == pytest.approx(0.2, rel=0.01)
    assert abs(residual.mean()) < 1e-3
    np.testing.assert_array_equal(small["counts"].values, small.table("truth")["spikes"].values)


def test_spikes_are_poisson_with_the_planted_rates(small):
    truth = small.table("truth")
    expected, spikes = truth["rates"].values.astype(float) / 10, truth["spikes"].values.astype(float)
    z = (spikes.sum(axis=0) - expected.sum(axis=0)) / np.sqrt(expected.sum(axis=0))
    assert np.abs(z).max() < 4
    assert ((spikes - expected) ** 2 / expected).mean() == pytest.approx(1, abs=0.05)


def test_hill_dye_saturates_at_the_asked_level():
    recording = lorenz(**TRIALS, calcium="hill", gamma=0.5, exponent=3, noise=0.0)
    c = recording.table("truth")["calcium"].values.astype(float)
    np.testing.assert_allclose(recording["dff"].values, c**3 / (1 + 0.5 * c**3), rtol=1e-5)
    assert recording["dff"].values.max() < 2


def test_parts_share_conditions_only_as_the_protocol_says(small):
    table = small.stimulus
    part, condition, repeat = (table[name].values for name in ("part", "condition", "repeat"))
    of = {name: set(condition[part == name]) for name in ("train", "valid", "test")}
    assert of["train"] == of["valid"] == set(range(6))
    assert of["test"] == {6, 7, 8}
    assert set(repeat[part == "train"]) == {0, 1, 2}
    assert set(repeat[part == "valid"]) == {3, 4}
    assert [int((part == name).sum()) for name in of] == [18, 12, 6]
    assert len(set(zip(condition, repeat, strict=True))) == part.size
    assert (np.diff(condition) < 0).any(), "trials are in random order"


def test_repeats_share_rates_but_not_spikes_or_noise(small):
    condition, rates, spikes = (
        small.stimulus["condition"].values,
        by_trial(small, "rates"),
        by_trial(small, "spikes"),
    )
    for number in range(9):
        rows = np.flatnonzero(condition == number)
        assert (rates[rows] == rates[rows[0]]).all()
        assert (spikes[rows[0]] != spikes[rows[1]]).any()


@pytest.mark.parametrize("rate", [10.0, 30.0, 7.3])
def test_every_trial_is_one_window_and_none_crosses(rate):
    one = lorenz(**TRIALS, rate_hz=rate, gap=1 / rate, bins=50)
    windows = Windows.cut([one], WindowConfig(duration=50 / rate, align="events"))
    assert len(windows) == 36
    assert windows.frames == 50
    np.testing.assert_array_equal(windows.first, np.arange(36) * 50)
    stream = Windows.cut([one], WindowConfig(duration=50 / rate, stride=1 / rate))
    np.testing.assert_array_equal(stream.first, windows.first)


def test_the_network_obeys_its_equation_and_is_kicked_once():
    p = ChaoticRNNParams(**TRIALS, cells=20, bins=40, substeps=50, rate_hz=50.0, gain=1.6, kick=0.5)
    recording = ChaoticRNN(p).make()
    truth = recording.table("truth")
    latents = by_trial(recording, "latents", 40).astype(float)
    y = np.arctanh(np.clip(latents, -1 + 1e-6, 1 - 1e-6))
    inputs = by_trial(recording, "inputs", 40)[..., 0]
    assert (inputs.sum(axis=1) == 1).all()
    assert inputs[:, :10].sum() == inputs[:, 30:].sum() == 0
    rate = (np.roll(y, -1, axis=1) - np.roll(y, 1, axis=1))[:, 1:-1] * 25
    expected = (latents @ truth["weights"].values.T - y)[:, 1:-1] / 0.25
    calm = np.abs(latents[:, 1:-1]) < 0.99  # beyond, float32 says little about y
    calm &= (inputs[:, 1:-1] + inputs[:, 2:] + inputs[:, :-2] == 0)[..., None]
    assert calm.mean() > 0.5
    np.testing.assert_allclose(rate[calm], expected[calm], atol=0.03 * np.abs(expected).max())
    np.testing.assert_allclose(truth["rates"].values, 2.5 * (1 + truth["latents"].values), rtol=1e-5)


def test_the_network_is_chaotic_only_with_a_large_gain():
    quiet = ChaoticRNN(ChaoticRNNParams(**TRIALS, gain=0.5, kick=0.0)).make().table("truth")["latents"].values
    lively = ChaoticRNN(ChaoticRNNParams(**TRIALS, kick=0.0)).make().table("truth")["latents"].values
    assert np.abs(quiet).max() < 1e-6
    assert lively.std() > 0.3


def test_rotation_has_the_planted_frequency_and_plane():
    recording = Rotations(RotationsParams(**TRIALS, frequency=2.0)).make()
    truth = recording.table("truth")
    latents = by_trial(recording, "latents", 90).astype(float)
    phase = np.unwrap(np.arctan2(latents[..., 1], latents[..., 0]), axis=1)
    np.testing.assert_allclose(np.diff(phase, axis=1), 2 * np.pi * 2.0 / 100, atol=1e-5)
    assert truth["frequency"].item() == 2.0
    rates = by_trial(recording, "rates", 90).astype(float)
    differences = (rates - rates.mean(axis=0)).reshape(-1, 60)
    size = np.linalg.svd(differences, compute_uv=False)
    assert size[2] < 1e-4 * size[1]
    assert rates.min() > 0


def test_contradictory_parameters_are_refused():
    with pytest.raises(ValidationError, match="fewer than repeats"):
        TrialParams(repeats=4, train_repeats=4)
    with pytest.raises(ValidationError, match="at least one frame"):
        TrialParams(gap=0.05)
    with pytest.raises(ValidationError, match="cut off"):
        RotationsParams(depth=0.9, common=0.3)
