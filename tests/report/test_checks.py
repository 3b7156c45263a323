"""Every check of a recording can fail, passes where all is well, and says what a flag means."""

from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr

from neurodyn.data.recording import Recording
from neurodyn.preprocess.chain import chain_from_steps
from neurodyn.report.checks import Check, checks
from neurodyn.report.heart import heart_rate, heartbeat_left, power_beside
from neurodyn.report.rois import contrast

RATE, FRAMES, SIDE = 30.0, 1200, 6
TIME = np.arange(FRAMES) / RATE
BEAT = 0.01 * np.sin(2 * np.pi * 9 * TIME)
CALCIUM = 0.02 * np.abs(np.sin(2 * np.pi * 0.05 * TIME))


def corrected(tmp_path, blood=BEAT, gain=1.0, calcium=CALCIUM, noise=0.002, other=None) -> dict[str, Check]:
    """Return the checks, by name, of a two-channel movie after the regression of its reference.

    Parameters
    ----------
    blood
        Relative change of the reference, shape (time,).
    gain
        What of it the signal has.
    other
        Relative change of the signal that the reference does not have, shape (time,).
    """
    rng = np.random.default_rng(0)
    shape = (FRAMES, SIDE, SIDE)
    extra = np.zeros(FRAMES) if other is None else other
    signal = 5000 * (1 + (gain * blood + calcium + extra)[:, None, None] + rng.normal(0, noise, shape))
    reference = 3000 * (1 + blood[:, None, None] + rng.normal(0, 0.002, shape))
    source = Recording.from_arrays({"fluorescence": signal, "reference": reference}, rate_hz=RATE)
    chain = chain_from_steps(
        [{"step": "hemodynamics"}, {"step": "dff", "input": "corrected", "method": "mean"}], "test"
    )
    made = Recording.open(chain.run(source, tmp_path / "out.zarr"))
    qc = made.table("qc")
    assert qc is not None
    return {check.name.partition(" (")[0]: check for check in checks(made, qc)}


HEART = "share left of the heartbeat's power at 9.0 Hz"
DRIFT = "drift of mean 'dff' from start to end, ΔF/F"
NEGATIVE = "pixels with negative β, share"
BETA = "β, median over pixels"
REMOVED = "variance removed by the correction, median share"


def test_a_good_correction_passes_every_check(tmp_path):
    found = corrected(tmp_path)
    assert {HEART, DRIFT, NEGATIVE, BETA, REMOVED} <= set(found)
    assert [name for name, check in found.items() if check.raised] == []
    assert found[BETA].value == pytest.approx(1.0 * 0.00005 / (0.00005 + 0.002**2), rel=0.05)  # attenuated by noise
    assert found[NEGATIVE].value == 0
    assert found[HEART].value == pytest.approx((1 - found[BETA].value) ** 2, abs=0.005)
    assert all(check.reason for check in found.values())


def test_a_signal_that_rises_with_the_blood_is_flagged_by_the_sign_of_beta(tmp_path):
    found = corrected(tmp_path, gain=-1.0)
    assert found[NEGATIVE].raised and found[NEGATIVE].value == 1
    assert found[BETA].raised and found[BETA].value < 0


def test_a_reference_that_barely_moves_is_flagged_by_the_size_of_beta(tmp_path):
    found = corrected(tmp_path, gain=5.0)
    assert found[BETA].raised and 4 < found[BETA].value < 5
    assert not found[NEGATIVE].raised


def test_a_reference_that_explains_nothing_is_flagged_by_the_variance_removed(tmp_path):
    slow = 0.01 * np.sin(2 * np.pi * 0.5 * TIME)
    found = corrected(tmp_path, gain=0.0, other=slow)
    assert found[REMOVED].raised and 0 <= found[REMOVED].value < 0.01


def test_a_correction_that_takes_all_of_the_signal_is_flagged(tmp_path):
    found = corrected(tmp_path, blood=5 * BEAT + 5 * CALCIUM, calcium=0 * TIME, noise=0.0)
    assert found[REMOVED].raised and found[REMOVED].value > 0.95


def test_a_heartbeat_out_of_phase_is_left_and_flagged(tmp_path):
    late = 0.01 * np.cos(2 * np.pi * 9 * TIME)
    found = corrected(tmp_path, other=late)
    assert found[HEART].raised
    assert found[HEART].value == pytest.approx(0.5, abs=0.05)  # one of two beats of equal power
    assert not found[BETA].raised


def test_a_baseline_that_does_not_follow_is_flagged_as_drift_of_the_right_size(tmp_path):
    found = corrected(tmp_path, other=0.2 * TIME / TIME[-1])
    assert found[DRIFT].raised
    assert found[DRIFT].value == pytest.approx(0.2 / 1.1, rel=0.1)  # relative to the mean, not to the start
    falling = corrected(tmp_path, other=-0.2 * TIME / TIME[-1])
    assert falling[DRIFT].raised and falling[DRIFT].value < -0.05


