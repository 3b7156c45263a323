"""References of denoising do what their papers say, and simulated clean frames are what noise was added to."""

import numpy as np
import pytest

from neurodyn.metrics.denoising import median_in_time, optimal_shrinkage, split_half
from neurodyn.simulate.clean import clean_frames
from neurodyn.simulate.lorenz import Lorenz, LorenzParams
from neurodyn.simulate.two_photon import TwoPhoton, TwoPhotonParams
from neurodyn.simulate.widefield import Widefield, WidefieldParams


def planted(frames: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a clean movie of rank 2, and one with noise of standard deviation 1, shape (time, y, x)."""
    rng = np.random.default_rng(0)
    # courses without memory, for second differences to see nothing but their own level as noise
    courses = np.cumsum(rng.normal(size=(frames, 2)), axis=0) / 10
    clean = np.tensordot(courses, rng.normal(size=(2, side, side)), axes=1)
    return clean, clean + rng.normal(size=clean.shape)


@pytest.mark.parametrize(("frames", "side"), [(400, 12), (100, 12)])
def test_shrinkage_beats_cutting_and_cutting_beats_nothing(frames, side):
    clean, noisy = planted(frames, side)
    inside = np.ones((side, side), dtype=bool)
    inside[0, 0] = False
    (soft, rank), (hard, same) = (optimal_shrinkage(noisy, inside, hard=hard) for hard in (False, True))
    assert rank == same
    assert 2 <= rank <= 3  # an eigenvalue of noise lies above the edge now and then
    error = [float(((movie - clean)[:, inside] ** 2).mean()) for movie in (soft, hard, noisy)]
    assert error[0] < error[1] < 0.2 * error[2]
    np.testing.assert_allclose(soft[:, 0, 0], noisy[:, 0, 0], rtol=1e-6)


def test_a_median_passes_over_a_single_frame():
    movie = np.zeros((9, 2, 2))
    movie[4] = 5.0
    assert not median_in_time(movie, 3).any()


def test_halves_of_an_roi_agree_as_far_as_it_has_a_course():
    movie = np.random.default_rng(0).normal(size=(500, 8, 8))
    movie[:, :4, :4] += 3 * np.sin(np.arange(500) / 9)[:, None, None]
    masks = np.zeros((2, 8, 8), dtype=bool)
    masks[0, :4, :4] = masks[1, 4:, 4:] = True
    active, silent = split_half(movie, masks)
    assert active > 0.9
    assert abs(silent) < 0.2


@pytest.mark.parametrize(
    "simulator",
    [
        TwoPhoton(TwoPhotonParams(movie=True, height=16, width=16, cells=3, directions=2, repeats=1)),
        Widefield(WidefieldParams(trials=4, height=12, width=12)),
    ],
    ids=["two-photon", "widefield"],
)
def test_clean_frames_are_what_noise_was_added_to(simulator):
    recording = simulator.make()
    clean = clean_frames(recording)
    assert clean is not None
    inside = np.ones(clean.shape[1:], dtype=bool) if recording.brain is None else recording.brain
    left = (recording["fluorescence"].values - clean)[:, inside]
    sd = left.std()
    assert abs(left.mean()) < 4 * sd / np.sqrt(left.size) + 0.5
    assert abs(np.corrcoef(left[1:].ravel(), left[:-1].ravel())[0, 1]) < 0.02


def test_traces_have_no_clean_frames():
    assert clean_frames(Lorenz(LorenzParams()).make()) is None
