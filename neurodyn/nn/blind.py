"""A small convolutional network that predicts a pixel from everything but itself: its neighbours, and other frames."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

BINS = ((1, 1), (2, 3), (4, 7))  # frames before and after, averaged


class BlindNetwork(nn.Module):
    """One frame's pixels from their neighbours in it, and from the features of the frames around it.

        h = relu(W₂ * relu(W₁ * inputs))   of single frames
        u = A [means of h over frames t ± 1, t ± 2…3, t ± 4…7] + W₀ * z(t) + B own(t),   W₀ without its centre
        out = w relu(C relu(u))

    No frame's features reach its own prediction, and what follows W₀ looks at one pixel alone, so that the blind spot stays
    one. After SUPPORT (Eom M. et al. 2023, Nat Methods 20:1581) and noise2void (Krull A. et al. 2019, CVPR).

    Parameters
    ----------
    inputs
        Maps of every frame.
    own
        Blind maps of the frame itself.
    channels, width
        Features of a frame, hidden units of a pixel.
    kernel
        Side of the convolutions, pixels; 1 for traces, whose ROIs have no neighbours.
    """

    def __init__(self, inputs: int, own: int, channels: int, width: int, kernel: int) -> None:
        super().__init__()
        self.wide = 0 if kernel == 1 else 2 * kernel + 1
        self.first = nn.Conv2d(inputs, channels, kernel, padding="same")
        self.second = nn.Conv2d(channels, channels, kernel, padding="same", dilation=2)
        self.times = nn.Conv2d(2 * len(BINS) * channels, width, 1)
        self.ring = nn.Parameter(0.01 * torch.randn(channels, self.wide**2 - 1)) if self.wide else None
        self.own = nn.Conv2d(own + (channels if self.wide else 0), width, 1, bias=False)
        self.hidden = nn.Conv2d(width, width, 1)
        self.out = nn.Conv2d(width, 1, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias if self.out.bias is not None else self.out.weight)

    @property
    def halo(self) -> int:
        """Pixels around one on which its prediction depends."""
        return max(3 * (self.first.kernel_size[0] // 2), self.wide // 2)

    def forward(
        self, maps: Float[Tensor, "time input height width"], own: Float[Tensor, "time own height width"]
    ) -> Float[Tensor, "time height width"]:
        """Return a prediction of every frame; `maps` has z first."""
        features = F.relu(self.second(F.relu(self.first(maps))))
        around = torch.cat(list(means_around(features)), dim=1)
        seen = own if self.ring is None else torch.cat([own, self._neighbours(maps[:, :1])], dim=1)
        state = F.relu(self.times(around) + self.own(seen))
        return self.out(F.relu(self.hidden(state)))[:, 0]

    def _neighbours(self, z: Float[Tensor, "time 1 height width"]) -> Float[Tensor, "time channel height width"]:
        assert self.ring is not None
        middle = self.ring.shape[1] // 2
        hole = self.ring.new_zeros(len(self.ring), 1)
        kernel = torch.cat([self.ring[:, :middle], hole, self.ring[:, middle:]], dim=1)
        return F.conv2d(z, kernel.view(-1, 1, self.wide, self.wide), padding=self.wide // 2)


def means_around(x: Float[Tensor, "time *rest"]) -> Iterator[Float[Tensor, "time *rest"]]:
    """Yield the means over the frames of every bin before, and after; what lies beyond the ends is left out, 0 if all does."""
    for low, high in BINS:
        for sign in (-1, 1):
            shifts = [sign * step for step in range(low, high + 1)]
            there = sum((shifted(x.new_ones(len(x)), step) for step in shifts), x.new_zeros(len(x)))
            total = sum((shifted(x, step) for step in shifts), torch.zeros_like(x))
            yield total / there.clamp(min=1).view(-1, *[1] * (x.ndim - 1))


def shifted(x: Float[Tensor, "time *rest"], step: int) -> Float[Tensor, "time *rest"]:
    """Return x(t + step), 0 beyond the ends."""
    step = max(-len(x), min(len(x), step))
    pad = x.new_zeros(abs(step), *x.shape[1:])
    return torch.cat([x[step:], pad]) if step >= 0 else torch.cat([pad, x[:step]])
