"""A run's recordings are opened where they are, and only as they were."""

import shutil

import numpy as np
import pytest
import yaml

from neurodyn.core.errors import DataError
from neurodyn.core.files import sha256
from neurodyn.data.recording import Recording
from neurodyn.runs.folder import RunFolder
from neurodyn.runs.windows import PREDICTED, open_recordings


def recording(value):
    return Recording.from_arrays({"dff": np.full((20, 2), value, np.float32)}, rate_hz=10.0, session="a")


def test_a_recording_beside_the_run_is_found(tmp_path):
    path = recording(1).save(tmp_path / "run" / "a.zarr")
    assert open_recordings(RunFolder(tmp_path / "run"), {"a.zarr": sha256(path)})[0]["dff"].values[0, 0] == 1


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
        open_recordings(RunFolder(tmp_path / "run"), {str(path): then}, **more)
    assert caught.value.fix.startswith(again)
    assert caught.value.fix.endswith(f"neurodyn infer {tmp_path / 'run'} {path}")


@pytest.mark.parametrize("items", [None, [], ["a.zarr"], [{"path": "a.zarr"}]])
def test_a_configuration_without_checksums_is_refused(tmp_path, items):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"recordings": items}))
    with pytest.raises(DataError, match="with their checksums"):
        _ = RunFolder(tmp_path).inputs