def test_a_brightness_that_rises_is_flagged_as_one_that_falls():
    for change, raised in ((0.25, True), (0.1, False), (-0.1, False), (-0.25, True)):
        course = ("time_qc", 100 * (1 + change * np.repeat([0, 1], 50)).astype(float), {"units": "counts"})
        qc = xr.Dataset({"fluorescence_course": course})
        made = Recording.from_arrays({"fluorescence": np.ones((100, 2))}, rate_hz=10)
        (check,) = [one for one in checks(made, qc) if one.name.startswith("change of 'fluorescence'")]
        assert check.value == pytest.approx(change)
        assert check.raised == raised
        assert ("rises" in check.reason) == (change > 0)


def test_the_heart_is_found_where_it_beats_and_nowhere_else():
    noise = np.random.default_rng(1).normal(size=FRAMES)
    assert heart_rate(noise, RATE) is None
    assert heart_rate(noise + 3 * np.sin(2 * np.pi * 11.3 * TIME), RATE) == pytest.approx(11.3, abs=0.5)
    assert heart_rate(noise, 10.0) is None  # half of the rate lies below any heart's
    assert power_beside(noise, RATE, 8.0) == pytest.approx(1, abs=0.5)


def test_a_heartbeat_that_the_correction_puts_in_is_told_and_none_is_not():
    noise = np.random.default_rng(2).normal(size=(2, FRAMES))
    beat = 3 * np.sin(2 * np.pi * 9 * TIME)
    assert heartbeat_left(noise[0], noise[1], RATE, 9.0) is None
    put = heartbeat_left(noise[0], noise[1] + beat, RATE, 9.0)
    assert put is not None and put > 10
    assert heartbeat_left(noise[0] + beat, noise[1], RATE, 9.0) == pytest.approx(0, abs=0.01)


def cells(brightness=30.0, sizes=(3, 3, 3, 3)) -> tuple[Recording, xr.Dataset]:
    """Return a recording of square ROIs of these sides, 40 pixels apart, and the mean image they stand out of."""
    image = np.full((60, 40 * len(sizes)), 100.0)
    owner, y, x = [], [], []
    for roi, side in enumerate(sizes):
        rows, columns = np.mgrid[10 : 10 + side, 40 * roi + 8 : 40 * roi + 8 + side]
        image[rows, columns] += brightness
        owner += [roi] * rows.size
        y += rows.ravel().tolist()
        x += columns.ravel().tolist()
    table = xr.Dataset({"mask_roi": ("mask", owner), "mask_y": ("mask", y), "mask_x": ("mask", x)})
    table["skew"] = ("roi", np.ones(len(sizes)))
    qc = xr.Dataset({"mean_image": (("y", "x"), image, {"units": "counts"})})
    traces = {"fluorescence": np.ones((100, len(sizes)))}
    return Recording.from_arrays(traces, rate_hz=10, rois=table, qc=qc), qc


SIZES = "ROIs below ¼ or above 4 times the median area, share"
DIAMETER = "ROI diameter, median"
DARK = "ROIs no brighter than the ring around them, share"


@pytest.mark.parametrize(
    ("changes", "flags"),
    [
        ({}, set()),
        ({"sizes": (3, 3, 3, 9)}, {SIZES}),
        ({"sizes": (1, 1, 2, 2)}, {DIAMETER}),
        ({"brightness": 0.0}, {DARK}),
        ({"brightness": -5.0}, {DARK}),
    ],
)
def test_size_and_contrast_of_rois(changes, flags):
    made, qc = cells(**changes)
    found = {check.name.partition(" (")[0]: check for check in checks(made, qc)}
    assert {SIZES, DIAMETER, DARK} <= set(found)
    assert {name for name in (SIZES, DIAMETER, DARK) if found[name].raised} == flags


def test_the_contrast_is_the_difference_to_the_ring():
    made, qc = cells(brightness=12.5, sizes=(3, 5))
    table = made.table("rois")
    assert table is not None
    np.testing.assert_allclose(contrast(table, qc["mean_image"].values), 12.5)
    assert {c.name: c.value for c in checks(made, qc)}["ROI diameter, median (pixels)"] == pytest.approx(
        2 * math.sqrt(17 / math.pi)
    )


def test_saturated_pixels_of_an_extracted_movie_are_flagged():
    made, qc = cells()
    for share, raised in ((0.0, False), (0.01, True)):
        picture = (np.arange(10_000) < share * 10_000).reshape(100, 100).astype(float)
        seen = qc.assign(movie_saturated=(("row", "column"), picture))
        (check,) = [one for one in checks(made, seen) if "movie ever saturated" in one.name]
        assert (check.value, check.raised) == (share, raised)


def test_limits_are_told_and_what_is_no_number_is_flagged():
    assert Check("a", 1.0, 0.1, 3.0, "why").limits == "< 0.1 or > 3"
    assert Check("a", 1.0, -math.inf, 3.0, "why").limits == "> 3"
    assert Check("a", 1.0, -0.2, 0.2, "why").limits == "< −0.2 or > 0.2"
    assert Check("a", math.nan, -math.inf, 3.0, "why").raised
