"""Convolutions along time that look back, not ahead."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

FIRST, KERNEL = 2, 3  # frames that the first convolution sees, and every later one


class TemporalEncoder(nn.Module):
    """Convolutions with skips: a point on the unit sphere for every frame, from it and the frames before it.

    Parameters
    ----------
    entries, width, dimensions
        Numbers per frame: of the input, of hidden layers, of the output.
    layers
        Hidden layers with skips; the output sees `reach(layers)` frames. Before the first frame a window stood still.
    """

    def __init__(self, entries: int, width: int, dimensions: int, layers: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(entries, width, FIRST)
        self.skipped = nn.ModuleList(nn.Conv1d(width, width, KERNEL) for _ in range(layers))
        self.last = nn.Conv1d(width, dimensions, KERNEL)

    @staticmethod
    def reach(layers: int) -> int:
        """Return how many frames an output sees."""
        return FIRST + (layers + 1) * (KERNEL - 1)

    def forward(self, values: Float[Tensor, "batch time entry"]) -> Float[Tensor, "batch time dimension"]:
        """Encode every frame."""
        held = self.reach(len(self.skipped)) - 1
        padded = torch.cat([values[:, :1].expand(-1, held, -1), values], dim=1)
        x = nn.functional.gelu(self.first(padded.transpose(1, 2)))
        for layer in self.skipped:
            x = x[..., KERNEL - 1 :] + nn.functional.gelu(layer(x))
        return nn.functional.normalize(self.last(x), dim=1).transpose(1, 2)
