"""Movies to tokens of space-time patches, tokens pooled over time, and tokens back to images."""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from neurodyn.nn.normalisation import LayerNorm


class VideoEncoder(nn.Module):
    """One token for each patch of frames, rows and columns: z = LN(W vec(patch) + b).

    Movies whose sides are no multiples of the patch's are padded with zeros at the ends of their axes.

    Parameters
    ----------
    channels
        Of the movie.
    patch
        Frames, rows and columns.
    width
        Features per token.
    """

    def __init__(self, channels: int, patch: tuple[int, int, int], width: int) -> None:
        super().__init__()
        self.patch = patch
        self.project = nn.Conv3d(channels, width, patch, stride=patch)
        self.norm = LayerNorm(width)

    def forward(self, movie: Float[Tensor, "batch channel time row column"]) -> Float[Tensor, "batch step site width"]:
        """Return tokens by step in time and by site, row after row."""
        tokens = self.project(padded(movie, self.patch))  # (batch, width, step, grid row, grid column)
        return self.norm(tokens.flatten(3).permute(0, 2, 3, 1))

    def share(self, mask: Float[Tensor, "batch time row column"]) -> Float[Tensor, "batch step site"]:
        """Return the share of every patch that a mask of zeros and ones covers; padding is not covered."""
        return F.avg_pool3d(padded(mask, self.patch), self.patch, self.patch).flatten(2)


def padded(movie: Float[Tensor, "*batch time row column"], patch: tuple[int, int, int]) -> Tensor:
    """Append zeros to the last three axes until a patch divides them."""
    missing = [-length % side for length, side in zip(movie.shape[-3:], patch, strict=True)]
    return F.pad(movie, [amount for side in reversed(missing) for amount in (0, side)]) if any(missing) else movie


class AttentionPooling(nn.Module):
    """One token for every run of tokens, weighted by what they hold and how much of it was observed.

        z̄ = Σₗ aₗ zₗ,  a = softmaxₗ(v · GELU(W [LN(zₗ), oₗ] + b)),  oₗ the observed share of token l

    A token of which nothing was observed has no weight; where that holds for a whole run, all weigh the same.

    Parameters
    ----------
    width
        Features per token.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = LayerNorm(width)
        self.hidden = nn.Linear(width + 1, width)
        self.score = nn.Linear(width, 1, bias=False)

    def forward(
        self, tokens: Float[Tensor, "batch part step site width"], observed: Float[Tensor, "batch part step site"]
    ) -> Float[Tensor, "batch part site width"]:
        """Pool over the steps of each part."""
        return torch.einsum("bmls,bmlsw->bmsw", self.weights(tokens, observed), tokens)

    def weights(
        self, tokens: Float[Tensor, "batch part step site width"], observed: Float[Tensor, "batch part step site"]
    ) -> Float[Tensor, "batch part step site"]:
        """Return the weights; they sum to 1 over the steps."""
        read = torch.cat([self.norm(tokens), observed[..., None]], dim=-1)
        scores = self.score(F.gelu(self.hidden(read)))[..., 0]
        seen = observed > 0
        some = seen.any(dim=2, keepdim=True)
        return scores.masked_fill(~seen, -math.inf).where(some, 0.0).softmax(dim=2)


class OverlappingDecoder(nn.Module):
    """A grid of tokens to an image whose patches overlap, and are smoothed into each other.

    A 1×1 convolution, a transposed one whose kernel reaches `overlap` pixels into the neighbouring patches, twice a
    3×3 convolution with group normalisation and GELU, and a last 1×1 convolution, which is zero at first.

    Parameters
    ----------
    width
        Features per token.
    hidden
        Channels of the coarse grid; half as many at full resolution.
    patch
        Rows and columns of a token's patch.
    overlap
        Pixels by which a patch reaches into its neighbours on each side.
    channels
        Of the image.
    dropout
        Share of the refined channels dropped in training.
    """

    def __init__(
        self, width: int, hidden: int, patch: tuple[int, int], overlap: int, channels: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        fine = hidden // 2
        kernel = cast("tuple[int, int]", tuple(side + 2 * overlap for side in patch))
        self.mix = nn.Conv2d(width, hidden, 1)
        self.rise = nn.ConvTranspose2d(hidden, fine, kernel, stride=patch, padding=overlap)
        self.refine = nn.Sequential(*(_refinement(fine, dropout) for _ in range(2)))
        self.out = nn.Conv2d(fine, channels, 1)
        for parameter in self.out.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self, tokens: Float[Tensor, "batch width gridrow gridcolumn"]
    ) -> Float[Tensor, "batch channel row column"]:
        """Return images of as many pixels as the patches have together."""
        return self.out(self.refine(self.rise(self.mix(tokens))))


def _refinement(channels: int, dropout: float) -> nn.Sequential:
    groups = math.gcd(8, channels // 2)  # at least two channels in each, or the convolution's bias would be lost
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1), nn.GroupNorm(groups, channels), nn.GELU(), nn.Dropout2d(dropout)
    )
