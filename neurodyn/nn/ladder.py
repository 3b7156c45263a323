"""The lower rung of a variational ladder: inferred spikes drive an autoregressive calcium."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurodyn.compiled import rung
from neurodyn.nn import recurrent
from neurodyn.nn.recurrent import array, flat, fused


class RungOutput(NamedTuple):
    """What a rung gives, time first.

    Parameters
    ----------
    mean, logvar
        Posterior of z, shape (time, batch, latent).
    spikes
        Events per frame, shape (time, batch, cell).
    calcium
        Shape (time, batch, cell).
    """

    mean: Tensor
    logvar: Tensor
    spikes: Tensor
    calcium: Tensor


class Rung(nn.Module):
    """Controller, log-normal spikes and calcium of CaLFADS (its level 1).

        c(t) = GRU([h(t), calcium(t-1)], c(t-1)),  z(t) ~ N(mean, exp(logvar)) = W c(t) + b,
        spikes(t) = max(exp(W_s z(t) + drive(t)) - 1, 0),  calcium(t) = g₁ calcium(t-1) + g₂ calcium(t-2) + spikes(t).

    Eq. 21 and 23, and Algorithm 1 of the CaLFADS paper, with the calcium rather than the spikes fed back.

    Parameters
    ----------
    encoded
        Width of h.
    hidden
        Width of the controller.
    latent
        Width of z.
    cells
        Cells.
    readout_scale
        The read-out's initial weights are normal with this factor over sqrt(latent): small, so that no spike explodes
        before anything is learnt.
    ceiling
        Largest log(1 + spikes).
    """

    def __init__(
        self, encoded: int, hidden: int, latent: int, cells: int, readout_scale: float = 0.1, ceiling: float = 6.0
    ) -> None:
        super().__init__()
        self.control = recurrent.GRU(encoded + cells, hidden)
        self.initial = nn.Parameter(torch.zeros(hidden))
        self.posterior = nn.Parameter(torch.randn(hidden, 2 * latent) * hidden**-0.5)
        self.posterior_bias = nn.Parameter(torch.zeros(2 * latent))
        self.readout = nn.Parameter(torch.randn(latent, cells) * readout_scale * latent**-0.5)
        self.encoded, self.ceiling = encoded, ceiling

    def forward(
        self,
        h: Float[Tensor, "time batch encoded"],
        drive: Float[Tensor, "time batch cell"],
        noise: Float[Tensor, "time batch latent"],
        decay: Float[Tensor, "2 cell"],
        initial: Float[Tensor, "batch cell"],
    ) -> RungOutput:
        """Run the rung.

        Parameters
        ----------
        h
            Encoder states.
        drive
            The factors' part of log(1 + spikes), with its bias.
        noise
            Standard normal.
        decay
            g₁ and g₂.
        initial
            Calcium before the first frame.
        """
        entering, feedback = self.control.input.split([self.encoded, decay.shape[1]])
        start = self.initial.expand(h.shape[1], -1)
        arguments = (
            h,
            entering,
            self.control.bias,
            feedback,
            self.control.recurrent,
            self.posterior,
            self.posterior_bias,
            noise,
            self.readout,
            drive,
            decay,
            start,
            initial,
        )
        if fused(*arguments):
            return RungOutput(*_Fused.apply(*arguments, self.ceiling))  # pyright: ignore[reportGeneralTypeIssues]
        return RungOutput(*loop(*arguments, self.ceiling))


def loop(
    h: Tensor,
    entering: Tensor,
    bias: Tensor,
    feedback: Tensor,
    weights: Tensor,
    posterior: Tensor,
    posterior_bias: Tensor,
    noise: Tensor,
    readout: Tensor,
    drive: Tensor,
    decay: Tensor,
    control: Tensor,
    calcium: Tensor,
    ceiling: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Run a rung step by step with torch, on any device and in any precision; arguments as for the kernel `rung`.

    Parameters
    ----------
    h, entering
        What the controller reads, shape (time, batch, encoded), and its weights.

    Returns
    -------
    mean, logvar, spikes, calcium
        Time first.
    """
    before, pre = calcium, h @ entering + bias
    kept: list[tuple[Tensor, ...]] = []
    parts = recurrent.parted(weights)
    for t in range(len(pre)):
        control = recurrent.cell(pre[t] + calcium @ feedback, control, *parts)
        mean, logvar = (control @ posterior + posterior_bias).chunk(2, dim=-1)
        z = mean + torch.exp(0.5 * logvar) * noise[t]
        spike = torch.relu(torch.exp((z @ readout + drive[t]).clamp(max=ceiling)) - 1)
        calcium, before = decay[0] * calcium + decay[1] * before + spike, calcium
        kept.append((mean, logvar, spike, calcium))
    mean, logvar, spikes, courses = (torch.stack(values) for values in zip(*kept, strict=True))
    return mean, logvar, spikes, courses


