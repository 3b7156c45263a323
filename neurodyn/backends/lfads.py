"""LFADS: latent factor analysis via dynamical systems, for counts, events and fluorescence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neurodyn.backends.base import TRAINING_SEARCH, Backend
from neurodyn.backends.batch import Batch, Prediction
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.dynamics import LFADSConfig
from neurodyn.core.search import Choice, Range
from neurodyn.nn.cells import Cells, RunningMoments, Spread
from neurodyn.nn.dynamics import Dynamics, Noise
from neurodyn.nn.likelihoods import LIKELIHOODS, Likelihood
from neurodyn.nn.moments import moments
from neurodyn.nn.parts import normal, uniform
from neurodyn.nn.sessions import SessionLinear, shared_components

SAMPLE_SEED = 0
ROWS_AT_ONCE = 256
LEAST_KL = 1.0
LEAST_SHARE = 1e-3
LEAST_MEAN = 1e-4
LOG_LINKS = ("poisson", "gaussian_exp")


class LFADS(Backend):
    """Latent factor analysis via dynamical systems: a sequential variational autoencoder.

    `Dynamics` infers an initial state and inputs, and gives factors f(t); p(x(t) | f(t)) is a `Likelihood` whose
    parameters are W f(t) + b. The loss is the negative evidence bound

        -Σ log p(x | f) + kl (KL(initial state) + KL(inputs)) + ½ l2 ‖U‖²

    with the last three growing during `warmup`. Entries that are not valid are 0 to the encoders and enter no loss
    (Zhu et al. 2022). With coordinated dropout the encoders miss some entries, and gradients come through these
    alone (Keshtkaran & Sederberg 2019), scaled so that they expect those of all. Several sessions have linear maps of
    their own from and to their cells, which start as `shared_components`. `gaussian` is of standardised data; the
    other likelihoods are of the data as they are.

    Pandarinath et al., Nat Methods 15, 805 (2018), with the priors and the generator as in `Dynamics`.
    """

    Config = LFADSConfig
    SEARCH = TRAINING_SEARCH | {
        "model.factors": Range(3, 32, log=True),
        "model.generator": Range(32, 256, log=True),
        "model.initial": Range(16, 128, log=True),
        "model.encoder": Range(32, 256, log=True),
        "model.dropout": Range(0.0, 0.5),
        "model.coordinated_dropout": Choice((0.0, 0.2, 0.3, 0.5)),
    }
    citation = (
        "Pandarinath C., O'Shea D.J., Collins J., et al. (2018). Inferring single-trial neural population dynamics using "
        "sequential auto-encoders. Nat. Methods 15:805."
    )
    config: LFADSConfig

    def __init__(self, config: LFADSConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        sessions = max(1, len(layout.sessions))
        self.cells = Cells(layout.brain, sessions)
        count = len(self.cells)
        width = count if sessions == 1 else config.read_in or config.factors
        self.likelihood = _likelihood(config, count)
        self.read_in = SessionLinear(sessions, count, width) if sessions > 1 else None
        self.dynamics = Dynamics(
            width,
            config.encoder,
            config.initial,
            config.generator,
            config.factors,
            config.inputs,
            config.controller,
            config.dropout,
        )
        self.read_out = SessionLinear(sessions, config.factors, count * self.likelihood.parameters_per_cell)
        with torch.no_grad():  # spread and shape of every density begin alike in all windows
            self.read_out.weight.unflatten(2, (count, -1))[..., 1:] = 0.0
        self.encoded = config.frames_encoded(layout)
        self.warm(None)

    def prepare(self, frames: Iterable[np.ndarray]) -> None:
        """Standardise the cells and start the read-out at their means, on training windows."""
        self.prepare_sessions((0, chunk) for chunk in frames)

    def prepare_sessions(self, frames: Iterable[tuple[int, np.ndarray]]) -> None:
        """Standardise every session's cells, start its read-out at their means, and its maps at shared components."""
        standardised: dict[int, np.ndarray] = {}
        for session, chunks in groupby(frames, key=lambda item: item[0]):
            known = self._checked(chunk for _, chunk in chunks)
            if self.read_in is not None:
                known = [np.concatenate(list(known))]
            _, mean, variance = moments(known)
            self.cells.fit(mean, variance, session)
            self._start_at_mean(session, mean, variance)
            if isinstance(known, list):
                scale = np.where(variance > 0, np.sqrt(variance), 1.0)
                standardised[session] = np.nan_to_num((known[0] - mean) / scale).astype(np.float32)
        if standardised:
            self._start_at_components(standardised)

    def _checked(self, chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the entries that are data, shape (window, time, cell)."""
        brain = self.layout.brain.ravel()
        for chunk in chunks:
            windows = chunk.reshape(*chunk.shape[:2], -1)
            windows = windows[:, :, brain[: windows.shape[2]]]
            self.likelihood.check(windows)
            yield windows

    @torch.no_grad()
    def _start_at_mean(self, session: int, mean: np.ndarray, variance: np.ndarray) -> None:
        """Let a density with a log link begin at the mean of each cell; `gaussian` does by itself."""
        if self.config.likelihood in LOG_LINKS:
            least = np.maximum(LEAST_MEAN, LEAST_MEAN * np.sqrt(variance))
            self.read_out.bias[session, : len(mean)] = torch.from_numpy(np.log(np.maximum(mean, least))).float()

    @torch.no_grad()
    def _start_at_components(self, standardised: dict[int, np.ndarray]) -> None:
        """Start the maps of the sessions, in and out, at components that they share."""
        if self.read_in is None:
            raise TypeError("one session has no map of its own")
        found = shared_components(list(standardised.values()), self.read_in.weight.shape[2])
        parameters = self.likelihood.parameters_per_cell
        rows = min(self.config.factors, found[0].shape[1])
        for session, weights in zip(standardised, found, strict=True):
            cells = len(weights)
            self.read_in.weight[session] = 0.0
            self.read_in.weight[session, :cells] = torch.from_numpy(weights).float()
            back = torch.from_numpy(np.linalg.pinv(weights)[:rows]).float() * self._slope(session, cells)
            self.read_out.weight[session, :rows, : cells * parameters : parameters] = back

    def _slope(self, session: int, cells: int) -> Tensor:
        """Return by how much a density's first parameter moves, to first order, with the standardised datum."""
        if self.config.likelihood not in LOG_LINKS:
            return torch.ones(cells)
        return (self.cells.scale[session, :cells] / self.read_out.bias[session, :cells].exp()).clamp(max=1.0)

    @property
    def tells_cells(self) -> bool:
        """Whether hidden cells are told from the others; where encoders see a window's beginning alone, that is a forecast."""
        return self.encoded == self.layout.frames

    @property
    def warm_steps(self) -> int:
        """Steps until divergences and penalty have their full weight."""
        return self.config.warmup

    def warm(self, step: int | None) -> None:
        """Let divergences and penalty grow from 0; forget what validation saw of the factors."""
        self.weight = 1.0 if step is None else min(1.0, step / max(1, self.config.warmup))
        self.spread = Spread()

    def health(self, valid: dict[str, float], step: int) -> str | None:
        """Say whether the dynamics carry nothing about single windows."""
        if step < 2 * self.warm_steps:
            return None
        carried = (valid["kl_initial"] + valid.get("kl_inputs", 0.0)) / self.config.kl
        if carried < LEAST_KL:
            return f"the dynamics carry {carried:.2f} nats per window"
        if self.spread.share < LEAST_SHARE:
            return f"the factors differ between windows by {self.spread.share:.1e} of their mean square"
        return None

    def forward(self, batch: Batch, *, attention: bool = False) -> Prediction:
        """Average samples of the posterior, rates rather than their logs; the same noise serves every window."""
        frames, count = batch.x.shape[1], len(batch.x)
        posterior = self.dynamics.infer(self._read(self._signals(batch)[0], batch))
        mean, variance, factors, inputs = (RunningMoments() for _ in range(4))
        for copies, noise in self._shared_noise(batch):
            course = self.dynamics.run(posterior.repeated(copies), noise, frames)
            for drawn, given in zip(course.factors.split(count, 1), course.inputs.split(count, 1), strict=True):
                expected, sd = self._moments(drawn, batch)
                for kept, value in zip((mean, variance, factors, inputs), (expected, sd**2, drawn, given), strict=True):
                    kept.add(value)
        # The paper of the baseline `gaussian_exp` reads its output as rates, up to a factor.
        rates = mean.mean * self.layout.rate_hz if self.config.likelihood in LOG_LINKS else None
        return Prediction(
            mean=self.cells.scatter(mean.mean),
            std=self.cells.scatter((variance.mean + mean.variance).sqrt()),
            latents=factors.mean.transpose(0, 1),
            inputs=inputs.mean.transpose(0, 1),
            rates=None if rates is None else self.cells.scatter(rates),
        )

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the parts of the negative evidence bound, nats per window."""
        x, valid = self._signals(batch)
        x, weight = self._coordinated(x, len(valid), generator)
        noise = self._noise(len(batch.x), generator, x)
        course = self.dynamics(self._read(x, batch), noise, len(valid))
        if not self.training:
            self.spread.add(course.factors.detach())
        nll = self._nll(course.factors, batch, valid)
        nll = nll.detach() + weight * (nll - nll.detach())
        penalty = 0.5 * self.config.l2 * self.dynamics.l2 + self.likelihood.penalty()
        divergence = self.weight * self.config.kl
        parts = {
            "reconstruction": nll.sum((0, 2)).mean(),
            "kl_initial": divergence * course.kl_initial.mean(),
            "kl_inputs": divergence * course.kl_inputs.mean(),
            "l2": self.weight * penalty,
        }
        return parts if self.config.inputs else {name: value for name, value in parts.items() if name != "kl_inputs"}

    def _signals(self, batch: Batch) -> tuple[Float[Tensor, "seen batch cell"], Bool[Tensor, "time batch cell"]]:
        """Return what the encoders see, standardised, and the mask of what is data, time first."""
        valid = self.cells.mask(batch.valid)
        seen = self.cells.mask(batch.visible) & valid
        x = self.cells.standardised(self.cells.gather(batch.x), seen, self._session(batch))
        return x[: self.encoded], valid

    def _session(self, batch: Batch) -> Tensor | None:
        return None if self.read_in is None else batch.session

    def _read(self, x: Float[Tensor, "seen batch cell"], batch: Batch) -> Float[Tensor, "seen batch signal"]:
        return x if self.read_in is None else self.read_in(x, batch.session)

    def _coordinated(
        self, x: Float[Tensor, "seen batch cell"], frames: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "seen batch cell"], Float[Tensor, "time batch cell"] | float]:
        """Hide entries from the encoders; return x without them, and each entry's weight in the gradient."""
        rate, passing = self.config.coordinated_dropout, self.config.pass_rate
        if not self.training or not rate:
            return x, 1.0
        kept, passed = uniform(2, *x.shape, generator=generator, along=2).to(x.device)
        kept = (kept >= rate).to(x)
        weight = torch.maximum(1 - kept, (passed < passing).to(x)) / (rate + (1 - rate) * passing)
        later = weight.new_ones(frames - len(x), *x.shape[1:])  # what the encoders never see trains as it is
        return x * kept / (1 - rate), torch.cat([weight, later])

    def _noise(self, count: int, generator: torch.Generator, like: Tensor) -> Noise:
        initial = normal(count, self.config.initial, generator=generator)
        inputs = normal(self.encoded, count, self.config.inputs, generator=generator, along=1)
        return Noise(initial.to(like.device), inputs.to(like.device))

    def _shared_noise(self, batch: Batch) -> Iterator[tuple[int, Noise]]:
        """Yield how many samples to take at once, and their noise, the same for every window."""
        source, count = torch.Generator().manual_seed(SAMPLE_SEED), len(batch.x)
        at_once = max(1, ROWS_AT_ONCE // count)
        for first in range(0, self.config.samples, at_once):
            drawn = [self._noise(1, source, batch.x) for _ in range(min(at_once, self.config.samples - first))]
            initial = torch.cat([noise.initial for noise in drawn]).repeat_interleave(count, dim=0)
            inputs = torch.cat([noise.inputs for noise in drawn], dim=1).repeat_interleave(count, dim=1)
            yield len(drawn), Noise(initial, inputs)

    def _raw(self, factors: Float[Tensor, "time batch factor"], batch: Batch) -> Tensor:
        return self.read_out(factors, batch.session).unflatten(2, (len(self.cells), -1))

    def _nll(
        self, factors: Float[Tensor, "time batch factor"], batch: Batch, valid: Tensor
    ) -> Float[Tensor, "time batch cell"]:
        """Return -log p of every entry, nats; 0 where there is none."""
        target = self.cells.gather(batch.target).where(valid, 0.0)
        nll = torch.zeros(())
        if self.config.likelihood == "gaussian":
            target = self.cells.standardised(target, valid, self._session(batch))
            nll = self._scale(batch).log()
        return (nll + self.likelihood.nll(self._raw(factors, batch), target)).where(valid, 0.0)

    def _moments(self, factors: Float[Tensor, "time batch factor"], batch: Batch) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of every entry, in the data's unit."""
        raw = self._raw(factors, batch)
        mean, sd = self.likelihood.mean(raw), self.likelihood.std(raw)
        if self.config.likelihood != "gaussian":
            return mean, sd
        scale = self._scale(batch)
        offset = self.cells.mean[0] if self.read_in is None else self.cells.mean[batch.session]
        return offset + scale * mean, scale * sd

    def _scale(self, batch: Batch) -> Tensor:
        return self.cells.scale[0] if self.read_in is None else self.cells.scale[batch.session]


def _likelihood(config: LFADSConfig, cells: int) -> Likelihood:
    options: dict[str, float] = {"variance": config.variance} if config.likelihood == "gaussian_exp" else {}
    if config.loc is not None:
        options["loc"] = config.loc
    return LIKELIHOODS[config.likelihood](cells, **options)
