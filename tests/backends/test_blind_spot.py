"""The blind spot is one, bit for bit; what components and tiles do is what they say."""

import numpy as np
import pytest
import torch

from neurodyn.backends.batch import Batch
from neurodyn.backends.blind_spot import BlindSpot
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.blind_spot import BlindSpotConfig
from neurodyn.metrics.photon import PhotonTransfer, StepNoise

FRAMES, SPACE = 40, (20, 24)


def movie(seed: int = 0) -> np.ndarray:
    """Three planted courses on smooth maps, and noise, shape (6, time, y, x)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SPACE[0], : SPACE[1]]
    maps = np.stack([np.exp(-((y - a) ** 2 + (x - b) ** 2) / 18) for a, b in ((5, 6), (13, 9), (10, 19))])
    t = np.arange(6 * FRAMES)
    courses = np.stack([np.sin(t / period) for period in (4.0, 7.0, 11.0)], 1)
    clean = 100 + 8 * np.tensordot(courses, maps, axes=1)
    return (clean + rng.normal(size=clean.shape) * 3).reshape(6, FRAMES, *SPACE).astype(np.float32)


def batch(values: np.ndarray) -> Batch:
    x = torch.from_numpy(values)
    valid = torch.ones(x.shape, dtype=torch.bool)
    t = (torch.arange(FRAMES) / 10.0).expand(len(x), -1)
    return Batch(x, t, valid, valid, torch.zeros(len(x), dtype=torch.long))


@pytest.fixture(scope="module")
def backend() -> BlindSpot:
    torch.manual_seed(0)
    model = BlindSpot(
        BlindSpotConfig.model_validate({"components": 8}), Layout(FRAMES, SPACE, 10.0, np.ones(SPACE, dtype=bool))
    )
    model.prepare([movie()])
    with torch.no_grad():  # as after training: a network that says something
        for parameter in model.network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model.eval()


@pytest.mark.parametrize("place", [(0, 0, 0), (20, 10, 12), (39, 19, 23), (7, 5, 6)])
def test_a_pixel_never_sees_itself(backend, place):
    before = batch(movie()[:1])
    after = batch(movie()[:1])
    after.x[(0, *place)] += 1e4
    with torch.no_grad():
        old, new = backend(before).mean[0], backend(after).mean[0]
    assert old[place] == new[place]
    t, y, x = place
    beside = (t, y, x + 1 if x == 0 else x - 1)
    later = (t + 1 if t == 0 else t - 1, y, x)
    assert old[beside] != new[beside]
    assert old[later] != new[later]


def test_planted_components_are_found_and_noise_is_not(backend):
    assert int((backend.components.maps.abs().sum(1) > 0).sum()) == 3
    noise = BlindSpot(BlindSpotConfig.model_validate({"components": 8}), backend.layout)
    noise.prepare([np.random.default_rng(1).normal(100, 3, (6, FRAMES, *SPACE)).astype(np.float32)])
    assert not noise.components.maps.any()
    sd = backend.frames.cells.scale[0].mean().item()
    assert sd == pytest.approx(3.0, rel=0.05)


def test_no_border_of_a_tile_can_be_seen(backend, monkeypatch):
    given = batch(movie()[:1])
    with torch.no_grad():
        whole = backend(given).mean
        monkeypatch.setattr("neurodyn.backends.blind_spot.TILE", 7)
        tiled = backend(given).mean
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-3)


def test_missing_frames_are_told_from_the_others(backend):
    given = batch(movie()[:1])
    given.visible[:, 20] = False
    clean = 100 + 8 * np.sin(20 / 4.0)
    with torch.no_grad():
        assert abs(float(backend(given).mean[0, 20, 5, 6]) - clean) < 8


def test_photon_transfer_finds_gain_and_read_noise():
    rng = np.random.default_rng(0)
    light = rng.uniform(20, 400, (24, 24))
    frames = 5.0 * rng.poisson(light, (400, 24, 24)) + rng.normal(0, 12, (400, 24, 24)) + 100
    frames += 300 * (np.sin(np.arange(400) / 20) > 0.99)[:, None, None] * (rng.random((24, 24)) < 0.05)
    noise = StepNoise()
    for start in range(0, 400, 100):
        noise.add(frames[start : start + 100])
    found = PhotonTransfer.fit(noise.mean, noise.variance)
    assert found.gain == pytest.approx(5.0, rel=0.05)
    assert found.read == pytest.approx(12**2 - 5.0 * 100, rel=0.5)
    np.testing.assert_allclose(found.variance(np.array([1100.0])), 25 * 200 + 144, rtol=0.05)
