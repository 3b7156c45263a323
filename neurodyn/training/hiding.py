"""What is hidden from models that are asked to fill it in."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from neurodyn.core.config import Params

BLOCK = 0.5
Hide = Literal["blocks", "frames", "channel", "forecast", "hindcast", "interpolate"]


class Holes(Params):
    """What is hidden."""

    hide: Hide = Field(
        default="blocks",
        description="blocks of space and time, whole inner frames, a signal while the others are seen (channel), or the last, "
        "first or middle seconds of all signals",
    )
    share: float = Field(default=0.2, gt=0, le=1, description="share of the blocks that is hidden (hide: blocks)")
    seconds: float | None = Field(
        default=None,
        gt=0,
        description="how long a block lasts (default: 0.5 s), or how much is hidden (channel: default the whole window)",
    )
    size: tuple[int, int] = Field(
        default=(8, 8), description="height and width of a block, pixels; of traces, its cells"
    )
    seed: int = Field(default=0, ge=0, description="seed of what is hidden")

    @model_validator(mode="before")
    @classmethod
    def _blocks_last(cls, given: Any) -> Any:
        """Blocks have a default length; what else is hidden has none."""
        if isinstance(given, dict) and given.get("hide", "blocks") == "blocks" and given.get("seconds") is None:
            return given | {"seconds": BLOCK}
        return given

    @model_validator(mode="after")
    def _sizes(self) -> Self:
        if min(self.size) < 1:
            raise ValueError(f"size {self.size}: at least one pixel each")
        if self.hide in ("forecast", "hindcast", "interpolate") and self.seconds is None:
            raise ValueError(f"hide: {self.hide} needs seconds")
        return self

    def count(self, frames: int, rate_hz: float) -> int:
        """Return how many of a window's frames a block lasts, or are hidden."""
        return frames if self.seconds is None else max(1, round(self.seconds * rate_hz))
