"""AtmoRep: several signals at once, each guessed from what is seen of all, with an ensemble that says how surely."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from neurodyn.backends.base import TRAINING_SEARCH, Backend
from neurodyn.backends.batch import Batch, Prediction
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.atmorep import AtmoRepConfig
from neurodyn.core.errors import ConfigError
from neurodyn.core.search import Choice, Range
from neurodyn.nn.ensemble import ensemble_crps_gaussian, fair_crps, kernel_crps, statistical_loss
from neurodyn.nn.fields import Given, TokenField
from neurodyn.nn.multiformer import Multiformer
from neurodyn.nn.parts import mean_where
from neurodyn.nn.token_masks import Masked, Masking, choose_mode, disturbed

LOSSES = {
    "crps": kernel_crps,
    "crps_fair": fair_crps,
    "crps_gaussian": ensemble_crps_gaussian,
    "statistical": statistical_loss,
}
NEW_COUPLING = 0.01


@dataclass(frozen=True)
class Answers:
    """Every field's members, z-scored, (batch, member, time, site, pixel), and what the encoder leaves of each."""

    members: dict[str, Tensor]
    encoded: dict[str, Tensor]


class AtmoRep(Backend):
    """Several signals as tokens of space and time, each guessed by an ensemble from what is seen of all.

    Every signal is a field with tokens of its own size (`nn.fields.TokenField`); a multiformer lets tokens look at their own
    field and at others (`nn.multiformer.Multiformer`); independent linear heads y_e, e = 1 … E, answer for every entry:

        mean = Σ_e y_e / E,  std = c √(Σ_e (y_e − mean)² / (E − 1)),  c² = ⟨(x − mean)²⟩ / ⟨(1 + 1/E) s²⟩

    with c found for each field on hidden entries of the validation windows (1 before), and the members drawn out from
    their mean by it. In training, tokens are hidden or spoiled at random, or those of a stretch of time, of one field,
    blocks or single frames are hidden; loss: a score of the ensemble on what was chosen or not visible, and a little of it on the
    rest. Latents: the main field's encoder tokens averaged over places, one for all frames of a token.

    Lessig et al. 2023, AtmoRep, arXiv:2308.13280. Beyond the paper: answers as corrections of an estimate that needs no
    network, masks of what is visible as input, Fourier positions, the CRPS, calibration, and training on
    tokens that are seen in part (blocks, single frames).
    """

    Config = AtmoRepConfig
    SEARCH = TRAINING_SEARCH | {
        "model.width": Choice((32, 64, 128)),
        "model.layers": Range(1, 6),
        "model.decoder_layers": Range(1, 4),
        "model.heads": Choice((2, 4, 8)),
        "model.dropout": Range(0.0, 0.3),
    }
    citation = (
        "Lessig C. et al. (2023). AtmoRep: a stochastic model of atmosphere dynamics using large scale representation "
        "learning. arXiv:2308.13280."
    )
    config: AtmoRepConfig

    def __init__(self, config: AtmoRepConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self.names = (layout.variable, *(other.name for other in layout.others))
        brains = (layout.brain, *(other.brain for other in layout.others))
        made = {_key(name): self._field(name, brain) for name, brain in zip(self.names, brains, strict=True)}
        self.fields = nn.ModuleDict(made)
        self.network = Multiformer(
            self._partners(), config.width, config.heads, config.layers, config.decoder_layers, config.dropout
        )
        self.masking = Masking(
            config.ratio, config.zero, config.noise, config.coarsen, config.synced, config.ahead, config.hide
        )

    def field(self, name: str) -> TokenField:
        """Return the field of a signal."""
        found = self.fields[_key(name)]
        if not isinstance(found, TokenField):
            raise TypeError(type(found).__name__)
        return found

    def prepare(self, frames: Iterable[np.ndarray]) -> None:
        """Fit the main field's unit and components."""
        self.field(self.names[0]).fit(frames, self.config.normalise)

    def prepare_batches(self, batches: Iterable[Batch]) -> None:
        """Fit those of the other fields; goes through the batches anew for each."""
        for place, name in enumerate(self.names[1:], start=1):
            self.field(name).fit(_Frames(batches, place), self.config.normalise)

    def forward(self, batch: Batch, *, attention: bool = False) -> Prediction:
        """Predict every frame of every field."""
        answers = self._answers(self._given(batch), batch)
        main, *others = (self._prediction(name, answers.members[name]) for name in self.names)
        grid = self.field(self.names[0]).grid
        tokens = answers.encoded[self.names[0]].unflatten(1, (grid.steps, -1)).mean(2, keepdim=True)
        latents = tokens.repeat_interleave(grid.depth, dim=1)[:, : grid.frames, 0]
        told = {"latents": latents, "others": tuple(others) or None}
        return Prediction(main.mean, main.std, members=main.members, **told)

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return `masked` and `visible` for the main field, `masked_NAME` and `visible_NAME` for others, in z-scored units."""
        mode = choose_mode(self.config.modes, generator)
        masks = self._masks(mode, batch, generator)
        given = self._given(batch)
        answers = self._answers(self._shown(given, masks, generator), batch)
        parts: dict[str, Tensor] = {}
        for name in self.names:
            target, valid = self._target(name, batch)
            error = LOSSES[self.config.loss](answers.members[name], target)
            chosen = masks[name].chosen.to(valid.device)
            asked, weight = valid & (chosen | ~given[name].seen), self.config.weights.get(name, 1.0)
            ending = "" if name == self.names[0] else f"_{name}"
            parts[f"masked{ending}"] = weight * mean_where(error, asked)
            parts[f"visible{ending}"] = weight * self.config.visible_weight * mean_where(error, valid & ~asked)
        return parts

    @torch.no_grad()
    def calibrate(self, batches: Iterable[Batch], generator: torch.Generator) -> None:
        """Fit every field's factor, so that spread matches skill where training would hide, each mode as often as it does."""
        error, spread = dict.fromkeys(self.names, 0.0), dict.fromkeys(self.names, 0.0)
        modes = sorted((mode, chance) for mode, chance in self.config.modes.items() if chance)
        for batch in batches:
            for mode, chance in modes:
                for name, (missed, variance) in self._missed(mode, batch, generator).items():
                    error[name] += chance * missed
                    spread[name] += chance * variance
        for name in self.names:
            expected = (1 + 1 / self.config.members) * spread[name]
            self.field(name).factor.fill_((error[name] / expected) ** 0.5 if error[name] and expected else 1.0)

    def _missed(self, mode: str, batch: Batch, generator: torch.Generator) -> dict[str, tuple[float, float]]:
        """Return the sums over every field's hidden entries of the mean's squared error, and of the variance."""
        shown = self._shown(self._given(batch), self._masks(mode, batch, generator), generator)
        sums = {}
        for name, members in self._answers(shown, batch).members.items():
            target, valid = self._target(name, batch)
            hidden = valid & ~shown[name].seen
            error = (target - members.mean(1)).square()
            sums[name] = tuple(some[hidden].double().sum().item() for some in (error, members.var(1)))
        return sums

    def take_over(self, other: Backend) -> tuple[str, ...]:
        """Start from another AtmoRep with a field of this one: all weights that fit by name and shape.

        What `prepare` found stays. Heads between fields that the other model did not couple start nearly silent.

        Raises
        ------
        ConfigError
            If the other model is of another kind, has none of the fields, or tokens of another width.
        """
        shared = set(self.names) & set(other.names) if isinstance(other, AtmoRep) else set()
        if not isinstance(other, AtmoRep) or not shared or self._sizes != other._sizes:
            raise ConfigError(
                f"{type(self).__name__} cannot start from this run.",
                f"It holds a {type(other).__name__} of other signals, or another width or number of heads.",
                f"Give a run of atmorep with width and heads {self._sizes} and any of: {', '.join(self.names)}.",
            )
        given = dict(other.named_parameters())
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if name in given and given[name].shape == parameter.shape:
                    parameter.copy_(given[name])
                elif name.startswith("network.encoder.") and ".others." in name and name.endswith("join.weight"):
                    parameter.uniform_(0, NEW_COUPLING)
        return ()

    @property
    def _sizes(self) -> tuple[int, int]:
        return self.config.width, self.config.heads

    def _field(self, name: str, brain: np.ndarray) -> TokenField:
        config = self.config
        bands = config.band_time, config.band_space, config.band_space
        sizes: dict[str, Any] = {"width": config.width, "members": config.members, "bands": bands}
        return TokenField(
            self.layout.frames,
            brain,
            self.config.token_of(name),
            config.rois,
            base=config.base,
            components=config.components,
            **sizes,
        )

    def _partners(self) -> dict[str, tuple[str, ...]]:
        """Return for every field those that it looks at."""
        config, everything = self.config, dict.fromkeys(self.names, self.names)
        graph = config.coupled if config.coupled is not None else everything
        wanted = {name: graph.get(name, ()) if config.coupling else () for name in self.names}
        return {_key(name): tuple(_key(other) for other in found if other != name) for name, found in wanted.items()}

    def _given(self, batch: Batch) -> dict[str, Given]:
        return {
            name: self.field(name).given(signal.x, signal.visible & signal.valid)
            for name, signal in zip(self.names, batch.signals, strict=True)
        }

    def _target(
        self, name: str, batch: Batch
    ) -> tuple[Float[Tensor, "batch time site pixel"], Bool[Tensor, "batch time site pixel"]]:
        """Return what a field should give, and where."""
        signal = batch.signals[self.names.index(name)]
        wanted = batch.target if name == self.names[0] else signal.x
        found = self.field(name).given(wanted, signal.valid)
        return found.values, found.seen

    def _masks(self, mode: str, batch: Batch, generator: torch.Generator) -> dict[str, Masked]:
        grids = [self.field(name).grid for name in self.names]
        return dict(zip(self.names, self.masking.draw(mode, grids, len(batch.x), generator), strict=True))

    def _shown(self, given: dict[str, Given], masks: dict[str, Masked], generator: torch.Generator) -> dict[str, Given]:
        return {
            name: Given(*disturbed(some.values, some.seen, masks[name], self.field(name).grid, generator))
            for name, some in given.items()
        }

    def _answers(self, given: dict[str, Given], batch: Batch) -> Answers:
        t = self.layout.unit_time(batch.t, batch.t)
        estimates = {name: self.field(name).estimates(some, t) for name, some in given.items()}
        states = {_key(name): self.field(name).embedded(some, estimates[name], t) for name, some in given.items()}
        left = self.network.encode(states, {_key(name): self.field(name).places(t) for name in given})
        members = {
            name: self.field(name).answered(self.network.decode(_key(name), left), some, estimates[name])
            for name, some in given.items()
        }
        return Answers(members, {name: left[-1][_key(name)] for name in self.names})

    def _prediction(self, name: str, members: Float[Tensor, "batch member time site pixel"]) -> Prediction:
        field = self.field(name)
        mean = members.mean(1)
        drawn_out = mean[:, None] + field.factor * (members - mean[:, None])
        std = field.scaled(field.factor * members.std(1))
        return Prediction(field.restored(mean), std, members=field.restored(drawn_out))


@dataclass(frozen=True)
class _Frames:
    """Frames of one of the other signals, NaN where not valid; may be gone through again where the batches may."""

    batches: Iterable[Batch]
    place: int

    def __iter__(self) -> Iterator[np.ndarray]:
        for batch in self.batches:
            signal = batch.signals[self.place]
            yield np.where(signal.valid.numpy(), signal.x.numpy(), np.float32(np.nan))


def _key(name: str) -> str:
    """Return a signal's name as that of a module, which has no dot and is no attribute."""
    return ":" + name.replace(".", ":")
