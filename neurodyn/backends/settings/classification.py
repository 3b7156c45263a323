"""Configuration of the classifiers of responses."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.base import SourceConfig
from neurodyn.backends.settings.forecasting import AutoformerConfig, CrossformerConfig, InformerConfig


class ClassifierConfig(SourceConfig):
    """Configuration that all classifiers of responses share."""

    balance: bool = Field(False, description="weigh responses and their absence alike in the loss")
    capabilities: ClassVar = frozenset({"classify"})

    def check(self, layout: Layout, model: str) -> None:
        """Refuse windows that do not say which cells respond."""
        super().check(layout, model)
        layout.require_rule(model)


class ResponseRateConfig(ClassifierConfig):
    """Configuration of the response rate."""

    stages: ClassVar = ()


class ForecasterClassifierConfig(ClassifierConfig):
    """Configuration of the classifiers made of a forecaster, which forecast nothing that could start from a line."""

    @model_validator(mode="after")
    def _without_a_start(self) -> ForecasterClassifierConfig:
        if vars(self)["linear"] != "none" or vars(self)["level"] != "none":
            raise ValueError("linear and level are for forecasts; a classifier has none")
        return self


class CrossformerClassifierConfig(CrossformerConfig, ForecasterClassifierConfig):
    """Configuration of the Crossformer as a classifier."""

    capabilities: ClassVar = ClassifierConfig.capabilities


class InformerClassifierConfig(InformerConfig, ForecasterClassifierConfig):
    """Configuration of the Informer as a classifier."""

    capabilities: ClassVar = ClassifierConfig.capabilities


class AutoformerClassifierConfig(AutoformerConfig, ForecasterClassifierConfig):
    """Configuration of the Autoformer as a classifier; `start` is the decoder's, which it does without."""

    capabilities: ClassVar = ClassifierConfig.capabilities


class LSTMResponseConfig(ClassifierConfig):
    """Configuration of the LSTM."""

    hidden: int = Field(128, gt=0, description="width of the state, the cells' and the stimulus's embeddings")
    layers: int = Field(2, gt=0, description="recurrent layers")
