"""QuantFormer's forecast of one window after another, on a processor and in time for an experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor
from vector_quantize_pytorch import FSQ

from neurodyn.backends.base import Batch
from neurodyn.nn.frozen import FrozenLinear, FrozenTransformer, LinearEntrance, TableEntrance
from neurodyn.nn.interpolation import hold

if TYPE_CHECKING:
    from neurodyn.backends.quantformer import QuantFormer


class StreamedQuantFormer:
    """The horizon of single windows of one recording, by the weights that a model has now.

    The same function as the model's `forward`: what does not depend on the window is computed once, that is what both
    encoders' first blocks make of the hidden horizon and of the neurons, and the decoder's of every code at every place.

    Parameters
    ----------
    model
        Trained; without attention across neurons, on a processor.
    """

    def __init__(self, model: QuantFormer) -> None:
        self.model, self.cells = model, len(model.cells)
        self.known = slice(0, model.patches - model.ahead)
        self.coming = slice(model.patches - model.ahead, model.patches)
        with torch.no_grad():
            self._prepare_source()
            self._prepare_words()
            self.head = FrozenLinear(model.head.weight, model.head.bias)

    def _prepare_source(self) -> None:
        """Prepare both encoders: of the source's own codes, and of those to come."""
        model, before = self.model, 1 + (self.model.stimulus is not None)
        self.own = FrozenTransformer(model.quantizer.encoder, self.cells)
        self.encoder = FrozenTransformer(model.encoder, self.cells, before)
        self.encoder.enter(slice(0, 1), model.neurons(model.neuron[0])[None])
        self.sources = []
        for transformer, embed in ((self.own, model.quantizer.embed), (self.encoder, model.embed)):
            hidden = transformer.place[self.coming] + embed.bias
            transformer.enter(slice(transformer.before + self.coming.start, None), hidden)
            self.sources.append(LinearEntrance(transformer, self.known, embed))

    def _prepare_words(self) -> None:
        """Prepare the decoder."""
        quantizer, book = self.model.quantizer, self.model.book()
        self.nearest = FrozenLinear(book, -book.square().sum(-1) / 2)
        self.decoder = FrozenTransformer(quantizer.decoder, self.cells)
        self.said, self.chosen = (TableEntrance(self.decoder, which, book) for which in (self.known, self.coming))
        self.out = quantizer.out.weight.detach(), quantizer.out.bias.detach()[:, None]

    def __call__(self, batch: Batch) -> Float[Tensor, "1 horizon *space"]:
        """Forecast one window."""
        patches = self._patches(batch)
        for source in self.sources:
            source.enter(patches)
        if batch.stimulus is not None and self.model.stimulus is not None:
            self.encoder.enter(slice(1, 2), self.model.stimulus(batch.stimulus)[None])
        self.said.enter(self._codes(self.own(self.known)))
        self._choose(self.head(self.encoder(slice(-self.model.ahead, None))))
        return self._restored(self.decoder(self.coming))

    def _patches(self, batch: Batch) -> Float[Tensor, "patch cell sample"]:
        """Return the source, z-scored and cut, as a view."""
        model, source = self.model, self.model.source
        seen = model.cells.mask((batch.visible & batch.valid)[:, :source])
        z = model.cells.standardised(model.cells.gather(batch.x[:, :source]), seen)[:, 0]  # (time, cell)
        if not seen.all():
            t = batch.t[:, :source]
            z = hold(z[None], t, seen.transpose(0, 1), t)[0]
        missing = -source % model.config.patch
        padded = torch.cat([z[:1].expand(missing, -1), z]) if missing else z
        return padded.unflatten(0, (-1, model.config.patch)).transpose(1, 2)

    def _codes(self, tokens: Float[Tensor, "patch cell width"]) -> Int[Tensor, "patch cell"]:
        """Return the nearest vectors: argmin ‖z − e‖² = argmax z·e − ‖e‖² / 2."""
        codebook = self.model.quantizer.codebook
        if isinstance(codebook.table, FSQ):
            return codebook(tokens).codes
        return self.nearest(tokens).argmax(-1)

    def _choose(self, logits: Float[Tensor, "ahead cell code"]) -> None:
        if self.model.config.decoding == "soft":
            self.chosen.enter_means(logits.softmax(-1))
        else:
            self.chosen.enter(self.model.likeliest(logits))

    def _restored(self, tokens: Float[Tensor, "ahead cell width"]) -> Float[Tensor, "1 horizon *space"]:
        weight, bias = self.out
        z = (weight @ tokens.transpose(1, 2) + bias).flatten(0, 1)[: self.model.layout.horizon]  # (time, cell)
        cells = self.model.cells
        return cells.scatter((z * cells.scale[0] + cells.mean[0])[:, None])
