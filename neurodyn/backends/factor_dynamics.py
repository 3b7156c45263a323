"""Factor analysis whose factors are smoothed in time and corrected by a recurrent network."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from neurodyn.backends.base import TRAINING_SEARCH, Backend
from neurodyn.backends.batch import Batch, Prediction
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.dynamics import FactorDynamicsConfig
from neurodyn.core.search import Range
from neurodyn.metrics.factor_analysis import FactorAnalysis, standardised
from neurodyn.nn.cells import Cells
from neurodyn.nn.dropout import Dropout
from neurodyn.nn.likelihoods import LIKELIHOODS
from neurodyn.nn.parts import mean_where, uniform
from neurodyn.nn.recurrent import Bidirectional

LEAST_RATE = 1e-4


class FactorDynamics(Backend):
    r"""Factor analysis whose factors are smoothed in time and corrected by a recurrent network.

    With z the standardised cells that are seen, W their loadings and Ψ their noise, in every frame

        m(t) = (I + Wᵀ Ψ⁻¹ W)⁻¹ Wᵀ Ψ⁻¹ z(t)                     the exact posterior mean, whatever cells are hidden,
        f(t) = Σₛ Aₛ (gₛ * m)(t) + B h(t),  h = GRU(m)          the factors, gₛ Gaussians in time, the first a point,
        ẑ(t) = V f(t)

    Before training A₀ = I, the other Aₛ and B are 0 and V = W: the model is the factor analysis of the training frames
    (Everitt 1984). Everything is trained as a difference to that start, so that weight decay leads back to it, and the start
    is among the weights that validation chooses from. The loss is that of whole cells hidden throughout a window and told
    from the others, so that the factors hold what cells share. Labels play no part. Of counts the rate is
    r̄ log(1 + exp(x̂ / r̄)) with r̄ a cell's mean.

    Many have begun sequential models from linear ones; this one follows no single paper. The loss is that of co-smoothing,
    Macke et al. 2011, and of coordinated dropout, Keshtkaran & Sederberg 2019.
    """

    Config = FactorDynamicsConfig
    SEARCH = TRAINING_SEARCH | {
        "model.factors": Range(3, 40, log=True),
        "model.states": Range(16, 128, log=True),
        "model.dropout": Range(0.0, 0.5),
        "model.state_dropout": Range(0.0, 0.5),
    }
    citation = "Macke J.H., Buesing L., Cunningham J.P., et al. (2011). Empirical models of spiking in neural populations. NeurIPS 24."
    config: FactorDynamicsConfig
    loadings: Tensor
    log_noise: Tensor
    smoothers: Tensor

    def __init__(self, config: FactorDynamicsConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self.cells = Cells(layout.brain)
        count = len(self.cells)
        factors, scales = config.factors_of(count), len(config.scales)
        self.register_buffer("loadings", torch.zeros(count, factors))
        self.register_buffer("log_noise", torch.zeros(count))
        smoothers = [_smoother(layout.frames, scale * layout.rate_hz) for scale in (0.0, *config.scales)]
        self.register_buffer("smoothers", torch.from_numpy(np.stack(smoothers)).float(), persistent=False)
        self.read_in = nn.Parameter(torch.zeros(count, factors))
        self.read_out = nn.Parameter(torch.zeros(count, factors))
        self.noise = nn.Parameter(torch.zeros(count))
        self.kernels = nn.Parameter(torch.zeros(1 + scales, factors, factors))
        self.recurrent = Bidirectional(factors, config.states)
        self.correction = nn.Parameter(torch.zeros(2 * config.states, factors))
        self.dropout, self.state_dropout = Dropout(config.dropout), Dropout(config.state_dropout)

    @property
    def keeps_start(self) -> bool:
        """The factor analysis is among what validation chooses from."""
        return True

    def prepare(self, frames: Iterable[np.ndarray]) -> None:
        """Fit factor analysis to the training frames."""
        brain = self.layout.brain.ravel()
        chunks = [chunk.reshape(-1, brain.size)[:, brain] for chunk in frames]
        if self.config.likelihood == "poisson":
            for chunk in chunks:
                LIKELIHOODS["poisson"](len(self.cells)).check(chunk)
        values = np.concatenate(chunks)
        mean, scale, standard = standardised(values)
        found = FactorAnalysis.fit(np.where(np.isfinite(values), standard, np.nan), self.loadings.shape[1])
        self.cells.fit(mean, scale**2)
        self.loadings.copy_(torch.from_numpy(found.loadings))
        self.log_noise.copy_(torch.from_numpy(np.log(found.noise)))

    def forward(self, batch: Batch, *, attention: bool = False) -> Prediction:
        """Tell every cell from those that are seen; latents are the factors, of variance about 1."""
        seen = self.cells.mask(batch.visible & batch.valid)
        factors = self._factors(self.cells.standardised(self.cells.gather(batch.x), seen), seen)
        mean = self._expected(factors)
        counts = self.config.likelihood == "poisson"
        return Prediction(
            mean=self.cells.scatter(mean),
            latents=factors.transpose(0, 1),
            rates=self.cells.scatter(mean * self.layout.rate_hz) if counts else None,
        )

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the mean loss of entries of hidden cells: squared error in variances, or -log p of counts, nats."""
        valid = self.cells.mask(batch.valid)
        drawn = uniform(len(batch.x), len(self.cells), generator=generator).to(batch.x.device)
        kept = drawn >= self.config.hide
        seen = self.cells.mask(batch.visible) & valid & kept
        factors = self._factors(self.cells.standardised(self.cells.gather(batch.x), seen), seen)
        target = self.cells.gather(batch.target).where(valid, 0.0)
        if self.config.likelihood == "poisson":
            rate = self._expected(factors).clamp(min=LEAST_RATE)
            error = rate - target * rate.log() + torch.lgamma(target + 1)
        else:
            error = (self.cells.standardised(target, valid) - factors @ (self.loadings + self.read_out).T) ** 2
        return {"hidden": mean_where(error, valid & ~kept)}

    def _factors(
        self, z: Float[Tensor, "time batch cell"], seen: Bool[Tensor, "time batch cell"]
    ) -> Float[Tensor, "time batch factor"]:
        means = self.dropout(self._posterior(z, seen))
        smooth = torch.einsum("sut,tbk->subk", self.smoothers, means)
        kernels = self.kernels + F.pad(torch.eye(means.shape[2]).to(z)[None], (0, 0, 0, 0, 0, len(self.kernels) - 1))
        states, _ = self.recurrent(means)
        return torch.einsum("subk,skl->ubl", smooth, kernels) + self.state_dropout(states) @ self.correction

    def _posterior(
        self, z: Float[Tensor, "time batch cell"], seen: Bool[Tensor, "time batch cell"]
    ) -> Float[Tensor, "time batch factor"]:
        """Return the posterior means of factor analysis from the cells that are seen; z is 0 elsewhere."""
        loadings = self.loadings + self.read_in
        weighted = loadings * torch.exp(-(self.log_noise + self.noise))[:, None]
        masks = (
            seen[:1] if bool((seen == seen[:1]).all()) else seen
        )  # cells hidden throughout need one inverse a window
        products = (weighted[:, :, None] * loadings[:, None, :]).flatten(1)
        precision = (masks.to(z) @ products).unflatten(2, (loadings.shape[1], -1)) + torch.eye(loadings.shape[1]).to(z)
        covariance = torch.linalg.inv(precision)
        return (covariance @ (z @ weighted)[..., None])[..., 0]

    def _expected(self, factors: Float[Tensor, "time batch factor"]) -> Float[Tensor, "time batch cell"]:
        """Return the expected values, in the data's unit."""
        mean, scale = self.cells.mean[0], self.cells.scale[0]
        linear = mean + scale * (factors @ (self.loadings + self.read_out).T)
        if self.config.likelihood != "poisson":
            return linear
        level = mean.clamp(min=LEAST_RATE)
        return level * F.softplus(linear / level)


def _smoother(frames: int, width: float) -> np.ndarray:
    """Return the weights of a Gaussian mean within a window, shape (time, time); the identity where the width is 0."""
    if not width:
        return np.eye(frames)
    apart = np.subtract.outer(np.arange(frames), np.arange(frames))
    weights = np.exp(-(apart**2) / (2 * width**2))
    return weights / weights.sum(axis=1, keepdims=True)
