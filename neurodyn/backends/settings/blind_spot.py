"""Configuration of the blind-spot model."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from neurodyn.backends.settings.base import ConvolutionConfig


class BlindSpotConfig(ConvolutionConfig):
    """Configuration of the blind-spot model."""

    components: int = Field(64, gt=0, description="most spatial components; noise has none of its own")
    smooth: float = Field(
        0.1, ge=0, description="standard deviation of the Gaussian in time through which components are sought, s"
    )
    reach: int = Field(12, gt=0, description="frames before and after that the filter of a component sees")
    channels: int = Field(6, gt=0, description="features that the network draws from every frame")
    width: int = Field(16, gt=0, description="hidden units of the network, per pixel")
    patch: int = Field(32, gt=0, description="side of the square that a training step sees of a frame, pixels")
    stretch: int = Field(32, gt=0, description="frames that a training step predicts of a window")
    capabilities: ClassVar = frozenset({"blind", "reconstruct", "uncertainty"})
