"""Layer normalisation that can be differentiated as often as one likes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

from jaxtyping import Float
from torch import Tensor, nn

_PLAIN = ContextVar("_PLAIN", default=False)


@contextlib.contextmanager
def differentiable_often() -> Iterator[None]:
    """Have `LayerNorm` compute by plain operations, whose third and higher derivatives are right.

    Those of PyTorch's own kernel are silently wrong: its second derivative takes the statistics for constants.
    """
    token = _PLAIN.set(True)
    try:
        yield
    finally:
        _PLAIN.reset(token)


class LayerNorm(nn.LayerNorm):
    """(x - mean) / √(variance + ε) over the last axis, times weight plus bias. Ba et al. 2016, Layer normalization."""

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """Normalise."""
        if not _PLAIN.get():
            return super().forward(x)
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred * (centred.square().mean(-1, keepdim=True) + self.eps).rsqrt()
        return scaled * self.weight + self.bias
