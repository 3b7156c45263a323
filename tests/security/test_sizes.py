"""A small file that says it is huge: refused before memory is asked for."""

import io
import json
import resource
import struct
import zipfile

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile
import zarr

from tests.reliability.conftest import limit
from tests.reliability.test_memory import in_use


def npy(folder):
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (2**40, 64)})
    (folder / "a.npy").write_bytes(head.getvalue() + bytes(1000))
    return folder / "a.npy"


def npz(folder):
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (2**30, 64)})
    with zipfile.ZipFile(folder / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mov.npy", head.getvalue() + bytes(1000))
    return folder / "a.npz"


def hdf5(folder):
    with h5py.File(folder / "a.h5", "w") as file:
        file.create_dataset("mov", shape=(2**34, 512, 512), dtype="f4", chunks=(1, 512, 512))
    return folder / "a.h5"


def hdf5_courses(folder):
    with h5py.File(folder / "a.h5", "w") as file:
        file["mov"] = np.ones((5, 4))
        file.create_dataset("times", shape=(2**40,), dtype="f8", chunks=(1024,))
    return folder / "a.h5"


def mat73(folder):
    with h5py.File(folder / "a.mat", "w") as file:
        file.create_dataset("mov", shape=(2**34, 512), dtype="f4", chunks=(1, 512))
    return folder / "a.mat"


def mat5(folder):
    scipy.io.savemat(folder / "a.mat", {"mov": np.ones((64, 65))})
    data = (folder / "a.mat").read_bytes()
    (folder / "a.mat").write_bytes(data.replace(struct.pack("<ii", 64, 65), struct.pack("<ii", 2**30, 2**30)))
    return folder / "a.mat"


def foreign_zarr(folder):
    zarr.create_array(folder / "a.zarr", shape=(2**34, 512, 512), chunks=(1, 512, 512), dtype="f4")
    return folder / "a.zarr"


def tiff(folder):
    tifffile.imwrite(folder / "a.tif", np.zeros((1, 16, 16), np.uint16), compression="zlib", metadata=None)
    data = (folder / "a.tif").read_bytes()
    for tag in (256, 257, 278):  # width, length, rows per strip
        place = next(data.index(sign) for kind in (3, 4) if (sign := struct.pack("<HHI", tag, kind, 1)) in data)
        data = data[: place + 2] + struct.pack("<HII", 4, 1, 2**20) + data[place + 12 :]
    (folder / "a.tif").write_bytes(data)
    return folder / "a.tif"


def tiff_ring(folder):
    tifffile.imwrite(folder / "a.tif", np.zeros((2, 16, 16), np.uint16), metadata=None, photometric="minisblack")
    data = bytearray((folder / "a.tif").read_bytes())
    first = struct.unpack("<I", data[4:8])[0]
    count = struct.unpack("<H", data[first : first + 2])[0]
    data[first + 2 + 12 * count : first + 6 + 12 * count] = struct.pack("<I", first)
    (folder / "a.tif").write_bytes(data)
    return folder / "a.tif"


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "make", [npy, npz, hdf5, hdf5_courses, mat73, mat5, foreign_zarr, tiff, tiff_ring], ids=lambda make: make.__name__
)
def test_what_cannot_be_is_refused(make, neurodyn, tmp_path):
    path = make(tmp_path)
    neurodyn("list", "readers")
    with limit(resource.RLIMIT_AS, in_use() + 512 * 2**20):
        outcomes = [neurodyn("inspect", path), neurodyn("convert", path, tmp_path / "out.zarr", "--fs", 10)]
    for outcome in outcomes:
        assert outcome.code == 3, outcome
        assert "Traceback" not in outcome.err and str(path) in outcome.err
    assert not (tmp_path / "out.zarr").exists()


def test_a_recording_that_says_it_is_huge(neurodyn, recording, tmp_path):
    import shutil

    copy = shutil.copytree(recording, tmp_path / "a.zarr")
    described = copy / "neural" / "dff" / "zarr.json"
    told = json.loads(described.read_text())
    described.write_text(json.dumps(told | {"shape": [2**50, 6]}))
    with limit(resource.RLIMIT_AS, in_use() + 512 * 2**20):
        outcome = neurodyn("inspect", copy)
    assert outcome.code == 3 and "neural/dff" in outcome.err, outcome.err
