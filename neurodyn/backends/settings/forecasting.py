"""Configuration of the forecasters."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.base import HeadsConfig, Odd, SourceConfig, StartConfig
from neurodyn.core import extras


class ForecasterConfig(SourceConfig):
    """Configuration that all forecasters share."""

    capabilities: ClassVar = frozenset({"forecast"})


class UntrainedConfig(ForecasterConfig):
    """Configuration of forecasters that are fitted entirely before training."""

    stages: ClassVar = ()


class TrainedConfig(StartConfig, ForecasterConfig):
    """Configuration of forecasters that are trained."""


class TransformerConfig(TrainedConfig):
    """Sizes of a forecasting transformer."""

    width: int = Field(128, gt=0, description="features per token")
    layers: int = Field(2, gt=0, description="layers; of encoder and decoder each, where there are both")
    feedforward: int = Field(512, gt=0, description="hidden units per layer")
    dropout: float = Field(0.0, ge=0, lt=1, description="share dropped in training")


class AttentionConfig(TransformerConfig, HeadsConfig):
    """Sizes of a forecasting transformer whose attention has heads."""

    heads: int = Field(8, gt=0, description="attention heads; divides width")


class ARLSTMConfig(TrainedConfig):
    """Configuration of the AR-LSTM."""

    hidden: int = Field(128, gt=0, description="width of the state and of the stimulus's embedding")
    layers: int = Field(2, gt=0, description="recurrent layers")


class AutoformerConfig(TransformerConfig):
    """Configuration of the Autoformer."""

    start: int = Field(48, gt=0, description="last source frames that the decoder starts from; at most the source")
    trend: Odd = Field(3, gt=0, description="frames of the moving average that makes the trend, odd")
    factor: int = Field(10, gt=0, description="c: of L delays, the c ln L of highest correlation enter; at most L")

    def check(self, layout: Layout, model: str) -> None:
        """Refuse a source of one frame, or to begin without the library."""
        super().check(layout, model)
        layout.require_frames(layout.horizon + 2, "autoformer")
        extras.check("transformers", "autoformer")


class BrainLMConfig(AttentionConfig):
    """Configuration of BrainLM."""

    patch: int = Field(16, gt=0, description="frames per patch")
    mask: float = Field(0.2, ge=0, lt=1, description="share of source patches hidden in training, beside the horizon")


class CrossformerConfig(AttentionConfig):
    """Configuration of the Crossformer."""

    segment: int = Field(16, gt=0, description="frames per segment; at most the source")
    merge: int = Field(4, gt=0, description="neighbouring segments that a layer joins; at most all of them")
    routers: int = Field(10, gt=0, description="vectors through which the neurons of a segment exchange")


class InformerConfig(AttentionConfig):
    """Configuration of the Informer."""

    start: int = Field(64, gt=0, description="last source frames that the decoder starts from; at most the source")
    factor: int = Field(10, gt=0, description="c: of L queries, c ⌈ln (L + 1)⌉ attend, the others take an average")
    distil: bool = Field(True, description="halve the source between the encoder's layers")

    def check(self, layout: Layout, model: str) -> None:
        """Refuse to begin without its library."""
        super().check(layout, model)
        extras.check("transformers", "informer")


class LinearMapConfig(TrainedConfig):
    """Configuration of NLinear."""

    individual: bool = Field(False, description="a map for every entry; else one for all")


class DLinearConfig(LinearMapConfig):
    """Configuration of DLinear."""

    trend: int = Field(
        25, gt=0, description="frames of the moving average that makes the trend, odd; at most the source"
    )


class PatchTSTConfig(AttentionConfig):
    """Configuration of PatchTST."""

    patch: int = Field(16, gt=0, description="frames per patch; at most half the source")
    head: Literal["mean", "flat"] = Field(
        "mean", description="read the horizon from the patches' mean, as the library does, or from all, as published"
    )

    def check(self, layout: Layout, model: str) -> None:
        """Refuse a source of one frame, or to begin without the library."""
        super().check(layout, model)
        layout.require_frames(layout.horizon + 2, "patchtst")
        extras.check("transformers", "patchtst")


class RidgeConfig(UntrainedConfig):
    """Configuration of the linear path alone."""

    linear: Literal["shared", "cell"] = Field(
        "cell", description="the same regression for all cells, or with a part for each cell"
    )


class RidgeARConfig(UntrainedConfig):
    """Configuration of the autoregression."""

    penalty: float | None = Field(
        None, gt=0, description="ridge penalty, in units of a z-scored training window (default: by cross-validation)"
    )
    stimulus: bool = Field(True, description="regress on the stimulus, too, where it is told")
