"""Labels of responses: each rule against its definition, fitted on training windows alone."""

from dataclasses import replace

import numpy as np
import pytest

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.data.window_config import WindowConfig
from neurodyn.data.windows import Windows

RATE = 10.0


def windows(rule: str, spikes: bool = False, **more) -> Windows:
    rng = np.random.default_rng(0)
    data = rng.normal(0, 0.1, (1000, 3)).astype(np.float32)
    data[30::80, 0] += 2.0
    start = np.arange(24) * 4.0 + 2.0
    neural = {"dff": data} | ({"spikes": (data > 1).astype(np.float32)} if spikes else {})
    recording = Recording.from_arrays(neural, rate_hz=RATE, stimulus={"start": start, "stop": start + 2})
    config = {"align": "events", "offset": -1.0, "duration": 3.0, "horizon": 2.0, "split": "trial"}
    return Windows.cut([recording], WindowConfig(**config, responses={"rule": rule, **more}))


def judged(some: Windows, seconds: float = 2.0) -> np.ndarray:
    return some.values()[0][:, 10 : 10 + round(seconds * RATE)]


def labels(some: Windows) -> np.ndarray:
    labelled = some.with_rule()
    return labelled.rule.labels(labelled)


@pytest.mark.parametrize("lasting", [2.0, 0.5])
def test_tsai_wen_compares_the_mean_size(lasting):
    some = windows("tsai_wen", threshold=0.09, lasting=lasting)
    expected = np.abs(judged(some, lasting)).mean(1) > 0.09
    assert 0.05 < expected.mean() < 0.95
    np.testing.assert_array_equal(labels(some), expected)


def test_outliers_compares_the_largest_size_with_all_training_frames():
    some = windows("outliers")
    values = some.values()[0].astype(float)
    np.testing.assert_array_equal(labels(some), np.abs(judged(some)).max(1) > values.mean() + 2 * values.std())


def test_outliers_95_compares_spreads_cell_by_cell():
    some = windows("outliers_95")
    spread = judged(some).std(1)
    np.testing.assert_array_equal(labels(some), spread > np.percentile(spread, 95, axis=0))


def test_outliers_baseline_compares_with_the_window_s_own_baseline():
    some = windows("outliers_baseline", baseline=0.6)
    before = np.abs(some.values()[0][:, 4:10])
    np.testing.assert_array_equal(labels(some), judged(some).mean(1) > before.mean(1) + 2 * before.std(1))


def test_events_and_deconvolution_ask_another_variable():
    some = windows("events", spikes=True)
    expected = (judged(some) > 1).any(1)
    np.testing.assert_array_equal(labels(some), expected)
    assert 0 < expected.mean() < 1
    assert not labels(windows("deconvolution", spikes=True, threshold=1.0)).any()
    with pytest.raises(DataError, match="no spikes"):
        windows("events").with_rule()


def test_levels_are_those_of_the_training_windows_alone():
    whole = windows("outliers_95")
    train = whole.take(np.arange(8)).with_rule()
    spread = judged(whole).std(1)
    expected = spread > np.percentile(spread[:8], 95, axis=0)
    np.testing.assert_array_equal(train.rule.labels(replace(whole, rule=train.rule)), expected)


def test_where_there_is_no_datum_there_is_no_label():
    some = windows("tsai_wen")
    some.recordings[0]["dff"].values[30:50, 1] = np.nan  # the second event's response
    found = labels(some)
    assert np.isnan(found[0, 1]) == np.isnan(some.recordings[0]["dff"].values[20:40, 1]).all()
    assert np.isfinite(found[:, 0]).all()
