"""CaLFADS: its calcium is OASIS's, its loss is the sum of closed forms, its warm-up and health are as written."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from oasis.functions import gen_data
from scipy.stats import norm, poisson

from neurodyn.backends.batch import Batch
from neurodyn.backends.calfads import CaLFADS, CaLFADSConfig
from neurodyn.backends.layout import Layout
from neurodyn.nn.ladder import Rung

RATE, FRAMES, CELLS = 10.0, 40, 5


def model(**config) -> CaLFADS:
    torch.manual_seed(0)
    settings = {"tau": 0.3, "gain": 0.8, "samples": 3, "generator": 16, "initial": 16, **config}
    backend = CaLFADS(CaLFADSConfig(**settings), Layout(FRAMES, (CELLS,), RATE, np.ones(CELLS, dtype=bool)))
    backend.prepare([data(30, seed=1)])
    return backend.eval()


def data(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    spikes = rng.poisson(0.2, (count, FRAMES, CELLS))
    calcium = np.zeros_like(spikes, dtype=np.float64)
    for t in range(FRAMES):
        calcium[:, t] = (math.exp(-1 / 3) * calcium[:, t - 1] if t else 0) + spikes[:, t]
    return (0.8 * calcium + 0.2 * rng.normal(size=calcium.shape)).astype(np.float32)


def batch(count: int = 6) -> Batch:
    x = torch.from_numpy(data(count))
    seen = torch.ones_like(x, dtype=torch.bool)
    t = (torch.arange(FRAMES) / RATE).expand(count, -1)
    return Batch(x, t, seen, seen, torch.zeros(count, dtype=torch.long))


def driven(decay: torch.Tensor, drive: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Spikes and calcium of a rung whose latents have no say."""
    rung = Rung(4, 3, 2, CELLS)
    torch.nn.init.zeros_(rung.readout)
    count = drive.shape[1]
    out = rung(
        torch.zeros(len(drive), count, 4), drive, torch.zeros(len(drive), count, 2), decay, torch.zeros(count, 5)
    )
    return out.spikes.detach().numpy(), out.calcium.detach().numpy()


def test_calcium_is_the_forward_model_of_oasis():
    decay = model().decay
    _, calcium, spikes = gen_data([math.exp(-1 / 3)], sn=0, T=200, N=CELLS, framerate=10, firerate=2)
    assert not spikes[:, 0].any() and spikes.any()  # gen_data decays from the third frame on
    drive = torch.from_numpy(np.log1p(spikes.T.astype(np.float64))[:, None].astype(np.float32))
    found, courses = driven(decay, drive)
    np.testing.assert_allclose(found[:, 0], spikes.T, atol=1e-6)
    np.testing.assert_allclose(courses[:, 0], calcium.T, atol=1e-6 * calcium.max())


def test_a_rise_makes_the_difference_of_two_exponentials():
    decay = model(rise=0.05).decay
    drive = torch.full((30, 1, CELLS), -1.0)
    drive[0] = math.log(2)
    calcium = driven(decay, drive)[1][:, 0, 0]
    slow, fast = math.exp(-1 / 3), math.exp(-2)
    frames = np.arange(1, 31)
    np.testing.assert_allclose(calcium, (slow**frames - fast**frames) / (slow - fast), rtol=1e-4, atol=1e-7)


def test_loss_parts_are_the_densities_up_to_constants(monkeypatch):
    backend, some = model(), batch()
    kept = {}
    run = backend._sample
    monkeypatch.setattr(backend, "_sample", lambda *a, **k: kept.setdefault("out", run(*a, **k)))
    with torch.no_grad():
        parts = backend.loss(some, torch.Generator().manual_seed(0))
    out = kept["out"]
    x, mean = some.x.numpy(), out.fluorescence.transpose(0, 1).numpy()
    sd = backend.noise.numpy()
    expected = -(norm.logpdf(x, mean, sd) - norm.logpdf(0, 0, sd)).sum((1, 2)).mean()
    assert parts["reconstruction"].item() == pytest.approx(expected, rel=1e-5)
    u, rate = out.shallow.spikes.double().numpy(), out.log_rate.double().exp().numpy() / RATE
    counts = np.arange(4)[:, None, None, None]
    at_counts = rate - counts * np.log(rate) + counts
    exact = -poisson.logpmf(counts, rate)
    np.testing.assert_allclose(
        at_counts - exact,
        counts - np.array([math.lgamma(k + 1) for k in range(4)])[:, None, None, None] + 0 * rate,
        atol=1e-6,
    )
    assert parts["spikes"].item() == pytest.approx((rate - u * np.log(rate) + u).sum((0, 2)).mean(), rel=1e-5)
    prior = torch.distributions.Normal(backend.prior.mean, (0.5 * backend.prior.log_variance).exp())
    posterior = torch.distributions.Normal(out.shallow.mean, (0.5 * out.shallow.logvar).exp())
    divergence = torch.distributions.kl_divergence(posterior, prior).sum((0, 2)).mean().item()
    assert parts["kl_spikes"].item() == pytest.approx(divergence, rel=1e-4)