class _Fused(torch.autograd.Function):
    """`loop`, compiled."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        ceiling = np.float32(arguments[-1])
        values = [array(tensor) for tensor in arguments[:-1]]
        h, entering, bias, feedback, weights, posterior, posterior_bias, noise, readout, drive, decay = values[:-2]
        frames, count = noise.shape[:2]
        controls = np.empty((frames + 1, *values[-2].shape), np.float32)
        calcium = np.empty((frames + 2, count, decay.shape[1]), np.float32)
        controls[0], calcium[:2] = values[-2:]
        gates = (flat(h) @ entering).reshape(frames, count, -1)
        reset, mean, logvar, samples, logits, spikes = rung.rung(
            gates,
            bias,
            feedback,
            *recurrent.gates_and_candidate(weights),
            posterior,
            posterior_bias,
            noise,
            readout,
            drive,
            decay,
            ceiling,
            controls,
            calcium,
        )
        ctx.values = (h, entering, feedback, weights, posterior, noise, readout, decay, ceiling)
        ctx.kept = (controls, calcium, gates, reset, logvar, samples, logits, spikes)
        return tuple(torch.from_numpy(values) for values in (mean, logvar, spikes, calcium[2:]))  # pyright: ignore[reportReturnType]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        h, entering, feedback, weights, posterior, noise, readout, decay, ceiling = ctx.values
        controls, calcium, gates, reset, logvar, samples, logits, spikes = recurrent.taken(ctx)
        d_mean, d_logvar, d_spikes, d_later = (array(gradient) for gradient in gradients)
        d_calcium = np.zeros_like(calcium)
        d_calcium[2:] = d_later
        d_logits, d_moments, d_control = rung.rung_back(
            d_mean,
            d_logvar,
            d_spikes,
            d_calcium,
            feedback,
            *recurrent.gates_and_candidate(weights),
            posterior,
            noise,
            readout,
            decay,
            ceiling,
            controls,
            gates,
            logvar,
            logits,
            spikes,
        )
        d_pre, through = gates, d_calcium[2:]
        earlier = (calcium[1:-1], calcium[:-2]) if ctx.needs_input_grad[10] else ()
        d_decay = np.stack([(through * before).sum((0, 1)) for before in earlier]) if earlier else None
        found = (
            (flat(d_pre) @ entering.T).reshape(h.shape) if ctx.needs_input_grad[0] else None,
            flat(h).T @ flat(d_pre),
            flat(d_pre).sum(axis=0),
            flat(calcium[1:-1]).T @ flat(d_pre),
            recurrent.recurrent_gradient(controls[:-1], reset, d_pre),
            flat(controls[1:]).T @ flat(d_moments),
            flat(d_moments).sum(axis=0),
            None,
            flat(samples).T @ flat(d_logits),
            d_logits,
            d_decay,
            d_control,
            d_calcium[0] + d_calcium[1],
        )
        return *(None if value is None else torch.from_numpy(value) for value in found), None
