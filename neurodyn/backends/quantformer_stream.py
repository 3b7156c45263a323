"""QuantFormer's forecast of one window after another, on a processor and in time for an experiment."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from vector_quantize_pytorch import FSQ

from neurodyn.backends.batch import Batch
from neurodyn.backends.vocabulary import VocabularyModel
from neurodyn.nn.frozen import FrozenLinear, FrozenTransformer, LinearEntrance, TableEntrance
from neurodyn.nn.interpolation import hold


class Codes(NamedTuple):
    """How the codes of the horizon are found.

    Parameters
    ----------
    head
        From tokens to logits.
    book
        Vectors of the vocabulary, shape (code, width).
    likeliest
        From logits to codes; None where vectors are weighted by their probabilities instead.
    direct
        From tokens to patches that are added; None for none.
    gain
        Over the steps ahead of what is decoded; None for the identity.
    """

    head: nn.Linear
    book: Tensor
    likeliest: Callable[[Tensor], Tensor] | None
    direct: nn.Linear | None = None
    gain: Tensor | None = None


class StreamedQuantFormer:
    """The horizon of single windows of one recording: the function that the model's `forward` is, sooner.

    Each thread forecasts its own neurons from beginning to end, so that threads wait for each other but once.

    Parameters
    ----------
    model
        Trained; on a processor, without attention across neurons. Its weights are those of now.
    codes
        How those of the horizon are found.
    threads
        How many.
    """

    def __init__(self, model: VocabularyModel, codes: Codes, threads: int) -> None:
        self.model = model
        shares = [share for share in torch.arange(len(model.cells)).chunk(threads) if len(share)]
        self.spans = [slice(int(share[0]), int(share[-1]) + 1) for share in shares]
        with torch.no_grad():
            self.shares = [_Share(model, codes, span) for span in self.spans]
        self.pool = None
        if len(shares) > 1:
            self.pool = ThreadPoolExecutor(len(shares), initializer=torch.set_num_threads, initargs=(1,))
        silence = torch.zeros(model.patches - model.ahead, len(model.cells), model.config.patch)
        with _unhindered():
            self._forecast(silence, None)  # compiles now what would else be compiled when the first window has come

    def __call__(self, batch: Batch) -> Float[Tensor, "1 horizon *space"]:
        """Forecast one window."""
        cells = self.model.cells
        with _unhindered():
            offset = self.model.offset(batch)
            z = self._forecast(self._patches(batch, offset), batch.stimulus)[: self.model.layout.horizon]
            if offset is not None:
                z = z + offset[0, self.model.source :]
            return cells.scatter((z * cells.scale[0] + cells.mean[0])[:, None])

    def _patches(self, batch: Batch, offset: Float[Tensor, "1 time cell"] | None) -> Float[Tensor, "patch cell sample"]:
        """Return the source, z-scored, less its offset and cut, as a view where there is none."""
        model, source = self.model, self.model.source
        seen = model.cells.mask((batch.visible & batch.valid)[:, :source])
        z = model.cells.standardised(model.cells.gather(batch.x[:, :source]), seen)[:, 0]  # (time, cell)
        if not seen.all():
            t = batch.t[:, :source]
            z = hold(z[None], t, seen.transpose(0, 1), t)[0]
        if offset is not None:
            z = z - offset[0, :source]
        missing = -source % model.config.patch
        padded = torch.cat([z[:1].expand(missing, -1), z]) if missing else z
        return padded.unflatten(0, (-1, model.config.patch)).transpose(1, 2)

    def _forecast(
        self, patches: Float[Tensor, "patch cell sample"], stimulus: Float[Tensor, "1 code"] | None
    ) -> Float[Tensor, "time cell"]:
        work = [(share, patches[:, span], stimulus) for share, span in zip(self.shares, self.spans, strict=True)]
        if self.pool is None:
            return _computed(*work[0])
        return torch.cat(list(self.pool.map(lambda each: _computed(*each), work)), dim=1)


@contextlib.contextmanager
def _unhindered() -> Iterator[None]:
    """Have no threads but ours, and no memory filled that is about to be written.

    PyTorch's threads wait in a loop for more work, and so keep a processor from ours.
    """
    memory: Any = torch.utils.deterministic
    before, filling = torch.get_num_threads(), memory.fill_uninitialized_memory
    torch.set_num_threads(1)
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.set_num_threads(before)
        memory.fill_uninitialized_memory = filling


def _computed(share: _Share, patches: Tensor, stimulus: Tensor | None) -> Tensor:
    with torch.inference_mode():
        return share(patches, stimulus)


class _Share:
    """Some neurons.

    What does not depend on the window is computed here: what both encoders' first blocks make of the hidden horizon and of
    the neurons, and the decoder's of every code at every place.
    """

    def __init__(self, model: VocabularyModel, codes: Codes, span: slice) -> None:
        self.model, self.cells = model, span.stop - span.start
        self.likeliest = codes.likeliest
        self.gain = None if codes.gain is None else codes.gain.detach()
        self.known = slice(0, model.patches - model.ahead)
        self.coming = slice(model.patches - model.ahead, model.patches)
        self._prepare_source(model.neurons(model.neuron[0, span])[None])
        self._prepare_words(codes.book)
        self.head = FrozenLinear(codes.head.weight, codes.head.bias)
        self.direct = None if codes.direct is None else FrozenLinear(codes.direct.weight, codes.direct.bias)

    def _prepare_source(self, neurons: Float[Tensor, "1 cell width"]) -> None:
        """Prepare both encoders: of the source's own codes, and of those to come."""
        model, before = self.model, 1 + (self.model.stimulus is not None)
        self.own = FrozenTransformer(model.quantizer.encoder, self.cells)
        self.encoder = FrozenTransformer(model.encoder, self.cells, before)
        self.encoder.enter(slice(0, 1), neurons)
        self.sources = []
        for transformer, embed in ((self.own, model.quantizer.embed), (self.encoder, model.embed)):
            hidden = transformer.place[self.coming] + embed.bias
            transformer.enter(slice(transformer.before + self.coming.start, None), hidden)
            self.sources.append(LinearEntrance(transformer, self.known, embed))

    def _prepare_words(self, book: Float[Tensor, "code width"]) -> None:
        """Prepare the decoder."""
        quantizer = self.model.quantizer
        self.nearest = FrozenLinear(book, -book.square().sum(-1) / 2)
        self.decoder = FrozenTransformer(quantizer.decoder, self.cells)
        self.said, self.chosen = (TableEntrance(self.decoder, which, book) for which in (self.known, self.coming))
        self.out = quantizer.out.weight.detach(), quantizer.out.bias.detach()[:, None]

    def __call__(
        self, patches: Float[Tensor, "patch cell sample"], stimulus: Float[Tensor, "1 code"] | None
    ) -> Float[Tensor, "time cell"]:
        """Forecast from the source."""
        for source in self.sources:
            source.enter(patches)
        if stimulus is not None and self.model.stimulus is not None:
            self.encoder.enter(slice(1, 2), self.model.stimulus(stimulus)[None])
        self.said.enter(self._codes(self.own(self.known)))
        tokens = self.encoder(slice(-self.model.ahead, None))
        added = None if self.direct is None else self.direct(tokens).transpose(1, 2)
        self._choose(self.head(tokens))
        weight, bias = self.out
        steps = (weight @ self.decoder(self.coming).transpose(1, 2) + bias).flatten(0, 1)
        steps = steps if self.gain is None else self.gain @ steps
        return steps if added is None else steps + added.flatten(0, 1)

    def _codes(self, tokens: Float[Tensor, "patch cell width"]) -> Int[Tensor, "patch cell"]:
        """Return the nearest vectors: argmin ‖z − e‖² = argmax z·e − ‖e‖² / 2."""
        codebook = self.model.quantizer.codebook
        if isinstance(codebook.table, FSQ):
            return codebook(tokens).codes
        return self.nearest(tokens).argmax(-1)

    def _choose(self, logits: Float[Tensor, "ahead cell code"]) -> None:
        if self.likeliest is None:
            self.chosen.enter_means(logits.softmax(-1))
        else:
            self.chosen.enter(self.likeliest(logits))
