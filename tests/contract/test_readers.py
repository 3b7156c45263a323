"""Every reader: lazy, with the right values, units and times, and clear about bad files."""

import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile
import zarr

from neurodyn.core.errors import DataError, NeurodynError
from neurodyn.data.recording import Recording
from neurodyn.readers.nwb.writing import write_nwb
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.read import OF_FILES, OF_FOLDERS, READERS, candidates, find_reader, read
from tests.readers import allen_files, makers

FS = 20.0
FRAMES = 512
MOVIE = np.random.default_rng(0).integers(0, 4000, (FRAMES, 48, 64)).astype(np.uint16)
TRACES = np.random.default_rng(1).normal(100, 5, (8192, 96)).astype(np.float32)


def _recording(folder: Path) -> tuple[Path, ReadOptions, np.ndarray]:
    recording = Recording.from_arrays({"fluorescence": MOVIE}, rate_hz=FS, session="source")
    return recording.save(folder / "source.zarr"), ReadOptions(fs=FS), MOVIE


def _tiff(folder: Path) -> tuple[Path, ReadOptions, np.ndarray]:
    tifffile.imwrite(folder / "source.tif", MOVIE)
    return folder / "source.tif", ReadOptions(fs=FS), MOVIE


def _hdf5(folder: Path) -> tuple[Path, ReadOptions, np.ndarray]:
    with h5py.File(folder / "source.h5", "w") as file:
        file["mov"] = MOVIE
    return folder / "source.h5", ReadOptions(fs=FS), MOVIE


def _numpy(folder: Path) -> tuple[Path, ReadOptions, np.ndarray]:
    np.save(folder / "source.npy", MOVIE)
    return folder / "source.npy", ReadOptions(fs=FS), MOVIE


def _suite2p(folder: Path) -> tuple[Path, ReadOptions, np.ndarray]:
    plane = folder / "source" / "suite2p" / "plane0"
    plane.mkdir(parents=True)
    for name in ("F", "Fneu", "spks"):
        np.save(plane / f"{name}.npy", TRACES.T)
    np.save(plane / "iscell.npy", np.ones((TRACES.shape[1], 2)))
    return folder / "source", ReadOptions(fs=FS), TRACES


def _nwb(folder: Path) -> tuple[Path, ReadOptions, np.ndarray]:
    recording = Recording.from_arrays({"fluorescence": MOVIE}, rate_hz=FS, session="source")
    return write_nwb(recording, folder / "source.nwb"), ReadOptions(fs=FS), MOVIE


def _allen(folder: Path) -> tuple[Path, ReadOptions, np.ndarray]:
    path = allen_files.session(folder / "source.nwb", traces=TRACES, fps=FS, start=0.0, eye=False)
    return path, ReadOptions(session="source"), TRACES


def _matlab(folder: Path) -> tuple[Path, ReadOptions, np.ndarray]:
    scipy.io.savemat(folder / "source.mat", {"mov": MOVIE})
    return folder / "source.mat", ReadOptions(fs=FS), MOVIE


def _wfield(folder: Path) -> tuple[Path, ReadOptions, np.ndarray]:
    MOVIE.tofile(folder / "source_1_48_64_uint16.dat")
    return folder / "source_1_48_64_uint16.dat", ReadOptions(fs=FS, session="source"), MOVIE


def _wfield_results(folder: Path) -> tuple[Path, ReadOptions, np.ndarray]:
    (folder / "source").mkdir()
    np.save(folder / "source" / "U.npy", np.ones((48, 64, TRACES.shape[1]), np.float32))
    np.save(folder / "source" / "SVTcorr.npy", TRACES.T)
    return folder / "source", ReadOptions(fs=FS), TRACES


def _zarr(folder: Path) -> tuple[Path, ReadOptions, np.ndarray]:
    array = zarr.create_array(folder / "source.zarr", shape=MOVIE.shape, dtype=MOVIE.dtype, chunks=(64, 48, 64))
    array[:] = MOVIE
    return folder / "source.zarr", ReadOptions(fs=FS), MOVIE


