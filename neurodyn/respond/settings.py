"""What responses are, and how they are tested."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from neurodyn.core.config import Params


class RespondConfig(Params):
    """One question to a recording: responses of what, to what, measured how."""

    target: str | None = Field(
        default=None,
        min_length=1,
        description="stimulus or behaviour column, or two with a comma; direction%180 takes the rest (default: events alone)",
    )
    variable: str | None = Field(default=None, description="neural variable (default: dff, else the most processed)")
    kind: str | None = Field(default=None, description="only events whose column `stimulus` is this")
    before: float | None = Field(default=None, gt=0, description="time shown before an onset, s (default: at most 1)")
    after: float | None = Field(
        default=None,
        gt=0,
        description="time shown after an onset, s (default: 2 after the end, not into the next event)",
    )
    window: tuple[float, float] | Literal["found"] | None = Field(
        default=None,
        description="response window, s from the onset; found: where the population's mean squared response is above half its "
        "peak, blind to conditions (default: while the event lasts, at least 0.5)",
    )
    baseline: Literal["subtract", "none"] | None = Field(
        default=None,
        description="mean before the onset, subtracted from each trial (default: subtract where there is a pause of 0.2 s "
        "before events)",
    )
    measure: Literal["mean", "peak", "area"] = Field(
        default="mean", description="of the response window; area is the mean times its length"
    )
    bins: int | None = Field(
        default=None, ge=2, description="bins of a number with many values (default: 8 of stimuli, 20 of behaviour)"
    )
    period: float | None = Field(
        default=None, gt=0, description="value at which an angle begins again, in its own unit (default: by its name)"
    )
    bin: int = Field(default=1, ge=1, description="pixels of a movie averaged along y and x")
    shuffles: int | None = Field(
        default=None,
        ge=0,
        description="null labels: permutations, or shifts of behaviour (default: 1000; 500 of behaviour, 200 of movies)",
    )
    bootstraps: int = Field(default=1000, ge=100, description="resamples of trials for the intervals of tuning curves")
    splits: int = Field(default=50, ge=1, description="random halves of trials for reliability and selectivity")
    alpha: float = Field(default=0.05, gt=0, lt=1, description="false discovery rate, over cells")
    seed: int = Field(default=0, ge=0, description="seed of every draw")

    @field_validator("window")
    @classmethod
    def _in_order(cls, window: tuple[float, float] | str | None) -> tuple[float, float] | str | None:
        if isinstance(window, tuple) and window[1] <= window[0]:
            raise ValueError("it must end after it begins")
        return window

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the columns asked for."""
        return tuple(part.strip() for part in self.target.split(",")) if self.target else ()
