"""A vocabulary of short waveforms: patches of single traces, encoded, quantised and decoded."""

from __future__ import annotations

from typing import Literal, NamedTuple, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional
from vector_quantize_pytorch import FSQ, VectorQuantize

from neurodyn.nn.attention import ALL
from neurodyn.nn.transformer import TransformerBlock

DEAD_BELOW = 2  # uses per step, on average, below which a code starts anew from a token of the step
POSITION_RANGE = 0.02
EMA_DECAY = 0.8


class Quantized(NamedTuple):
    """Tokens and what became of them: vectors of the codebook, their indices, the loss that draws both together."""

    vectors: Float[Tensor, "trace patch width"]
    codes: Int[Tensor, "trace patch"]
    commitment: Float[Tensor, ""]


class PatchTransformer(nn.Module):
    """Post-norm transformer blocks over the tokens of one trace; the last tokens are at learned places."""

    def __init__(
        self, width: int, heads: int, layers: int, feedforward: int, dropout: float, patches: int, extra: int = 0
    ) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.empty(patches, width).uniform_(-POSITION_RANGE, POSITION_RANGE))
        self.blocks = nn.ModuleList(
            [TransformerBlock(width, heads, feedforward, dropout, "post") for _ in range(layers)]
        )

    def forward(
        self,
        patches: Float[Tensor, "trace patch width"],
        before: Float[Tensor, "trace extra width"] | None = None,
        keep: slice = ALL,
    ) -> Float[Tensor, "trace kept width"]:
        """Transform the patches, and tokens without a place that stand before them; return those of `keep`."""
        tokens = patches + self.place
        if before is not None:
            tokens = torch.cat([before, tokens], dim=1)
        *blocks, last = self.blocks
        for block in blocks:
            tokens = block(tokens)
        return cast("TransformerBlock", last).some(tokens, keep)


class Codebook(nn.Module):
    """Vectors that tokens are replaced by.

    learned: a table of vectors, e* = argmin ‖z − e‖, gradients copied past the choice, loss β ‖z − e*‖² for both sides;
    ema: the same, vectors as running means of the tokens they stand for; fsq: each of a few numbers rounded to some
    levels. van den Oord et al. 2017, NeurIPS; Mentzer et al. 2024, ICLR (finite scalar quantisation).

    Parameters
    ----------
    kind
        "learned", "ema" or "fsq".
    size
        Vectors; not for fsq.
    width
        Features per token.
    commitment
        β.
    levels
        Levels of each number, for fsq.
    """

    def __init__(
        self, kind: Literal["learned", "ema", "fsq"], size: int, width: int, commitment: float, levels: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.table: VectorQuantize | FSQ
        if kind == "fsq":
            self.table = FSQ(list(levels), dim=width)
            self.size = int(torch.tensor(levels).prod())
            return
        self.size, learned = size, kind == "learned"
        self.table = VectorQuantize(
            width,
            size,
            decay=EMA_DECAY,
            learnable_codebook=learned,
            ema_update=not learned,
            commitment_weight=commitment,
            threshold_ema_dead_code=DEAD_BELOW,
            kmeans_init=True,
            rotation_trick=False,
            return_zeros_for_masked_padding=False,
        )

    def forward(
        self, tokens: Float[Tensor, "trace patch width"], there: Bool[Tensor, "trace patch"] | None = None
    ) -> Quantized:
        """Quantise; only tokens that are there count in the loss and in the running means."""
        if isinstance(self.table, FSQ):
            vectors, codes = self.table(tokens)
            return Quantized(vectors, codes.long(), vectors.new_zeros(()))
        vectors, codes, commitment = self.table(tokens, mask=there)
        return Quantized(vectors, codes, commitment.sum())

    def vectors(self, codes: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape width"]:
        """Return the vectors that codes stand for: exactly those that quantising gives."""
        if isinstance(self.table, FSQ):
            return self.table.indices_to_codes(codes)
        return self.table.get_output_from_indices(codes)


class PatchQuantizer(nn.Module):
    """Vector-quantised autoencoder of traces cut into patches.

        z = E(W x + place),  e = codebook(z),  x̂ = V D(e + place)

    with E and D transformers over the patches of one trace. Calcagno et al. 2024, arXiv:2412.07264, stage 1.

    Parameters
    ----------
    patch
        Samples per patch.
    patches
        Patches per trace.
    width, heads, layers, feedforward, dropout
        Of both transformers.
    codebook
        What tokens are replaced by.
    """

    def __init__(
        self,
        patch: int,
        patches: int,
        width: int,
        heads: int,
        layers: int,
        feedforward: int,
        dropout: float,
        codebook: Codebook,
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(patch, width)
        self.encoder = PatchTransformer(width, heads, layers, feedforward, dropout, patches)
        self.codebook = codebook
        self.decoder = PatchTransformer(width, heads, layers, feedforward, dropout, patches)
        self.out = nn.Linear(width, patch)

    def forward(
        self, patches: Float[Tensor, "trace patch sample"], there: Bool[Tensor, "trace patch"] | None = None
    ) -> tuple[Float[Tensor, "trace patch sample"], Quantized]:
        """Return the patches as decoded, and the codes between."""
        quantized = self.codebook(self.encoder(self.embed(patches)), there)
        return self.decode(quantized.vectors), quantized

    def codes(self, patches: Float[Tensor, "trace patch sample"], keep: slice = ALL) -> Int[Tensor, "trace kept"]:
        """Return the codes of patches, of those of `keep`."""
        return self.codebook(self.encoder(self.embed(patches), keep=keep)).codes

    def decode(
        self, vectors: Float[Tensor, "trace patch width"], keep: slice = ALL
    ) -> Float[Tensor, "trace kept sample"]:
        """Return the patches that vectors of the codebook, or means of them, stand for; those of `keep`."""
        return self.out(self.decoder(vectors, keep=keep))


def patched(values: Float[Tensor, "trace time"], patch: int, *, front: bool) -> Float[Tensor, "trace patch sample"]:
    """Cut traces into patches, the first or the last value held where they do not fill the outermost one."""
    missing = -values.shape[1] % patch
    padding = (missing, 0) if front else (0, missing)
    return functional.pad(values[:, None], padding, mode="replicate")[:, 0].unflatten(1, (-1, patch))
