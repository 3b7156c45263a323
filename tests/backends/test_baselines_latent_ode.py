"""LatentODE: components, trajectories, divergence."""

import sys

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from neurodyn.core.errors import ConfigError
from neurodyn.nn import components
from neurodyn.nn.components import principal_components
from tests.backends.baselines import generator, make, make_batch

SMALL = {"components": 6, "latent": 3, "encoder": 8, "dynamics": 8, "decoder": 8}


@pytest.mark.parametrize("solver", ["rk4", "dopri5"])
def test_without_dynamics_every_frame_is_the_same(solver):
    model, batch = make("latent_ode", **SMALL, solver=solver), make_batch(hide=(2,), irregular=True)
    moving = model(batch)
    assert (moving.mean[:, 1:] - moving.mean[:, :1]).abs().max() > 1e-3
    for parameter in model.field[-1].parameters():
        torch.nn.init.zeros_(parameter)
    still = model(batch)
    torch.testing.assert_close(still.mean, still.mean[:, :1].expand_as(still.mean))
    torch.testing.assert_close(still.latents[..., :3], still.latents[..., 3:])
    assert (still.mean[0] - still.mean[1]).abs().max() > 1e-3


@pytest.mark.parametrize(("solver", "substeps"), [("rk4", 4), ("dopri5", 1)])
def test_linear_dynamics_follow_the_matrix_exponential(solver, substeps):
    model = make("latent_ode", frames=11, **SMALL, solver=solver, substeps=substeps)
    turn = torch.tensor([[0.0, 3.0, 0.0], [-3.0, 0.0, 0.5], [0.0, 0.0, -1.0]])
    model.field = torch.nn.Linear(3, 3, bias=False)
    model.field.weight.data.copy_(turn)
    start, times = torch.randn(2, 3), torch.tensor([[0.0, 0.73, 0.1, 1.35], [0.999, 0.02, 0.5, 0.31]])
    expected = torch.linalg.matrix_exp(times[..., None, None] * turn) @ start[:, None, :, None]
    torch.testing.assert_close(model.course(start, times), expected[..., 0], rtol=1e-4, atol=1e-4)
    early = model.course(start, times - 1)[:, 0]
    torch.testing.assert_close(early[0], start[0])


def test_frames_are_the_questions_at_their_own_times():
    model, batch = make("latent_ode", **SMALL), make_batch(irregular=True)
    order = torch.tensor([6, 0, 3])
    torch.testing.assert_close(model.at(batch, batch.t[:, order]), model(batch).mean[:, order])


@pytest.mark.parametrize("exact", [True, False])
def test_variances_are_those_of_the_scores(monkeypatch, exact):
    if not exact:
        monkeypatch.setattr(components, "EXACT_ENTRIES", 1)
    rng = np.random.default_rng(0)
    data = rng.normal(size=(200, 9)) @ rng.normal(size=(9, 9)) + 4
    mean, axes, variance = principal_components([data[:60], data[60:]], 4)
    scores = (data - mean) @ axes.T
    np.testing.assert_allclose(scores.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(np.cov(scores.T, bias=True), np.diag(variance), atol=1e-8)
    assert (np.diff(variance) < 0).all()


def test_training_frames_have_scores_of_variance_one():
    model = make("latent_ode", space=(7,), **SMALL)
    data = torch.from_numpy(np.random.default_rng(0).normal(3, 2, (30, 8, 7)).astype(np.float32))
    z = model.frames.standardised(data, torch.ones_like(data, dtype=torch.bool))
    scores = (z @ model.axes.T / model.spread).flatten(0, 1)
    torch.testing.assert_close(scores.mean(0), torch.zeros(6), rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.cov(scores.T, correction=0), torch.eye(6), rtol=0, atol=1e-4)


def test_the_divergence_is_that_of_gaussians_and_its_weight_that_of_the_bound():
    model = make("latent_ode", **SMALL, observation_noise=0.5)
    mean, log_sd = torch.randn(2, 4, 3)
    nats = kl_divergence(Normal(mean, log_sd.exp()), Normal(0.0, 1.0)).sum(-1).mean()
    torch.testing.assert_close(model._divergence(mean, log_sd, 8)["kl"], 2 * 0.25 / (6 * 8) * nats)
    assert set(make("latent_ode", **SMALL, observation_noise=0.0).loss(make_batch(), generator())) == {
        "hidden",
        "visible",
    }


def test_training_samples_and_prediction_does_not():
    model, batch = make("latent_ode", **SMALL), make_batch()
    assert torch.equal(model(batch).mean, model(batch).mean)
    torch.nn.init.zeros_(model.initial.weight)
    model.initial.bias.data[3:] = -20.0  # no spread
    certain = [model.loss(batch, generator(seed))["visible"].item() for seed in (0, 0, 1)]
    model.initial.bias.data[3:] = 0.0
    drawn = [model.loss(batch, generator(seed))["visible"].item() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] and certain[0] == certain[1]
    assert abs(drawn[0] - certain[0]) > 1e-4


def test_what_to_install_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchdiffeq", None)
    with pytest.raises(ConfigError, match=r"torchdiffeq") as error:
        make("latent_ode", **SMALL)
    assert error.value.fix == "pip install 'neurodyn[baselines]'"
