"""Our own faults are told as faults of neurodyn, never as damaged files; what a library raises is told as damage."""

import importlib
import inspect
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile
import zarr

from neurodyn.core.errors import DataError
from neurodyn.data.damage import library, of_library
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.read import READERS, read
from tests.cli.conftest import neurodyn  # noqa: F401 - a fixture
from tests.fuzz.harness import options_of
from tests.fuzz.sources import SOURCES

FAULT = "'NoneType' object has no attribute 'planted'"
FIRST = [(reader, next(iter(variants))) for reader, variants in SOURCES.items()]
DEEPER = {
    "recording": ["data.recording", "data.schema", "data.integrity"],
    "hdf5": ["readers.sources", "readers.arrays", "readers.containers.hdf5"],
    "numpy": ["readers.arrays", "readers.containers.npy"],
    "suite2p": ["readers.suite2p.output"],
    "nwb": ["readers.nwb.reading", "readers.nwb.series", "readers.nwb.tables", "readers.nwb.clock"],
    "allen": ["readers.allen.nwb1", "readers.allen.session"],
    "tiff": ["readers.tiff.layout", "readers.stacks"],
    "matlab": ["readers.arrays", "readers.containers.matlab", "readers.containers.matlab_check"],
}


def planted(*args, **kwargs):
    raise AttributeError(FAULT)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A whole source of every reader."""
    return {case: SOURCES[case[0]][case[1]](tmp_path_factory.mktemp(case[0])) for case in FIRST}


def test_every_reader_is_here():
    assert {reader for reader, _ in FIRST} == set(READERS.names())


def _functions(reader):
    own = READERS.get(reader).__module__
    for module in (own, *(f"neurodyn.{name}" for name in DEEPER.get(reader, ()))):
        for name, function in vars(importlib.import_module(module)).items():
            if inspect.isfunction(function) and function.__module__ == module:
                yield module, name


def _look(path: Path, reader: str, options: ReadOptions) -> None:
    recording = read(path, options, reader)
    _ = [recording[name].variable[:2].values for name in recording.variables]


@pytest.mark.parametrize("case", FIRST, ids="-".join)
def test_a_fault_planted_in_any_function_of_a_reader_comes_out_as_it_is(case, sources):
    options = ReadOptions(**options_of(*case)[-1])
    hit = []
    for module, name in _functions(case[0]):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(f"{module}.{name}", planted)
            try:
                _look(sources[case], case[0], options)
            except AttributeError as error:
                assert str(error) == FAULT, (module, name)
                hit.append(name)
    assert hit or not list(_functions(case[0]))


@pytest.mark.parametrize("case", FIRST, ids="-".join)
def test_a_fault_in_a_reader_is_told_as_one_of_neurodyn(case, sources, neurodyn, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.setattr(READERS.get(case[0]), "read", classmethod(planted))
    options = options_of(*case)[0]
    told = [part for key, value in options.items() for part in ("--set", f"source.{key}={value}")]
    outcome = neurodyn("convert", sources[case], tmp_path / "out.zarr", "--reader", case[0], *told)
    lines = outcome.err.splitlines()
    assert outcome.code == 1, outcome.err
    assert lines[-3:] == [
        f"Error: AttributeError: {FAULT}",
        "This is a fault in neurodyn, not in your data.",
        "Type it again with --debug and report the file that it leaves.",
    ]
    assert not list(tmp_path.iterdir())


def _bad(folder, name, content):
    (folder / name).write_bytes(content)
    return folder / name


CALLS = {
    "h5py": lambda folder: h5py.File(_bad(folder, "a.h5", b"no")),
    "numpy": lambda folder: np.load(_bad(folder, "a.npy", b"\x93NUMPY\x01\x00no")),
    "scipy": lambda folder: scipy.io.loadmat(_bad(folder, "a.mat", b"MATLAB 5.0" + bytes(116) + b"\0\1IM" + b"x" * 20)),
    "tifffile": lambda folder: tifffile.TiffFile(_bad(folder, "a.tif", b"II*\0no")),
    "zarr": lambda folder: zarr.open(folder, mode="r"),
    "json": lambda folder: json.loads("{"),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_a_library_raises_is_damage(name, tmp_path):
    with pytest.raises(DataError, match="cannot be read"), library(tmp_path / "a"):
        CALLS[name](tmp_path)


def test_what_our_code_raises_within_a_library_is_not(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.ones(3)
        with pytest.raises(AttributeError, match="planted"), library(tmp_path / "a.h5"):
            file.visititems(lambda name, item: None.planted)
        with pytest.raises(KeyError) as raised:
            _ = file["y"]
        assert of_library(raised.value)
    with pytest.raises(MemoryError), library(tmp_path):
        raise MemoryError
