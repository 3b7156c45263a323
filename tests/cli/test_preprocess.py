"""`neurodyn preprocess`: what it would do, and channels told apart on the way."""

from __future__ import annotations

import numpy as np

from neurodyn.data.recording import Recording


def movie(frames: int = 200) -> np.ndarray:
    """Return two interleaved channels of different pattern, shape (2 * frames, 16, 16)."""
    rng = np.random.default_rng(0)
    patterns = rng.uniform(1000, 3000, (2, 16, 16))
    blood = 1 + 0.02 * np.sin(np.arange(2 * frames) / 5)
    noisy = patterns[np.arange(2 * frames) % 2] * blood[:, None, None] + rng.normal(0, 10, (2 * frames, 16, 16))
    return noisy.astype(np.uint16)


def test_a_dry_run_says_how_often_the_source_is_read_and_writes_nothing(tmp_path, neurodyn):
    np.save(tmp_path / "movie.npy", movie())
    plain = ("preprocess", tmp_path / "movie.npy", "--chain", "widefield", "-o", tmp_path / "out.zarr", "-n")
    lines = neurodyn(*plain).out.splitlines()
    assert lines[1] == "source: read once for its checksum, once to copy and to look at it"
    assert lines[2] == "hemodynamics: reads fluorescence, reference twice, makes corrected"
    assert lines[3] == "dff: reads corrected once, makes dff"
    told = neurodyn(*plain, "--channels", "fluorescence,reference", "--set", "source.demux=correlation").out
    assert "once to tell the channels apart" in told
    assert not (tmp_path / "out.zarr").exists()


def test_dropped_frames_are_placed_before_hemodynamics_are_removed(tmp_path, neurodyn):
    np.save(tmp_path / "movie.npy", np.delete(movie(), [101, 240], axis=0))
    outcome = neurodyn(
        *("preprocess", tmp_path / "movie.npy", "--fs", 10, "--channels", "fluorescence,reference"),
        *("--set", "source.demux=correlation", "--chain", "widefield", "--set", "dff.window=10"),
        *("-o", tmp_path / "out.zarr"),
    )
    assert outcome.code == 0, outcome.err
    assert "2 of 400 frames were dropped" in outcome.err
    made = Recording.open(tmp_path / "out.zarr")
    qc = made.table("qc")
    assert qc is not None
    assert np.argwhere(qc["demux_dropped"].values).tolist() == [[50, 1], [120, 0]]
    after = np.abs(qc["hemodynamics_correlation_after"].values).mean()
    assert after < 0.1 < np.abs(qc["hemodynamics_correlation_before"].values).mean()