def test_the_shallow_rung_warms_up_before_the_deep_one():
    backend, some = model(warmup=10, freeze=5), batch()

    def parts(step):
        backend.warm(step)
        with torch.no_grad():
            return {k: v.item() for k, v in backend.loss(some, torch.Generator().manual_seed(0)).items()}

    whole = parts(None)
    for step, shallow, deep in [(0, 0, 0), (5, 0.5, 0), (10, 1, 0), (15, 1, 0.5), (20, 1, 1)]:
        found = parts(step)
        assert found["kl_spikes"] == pytest.approx(shallow * whole["kl_spikes"], rel=1e-5)
        for name in ("kl_initial", "l2"):
            assert found[name] == pytest.approx(deep * whole[name], rel=1e-5)
    assert backend.warm_steps == 20


def test_frozen_dynamics_get_no_gradient_from_spikes_or_data():
    backend, some = model(warmup=10, freeze=5), batch()
    for step, moved in [(4, False), (5, True)]:
        backend.zero_grad()
        backend.warm(step)
        torch.stack(list(backend.loss(some, torch.Generator().manual_seed(0)).values())).sum().backward()
        gradient = backend.dynamics.generator.recurrent.grad
        assert (gradient is not None and bool(gradient.abs().max() > 0)) == moved
    backend.warm(None)


def test_dynamics_without_information_are_called_collapsed_after_the_warm_up():
    backend = model(warmup=10)
    carried = {"kl_initial": 0.2, "kl_spikes": 500.0, "reconstruction": 100.0}
    assert backend.health(carried, 39) is None
    assert "0.20 nats" in str(backend.health(carried, 40))
    assert backend.health({**carried, "kl_initial": 12.0}, 40) is None


def test_the_weight_of_the_deep_divergences_is_theirs_alone():
    some, whole, light = batch(), model(inputs=1), model(inputs=1, kl=0.25)
    one, other = (
        {name: value.item() for name, value in each.loss(some, torch.Generator().manual_seed(0)).items()}
        for each in (whole, light)
    )
    for name, share in {"kl_initial": 0.25, "kl_inputs": 0.25, "kl_spikes": 1.0, "reconstruction": 1.0}.items():
        assert other[name] == pytest.approx(share * one[name], rel=1e-5)


def test_a_fit_far_worse_than_the_mean_is_called_collapsed():
    backend, some = model(warmup=10), batch()
    flat = ((some.x - backend.cells.mean[0]) / backend.noise).square().sum((1, 2)).mean().item() / 2
    parts = {"kl_initial": 12.0, "reconstruction": 1.5 * flat}
    assert backend.health(parts, 40) is None
    parts["reconstruction"] = 3 * flat
    assert backend.health(parts, 19) is None
    assert "as far off as each cell's mean" in str(backend.health(parts, 20))


def test_more_samples_give_a_steadier_mean_and_honest_spread():
    some = batch()
    few, many, most = (model(samples=k) for k in (2, 60, 240))
    with torch.no_grad():
        reference = most(some).mean
        assert (many(some).mean - reference).abs().mean() < (few(some).mean - reference).abs().mean()
        prediction = many(some)
    assert (prediction.std >= most.noise - 1e-6).all()
    assert (prediction.spikes_std > 0).any()
    assert prediction.rates.shape == prediction.spikes.shape == some.x.shape


def test_missing_frames_enter_neither_the_encoders_nor_the_loss():
    backend, some = model(), batch()
    hole = some.valid.clone()
    hole[:, 10:14] = False
    known = replace(some, valid=hole, visible=hole)
    spoiled = replace(known, x=some.x.where(hole, 1e4))
    for a, b in zip(
        backend.loss(known, torch.Generator().manual_seed(0)).values(),
        backend.loss(spoiled, torch.Generator().manual_seed(0)).values(),
        strict=True,
    ):
        assert a.item() == b.item()


def test_hill_dye_saturates_as_written():
    backend = model(dye="hill", saturation=0.01, exponent=2.0)
    c = torch.tensor([0.0, 1.0, 3.0, 100.0])
    torch.testing.assert_close(backend._dye(c), c**2 / (1 + 0.01 * c**2), rtol=1e-5, atol=1e-6)
