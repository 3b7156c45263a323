"""Every pixel of every frame, predicted without that pixel of that frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter
from torch import Tensor

from neurodyn.backends.base import Backend
from neurodyn.backends.batch import Batch, Prediction
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.blind_spot import BlindSpotConfig
from neurodyn.metrics.photon import StepNoise
from neurodyn.nn.blind import BINS, BlindNetwork
from neurodyn.nn.frames import Frames
from neurodyn.nn.parts import integers, mean_where
from neurodyn.nn.wiener import WienerComponents

CONTEXT = BINS[-1][-1]
TILE = 64  # pixels on a side of what the network sees at once; its answer does not depend on it
BLUR = 3.0  # pixels, standard deviation of the Gaussian through which errors are mapped
SURE = 1e-3  # least variance of the prediction's error, in units of the noise's


@dataclass(frozen=True)
class View:
    """One window in units of the noise.

    Parameters
    ----------
    maps
        z, what the components make of the single frame, and what is seen; shape (time, 3, height, width).
    own
        Blind estimates by the components: filtered in time, and of the single frame; shape (time, 2, height, width).
    """

    maps: Float[Tensor, "time map height width"]
    own: Float[Tensor, "time own height width"]


class BlindSpot(Backend):
    """Predicts every entry from the others of its frame and from other frames, never from itself.

    z = (x − m) / s, with m the mean of an entry and s the noise that its second differences show;
    ẑ = filtered components + a · network, each blind: `nn.wiener.WienerComponents`, `nn.blind.BlindNetwork`. The noise of an
    entry is independent of all it is predicted from, so the squared error of blind predictions of noisy data is that of the
    clean data plus a constant (Lehtinen et al. 2018, ICML; Krull et al. 2019, CVPR). a, in [0, 1], and the spread of the
    errors are those of the validation windows. Weights are of all training frames, as with every model.

    The mean of a prediction is `mean`; `std` is that of a new noisy value.
    """

    Config = BlindSpotConfig
    citation = "Krull A., Buchholz T.-O., Jug F. (2019). Noise2Void: learning denoising from single noisy images. CVPR 2129-2137."
    config: BlindSpotConfig
    share: Tensor
    error: Tensor

    def __init__(self, config: BlindSpotConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self.frames = Frames(layout.brain)
        self.components = WienerComponents(layout.brain, layout.frames, config.components, config.reach)
        kernel = config.kernel if len(layout.space) == 2 else 1
        self.network = BlindNetwork(3, 2, config.channels, config.width, kernel)
        self.register_buffer("share", torch.ones(()))
        self.register_buffer("error", torch.full((int(layout.brain.sum()),), SURE))

    def prepare(self, frames: Iterable[np.ndarray]) -> None:
        """Fit means, noise and components."""
        noise = StepNoise()
        for chunk in frames:
            for window in chunk:
                noise.add(window[:, self.layout.brain])
        variance = np.nan_to_num(noise.variance)
        self.frames.cells.fit(np.nan_to_num(noise.mean), variance)

        def chunks() -> Iterator[np.ndarray]:
            mean, scale = (values[0].cpu().numpy() for values in (self.frames.cells.mean, self.frames.cells.scale))
            for chunk in frames:
                yield np.nan_to_num((chunk[:, :, self.layout.brain] - mean) / scale).astype(np.float32)

        self.components.fit(chunks, self.config.smooth * self.layout.rate_hz)

    def forward(self, batch: Batch, *, attention: bool = False) -> Prediction:
        """Predict every entry."""
        seen = batch.visible & batch.valid
        z = torch.stack([self._predicted(*window) for window in zip(batch.x, seen, strict=True)])
        std = self.frames.scaled(self._laid_out((1 + self.error).sqrt()).expand_as(z))
        return Prediction(mean=self.frames.restored(z), std=std)

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the squared error of blind predictions in units of the noise, over a random stretch of every window."""
        seen = batch.visible & batch.valid
        drawn = integers(0, 2**31 - 1, len(batch.x), 3, generator=generator).tolist()
        pairs = [
            self._stretch(x, s, y, v, place)
            for x, s, y, v, place in zip(batch.x, seen, batch.target, batch.valid, drawn, strict=True)
        ]
        error, where = (torch.stack(parts) for parts in zip(*pairs, strict=True))
        return {"hidden": mean_where(error, where)}

    @torch.no_grad()
    def calibrate(self, batches: Iterable[Batch], generator: torch.Generator) -> None:
        """Fit how much of the network counts, then how large errors are."""
        self.share.fill_(1.0)
        products = torch.zeros(2, dtype=torch.float64)
        for batch in batches:
            for x, seen in zip(batch.x, batch.visible & batch.valid, strict=True):
                view = self._view(x[None], seen[None])
                added, left = self._tiled(view), view.maps[:, 0] - view.own[:, 0]
                known = view.maps[:, 2] > 0
                products += torch.stack([(added * left)[known].sum(), (added * added)[known].sum()]).double()
        self.share.fill_(float((products[0] / products[1].clamp(min=1e-12)).clamp(0, 1)))
        self.error.copy_(torch.from_numpy(self._errors(batches)).to(self.error))

    def _errors(self, batches: Iterable[Batch]) -> np.ndarray:
        """Return the variance of errors beyond that of the noise, in its units, blurred over neighbours, shape (entry,)."""
        square = count = torch.zeros(())
        for batch in batches:
            for x, seen in zip(batch.x, batch.visible & batch.valid, strict=True):
                view = self._view(x[None], seen[None])
                known = view.maps[:, 2] > 0
                wrong = (view.maps[:, 0] - view.own[:, 0] - self.share * self._tiled(view)).where(known, 0.0)
                square, count = square + wrong.square().sum(0), count + known.sum(0)
        excess = ((square / count.clamp(min=1) - 1) * (count > 0)).numpy().astype(np.float64)
        inside = self.layout.brain.reshape(excess.shape).astype(np.float64)
        sigma = BLUR if self.layout.brain.ndim == 2 else 0.0
        weight = gaussian_filter(inside, sigma) if sigma else inside
        mapped = (gaussian_filter(excess * inside, sigma) if sigma else excess) / np.maximum(weight, 1e-6)
        return np.maximum(mapped, SURE)[inside > 0]

    def _view(self, x: Float[Tensor, "1 time *space"], seen: Bool[Tensor, "1 time *space"]) -> View:
        z = self.frames.standardised(x, seen)[0]
        inside = self.frames.inside
        known = self.frames.mask(seen)[0]
        entries, mask = z[:, inside], known[:, inside]
        scores, blind = self.components.scores(entries, mask)
        courses = self.components.courses(scores, blind, mask.any(1))
        single = scores @ self.components.maps
        filtered, alone = (self.components.spread_out(each) for each in (courses, blind))
        laid = [self._laid_out(each) for each in (single, filtered, alone)]
        return View(torch.stack([z, laid[0], known.to(z)], 1), torch.stack(laid[1:], 1))

    def _laid_out(self, entries: Float[Tensor, "*time entry"]) -> Float[Tensor, "*time height width"]:
        out = entries.new_zeros(*entries.shape[:-1], self.frames.inside.numel())
        out[..., self.frames.inside.flatten()] = entries
        return out.unflatten(-1, self.frames.shape)

    def _predicted(self, x: Tensor, seen: Tensor) -> Float[Tensor, "time height width"]:
        view = self._view(x[None], seen[None])
        return view.own[:, 0] + self.share * self._tiled(view)

    def _tiled(self, view: View) -> Float[Tensor, "time height width"]:
        """Run the network tile by tile, each with all around it that its answer depends on: no border can be seen."""
        height, width = view.maps.shape[-2:]
        out = view.maps.new_zeros(len(view.maps), height, width)
        for y in range(0, height, TILE):
            for x in range(0, width, TILE):
                outer, inner, place = self._square((y, x), TILE)
                out[place] = self.network(view.maps[outer], view.own[outer])[inner]
        return out

    def _square(
        self, corner: tuple[int, int], side: int
    ) -> tuple[tuple[slice, ...], tuple[slice, ...], tuple[slice, ...]]:
        """Return a square with its halo in maps, without it in what comes of these, and its place in the frame."""
        outer, inner, place = [slice(None)] * 2, [slice(None)], [slice(None)]
        for begin, length in zip(corner, self.frames.shape, strict=True):
            stop = min(begin + side, length)
            first = max(0, begin - self.network.halo)
            outer.append(slice(first, stop + self.network.halo))
            inner.append(slice(begin - first, stop - first))
            place.append(slice(begin, stop))
        return tuple(outer), tuple(inner), tuple(place)

    def _stretch(
        self, x: Tensor, seen: Tensor, target: Tensor, valid: Tensor, drawn: list[int]
    ) -> tuple[Tensor, Tensor]:
        """Return squared errors and where they count, on a square of some frames of a window, chosen by three numbers."""
        with torch.no_grad():
            view = self._view(x[None], seen[None])
            wanted, known = self.frames.standardised(target[None], valid[None])[0], self.frames.mask(valid[None])[0]
        time, height, width = len(x), *view.maps.shape[-2:]
        length, sides = min(self.config.stretch, time), [min(self.config.patch, side) for side in (height, width)]
        start, *corner = (
            number % (whole - part + 1)
            for number, whole, part in zip(drawn, (time, height, width), (length, *sides), strict=True)
        )
        outer, inner, place = self._square((corner[0], corner[1]), self.config.patch)
        first = max(0, start - CONTEXT)
        near, asked = slice(first, start + length + CONTEXT), slice(start - first, start - first + length)
        given = self.network(view.maps[near][outer], view.own[near][outer])[inner][asked]
        when = slice(start, start + length)
        error = (view.own[when, 0][place] + given - wanted[when][place]).square()
        return error, known[when][place]
