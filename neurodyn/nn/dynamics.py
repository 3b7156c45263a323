"""The generator of LFADS: an initial state, inferred inputs and a recurrent network make factors."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from neurodyn.compiled import controlled
from neurodyn.nn.dropout import Dropout
from neurodyn.nn.priors import AutoregressivePrior, NormalPrior, floored, sample
from neurodyn.nn.recurrent import (
    GRU,
    Bidirectional,
    array,
    cell,
    flat,
    fused,
    gates_and_candidate,
    parted,
    product,
    recurrent_gradient,
    taken,
)

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


class Posterior(NamedTuple):
    """What the encoders say of a window.

    Parameters
    ----------
    mean, logvar
        Of the initial state's latents, shape (batch, initial).
    gates
        The data's part of the controller's gates, shape (time, batch, gates); None without a controller.
    """

    mean: Tensor
    logvar: Tensor
    gates: Tensor | None

    def repeated(self, count: int) -> Posterior:
        """Return the windows `count` times over, one copy of all after another."""
        gates = None if self.gates is None else self.gates.repeat(1, count, 1)
        return Posterior(self.mean.repeat(count, 1), self.logvar.repeat(count, 1), gates)


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
        self.dropout = Dropout(dropout)
        self.controller = Controller(signals, controller, inputs, factors, dropout) if inputs else None
        self.sizes = {"initial": initial, "inputs": inputs}

    def forward(self, x: Float[Tensor, "time batch signal"], noise: Noise, frames: int) -> Course:
        """Infer the initial state and the inputs from x, and run the generator for `frames` frames.

        Frames beyond those of x are a forecast: their inputs come from the prior's mean, zero.
        """
        return self.run(self.infer(x), noise, frames)

    def infer(self, x: Float[Tensor, "time batch signal"]) -> Posterior:
        """Encode windows."""
        _, last = self.encoder(self.dropout(x))
        mean, logvar = self.posterior(self.dropout(last)).chunk(2, dim=-1)
        gates = None if self.controller is None else self.controller.encode(x)
        return Posterior(mean, floored(logvar, VARIANCE_FLOOR), gates)

    def run(self, posterior: Posterior, noise: Noise, frames: int) -> Course:
        """Draw one sample of the posterior, and run the generator for `frames` frames."""
        mean, logvar, gates = posterior
        state = self.start(sample(mean, logvar, noise.initial))
        kl = self.prior.kl(mean, logvar).sum(dim=-1)
        if self.controller is None or gates is None:
            empty = mean.new_zeros(frames, len(mean), 0)
            states = self.generator(empty, state)
            return Course(self.dropout(states) @ self.rows.T, empty, kl, torch.zeros_like(kl))
        return self._controlled(self.controller, gates, state, noise, frames, kl)

    @property
    def rows(self) -> Float[Tensor, "factor generator"]:
        """F, its rows of length 1."""
        return F.normalize(self.factors, dim=1)

    @property
    def l2(self) -> Tensor:
        """Size of the generator's recurrent weights."""
        return self.generator.recurrent_cost

    def _controlled(
        self, controller: Controller, gates: Tensor, state: Tensor, noise: Noise, frames: int, kl: Tensor
    ) -> Course:
        generator, seen = self.generator, min(frames, len(gates))
        keep = self.dropout(state.new_ones(frames, *state.shape))
        state = state.clamp(-generator.clip, generator.clip)
        rows = self.rows
        arguments = (
            gates[:seen],
            controller.unit.bias,
            controller.feedback,
            controller.unit.recurrent,
            controller.posterior,
            controller.posterior_bias,
            noise.inputs[:seen],
            generator.input,
            generator.bias,
            generator.recurrent,
            rows,
            keep[:seen],
            controller.initial.expand(len(state), -1),
            state,
        )
        if fused(*arguments):
            moments, samples, states = _Fused.apply(*arguments)  # pyright: ignore[reportGeneralTypeIssues]
        else:
            moments, samples, states = loop(*arguments)
        mean, logvar = moments.chunk(2, dim=-1)
        inferred = [part.transpose(0, 1) for part in (samples, mean, logvar)]
        divergence = controller.prior.kl_conditional(*inferred).sum(dim=(1, 2))
        if frames > seen:
            nothing = samples.new_zeros(frames - seen, *samples.shape[1:])
            states = torch.cat([states, generator(nothing, states[-1])])
            samples = torch.cat([samples, nothing])
        return Course((keep * states) @ rows.T, samples, kl, divergence)


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
        self.dropout, self.lag = Dropout(dropout), lag

    @property
    def feedback(self) -> Float[Tensor, "factor gates"]:
        """Weights from the factors to the controller's gates."""
        return self.unit.input[2 * self.unit.hidden :]

    def encode(self, x: Float[Tensor, "time batch signal"]) -> Float[Tensor, "time batch gates"]:
        """Return the data's part of the controller's gates, without their bias."""
        forth, back = self.encoder(self.dropout(x))[0].chunk(2, dim=-1)
        lag = self.lag
        seen = torch.cat(
            [F.pad(forth, (0, 0, 0, 0, lag, 0))[: len(x)], F.pad(back, (0, 0, 0, 0, 0, lag))[lag:]], dim=-1
        )
        return product(self.dropout(seen), self.unit.input[: 2 * self.unit.hidden])


