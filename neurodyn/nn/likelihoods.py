"""Observation models: from what a network gives per cell and frame to a density of the data."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from neurodyn.core.errors import ConfigError, DataError

LOG_LIMIT = 15.0
LOGIT_LIMIT = math.log((1 - 1e-5) / 1e-5)
SMALLEST_EVENT = 1e-8

Raw = Float[Tensor, "batch time cell parameter"]
Trace = Float[Tensor, "batch time cell"]


def bounded(raw: Float[Tensor, "*shape"], low: float, high: float) -> Float[Tensor, "*shape"]:
    """Clamp values while gradients pass as if they were not clamped, so that a network can come back from a bound."""
    return raw.clamp(low, high).detach() + (raw - raw.detach())


class Likelihood(nn.Module, ABC):
    """A density of one cell's value in one frame; cells and frames are independent given the network's output.

    Parameters
    ----------
    cells
        Number of cells.
    """

    parameters_per_cell: ClassVar[int]
    no_penalty: Tensor

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.cells = cells
        self.register_buffer("no_penalty", torch.zeros(()), persistent=False)  # on the device of the model

    @abstractmethod
    def nll(self, raw: Raw, x: Trace) -> Trace:
        """Return −log p(x) of every entry, nats.

        Parameters
        ----------
        raw
            Unconstrained parameters.
        x
            Data; entries that are not data must hold some finite value and be left out by the caller.
        """

    @abstractmethod
    def mean(self, raw: Raw) -> Trace:
        """Return the expected value, in the data's unit."""

    @abstractmethod
    def std(self, raw: Raw) -> Trace:
        """Return the standard deviation, in the data's unit."""

    def penalty(self) -> Float[Tensor, ""]:
        """Return what the model's own parameters add to a training loss; 0 where there are none."""
        return self.no_penalty

    def check(self, values: np.ndarray) -> None:  # noqa: B027 - every real number is in the support of some
        """Refuse data outside the support; NaN is left out.

        Raises
        ------
        DataError
            Naming what was found.
        """


class Poisson(Likelihood):
    """Counts per frame: −log p(x) = eʳ − x r + log Γ(x + 1), with r the log of the expected count in the frame.

    Values between integers, e.g. deconvolved events divided by a quantum, get the same formula.
    """

    parameters_per_cell = 1

    def nll(self, raw: Raw, x: Trace) -> Trace:
        """Return −log p(x) of every entry, nats."""
        log_mean = self._log_mean(raw)
        return log_mean.exp() - x * log_mean + torch.lgamma(x + 1)

    def mean(self, raw: Raw) -> Trace:
        """Return the expected count per frame."""
        return self._log_mean(raw).exp()

    def std(self, raw: Raw) -> Trace:
        """Return the square root of the expected count."""
        return (0.5 * self._log_mean(raw)).exp()

    def check(self, values: np.ndarray) -> None:
        """Refuse negative values."""
        _refuse(values < 0, values, "negative values", "Use counts: --set windows.variable=spikes")

    def _log_mean(self, raw: Raw) -> Trace:
        return bounded(raw[..., 0], -LOG_LIMIT, LOG_LIMIT)


class Gaussian(Likelihood):
    """Normal with mean and log variance v from the network: −log p(x) = ½ (log 2π + v + (x − m)² e⁻ᵛ)."""

    parameters_per_cell = 2

    def nll(self, raw: Raw, x: Trace) -> Trace:
        """Return −log p(x) of every entry, nats."""
        return _normal_nll(x, raw[..., 0], self._log_variance(raw))

    def mean(self, raw: Raw) -> Trace:
        """Return the mean."""
        return raw[..., 0]

    def std(self, raw: Raw) -> Trace:
        """Return the standard deviation."""
        return (0.5 * self._log_variance(raw)).exp()

    def _log_variance(self, raw: Raw) -> Trace:
        return bounded(raw[..., 1], -LOG_LIMIT, LOG_LIMIT)


