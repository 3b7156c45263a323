"""Metrics of forecasts against closed forms and other libraries."""

import numpy as np
import pytest
from scipy.stats import pearsonr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from sklearn.metrics import mean_absolute_error, mean_squared_error

from neurodyn.metrics.forecast import (
    correlation_by_step,
    data_range,
    last_value,
    mae,
    mase,
    mse,
    mse_by_step,
    noise_ceiling,
    over_windows,
    psnr,
    skill,
    smape,
    trace_correlation,
    trace_ssim,
)

RNG = np.random.default_rng(0)
WINDOWS, HORIZON, NEURONS = 6, 9, 4
TARGET = RNG.normal(size=(WINDOWS, HORIZON, NEURONS))
FORECAST = 0.6 * TARGET + RNG.normal(size=TARGET.shape)
EVERY = [trace_correlation, correlation_by_step, mse, mse_by_step, mae, smape, trace_ssim, psnr]


def one(*values):
    """Return one window of one neuron."""
    return np.array(values, dtype=float)[None, :, None]


def test_correlations_are_scipys_trace_by_trace_and_step_by_step():
    r, steps = trace_correlation(TARGET, FORECAST), correlation_by_step(TARGET, FORECAST)
    for w, n in np.ndindex(WINDOWS, NEURONS):
        assert r[w, n] == pytest.approx(pearsonr(TARGET[w, :, n], FORECAST[w, :, n]).statistic)
    for h, n in np.ndindex(HORIZON, NEURONS):
        assert steps[h, n] == pytest.approx(pearsonr(TARGET[:, h, n], FORECAST[:, h, n]).statistic)
    np.testing.assert_allclose(trace_correlation(TARGET, -3 * TARGET + 1), -1)


def test_errors_are_sklearns():
    flat, said = (values.reshape(-1, NEURONS) for values in (TARGET, FORECAST))
    np.testing.assert_allclose(mse(TARGET, FORECAST), mean_squared_error(flat, said, multioutput="raw_values"))
    np.testing.assert_allclose(mae(TARGET, FORECAST), mean_absolute_error(flat, said, multioutput="raw_values"))
    np.testing.assert_allclose(mse_by_step(TARGET, FORECAST).mean(0), mse(TARGET, FORECAST))


def test_smape_by_hand():
    assert smape(one(0, 1, 1, -1), one(0, 3, 0, 1)) == pytest.approx((0 + 2 * 2 / 4 + 2 + 2) / 4)
    assert smape(one(0, 0), one(0, 0)) == 0.0


def test_mase_is_one_for_the_naive_forecast_itself():
    naive = last_value(RNG.normal(size=(WINDOWS, 5, NEURONS)))
    np.testing.assert_array_equal(mase(TARGET, naive, naive), 1.0)
    assert mase(one(2, 4), one(3, 4), one(0, 0)) == pytest.approx(1 / 6)
    assert np.isnan(mase(one(1, 1), one(2, 2), one(1, 1)))


def test_the_last_value_is_the_last_valid_one():
    source = np.stack([[1.0, 2.0, np.nan], [np.nan, np.nan, np.nan], [4.0, 5.0, 6.0]], axis=1)[None]
    np.testing.assert_array_equal(last_value(source), [[[2.0, 0.0, 6.0]]])


def test_ssim_and_psnr_are_skimages_for_whole_traces():
    span = data_range(TARGET)
    found = trace_ssim(TARGET, FORECAST)
    for w, n in np.ndindex(WINDOWS, NEURONS):
        pair = TARGET[w, :, n], FORECAST[w, :, n]
        options = {"win_size": HORIZON, "data_range": span[n], "use_sample_covariance": False}
        assert found[w, n] == pytest.approx(structural_similarity(*pair, **options))
    for n in range(NEURONS):
        expected = peak_signal_noise_ratio(TARGET[..., n], FORECAST[..., n], data_range=span[n])
        assert psnr(TARGET, FORECAST)[n] == pytest.approx(expected)


def test_a_perfect_forecast():
    np.testing.assert_allclose(trace_ssim(TARGET, TARGET), 1)
    assert np.isposinf(psnr(TARGET, TARGET)).all()
    np.testing.assert_array_equal(skill(mse(TARGET, TARGET), mse(TARGET, FORECAST)), 1)


def test_skill_of_the_reference_is_exactly_zero_and_undefined_where_it_is_perfect():
    error = mse(TARGET, FORECAST)
    np.testing.assert_array_equal(skill(error, error), 0)
    assert np.isnan(skill(np.array([1.0]), np.array([0.0]))).all()


def test_constant_traces_have_no_correlation():
    held = np.repeat(np.float32(0.1) * TARGET[:, :1], HORIZON, axis=1).astype(np.float32)
    target = TARGET.copy()
    target[0, :, 1] = 7.0
    assert np.isnan(trace_correlation(TARGET, held)).all()
    r = trace_correlation(target, FORECAST)
    assert np.argwhere(np.isnan(r)).tolist() == [[0, 1]]
    np.testing.assert_allclose(over_windows(r)[1], r[1:, 1].mean())
    assert np.isnan(over_windows(trace_correlation(TARGET, held))).all()
    jitter = 1000 + np.float32(2e-5) * RNG.normal(size=TARGET.shape)
    assert np.isnan(trace_correlation(TARGET, jitter)).all(), "round-off is no signal"


