"""CaLFADS: latent dynamics behind calcium, by a variational ladder of two dynamical systems."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurodyn.backends.base import TRAINING_SEARCH, Backend
from neurodyn.backends.batch import Batch, Prediction
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.dynamics import CaLFADSConfig
from neurodyn.calcium.kinetics import fit_kinetics
from neurodyn.core.search import Range
from neurodyn.nn.cells import Cells, RunningMoments, Spread
from neurodyn.nn.dropout import Dropout
from neurodyn.nn.dynamics import Course, Dynamics, Noise, Posterior, linear
from neurodyn.nn.ladder import Rung, RungOutput
from neurodyn.nn.likelihoods import LOG_LIMIT, bounded
from neurodyn.nn.moments import moments
from neurodyn.nn.parts import normal
from neurodyn.nn.priors import NormalPrior
from neurodyn.nn.recurrent import Bidirectional

LOGGER = logging.getLogger(__name__)
SAMPLE_SEED = 0
LEAST_KL = 1.0
EMPTY = -3.0
LEAST_SHARE = 1e-3
WORST_FIT = 2.0


class _Encoded(NamedTuple):
    """What the encoders say of windows."""

    states: Tensor
    calcium: Tensor
    posterior: Posterior


class _Output(NamedTuple):
    """One sample of the posterior, time first."""

    deep: Course
    shallow: RungOutput
    log_rate: Tensor
    fluorescence: Tensor


class CaLFADS(Backend):
    """Latent dynamics behind calcium: a variational ladder autoencoder.

    Deep rung: `Dynamics` gives factors f(t), and rates λ(t) = exp(W_λ f(t) + b_λ) in Hz. Shallow rung: `Rung` infers
    spikes u(t) = max(exp(W_s [z(t), f(t)] + b_s) - 1, 0) that drive an autoregressive calcium c(t);
    fluorescence is N(gain d(c(t)), σ²) with a linear or a Hill dye d. The loss is

        -log p(x | c) + Σ (λdt - u log λdt + u) + KL(z) + kl (KL(g₀) + KL(inputs)) + ½ l2 ‖U‖²

    where the second term is the paper's approximate Poisson, which also keeps spikes sparse. Here the decay is
    exp(-dt/τ), as OASIS has it, not 1 - dt/τ; calcium, not spikes, is fed back to the controller; the deep encoder reads
    the data unless `stacked`; and the deep rung learns from the inferred spikes alone unless `coupled`: the error of
    the fluorescence, larger by orders of magnitude, otherwise drowns what it learns from them.

    Prince, Bakhtiari, Gillon & Richards, CaLFADS (2020), Algorithms 1 and 2, Eq. 15-24.
    """

    Config = CaLFADSConfig
    SEARCH = TRAINING_SEARCH | {
        "model.factors": Range(3, 32, log=True),
        "model.generator": Range(32, 256, log=True),
        "model.initial": Range(16, 128, log=True),
        "model.deep_encoder": Range(32, 256, log=True),
        "model.encoder": Range(16, 128, log=True),
        "model.latent": Range(16, 128, log=True),
        "model.dropout": Range(0.0, 0.5),
        "model.cell_dropout": Range(0.0, 0.5),
    }
    citation = (
        "Prince L.Y., Bakhtiari S., Gillon C.J., Richards B.A. (2021). Parallel inference of hierarchical latent dynamics "
        "in two-photon calcium imaging of neuronal populations. bioRxiv 2021.03.05.434105."
    )
    config: CaLFADSConfig
    tau: Tensor
    gain: Tensor
    noise: Tensor

    def __init__(self, config: CaLFADSConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self.cells = Cells(layout.brain)
        count = len(self.cells)
        self.encoder = Bidirectional(2 * count, config.encoder)
        self.dynamics = Dynamics(
            2 * config.encoder if config.stacked else 2 * count,
            config.deep_encoder,
            config.initial,
            config.generator,
            config.factors,
            config.inputs,
            config.deep_controller,
            config.dropout,
        )
        self.rung = Rung(2 * config.encoder, config.controller, config.latent, count, config.readout_scale)
        self.prior = NormalPrior(config.latent, learn_variance=True)
        self.drive = linear(config.factors, count)
        nn.init.normal_(self.drive.weight, std=config.readout_scale * config.factors**-0.5)
        self.rates = linear(config.factors, count)
        self.start = linear(2 * config.encoder, count) if config.initial_calcium == "inferred" else None
        if self.start is not None:
            nn.init.constant_(self.start.bias, EMPTY)
        self.dropout, self.cell_dropout = Dropout(config.dropout), Dropout(config.cell_dropout)
        for name in ("tau", "gain", "noise"):
            self.register_buffer(name, torch.ones(count))
        self.warm(None)

    def prepare(self, frames: Iterable[np.ndarray]) -> None:
        """Standardise the cells and estimate their kinetics, on training windows."""
        brain = self.layout.brain.ravel()
        windows = np.concatenate([chunk.reshape(*chunk.shape[:2], -1)[:, :, brain] for chunk in frames])
        _, mean, variance = moments([windows])
        self.cells.fit(mean, variance)
        kinetics = fit_kinetics(windows, self.layout.rate_hz, self.config.tau, self.config.gain)
        for name in ("tau", "gain", "noise"):
            getattr(self, name).copy_(torch.from_numpy(getattr(kinetics, name)))
        found = (kinetics.tau[0], np.median(kinetics.gain), np.median(kinetics.noise))
        LOGGER.info("Kinetics: tau %.3g s, one spike %.3g, noise %.3g (medians over cells).", *found)

    @property
    def decay(self) -> Float[Tensor, "2 cell"]:
        """Autoregressive coefficients of the calcium."""
        slow = torch.exp(-1 / (self.tau * self.layout.rate_hz))
        fast = math.exp(-1 / (self.config.rise * self.layout.rate_hz)) if self.config.rise else 0.0
        return torch.stack([slow + fast, -slow * fast])

    @property
    def warm_steps(self) -> int:
        """Steps until both rungs have their full weight."""
        return max(2 * self.config.warmup, self.config.freeze)

    def warm(self, step: int | None) -> None:
        """Let the divergence of the spikes grow first, then that of the deep dynamics and their penalty."""
        ramp, freeze = self.config.warmup, self.config.freeze
        done = math.inf if step is None else step / max(1, ramp)
        self.shallow_weight, self.deep_weight = min(1.0, done), min(1.0, max(0.0, done - 1))
        self.frozen = step is not None and step < freeze
        self.spread = Spread()

    def health(self, valid: dict[str, float], step: int) -> str | None:
        """Say whether the fluorescence was lost, or the deep dynamics carry nothing about single windows."""
        flat = 0.5 * self.layout.frames * float((self.cells.scale / self.noise).square().sum())
        if step >= self.warm_steps and valid["reconstruction"] > WORST_FIT * flat:
            return f"the fluorescence is {valid['reconstruction'] / flat:.1e} times as far off as each cell's mean"
        if step < 2 * self.warm_steps:
            return None
        carried = (valid["kl_initial"] + valid.get("kl_inputs", 0.0)) / self.config.kl
        if carried < LEAST_KL:
            return f"the deep dynamics carry {carried:.2f} nats per window"
        if self.spread.share < LEAST_SHARE:
            return f"the factors differ between windows by {self.spread.share:.1e} of their mean square"
        return None

    def forward(self, batch: Batch, *, attention: bool = False) -> Prediction:
        """Average samples of the posterior; the same noise serves every window."""
        x, _ = self._signals(batch)
        encoded, source = self._encode(x), torch.Generator().manual_seed(SAMPLE_SEED)
        kept = {name: RunningMoments() for name in ("factors", "inputs", "rates", "spikes", "fluorescence")}
        for _ in range(self.config.samples):
            out = self._sample(encoded, source, shared=True)
            drawn = (out.deep.factors, out.deep.inputs, out.log_rate.exp(), out.shallow.spikes, out.fluorescence)
            for moments_of, value in zip(kept.values(), drawn, strict=True):
                moments_of.add(value)
        spread = (kept["fluorescence"].variance + self.noise**2).sqrt()
        return Prediction(
            mean=self.cells.scatter(kept["fluorescence"].mean),
            std=self.cells.scatter(spread),
            latents=kept["factors"].mean.transpose(0, 1),
            inputs=kept["inputs"].mean.transpose(0, 1),
            rates=self.cells.scatter(kept["rates"].mean),
            spikes=self.cells.scatter(kept["spikes"].mean),
            spikes_std=self.cells.scatter(kept["spikes"].variance.sqrt()),
        )

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the parts of the negative evidence bound, nats per window."""
        x, valid = self._signals(batch)
        out = self._sample(self._encode(x), generator)
        if not self.training:
            self.spread.add(out.deep.factors.detach())
        target = self.cells.gather(batch.target)
        error = ((target - out.fluorescence) / self.noise).where(valid, 0.0) ** 2
        log_expected = out.log_rate - math.log(self.layout.rate_hz)
        spikes = out.shallow.spikes
        poisson = log_expected.exp() - spikes * log_expected + spikes
        deep = self.deep_weight
        parts = {
            "reconstruction": 0.5 * error.sum((0, 2)).mean(),
            "spikes": poisson.sum((0, 2)).mean(),
            "kl_spikes": self.shallow_weight * self.prior.kl(out.shallow.mean, out.shallow.logvar).sum((0, 2)).mean(),
            "kl_initial": deep * self.config.kl * out.deep.kl_initial.mean(),
            "kl_inputs": deep * self.config.kl * out.deep.kl_inputs.mean(),
            "l2": 0.5 * deep * self.config.l2 * self.dynamics.l2,
        }
        return parts if self.config.inputs else {name: value for name, value in parts.items() if name != "kl_inputs"}

    def _signals(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return what the encoders read, and the mask of what is data, time first.

        They read every cell, standardised, and what is new in it, x(t) - g x(t-1): a spike at once, not a ramp.
        """
        valid = self.cells.mask(batch.valid)
        seen = self.cells.mask(batch.visible) & valid
        x = self.cells.standardised(self.cells.gather(batch.x), seen)
        earlier = nn.functional.pad(x[:-1], (0, 0, 0, 0, 1, 0))
        new = (x - self.decay[0] * earlier).where(seen, 0.0)
        return torch.cat([x, new], dim=-1), valid

    def _encode(self, x: Tensor) -> _Encoded:
        config = self.config
        states, last = self.encoder(self.dropout(x))
        initial = x.new_zeros(x.shape[1], len(self.cells))
        if self.start is not None:
            initial = nn.functional.softplus(self.start(last))
        return _Encoded(states, initial, self.dynamics.infer(states if config.stacked else self._without_cells(x)))

    def _without_cells(self, x: Tensor) -> Tensor:
        """Hide whole cells from the deep encoders in training, others in every window."""
        if not self.training or not self.config.cell_dropout:
            return x
        keep = self.cell_dropout(x.new_ones(1, x.shape[1], len(self.cells)))
        return x * torch.cat([keep, keep], dim=-1)

    def _sample(self, encoded: _Encoded, source: torch.Generator, shared: bool = False) -> _Output:
        """Draw one sample of the posterior; `shared` noise is the same for every window."""
        frames, count, _ = encoded.states.shape
        config, device = self.config, encoded.states.device

        def noise(*shape: int) -> Tensor:
            """Draw on the CPU, whatever the device, with one row for all windows where it is shared."""
            if shared:
                return torch.randn(*shape[:-2], 1, shape[-1], generator=source).expand(shape).to(device)
            return normal(*shape, generator=source, along=len(shape) - 2).to(device)

        deep_noise = Noise(noise(count, config.initial), noise(frames, count, config.inputs))
        deep = self.dynamics.run(encoded.posterior, deep_noise, frames)
        if self.frozen:
            deep = Course(*(value.detach() for value in deep))
        drive = self.drive(deep.factors if config.coupled else deep.factors.detach())
        z_noise = noise(frames, count, config.latent)
        shallow = self.rung(self.dropout(encoded.states), drive, z_noise, self.decay, encoded.calcium)
        log_rate = bounded(self.rates(deep.factors), -LOG_LIMIT, LOG_LIMIT)
        return _Output(deep, shallow, log_rate, self.gain * self._dye(shallow.calcium))

    def _dye(self, calcium: Tensor) -> Tensor:
        if self.config.dye == "linear":
            return calcium
        power = calcium.clamp(min=1e-6) ** self.config.exponent
        return power / (1 + self.config.saturation * power)
