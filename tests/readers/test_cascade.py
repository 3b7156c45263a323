"""Cascade's ground-truth files: values, times and spikes as they are, and clear about bad ones."""

import numpy as np
import pytest
from scipy.io import savemat

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.recording import Recording
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.read import read


def write(folder, stretches, name="cell.mat", dataset="DS09-GCaMP6f-m-V1"):
    """Write stretches of (time, ΔF/F, spike times in s) as the database does."""
    target = folder / dataset / name
    target.parent.mkdir(parents=True, exist_ok=True)
    cells = np.empty((1, len(stretches)), dtype=object)
    for k, (time, dff, spikes) in enumerate(stretches):
        cells[0, k] = {"fluo_time": time, "fluo_mean": dff, "events_AP": np.asarray(spikes, float) * 1e4}
    savemat(target, {"CAttached": cells})
    return target


def stretch(start=0.0, frames=100, rate=20.0, spikes=(0.5, 1.26), seed=0):
    time = start + np.arange(frames) / rate
    return time, np.random.default_rng(seed).normal(size=frames), np.asarray(spikes) + start


def test_stretches_are_laid_end_to_end_with_their_spikes(tmp_path):
    first, second = stretch(), stretch(start=50.0, seed=1)
    recording = read(write(tmp_path, [first, second]))
    assert recording.indicator == "GCaMP6f"
    assert recording.tree.attrs["dataset"] == "DS09-GCaMP6f-m-V1"
    assert recording.session == "cell"
    assert recording.rate_hz == pytest.approx(20)
    np.testing.assert_allclose(recording["dff"].values[:, 0], np.r_[first[1], second[1]], rtol=1e-6)
    begin = 99 / 20 + 1.0
    np.testing.assert_allclose(recording.time, np.r_[np.arange(100) / 20, begin + np.arange(100) / 20])
    truth = recording.table("truth")
    np.testing.assert_allclose(truth["spike_time"].values, [0.5, 1.26, begin + 0.5, begin + 1.26])
    assert truth["spike_roi"].values.tolist() == [0] * 4
    counts = truth["spikes"].values[:, 0]
    assert np.flatnonzero(counts).tolist() == [10, 25, 110, 125]


def test_damaged_frames_and_spikes_are_left_out(tmp_path):
    time, dff, spikes = stretch(spikes=(0.5, np.nan, 80.0, -3.0))
    time, dff = time.copy(), dff.copy()
    time[7], dff[20], time[-1] = np.nan, np.nan, time[-2]
    recording = read(write(tmp_path, [(time, np.r_[dff, 0.0], spikes)]))
    assert recording.time.size == 97
    assert np.isfinite(recording["dff"].values).all()
    assert recording.table("truth")["spike_time"].values.tolist() == [0.5]


def test_it_survives_conversion(tmp_path):
    recording = read(write(tmp_path, [stretch()]))
    opened = Recording.open(recording.save(tmp_path / "out.zarr"))
    np.testing.assert_array_equal(opened["dff"].values, recording["dff"].values)
    np.testing.assert_array_equal(opened.table("truth")["spike_time"].values, [0.5, 1.26])


@pytest.mark.parametrize(
    ("dataset", "indicator"),
    [
        ("DS18-R-CaMP-m-CA3", "R-CaMP"),
        ("DS02-OGB1-2-m-V1", "OGB1"),
        ("DS19-jRCaMP1a-m-V1", "jRCaMP1a"),
        ("X-DS09-GCaMP6f-m-V1", "GCaMP6f"),
    ],
)
def test_dataset_and_indicator_are_in_the_folders_name(tmp_path, dataset, indicator):
    recording = read(write(tmp_path, [stretch()], dataset=dataset))
    assert (recording.tree.attrs["dataset"], recording.indicator) == (dataset, indicator)


def test_a_folder_of_another_name_gives_no_indicator(tmp_path):
    path = write(tmp_path, [stretch()], dataset="mine")
    assert read(path).indicator == "unknown"
    assert read(path, ReadOptions(indicator="GCaMP6s")).indicator == "GCaMP6s"


def test_stretches_of_different_rates_are_refused(tmp_path):
    path = write(tmp_path, [stretch(), stretch(rate=30.0)])
    with pytest.raises(DataError, match="differ in frame rate"):
        read(path)


def test_files_that_are_none_of_these_are_refused(tmp_path):
    empty = tmp_path / "empty.mat"
    savemat(empty, {"CAttached": np.zeros((1, 3))})
    with pytest.raises(DataError, match="no usable recording"):
        read(empty, reader="cascade")
    whole = write(tmp_path, [stretch()])
    short = tmp_path / "short.mat"
    short.write_bytes(whole.read_bytes()[: whole.stat().st_size // 3])
    with pytest.raises(DataError, match="it is truncated"):
        read(short, reader="cascade")


def test_options_without_use_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="fs"):
        read(write(tmp_path, [stretch()]), ReadOptions(fs=10))


def test_the_real_files_hold_what_their_readme_says(shared_data):
    folder = shared_data / "ground_truth"
    recordings = [read(path) for path in sorted(folder.glob("DS*/*.mat"))[::4]]
    assert all(recording.indicator != "unknown" for recording in recordings)
    assert all(recording.table("truth").sizes["spike"] > 10 for recording in recordings)
