"""The generator of LFADS: an initial state, inferred inputs and a recurrent network make factors."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from neurodyn.nn.priors import AutoregressivePrior, NormalPrior, floored, sample
from neurodyn.nn.recurrent import GRU, Bidirectional, cell

VARIANCE_FLOOR = 1e-4


class Noise(NamedTuple):
    """Standard normal draws for one sample of the posterior.

    Parameters
    ----------
    initial
        Shape (batch, initial).
    inputs
        Shape (time, batch, input).
    """

    initial: Tensor
    inputs: Tensor


class Course(NamedTuple):
    """What the dynamics give, time first.

    Parameters
    ----------
    factors
        Shape (time, batch, factor).
    inputs
        Inferred inputs, shape (time, batch, input).
    kl_initial, kl_inputs
        Divergences from the priors, nats, shape (batch,).
    """

    factors: Tensor
    inputs: Tensor
    kl_initial: Tensor
    kl_inputs: Tensor


class Dynamics(nn.Module):
    """Initial state, controller, generator and factors of LFADS.

        g(0) = A s, s ~ N(mean, variance) from the last encoder states,
        c(t) = GRU([h(t), f(t-1)], c(t-1)), u(t) ~ N(W c(t)), g(t) = GRU(u(t), g(t-1)), f(t) = F g(t),

    with rows of F of length 1. Pandarinath et al., Nat Methods 15, 805 (2018). Without inputs there is no controller.

    Parameters
    ----------
    signals
        Width of what the encoders read.
    encoder
        States per direction of the encoder of the initial state.
    initial
        Latents of the initial state.
    generator
        States of the generator.
    factors
        Factors.
    inputs
        Inferred inputs; 0 for autonomous dynamics.
    controller
        States of the controller and, per direction, of its encoder.
    dropout
        Share of encoder inputs and generator states that training leaves out.
    """

    def __init__(
        self,
        signals: int,
        encoder: int,
        initial: int,
        generator: int,
        factors: int,
        inputs: int = 0,
        controller: int = 0,
        dropout: float = 0.05,
    ) -> None:
        super().__init__()
        self.encoder = Bidirectional(signals, encoder)
        self.posterior = linear(2 * encoder, 2 * initial)
        self.prior = NormalPrior(initial)
        self.start = nn.Identity() if initial == generator else linear(initial, generator)
        self.generator = GRU(inputs, generator)
        self.factors = nn.Parameter(torch.randn(factors, generator) * generator**-0.5)
        self.dropout = nn.Dropout(dropout)
        self.controller = Controller(signals, controller, inputs, factors, dropout) if inputs else None
        self.sizes = {"initial": initial, "inputs": inputs}

    def forward(self, x: Float[Tensor, "time batch signal"], noise: Noise, frames: int) -> Course:
        """Infer the initial state and the inputs from x, and run the generator for `frames` frames.

        Frames beyond those of x are a forecast: their inputs come from the prior's mean, zero.
        """
        _, last = self.encoder(self.dropout(x))
        mean, logvar = self.posterior(self.dropout(last)).chunk(2, dim=-1)
        logvar = floored(logvar, VARIANCE_FLOOR)
        state = self.start(sample(mean, logvar, noise.initial))
        kl = self.prior.kl(mean, logvar).sum(dim=-1)
        if self.controller is None:
            empty = x.new_zeros(frames, x.shape[1], 0)
            states = self.generator(empty, state)
            return Course(self.dropout(states) @ self.rows.T, empty, kl, torch.zeros_like(kl))
        return self._controlled(x, state, noise, frames, kl)

    @property
    def rows(self) -> Float[Tensor, "factor generator"]:
        """F, its rows of length 1."""
        return F.normalize(self.factors, dim=1)

    @property
    def l2(self) -> Tensor:
        """Size of the generator's recurrent weights."""
        return self.generator.recurrent_cost

    def _controlled(
        self, x: Float[Tensor, "time batch signal"], state: Tensor, noise: Noise, frames: int, kl: Tensor
    ) -> Course:
        controller = self.controller
        if controller is None:
            raise TypeError("no controller")
        pre = F.pad(controller.encode(x), (0, 0, 0, 0, 0, frames - len(x)))
        keep = self.dropout(x.new_ones(frames, *state.shape))
        rows, weights = self.rows, self.generator
        control, factors = controller.initial.expand(x.shape[1], -1), state @ rows.T
        courses, means, logvars, samples = [], [], [], []
        for t in range(frames):
            control = cell(pre[t] + factors @ controller.feedback, control, controller.unit.recurrent)
            mean, logvar = (control @ controller.posterior + controller.posterior_bias).chunk(2, dim=-1)
            drawn = sample(mean, logvar, noise.inputs[t]) if t < len(x) else torch.zeros_like(mean)
            state = cell(drawn @ weights.input + weights.bias, state, weights.recurrent)
            factors = (keep[t] * state) @ rows.T
            for kept, value in zip((courses, means, logvars, samples), (factors, mean, logvar, drawn), strict=True):
                kept.append(value)
        drawn = torch.stack(samples)
        inferred = [torch.stack(part[: len(x)], dim=1) for part in (samples, means, logvars)]
        divergence = controller.prior.kl_conditional(*inferred).sum(dim=(1, 2))
        return Course(torch.stack(courses), drawn, kl, divergence)


class Controller(nn.Module):
    """Infers the inputs of the generator from the data and from what the factors were.

    The state at t sees the forward encoder up to t - lag and the backward encoder from t + lag on.

    Parameters
    ----------
    signals, hidden, inputs, factors, dropout
        Widths and dropout, as for `Dynamics`.
    lag
        Frames.
    """

    def __init__(self, signals: int, hidden: int, inputs: int, factors: int, dropout: float, lag: int = 1) -> None:
        super().__init__()
        self.encoder = Bidirectional(signals, hidden)
        self.unit = GRU(2 * hidden + factors, hidden)
        self.initial = nn.Parameter(torch.zeros(hidden))
        self.posterior = nn.Parameter(torch.randn(hidden, 2 * inputs) * hidden**-0.5)
        self.posterior_bias = nn.Parameter(torch.zeros(2 * inputs))
        self.prior = AutoregressivePrior(inputs)
        self.dropout, self.lag = nn.Dropout(dropout), lag

    @property
    def feedback(self) -> Float[Tensor, "factor gates"]:
        """Weights from the factors to the controller's gates."""
        return self.unit.input[2 * self.unit.hidden :]

    def encode(self, x: Float[Tensor, "time batch signal"]) -> Float[Tensor, "time batch gates"]:
        """Return the data's part of the controller's gates."""
        forth, back = self.encoder(self.dropout(x))[0].chunk(2, dim=-1)
        lag = self.lag
        seen = torch.cat(
            [F.pad(forth, (0, 0, 0, 0, lag, 0))[: len(x)], F.pad(back, (0, 0, 0, 0, 0, lag))[lag:]], dim=-1
        )
        return self.dropout(seen) @ self.unit.input[: 2 * self.unit.hidden] + self.unit.bias


def linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a linear map with normal weights of variance 1 / inputs and no offset at first."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=inputs**-0.5)
    nn.init.zeros_(layer.bias)
    return layer
