"""What `inspect` advises, typed word by word, leads to the right recording or to a clear end."""

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile

from neurodyn.data.recording import Recording
from tests.readers import makers

RNG = np.random.default_rng(0)
TRACES = RNG.random((4, 60)).astype("f4")  # ROI by time


@dataclass(frozen=True)
class Case:
    """A source as a rig or a program writes it, and what its recording must be.

    Parameters
    ----------
    make
        Writes it into a folder and returns its path and, by name of the variable, what must be read, (time, ...).
    rate
        Hz; stands for HZ in what is advised.
    needs
        Options that `inspect` must name.
    given
        Options for `inspect`.
    first
        Time of the first frame, s.
    """

    make: Callable[[Path], tuple[Path, dict[str, np.ndarray]]]
    rate: float
    needs: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    first: float = 0.0
    columns: dict[str, list[float]] = field(default_factory=dict)


def _fall(folder):
    verdicts = np.c_[np.ones(4), RNG.random(4)]
    scipy.io.savemat(folder / "Fall.mat", {"F": TRACES, "Fneu": TRACES / 2, "spks": TRACES * 3, "iscell": verdicts})
    return folder / "Fall.mat", {"fluorescence": TRACES.T, "neuropil": TRACES.T / 2, "spikes": TRACES.T * 3}


def _suite2p(folder):
    for plane in range(2):
        place = folder / f"session/suite2p/plane{plane}"
        place.mkdir(parents=True)
        np.save(place / "F.npy", TRACES + plane)
        np.save(place / "iscell.npy", np.array([[1, 0.9], [0, 0.2], [1, 0.8], [1, 0.7]]))
        np.save(place / "ops.npy", {"fs": 8.0, "meanImg": np.ones((16, 24))})
    return folder / "session", {"fluorescence": TRACES[[0, 2, 3]].T}


def _one(name, values, right, **more):
    def make(folder):
        path = folder / name
        if path.suffix == ".npy":
            np.save(path, values)
        else:
            np.savez(path, **values)
        for file, text in more.items():
            (folder / f"{file}.csv").write_text(text)
        return path, right

    return make


def _caiman(folder):
    path = makers.caiman(folder / "a.hdf5", TRACES, YrA=TRACES / 4, S=TRACES * 2)
    return path, {"denoised": TRACES.T, "fluorescence": TRACES.T * 1.25, "spikes": TRACES.T * 2}


def _two_cameras(folder):
    movie = RNG.integers(0, 99, (40, 16, 18)).astype("u2")
    with h5py.File(folder / "a.h5", "w") as file:
        file["green_camera"], file["red_camera"] = movie, movie + 1
        file["when"] = 0.5 + np.arange(40) // 2 + 0.05 * (np.arange(40) % 2)
    return folder / "a.h5", {"fluorescence": movie}


def _constant(level, shape=(16, 24), kind="u2"):
    return np.full(shape, level, kind)


def _movie(*levels, **more):
    return np.stack([_constant(level, **more) for level in levels])


def _large_stacks(folder):
    movie = RNG.integers(0, 99, (50, 16, 24)).astype("u2")
    (folder / "big").mkdir()
    for k in range(2):
        metadata = {"axes": "TYX", "finterval": 0.1}
        tifffile.imwrite(folder / f"big/{k}.tif", movie[25 * k :][:25], imagej=True, truncate=True, metadata=metadata)
    return folder / "big", {"fluorescence": movie}


def _hyperstacks(folder):
    movie = np.zeros((6, 3, 16, 24), "u2") + np.array([100, 300, 900], "u2")[None, :, None, None]
    (folder / "volumes").mkdir()
    for k in range(2):
        metadata = {"axes": "TZYX", "finterval": 0.25}
        tifffile.imwrite(folder / f"volumes/{k}.tif", movie, imagej=True, metadata=metadata)
    return folder / "volumes", {"fluorescence": _movie(*[100] * 12)}


