"""Priors of latent variables, and the divergence of a diagonal normal posterior from them."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Latent = Float[Tensor, "*batch latent"]
Course = Float[Tensor, "batch time latent"]


def floored(log_variance: Float[Tensor, "*shape"], floor: float) -> Float[Tensor, "*shape"]:
    """Return log(eᵛ + floor): the log of a variance that cannot fall below `floor`."""
    return torch.logaddexp(log_variance, log_variance.new_tensor(math.log(floor)))


def sample(
    mean: Float[Tensor, "*shape"], log_variance: Float[Tensor, "*shape"], noise: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Return mean + standard deviation × noise, differentiable in both."""
    return mean + (0.5 * log_variance).exp() * noise


def normal_kl(
    mean: Float[Tensor, "*shape"],
    log_variance: Float[Tensor, "*shape"],
    prior_mean: Float[Tensor, "*prior"],
    prior_log_variance: Float[Tensor, "*other"],
) -> Float[Tensor, "*shape"]:
    """Return KL(N(m, eᵛ) ‖ N(m₀, eʷ)) = ½ (w − v + (eᵛ + (m − m₀)²) e⁻ʷ − 1) of every entry, nats."""
    gap = log_variance - prior_log_variance
    return 0.5 * (gap.exp() - gap - 1 + (mean - prior_mean) ** 2 * (-prior_log_variance).exp())


class NormalPrior(nn.Module):
    """Independent normals N(m₀, s₀), the same for every sample and time.

    Parameters
    ----------
    size
        Number of latents.
    mean, variance
        First values.
    learn_mean, learn_variance
        Whether training moves them; the variance moves in log space.
    """

    def __init__(
        self,
        size: int,
        mean: float = 0.0,
        variance: float = 0.1,
        learn_mean: bool = True,
        learn_variance: bool = False,
    ) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.full((size,), mean), requires_grad=learn_mean)
        self.log_variance = nn.Parameter(torch.full((size,), math.log(variance)), requires_grad=learn_variance)

    def kl(self, mean: Latent, log_variance: Latent) -> Latent:
        """Return the divergence of a posterior from the prior, analytic, of every entry, nats."""
        return normal_kl(mean, log_variance, self.mean, self.log_variance)


class AutoregressivePrior(nn.Module):
    """Stationary AR(1) per latent: u₀ ~ N(0, s), uₜ ~ N(α uₜ₋₁, n) with α = exp(−1/τ) and s = n / (1 − α²).

    Pandarinath et al. 2018, Nat. Methods 15:805 (inferred inputs of LFADS).

    Parameters
    ----------
    size
        Number of latents.
    tau
        First correlation time τ, bins.
    variance
        First variance.
    variance_of
        What it is the variance of, and stays so when τ moves: "innovation" (n, as in LFADS) or "process" (s, as in
        CaLFADS).
    learn
        Whether training moves τ and the variance, both in log space.
    """

    def __init__(
        self,
        size: int,
        tau: float = 10.0,
        variance: float = 0.1,
        variance_of: Literal["innovation", "process"] = "innovation",
        learn: bool = True,
    ) -> None:
        super().__init__()
        self.variance_of = variance_of
        self.log_tau = nn.Parameter(torch.full((size,), math.log(tau)), requires_grad=learn)
        self.log_variance = nn.Parameter(torch.full((size,), math.log(variance)), requires_grad=learn)

    @property
    def decay(self) -> Float[Tensor, " latent"]:
        """α, what a bin keeps of the bin before."""
        return (-torch.exp(-self.log_tau)).exp()

    def conditional(self, samples: Course) -> tuple[Course, Float[Tensor, "time latent"]]:
        """Return mean and log variance of every bin, given the sampled bin before.

        Parameters
        ----------
        samples
            Posterior samples of all bins.
        """
        mean = self.decay * torch.nn.functional.pad(samples[:, :-1], (0, 0, 1, 0))
        fresh = torch.log(-torch.expm1(-2 * torch.exp(-self.log_tau)))  # log(1 − α²), exact for long τ too
        innovation = self.log_variance + (fresh if self.variance_of == "process" else 0.0)
        later = innovation.expand(samples.shape[1] - 1, -1)
        return mean, torch.cat([(innovation - fresh)[None], later])

    def log_density(self, samples: Course) -> Course:
        """Return log p(uₜ | uₜ₋₁) of every bin, nats; the sum over time is the log of the joint density."""
        return _normal_log_density(samples, *self.conditional(samples))

    def kl_sampled(self, samples: Course, mean: Course, log_variance: Course) -> Course:
        """Return log q(uₜ) − log p(uₜ | uₜ₋₁): its mean over samples, summed over time, is the divergence (LFADS).

        Parameters
        ----------
        samples
            Drawn from the posterior N(mean, exp(log_variance)).
        """
        return _normal_log_density(samples, mean, log_variance) - self.log_density(samples)

    def kl_conditional(self, samples: Course, mean: Course, log_variance: Course) -> Course:
        """Return KL(q(uₜ) ‖ p(uₜ | uₜ₋₁)), analytic given the sampled bin before: less noise, same mean (CaLFADS)."""
        return normal_kl(mean, log_variance, *self.conditional(samples))


def _normal_log_density(
    x: Float[Tensor, "*shape"], mean: Float[Tensor, "*shape"], log_variance: Float[Tensor, "*other"]
) -> Float[Tensor, "*shape"]:
    return -0.5 * (math.log(2 * math.pi) + log_variance + (x - mean) ** 2 * (-log_variance).exp())
