"""Less memory than the work needs: exit 1, three lines that say how to need less; with more, the same command completes."""

import resource
from pathlib import Path

import numpy as np
import pytest

from tests.reliability.conftest import TINY, limit, refused

LITTLE = 32 * 2**20


def in_use() -> int:
    """Return this process's address space, bytes."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


@pytest.mark.slow  # beside other tests, memory that they have freed is there to be had, and nothing is refused
def test_an_array_that_does_not_fit(neurodyn, tmp_path):
    np.savez_compressed(tmp_path / "a.npz", mov=np.zeros((1000, 200, 200), np.float32))
    command = ["convert", tmp_path / "a.npz", tmp_path / "a.zarr", "--fs", 10]
    neurodyn("inspect", tmp_path / "a.npz")  # imports
    with limit(resource.RLIMIT_AS, in_use() + 4 * LITTLE):
        outcome = neurodyn(*command)
    refused(outcome, "not enough memory", "")
    assert "more memory" in outcome.err and not (tmp_path / "a.zarr").exists()
    assert neurodyn(*command).code == 0


@pytest.mark.slow  # beside other tests, memory that they have freed is there to be had, and nothing is refused
def test_a_model_that_does_not_fit(neurodyn, movie, tmp_path):
    command = ["train", "cst-tiny", movie, "-o", tmp_path / "run", "--gpu", "none", *TINY, "--set", "model.width=1280"]
    neurodyn("train", "cst-tiny", movie, "-o", tmp_path / "other", "--gpu", "none", *TINY)  # imports, threads
    with limit(resource.RLIMIT_AS, in_use() + LITTLE):
        outcome = neurodyn(*command)
    refused(outcome, "not enough memory", "")
    assert "training.batch" in outcome.err
    again = neurodyn(*command)
    assert again.code == 0, again.err
    assert (tmp_path / "run" / "status.json").exists()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (RuntimeError, "[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
        (RuntimeError, "CUDA out of memory. Tried to allocate 20.00 MiB"),
        (OSError, "[Errno 12] Cannot allocate memory"),
        (MemoryError, ""),
    ],
)
def test_every_library_s_word_for_it_is_told_alike(kind, said, neurodyn, monkeypatch, tmp_path):
    def fail(*_):
        raise kind(said)

    np.save(tmp_path / "a.npy", np.ones((30, 4)))
    monkeypatch.setattr("neurodyn.readers.npy.numpy_arrays", fail)
    refused(neurodyn("convert", tmp_path / "a.npy", tmp_path / "a.zarr", "--fs", 10), "not enough memory", said[:40])
