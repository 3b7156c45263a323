"""Small valid sources of every reader, for mutation: kilobytes, so that thousands are read in a minute."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import scipy.io
import tifffile
import zarr

from neurodyn.data.recording import Recording
from neurodyn.readers.nwb.writing import write_nwb
from tests.readers import allen_files, makers

FS = 20.0
MOVIE = np.random.default_rng(0).integers(0, 4000, (12, 16, 20)).astype(np.uint16)
TRACES = np.random.default_rng(1).normal(100, 5, (40, 6)).astype(np.float32)
Maker = Callable[[Path], Path]


def _recording(folder: Path) -> Path:
    stimulus = {"start": np.array([0.2, 1.0]), "stop": np.array([0.4, 1.2]), "name": np.array(["grating", "blank"])}
    recording = Recording.from_arrays({"dff": TRACES}, rate_hz=FS, session="source", stimulus=stimulus)
    return recording.save(folder / "source.zarr")


def _tiff(folder: Path) -> Path:
    tifffile.imwrite(folder / "source.tif", MOVIE, photometric="minisblack")
    return folder / "source.tif"


def _ome(folder: Path) -> Path:
    tifffile.imwrite(folder / "source.ome.tif", MOVIE, photometric="minisblack", metadata={"axes": "TYX"})
    return folder / "source.ome.tif"


def _imagej(folder: Path) -> Path:
    tifffile.imwrite(folder / "source.tif", MOVIE, imagej=True, metadata={"axes": "TYX", "finterval": 0.05})
    return folder / "source.tif"


def _compressed(folder: Path) -> Path:
    tifffile.imwrite(folder / "source.tif", MOVIE, photometric="minisblack", compression="zlib", bigtiff=True)
    return folder / "source.tif"


def _hdf5(folder: Path) -> Path:
    with h5py.File(folder / "source.h5", "w") as file:
        file.create_dataset("mov", data=MOVIE, chunks=(4, 16, 20), compression="gzip")
        file["names"] = np.array(["a", "b"], dtype="S")
        file["rate_hz"] = FS
    return folder / "source.h5"


def _npy(folder: Path) -> Path:
    np.save(folder / "source.npy", MOVIE)
    return folder / "source.npy"


def _npz(folder: Path) -> Path:
    np.savez_compressed(folder / "source.npz", mov=MOVIE, fs=FS)
    return folder / "source.npz"


def _suite2p(folder: Path) -> Path:
    plane = folder / "source" / "plane0"
    plane.mkdir(parents=True)
    for name in ("F", "Fneu", "spks"):
        np.save(plane / f"{name}.npy", TRACES.T)
    np.save(plane / "iscell.npy", np.ones((TRACES.shape[1], 2)))
    roi = {"med": (3, 4), "npix": 7, "radius": 2.0, "skew": np.float32(0.5), "ypix": np.arange(3)}
    np.save(plane / "stat.npy", np.array([dict(roi) for _ in range(TRACES.shape[1])], dtype=object))
    np.save(plane / "ops.npy", np.array({"fs": FS, "nframes": 40}, dtype=object))
    return folder / "source"


def _nwb(folder: Path) -> Path:
    stimulus = {"start": np.array([0.2, 1.0]), "stop": np.array([0.4, 1.2])}
    recording = Recording.from_arrays({"fluorescence": TRACES}, rate_hz=FS, session="source", stimulus=stimulus)
    return write_nwb(recording, folder / "source.nwb")


def _allen(folder: Path) -> Path:
    return allen_files.session(
        folder / "source.nwb", cells=2, blocks=("drifting_gratings", "natural_movie_one"), trials=3
    )


def _mat5(folder: Path) -> Path:
    scipy.io.savemat(folder / "source.mat", {"mov": MOVIE, "info": {"fs": FS, "name": "x"}}, do_compression=True)
    return folder / "source.mat"


def _mat73(folder: Path) -> Path:
    with h5py.File(folder / "source.mat", "w", userblock_size=512) as file:
        file["mov"] = MOVIE.T
        file["mov"].attrs["MATLAB_class"] = np.bytes_("uint16")
    return folder / "source.mat"


def _wfield(folder: Path) -> Path:
    MOVIE.tofile(folder / "source_1_16_20_uint16.dat")
    return folder / "source_1_16_20_uint16.dat"


def _wfield_results(folder: Path) -> Path:
    (folder / "source").mkdir()
    np.save(folder / "source" / "U.npy", np.ones((16, 20, 6), np.float32))
    np.save(folder / "source" / "SVTcorr.npy", TRACES.T)
    np.save(folder / "source" / "frames_average.npy", np.ones((1, 16, 20), np.float32))
    return folder / "source"


def _zarr(version: int) -> Maker:
    def make(folder: Path) -> Path:
        group = zarr.open_group(folder / "source.zarr", mode="w", zarr_format=version)
        group.create_array("mov", data=MOVIE, chunks=(4, 16, 20))
        return folder / "source.zarr"

    return make


def _ome_zarr(folder: Path) -> Path:
    group = zarr.open_group(folder / "source.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=MOVIE, chunks=(4, 16, 20))
    scale = {"type": "scale", "scale": [50.0, 1.0, 1.0]}
    axes = [{"name": "t", "type": "time", "unit": "millisecond"}, {"name": "y"}, {"name": "x"}]
    datasets = [{"path": "0", "coordinateTransformations": [scale]}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    return folder / "source.zarr"


def _caiman(folder: Path) -> Path:
    return makers.caiman(folder / "source.hdf5", TRACES.T, YrA=np.zeros_like(TRACES.T), idx_components=[0, 2, 3])


def _sbx(folder: Path) -> Path:
    return makers.scanbox(folder / "source.sbx", MOVIE)


def _nd2(folder: Path) -> Path:
    return makers.nd2(folder / "source.nd2", MOVIE[..., None], 1000 / FS)


def _video(suffix: str, codec: str) -> Maker:
    def make(folder: Path) -> Path:
        grey = np.kron((MOVIE >> 4).astype(np.uint8), np.ones((1, 2, 2), np.uint8))
        return makers.video(folder / f"source{suffix}", grey, codec, fps=FS)

    return make


def _cascade(folder: Path) -> Path:
    cells = np.empty((1, 1), dtype=object)
    cells[0, 0] = {"fluo_time": np.arange(40) / FS, "fluo_mean": TRACES[:, 0], "events_AP": np.arange(3.0)}
    scipy.io.savemat(folder / "source.mat", {"CAttached": cells})
    return folder / "source.mat"


SOURCES: dict[str, dict[str, Maker]] = {
    "recording": {"traces": _recording},
    "tiff": {"plain": _tiff, "ome": _ome, "imagej": _imagej, "compressed": _compressed},
    "hdf5": {"movie": _hdf5},
    "numpy": {"npy": _npy, "npz": _npz},
    "suite2p": {"plane": _suite2p},
    "nwb": {"traces": _nwb},
    "allen": {"session": _allen},
    "cascade": {"cell": _cascade},
    "matlab": {"5": _mat5, "7.3": _mat73},
    "zarr": {"2": _zarr(2), "3": _zarr(3), "ome": _ome_zarr},
    "wfield": {"movie": _wfield},
    "wfield-results": {"folder": _wfield_results},
    "caiman": {"estimates": _caiman},
    "sbx": {"movie": _sbx},
    "nd2": {"movie": _nd2},
    "video": {"avi": _video(".avi", "FFV1"), "mp4": _video(".mp4", "mp4v")},
}
