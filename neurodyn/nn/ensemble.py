"""Losses of ensembles: how far equally likely answers lie from what came, and how far from each other."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

LEAST_STATISTICAL, LEAST_GAUSSIAN = 0.05, 1e-3


def spread(members: Float[Tensor, "batch member *entry"], least: float = 0.0) -> Float[Tensor, "batch *entry"]:
    """Return √(s² + least²), with s the unbiased standard deviation over an ensemble.

    `least` bounds it from below without a kink: its gradient is finite, and reaches the members however close they are.
    """
    variance = members.var(1)
    return (variance + least**2).sqrt() if least else variance.sqrt()


def statistical_loss(
    members: Float[Tensor, "batch member *entry"],
    target: Float[Tensor, "batch *entry"],
    least: float = LEAST_STATISTICAL,
) -> Float[Tensor, "batch *entry"]:
    """Return mean_e (y_e − x)² + (exp(−(x − μ)² / 2s²) − 1)² + √s of every entry.

    μ and s are the ensemble's mean and `spread`. The second term draws an ensemble's Gaussian, of height 1, over what
    came; the third keeps it narrow. Lessig et al. 2023, AtmoRep, arXiv:2308.13280, there without a bound of s.

    Parameters
    ----------
    members
        At least two, along the second axis.
    target
        What came, x.
    least
        Bounds s, in the target's unit: the gradient of the second term grows as 1/s.
    """
    s, gap = spread(members, least), target - members.mean(1)
    likeness = torch.exp(-0.5 * (gap / s) ** 2)
    return (members - target[:, None]).square().mean(1) + (likeness - 1).square() + s.sqrt()


def crps_gaussian(
    mean: Float[Tensor, "*entry"], std: Float[Tensor, "*entry"], target: Float[Tensor, "*entry"]
) -> Float[Tensor, "*entry"]:
    """Return the continuous ranked probability score of a Gaussian, s [z (2Φ(z) − 1) + 2φ(z) − 1/√π], z = (x − μ)/s.

    It is ∫ (F(y) − 1[y ≥ x])² dy, with F the predicted distribution function. Gneiting & Raftery 2007, Strictly proper
    scoring rules, prediction, and estimation, JASA 102:359.

    Parameters
    ----------
    std
        Above 0.
    """
    z = (target - mean) / std
    density = torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return std * (z * torch.erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi))


def ensemble_crps_gaussian(
    members: Float[Tensor, "batch member *entry"],
    target: Float[Tensor, "batch *entry"],
    least: float = LEAST_GAUSSIAN,
) -> Float[Tensor, "batch *entry"]:
    """Return the score of the Gaussian with an ensemble's mean and `spread`."""
    return crps_gaussian(members.mean(1), spread(members, least), target)


def kernel_crps(
    members: Float[Tensor, "batch member *entry"], target: Float[Tensor, "batch *entry"]
) -> Float[Tensor, "batch *entry"]:
    """Return mean_e |y_e − x| − Σ_{e,f} |y_e − y_f| / 2E², the score of the distribution that is the ensemble.

    For members that are fixed answers, as those of linear heads, it is least where they are the quantiles (e − ½)/E of
    what may come. Gneiting & Raftery 2007, Strictly proper scoring rules, prediction, and estimation, eq. 21.

    Parameters
    ----------
    members
        At least two, along the second axis.
    """
    return (members - target[:, None]).abs().mean(1) - _apart(members) / members.shape[1] ** 2


def fair_crps(
    members: Float[Tensor, "batch member *entry"], target: Float[Tensor, "batch *entry"]
) -> Float[Tensor, "batch *entry"]:
    """Return mean_e |y_e − x| − Σ_{e,f} |y_e − y_f| / (2E(E − 1)).

    Its expectation is the score of the distribution that the members are drawn from, however many they are. Of members
    that are not drawn it leaves the outermost too free: with two, every pair around x scores 0. Ferro 2014, Fair scores
    for ensemble forecasts, Q. J. R. Meteorol. Soc. 140:1917.

    Parameters
    ----------
    members
        At least two, along the second axis.
    """
    count = members.shape[1]
    return (members - target[:, None]).abs().mean(1) - _apart(members) / (count * (count - 1))


def _apart(members: Float[Tensor, "batch member *entry"]) -> Float[Tensor, "batch *entry"]:
    """Return Σ_{e<f} |y_e − y_f|."""
    total = torch.zeros_like(members[:, 0])
    for step in range(1, members.shape[1]):
        total = total + (members[:, step:] - members[:, :-step]).abs().sum(1)
    return total
