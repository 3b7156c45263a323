"""Missing frames are no information: windows that hold them are left out, and that is said."""

from dataclasses import replace

import numpy as np
import pytest

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.data.scores import read_scores
from neurodyn.data.window_config import WindowConfig
from neurodyn.decode.run import decode
from neurodyn.decode.settings import DecodeConfig

EVENTS = WindowConfig(duration=3.0, align="events", offset=-1.0)
TRIALS, RATE, PERIOD = 40, 10.0, 4.0


def session(seed, gap=None, cells=6, response=0.0):
    """Make traces with a contrast per trial; `gap(dff, time, start, contrast)` takes frames away."""
    rng = np.random.default_rng(seed)
    start = 1.0 + PERIOD * np.arange(TRIALS)
    contrast = rng.permutation(np.resize([0.0, 0.25, 0.5, 1.0], TRIALS))
    time = np.arange(round((TRIALS * PERIOD + 2) * RATE)) / RATE
    dff = 1 + 0.1 * rng.normal(size=(time.size, cells))  # a level far from 0, where a gap would be seen
    for onset, value in zip(start, contrast, strict=True):
        on = (time >= onset) & (time < onset + 2)
        dff[on] += response * value
        if gap is not None:
            gap(dff, time, onset, value)
    stimulus = {"start": start, "stop": start + 2, "contrast": contrast}
    return Recording.from_arrays({"dff": dff.astype(np.float32)}, rate_hz=RATE, stimulus=stimulus)


def blink(dff, time, onset, contrast):
    """Lose .3 s of the trials of the highest contrast, and one trial of another."""
    if contrast == 1.0 or onset == 1.0:
        dff[(time >= onset + 0.5) & (time < onset + 0.8)] = np.nan


def scores(recording, folder, **more):
    path = decode(recording.save(folder / "one.zarr"), config=DecodeConfig(**({
        "target": "contrast", "windows": EVENTS, "shuffles": 40, "splits": ("trial",)} | more)))  # fmt: skip
    return {s.features: s for s in read_scores(path) if s.fold == "all" and s.metric in ("r2", "accuracy")}


@pytest.mark.parametrize("decoder", ["ridge", "knn"])
def test_frames_missing_in_one_condition_tell_nothing(tmp_path, decoder):
    found = [scores(session(seed, blink), tmp_path / str(seed), decoder=decoder, task="regress") for seed in range(4)]
    for each in found:
        assert {s.n for s in each.values()} == {30} or {s.n for s in each.values()} == {29}
        assert all("hold frames without data (NaN) in dff" in s.note for s in each.values())
        assert all("where contrast is 1.0 (10 of 10)" in s.note for s in each.values())
    assert np.mean([s.value for each in found for s in each.values()]) < 0.05
    assert np.mean([s.p <= 0.05 for each in found for s in each.values()]) < 0.3


def test_what_is_whole_is_decoded_as_if_alone(tmp_path):
    def few(dff, time, onset, contrast):
        if onset in (5.0, 41.0):
            dff[(time >= onset) & (time < onset + 0.3)] = np.nan

    told, whole = (scores(session(1, gap, response=0.3), tmp_path / name) for gap, name in ((few, "a"), (None, "b")))
    assert {s.n for s in told.values()} == {TRIALS - 2}
    assert {s.n for s in whole.values()} == {TRIALS}
    assert all("NaN" not in s.note for s in whole.values())
    assert told["dff:response"].value > 0.9


def test_a_cell_that_is_mostly_missing_is_left_out_instead_of_the_windows(tmp_path):
    def lost(dff, time, onset, contrast):
        dff[time < 100, 2] = np.nan

    found = scores(session(2, lost, response=0.3), tmp_path)
    assert {s.n for s in found.values()} == {TRIALS}
    assert all("1 cells left out: without data in more than 20% of the windows" in s.note for s in found.values())
    assert found["dff:response"].value > 0.9


def test_nothing_whole_is_refused_with_a_way_out(tmp_path):
    def all_gone(dff, time, onset, contrast):
        dff[(time >= onset) & (time < onset + 0.3)] = np.nan

    with pytest.raises(DataError, match="No window of 'contrast' is whole"):
        scores(session(0, all_gone), tmp_path)


def test_a_models_missing_values_are_no_zeros(tmp_path):
    from neurodyn.decode.features import build_features
    from neurodyn.decode.source import open_source
    from tests.report.fake_run import make_run

    source = open_source(make_run(tmp_path / "run"), DecodeConfig(target="contrast"))
    prediction = source.prediction.copy()
    latents = prediction["latents"].values.copy()
    latents[3] = np.nan
    prediction["latents"] = prediction["latents"].copy(data=latents)
    rows = build_features("latents:last", replace(source, prediction=prediction), DecodeConfig(target="contrast"))
    assert np.isnan(rows[3]).all() and np.isfinite(np.delete(rows, 3, axis=0)).all()
