"""Configuration of ClimaNet."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.base import FrameConfig, HeadsConfig
from neurodyn.core.errors import ConfigError


class ClimaNetConfig(FrameConfig, HeadsConfig):
    """Configuration of ClimaNet."""

    patch: tuple[PositiveInt, PositiveInt, PositiveInt] = Field(
        (2, 8, 8), description="frames, rows and columns of a patch; traces are one row"
    )
    width: int = Field(64, gt=0, multiple_of=4, description="features per token")
    hidden: int = Field(64, ge=4, multiple_of=2, description="channels of the decoder, half as many per pixel")
    overlap: int = Field(1, ge=0, description="pixels by which decoded patches reach into their neighbours")
    depth: int = Field(2, gt=0, description="transformer blocks within each frame")
    heads: int = Field(4, gt=0, description="attention heads; divides width")
    dropout: float = Field(0.0, ge=0, lt=1, description="share dropped in training")
    parts: int = Field(1, gt=0, description="equal, consecutive parts of a window that have dates of their own")
    head: Literal["frames", "mean"] = Field(
        "frames", description="what is predicted: every frame, or the mean of each part (the published model)"
    )
    base: Literal["interpolation", "components", "both"] = Field(
        "interpolation",
        description="what the network corrects (head: frames): every entry interpolated in time, each frame as principal "
        "components have it, or the two weighted pixel by pixel",
    )
    components: int = Field(20, gt=0, description="principal components (base: components, both)")
    hide: tuple[float, float] = Field((0.1, 0.3), description="least and largest share of blocks hidden in training")
    block: tuple[PositiveInt, PositiveInt, PositiveInt] = Field(
        (5, 8, 8), description="frames, rows and columns of a hidden block; traces are one row"
    )
    hide_frames: int = Field(5, ge=0, description="most inner frames hidden whole in a training window")
    frame_windows: float = Field(0.5, ge=0, le=1, description="share of training windows that lack whole frames, too")
    visible_weight: float = Field(1.0, ge=0, description="weight of the error on what is visible")
    error: Literal["squared", "absolute"] = Field("squared", description="how errors count (published: absolute)")
    checkpoint: bool = Field(False, description="compute the spatial blocks twice, to need less memory in training")
    capabilities: ClassVar = frozenset({"reconstruct", "latents", "uncertainty"})

    @model_validator(mode="after")
    def _consistent(self) -> ClimaNetConfig:
        if not 0 <= self.hide[0] <= self.hide[1] <= 1:
            raise ValueError(f"hide {self.hide} must be two shares in [0, 1], the smaller one first")
        return self

    def check(self, layout: Layout, model: str) -> None:
        """Refuse windows without an inner frame, or that parts do not divide."""
        super().check(layout, model)
        layout.require_frames(3, model)
        if layout.frames % self.parts:
            raise ConfigError(
                f"{self.parts} parts do not divide the window.",
                f"It has {layout.frames} frames at {layout.rate_hz:g} Hz.",
                "Choose a divisor: --set model.parts=1",
            )
