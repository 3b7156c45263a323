"""`neurodyn preprocess`: what it would do, and channels told apart on the way."""

from __future__ import annotations

import numpy as np
import pytest

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
    plain = (*plain, "--fs", 10, "--channels", "fluorescence,reference")
    lines = neurodyn(*plain).out.splitlines()
    assert lines[1] == "source: read once for its checksum, once to copy and to look at it"
    assert lines[2] == "hemodynamics: reads fluorescence, reference twice, makes corrected"
    assert lines[3] == "dff: reads corrected once, makes dff"
    told = neurodyn(*plain, "--set", "source.demux=correlation").out
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


def rois(folder, indicator: str, seconds: int = 70):
    rng = np.random.default_rng(1)
    neural = {name: (300 + rng.gamma(2, 20, (10 * seconds, 3))).astype("f4") for name in ("fluorescence", "neuropil")}
    return Recording.from_arrays(neural, rate_hz=10, indicator=indicator).save(folder / "rois.zarr")


@pytest.mark.parametrize(("indicator", "chain"), [("GCaMP6s", "two-photon"), ("unknown", "two-photon")])
def test_without_a_chain_it_takes_what_inspect_names_and_says_why(tmp_path, neurodyn, indicator, chain):
    source = rois(tmp_path, indicator)
    done = neurodyn("preprocess", source, "-o", tmp_path / "out.zarr")
    assert done.code == 0, done.err
    assert f"Chain {chain} for " in done.err
    assert "fluorescence of ROIs with neuropil" in done.err
    steps = Recording.open(tmp_path / "out.zarr").history
    assert steps[0]["step"] == "neuropil"
    assert f"--chain {chain} " in neurodyn("inspect", source).out
    planned = neurodyn("preprocess", source, "-o", tmp_path / "other.zarr", "-n")
    assert f"Chain {chain} for " in planned.err
    assert "neuropil: reads fluorescence, neuropil once, makes corrected" in planned.out
    assert not (tmp_path / "other.zarr").exists()


def test_without_a_chain_settings_reach_the_one_that_is_taken(tmp_path, neurodyn):
    done = neurodyn(
        "preprocess", rois(tmp_path, "unknown"), "-o", tmp_path / "out.zarr", "--set", "neuropil.coefficient=0.5"
    )
    assert done.code == 0, done.err
    made = Recording.open(tmp_path / "out.zarr")
    expected = made["fluorescence"].values - 0.5 * made["neuropil"].values
    np.testing.assert_allclose(made["corrected"].values, expected, rtol=1e-5)


def test_a_movie_of_one_channel_is_asked_about(tmp_path, neurodyn):
    np.save(tmp_path / "movie.npy", movie())
    done = neurodyn("preprocess", tmp_path / "movie.npy", "--fs", 10, "-o", tmp_path / "out.zarr")
    assert done.code == 3
    assert "--chain widefield-mean" in done.err
    assert "neurodyn extract" in done.err
    assert not (tmp_path / "out.zarr").exists()
    assert neurodyn(*("preprocess", tmp_path / "movie.npy", "--fs", 10, "--chain", "widefield-mean"),
                    *("-o", tmp_path / "out.zarr")).code == 0  # fmt: skip


def test_fifty_seconds_are_enough_and_the_shorter_window_is_told(tmp_path, neurodyn):
    done = neurodyn("preprocess", rois(tmp_path, "unknown", 50), "-o", tmp_path / "out.zarr")
    assert done.code == 0, done.err
    assert "shortened to 49.9 s" in " ".join(done.err.split())


def test_inputs_of_one_name_are_told_apart_by_their_folders(tmp_path, neurodyn):
    for folder in ("monday", "friday"):
        (tmp_path / folder).mkdir()
        rois(tmp_path / folder, "GCaMP6s")
    sources = [tmp_path / folder / "rois.zarr" for folder in ("monday", "friday")]
    outcome = neurodyn("preprocess", *sources, "--chain", "zscore", "-o", tmp_path / "out", "-n")
    assert outcome.code == 0, outcome.err
    targets = [line.split(" -> ")[1] for line in outcome.out.splitlines()[:2]]
    assert targets == [str(tmp_path / "out" / f"{folder}-rois.zarr") for folder in ("monday", "friday")]
    twice = neurodyn("preprocess", sources[0], sources[0], "--chain", "zscore", "-o", tmp_path / "out", "-n")
    assert twice.code == 2
    assert "Two inputs would write one recording" in twice.err
