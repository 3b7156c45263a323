"""Every fault has a name, and is found beside the others."""

import numpy as np
import pytest
import xarray as xr

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.preprocess.faults import faults, faults_of_folder
from tests.preprocess.faulty import broken, sound

RNG = np.random.default_rng(0)


def said(recording):
    return [(one.severity, one.where, one.what) for one in faults(recording)]


def test_a_sound_recording_has_none():
    assert said(sound()) == []


def movie(**more):
    frames = RNG.integers(0, 4000, (300, 6, 8)).astype(np.uint16)
    frames[50:60, 2, 3] = 65535
    frames[:, 5, 7] = 7
    frames[101] = frames[100]
    return Recording.from_arrays({"fluorescence": frames}, rate_hz=10, indicator="GCaMP6s", **more)


def test_of_a_movie():
    whats = [what for _, _, what in said(movie())]
    assert whats == [
        "1 pixels are saturated in 10 of 300 frames (value 65535).",
        "1 of 48 pixels never change.",
        "1 frames are the same as the one before.",
    ]


def test_outside_the_brain_nothing_counts():
    brain = np.ones((6, 8), bool)
    brain[5, 7] = brain[2, 3] = False
    assert [what for _, _, what in said(movie(brain=brain))] == ["1 frames are the same as the one before."]


def test_repeated_frames_are_found_across_pieces():
    values = RNG.normal(size=(9000, 300)).astype(np.float32)
    values[4096] = values[4095]
    found = said(sound(neural={"dff": values}))
    assert [what for _, _, what in found] == ["1 frames are the same as the one before."]


BAD = np.array([[1.0, 0, 2, -3]] * 900) + RNG.normal(0, 0.01, (900, 4)) * [1, 0, 1, 1]
BAD[7, 0] = np.nan
FAULTS = [
    (sound(neural={"fluorescence": BAD}), "error", "neural/fluorescence", "1 ROIs have NaN"),
    (sound(neural={"fluorescence": BAD}), "warning", "neural/fluorescence", "1 of 4 ROIs never change"),
    (sound(neural={"fluorescence": BAD}), "warning", "neural/fluorescence", "2 ROIs have a mean of zero or less"),
    (sound(neural={"dff": np.zeros((900, 0))}), "error", "neural/dff", "It is empty"),
    (sound(indicator="unknown"), "warning", "indicator", "is not known"),
    (sound(indicator="GCaMP99"), "warning", "indicator", "no kinetics on record"),
    (
        sound(time=np.r_[np.arange(400), np.arange(410, 910)] / 30),
        "warning",
        "neural/time",
        "1 gaps, of 0.367 s at most; 10 frames are missing. The first gap follows frame 399.",
    ),
    (
        sound(stimulus={"start": [1.0, 31.0], "stop": [2.0, 32.0]}),
        "warning",
        "stimulus",
        "1 of 2 events lie outside the recording (0.0 to 30.0 s)",
    ),
    (sound(stimulus={"start": [100.0], "stop": [101.0]}), "error", "stimulus", "1 of 1 events lie outside"),
    (sound(stimulus={"start": [2.0, 1.0], "stop": [3.0, 2.0]}), "warning", "stimulus", "not in order"),
    (
        sound(rois=xr.Dataset({"mask_roi": ("mask", [0, 0, 1, 3]), "y": ("roi", [0, 1, np.nan, 3])})),
        "warning",
        "rois",
        "1 of 4 ROIs have no pixels",
    ),
    (sound(rois=xr.Dataset({"y": ("roi", [0, 1, np.nan, 3])})), "warning", "rois/y", "1 of 4 ROIs have no centre"),
    (sound(rois=xr.Dataset({"cell": ("roi", [4, 5, 4, 6])})), "error", "rois/cell", "1 cell ids stand more than once"),
    (
        sound(behavior=xr.Dataset({"speed": ("t", [1.0, np.nan, 2])}, {"t": [0.0, 1, 2]})),
        "warning",
        "behavior/speed",
        "1 of 3 samples are NaN",
    ),
    (
        sound(behavior=xr.Dataset({"speed": ("t", [1.0, 2])}, {"t": [90.0, 91]})),
        "error",
        "behavior/t",
        "outside the recording",
    ),
    (
        sound(behavior=xr.Dataset({"speed": ("t", [1.0, 2])}, {"t": [1.0, 1]})),
        "error",
        "behavior/t",
        "do not increase",
    ),
]


@pytest.mark.parametrize(("recording", "severity", "where", "what"), FAULTS)
def test_each_fault(recording, severity, where, what):
    assert any(one[:2] == (severity, where) and what in one[2] for one in said(recording))


def test_a_folder_that_cannot_be_opened_tells_all_its_faults(tmp_path):
    path = broken(tmp_path / "a.zarr")
    with pytest.raises(DataError):
        Recording.open(path)
    assert [(one.where, one.severity) for one in faults_of_folder(path)] == [
        ("neural/dff", "error"),
        ("rate_hz", "error"),
        ("neural/fluorescence", "error"),
    ]
    with pytest.raises(DataError, match="does not exist"):
        faults_of_folder(tmp_path / "b.zarr")
