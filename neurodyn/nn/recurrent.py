"""Gated recurrent units as LFADS uses them, fused over time on the processor."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurodyn.compiled import gru


class GRU(nn.Module):
    """A gated recurrent unit whose reset gate acts before the recurrent product; one direction.

        z, r = sigmoid(x W + h U + b),  n = tanh(x W_n + (r h) U_n + b_n),  h' = z h + (1 - z) n

    so that z keeps. The gates' biases begin at 1, the candidate's at 0, weights are normal with variance 1 / fan. A new
    state lies between the old one and ±1, so limiting the initial state to ±clip limits all of them.
    Cho et al., EMNLP 2014; Pandarinath et al., Nat Methods 15, 805 (2018).

    Parameters
    ----------
    inputs
        Width of the input; 0 for a unit that is only started.
    hidden
        Width of the state.
    clip
        Largest absolute initial state.
    joint_fan
        Count input and state together as the fan of both matrices (encoders), not each alone (generator, controller).
    """

    def __init__(self, inputs: int, hidden: int, clip: float = 5.0, joint_fan: bool = False) -> None:
        super().__init__()
        self.hidden, self.clip = hidden, clip
        fan = inputs + hidden
        self.input = nn.Parameter(torch.randn(inputs, 3 * hidden) * max(1, fan if joint_fan else inputs) ** -0.5)
        self.recurrent = nn.Parameter(torch.randn(hidden, 3 * hidden) * (fan if joint_fan else hidden) ** -0.5)
        self.bias = nn.Parameter(torch.cat([torch.ones(2 * hidden), torch.zeros(hidden)]))

    def forward(
        self, x: Float[Tensor, "time batch inputs"], initial: Float[Tensor, "batch hidden"], backwards: bool = False
    ) -> Float[Tensor, "time batch hidden"]:
        """Return the states after each input; `backwards` starts at the last input, and keeps the order of time."""
        initial = initial.clamp(-self.clip, self.clip)
        arguments = (x, self.input, self.bias, self.recurrent, initial, backwards)
        if fused(*arguments[:-1]):
            return _Fused.apply(*arguments)  # pyright: ignore[reportReturnType]
        return loop(*arguments)

    @property
    def recurrent_cost(self) -> Tensor:
        """Sum of the squared recurrent weights' means: those of the gates and those of the candidate."""
        gates, candidate = self.recurrent.split([2 * self.hidden, self.hidden], dim=1)
        return gates.square().mean() + candidate.square().mean()


class Bidirectional(nn.Module):
    """Two gated recurrent units in opposite directions, with learned initial states.

    Parameters
    ----------
    inputs, hidden, clip
        As for `GRU`; the output is twice `hidden` wide.
    """

    def __init__(self, inputs: int, hidden: int, clip: float = 5.0) -> None:
        super().__init__()
        self.forth = GRU(inputs, hidden, clip, joint_fan=True)
        self.back = GRU(inputs, hidden, clip, joint_fan=True)
        self.initial = nn.Parameter(torch.zeros(2, hidden))

    def forward(
        self, x: Float[Tensor, "time batch inputs"]
    ) -> tuple[Float[Tensor, "time batch hidden2"], Float[Tensor, "batch hidden2"]]:
        """Return the states of both directions, and the last state of each."""
        first, second = self.initial.unsqueeze(1).expand(-1, x.shape[1], -1)
        forth, back = self.forth(x, first), self.back(x, second, backwards=True)
        return torch.cat([forth, back], dim=-1), torch.cat([forth[-1], back[0]], dim=-1)


def fused(*tensors: Tensor) -> bool:
    """Say whether the compiled loops can be used: float32 on the processor."""
    return all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in tensors)


def loop(x: Tensor, weights: Tensor, bias: Tensor, recurrent: Tensor, initial: Tensor, backwards: bool) -> Tensor:
    """Run a gated recurrent unit step by step with torch, on any device and in any precision; shapes as for `GRU`.

    Several units run side by side where all have a leading dimension more (after time, of `x`).
    """
    pre = (x @ weights + bias).unbind()
    parts = parted(recurrent)
    states: list[Tensor] = []
    h = initial
    for step in reversed(pre) if backwards else pre:
        h = cell(step, h, *parts)
        states.append(h)
    return torch.stack(states[::-1] if backwards else states)


