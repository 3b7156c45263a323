"""Decoding without a response, and with one, under drift and every order of labels: what p finds."""

import numpy as np
import pytest

from tests.decode.ordered import DRIFTS, found

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]
SEEDS = range(200)
CASES = [
    (order, task)
    for order, task in (
        ("random", "regress"),
        ("blocks", "regress"),
        ("behaviour", "regress"),
        ("random", "classify"),
        ("blocks", "classify"),
        ("states", "classify"),
    )
]


@pytest.mark.parametrize(("order", "task"), CASES)
@pytest.mark.parametrize("width", [10, 300])
def test_drift_is_not_decoded(order, task, width):
    for kind in DRIFTS:
        p = found(order, task, kind, SEEDS, width=width)
        share = np.mean(p <= 0.05)
        print(
            f"\n{order:9} {task:8} {kind:6} {width:3} features: p <= .05 in {share:.3f}, no null in {np.mean(p != p):.3f}"
        )
        assert share <= 0.07 + 0.03  # the share of 200 recordings has a standard error of .015


@pytest.mark.parametrize(("order", "task"), CASES)
def test_responses_are_found(order, task):
    for gain in (0.5, 1.0, 2.0):
        p = found(order, task, "walk", SEEDS[:60], gain=gain)
        print(f"\n{order:9} {task:8} response {gain} times the drift: p <= .05 in {np.mean(p <= 0.05):.3f}")
    assert np.mean(p <= 0.05) > 0.8
