"""Moving textures: motion, occlusion and noise are what the truth says."""

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.ndimage import map_coordinates

from neurodyn.data.window_config import WindowConfig
from neurodyn.data.windows import Windows
from neurodyn.simulate.moving_texture import MovingTexture, MovingTextureParams

SMALL = {"trials": 12, "height": 32, "width": 48}


def make(**params):
    return MovingTexture(MovingTextureParams(**SMALL | params)).make()


def clips(recording, name, frames=10):
    values = recording[name].values
    return values.reshape(-1, frames, *values.shape[1:])


@pytest.fixture(scope="module")
def noisy():
    return make(trials=40)


def test_noise_of_the_asked_size_on_the_patches_that_truth_names_and_nowhere_else(noisy):
    added = clips(noisy, "video") - clips(noisy, "clean")
    patches = noisy.table("truth")["noisy"].values
    assert patches.shape == (400, 4, 6)
    everywhere = np.kron(patches, np.ones((1, 8, 8), bool)).reshape(added.shape)
    assert (added[~everywhere] == 0).all()
    assert added[everywhere].std() == pytest.approx(0.5, rel=0.01)
    assert abs(added[everywhere].mean()) < 0.01


def test_share_of_noisy_patches_varies_between_frames_within_the_limits(noisy):
    share = noisy.table("truth")["noisy"].values.mean(axis=(1, 2))
    assert 0.4 - 1 / 48 <= share.min() < 0.43
    assert 0.57 < share.max() <= 0.6 + 1 / 48
    assert share.mean() == pytest.approx(0.5, abs=0.01)


def test_textures_translate_at_the_planted_velocity():
    recording = make(blobs=0, turn=0.0, noise=0.0)
    moving, velocity = clips(recording, "clean"), recording.table("truth")["velocity"].values
    y, x = np.mgrid[8:24, 12:36].astype(float)
    for clip, (down, right) in zip(moving, velocity, strict=True):
        shift = 0.4 * down * 32, 0.4 * right * 48  # what is at x after 0.4 s was at x - v 0.4 s
        earlier = map_coordinates(clip[0], [y - shift[0], x - shift[1]], order=3, mode="nearest")
        inside = (np.abs(y - shift[0] - 15.5) < 15) & (np.abs(x - shift[1] - 23.5) < 23)
        np.testing.assert_allclose(clip[4, 8:24, 12:36][inside], earlier[inside], atol=0.02)


def test_textures_turn_about_the_centre_at_the_planted_rate():
    recording = make(width=32, blobs=0, speed=0.0, turn=1.0, noise=0.0)
    turning = recording.table("truth")["turning"].values
    y, x = np.mgrid[8:24, 8:24] - 15.5
    assert np.abs(turning).max() > 0.3
    for clip, rate in zip(clips(recording, "clean"), turning, strict=True):
        c, s = np.cos(0.9 * rate), np.sin(0.9 * rate)
        back = [15.5 + c * y - s * x, 15.5 + s * y + c * x]
        np.testing.assert_allclose(clip[9, 8:24, 8:24], map_coordinates(clip[0], back, order=3), atol=0.02)


def test_textures_have_size_and_spread():
    plain = clips(make(trials=60, blobs=0), "clean")
    assert np.abs(plain).max() < 1
    assert np.arctanh(plain.astype(float)).std() == pytest.approx(1, rel=0.1)


def test_blobs_cover_and_move():
    with_blobs, without = clips(make(), "clean"), clips(make(blobs=0), "clean")
    covered = np.abs(with_blobs - without) > 0.02
    assert 0.05 < covered.mean() < 0.3
    still = (covered[:, :-1] & covered[:, 1:]).sum() / covered[:, 1:].sum()
    assert 0.3 < still < 0.97
    assert np.abs(with_blobs).max() < 1


def test_parts_and_targets():
    recording = make(trials=20)
    config = WindowConfig(variable="video", duration=1.0, split="column", condition="part")
    parts = Windows.cut([recording], config).split()
    assert {name: len(windows) for name, windows in parts.items()} == {"train": 13, "valid": 1, "test": 6}
    assert recording["video"].shape == recording["clean"].shape == (200, 32, 48)
    assert recording["video"].dtype == np.float32


def test_contradictory_parameters_are_refused():
    with pytest.raises(ValidationError, match="divide"):
        MovingTextureParams(patch=7)
    with pytest.raises(ValidationError, match="smaller one first"):
        MovingTextureParams(noisy=(0.6, 0.4))