class GaussianExp(Likelihood):
    """Normal with mean eʳ and one fixed variance: the Gaussian-LFADS baseline of Prince et al. 2021, CaLFADS.

    Their plain sum of squared errors is this density with variance ½, up to a constant.

    Parameters
    ----------
    variance
        In the data's unit, squared.
    """

    parameters_per_cell = 1

    def __init__(self, cells: int, variance: float = 0.5) -> None:
        super().__init__(cells)
        self.variance = _positive("variance", variance)

    def nll(self, raw: Raw, x: Trace) -> Trace:
        """Return −log p(x) of every entry, nats."""
        return _normal_nll(x, self.mean(raw), x.new_tensor(math.log(self.variance)))

    def mean(self, raw: Raw) -> Trace:
        """Return the mean."""
        return bounded(raw[..., 0], -LOG_LIMIT, LOG_LIMIT).exp()

    def std(self, raw: Raw) -> Trace:
        """Return the fixed standard deviation."""
        return torch.full_like(raw[..., 0], math.sqrt(self.variance))


class ZeroInflated(Likelihood):
    """Events: nothing with probability 1 − q, else `loc` plus a positive amount y.

    −log p(0) = −log(1 − q); −log p(x) = −log q − log p(y = x − loc). The first raw parameter is the logit of q, held
    in [1e-5, 1 − 1e-5]. An event of `loc` or less is below the deconvolution's smallest event, and counts as none.

    Parameters
    ----------
    loc
        Smallest event, in the data's unit.
    """

    parameters_per_cell = 3

    def __init__(self, cells: int, loc: float = 0.0) -> None:
        super().__init__(cells)
        if loc < 0:
            raise ConfigError(f"loc is {loc:g}.", "Expected 0 or more.", "Give the smallest event: --set model.loc=0.1")
        self.loc = loc

    @abstractmethod
    def _amount_nll(self, raw: Raw, y: Trace) -> Trace:
        """Return −log p(y), nats."""

    @abstractmethod
    def _amount_moments(self, raw: Raw) -> tuple[Trace, Trace]:
        """Return mean and variance of y."""

    def nll(self, raw: Raw, x: Trace) -> Trace:
        """Return −log p(x) of every entry, nats."""
        logit = self._logit(raw)
        event = x > self.loc
        amount = torch.where(event, x - self.loc, 1.0).clamp(min=SMALLEST_EVENT)
        return torch.where(event, F.softplus(-logit) + self._amount_nll(raw, amount), F.softplus(logit))

    def mean(self, raw: Raw) -> Trace:
        """Return q (E[y] + loc)."""
        return self._logit(raw).sigmoid() * (self._amount_moments(raw)[0] + self.loc)

    def std(self, raw: Raw) -> Trace:
        """Return the standard deviation; with m = E[y] + loc, the variance is q (Var[y] + (1 − q) m²)."""
        q = self._logit(raw).sigmoid()
        mean, variance = self._amount_moments(raw)
        return (q * (variance + (1 - q) * (mean + self.loc) ** 2)).sqrt()

    def check(self, values: np.ndarray) -> None:
        """Refuse negative values, and values in (0, loc]."""
        _refuse(values < 0, values, "negative values", "Deconvolve first: --set windows.variable=spikes")
        small = (values > 0) & (values <= self.loc)
        _refuse(small, values, f"events of {self.loc:g} or less", "Give the smallest event: --set model.loc=VALUE")

    @staticmethod
    def _logit(raw: Raw) -> Trace:
        return bounded(raw[..., 0], -LOGIT_LIMIT, LOGIT_LIMIT)


