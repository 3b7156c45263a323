"""Configuration of what fills in without training."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.base import BackendConfig, FrameConfig


class InterpolatorConfig(FrameConfig):
    """Configuration of interpolation."""

    hide: int = Field(5, gt=0, description="most inner frames hidden in the reported hidden-frame error")
    capabilities: ClassVar = frozenset({"reconstruct", "continuous_time"})
    stages: ClassVar = ()


class SplineConfig(InterpolatorConfig):
    """Configuration of the spline."""

    boundary: Literal["not-a-knot", "natural"] = Field(
        "not-a-knot",
        description="third derivative continuous at the outermost inner points, or no curvature at the ends",
    )


class SVDConfig(InterpolatorConfig):
    """Configuration of imputation by principal components."""

    components: int = Field(50, gt=0, description="rank, at most the entries of a frame")
    shrink: bool = Field(
        True, description="draw uncertain scores towards zero; without, the fixed point of iterative SVD imputation"
    )
    capabilities: ClassVar = frozenset({"reconstruct", "latents", "uncertainty"})


class PCAConfig(BackendConfig):
    """Configuration of PCA."""

    components: int = Field(20, gt=0, description="principal components, at most the entries of a frame")
    hide: int = Field(5, gt=0, description="most inner frames hidden in the reported hidden-frame error")
    capabilities: ClassVar = frozenset({"reconstruct", "latents"})
    stages: ClassVar = ()


class ReducedRankConfig(PCAConfig):
    """Configuration of reduced-rank regression."""

    rank: int = Field(16, gt=0, description="numbers that the forecast passes through")
    sparse: bool = Field(False, description="the summary is turned to independent sources, the sparser the longer")

    def check(self, layout: Layout, model: str) -> None:
        """Refuse windows that tell nothing of what follows them."""
        super().check(layout, model)
        layout.require_ahead(model)
