"""Signed ranks and their correction against closed forms."""

import numpy as np
import pytest

from neurodyn.metrics.paired import adjusted_p, signed_rank_p


def test_eight_differences_of_one_sign_give_two_in_two_hundred_and_fifty_six():
    values = np.array([0.3, 0.1, 0.25, 0.4, 0.05, 0.7, 0.15, 0.6])
    assert signed_rank_p(values, np.zeros(8)) == pytest.approx(2 / 2**8)


def test_nothing_is_tested_of_one_unit_or_of_no_difference():
    assert np.isnan(signed_rank_p(np.ones(1), np.zeros(1)))
    assert np.isnan(signed_rank_p(np.ones(5), np.ones(5)))


def test_correction_is_benjamini_and_yekutieli_s():
    harmonic = 1 + 1 / 2 + 1 / 3
    found = adjusted_p([0.01, float("nan"), 0.04, 0.03])
    assert found[0] == pytest.approx(0.01 * 3 * harmonic)
    assert found[2:] == pytest.approx([0.04 * harmonic, 0.04 * harmonic])
    assert np.isnan(found[1])
