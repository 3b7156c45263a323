"""Finite differences of model outputs with respect to their own coordinate."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


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
