"""Means of conditions, their intervals, and tests by permutation: against closed forms and independent implementations."""

import numpy as np
import pytest
from scipy.stats import f_oneway, permutation_test

from neurodyn.metrics.grouped import (
    corrected,
    correlation,
    group_means,
    half_means,
    information,
    mean_intervals,
    permutation_p,
    sign_flip_p,
    without_baseline,
    without_drift,
)

RNG = np.random.default_rng(0)
CODES = RNG.permutation(np.tile(np.arange(4), 10))
VALUES = RNG.normal(size=(40, 6)) + np.where(np.arange(6) < 2, 1.0, 0.0) * (CODES == 2)[:, None]
PERMUTED = np.stack([RNG.permutation(CODES) for _ in range(999)], axis=1)


def test_means_and_variances_leave_out_what_is_missing():
    values = VALUES.copy()
    values[3, 0] = np.nan
    mean, variance, number = group_means(values, np.where(CODES == 3, -1, CODES), 4)
    rows = (CODES[3] == CODES) & np.isfinite(values[:, 0])
    assert mean[CODES[3], 0] == pytest.approx(values[rows, 0].mean(), abs=1e-6)
    assert variance[1, 1] == pytest.approx(values[CODES == 1, 1].var(ddof=1), abs=1e-6)
    assert number[3].sum() == 0 and np.isnan(mean[3]).all()


def test_the_permutation_test_is_that_of_f():
    found = permutation_p(VALUES, CODES, PERMUTED, 4)
    for cell in range(6):
        truth = f_oneway(*(VALUES[k == CODES, cell] for k in range(4))).statistic
        nulls = [f_oneway(*(VALUES[column == k, cell] for k in range(4))).statistic for column in PERMUTED.T[:300]]
        again = permutation_p(VALUES[:, cell : cell + 1], CODES, PERMUTED[:, :300], 4)[0]
        assert again == pytest.approx((1 + np.sum(np.array(nulls) >= truth - 1e-9)) / 301)
        assert found[cell] == pytest.approx(f_oneway(*(VALUES[k == CODES, cell] for k in range(4))).pvalue, abs=0.06)


def test_missing_trials_and_constant_cells_are_told_apart():
    values = np.column_stack([VALUES[:, 0], np.ones(40), np.full(40, np.nan)])
    values[::7, 0] = np.nan
    p = permutation_p(values, CODES, PERMUTED, 4)
    assert 0 < p[0] < 1 and np.isnan(p[1:]).all()
    assert np.isnan(permutation_p(VALUES, CODES, PERMUTED[:, :0], 4)).all()


def test_signs_flipped_are_a_paired_test():
    change = RNG.normal(0.4, 1, (30, 1))
    found = sign_flip_p(change, np.zeros(30, int), 1, 4000, np.random.default_rng(1))[0]
    again = permutation_test((change[:, 0], np.zeros(30)), lambda a, b: abs(np.mean(a - b)), permutation_type="samples",
                             n_resamples=4000, rng=np.random.default_rng(2), alternative="greater").pvalue  # fmt: skip
    assert found == pytest.approx(again, abs=0.02)


def test_a_response_to_one_condition_alone_is_found():
    change = 0.5 * RNG.normal(size=(40, 50))
    change[CODES == 1, 0] += 1.0
    p = sign_flip_p(change, CODES, 4, 1000, np.random.default_rng(0))
    assert p[0] < 0.005 and np.mean(p[1:] < 0.05) < 0.15


def test_intervals_cover_the_mean():
    inside, rng = 0, np.random.default_rng(3)
    for _ in range(20):
        values = rng.gamma(2.0, 1.0, (16, 30))
        low, high = mean_intervals([values], [np.ones((16, 30))], 400, rng)
        inside += ((low <= 2.0) & (high >= 2.0)).sum()
    assert 0.91 < inside / 600 < 0.98


def test_halves_share_no_trial():
    trials = [np.eye(7), 2 * np.eye(7)]
    for one, other in half_means(trials, [np.ones((7, 7))] * 2, 5, np.random.default_rng(0)):
        assert one.shape == (2, 7) and not ((one > 0) & (other > 0)).any()
        assert ((one > 0) | (other > 0)).all()


def test_correlation_is_pearsons():
    one, other = RNG.normal(size=(2, 20, 3))
    other[2, 1] = np.nan
    kept = np.arange(20) != 2
    assert correlation(one, other)[0] == pytest.approx(np.corrcoef(one[:, 0], other[:, 0])[0, 1])
    assert correlation(one, other)[1] == pytest.approx(np.corrcoef(one[kept, 1], other[kept, 1])[0, 1])


def test_information_of_a_perfect_response_is_that_of_the_stimulus_and_of_noise_none():
    perfect = CODES[:, None].astype(float)
    found = information(np.hstack([perfect, RNG.normal(size=(40, 200))]), CODES, PERMUTED[:, :100], 4)
    plain = information(perfect, CODES, np.full((40, 1), 0), 4)[0]
    assert plain == pytest.approx(2.0, abs=1e-5)  # four conditions, and null labels that tell nothing
    assert found[1:].mean() == pytest.approx(0, abs=0.02)


def test_drift_is_taken_off_and_quick_responses_stay():
    time = np.arange(160) / 160
    quick = np.tile([1.0, -1.0, 2.0, -2.0], 40)
    values = (3 * time + np.sin(2 * np.pi * time) + quick + 5)[:, None]
    left = without_drift(values, 8)
    assert np.abs(left[:, 0] - quick - left.mean()).max() < 0.35
    assert left.mean() == pytest.approx(values.mean())
    np.testing.assert_array_equal(without_drift(values, 0), values)


def test_as_much_of_the_level_before_is_taken_off_as_is_there():
    level = RNG.normal(size=(500, 2))
    noise = RNG.normal(size=(500, 2))
    left = without_baseline(level * [1.0, 0.0] + noise, level)
    assert left.var(axis=0) == pytest.approx([1, 1], abs=0.15)
    assert np.corrcoef(left[:, 0], level[:, 0])[0, 1] == pytest.approx(0, abs=1e-9)


def test_q_keeps_cells_without_a_test():
    q = corrected(np.array([0.01, np.nan, 0.04, 0.5]))
    assert q[[0, 2, 3]] == pytest.approx([0.03, 0.06, 0.5]) and np.isnan(q[1])