class ZeroInflatedGamma(ZeroInflated):
    """Zero-inflated gamma of deconvolved events: y ~ Gamma(α, β), α = A σ(a), β = B σ(b) with A, B learnable per cell.

    Wei et al. 2020, A zero-inflated gamma model for deconvolved calcium imaging traces; scales as in RADICaL, Zhu et
    al. 2022, Nat. Neurosci. 25:1724. σ is held in [1e-5, 1 − 1e-5]; A and B stay positive.

    Parameters
    ----------
    scale
        First value of A and B, and where `penalty` draws them: ½ strength Σ (A − scale)² + (B − scale)².
    strength
        Of the penalty.
    """

    def __init__(self, cells: int, loc: float = 0.1, scale: float = 20.0, strength: float = 1e-4) -> None:
        super().__init__(cells, loc)
        self.scale, self.strength = _positive("scale", scale), strength
        self.log_scales = nn.Parameter(torch.full((2, cells), math.log(scale)))

    def penalty(self) -> Float[Tensor, ""]:
        """Return the penalty on the scales."""
        return 0.5 * self.strength * ((self.log_scales.exp() - self.scale) ** 2).sum()

    def _amount_nll(self, raw: Raw, y: Trace) -> Trace:
        log_shape, log_rate = self._log_parameters(raw)
        shape = log_shape.exp()
        return torch.lgamma(shape) - shape * log_rate - (shape - 1) * y.log() + log_rate.exp() * y

    def _amount_moments(self, raw: Raw) -> tuple[Trace, Trace]:
        log_shape, log_rate = self._log_parameters(raw)
        return (log_shape - log_rate).exp(), (log_shape - 2 * log_rate).exp()

    def _log_parameters(self, raw: Raw) -> tuple[Trace, Trace]:
        logits = bounded(raw[..., 1:], -LOGIT_LIMIT, LOGIT_LIMIT)
        log_shape, log_rate = (F.logsigmoid(logits) + self.log_scales.T).unbind(-1)
        return log_shape, log_rate


class LogNormal(ZeroInflated):
    """Zero-inflated log-normal of deconvolved events: log y ~ N(m, eᵛ).

    A log-normal alone has no mass at 0, where most frames of deconvolved events are.
    """

    VARIANCE_LIMIT: ClassVar[float] = 3.0

    def _amount_nll(self, raw: Raw, y: Trace) -> Trace:
        mean, log_variance = self._location_and_log_variance(raw)
        log_y = y.log()
        return _normal_nll(log_y, mean, log_variance) + log_y

    def _amount_moments(self, raw: Raw) -> tuple[Trace, Trace]:
        mean, log_variance = self._location_and_log_variance(raw)
        variance = log_variance.exp()
        return (mean + 0.5 * variance).exp(), variance.expm1() * (2 * mean + variance).exp()

    def _location_and_log_variance(self, raw: Raw) -> tuple[Trace, Trace]:
        return bounded(raw[..., 1], -LOG_LIMIT, LOG_LIMIT), bounded(raw[..., 2], -LOG_LIMIT, self.VARIANCE_LIMIT)


LIKELIHOODS: dict[str, type[Likelihood]] = {
    "poisson": Poisson,
    "gaussian": Gaussian,
    "gaussian_exp": GaussianExp,
    "zero_inflated_gamma": ZeroInflatedGamma,
    "lognormal": LogNormal,
}


def _normal_nll(x: Trace, mean: Trace, log_variance: Float[Tensor, "*shape"]) -> Trace:
    return 0.5 * (math.log(2 * math.pi) + log_variance + (x - mean) ** 2 * (-log_variance).exp())


def _positive(name: str, value: float) -> float:
    if value <= 0:
        raise ConfigError(f"{name} is {value:g}.", "Expected a positive number.", f"--set model.{name}=VALUE")
    return value


def _refuse(where: np.ndarray, values: np.ndarray, what: str, fix: str) -> None:
    if where.any():
        raise DataError(
            f"The data hold {what}, which the likelihood cannot have made.",
            f"Found {where.sum()} of {np.isfinite(values).sum()}, e.g. {values[where].flat[0]:g}.",
            fix,
        )
