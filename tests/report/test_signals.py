"""The first figure is of the whole recording, or says which part it is of."""

from __future__ import annotations

import numpy as np
import pytest

from neurodyn.data.recording import Recording
from neurodyn.report import signals
from neurodyn.report.signals import overview, signals_section
from tests.report.fake_run import movie, traces


@pytest.mark.parametrize("make", [movie, traces])
def test_all_of_the_time_comes_first_then_a_minute(make):
    made = make()  # 162 s
    whole, minute = signals_section(made).blocks
    assert "0 to 162 s, the whole recording" in whole.caption
    assert "0 to 60 s" in minute.caption
    assert "Shaded: stimulus on." in whole.caption


def test_a_short_recording_has_one_figure():
    made = traces(trials=16)  # 66 s
    (whole,) = signals_section(made).blocks
    assert "0 to 66 s, the whole recording" in whole.caption


def test_the_overview_has_the_values_of_the_data():
    made = movie(trials=4)
    values = made["dff"].values.astype(float)
    seen = overview(made, "dff")
    np.testing.assert_allclose(seen.mean, values.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(seen.spread, values.std(axis=0), rtol=1e-9)
    np.testing.assert_allclose(seen.course, values[:, made.brain].mean(axis=1), rtol=1e-9)
    assert seen.share == 1


def test_nan_is_left_out_of_the_overview():
    values = np.arange(24.0).reshape(8, 3)
    values[2:4, 1] = np.nan
    values[:, 2] = np.nan
    seen = overview(Recording.from_arrays({"dff": values}, rate_hz=10), "dff")
    np.testing.assert_allclose(seen.mean[:2], np.nanmean(values[:, :2], axis=0))
    np.testing.assert_allclose(seen.spread[:2], np.nanstd(values[:, :2], axis=0))
    assert np.isnan(seen.mean[2])
    np.testing.assert_allclose(seen.course, np.nanmean(values[:, :2], axis=1))


def test_a_large_movie_is_read_in_parts_spread_over_it_and_that_is_said(monkeypatch):
    made = movie()
    frame = made["dff"].dtype.itemsize * 20 * 24
    monkeypatch.setattr(signals, "BLOCK_BYTES", 1)
    monkeypatch.setattr(signals, "READ_BYTES", 400 * frame)
    seen = overview(made, "dff")
    assert 0 < seen.share < 0.5
    read = np.flatnonzero(np.isfinite(seen.course))
    assert read[0] == 0 and read[-1] == made.time.size - 1
    caption = signals_section(made).blocks[0].caption
    assert f"Of this large movie {seen.share:.0%} of the frames were read" in caption


def test_too_many_events_are_not_shaded():
    caption = signals_section(traces(trials=120)).blocks[0].caption
    assert "Shaded" not in caption
    assert "Each point is the mean of 3 frames." in caption
