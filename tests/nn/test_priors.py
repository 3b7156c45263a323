"""Priors against torch.distributions: closed forms, the joint normal of an AR(1), the limit of many samples."""

import math

import pytest
import torch
from torch import distributions as D

from neurodyn.nn.priors import AutoregressivePrior, NormalPrior, floored, sample

TIME, LATENTS, DRAWS = 6, 3, 200_000


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(params=["innovation", "process"])
def prior(request) -> AutoregressivePrior:
    prior = AutoregressivePrior(LATENTS, tau=4.0, variance=0.3, variance_of=request.param).double()
    with torch.no_grad():
        prior.log_tau += draw(LATENTS, seed=1) / 3
        prior.log_variance += draw(LATENTS, seed=2) / 3
    return prior


def joint(prior: AutoregressivePrior) -> list[D.MultivariateNormal]:
    """Build the dense normal of every latent's course."""
    lag = (torch.arange(TIME)[:, None] - torch.arange(TIME)).abs()
    out = []
    for log_tau, log_variance in zip(prior.log_tau.detach(), prior.log_variance.detach(), strict=True):
        alpha = math.exp(-1 / math.exp(log_tau))
        variance = math.exp(log_variance)
        process = variance if prior.variance_of == "process" else variance / (1 - alpha**2)
        out.append(D.MultivariateNormal(torch.zeros(TIME, dtype=torch.float64), process * alpha ** lag.double()))
    return out


def test_normal_divergence_is_the_closed_form():
    prior = NormalPrior(LATENTS, mean=0.4, variance=0.1, learn_variance=True).double()
    mean, log_variance = draw(5, LATENTS), draw(5, LATENTS, seed=1)
    reference = D.kl_divergence(
        D.Normal(mean, (0.5 * log_variance).exp()), D.Normal(prior.mean, (0.5 * prior.log_variance).exp())
    )
    torch.testing.assert_close(prior.kl(mean, log_variance), reference)
    course = prior.kl(draw(2, TIME, LATENTS), draw(2, TIME, LATENTS, seed=1))
    assert course.shape == (2, TIME, LATENTS)
    equal = prior.kl(prior.mean[None], prior.log_variance[None])
    torch.testing.assert_close(equal, torch.zeros_like(equal))


def test_what_is_learned():
    names = {name for name, p in NormalPrior(2).named_parameters() if p.requires_grad}
    assert names == {"mean"}
    assert all(p.requires_grad for p in NormalPrior(2, learn_variance=True).parameters())
    assert not any(p.requires_grad for p in NormalPrior(2, learn_mean=False).parameters())
    assert not any(p.requires_grad for p in AutoregressivePrior(2, learn=False).parameters())


def test_the_autoregressive_density_is_the_joint_normal(prior):
    course = draw(7, TIME, LATENTS, seed=3)
    reference = torch.stack([law.log_prob(course[..., k]) for k, law in enumerate(joint(prior))], -1)
    torch.testing.assert_close(prior.log_density(course).sum(1), reference)


def test_the_first_bin_is_stationary(prior):
    course = torch.cat([law.sample((50_000,))[..., None] for law in joint(prior)], -1)
    variance = prior.conditional(course)[1].exp()
    torch.testing.assert_close(course[:, -1].var(0), variance[0].detach(), rtol=0.03, atol=0)
    torch.testing.assert_close(prior.decay**2 * variance[0] + variance[1], variance[0])


@pytest.mark.parametrize("estimate", ["kl_sampled", "kl_conditional"])
def test_many_samples_reach_the_divergence_from_the_joint_normal(prior, estimate):
    mean, log_variance = draw(TIME, LATENTS, seed=4), draw(TIME, LATENTS, seed=5) - 1
    exact = torch.stack([
        D.kl_divergence(D.MultivariateNormal(mean[:, k], log_variance[:, k].exp().diag()), law)
        for k, law in enumerate(joint(prior))
    ])  # fmt: skip
    mean, log_variance = mean.expand(DRAWS, -1, -1), log_variance.expand(DRAWS, -1, -1)
    samples = sample(mean, log_variance, draw(DRAWS, TIME, LATENTS, seed=6))
    values = getattr(prior, estimate)(samples, mean, log_variance).detach().sum(1)
    error = (values.mean(0) - exact).abs()
    assert (error < 4 * values.std(0) / math.sqrt(DRAWS)).all()
    assert (values.std(0) / math.sqrt(DRAWS) < 0.01 * exact).all()


def test_the_conditional_estimate_is_the_less_noisy_one():
    prior = AutoregressivePrior(LATENTS).double()
    mean, log_variance = draw(1, TIME, LATENTS).expand(5000, -1, -1), torch.full((5000, TIME, LATENTS), -2.0).double()
    samples = sample(mean, log_variance, draw(5000, TIME, LATENTS, seed=6))
    noisy, quiet = (
        getattr(prior, name)(samples, mean, log_variance).sum((1, 2)).var() for name in ("kl_sampled", "kl_conditional")
    )
    assert quiet < noisy


def test_given_the_bin_before_every_divergence_is_a_normal_one(prior):
    mean, log_variance, samples = (draw(2, TIME, LATENTS, seed=k) for k in (7, 8, 9))
    values = prior.kl_conditional(samples, mean, log_variance)
    scale = (0.5 * prior.conditional(samples)[1]).exp()
    for t in range(TIME):
        before = prior.decay * samples[:, t - 1] if t else torch.zeros(2, LATENTS, dtype=torch.float64)
        law = D.Normal(before, scale[t])
        reference = D.kl_divergence(D.Normal(mean[:, t], (0.5 * log_variance[:, t]).exp()), law)
        torch.testing.assert_close(values[:, t], reference)


def test_long_and_short_correlation_times_stay_finite_in_float32():
    for tau in (1e-2, 1e6):
        for kind in ("innovation", "process"):
            prior = AutoregressivePrior(1, tau=tau, variance_of=kind)
            value = prior.kl_conditional(torch.ones(1, 4, 1), torch.ones(1, 4, 1), torch.zeros(1, 4, 1)).sum()
            value.backward()
            assert torch.isfinite(value)
            assert all(torch.isfinite(p.grad).all() for p in prior.parameters())


def test_one_bin_is_enough():
    prior = AutoregressivePrior(2)
    assert prior.kl_sampled(*(torch.zeros(3, 1, 2) for _ in range(3))).shape == (3, 1, 2)


def test_a_floored_variance():
    value = floored(torch.tensor([-200.0, 0.0]), 1e-4)
    torch.testing.assert_close(value.exp(), torch.tensor([1e-4, 1.0001]))
