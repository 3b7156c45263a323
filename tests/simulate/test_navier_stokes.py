"""Flows: exact solutions, conservation, order of convergence, and the statistics of the initial state."""

import numpy as np
import pytest
from pydantic import ValidationError

from neurodyn.core.errors import WorkError
from neurodyn.data.window_config import WindowConfig
from neurodyn.data.windows import Windows
from neurodyn.simulate.navier_stokes import (
    NavierStokes,
    NavierStokesParams,
    Torus,
    flow,
    random_vorticity,
    stirring,
)

SMALL = {"trials": 6, "size": 16, "interval": 1.0, "queries": 5}


def grid(size):
    """Return y and x of the grid points, shapes (y, x)."""
    return np.meshgrid(np.arange(size) / size, np.arange(size) / size, indexing="ij")


def at(start, time, step, viscosity=1e-3, forcing=0.1):
    """Return the vorticity at one time, shape (flow, y, x)."""
    states = flow(start, viscosity, stirring(start.shape[-1], forcing), step)
    for _ in range(round(time / step)):
        next(states)
    return Torus(start.shape[-1]).backward(next(states))


def test_taylor_green_vortices_decay_as_they_must():
    y, x = grid(24)
    start = (np.sin(2 * np.pi * x) * np.sin(2 * np.pi * y))[None]  # u·∇w vanishes: decay exp(-8π²νt) is exact
    found = at(start, 2.0, 0.01, viscosity=0.01, forcing=0.0)
    np.testing.assert_allclose(found, start * np.exp(-8 * np.pi**2 * 0.01 * 2.0), atol=1e-5)


def test_one_mode_decays_at_its_own_rate_and_the_forcing_adds_up():
    y, x = grid(16)
    start = np.cos(2 * np.pi * (2 * x + y))[None]
    found = at(start, 1.0, 0.01, viscosity=0.01, forcing=0.0)
    np.testing.assert_allclose(found, start * np.exp(-4 * np.pi**2 * 5 * 0.01), atol=1e-4)
    rate = 8 * np.pi**2 * 0.01  # from rest, w stays parallel to f: w = f (1 - exp(-rate t)) / rate
    stirred = at(np.zeros((1, 16, 16)), 3.0, 0.01, viscosity=0.01, forcing=0.1)
    np.testing.assert_allclose(stirred[0], stirring(16, 0.1) * (1 - np.exp(-3 * rate)) / rate, atol=1e-5)


def test_velocity_is_free_of_divergence_and_has_the_vorticity():
    w = random_vorticity(3, 32, 343.0, np.random.default_rng(0))
    torus = Torus(32)
    spectrum = torus.forward(w)
    dy, dx = torus.derivative
    along_y, along_x = torus.velocity(spectrum)
    assert np.abs(torus.backward(dy * along_y + dx * along_x)).max() < 1e-10
    np.testing.assert_allclose(torus.backward(dx * along_y - dy * along_x), w, atol=1e-10)
    # against differences in space of a smooth field, so that signs and axes are not only consistent with each other
    y, x = grid(32)
    u = torus.backward(torus.velocity(torus.forward(np.sin(2 * np.pi * y)[None]))[1])[0]
    np.testing.assert_allclose(u, np.cos(2 * np.pi * y) / (2 * np.pi), atol=1e-12)


