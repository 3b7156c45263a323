"""Settings of ΔF/F, and how they read in a methods section."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from neurodyn.core.config import Params
from neurodyn.preprocess.baselines import Edge
from neurodyn.preprocess.timeline import Gaps

Level = Literal["constant", "minimum", "lowest", "mean", "trial"]
Window = Literal["percentile", "maximin", "rolling-mean", "allen-median", "allen-mode", "fir", "butterworth"]
LEVELS = ("constant", "minimum", "lowest", "mean", "trial")
WINDOWS = {"percentile": 60.0, "maximin": 60.0, "rolling-mean": 30.0, "allen-median": 180.0, "allen-mode": 180.0}
CUTOFFS = {"fir": 0.001, "butterworth": 0.01}
PAPER_TAPS = 101


class DffParams(Params):
    """Settings of ΔF/F."""

    input: str = Field(default="fluorescence", description="variable to take ΔF of")
    output: str = Field(default="dff", description="variable to make")
    method: Window | Level = Field(
        default="percentile",
        description="baseline F0. Rolling: percentile, maximin (maximum of the minimum when smoothed), rolling-mean, "
        "allen-median, allen-mode, fir, butterworth. One number: constant (percentile of the whole trace), minimum "
        "(when smoothed), lowest (mean of the lowest frames), mean (of the interval). Per trial: trial (mean before "
        "each stimulus)",
    )
    window: float | None = Field(
        default=None,
        gt=0,
        description="length of the rolling window, s (default: percentile and maximin 60, rolling-mean 30, "
        "allen-median and allen-mode 180)",
    )
    percentile: float | None = Field(
        default=None,
        ge=0,
        le=100,
        description="percentile taken as baseline (percentile, constant: default 8), or share averaged (lowest: 10)",
    )
    sigma: float = Field(
        default=1.0,
        gt=0,
        description="smoothing before the minimum, s (maximin, minimum); 1 s is suite2p's 10 frames at its 10 Hz",
    )
    decimate: int = Field(
        default=1,
        ge=1,
        description="take the percentile over every k-th frame and interpolate: 1 is exact, 10 about 3x faster",
    )
    edge: Edge = Field(
        default="reflect",
        description="how the trace continues beyond its ends; zero is literal for allen-median and sinks F0 there",
    )
    short_window: float = Field(
        default=3.37, gt=0, description="window of the second median, s (allen-median); 3.37 s is 101 frames at 30 Hz"
    )
    smooth: float = Field(default=100.0, gt=0, description="window of the mean over the running mode, s (allen-mode)")
    bin: float = Field(default=1.0, gt=0, description="width of the mode's bins, in the input's unit (allen-mode)")
    cutoff: float | None = Field(
        default=None, gt=0, description="low-pass cut-off asked for, Hz (default: fir 0.001, butterworth 0.01)"
    )
    taps: int | Literal["paper"] = Field(
        default=1001,
        description="length of the filter, odd (fir); paper is 101, which at 10 Hz removes all below 0.09 Hz",
    )
    interval: tuple[float, float] | None = Field(
        default=None,
        description="[start, stop) of the baseline frames, s of the recording (mean; default: all frames)",
    )
    before: float = Field(default=1.0, gt=0, description="baseline before each stimulus onset, s (trial)")
    f0_from: str | None = Field(
        default=None,
        description="variable whose baseline divides, e.g. fluorescence before neuropil subtraction (default: input)",
    )
    floor: float = Field(
        default=0.01,
        ge=0,
        lt=1,
        description="smallest F0 that may divide, as a share of the mean absolute fluorescence",
    )
    guard: Literal["error", "nan"] = Field(
        default="error", description="what to do where F0 is below the floor or negative"
    )
    nan: Literal["error", "nan", "frames"] = Field(
        default="error",
        description="NaN frames: refuse, make their ROI or pixel NaN, or make those frames NaN and leave them out of F0",
    )
    saturated: Literal["keep", "nan", "frames"] = Field(
        default="keep",
        description="saturated frames: keep with a warning, make their ROI or pixel NaN, or those frames (as for nan)",
    )
    gaps: Gaps = Field(
        default="across",
        description="missing frames: windows count frames across all gaps, pauses too, with a warning (across); they "
        "restart after any gap (restart); or gaps up to `fill` are bridged by straight lines, and they restart after "
        "longer ones (fill)",
    )
    fill: float = Field(
        default=5.0, ge=0, description="longest stretch without data that a straight line may fill under a window, s"
    )

    @field_validator("taps")
    @classmethod
    def _odd_taps(cls, taps: int | str) -> int | str:
        if isinstance(taps, int) and (taps < 3 or taps % 2 == 0):
            raise ValueError("an odd number of 3 or more is needed")
        return taps

    @model_validator(mode="after")
    def _ordered_interval(self) -> Self:
        if self.interval is not None and not self.interval[0] < self.interval[1]:
            raise ValueError("interval: the start must lie before the stop")
        return self

    @property
    def window_s(self) -> float:
        """Length of the rolling window, s."""
        return self.window or WINDOWS.get(self.method, 60.0)

    @property
    def share(self) -> float:
        """Percentile, or for "lowest" the share that is averaged, per cent."""
        if self.percentile is not None:
            return self.percentile
        return 10.0 if self.method == "lowest" else 8.0

    @property
    def cutoff_hz(self) -> float:
        """Cut-off asked for, Hz."""
        return self.cutoff or CUTOFFS.get(self.method, 0.01)

    @property
    def tap_count(self) -> int:
        """Length of the FIR filter."""
        return PAPER_TAPS if self.taps == "paper" else self.taps

    def baseline(self, achieved_hz: float | None = None) -> str:
        """Say in words what F0 is.

        Parameters
        ----------
        achieved_hz
            Where the FIR filter has half its gain, Hz, when the frame rate is known.
        """
        seconds = f"{self.window_s:g} s"
        limit = f"{0.908 / self.tap_count:.2g} of the frame rate"
        reached = f"{achieved_hz:.2g} Hz" if achieved_hz else f"no less than {limit}, whatever the cut-off"
        interval = (
            "all frames" if self.interval is None else f"the frames from {self.interval[0]:g} to {self.interval[1]:g} s"
        )
        return {
            "percentile": f"the {self.share:g}th percentile in a rolling window of {seconds}",
            "maximin": f"the rolling maximum of the rolling minimum (window {seconds}) after Gaussian smoothing (SD {self.sigma:g} s)",
            "rolling-mean": f"the mean in a rolling window of {seconds}",
            "allen-median": f"the median in a rolling window of {seconds}, divided by no less than the noise level, and the running median "
            f"of {self.short_window:g} s of the result, at most 2.5 times its noise level, was subtracted (Allen Brain Observatory)",
            "allen-mode": f"the mode in a rolling window of {seconds}, averaged over {self.smooth:g} s (Allen Brain Observatory)",
            "fir": f"the trace after a linear-phase low-pass of {self.tap_count} taps (cut-off asked for {self.cutoff_hz:g} Hz; "
            f"-6 dB at {reached})",
            "butterworth": f"the trace after a zero-phase Butterworth low-pass (order 2 each way, -6 dB at {self.cutoff_hz:g} Hz)",
            "constant": f"the {self.share:g}th percentile of the whole trace",
            "minimum": f"the minimum of the whole trace after Gaussian smoothing (SD {self.sigma:g} s)",
            "lowest": f"the mean of the lowest {self.share:g} % of frames",
            "mean": f"the mean of {interval}",
            "trial": f"the mean of the {self.before:g} s before each stimulus onset, for that trial",
        }[self.method]

    def handling(self) -> str:
        """Say in words what happened to NaN, saturated and missing frames."""
        rules = []
        if "frames" in (self.nan, self.saturated):
            which = [name for name, rule in (("NaN", self.nan), ("saturated", self.saturated)) if rule == "frames"]
            rules.append(f"{' and '.join(which)} frames were left out")
        if self.saturated == "nan":
            rules.append("saturated traces were left out")
        if self.method not in LEVELS:
            rules.append(
                {
                    "across": "windows counted frames across any gap",
                    "restart": "windows restarted after any gap",
                    "fill": f"gaps of up to {self.fill:g} s were bridged by straight lines, windows restarted after longer ones",
                }[self.gaps]
            )
        return "; ".join(rules)
