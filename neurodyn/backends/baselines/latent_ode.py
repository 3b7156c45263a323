"""LatentODE: a smooth latent trajectory from one inferred initial state."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurodyn.backends.base import TRAINING_SEARCH
from neurodyn.backends.baselines.whole_window import ContinuousWindow, Estimate, Given
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.movies import LatentODEConfig
from neurodyn.core.search import Range
from neurodyn.nn.components import principal_components
from neurodyn.nn.parts import normal

Solver = Callable[..., Tensor]


class LatentODE(ContinuousWindow):
    """A variational autoencoder whose latents follow an ordinary differential equation.

    q(z₀ | x) = N(μ, σ²) from a gated recurrent network that reads the window backwards;  dz/dt = f(z),  p(z₀) = N(0, 1);
    x̂(t) = m + V S d(z(t)), with m, V, S mean, axes and standard deviations of the training frames' principal components.
    Loss: mean squared errors plus 2 s² / (components × frames) KL(q ‖ p), which is the negative evidence bound of
    observations with noise s. Predictions follow from μ. Latents: μ beside z(t).

    Rubanova, Chen & Duvenaud 2019, Latent ODEs for irregularly-sampled time series, NeurIPS.
    """

    Config = LatentODEConfig
    SEARCH = TRAINING_SEARCH | {
        "model.latent": Range(2, 16, log=True),
        "model.dynamics": Range(16, 128, log=True),
        "model.encoder": Range(16, 128, log=True),
        "model.decoder": Range(16, 128, log=True),
        "model.observation_noise": Range(0.01, 1.0, log=True),
    }
    IMAGE = False
    citation = (
        "Rubanova Y., Chen R.T.Q., Duvenaud D. (2019). Latent ODEs for irregularly-sampled time series. NeurIPS 32."
    )
    config: LatentODEConfig
    axes: Tensor
    spread: Tensor

    def __init__(self, config: LatentODEConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        from torchdiffeq import odeint

        self.solve = cast("Solver", odeint)
        entries = self.frames.shape[0]
        components, latent = min(config.components, entries), config.latent
        self.register_buffer("axes", torch.zeros(components, entries))
        self.register_buffer("spread", torch.ones(components))
        self.recognise = nn.GRU(components + 2, config.encoder, config.encoder_layers, batch_first=True)
        self.initial = nn.Linear(config.encoder, 2 * latent)
        inner = [config.dynamics] * (config.dynamics_layers - 1)
        self.field = _perceptron([latent, *inner, latent])
        self.decode = _perceptron([latent, config.decoder, components])

    def prepare(self, frames: Iterable[np.ndarray]) -> None:
        """Fit the principal components; the unit of the errors is the entries' mean variance along them."""
        brain = self.layout.brain
        flat = (chunk.reshape(-1, *brain.shape)[:, brain] for chunk in frames)
        mean, axes, variance = principal_components(flat, len(self.axes))
        unit = variance.sum() / mean.size or 1.0
        self.frames.cells.fit(mean, np.full_like(mean, unit))
        self.axes[: len(axes)].copy_(torch.from_numpy(axes))
        self.spread[: len(axes)].copy_(torch.from_numpy(np.sqrt(np.where(variance > 0, variance / unit, 1.0))))

    def _estimate(self, given: Given, generator: torch.Generator | None) -> Estimate:
        mean, log_sd = self._initial(given).chunk(2, dim=-1)
        start = mean
        if generator is not None:
            start = mean + log_sd.exp() * normal(*mean.shape, generator=generator).to(mean)
        path = self.course(start, given.asked)
        frames = (self.decode(path) * self.spread) @ self.axes
        latents = torch.cat([mean[:, None].expand(-1, path.shape[1], -1), path], dim=-1)
        return Estimate(frames, latents, self._divergence(mean, log_sd, given.t.shape[1]))

    def course(
        self, start: Float[Tensor, "batch latent"], times: Float[Tensor, "batch query"]
    ) -> Float[Tensor, "batch query latent"]:
        """Integrate from the window's first frame; between the integrator's nodes runs a cubic that shares their slopes.

        The nodes are the same for every sample and every question. Before the first frame the initial state holds.

        Parameters
        ----------
        times
            On [0, 1] from the first frame to the end of a regular window, in any order.
        """
        step = 1 / (self.config.substeps * (self.layout.frames - 1))
        place = times.clamp(min=0) / step
        count = max(1, math.ceil(place.max().item()))
        nodes = step * torch.arange(count + 1, device=times.device, dtype=times.dtype)
        path = self.solve(lambda _, z: self.field(z), start, nodes, method=self.config.solver).transpose(0, 1)
        before = place.floor().long().clamp(max=count - 1)
        return _hermite(path, step * self.field(path), before, place - before)

    def _initial(self, given: Given) -> Float[Tensor, "batch moment"]:
        scores = given.values @ self.axes.T / self.spread
        share = given.seen.to(scores).mean(-1, keepdim=True)
        read = torch.cat([scores, share, given.t[..., None]], dim=-1)
        return self.initial(self.recognise(read.flip(1))[0][:, -1])

    def _divergence(
        self, mean: Float[Tensor, "batch latent"], log_sd: Float[Tensor, "batch latent"], frames: int
    ) -> dict[str, Tensor]:
        if not self.config.observation_noise:
            return {}
        weight = 2 * self.config.observation_noise**2 / (len(self.axes) * frames)
        nats = 0.5 * (mean**2 + (2 * log_sd).exp() - 1) - log_sd
        return {"kl": weight * nats.sum(-1).mean()}


def _perceptron(sizes: list[int]) -> nn.Sequential:
    """Stack linear maps with tanh between them."""
    layers: list[nn.Module] = [nn.Linear(sizes[0], sizes[1])]
    for inputs, outputs in zip(sizes[1:], sizes[2:], strict=False):
        layers += [nn.Tanh(), nn.Linear(inputs, outputs)]
    return nn.Sequential(*layers)


def _hermite(
    path: Float[Tensor, "batch node latent"],
    slope: Float[Tensor, "batch node latent"],
    before: Tensor,
    u: Float[Tensor, "batch query"],
) -> Float[Tensor, "batch query latent"]:
    """Return the cubic through neighbouring nodes that has their slopes (per step), at u steps after the former."""
    index = before[..., None].expand(-1, -1, path.shape[-1])
    (y0, y1), (m0, m1) = ((some.gather(1, index), some.gather(1, index + 1)) for some in (path, slope))
    u = u[..., None]
    rest = 1 - u
    return (1 + 2 * u) * rest**2 * y0 + u * rest**2 * m0 + u**2 * (3 - 2 * u) * y1 - u**2 * rest * m1
