"""Configuration of the continuous space-time transformer."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.base import HidingConfig, TokenConfig


class CSTConfig(TokenConfig, HidingConfig):
    """Configuration of CST."""

    layers: int = Field(3, gt=0, description="transformer blocks")
    attention: Literal["full", "nystrom", "factorised"] = Field(
        "full", description="every token sees every other, through landmarks, or along time and then within the frame"
    )
    landmarks: int = Field(52, gt=0, description="landmarks (attention: nystrom)")
    query: Literal["isolated", "joint"] = Field(
        "isolated", description="hidden frames see only observed ones and themselves, or all see all (the paper)"
    )
    residual: bool = Field(
        True, description="output = gated linear interpolation in time + network, which starts at zero"
    )
    official: bool = Field(
        False, description="the published network: linear positions, post-norm, no real/query flag, two-layer head"
    )
    flag: bool = Field(
        True, description="tokens say whether they carry data; without, attention to a point is the same seen or not"
    )
    session_embedding: bool = Field(
        False, description="every training recording has a vector of its own, added to all its tokens"
    )
    components: int | None = Field(
        None, gt=0, description="tokens are whole frames, told by so many principal components (default: patches)"
    )
    rank: int = Field(16, gt=0, description="numbers that the linear forecast passes through (windows.ahead)")
    ahead_weight: float = Field(1.0, ge=0, description="weight of the error on what follows the window (windows.ahead)")
    noise: float = Field(0.05, ge=0, description="noise added to the input in training, standard deviations")
    dummies: int = Field(0, ge=0, description="random times per training window that only the derivatives see")
    dummies_in_space: bool = Field(
        False,
        description="dummies lie anywhere in the frame, and derivatives are taken along rows and columns, too (derivative: "
        "coord_autograd; not with factorised attention)",
    )
    sobolev: tuple[float, float, float] = Field(
        (0.0, 0.0, 0.0), description="weights of the output's time derivatives of order 1 to 3, window length as unit"
    )
    sobolev_power: float = Field(2.0, ge=1, description="exponent of the derivative penalty")
    derivative: Literal["coord_fd", "coord_autograd", "input_jacobian"] = Field(
        "coord_fd",
        description="how it is taken: finite differences along time at every token, exactly at the dummies (isolated "
        "queries only), or, as published code has it, of the outputs' sum with respect to the dummies' input (order 1 only)",
    )
    capabilities: ClassVar = frozenset({"reconstruct", "latents", "continuous_time", "attention"})

    def check(self, layout: Layout, model: str) -> None:
        """Refuse windows without an inner frame, and patches that do not fit the frame."""
        HidingConfig.check(self, layout, model) if self.components else super().check(layout, model)

    @model_validator(mode="after")
    def _possible_derivatives(self) -> CSTConfig:
        if min(self.sobolev) < 0:
            raise ValueError("sobolev weights must not be negative")
        if any(self.sobolev) and self.derivative != "coord_fd" and not self.dummies:
            raise ValueError(f"derivative: {self.derivative} is taken at dummies, of which there are none")
        if self.derivative == "coord_autograd" and self.query != "isolated":
            raise ValueError(
                "derivative: coord_autograd needs query: isolated, where an output has one time of its own"
            )
        if self.attention == "factorised" and self.heads % 2:
            raise ValueError(f"factorised attention needs an even number of heads, found {self.heads}")
        if self.components is not None and (self.rois is not None or self.dummies_in_space):
            raise ValueError("components excludes rois and dummies_in_space: a token is a whole frame")
        if self.dummies_in_space and (self.derivative != "coord_autograd" or self.attention == "factorised"):
            raise ValueError("dummies_in_space needs derivative: coord_autograd, and attention that is not factorised")
        if self.derivative == "input_jacobian" and any(self.sobolev[1:]):
            raise ValueError("derivative: input_jacobian has order 1 only: the higher ones have no gradient")
        return self
