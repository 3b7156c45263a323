"""`neurodyn infer --threads`: as many threads as asked for, in a stream and otherwise."""

import io

import numpy as np
import pytest
import torch

from neurodyn.backends.forecasting.ridge_ar import RidgeAR
from neurodyn.data.recording import Recording


@pytest.fixture
def run(neurodyn, tmp_path):
    data = np.random.default_rng(0).random((900, 3)).astype(np.float32)
    path = Recording.from_arrays({"dff": data}, rate_hz=10, session="one").save(tmp_path / "one.zarr")
    sets = ("--set", "windows={duration: 1.6, horizon: 0.6}")
    made = neurodyn("train", "ridge-ar", path, "-o", tmp_path / "run", "--gpu", "none", *sets)
    assert made.code == 0, made.err
    return tmp_path / "run"


@pytest.fixture
def in_use(monkeypatch) -> list[int]:
    """Note how many threads compute, and how many the model is told of."""
    seen, forward, streamed = [], RidgeAR.forward, RidgeAR.streamed

    def noted(self, batch, *, attention=False):
        seen.append(torch.get_num_threads())
        return forward(self, batch, attention=attention)

    def told(self, threads):
        seen.append(threads)
        return streamed(self, threads)

    monkeypatch.setattr(RidgeAR, "forward", noted)
    monkeypatch.setattr(RidgeAR, "streamed", told)
    return seen


@pytest.mark.parametrize(("asked", "expected"), [((), 1), (("--threads", "2"), 2)])
def test_threads_are_those_asked_for_and_otherwise_those_of_training(
    neurodyn, run, monkeypatch, in_use, asked, expected
):
    before = torch.get_num_threads()
    in_use.clear()
    monkeypatch.setattr("sys.stdin", io.StringIO("[1, 2, 3]\n" * 12))
    said = neurodyn("infer", run, "--gpu", "none", "--stream", "-", *asked)
    assert (said.code, len(said.out.splitlines())) == (0, 3)
    assert set(in_use) == {expected}
    in_use.clear()
    assert neurodyn("infer", run, "--gpu", "none", *asked).code == 0
    assert set(in_use) == {expected}
    assert torch.get_num_threads() == before


def test_no_threads_are_refused(neurodyn, run):
    assert neurodyn("infer", run, "--threads", "0").code == 2