def test_constant_neurons_have_no_range():
    flat = np.full_like(TARGET, 2.0)
    assert np.isnan(trace_ssim(flat, FORECAST)).all()
    assert np.isnan(psnr(flat, FORECAST)).all()


def test_entries_that_are_not_valid_never_count():
    gone = TARGET.copy()
    gone[1, 2:5, 0] = gone[3, :, 2] = np.nan
    wild = np.where(np.isnan(gone), 1e6, FORECAST)
    for metric in EVERY:
        np.testing.assert_array_equal(metric(gone, wild), metric(gone, FORECAST))
    kept = np.r_[0:2, 5:HORIZON]
    np.testing.assert_allclose(
        trace_correlation(gone, wild)[1, 0], pearsonr(TARGET[1, kept, 0], FORECAST[1, kept, 0])[0]
    )
    np.testing.assert_allclose(mse(gone, wild)[2], mse(np.delete(TARGET, 3, 0), np.delete(FORECAST, 3, 0))[2])
    assert np.isnan(trace_correlation(gone, wild)[3, 2])


@pytest.mark.parametrize("metric", EVERY)
def test_neurons_are_scored_alone(metric):
    whole = metric(TARGET, FORECAST)
    for n in range(NEURONS):
        alone = metric(TARGET[..., n : n + 1], FORECAST[..., n : n + 1])
        np.testing.assert_allclose(alone[..., 0], whole[..., n])


@pytest.mark.parametrize("metric", EVERY)
def test_a_neuron_without_data_has_no_value(metric):
    assert np.isnan(metric(np.full_like(TARGET, np.nan), FORECAST)).all()


def test_one_window_of_one_frame():
    assert mse(one(1.0), one(3.0)) == 4.0
    assert np.isnan(trace_correlation(one(1.0), one(3.0))).all()
    assert np.isnan(correlation_by_step(TARGET[:1], FORECAST[:1])).all()


def repeats(trials, noise, conditions=8, frames=40, neurons=300, seed=0):
    """Return noisy repeats of random responses, their conditions, and the responses, each of variance 1."""
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=(conditions, frames, neurons))
    condition = np.repeat(np.arange(conditions), trials)
    return mean[condition] + noise * rng.normal(size=(condition.size, frames, neurons)), condition, mean


@pytest.mark.parametrize("trials", [5, 20])
@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0])
def test_the_noise_ceiling_is_what_the_true_mean_reaches(trials, noise):
    target, condition, mean = repeats(trials, noise)
    reached = over_windows(trace_correlation(target, mean[condition])).mean()
    assert reached == pytest.approx((1 + noise**2) ** -0.5, abs=0.01)
    assert noise_ceiling(target, condition).mean() == pytest.approx(reached, abs=0.03)


def test_the_noise_ceiling_of_two_noisy_repeats_errs_towards_less():
    target, condition, _ = repeats(2, 2.0)
    assert 0.3 < noise_ceiling(target, condition).mean() < 5**-0.5


def test_the_noise_ceiling_of_a_neuron_that_answers_to_few_conditions():
    target, condition, mean = repeats(15, 1.0)
    silent = condition > 1
    target[silent] -= mean[condition[silent]]
    truth = np.where(silent[:, None, None], RNG.normal(size=target.shape), mean[condition])
    reached = over_windows(trace_correlation(target, truth)).mean()
    assert noise_ceiling(target, condition).mean() == pytest.approx(reached, abs=0.01)


def test_noise_alone_has_a_ceiling_of_zero_on_average():
    target, condition, _ = repeats(6, 1.0)
    noise = np.random.default_rng(1).normal(size=target.shape)
    assert noise_ceiling(noise, condition).mean() == pytest.approx(0, abs=0.01)


def test_the_noise_ceiling_is_the_root_of_the_mean_correlation_between_trials():
    target = RNG.normal(size=(1, 12, 1)) + 0.5 * RNG.normal(size=(5, 12, 1))
    pairs = [pearsonr(target[i, :, 0], target[j, :, 0])[0] for i in range(5) for j in range(i)]
    assert noise_ceiling(target, np.zeros(5)) == pytest.approx(np.sqrt(np.mean(pairs)))


def test_traces_that_cannot_repeat_do_not_enter_the_noise_ceiling():
    target, condition, _ = repeats(4, 0.5, neurons=3)
    expected = noise_ceiling(target, condition)
    lone = np.concatenate([target, RNG.normal(size=(1, *target.shape[1:]))])
    np.testing.assert_allclose(noise_ceiling(lone, np.append(condition, 99)), expected)
    broken = np.concatenate([target, target[:1], target[:1] * 0 + 3])
    broken[-2, 5] = np.nan
    np.testing.assert_allclose(noise_ceiling(broken, np.append(condition, [0, 0])), expected)
    assert np.isnan(noise_ceiling(target, np.arange(len(target)))).all()
