"""Configuration of the models of a vocabulary of patches."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.base import HeadsConfig, StartConfig

QUANTIZER = "quantizer"


class VocabularyConfig(HeadsConfig):
    """Configuration that all models of the vocabulary share."""

    patch: int = Field(16, gt=0, description="frames per patch")
    width: int = Field(128, gt=0, description="features per token")
    heads: int = Field(8, gt=0, description="attention heads; divides width")
    layers: int = Field(2, gt=0, description="blocks of each transformer")
    feedforward: int | None = Field(None, gt=0, description="hidden units per block (default: 4 × width)")
    dropout: float = Field(0.0, ge=0, lt=1, description="share dropped in training")
    codebook: Literal["learned", "ema", "fsq"] = Field("learned", description="what patches are quantised with")
    codes: int = Field(32, gt=1, description="vectors in the codebook; fsq: the product of its levels")
    levels: tuple[int, ...] = Field((8, 5), description="levels of each number (codebook: fsq)")
    commitment: float = Field(0.25, gt=0, description="weight of what draws patches and their vectors together")
    mask: float = Field(0.2, ge=0, lt=1, description="share of patches hidden while the quantiser is trained")
    traces: int = Field(4096, gt=0, description="most single traces in a step of the quantiser, drawn at random")
    across: bool = Field(False, description="attend across neurons, too")

    @model_validator(mode="after")
    def _consistent(self) -> VocabularyConfig:
        if self.codebook == "fsq" and min(self.levels) < 3:
            raise ValueError(f"levels {self.levels}: at least 3 each")
        return self

    def check(self, layout: Layout, model: str) -> None:
        """Refuse windows without a horizon."""
        super().check(layout, model)
        layout.require_horizon(model)


class QuantFormerConfig(StartConfig, VocabularyConfig):
    """Configuration of QuantFormer."""

    gamma: float = Field(0.0, ge=0, description="focus on codes that are badly known, exponent of the focal loss")
    balance: float = Field(1.0, ge=0, le=1, description="weight of a code: its frequency to minus this power")
    trace_weight: float = Field(
        0.0, ge=0, description="weight of the squared error of the softly decoded forecast, beside that of its codes"
    )
    decoding: Literal["hard", "soft"] = Field(
        "hard", description="decode the likeliest codes, or the mean vectors under their probabilities"
    )
    direct: bool = Field(False, description="add a forecast read off the tokens, beside the one decoded from codes")
    capabilities: ClassVar = frozenset({"forecast", "sessions"})
    stages: ClassVar = (QUANTIZER, "forecaster")

    @model_validator(mode="after")
    def _trained_by_the_trace(self) -> QuantFormerConfig:
        if (self.direct or self.linear != "none") and not self.trace_weight:
            raise ValueError(
                "direct and linear are trained by the forecast's squared error: trace_weight must be above 0"
            )
        return self


class QuantFormerClassifierConfig(VocabularyConfig):
    """Configuration of QuantFormer as a classifier."""

    balance: bool = Field(False, description="weigh responses and their absence alike in the loss")
    capabilities: ClassVar = frozenset({"classify", "sessions"})
    stages: ClassVar = (QUANTIZER, "classifier")

    def check(self, layout: Layout, model: str) -> None:
        """Refuse windows that do not say which cells respond."""
        super().check(layout, model)
        layout.require_rule(model)
