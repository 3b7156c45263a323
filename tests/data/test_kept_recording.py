"""A recording on disk of the version of today must be read by every later neurodyn; one of a later is refused."""

import json
import shutil

import numpy as np
import pytest

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.data.schema import SCHEMA_VERSION
from neurodyn.readers.read import read
from tests.data.recording_v1 import BRAIN, FRAMES, KEPT


def test_the_kept_recording_of_version_1_is_read_value_by_value():
    recording = read(KEPT)
    assert (recording.session, recording.rate_hz, recording.indicator) == ("kept", 10.0, "GCaMP6s")
    assert recording.variables == ["dff", "fluorescence"]
    np.testing.assert_array_equal(recording.time, np.arange(12) / 10)
    np.testing.assert_array_equal(recording["dff"].values, FRAMES[:, None] * [0.25, -0.5])
    movie = recording["fluorescence"]
    assert movie.dims == ("time", "y", "x") and movie.dtype == np.uint16
    np.testing.assert_array_equal(movie.values, FRAMES[:, None, None] + [[0, 1, 2], [3, 4, 5]])
    assert (movie.attrs["units"], recording["dff"].attrs["units"]) == ("counts", "ΔF/F")
    np.testing.assert_array_equal(recording.brain, BRAIN)
    columns = {name: column.values.tolist() for name, column in recording.stimulus.data_vars.items()}
    assert columns == {
        "start": [0.1, 0.6],
        "stop": [0.2, 0.7],
        "contrast": [0.0, 1.0],
        "name": ["blank", "grating"],
    }
    behavior = recording.table("behavior")
    assert behavior["speed"].values.tolist() == [1.5, 2.5, 3.5]
    assert behavior["time_wheel"].values.tolist() == [0.0, 0.5, 1.0]
    rois = recording.table("rois")
    assert (rois["y"].values.tolist(), rois["x"].values.tolist()) == ([0.5, 1.5], [2.0, 1.0])
    assert recording.history == [{"step": "read tiff", "params": {"fs": 10.0}, "version": "1"}]


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (SCHEMA_VERSION + 1, "made by a newer neurodyn"),
        (0, "format is unknown"),
        ("one", "format is unknown"),
        (None, "This is not a neurodyn recording"),
    ],
)
def test_other_versions_are_refused(version, said, tmp_path):
    copy = shutil.copytree(KEPT, tmp_path / "a.zarr")
    described = json.loads((copy / "zarr.json").read_text())
    del described["attributes"]["schema_version"]
    described["attributes"] |= {} if version is None else {"schema_version": version}
    (copy / "zarr.json").write_text(json.dumps(described))
    with pytest.raises(DataError, match=said) as raised:
        Recording.open(copy)
    assert str(copy) in raised.value.what
