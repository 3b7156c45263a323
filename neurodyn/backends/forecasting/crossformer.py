"""Crossformer: attention along time within each neuron, then across neurons through routers, at several scales."""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurodyn.backends.base import TRAINING_SEARCH
from neurodyn.backends.batch import Batch
from neurodyn.backends.forecasting.forecaster import Trained
from neurodyn.backends.forecasting.transformer import ATTENTION_SEARCH, hold_in_front
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.forecasting import CrossformerConfig
from neurodyn.nn.normalisation import LayerNorm
from neurodyn.nn.transformer import TransformerBlock


class Crossformer(Trained):
    """Forecasts segments of every neuron from segments of all neurons.

    h_{i,d} = E x_{i,d} + p_{i,d} for segment i of neuron d; a two-stage layer T attends along i, then across d through c
    routers. Encoder: Z₀ = h, Z₁ = T₁(h), Zₗ = Tₗ(merge(Zₗ₋₁)), each merge joining w neighbouring segments. Decoder:
    Yₗ = F(T′ₗ(Yₗ₋₁), Zₗ), in which the segments of a neuron attend to those of scale l; Y₋₁ = q_{j,d} + S stimulus.
    x̂_j = Σₗ Wₗ Yₗ, over all scales l. A source that segments do not divide is preceded by its first frame, held.

    Zhang & Yan 2023, Crossformer: transformer utilizing cross-dimension dependency for multivariate time series
    forecasting, ICLR; the stimulus as in Calcagno et al. 2024, arXiv:2412.07264.
    """

    Config = CrossformerConfig
    SEARCH = TRAINING_SEARCH | ATTENTION_SEARCH
    citation = (
        "Zhang Y., Yan J. (2023). Crossformer: Transformer utilizing cross-dimension dependency for multivariate time "
        "series forecasting. ICLR."
    )
    config: CrossformerConfig

    def __init__(self, config: CrossformerConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self.segment = min(config.segment, self.source)
        count, asked = -(-self.source // self.segment), -(-layout.horizon // self.segment)
        self.embed = nn.Linear(self.segment, config.width)
        self.positions = nn.Parameter(torch.randn(self.entries, count, config.width))
        self.norm = LayerNorm(config.width)
        self.encoder = nn.ModuleList([TwoStage(config, count)])
        for _ in range(config.layers - 1):
            window = min(config.merge, count)
            count = -(-count // window)
            self.encoder.append(nn.Sequential(Merge(config.width, window), TwoStage(config, count)))
        self.queries = nn.Parameter(torch.randn(self.entries, asked, config.width))
        self.stimulus = nn.Linear(self.told, config.width) if self.told else None
        self.decoder = nn.ModuleList([Reader(config, asked, self.segment) for _ in range(config.layers + 1)])

    def forecast(
        self, source: Float[Tensor, "batch source entry"], batch: Batch
    ) -> Float[Tensor, "batch horizon entry"]:
        """Read every scale and add up what the readings say."""
        segments = hold_in_front(source, self.segment).transpose(1, 2).unflatten(2, (-1, self.segment))
        scales = [self.norm(self.embed(segments) + self.positions)]
        for layer in self.encoder:
            scales.append(layer(scales[-1]))
        tokens = self.queries.expand(len(source), -1, -1, -1)
        if self.stimulus is not None and batch.stimulus is not None:
            tokens = tokens + self.stimulus(batch.stimulus)[:, None, None]
        readings = []
        for reader, scale in zip(self.decoder, scales, strict=True):
            tokens = reader(tokens, scale)
            readings.append(cast("Reader", reader).read(tokens))
        return torch.stack(readings).sum(0).flatten(2)[..., : self.layout.horizon].transpose(1, 2)


class RouterAttention(nn.Module):
    """Attention between the neurons of a segment at a cost linear in their number: B = A(R, Z, Z), Z̄ = A′(Z, B, B).

    Zhang & Yan 2023, section 3.2. The routers R are learned, c vectors for every segment.
    """

    def __init__(self, config: CrossformerConfig, segments: int) -> None:
        super().__init__()
        self.routers = nn.Parameter(torch.randn(segments, config.routers, config.width))
        self.gather, self.spread = _attention(config), _attention(config)

    def forward(
        self, tokens: Float[Tensor, "batch_segment neuron width"], mask: None = None
    ) -> Float[Tensor, "batch_segment neuron width"]:
        """Attend; segments are the faster index of the first axis."""
        routers = self.routers.repeat(len(tokens) // len(self.routers), 1, 1)
        gathered, _ = self.gather(routers, tokens, tokens, need_weights=False)
        return self.spread(tokens, gathered, gathered, need_weights=False)[0]


class TwoStage(nn.Module):
    """A post-norm transformer block along the segments of each neuron, then one across the neurons of each segment."""

    def __init__(self, config: CrossformerConfig, segments: int) -> None:
        super().__init__()
        sizes = config.width, config.heads, config.feedforward, config.dropout
        self.time = TransformerBlock(*sizes, norm="post")
        self.space = TransformerBlock(*sizes, norm="post", attention=RouterAttention(config, segments))

    def forward(
        self, tokens: Float[Tensor, "batch neuron segment width"]
    ) -> Float[Tensor, "batch neuron segment width"]:
        """Attend along time, then across neurons."""
        batch, neurons = tokens.shape[:2]
        along = self.time(tokens.flatten(0, 1)).unflatten(0, (batch, neurons))
        across = self.space(along.transpose(1, 2).flatten(0, 1))
        return across.unflatten(0, (batch, -1)).transpose(1, 2)


class Merge(nn.Module):
    """Join neighbouring segments: Z′ᵢ = M LN[Z_{wi}, …, Z_{wi+w−1}], the last segment repeated where some are missing."""

    def __init__(self, width: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.norm = LayerNorm(window * width)
        self.join = nn.Linear(window * width, width)

    def forward(self, tokens: Float[Tensor, "batch neuron segment width"]) -> Float[Tensor, "batch neuron group width"]:
        """Merge."""
        missing = -tokens.shape[2] % self.window
        padded = torch.cat([tokens, tokens[:, :, -1:].expand(-1, -1, missing, -1)], dim=2)
        return self.join(self.norm(padded.unflatten(2, (-1, self.window)).flatten(3)))


class Reader(nn.Module):
    """A layer of the decoder: the queries' two stages, attention to one scale of the same neuron, and a reading."""

    def __init__(self, config: CrossformerConfig, asked: int, segment: int) -> None:
        super().__init__()
        self.mix = TwoStage(config, asked)
        self.look = _attention(config)
        self.norms = nn.ModuleList([LayerNorm(config.width) for _ in range(2)])
        self.feedforward = nn.Sequential(
            nn.Linear(config.width, config.feedforward), nn.GELU(), nn.Linear(config.feedforward, config.width)
        )
        self.read = nn.Linear(config.width, segment)

    def forward(
        self, queries: Float[Tensor, "batch neuron asked width"], scale: Float[Tensor, "batch neuron segment width"]
    ) -> Float[Tensor, "batch neuron asked width"]:
        """Mix the queries, then look at the scale."""
        tokens, seen = self.mix(queries).flatten(0, 1), scale.flatten(0, 1)
        tokens = self.norms[0](tokens + self.look(tokens, seen, seen, need_weights=False)[0])
        return self.norms[1](tokens + self.feedforward(tokens)).unflatten(0, (len(queries), -1))


def _attention(config: CrossformerConfig) -> nn.MultiheadAttention:
    return nn.MultiheadAttention(config.width, config.heads, config.dropout, batch_first=True)
