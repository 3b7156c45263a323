"""Registration finds planted shifts and undoes them."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, rotate, shift

from neurodyn.preprocess.register import Register, RegisterParams, shifted


def moved(frames: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a still picture, planted (y, x) shifts of up to 3 pixels, and the moving, noisy movie."""
    generator = np.random.default_rng(seed)
    picture = 1000 + 4000 * gaussian_filter(generator.normal(size=(64, 80)), 2)
    plan = generator.uniform(-3, 3, (frames, 2))
    movie = np.stack([shift(picture, s, order=3, mode="nearest") for s in plan])
    return picture, plan, (movie + generator.normal(0, 20, movie.shape)).astype(np.float32)


def run(workspace, **params):
    Register(RegisterParams(**params)).apply(workspace)
    return workspace


def test_planted_shifts_are_found_to_a_fifth_of_a_pixel(make_workspace):
    _, plan, movie = moved()
    workspace = run(make_workspace(fluorescence=movie))
    found = np.asarray(workspace.root["qc/motion"])
    error = found + plan
    assert np.abs(error - error.mean(axis=0)).max() < 0.2  # the template's own place is arbitrary


def test_the_movie_stands_still_afterwards(make_workspace):
    _, _, movie = moved()
    workspace = run(make_workspace(fluorescence=movie))
    inner = (slice(None), slice(6, -6), slice(6, -6))
    before, after = movie[inner].std(axis=0).mean(), np.asarray(workspace["registered"])[inner].std(axis=0).mean()
    assert after < 0.3 * before
    assert after < 40  # noise 20, and what interpolation leaves


def test_another_channel_moves_along(make_workspace):
    _, _, movie = moved()
    dark = (0.5 * movie).astype(np.float32)
    workspace = run(make_workspace(fluorescence=movie, reference=dark), also={"reference": "reference_registered"})
    np.testing.assert_allclose(
        np.asarray(workspace["reference_registered"]), 0.5 * np.asarray(workspace["registered"]), rtol=1e-4
    )


def test_a_frame_that_matches_nowhere_is_left_and_named(make_workspace, caplog):
    picture, _, movie = moved()
    movie[17] = np.roll(picture, (30, 37), axis=(0, 1))
    with caplog.at_level(logging.WARNING):
        workspace = run(make_workspace(fluorescence=movie))
    assert "1 of 40 frames match the template nowhere near and stay unmoved, the first is frame 17" in caplog.text
    np.testing.assert_array_equal(np.asarray(workspace["registered"])[17], movie[17])
    assert np.isnan(np.asarray(workspace.root["qc/motion"])[17]).all()


@pytest.mark.parametrize("by", [0.0, 0.1, 0.25, 0.5, -0.4, 1.5, 3.3])
def test_a_shift_leaves_the_noise_as_large_as_it_was(by):
    noise = np.random.default_rng(0).normal(0, 20, (200, 160)).astype(np.float32)
    moved = shifted(noise, np.array([by, -by]))
    assert moved.dtype == np.float32
    assert moved[8:-8, 8:-8].std() == pytest.approx(20, rel=0.02)  # between neighbours: 10 at half a pixel


@pytest.mark.parametrize("by", [(0.3, -0.4), (2.5, 1.2), (-1.0, 0.0)])
def test_a_shifted_picture_is_the_picture_elsewhere(by):
    def picture(y, x):
        return 100 + 20 * np.sin(2 * np.pi * y / 16) * np.cos(2 * np.pi * x / 20)

    y, x = np.mgrid[:64, :80].astype(float)
    moved = shifted(picture(y, x), np.array(by))
    np.testing.assert_allclose(moved[8:-8, 8:-8], picture(y - by[0], x - by[1])[8:-8, 8:-8], atol=0.5)


@pytest.mark.parametrize("angle", [3.0, -2.0])
def test_rotations_are_named_though_not_undone(make_workspace, caplog, angle):
    picture, _, movie = moved()
    turned = rotate(picture, angle, reshape=False, order=3, mode="nearest")
    movie[25:30] = turned + np.random.default_rng(3).normal(0, 20, (5, *picture.shape))
    with caplog.at_level(logging.WARNING):
        workspace = run(make_workspace(fluorescence=movie))
    assert "5 of 40 frames are rotated by 1 degrees or more" in caplog.text
    assert "the first is frame 25" in caplog.text
    found = np.asarray(workspace.root["qc/rotation"])
    np.testing.assert_allclose(found[25:30], angle, atol=0.5)
    assert np.abs(np.delete(found, np.arange(25, 30))).max() < 1


def test_shifts_alone_are_no_rotations(make_workspace, caplog):
    for seed in range(4):
        with caplog.at_level(logging.WARNING):
            run(make_workspace(fluorescence=moved(seed=seed)[2]))
    assert "rotated" not in caplog.text