def _caiman(folder: Path) -> tuple[Path, ReadOptions, np.ndarray]:
    return makers.caiman(folder / "source.hdf5", TRACES.T, YrA=np.zeros_like(TRACES.T)), ReadOptions(), TRACES


def _sbx(folder: Path) -> tuple[Path, ReadOptions, np.ndarray]:
    return makers.scanbox(folder / "source.sbx", MOVIE), ReadOptions(), MOVIE


def _nd2(folder: Path) -> tuple[Path, ReadOptions, np.ndarray]:
    return makers.nd2(folder / "source.nd2", MOVIE[..., None], 1000 / FS), ReadOptions(), MOVIE


def _video(folder: Path) -> tuple[Path, ReadOptions, np.ndarray]:
    grey = (MOVIE >> 4).astype(np.uint8)
    return makers.video(folder / "source.avi", grey, fps=FS), ReadOptions(), grey


def _cascade(folder: Path) -> tuple[Path, ReadOptions, np.ndarray]:
    cells = np.empty((1, 1), dtype=object)
    cells[0, 0] = {"fluo_time": np.arange(8192) / FS, "fluo_mean": TRACES[:, 0], "events_AP": np.arange(3.0)}
    scipy.io.savemat(folder / "source.mat", {"CAttached": cells})
    return folder / "source.mat", ReadOptions(), TRACES[:, :1]


MAKERS = {
    "recording": _recording,
    "tiff": _tiff,
    "hdf5": _hdf5,
    "numpy": _numpy,
    "suite2p": _suite2p,
    "nwb": _nwb,
    "allen": _allen,
    "matlab": _matlab,
    "wfield": _wfield,
    "wfield-results": _wfield_results,
    "zarr": _zarr,
    "caiman": _caiman,
    "sbx": _sbx,
    "nd2": _nd2,
    "video": _video,
    "cascade": _cascade,
}
SMALL = ("cascade",)  # files of single cells, read whole
SAY_THEIR_RATE = ("recording", "nwb", "allen", "cascade", "caiman", "sbx", "nd2", "video")
NAMES = {"wfield-results": "svd", "cascade": "dff"}  # of the variable, where it is not fluorescence
UNITS = {"wfield-results": "ΔF/F of components", "caiman": "a.u.", "cascade": "ΔF/F"}


TAKE_TRIALS = ("hdf5", "numpy", "matlab", "zarr")


@pytest.fixture(scope="module", params=READERS.names())
def source(request, tmp_path_factory):
    assert request.param in MAKERS, f"give the reader '{request.param}' a maker of small sources here"
    return request.param, *MAKERS[request.param](tmp_path_factory.mktemp(request.param))


def test_is_found_by_looking_at_the_source(source):
    name, path, _, _ = source
    asked = list(candidates(path))
    assert [other for other in asked[: asked.index(name) + 1] if READERS.get(other).recognises(path)] == [name]
    assert find_reader(path) == (name, READERS.get(name))
    assert {other for other in READERS.names() if READERS.get(other).recognises(path)} <= set(asked)


@pytest.mark.parametrize("name", READERS.names())
def test_every_suffix_leads_to_its_reader(name):
    for suffix in READERS.get(name).suffixes:
        assert name in OF_FILES.get(suffix, ()) or (suffix == ".zarr" and name in OF_FOLDERS)


@pytest.mark.parametrize("source", ["tiff"], indirect=True)
def test_no_reader_is_imported_in_vain(source):
    _, path, _, _ = source
    code = "import sys; from pathlib import Path; from neurodyn.readers.read import find_reader; find_reader(Path(sys.argv[1])); print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True).stdout.split()
    own = {target.partition(":")[0] for target in READERS.targets().values()}
    assert own & set(said) == {"neurodyn.readers.tiff.reader"}


def test_values_shape_units_time_and_session(source):
    name, path, options, expected = source
    recording = read(path, options)
    fluorescence = recording[NAMES.get(name, "fluorescence")]
    assert fluorescence.shape == expected.shape
    assert fluorescence.dtype == expected.dtype
    assert fluorescence.attrs["units"] == UNITS.get(name, "counts")
    np.testing.assert_array_equal(fluorescence.values, expected)
    np.testing.assert_allclose(recording.time, np.arange(len(expected)) / FS)
    assert recording.session == "source"
    assert recording.rate_hz == pytest.approx(FS)


