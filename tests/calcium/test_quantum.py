"""Spikes are counted where the size of one can be told, and nothing is made up elsewhere."""

import itertools
import sys

import numpy as np
import pytest
from scipy.signal import lfilter

from neurodyn.calcium.cell import Cell, busiest, closest, splines
from neurodyn.calcium.quantum import counted, tell

TAU, QUANTUM = 0.7, 0.2


def simulated(rng, rate_hz, firing, snr, kind, seconds=120.0, drift=0.05):
    """One cell, ΔF/F of shape (time,), and its number of spikes: Poisson spikes or bursts of three on average, on a baseline that is off."""
    frames = int(seconds * rate_hz)
    if kind == "poisson":
        times = rng.uniform(0, seconds, rng.poisson(firing * seconds))
    else:
        onsets = rng.uniform(0, seconds, rng.poisson(firing * seconds / 3))
        sizes = rng.geometric(1 / 3, onsets.size) if kind == "geometric" else 1 + rng.poisson(2, onsets.size)
        times = np.concatenate([[0.0], *(a + 0.01 * np.arange(n) for a, n in zip(onsets, sizes, strict=True))])[1:]
    spikes = np.histogram(times, np.arange(frames + 1) / rate_hz)[0]
    calcium = lfilter([QUANTUM], [1, -np.exp(-1 / (TAU * rate_hz))], spikes)
    place = np.arange(frames) / frames
    slow = drift * (np.sin(2 * np.pi * (2 * place + rng.random())) if rng.random() < 0.5 else 1.0)
    return calcium + slow + QUANTUM / snr * rng.normal(size=frames), spikes.sum()


def count(trace, rate_hz):
    """Spikes counted in a trace, NaN where they cannot be told, and the reason."""
    cell = Cell.of(trace, np.array([0, trace.size]), rate_hz, TAU)
    told = tell(cell)
    return (np.nan if told.reason else counted(cell, told.fit, told.raised)[0].sum()), told.reason


def ratios(conditions, seeds, seconds=120.0):
    """Counted over true spikes, NaN where not told, shape (condition, seed)."""
    found = []
    for number, (rate_hz, firing, snr, kind) in enumerate(conditions):
        for seed in seeds:
            rng = np.random.default_rng([number, seed])
            trace, true = simulated(rng, rate_hz, firing, snr, kind, seconds, drift=rng.choice([-0.05, 0.05]))
            total, reason = count(trace, rate_hz)
            assert np.isnan(total) == bool(reason)
            found.append(total / max(true, 1))
    return np.array(found).reshape(len(conditions), -1)


def test_totals_are_right_where_they_are_told():
    conditions = [(15, 1, 5, kind) for kind in ("poisson", "geometric", "shifted")]
    found = ratios(conditions, range(3), seconds=150.0)
    told = found[np.isfinite(found)]
    assert told.size > 0.6 * found.size
    assert abs(np.median(told) - 1) < 0.2
    assert ((told > 0.5) & (told < 2)).all()


def test_no_spike_is_invented_in_noise():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        trace = 0.05 + 0.04 * rng.normal(size=300)
        assert count(trace, 15)[1]
    assert tell(Cell.of(np.full(600, 0.2), np.array([0, 600]), 15, TAU)).reason == "constant"


def test_the_quantum_does_not_depend_on_the_unit_or_an_offset():
    trace, _ = simulated(np.random.default_rng(1), 15, 0.5, 5, "poisson")
    first = count(trace, 15)[0]
    assert count(1000 * trace - 70, 15)[0] == pytest.approx(first, abs=1)


def test_splines_sum_to_one_and_are_one_where_the_trace_is_short():
    np.testing.assert_allclose(splines(900, 300).sum(axis=1), 1)
    assert splines(500, 450).shape == (500, 1)


def test_the_closest_splines_are_those_of_dense_least_squares():
    rng = np.random.default_rng(0)
    for frames in (100, 900, 4000):
        knots, courses = splines(frames, 90), rng.normal(size=(frames, 2))
        expected = np.linalg.lstsq(knots.toarray(), courses, rcond=None)[0]
        np.testing.assert_allclose(closest(knots, courses), expected, atol=1e-7)
        np.testing.assert_allclose(closest(knots, courses[:, 0]), expected[:, 0], atol=1e-7)


def test_splines_over_frames_that_are_not_seen_are_bounded_and_fit_where_frames_are_seen():
    knots = splines(2000, 100)
    seen = np.r_[0:600, 1500:2000]
    course = np.sin(np.arange(2000) / 200)
    fitted = knots @ closest(knots[seen], course[seen])
    np.testing.assert_allclose(fitted[seen], course[seen], atol=0.01)
    assert np.abs(fitted).max() < 2


def test_the_busiest_windows_lie_within_stretches():
    trace = np.zeros(1000)
    trace[[250, 700]] = 5
    windows = busiest(Cell.of(trace, np.array([0, 3, 400, 405, 1000]), 10, TAU), 200)
    assert windows.shape == (2, 100)
    assert [window[0] for window in windows] == [203, 605]
    assert all((np.diff(window) == 1).all() for window in windows)


@pytest.mark.slow
@pytest.mark.timeout(3 * 3600)
def test_where_counting_holds():
    """The table of docs/counts.md, printed: cells told, and least, median and most counted over true spikes of these."""
    kinds, drifts = ("poisson", "geometric", "shifted"), (0.0, -0.05, 0.05)
    for rate_hz, firing, snr in itertools.product((5, 15, 30, 60), (0.05, 0.2, 1, 5), (1, 2, 5, 10)):
        found = []
        for number, (kind, drift) in enumerate(itertools.product(kinds, drifts)):
            rng = np.random.default_rng([rate_hz, int(100 * firing), snr, number])
            trace, true = simulated(rng, rate_hz, firing, snr, kind, 240.0, drift)
            found.append(count(trace, rate_hz)[0] / max(true, 1))
        told = np.array(found)[np.isfinite(found)]
        spread = "".join(f" {value:.2f} |" for value in np.percentile(told, [0, 50, 100])) if told.size else " | | |"
        sys.stdout.write(f"| {rate_hz} | {firing} | {snr} | {told.size} of {len(found)} |{spread}\n")
        sys.stdout.flush()
        assert told.size == 0 or abs(np.median(told) - 1) < 0.2
        assert ((told > 0.5) & (told < 2)).all()
