"""Courses of behaviour that lie beside a recording."""

import numpy as np
import pytest
import scipy.io

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.readers.behavior import BehaviorLog
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.questions import QuestionError
from neurodyn.readers.read import read

FRAMES, RATE = 50, 10.0
POSITION = np.linspace(3, 22, FRAMES)


def source(folder):
    np.save(folder / "traces.npy", np.random.default_rng(0).normal(size=(FRAMES, 3)))
    return folder / "traces.npy"


def with_log(path, **log):
    return read(path, ReadOptions(fs=RATE, behavior=BehaviorLog(**log)))


def test_one_sample_per_frame_from_a_cell_of_a_matlab_file(tmp_path):
    cells = np.empty((1, 2), dtype=object)
    cells[0, 0], cells[0, 1] = np.zeros(7), POSITION.astype(np.uint8)[:, None]
    scipy.io.savemat(tmp_path / "trace.mat", {"trace": cells})
    recording = with_log(source(tmp_path), file="trace.mat", key="trace/1", columns=("position",))
    behavior = recording.table("behavior")
    np.testing.assert_array_equal(behavior["position"], np.floor(POSITION))
    np.testing.assert_allclose(behavior["sample"], recording.time)
    assert recording.history[-1]["params"]["behavior"]["key"] == "trace/1"


def test_a_clock_of_its_own_and_a_round_trip(tmp_path):
    (tmp_path / "run.csv").write_text("speed,gear,note\n" + "1.5,2,a\n" * 8)
    recording = with_log(source(tmp_path), file="run.csv", fs=4.0, start=0.5)
    opened = Recording.open(recording.save(tmp_path / "r.zarr")).table("behavior")
    assert set(opened.data_vars) == {"speed", "gear"}
    np.testing.assert_allclose(opened["sample"], 0.5 + np.arange(8) / 4)


def test_courses_in_the_source_itself(tmp_path):
    np.savez(tmp_path / "all.npz", dff=np.zeros((FRAMES, 3)), position=POSITION)
    recording = read(
        tmp_path / "all.npz",
        ReadOptions(fs=RATE, key="dff", behavior=BehaviorLog(key="position", columns=("position",))),
    )
    np.testing.assert_allclose(recording.table("behavior")["position"], POSITION)


def test_what_does_not_fit_is_refused(tmp_path):
    path = source(tmp_path)
    (tmp_path / "short.csv").write_text("speed\n" + "1\n" * 8)
    (tmp_path / "words.csv").write_text("note\n" + "a\n" * FRAMES)
    with pytest.raises(DataError, match="8 samples and 50 frames"):
        with_log(path, file="short.csv")
    with pytest.raises(DataError, match="no courses of one length"):
        with_log(path, file="words.csv")
    with pytest.raises(DataError, match="behavior: there is no file"):
        with_log(path, file="absent.csv")


@pytest.mark.parametrize(
    ("header", "log"), [("Time (ms)", {}), ("time", {"unit": "ms"}), ("clock", {"time": "clock", "unit": "ms"})]
)
def test_samples_are_at_the_times_of_their_column(header, log, tmp_path):
    rows = "".join(f"{500 + 250 * k},{k}\n" for k in range(12))
    (tmp_path / "run.csv").write_text(f"{header},speed\n{rows}")
    behavior = with_log(source(tmp_path), file="run.csv", **log).table("behavior")
    np.testing.assert_allclose(behavior["sample"], 0.5 + np.arange(12) / 4)
    assert list(behavior.data_vars) == ["speed"]


def test_times_beyond_the_recording_are_asked_about(tmp_path):
    rows = "".join(f"{500 + 250 * k},{k}\n" for k in range(12))
    (tmp_path / "run.csv").write_text(f"time,speed\n{rows}")
    with pytest.raises(QuestionError) as question:
        with_log(source(tmp_path), file="run.csv")
    assert question.value.need.option == "--set source.behavior.unit=ms"