def test_any_slice_is_the_slice_of_the_whole(source):
    name, path, options, expected = source
    fluorescence = read(path, options)[NAMES.get(name, "fluorescence")]
    for key in (np.s_[5:300:7], np.s_[17], np.s_[10:20, 3:9], np.s_[-4:, ::2], np.s_[[4, 2, 40]], np.s_[100:100]):
        np.testing.assert_array_equal(fluorescence[key].values, expected[key])


def test_reading_does_not_load_the_data(source):
    name, path, options, expected = source
    if name in SMALL:
        return
    read(path, options)  # imports happen here
    tracemalloc.start()
    try:
        recording = read(path, options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert not recording[NAMES.get(name, "fluorescence")].variable._in_memory
    assert peak < expected.nbytes / 2


def test_history_names_the_origin(source):
    name, path, options, _ = source
    recording = read(path, options)
    if name not in ("recording", "nwb"):  # these carry their own history
        assert recording.history[-1]["step"] == f"read {name}"
        assert recording.tree.attrs["source"] == path.name


def test_survives_conversion_to_a_recording(source, tmp_path):
    name, path, options, expected = source
    saved = read(path, options).save(tmp_path / "converted.zarr")
    np.testing.assert_array_equal(Recording.open(saved)[NAMES.get(name, "fluorescence")].values, expected)


def test_options_without_use_are_refused(source):
    name, path, options, _ = source
    stray = {"trial_onset": 1.0} if name not in TAKE_TRIALS else {"pickle": True}
    with pytest.raises(NeurodynError, match=next(iter(stray))):
        read(path, options.model_copy(update=stray))


def truncate(path: Path, folder: Path) -> Path:
    """Copy a source and cut the largest file in it to a third."""
    copy = folder / path.name
    if path.is_dir():
        shutil.copytree(path, copy)
        largest = max(
            (f for f in copy.rglob("*") if f.is_file() and f.suffix != ".zarr"), key=lambda f: f.stat().st_size
        )
        victim = copy / "zarr.json" if path.suffix == ".zarr" else largest
    else:
        victim = Path(shutil.copy(path, copy))
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 3])
    return copy


def test_truncated_source_is_a_data_error(source, tmp_path):
    _, path, options, _ = source
    with pytest.raises(DataError) as caught:
        read(truncate(path, tmp_path), options)
    assert caught.value.exit_code == 3
    assert all(line and "\n" not in line for line in (caught.value.what, caught.value.found, caught.value.fix))


def test_garbage_is_a_data_error(source, tmp_path):
    name, path, options, _ = source
    garbage = tmp_path / path.name
    if path.is_dir():
        garbage.mkdir()
        (garbage / "readme.txt").write_text("nothing")
    else:
        garbage.write_bytes(b"garbage" * 500)
    with pytest.raises(DataError):
        read(garbage, options, reader=name)


def test_another_format_under_its_name_is_a_data_error(source, tmp_path):
    name, path, options, _ = source
    other = tmp_path / "other.npy" if name == "tiff" else tmp_path / "other.tif"
    np.save(other, MOVIE[:5]) if name == "tiff" else tifffile.imwrite(other, MOVIE[:5])
    with pytest.raises(DataError) as caught:
        read(other.rename(tmp_path / path.name), options, reader=name)
    assert all(line and "\n" not in line for line in (caught.value.what, caught.value.found, caught.value.fix))


def test_missing_rate_is_asked_for(source):
    name, path, options, _ = source
    if name in SAY_THEIR_RATE:
        assert read(path).rate_hz == pytest.approx(FS)
        return
    with pytest.raises(DataError, match="--fs"):
        read(path, options.model_copy(update={"fs": None}))


def test_a_missing_source_and_an_unknown_format(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read(tmp_path / "absent.tif")
    (tmp_path / "notes.docx").write_text("x")
    with pytest.raises(DataError, match="no format neurodyn reads"):
        read(tmp_path / "notes.docx")
