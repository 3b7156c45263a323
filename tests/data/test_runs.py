"""A run's recordings are opened where they are, and only as they were."""

import shutil

import numpy as np
import pytest

from neurodyn.core.errors import DataError
from neurodyn.core.files import sha256
from neurodyn.data.recording import Recording
from neurodyn.data.runs import PREDICTED, open_recordings, recordings_on_record


def recording(value):
    return Recording.from_arrays({"dff": np.full((20, 2), value, np.float32)}, rate_hz=10.0, session="a")


def test_a_recording_beside_the_run_is_found(tmp_path):
    path = recording(1).save(tmp_path / "run" / "a.zarr")
    assert open_recordings(tmp_path / "run", {"a.zarr": sha256(path)})[0]["dff"].values[0, 0] == 1


@pytest.mark.parametrize(
    ("more", "what", "again"),
    [({}, "was trained on it", "Train again"), ({"did": PREDICTED}, "predicted it", "Predict again")],
)
def test_another_content_is_refused_by_name(tmp_path, more, what, again):
    path = recording(1).save(tmp_path / "a.zarr")
    then = sha256(path)
    shutil.rmtree(path)
    recording(2).save(path)
    with pytest.raises(DataError, match=f"has changed since run {what}") as caught:
        open_recordings(tmp_path / "run", {str(path): then}, **more)
    assert caught.value.fix.startswith(again)
    assert caught.value.fix.endswith(f"neurodyn infer {tmp_path / 'run'} {path}")


@pytest.mark.parametrize("items", [None, [], ["a.zarr"], [{"path": "a.zarr"}]])
def test_a_configuration_without_checksums_is_refused(tmp_path, items):
    with pytest.raises(DataError, match="with their checksums"):
        recordings_on_record(tmp_path, {"recordings": items})