def parted(recurrent: Tensor) -> tuple[Tensor, Tensor]:
    """Return the parts of U for z, r and for n: once before a loop, since the gradient of a slice is a whole U of zeros."""
    hidden = recurrent.shape[-1] // 3
    gates, candidate = recurrent.split([2 * hidden, hidden], dim=-1)
    return gates, candidate


def cell(pre: Tensor, h: Tensor, gates: Tensor, candidate: Tensor) -> Tensor:
    """Return the next state; `pre` is the input part of the gates, shape (batch, 3 hidden), the others U as `parted`."""
    hidden = h.shape[-1]
    early, late = pre.split([2 * hidden, hidden], dim=-1)
    z, r = torch.sigmoid(early + h @ gates).chunk(2, dim=-1)
    n = torch.tanh(late + (r * h) @ candidate)
    return z * h + (1 - z) * n


def product(
    x: Float[Tensor, "time batch inputs"], weights: Float[Tensor, "inputs outputs"]
) -> Float[Tensor, "time batch outputs"]:
    """Return x W; float32 on the processor goes through numpy, whose library is faster on some processors."""
    if fused(x, weights):
        return _Product.apply(x, weights)  # pyright: ignore[reportReturnType]
    return x @ weights


def array(tensor: Tensor) -> np.ndarray:
    """Return a tensor's values, contiguous."""
    return np.ascontiguousarray(tensor.detach().numpy())


def flat(values: np.ndarray) -> np.ndarray:
    """Join time and batch: shape (time * batch, feature)."""
    return values.reshape(values.shape[0] * values.shape[1], values.shape[-1])


def gates_and_candidate(recurrent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split U into the parts for z, r and for n, each contiguous."""
    hidden = len(recurrent)
    return np.ascontiguousarray(recurrent[:, : 2 * hidden]), np.ascontiguousarray(recurrent[:, 2 * hidden :])


def recurrent_gradient(before: np.ndarray, reset: np.ndarray, d_pre: np.ndarray) -> np.ndarray:
    """Return the gradient of U from the states before each step, r h, and the gradient of `pre`."""
    hidden = before.shape[-1]
    gates = flat(before).T @ flat(d_pre)[:, : 2 * hidden]
    return np.concatenate([gates, flat(reset).T @ flat(d_pre)[:, 2 * hidden :]], axis=1)


def taken(ctx: Any) -> Any:
    """Return what a loop kept for its gradients, which are written over it: there is no second time."""
    if ctx.kept is None:
        raise RuntimeError("The gradients of a recurrent loop can be taken only once.")
    kept, ctx.kept = ctx.kept, None
    return kept


class _Product(torch.autograd.Function):
    """`product`, by numpy."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(x, weights)
        return torch.from_numpy((flat(array(x)) @ array(weights)).reshape(*x.shape[:2], -1))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, weights = (array(tensor) for tensor in ctx.saved_tensors)
        d_out = flat(array(gradients[0]))
        d_x = torch.from_numpy((d_out @ weights.T).reshape(values.shape)) if ctx.needs_input_grad[0] else None
        return d_x, torch.from_numpy(flat(values).T @ d_out)


class _Fused(torch.autograd.Function):
    """`loop`, compiled."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weights: Tensor, bias: Tensor, recurrent: Tensor, initial: Tensor, backwards: bool
    ) -> Tensor:
        values, start = array(x), array(initial)
        frames, count = values.shape[:2]
        gates = (flat(values) @ array(weights)).reshape(frames, count, -1)
        states = np.empty((frames + 1, *start.shape), np.float32)
        states[-1 if backwards else 0] = start
        reset = gru.scan(gates, array(bias), *gates_and_candidate(array(recurrent)), states, backwards)
        ctx.kept = (values, states, gates, reset, backwards)
        ctx.save_for_backward(weights, recurrent)
        return torch.from_numpy(states[:-1] if backwards else states[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, states, gates, reset, backwards = taken(ctx)
        weights, recurrent = (array(tensor) for tensor in ctx.saved_tensors)
        d_initial = gru.scan_back(array(gradients[0]), states, gates, *gates_and_candidate(recurrent), backwards)
        before, d_pre = states[1:] if backwards else states[:-1], gates
        d_x = (flat(d_pre) @ weights.T).reshape(values.shape) if ctx.needs_input_grad[0] else None
        found = (
            d_x,
            flat(values).T @ flat(d_pre),
            flat(d_pre).sum(axis=0),
            recurrent_gradient(before, reset, d_pre),
            d_initial,
        )
        return *(None if value is None else torch.from_numpy(value) for value in found), None