def _prairie(folder):
    place = folder / "TSeries-1"
    place.mkdir()
    for c in range(6):
        for z in range(3):
            name = f"TSeries-1_Cycle{c + 1:05d}_Ch2_{z + 1:06d}.ome.tif"
            tifffile.imwrite(place / name, _constant(100 * (z + 1) + c))
    cycles = "".join(f'<Sequence type="TSeries ZSeries Element" cycle="{c + 1}"/>' for c in range(6))
    period = '<PVStateShard><PVStateValue key="framePeriod" value="0.0333"/></PVStateShard>'
    (place / "TSeries-1.xml").write_text(f"<PVScan>{period}{cycles}</PVScan>")
    return place, {"fluorescence": _movie(*range(100, 106))}


def _thor(folder):
    (folder / "thor").mkdir()
    for c, letter in enumerate("AB"):
        for k in range(6):
            tifffile.imwrite(folder / f"thor/Chan{letter}_0001_0001_0001_{k + 1:04d}.tif", _constant(100 + 500 * c + k))
    return folder / "thor", {"fluorescence": _movie(*range(100, 106)), "reference": _movie(*range(600, 606))}


def _scanimage(name, header, frames, right):
    def make(folder):
        text = f"SI.VERSION_MAJOR = 2020\nSI.hChannels.channelSave = 1\nSI.hRoiManager.scanFrameRate = 30\n{header}"
        with tifffile.TiffWriter(folder / name, bigtiff=True) as writer:
            for frame in frames:
                writer.write(frame, software=text, metadata=None, contiguous=False)
        return folder / name, {"fluorescence": right}

    return make


def _fields():
    frames = [
        np.concatenate([_constant(100 + k), _constant(0, (4, 24)), _constant(1000 + k)]).astype("i2") for k in range(6)
    ]
    header = "SI.hRoiManager.mroiEnable = true"
    return _scanimage("mroi.tif", header, frames, np.stack(frames))


def _bursts():
    header = "SI.hStackManager.enable = true\nSI.hStackManager.framesPerSlice = 2\nSI.hStackManager.numSlices = 2"
    levels = [100, 100, 200, 200] * 3
    return _scanimage("fps.tif", header, [_constant(x, kind="i2") for x in levels], _movie(*[100] * 6, kind="i2"))


def _stopped(folder):
    movie = RNG.integers(0, 99, (10, 16, 24)).astype("u2")
    path = folder / "short.ome.tif"
    tifffile.imwrite(path, movie, metadata={"axes": "TYX"}, ome=True)
    path.write_bytes(path.read_bytes().replace(b'SizeT="10"', b'SizeT="30"'))
    return path, {"fluorescence": movie}


