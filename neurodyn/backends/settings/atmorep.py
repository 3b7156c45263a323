"""Configuration of AtmoRep."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.base import FrameConfig
from neurodyn.core.errors import ConfigError

Mode = Literal["bert", "forecast", "hindcast", "interpolate", "channel", "blocks", "frames"]
Token = tuple[PositiveInt, PositiveInt, PositiveInt]


class AtmoRepConfig(FrameConfig):
    """Configuration of AtmoRep."""

    token: Token = Field((5, 8, 8), description="frames, rows and columns of a token, cut to the window and the frame")
    tokens: dict[str, Token] = Field({}, description="by signal: its own token, where it has another")
    rois: int | None = Field(None, gt=0, description="ROIs in a token of traces (default: all)")
    width: int = Field(64, gt=0, description="features per token")
    heads: int = Field(4, gt=0, description="attention heads, an even number that divides width")
    layers: int = Field(3, gt=0, description="blocks of the encoder")
    decoder_layers: int = Field(2, gt=0, description="blocks of each signal's decoder")
    dropout: float = Field(0.0, ge=0, lt=1, description="share dropped in training")
    band_time: float = Field(2.5, ge=0, description="highest temporal frequency of the position, cycles per window")
    band_space: float = Field(2.5, ge=0, description="highest spatial frequency of the position, cycles per frame")
    members: int = Field(8, ge=2, description="size of the ensemble")
    base: Literal["none", "interpolation", "components", "both"] = Field(
        "interpolation",
        description="what the ensemble corrects: nothing (the paper), linear interpolation in time, what principal "
        "components say of each frame, or a learned blend of both",
    )
    components: int = Field(20, gt=0, description="number of principal components (base: components, both)")
    coupling: bool = Field(True, description="signals look at each other")
    coupled: dict[str, tuple[str, ...]] | None = Field(
        None, description="by signal: those that it looks at (default: all at all)"
    )
    modes: dict[Mode, float] = Field(
        {
            "bert": 0.4,
            "forecast": 0.1,
            "hindcast": 0.1,
            "interpolate": 0.1,
            "channel": 0.1,
            "blocks": 0.1,
            "frames": 0.1,
        },
        description="chance of each way to hide in a training batch: random tokens, the last, first or inner ones, one "
        "signal, blocks anywhere, single frames",
    )
    ratio: float = Field(
        0.5, gt=0, le=1, description="highest share of tokens, or blocks, chosen at random (bert, blocks)"
    )
    zero: float = Field(0.9, ge=0, le=1, description="chance that a token chosen at random is hidden")
    noise: float = Field(0.1, ge=0, le=1, description="chance that it is shown with noise")
    coarsen: float = Field(0.05, ge=0, le=1, description="chance that it is shown at half the resolution")
    synced: bool = Field(False, description="choose the same random tokens in all signals that are cut alike")
    ahead: int = Field(1, gt=0, description="tokens along time hidden by forecast, hindcast and interpolate")
    hide: int = Field(10, ge=0, description="most inner frames hidden by frames")
    loss: Literal["crps", "crps_fair", "crps_gaussian", "statistical"] = Field(
        "crps",
        description="score of the ensemble: CRPS of its distribution, the fair one of drawn members, that of its Gaussian, "
        "or the published statistical loss",
    )
    weights: dict[str, float] = Field({}, description="by signal: weight of its loss (default: 1)")
    visible_weight: float = Field(0.1, ge=0, description="weight of the loss on what is seen and was not chosen")
    capabilities: ClassVar = frozenset({"reconstruct", "forecast", "latents", "channels", "uncertainty"})

    @model_validator(mode="after")
    def _possible(self) -> AtmoRepConfig:
        if self.heads % 2 or self.width % self.heads:
            raise ValueError(f"heads ({self.heads}) must be even and divide width ({self.width})")
        if min(self.modes.values(), default=0) < 0 or not sum(self.modes.values()):
            raise ValueError("modes must not be negative, and one must be above 0")
        if min(self.weights.values(), default=0) < 0:
            raise ValueError("weights must not be negative")
        return self

    def token_of(self, name: str) -> Token:
        """Return frames, rows and columns of a signal's token."""
        return self.tokens.get(name, self.token)

    def check(self, layout: Layout, model: str) -> None:
        """Refuse what is said of signals that are not there, and windows of one token."""
        super().check(layout, model)
        names, coupled = [layout.variable, *(other.name for other in layout.others)], self.coupled or {}
        told = {*self.tokens, *self.weights, *coupled, *(name for found in coupled.values() for name in found)}
        if strange := sorted(told - set(names)):
            raise ConfigError(
                f"There is no signal {', '.join(strange)}.",
                f"The model is shown: {', '.join(names)}.",
                "Name these in model.tokens, model.weights and model.coupled, or show more: windows.others",
            )
        layout.require_frames(self.token_of(layout.variable)[0] + 1, model)
