"""Configuration of CEBRA."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.base import FrameConfig
from neurodyn.core.errors import ConfigError


class CEBRAConfig(FrameConfig):
    """Configuration of CEBRA."""

    dimensions: int = Field(16, ge=2, description="numbers that a frame becomes, a point on the unit sphere")
    width: int = Field(32, gt=0, description="channels of the hidden convolutions")
    layers: int = Field(3, ge=0, description="hidden convolutions with skips; a point is made of 4 + 2 × layers frames")
    offset: float = Field(0.5, gt=0, description="from a frame to the one that it must be near to, s")
    temperature: float = Field(1.0, gt=0, description="τ; the smaller, the more the nearest wrong frames count")
    labels: bool = Field(
        False, description="near to frames of other windows under the same stimulus instead (needs windows.stimuli)"
    )
    capabilities: ClassVar = frozenset({"reconstruct", "latents"})

    @property
    def reach(self) -> int:
        """Frames that a point is made of."""
        return 4 + 2 * self.layers

    def frames_between(self, rate_hz: float) -> int:
        """Return the offset in frames, at least one."""
        return max(1, round(self.offset * rate_hz))

    def check(self, layout: Layout, model: str) -> None:
        """Refuse windows that are too short, and labels that are not told."""
        super().check(layout, model)
        layout.require_frames(self.reach + self.frames_between(layout.rate_hz), model)
        if self.labels and layout.code is None:
            raise ConfigError(
                f"{model} with labels needs stimuli.",
                "Found no stimulus column that windows tell.",
                "Name one: --set windows.stimuli=[direction]",
            )
