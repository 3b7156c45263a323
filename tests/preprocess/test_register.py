"""Registration finds planted shifts and undoes them."""

from __future__ import annotations

import logging

import numpy as np
from scipy.ndimage import gaussian_filter, shift

from neurodyn.preprocess.register import Register, RegisterParams


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
