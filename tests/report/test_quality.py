"""The quality section names what is wrong with a recording, and only that."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from neurodyn.data.recording import Recording
from neurodyn.preprocess.chain import chain_from_steps
from neurodyn.report.checks import checks
from neurodyn.report.page import report
from neurodyn.report.quality import quality_section
from neurodyn.report.signals import thinned

FRAMES, SIDE = 400, 16


def recording(**changes) -> Recording:
    """A preprocessed two-channel movie, without faults unless they are planted in `fluorescence`."""
    rng = np.random.default_rng(0)
    blood = 0.02 * np.sin(np.arange(FRAMES) / 3)[:, None, None]
    picture = rng.uniform(3000, 7000, (SIDE, SIDE))
    fluorescence = picture * (1 + blood) + rng.normal(0, 20, (FRAMES, SIDE, SIDE))
    reference = 4000 * (1 + blood) + rng.normal(0, 20, (FRAMES, SIDE, SIDE))
    if "bleach" in changes:
        fluorescence = fluorescence * np.linspace(1, 1 - changes["bleach"], FRAMES)[:, None, None]
    if "saturate" in changes:
        fluorescence[30:40, 0, :4] = 65535
    time = np.arange(FRAMES) / 10
    if "gap" in changes:
        time[200:] += changes["gap"]
    arrays = {"fluorescence": fluorescence.astype(np.uint16), "reference": reference.astype(np.uint16)}
    return Recording.from_arrays(arrays, time=time, rate_hz=10, qc=changes.get("qc"))


def processed(tmp_path, *steps: str, **changes) -> Recording:
    chain = chain_from_steps([{"step": step} for step in steps or ("hemodynamics",)], "test")
    return Recording.open(chain.run(recording(**changes), tmp_path / "out.zarr"))


def raised(made: Recording) -> set[str]:
    qc = made.table("qc")
    assert qc is not None
    return {check.name for check in checks(made, qc) if check.raised}


def test_a_sound_recording_raises_no_flag(tmp_path):
    assert raised(processed(tmp_path)) == set()


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"bleach": 0.4}, "change of 'fluorescence' from start to end, share"),
        ({"bleach": -0.25}, "change of 'fluorescence' from start to end, share"),
        ({"saturate": True}, "pixels of 'fluorescence' ever saturated, share"),
        ({"gap": 3.0}, "frames missing in the frame times, share"),
    ],
)
def test_each_fault_raises_its_flag_alone(tmp_path, changes, flag):
    assert raised(processed(tmp_path, **changes)) == {flag}


def test_motion_lost_frames_and_unsure_channels_are_flagged(tmp_path):
    shifts = np.zeros((FRAMES, 2))
    shifts[::10] = 8
    shifts[5] = np.nan
    margin = np.full(2 * FRAMES, 10.0)
    margin[:20] = 0
    dropped = np.zeros((FRAMES, 2), dtype=bool)
    dropped[50:70] = True
    qc = xr.Dataset(
        {
            "motion": (("time_qc", "axis"), shifts),
            "rotation": ("time_qc", np.where(np.arange(FRAMES) < 10, 3.0, 0.0)),
            "demux_certainty": ("frame_qc", margin),
            "demux_dropped": (("time_qc", "channel"), dropped),
            "deconvolution_noise_level": ("roi", np.array([4.0, 7.0, 9.0])),
        }
    )
    assert raised(processed(tmp_path, qc=qc)) == {
        "motion, 95th percentile (pixels)",
        "frames rotated by 1 degree or more, share",
        "frames that could not be registered, share",
        "frames of uncertain channel, share",
        "dropped frames, interpolated, share",
        "noise level, median over ROIs (%/√Hz)",
    }


def test_the_values_are_those_of_the_data(tmp_path):
    made = processed(tmp_path, bleach=0.4)
    qc = made.table("qc")
    loss = next(check.value for check in checks(made, qc) if "change of 'fluorescence'" in check.name)
    assert loss == pytest.approx((1 - 0.4 * 0.975) / (1 - 0.4 * 0.025) - 1, abs=0.01)
    np.testing.assert_allclose(qc["fluorescence_mean"], made["fluorescence"].values.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(qc["fluorescence_course"], made["fluorescence"].values.mean(axis=(1, 2)), rtol=1e-6)


def test_every_figure_is_drawn_and_the_page_holds_them(tmp_path):
    made = processed(tmp_path, "register", "hemodynamics")
    section = quality_section(made)
    assert section is not None
    captions = " ".join(block.caption for block in section.blocks)
    for word in ("checks", "Mean images", "bleaching", "shifts", "Hemodynamic correction"):
        assert word in captions
    page = report([tmp_path / "out.zarr"], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "What a flag means" in page


def test_a_recording_that_kept_nothing_has_no_section():
    assert quality_section(recording()) is None


def test_thinning_keeps_the_mean_and_bounds_the_points():
    values = np.random.default_rng(0).normal(size=10_000)
    assert thinned(values).size <= 2000
    assert thinned(values).mean() == pytest.approx(values.mean())
    np.testing.assert_array_equal(thinned(values[:500]), values[:500])