def loop(
    pre: Tensor,
    control_bias: Tensor,
    feedback: Tensor,
    control_weights: Tensor,
    posterior: Tensor,
    posterior_bias: Tensor,
    noise: Tensor,
    entering: Tensor,
    bias: Tensor,
    weights: Tensor,
    rows: Tensor,
    keep: Tensor,
    control: Tensor,
    state: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run controller and generator step by step with torch, on any device and in any precision.

    Arguments as for the kernel `controlled`.

    Returns
    -------
    moments, samples, states
        Mean and log variance of the inputs, the inputs, and the generator's states, time first.
    """
    factors = state @ rows.T
    moments, samples, states = [], [], []
    own, generated = parted(control_weights), parted(weights)
    for t in range(len(pre)):
        control = cell(pre[t] + control_bias + factors @ feedback, control, *own)
        moment = control @ posterior + posterior_bias
        drawn = sample(*moment.chunk(2, dim=-1), noise[t])
        state = cell(drawn @ entering + bias, state, *generated)
        factors = (keep[t] * state) @ rows.T
        for kept, value in zip((moments, samples, states), (moment, drawn, state), strict=True):
            kept.append(value)
    return torch.stack(moments), torch.stack(samples), torch.stack(states)


class _Fused(torch.autograd.Function):
    """`loop`, compiled."""

    @staticmethod
    def forward(ctx: Any, *arguments: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        values = [array(tensor) for tensor in arguments]
        pre, control_bias, feedback, control_weights, posterior, bias, noise = values[:7]
        entering, offset, weights, rows, keep = values[7:-2]
        controls, states = (np.empty((len(pre) + 1, *start.shape), np.float32) for start in values[-2:])
        controls[0], states[0] = values[-2:]
        control_gates, control_candidate = gates_and_candidate(control_weights)
        gates, candidate = gates_and_candidate(weights)
        inferred = (pre, control_bias, feedback, control_gates, control_candidate, posterior, bias, noise)
        generated = (entering, offset, gates, candidate, rows, keep)
        ctx.kept = controlled.controlled(*inferred, *generated, controls, states)
        moments, samples = ctx.kept[4:6]
        ctx.values = (feedback, control_gates, control_candidate, posterior, noise, entering, gates, candidate)
        ctx.values = (*ctx.values, rows, keep, controls, states)
        return tuple(torch.from_numpy(values) for values in (moments, samples, states[1:]))  # pyright: ignore[reportReturnType]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        *_, keep, controls, states = ctx.values
        control_course, control_reset, course, reset, moments, samples, factors = taken(ctx)
        d_moments, d_factors = array(gradients[0]).copy(), np.zeros_like(factors)
        given = (d_moments, array(gradients[1]), array(gradients[2]), d_factors)
        passed: Any = (*given, *ctx.values, control_course, course, moments)
        d_control, d_state = controlled.controlled_back(*passed)
        d_pre, d_driven = control_course, course
        found = (
            d_pre,
            flat(d_pre).sum(axis=0),
            flat(factors[:-1]).T @ flat(d_pre),
            recurrent_gradient(controls[:-1], control_reset, d_pre),
            flat(controls[1:]).T @ flat(d_moments),
            flat(d_moments).sum(axis=0),
            None,
            flat(samples).T @ flat(d_driven),
            flat(d_driven).sum(axis=0),
            recurrent_gradient(states[:-1], reset, d_driven),
            flat(d_factors[1:]).T @ flat(keep * states[1:]) + d_factors[0].T @ states[0],
            None,
            d_control,
            d_state,
        )
        return tuple(None if value is None else torch.from_numpy(value) for value in found)


def linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a linear map with normal weights of variance 1 / inputs and no offset at first."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=inputs**-0.5)
    nn.init.zeros_(layer.bias)
    return layer