def test_a_vortex_sheet_is_carried_along_by_a_uniform_shear_as_computed_directly():
    y, x = grid(32)
    w = np.sin(2 * np.pi * y) + 0.5 * np.cos(2 * np.pi * (x + 2 * y))
    psi = np.sin(2 * np.pi * y) / (4 * np.pi**2) + 0.5 * np.cos(2 * np.pi * (x + 2 * y)) / (20 * np.pi**2)
    torus = Torus(32)
    fine = 1e-5

    def along(field, axis):
        """Differentiate by trigonometric interpolation, independently of the module."""
        frequency = np.fft.fftfreq(32, 1 / 32)
        shift = np.exp(2j * np.pi * frequency * fine)
        shape = [1, 1]
        shape[axis] = 32
        ahead, behind = (
            np.fft.ifft(np.fft.fft(field, axis=axis) * s.reshape(shape), axis=axis).real for s in (shift, shift.conj())
        )
        return (ahead - behind) / (2 * fine)

    expected = -(along(psi, 0) * along(w, 1) - along(psi, 1) * along(w, 0))
    found = torus.backward(torus.advection(torus.forward(w[None])))[0]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_mean_vorticity_is_conserved_and_energy_only_decays_unforced():
    start = random_vorticity(4, 32, 3430.0, np.random.default_rng(1)) + 0.3
    found = at(start, 4.0, 0.02, forcing=0.0)
    np.testing.assert_allclose(found.mean(axis=(1, 2)), 0.3, atol=1e-10)
    assert ((found - 0.3) ** 2).mean() < ((start - 0.3) ** 2).mean()
    frictionless = at(start, 2.0, 0.005, viscosity=0.0, forcing=0.0)  # enstrophy is conserved by advection alone
    np.testing.assert_allclose((frictionless**2).mean(axis=(1, 2)), (start**2).mean(axis=(1, 2)), rtol=1e-4)


def test_halving_the_step_quarters_the_error():
    start = random_vorticity(3, 24, 3430.0, np.random.default_rng(2))
    best = at(start, 4.0, 0.0025)
    coarse, fine = (np.sqrt(np.mean((at(start, 4.0, step) - best) ** 2)) for step in (0.04, 0.02))
    assert coarse / fine == pytest.approx(4, rel=0.15)


def test_spectrum_of_the_initial_state():
    draws = random_vorticity(4000, 16, 343.0, np.random.default_rng(3))
    power = (np.abs(np.fft.fft2(draws) / 256) ** 2).mean(axis=0)
    assert draws.mean(axis=(1, 2)) == pytest.approx(np.zeros(4000), abs=1e-12)
    for ky, kx in ((0, 1), (1, 0), (2, -1), (3, 3), (-5, 0)):
        expected = 343 * (4 * np.pi**2 * (ky**2 + kx**2) + 49) ** -2.5
        assert power[ky, kx] == pytest.approx(expected, rel=0.1)
    assert power[6:11].max() < 1e-30, "modes beyond two thirds are empty"


def test_truth_lies_between_the_frames_of_the_same_flow():
    recording = NavierStokes(NavierStokesParams(**SMALL, noise=0.0)).make()
    frames = recording["vorticity"].values.reshape(6, 10, 16, 16)
    truth = recording.table("truth")
    dense, query = truth["dense"].values, truth["query"].values
    assert dense.shape == (6, 5, 16, 16)
    assert dense.dtype == np.float32
    assert (np.diff(query) > 0).all()
    assert (np.abs(query[:, None] - np.arange(10)).min(axis=1) > 0.04).all()
    start = frames[:, 0].astype(float)
    for k, time in enumerate(query):
        np.testing.assert_allclose(dense[:, k], at(start, time, 0.05), atol=1e-5)
    np.testing.assert_allclose(frames[:, 9], at(start, 9.0, 0.05), atol=1e-5)
    assert truth["dense"].attrs["scale"] == pytest.approx(dense.std(), rel=1e-5)


def test_noise_and_parts():
    quiet, noisy = (NavierStokes(NavierStokesParams(**SMALL | {"trials": 20}, noise=n)).make() for n in (0.0, 0.2))
    scale = noisy.table("truth")["dense"].attrs["scale"]
    assert (noisy["vorticity"] - quiet["vorticity"]).values.std() == pytest.approx(0.2 * scale, rel=0.02)
    np.testing.assert_array_equal(quiet.table("truth")["dense"].values, noisy.table("truth")["dense"].values)
    config = WindowConfig(variable="vorticity", duration=10.0, split="column", condition="part")
    parts = Windows.cut([noisy], config).split()
    assert {name: len(windows) for name, windows in parts.items()} == {"train": 13, "valid": 1, "test": 6}


def test_impossible_requests_are_refused():
    with pytest.raises(ValidationError, match="fewer queries"):
        NavierStokesParams(interval=0.1, queries=20)
    with pytest.raises(WorkError, match="unstable"):
        NavierStokes(NavierStokesParams(**SMALL, step=0.5, spread=3e7)).make()
