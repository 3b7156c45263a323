"""Derivatives of model outputs with respect to their own coordinate: finite differences, or exact."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from neurodyn.nn.normalisation import differentiable_often


def derivatives(
    values: Float[Tensor, "batch token *entry"], t: Float[Tensor, "batch token"], orders: int
) -> list[Float[Tensor, "batch _ *entry"]]:
    """Return the finite-difference derivatives of orders 1 to `orders` along unevenly spaced times.

    D⁰ = y; Dᵠᵢ = q (Dᵠ⁻¹ᵢ₊₁ − Dᵠ⁻¹ᵢ) / (tᵢ₊q − tᵢ), which is q! times Newton's divided difference and so the exact
    derivative of a polynomial of degree q.

    Parameters
    ----------
    values
        In any order along `token`.
    t
        Distinct times of the tokens.
    """
    order = t.argsort(1)
    t = t.gather(1, order)
    index = order.reshape(*order.shape, *[1] * (values.ndim - 2)).expand_as(values)
    current, found = values.gather(1, index), []
    for q in range(1, orders + 1):
        span = (t[:, q:] - t[:, :-q]).reshape(t.shape[0], -1, *[1] * (values.ndim - 2))
        current = q * (current[:, 1:] - current[:, :-1]) / span
        found.append(current)
    return found


def along(
    function: Callable[[Tensor], Tensor], t: Float[Tensor, "batch query"], orders: int
) -> tuple[Tensor, list[Tensor]]:
    """Return a function's value, and its derivatives of orders 1 to `orders` when all times move together.

    Where every output depends on one time alone, these are each output's derivatives with respect to its own time; all
    outputs at the cost of one. vᵀ ∂y is linear in v, so its own derivative with respect to v, along ones in t, is ∂y.

    Parameters
    ----------
    function
        Takes times like `t`; attention inside it falls back to a kernel that can be differentiated more than once.
    """
    t = t.detach().requires_grad_()
    with sdpa_kernel(SDPBackend.MATH), differentiable_often(), torch.enable_grad():
        found = [function(t)]
        for _ in range(orders):
            probe = torch.zeros_like(found[-1], requires_grad=True)
            pulled = _pull(found[-1], t, probe)
            found.append(_pull(pulled, probe, torch.ones_like(pulled)))
    return found[0], found[1:]


def _pull(output: Tensor, source: Tensor, vector: Tensor) -> Tensor:
    return torch.autograd.grad(output, source, vector, create_graph=True, materialize_grads=True)[0]
