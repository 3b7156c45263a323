"""What responses are, and how they are tested."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from neurodyn.core.config import Params


class GlmConfig(Params):
    """A model of several stimuli and behaviours at once: which, their kernels, and how it is held against frames left out."""

    regressors: str = Field(
        min_length=1, description="stimulus and behaviour columns with commas; events for onsets alone"
    )
    family: Literal["gaussian", "poisson"] | None = Field(
        default=None,
        description="what traces are (default: poisson where none is negative and a tenth are 0, else gaussian)",
    )
    kernel: tuple[float, float] | None = Field(
        default=None,
        description="kernel of events, s from the onset (default: to 2 s after the end, not into the next event)",
    )
    lags: tuple[float, float] = Field(
        default=(-1.0, 1.0), description="kernel of behaviour, s; above 0 activity follows behaviour"
    )
    width: float = Field(default=0.3, gt=0, description="distance of the bumps of kernels, s; at least two frames")
    basis: Literal["cosine", "box"] = Field(default="cosine", description="bumps: raised cosines, or boxes")
    drift: float = Field(default=300.0, gt=0, description="cosines of periods above this are taken for drift, s")
    folds: int = Field(default=5, ge=3, description="parts, each left out in turn; dealt from blocks of whole trials")
    gap: float = Field(default=2.0, ge=0, description="frames left out at the end of each block, s")
    penalties: tuple[float, ...] = Field(
        default=(1e-4, 1e-3, 1e-2, 1e-1, 1.0),
        min_length=1,
        description="of weights, as shares of a column's variance, of which each cell gets one by frames left out",
    )

    @field_validator("kernel", "lags")
    @classmethod
    def _in_order(cls, window: tuple[float, float] | None) -> tuple[float, float] | None:
        if window is not None and window[1] <= window[0]:
            raise ValueError("it must end after it begins")
        return window

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the regressors."""
        return tuple(part.strip() for part in self.regressors.split(","))


OF_GLM = frozenset({"glm", "variable", "kind", "bins", "period", "bin", "shuffles", "bootstraps", "alpha", "seed"})


class RespondConfig(Params):
    """One question to a recording: responses of what, to what, measured how."""

    target: str | None = Field(
        default=None,
        min_length=1,
        description="stimulus or behaviour column, or two with a comma; direction%180 takes the rest (default: events alone)",
    )
    glm: GlmConfig | None = Field(default=None, description="instead of a target: several regressors in one model")
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
        description="null labels: permutations, or shifts of behaviour (default: 1000; 500 of behaviour, 200 of movies and of glm)",
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

    @field_validator("glm", mode="before")
    @classmethod
    def _by_names(cls, glm: object) -> object:
        return {"regressors": glm} if isinstance(glm, str) else glm

    @property
    def spare(self) -> list[str]:
        """Settings that were given and say nothing of a glm."""
        fields = type(self).model_fields
        return [name for name in fields if name not in OF_GLM and getattr(self, name) != fields[name].default]

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the columns asked for."""
        return tuple(part.strip() for part in self.target.split(",")) if self.target else ()