STAMPS = "Frame Number,Time Stamp (ms),Buffer\n" + "".join(f"{k},{50 * k + 37},0\n" for k in range(60))
BARE = "time\n" + "".join(f"{50 * k + 37}\n" for k in range(60))
TRIALS = RNG.random((6, 5, 12)).astype("f4")
CASES = {
    "Fall.mat": Case(_fall, 30.0, ("--fs HZ",)),
    "planes of suite2p": Case(_suite2p, 8.0, ("--set source.plane=0", "--set source.pickle=true")),
    "ROI by time": Case(_one("F.npy", TRACES, {"fluorescence": TRACES.T}), 30.0, ("--axes roi,time", "--fs HZ")),
    "more ROIs than frames": Case(_one("F.npy", TRACES.T, {"fluorescence": TRACES}), 30.0, ("--axes roi,time", "--fs HZ")),
    "stamps in ms": Case(
        _one("f.npy", TRACES.T, {"fluorescence": TRACES.T}, stamps=STAMPS), 20.0, first=0.037,
        given=("--set", "source.frame_times.file=stamps.csv"),
    ),
    "stamps without unit": Case(
        _one("f.npy", TRACES.T, {"fluorescence": TRACES.T}, stamps=BARE), 20.0, ("--set source.frame_times.unit=ms",),
        given=("--axes", "time,roi", "--set", "source.frame_times.file=stamps.csv"), first=0.037,
    ),
    "ΔF/F in trials": Case(
        _one(
            "a.npz", {"dff": TRIALS, "direction": np.arange(6) * 45, "t": np.arange(12) / 10},
            {"dff": TRIALS.transpose(0, 2, 1).reshape(72, 5)},
        ), 10.0, ("--axes trial,roi,time", "--fs HZ"), columns={"direction": [0, 45, 90, 135, 180, 225]},
    ),
    "ΔF/F with events": Case(
        _one(
            "a.npz", {"deltaF": TRACES.T, "start": np.array([1.0, 2.0]), "stop": np.array([1.5, 2.5]), "image": np.array([3, 4])},
            {"dff": TRACES.T},
        ), 10.0, given=("--fs", "10"), columns={"image": [3, 4], "start": [1, 2]},
    ),
    "CaImAn": Case(_caiman, 20.0),
    "two cameras": Case(_two_cameras, 20.0, given=("--key", "green_camera", "--set", "source.times=when"), first=0.5),
    "stacks beyond 4 GiB": Case(_large_stacks, 10.0),
    "a folder of volumes": Case(_hyperstacks, 4.0, ("--set source.plane=0",)),
    "Prairie View": Case(_prairie, 10.01, ("--set source.plane=0",)),
    "ThorImage": Case(_thor, 10.0, ("--channels fluorescence,reference", "--fs HZ")),
    "ScanImage, frames per slice": Case(_bursts(), 30.0, ("--set source.plane=0",)),
    "ScanImage, fields": Case(_fields(), 30.0, ("--set source.rows=0:36",)),
    "OME, stopped": Case(_stopped, 10.0, ("--set source.incomplete=true", "--fs HZ")),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_advice_followed_word_by_word_gives_the_right_recording(name, neurodyn, tmp_path, monkeypatch):
    case = CASES[name]
    monkeypatch.chdir(tmp_path)
    path, right = case.make(tmp_path)
    done = neurodyn("inspect", path, *case.given, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert tuple(need["option"] for need in found.get("needs", [])) == case.needs
    convert = next(step for step in found["next"] if step.startswith("neurodyn convert"))
    done = neurodyn(*_told(convert, case))
    assert done.code == 0, done.err
    recording = Recording.open(tmp_path / "recording.zarr")
    assert set(recording.variables) == set(right)
    for variable, values in right.items():
        np.testing.assert_allclose(recording[variable].values, values)
    assert recording.rate_hz == pytest.approx(case.rate, rel=1e-3)
    assert recording.time[0] == pytest.approx(case.first)
    for column, values in case.columns.items():
        assert recording.stimulus[column].values.tolist() == values


@pytest.mark.parametrize("name", CASES)
def test_nothing_told_ends_in_three_lines_or_in_the_right_recording(name, neurodyn, tmp_path, monkeypatch):
    case = CASES[name]
    monkeypatch.chdir(tmp_path)
    path, _ = case.make(tmp_path)
    done = neurodyn("convert", path, "recording.zarr", *case.given)
    if not case.needs:
        assert done.code == 0, done.err
        return
    lines = [line for line in done.err.splitlines() if line.strip()]
    at = next(k for k, line in enumerate(lines) if line.startswith("Error: "))
    assert done.code == 3 and len(lines) - at == 3, done.err
    assert not (tmp_path / "recording.zarr").exists()
    assert case.needs[0].replace("HZ", "30") in lines[-1]


def _told(command, case):
    return shlex.split(command.replace("HZ", f"{case.rate:g}"))[1:]


def test_a_user_who_stands_in_the_source_is_told_to_write_beside_it(neurodyn, tmp_path, monkeypatch):
    path, right = _large_stacks(tmp_path)
    monkeypatch.chdir(path)
    found = json.loads(neurodyn("inspect", ".", "--json").out)
    convert = next(step for step in found["next"] if step.startswith("neurodyn convert"))
    assert neurodyn(*shlex.split(convert)[1:]).code == 0
    np.testing.assert_array_equal(
        Recording.open(tmp_path / "recording.zarr")["fluorescence"].values, right["fluorescence"]
    )


def test_two_cameras_are_told_apart_as_the_note_says(neurodyn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, right = _two_cameras(tmp_path)
    found = json.loads(neurodyn("inspect", path, "--key", "green_camera", "--set", "source.times=when", "--json").out)
    assert found["duration"].endswith("40 frames")
    said = next(note for note in found["notes"] if "first: 1, every: 2" in note)
    assert any("Intervals alternate between 0.05 and 0.95 s" in note and "1 Hz each" in note for note in found["notes"])
    option = shlex.split(said[said.index("--set") : said.rindex("}'") + 2])
    assert neurodyn("convert", path, "a.zarr", *option, "--set", "source.times=when").code == 0
    recording = Recording.open(tmp_path / "a.zarr")
    np.testing.assert_array_equal(recording["fluorescence"].values, right["fluorescence"][::2])
    np.testing.assert_array_equal(recording["reference"].values, right["fluorescence"][1::2])
    assert recording.rate_hz == pytest.approx(1)


def test_chains_that_are_advised_do_not_fail_on_caimans_estimates(neurodyn, tmp_path):
    path, _ = _caiman(tmp_path)
    found = json.loads(neurodyn("inspect", path, "--json").out)
    assert not [step for step in found["next"] if "preprocess" in step]
    assert any("estimates.detrend_df_f" in note for note in found["notes"])


def test_what_was_told_is_told_again_in_every_command(neurodyn, tmp_path):
    path = tmp_path / "a b.h5"
    with h5py.File(path, "w") as file:
        file["movie"], file["other"] = np.zeros((30, 16, 18), "u2"), np.zeros((30, 16, 18), "u2")
    told = ("--key", "movie", "--fs", "2.5", "--channels", "green,red", "--set", "source.bin=2")
    found = json.loads(neurodyn("inspect", path, *told, "--json").out)
    assert [step.split()[1] for step in found["next"]] == ["extract", "preprocess", "convert"]
    for step in found["next"]:
        words = shlex.split(step)
        assert {str(path), "movie", "2.5", "source.bin=2"} <= set(words)
        assert "green,red" in words or "source.channels=[green,red]" in words


@pytest.mark.parametrize(("seconds", "model"), [(86, None), (400, "lfads")])
def test_a_model_is_offered_where_there_is_enough_to_learn_from(seconds, model, neurodyn, tmp_path):
    values = np.ones((seconds, 3), "f4")
    path = Recording.from_arrays({"dff": values, "spikes": values}, rate_hz=1).save(tmp_path / "a.zarr")
    found = json.loads(neurodyn("inspect", path, "--json").out)
    offered = [step.split()[2] for step in found["next"] if step.startswith("neurodyn train")]
    assert offered == ([model] if model else [])


def test_frames_of_nan_are_left_out_as_the_error_says_and_never_end_in_nothing(neurodyn, tmp_path):
    values = 100 + RNG.random((300, 3))
    values[50] = np.nan
    source = Recording.from_arrays({"fluorescence": values}, rate_hz=10).save(tmp_path / "a.zarr")
    chain = tmp_path / "chain.yaml"
    chain.write_text("steps:\n  - step: dff\n    method: percentile\n    window: 10\n")
    command = ("preprocess", source, "--chain", chain, "-o", tmp_path / "b.zarr")
    done = neurodyn(*command)
    assert done.code == 3 and "--set dff.nan=frames" in done.err
    done = neurodyn(*command, "--set", "dff.nan=nan")
    assert done.code == 3 and "every value would be NaN" in done.err and not (tmp_path / "b.zarr").exists()
    assert neurodyn(*command, "--set", "dff.nan=frames").code == 0
    dff = Recording.open(tmp_path / "b.zarr")["dff"].values
    assert np.isnan(dff[50]).all() and np.isfinite(np.delete(dff, 50, axis=0)).all()
