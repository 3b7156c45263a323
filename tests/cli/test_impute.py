"""`neurodyn impute`: what is missing is filled, and what cannot be is said."""

import numpy as np
import pytest

from neurodyn.data.recording import Recording


@pytest.fixture
def traces(tmp_path):
    data = np.sin(np.arange(400)[:, None] / 9 + np.arange(5)).astype(np.float32)
    data[100:103, 1] = np.nan
    return Recording.from_arrays({"dff": data}, rate_hz=10, session="s").save(tmp_path / "traces.zarr")


def test_a_recording_is_filled_once(neurodyn, traces, tmp_path):
    asked = ("impute", traces, "--model", "svd", "--reject", "20-20.3,30-30.1", "--set", "model={components: 2}")
    done = neurodyn(*asked, "-o", tmp_path / "out.zarr")
    assert done.code == 0, done.err
    assert done.out.strip() == str(tmp_path / "out.zarr")
    after = Recording.open(tmp_path / "out.zarr")
    assert after.variables == ["dff", "dff_imputed", "dff_sd"]
    assert np.flatnonzero(after["dff_imputed"].values[:, 1]).tolist() == [100, 101, 102, 200, 201, 202, 300]
    assert [step["step"] for step in after.history] == ["holes", "impute"]
    again = neurodyn(*asked, "-o", tmp_path / "out.zarr")
    assert again.code == 0 and "up to date" in again.err
    other = neurodyn("impute", traces, "--model", "linear", "-o", tmp_path / "out.zarr")
    assert other.code == 2 and "--existing" in other.err


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        ((), 2, "one model"),
        (("--model", "svd", "--run", "runs/x"), 2, "one model"),
        (("--model", "cst"), 2, "without training"),
        (("--model", "svdd"), 2, "svd"),
        (("--model", "linear", "--reject", "five"), 2, "--reject five"),
        (("--model", "linear", "--reject", "5-3"), 2, "starts before it stops"),
        (("--model", "linear", "--pixels", "none.tif"), 3, "none.tif"),
        (("--run", "nowhere"), 3, "not a finished run"),
        (("--model", "linear", "--set", "windows.duration=100"), 3, "No window"),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_nothing(neurodyn, traces, tmp_path, more, code, said):
    done = neurodyn("impute", traces, *more, "-o", tmp_path / "out.zarr")
    assert done.code == code, done.err
    assert said in done.err.replace("\n", " ")
    assert not (tmp_path / "out.zarr").exists()
