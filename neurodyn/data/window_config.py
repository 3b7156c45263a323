"""Which windows are cut from a recording, how they are split, and which cells count as responding in them."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from neurodyn.core.config import Params


class ResponseConfig(Params):
    """When a cell counts as responding."""

    rule: Literal["tsai_wen", "outliers", "outliers_95", "outliers_baseline", "deconvolution", "events"] = Field(
        "tsai_wen",
        description="tsai_wen: the mean of |ΔF/F| is above `threshold`; outliers: the largest |ΔF/F| is two standard "
        "deviations above the mean of training windows; outliers_95: the standard deviation is above the cell's 95th "
        "percentile of training windows; outliers_baseline: the mean is two standard deviations above the mean of the "
        "absolute baseline; deconvolution: some spike of `variable` is above `threshold`; events: some is above 0",
    )
    threshold: float = Field(0.1, ge=0, description="of the mean |ΔF/F| (tsai_wen), or of a spike (deconvolution)")
    lasting: float = Field(2.0, gt=0, description="seconds from the beginning of the horizon that are judged")
    baseline: float = Field(2.0, gt=0, description="seconds before it that are the baseline (outliers_baseline)")
    variable: str = Field("spikes", description="neural variable of deconvolution and events")


class WindowConfig(Params):
    """Which windows are cut from a recording, and how they are split."""

    variable: str = Field(default="dff", description="neural variable")
    target: str | None = Field(
        default=None, description="variable of what a model should give, where that is not the variable itself"
    )
    others: tuple[str, ...] = Field(
        default=(),
        description="signals shown beside the variable, for models of several: neural variables, or behavior.COLUMN "
        "interpolated to the frames",
    )
    duration: float = Field(default=1.0, gt=0, description="window length, s")
    stride: float | None = Field(
        default=None, gt=0, description="distance between window starts, s (default: the duration)"
    )
    align: Literal["stream", "events"] = Field(
        default="stream", description="cut along the whole recording, or one window per stimulus event"
    )
    kind: str | None = Field(
        default=None,
        description="only events of this kind, by the column `stimulus`, where a session has several (default: all)",
    )
    offset: float = Field(default=0.0, description="start of the window relative to the event, s (align: events)")
    horizon: float | None = Field(
        default=None,
        gt=0,
        description="last part of every window, s, that models never see and forecast from the frames before it",
    )
    ahead: float | None = Field(
        default=None,
        gt=0,
        description="seconds after every training window that some models learn to predict; no part of the window, never shown",
    )
    train_stride: float | None = Field(
        default=None,
        gt=0,
        description="distance between starts of the windows that are trained on, s (align: stream; default: the stride)",
    )
    baseline: float | None = Field(
        default=None,
        gt=0,
        description="seconds before the horizon whose mean F0 turns a window into (F - F0)/F0; where F0 is not above the "
        "noise between frames, the window has no data of that entry",
    )
    responses: ResponseConfig | None = Field(
        default=None, description="which cells respond in the horizon, for models that classify"
    )
    stimuli: tuple[str, ...] = Field(
        default=(), description="stimulus columns that models are told, of the event in which the horizon begins"
    )
    irregular: bool = Field(
        default=False,
        description="every frame keeps its own time, and a window has as many as every event has within the duration, "
        "none beyond the next event (align: events)",
    )
    split: Literal["blocked", "stimulus_blocks", "trial", "condition", "column", "random"] = Field(
        default="blocked",
        description="what never crosses train, valid and test; column: a stimulus column names each trial's part; "
        "stimulus_blocks: the last block of the stimulus is the test, the end of the one before it validates",
    )
    fractions: tuple[float, float, float] = Field(
        default=(0.6, 0.1, 0.3), description="shares of train, valid and test (not for split: column)"
    )
    blocks: int = Field(
        default=1,
        ge=1,
        description="how often train, valid and test follow each other along the recording (split: blocked)",
    )
    gap: float | None = Field(default=None, ge=0, description="guard gap between blocks, s (default: one window)")
    condition: str | None = Field(
        default=None,
        description="stimulus column whose values are held out (split: condition) or are the parts (split: column)",
    )
    seed: int = Field(default=0, ge=0, description="seed of the trial, condition and random splits")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.horizon is not None and self.horizon >= self.duration:
            raise ValueError(f"horizon ({self.horizon:g} s) must be shorter than the window ({self.duration:g} s)")
        if self.baseline is not None and (self.horizon is None or self.baseline > self.duration - self.horizon):
            raise ValueError("baseline needs a horizon, and must fit into the window before it")
        if self.responses is not None and self.horizon is None:
            raise ValueError("responses need a horizon in which they come")
        if self.baseline is not None and self.target is not None:
            raise ValueError("baseline and target exclude each other")
        if self.ahead is not None and self.horizon is not None:
            raise ValueError("ahead and horizon exclude each other: one lies after the window, the other within")
        if self.ahead is not None and (self.irregular or self.target is not None):
            raise ValueError("ahead needs regular frames, and no target of another variable")
        if self.variable in self.others or len(set(self.others)) < len(self.others):
            raise ValueError("others must differ from the variable and from each other")
        if self.others and self.baseline is not None:
            raise ValueError("others and baseline exclude each other")
        if abs(sum(self.fractions) - 1) > 1e-6 or min(self.fractions) < 0:
            raise ValueError("fractions must be non-negative and sum to 1")
        if (self.split in ("condition", "column")) != (self.condition is not None):
            raise ValueError("split: condition or column, and the name of a condition column, go together")
        if self.train_stride is not None and (self.align != "stream" or self.split == "random"):
            raise ValueError("train_stride needs windows along the stream, in parts that share no frames")
        if self.irregular and self.align != "events":
            raise ValueError("irregular frames need windows that begin at events, align: events")
        return self
