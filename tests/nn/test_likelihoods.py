"""Every likelihood against torch.distributions, by numerical integration, and at its edges."""

import math

import numpy as np
import pytest
import torch
from torch import distributions as D

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.nn.likelihoods import (
    LIKELIHOODS,
    Gaussian,
    GaussianExp,
    LogNormal,
    Poisson,
    ZeroInflatedGamma,
    bounded,
)

CELLS = 4


def draw(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def raw(parameters: int, seed: int = 0) -> torch.Tensor:
    return draw(3, 5, CELLS, parameters, seed=seed)


def made(name: str, **options) -> torch.nn.Module:
    return LIKELIHOODS[name](CELLS, **options).double()


@pytest.fixture(params=sorted(LIKELIHOODS))
def name(request) -> str:
    return request.param


def test_poisson_is_the_full_density():
    r = raw(1)
    x = torch.arange(15.0, dtype=torch.float64).reshape(3, 5, 1).expand(-1, -1, CELLS)
    reference = D.Poisson(r[..., 0].exp())
    torch.testing.assert_close(made("poisson").nll(r, x), -reference.log_prob(x))
    torch.testing.assert_close(made("poisson").mean(r), reference.mean)
    torch.testing.assert_close(made("poisson").std(r), reference.variance.sqrt())


def test_gaussian_is_the_normal_density():
    r, x = raw(2), draw(3, 5, CELLS, seed=1)
    reference = D.Normal(r[..., 0], (0.5 * r[..., 1]).exp())
    torch.testing.assert_close(made("gaussian").nll(r, x), -reference.log_prob(x))
    torch.testing.assert_close(made("gaussian").mean(r), reference.mean)
    torch.testing.assert_close(made("gaussian").std(r), reference.stddev)


def test_gaussian_exp_is_a_normal_around_the_exponential():
    r, x = raw(1), draw(3, 5, CELLS, seed=1)
    reference = D.Normal(r[..., 0].exp(), math.sqrt(0.04))
    model = made("gaussian_exp", variance=0.04)
    torch.testing.assert_close(model.nll(r, x), -reference.log_prob(x))
    torch.testing.assert_close(model.mean(r), reference.mean)
    torch.testing.assert_close(model.std(r), reference.stddev.expand(3, 5, CELLS))
    paper = made("gaussian_exp")
    squared = (x - r[..., 0].exp()) ** 2
    torch.testing.assert_close(paper.nll(r, x) - paper.nll(r, torch.zeros_like(x)), squared - r[..., 0].exp() ** 2)


def amount(model: torch.nn.Module, r: torch.Tensor) -> D.Distribution:
    if isinstance(model, LogNormal):
        return D.LogNormal(r[..., 1], (0.5 * r[..., 2]).exp())
    scale = model.log_scales.detach().exp()
    return D.Gamma(scale[0] * r[..., 1].sigmoid(), scale[1] * r[..., 2].sigmoid())


@pytest.mark.parametrize("kind", ["zero_inflated_gamma", "lognormal"])
def test_zero_inflated_densities_and_moments(kind):
    model, r = made(kind, loc=0.1), raw(3)
    if isinstance(model, ZeroInflatedGamma):
        with torch.no_grad():
            model.log_scales += draw(2, CELLS, seed=7, scale=0.3)
    q, y = r[..., 0].sigmoid(), amount(model, r)
    x = 0.1 + draw(3, 5, CELLS, seed=2).exp()
    torch.testing.assert_close(model.nll(r, x).detach(), -q.log() - y.log_prob(x - 0.1))
    torch.testing.assert_close(model.nll(r, torch.zeros_like(x)), -(1 - q).log())
    torch.testing.assert_close(model.mean(r).detach(), q * (y.mean + 0.1))
    second = q * (y.variance + (y.mean + 0.1) ** 2)
    torch.testing.assert_close(model.std(r).detach(), (second - (q * (y.mean + 0.1)) ** 2).sqrt())


@pytest.mark.parametrize("kind", ["zero_inflated_gamma", "lognormal"])
def test_zero_inflated_densities_integrate_to_one(kind):
    model = made(kind, loc=0.1)
    r = torch.tensor([0.3, 1.0, -0.4], dtype=torch.float64).expand(1, 1, CELLS, 3)
    log_y = torch.linspace(-30, 8, 200_001, dtype=torch.float64)
    x = (0.1 + log_y.exp())[None, :, None].expand(-1, -1, CELLS)
    density = (-model.nll(r.expand(1, x.shape[1], CELLS, 3), x)).exp() * log_y.exp()[None, :, None]
    above = torch.trapezoid(density, log_y, dim=1)
    at_zero = (-model.nll(r, torch.zeros(1, 1, CELLS, dtype=torch.float64))).exp()[:, 0]
    torch.testing.assert_close((above + at_zero).detach(), torch.ones(1, CELLS, dtype=torch.float64), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["zero_inflated_gamma", "lognormal"])
def test_an_event_up_to_loc_counts_as_none_and_check_names_it(kind):
    model, r = made(kind, loc=0.1), raw(3)
    zero, small = torch.zeros(3, 5, CELLS, dtype=torch.float64), torch.full((3, 5, CELLS), 0.1, dtype=torch.float64)
    torch.testing.assert_close(model.nll(r, small), model.nll(r, zero), rtol=0, atol=0)
    model.check(np.array([0.0, 0.11, np.nan]))
    with pytest.raises(DataError, match="0.1 or less") as error:
        model.check(np.array([0.0, 0.05, 0.1, np.nan]))
    assert "2 of 3, e.g. 0.05" in error.value.found
    with pytest.raises(DataError, match="negative"):
        model.check(np.array([-1.0]))


def test_negative_counts_are_refused_and_normals_take_every_number():
    with pytest.raises(DataError, match="negative"):
        made("poisson").check(np.array([1.0, -0.5]))
    made("gaussian").check(np.array([-1.0]))
    made("gaussian_exp").check(np.array([-1.0]))
    for wrong in (
        lambda: GaussianExp(2, variance=0.0),
        lambda: LogNormal(2, loc=-1.0),
        lambda: ZeroInflatedGamma(2, scale=0.0),
    ):
        with pytest.raises(ConfigError):
            wrong()


def test_the_gamma_scales_are_pulled_back():
    model = made("zero_inflated_gamma")
    assert model.penalty().item() == pytest.approx(0, abs=1e-12)
    with torch.no_grad():
        model.log_scales[0, 0] = math.log(22.0)
        model.log_scales[1, 2] = math.log(17.0)
    assert model.penalty().item() == pytest.approx(0.5e-4 * (4 + 9))
    model.penalty().backward()
    assert model.log_scales.grad[0, 0] > 0 > model.log_scales.grad[1, 2]
    assert made("poisson").penalty() == 0


@pytest.mark.parametrize("size", [0.0, 30.0, 1e4, 1e30])
def test_nothing_overflows_in_float32(name, size):
    model = LIKELIHOODS[name](CELLS)
    for sign in (-1, 1):
        r = torch.full((1, 3, CELLS, model.parameters_per_cell), sign * size, requires_grad=True)
        if name == "gaussian" and size == 1e30:
            continue  # its mean is not bounded: a squared error of 1e60 is no float32
        x = torch.tensor([0.0, 0.3, 50.0])[None, :, None].expand(1, 3, CELLS)
        nll = model.nll(r, x)
        assert torch.isfinite(nll).all()
        assert torch.isfinite(model.mean(r)).all()
        assert torch.isfinite(model.std(r)).all()
        nll.sum().backward()
        assert torch.isfinite(r.grad).all()


def test_a_bound_lets_gradients_through():
    value = torch.tensor([-100.0, 0.5, 1e30], requires_grad=True)
    out = bounded(value, -1.0, 1.0)
    assert out.tolist() == [-1.0, 0.5, 1.0]
    out.sum().backward()
    assert value.grad.tolist() == [1.0, 1.0, 1.0]
    r = torch.full((1, 1, 1, 1), 100.0, requires_grad=True)
    Poisson(1).nll(r, torch.ones(1, 1, 1)).sum().backward()
    assert r.grad.item() > 0  # descent lowers a rate that is far too high


def test_the_best_parameters_are_the_data(name):
    """The mean that minimises the loss over many samples is the sample mean."""
    torch.manual_seed(0)
    model = LIKELIHOODS[name](1).double()
    x = torch.where(
        torch.rand(1, 4000, 1, dtype=torch.float64) < 0.4, 0.2 + D.Gamma(3.0, 2.0).sample((1, 4000, 1)), 0.0
    )
    r = torch.zeros(1, 1, 1, model.parameters_per_cell, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([r], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = model.nll(r.expand(1, 4000, 1, -1), x).mean()
        value.backward()
        return value

    optimizer.step(loss)
    tolerance = 0.06 if name == "lognormal" else 1e-3  # the sample is of a gamma
    assert model.mean(r).item() == pytest.approx(x.mean().item(), rel=tolerance)
    if isinstance(model, Gaussian | ZeroInflatedGamma):
        assert model.std(r).item() == pytest.approx(x.std().item(), rel=0.02)
