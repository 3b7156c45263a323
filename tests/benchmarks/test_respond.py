"""Tuning of simulated cells, false discoveries without any, power against trials, and how long a thousand cells take."""

from __future__ import annotations

import resource
import subprocess
import sys
import time

import numpy as np
import pytest

import neurodyn as nd
from neurodyn.data.recording import Recording
from neurodyn.simulate.tuned import Tuned

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
SETTINGS = {"bootstraps": 100, "splits": 20}


def asked(seeds, **made):
    """Yield truth and findings of simulated sessions."""
    for seed in range(seeds):
        recording = Tuned(Tuned.Params(seed=seed, **made)).make()
        target = made.get("to", "direction")
        for variable in ("dff", "counts"):
            yield variable, recording.table("truth"), nd.respond(recording, target, variable=variable, **SETTINGS)


def selectivity(curve):
    """Return OSI and DSI of noiseless curves, shape (direction, cell)."""
    cell = np.arange(curve.shape[1])
    both = (curve + np.roll(curve, 4, axis=0)) / 2
    high, low = both[both.argmax(axis=0), cell], np.roll(both, 2, axis=0)[both.argmax(axis=0), cell]
    best, null = curve[curve.argmax(axis=0), cell], np.roll(curve, 4, axis=0)[curve.argmax(axis=0), cell]
    return (high - low) / (high + low), (best - null) / (best + null)


@pytest.mark.parametrize("repeats", [4, 8, 12, 20])
def test_directions_and_power_against_trials(repeats):
    rows = {"dff": [], "counts": []}
    for variable, truth, found in asked(10, repeats=repeats, evoked_rate=3.0, drift=0.1):
        tuned, called = truth["tuned"].values, found["tuned"].values
        both = tuned & called
        apart = np.deg2rad(found["preferred_direction"].values - truth["preferred_direction"].values)[both]
        osi, dsi = selectivity(truth["curve"].values)
        rows[variable].append((
            both.sum() / tuned.sum(),
            (called & ~tuned).sum() / max(1, called.sum()),
            np.rad2deg(np.abs(np.angle(np.exp(1j * apart)))),
            (found["osi"].values - osi)[both],
            (found["dsi"].values - dsi)[both],
        ))  # fmt: skip
    for variable, parts in rows.items():
        power, false, error, osi, dsi = (np.concatenate([np.atleast_1d(row[k]) for row in parts]) for k in range(5))
        print(
            f"\n{repeats:2} trials, {variable:6}: found {power.mean():.2f}, false {false.mean():.3f}, direction within "
            f"{np.median(error):.1f} deg, bias of OSI {np.nanmean(osi):+.3f}, of DSI {np.nanmean(dsi):+.3f}"
        )
        if repeats >= 8:
            assert np.median(error) < 10
            assert abs(np.nanmean(osi)) < 0.05 and false.mean() < 0.08


@pytest.mark.parametrize("order", ["random", "cycle", "blocks"])
def test_false_discoveries_under_drift(order):
    drifts = {"drift": 0.3, "gain_drift": 0.5, "spontaneous_rate": 1.0}
    p, sessions = [], 0
    for variable, _, found in asked(20, order=order, tuned=0.0, cells=100, **drifts):
        if variable == "dff":
            p.append((found["selective_p"].values, found["responsive_p"].values))
            sessions += bool(found["tuned"].values.any())
    selective, responsive = np.array(p).swapaxes(0, 1)
    print(
        f"\n{order:6}: selective p <= .05 in {np.mean(selective <= 0.05):.3f}, <= .01 in {np.mean(selective <= 0.01):.3f}; "
        f"responsive {np.mean(responsive <= 0.05):.3f}; sessions of 20 with a tuned cell after correction: {sessions}"
    )
    assert np.mean(selective <= 0.05) <= 0.06 and np.mean(responsive <= 0.05) <= 0.065
    assert sessions <= 3


def test_contrast_and_place():
    half, found_share = [], []
    for _, truth, found in asked(10, to="contrast", repeats=16, drift=0.1):
        both = truth["tuned"].values & found["tuned"].values
        half.append(np.log2(found["c50"].values / truth["c50"].values)[both])
    print(
        f"\nc50: median error {np.median(np.abs(np.concatenate(half))):.2f} octaves, bias {np.median(np.concatenate(half)):+.2f}"
    )
    assert np.median(np.abs(np.concatenate(half))) < 0.35
    apart, false = [], []
    for variable, truth, found in asked(10, to="position", repeats=30, evoked_rate=8.0, drift=0.1):
        tuned, called = truth["tuned"].values, found["tuned"].values
        where = found["condition_position"].values[found["preferred"].values]
        found_share.append((tuned & called).sum() / tuned.sum())
        false.append((called & ~tuned).sum() / max(1, called.sum()))
        if variable == "counts":
            apart.append(np.abs(where - truth["centre"].values)[tuned & called])
    print(
        f"place: found {np.mean(found_share):.2f}, false {np.mean(false):.3f}, within {np.median(np.concatenate(apart)):.1f} cm"
    )
    assert np.median(np.concatenate(apart)) < 5 and np.mean(false) < 0.08 and np.mean(found_share) > 0.8


def test_places_under_drift():
    p = [
        found["selective_p"].values
        for variable, _, found in asked(20, to="position", tuned=0.0, cells=100, repeats=40, drift=0.3, gain_drift=0.5)
        if variable == "dff"
    ]
    print(
        f"\nplaces without any: p <= .05 in {np.mean(np.array(p) <= 0.05):.3f}, <= .01 in {np.mean(np.array(p) <= 0.01):.3f}"
    )
    assert np.mean(np.array(p) <= 0.05) <= 0.08


def test_a_thousand_cells_of_six_hundred_events(tmp_path):
    rng = np.random.default_rng(0)
    start = 5 + np.arange(600) * 16.6
    label = rng.permutation(np.resize(np.arange(0, 360, 45.0), 600))
    traces = rng.standard_normal((100_000, 1000), dtype="f4")
    stimulus = {"start": start, "stop": start + 2, "direction": label}
    path = Recording.from_arrays({"dff": traces}, rate_hz=10.0, stimulus=stimulus).save(tmp_path / "a.zarr")
    began = time.perf_counter()
    del traces  # the peak of a child counts what its parent held when it began
    words = [sys.executable, "-m", "neurodyn", "respond", path, "--target", "direction", "-o", tmp_path / "out"]
    subprocess.run([str(word) for word in words], check=True, capture_output=True)
    took = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"\n1,000 cells x 100,000 frames x 600 events, the command: {took:.1f} s, {peak:.0f} MB at most")
    assert took < 30 and peak < 1500
