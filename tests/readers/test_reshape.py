"""Pixels are binned and the brain is found while reading."""

from __future__ import annotations

import numpy as np
import pytest

from neurodyn.core.errors import DataError
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.read import read
from neurodyn.readers.reshape import otsu_brain


@pytest.fixture
def disc(tmp_path):
    """A movie with a bright disc that has a dark hole, 50 frames of 41 x 38 pixels."""
    y, x = np.mgrid[:41, :38]
    inside = (y - 20) ** 2 + (x - 19) ** 2 < 15**2
    hole = (y - 20) ** 2 + (x - 19) ** 2 < 3**2
    image = np.where(inside & ~hole, 2000.0, 150.0)
    movie = image + np.random.default_rng(0).normal(0, 30, (50, 41, 38))
    np.save(tmp_path / "movie.npy", movie.astype(np.float32))
    return tmp_path / "movie.npy", movie.astype(np.float32), inside


def test_binning_takes_the_mean_of_squares(disc):
    path, movie, _ = disc
    recording = read(path, ReadOptions(fs=10, bin=3))
    expected = movie[:, :39, :36].reshape(50, 13, 3, 12, 3).mean((2, 4))
    np.testing.assert_allclose(recording["fluorescence"].values, expected, rtol=1e-5)
    np.testing.assert_allclose(
        recording["fluorescence"].variable[7:9, 2:11, ::5].values, expected[7:9, 2:11, ::5], rtol=1e-5
    )
    np.testing.assert_allclose(recording["fluorescence"].variable[4, :, 6].values, expected[4, :, 6], rtol=1e-5)
    assert recording.history[0]["params"]["bin"] == 3


def test_the_brain_is_found_by_threshold_and_binned_with_the_movie(disc):
    path, _, inside = disc
    assert (read(path, ReadOptions(fs=10, brain="auto")).brain == inside).all()
    small = read(path, ReadOptions(fs=10, brain="auto", bin=2)).brain
    assert small.shape == (20, 19)
    assert abs(small.sum() * 4 - inside.sum()) < 0.1 * inside.sum()


def test_a_flat_image_has_no_brain():
    with pytest.raises(DataError, match="flat"):
        otsu_brain(np.full((8, 8), 3.0))


def test_bins_larger_than_the_frame_are_refused(disc):
    with pytest.raises(DataError, match="cannot be binned"):
        read(disc[0], ReadOptions(fs=10, bin=40))
