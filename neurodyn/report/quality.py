"""Whether a recording can be trusted: what preprocessing saw, drawn, and held against thresholds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.figure import Figure as Canvas

from neurodyn.data.clock import missing_frames
from neurodyn.data.recording import Recording
from neurodyn.report.blocks import Block, Figure, Section, Table
from neurodyn.report.style import BLACK, BLUE, GREY, ORANGE, SIGNED, draw, image, symmetric

POINTS = 2000
COLOURS = (BLUE, ORANGE, BLACK)
CHANNELS = ("fluorescence", "reference")
TITLES = {"beta": "β", "before": "correlation before", "after": "correlation after", "mean": "mean F0"}


@dataclass(frozen=True)
class Check:
    """One quantity against its threshold.

    Parameters
    ----------
    name
        What was measured, with its unit.
    value, threshold
        Above the threshold the flag is raised.
    reason
        What a raised flag means for the data.
    """

    name: str
    value: float
    threshold: float
    reason: str

    @property
    def raised(self) -> bool:
        """Whether the value asks for a look."""
        return self.value > self.threshold


def quality_section(recording: Recording) -> Section | None:
    """Show what preprocessing saw of a recording; None where it kept nothing."""
    qc = recording.table("qc")
    if qc is None:
        return None
    figures = (_pictures, _courses, _motion, _baseline, _regression, _separation, _noise)
    blocks: list[Block | None] = [_table(checks(recording, qc)), *(figure(recording, qc) for figure in figures)]
    return Section(f"Quality: {recording.session}", [block for block in blocks if block is not None])


def checks(recording: Recording, qc: xr.Dataset) -> list[Check]:
    """Return every check that the recording has data for."""
    found = [
        *_saturation(recording, qc),
        *_bleaching(qc),
        *_dropped(recording, qc),
        *_movement(qc),
        *_left_over(recording, qc),
    ]
    if "demux_certainty" in qc:
        unsure = float(np.mean(qc["demux_certainty"].values < 3.0))
        why = "the channels look alike in these frames; some may stand in the wrong channel"
        found.append(Check("frames of uncertain channel, share", unsure, 0.001, why))
    for name in _ending(qc, "_noise_level"):
        middle = float(np.nanmedian(qc[name].values))
        why = "single spikes drown; 1 is very good, 3 to 4 decent (Rupprecht et al. 2021)"
        found.append(Check("noise level, median over ROIs (%/√Hz)", middle, 5.0, why))
    return found


def _saturation(recording: Recording, qc: xr.Dataset) -> list[Check]:
    found = []
    for name in recording.variables:
        if f"{name}_course" not in qc or recording[name].dtype.kind not in "iu":
            continue
        saturated = qc[f"{name}_saturated"].values if f"{name}_saturated" in qc else np.zeros(1)
        share = float(np.mean(saturated > 0))
        noun = "pixels" if recording[name].ndim == 3 else "ROIs"
        why = "their peaks are cut off; lower the gain or mask them"
        found.append(Check(f"{noun} of '{name}' ever saturated, share", share, 0.001, why))
    return found


def _bleaching(qc: xr.Dataset) -> list[Check]:
    found = []
    for name in _ending(qc, "_course"):
        course = qc[name].values
        edge = max(1, course.size // 20)
        first, last = float(course[:edge].mean()), float(course[-edge:].mean())
        if name.removesuffix("_course") in (*CHANNELS, "neuropil") and first > 0:
            why = "ΔF/F needs a baseline that follows, or a detrend step"
            found.append(
                Check(f"loss of '{name.removesuffix('_course')}' over the recording", 1 - last / first, 0.2, why)
            )
    return found


def _dropped(recording: Recording, qc: xr.Dataset) -> list[Check]:
    why = "windows and filters run across them"
    missing = float(missing_frames(recording.time, recording.rate_hz).sum()) / recording.time.size
    found = [Check("frames missing in the frame times, share", missing, 0.01, why)]
    if "demux_dropped" in qc:
        share = float(qc["demux_dropped"].values.mean())
        found.append(Check("dropped frames, interpolated, share", share, 0.01, why))
    return found


def _movement(qc: xr.Dataset) -> list[Check]:
    if "motion" not in qc:
        return []
    shifts = qc["motion"].values
    size = np.hypot(*(shifts - np.nanmedian(shifts, axis=0)).T)
    lost = float(np.isnan(size).mean())
    angles = qc["rotation"].values if "rotation" in qc else np.zeros(0)
    turned = [float((np.abs(angles) >= 1).mean())] if angles.size else []
    return [
        *(
            Check("frames rotated by 1 degree or more, share", share, 0.001, "shifts alone do not undo rotations")
            for share in turned
        ),
        Check(
            "motion, 95th percentile (pixels)",
            float(np.nanpercentile(size, 95)),
            5.0,
            "what moves out of focus is lost",
        ),
        Check("frames that could not be registered, share", lost, 0.001, "they stand unmoved in the movie"),
    ]


def _left_over(recording: Recording, qc: xr.Dataset) -> list[Check]:
    found = []
    for name in _ending(qc, "_correlation_after"):
        values = np.abs(_inside(recording, qc[name].values))
        why = "blood or motion is left in the corrected signal"
        found.append(
            Check("correlation with the reference after correction, median size", float(np.nanmedian(values)), 0.3, why)
        )
    return found


def _inside(recording: Recording, values: np.ndarray) -> np.ndarray:
    brain = recording.brain
    return values[brain] if brain is not None and values.shape == brain.shape else values


def _ending(qc: xr.Dataset, suffix: str) -> list[str]:
    return sorted(str(name) for name in qc.data_vars if str(name).endswith(suffix))


def _table(found: list[Check]) -> Table:
    rows = [
        [
            check.name,
            f"{check.value:.3g}".replace("-", "−"),
            f"{check.threshold:g}",
            "look" if check.raised else "ok",
            check.reason,
        ]
        for check in found
    ]
    raised = sum(check.raised for check in found)
    caption = f"{raised} of {len(found)} checks ask for a look." if raised else f"All {len(found)} checks passed."
    return Table(caption, ["Measured", "Value", "Flag above", "", "What a flag means"], rows, frozenset({1, 2}))


def _pictures(recording: Recording, qc: xr.Dataset) -> Figure | None:
    """Draw mean images, and where pixels saturate."""
    means = [name for name in _ending(qc, "_mean") if qc[name].ndim == 2 and not name.endswith("_f0_mean")]
    names = means + [name for name in qc.data_vars if name == "mean_image"]
    names += [name for name in _ending(qc, "_saturated") if qc[name].ndim == 2]
    if not names:
        return None
    names = [str(name) for name in names[:4]]

    def paint(canvas: Canvas) -> None:
        panels = canvas.subplots(1, max(3, len(names)), squeeze=False)[0]
        for axes, name in zip(panels, names, strict=False):
            values = qc[name].values
            low, high = np.nanpercentile(values, [1, 99.5]) if "saturated" not in name else (0, max(1, values.max()))
            bar = image(axes, values, None, cmap="viridis", vmin=low, vmax=high)
            canvas.colorbar(bar, ax=axes, shrink=0.8, label=str(qc[name].attrs.get("units", "")))
            axes.set_title(name.replace("_", " "))
        for axes in panels[len(names) :]:
            axes.axis("off")

    caption = "Mean images; where pixels saturated, the number of frames in which they did. Colours end at the 1st and 99.5th percentile."
    return draw(paint, height=2.1, alt="Mean images and saturation", caption=caption, pixels=True)


def _courses(recording: Recording, qc: xr.Dataset) -> Figure | None:
    """Draw the mean of every frame over the recording: bleaching, steps, light going out."""
    names = [f"{name}_course" for name in CHANNELS if f"{name}_course" in qc]
    if not names or qc[names[0]].size != recording.time.size:
        return None
    dropped = qc["demux_dropped"].values.any(axis=1) if "demux_dropped" in qc else np.zeros(0, dtype=bool)

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        for name, colour in zip(names, COLOURS, strict=False):
            course = qc[name].values
            time, shown = thinned(recording.time), thinned(course / course[: max(1, course.size // 20)].mean())
            axes.plot(time, shown, color=colour, lw=0.9, label=name.removesuffix("_course"))
        if dropped.any() and dropped.size == recording.time.size:
            at = recording.time[dropped]
            axes.plot(at, np.full(at.size, axes.get_ylim()[0]), "|", color=GREY, label="dropped frames")
        axes.set(xlabel="time (s)", ylabel="mean / that at the start", xlim=(recording.time[0], recording.time[-1]))
        axes.legend(loc="best", ncols=3)

    caption = (
        "Mean over all pixels or ROIs, relative to the first twentieth of the recording: bleaching shows as a fall."
    )
    return draw(paint, height=1.9, alt="Brightness over the recording", caption=caption)


def _motion(recording: Recording, qc: xr.Dataset) -> Figure | None:
    if "motion" not in qc or qc["motion"].shape[0] != recording.time.size:
        return None
    shifts = qc["motion"].values

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        for axis, (label, colour) in enumerate((("y", BLUE), ("x", ORANGE))):
            axes.plot(thinned(recording.time), thinned(shifts[:, axis]), color=colour, lw=0.8, label=label)
        axes.set(xlabel="time (s)", ylabel="shift (pixels)", xlim=(recording.time[0], recording.time[-1]))
        axes.legend(ncols=2)

    return draw(paint, height=1.7, alt="Motion over time", caption="Rigid shifts that registration applied.")


def _baseline(recording: Recording, qc: xr.Dataset) -> Figure | None:
    """Draw F0 over the fluorescence of the ROIs that vary most, or its map for a movie."""
    maps = _ending(qc, "_f0_mean")
    if maps:
        return _maps(recording, qc, maps[:1], "Mean baseline F0 that ΔF was divided by.", signed=False)
    names = [name for name in _ending(qc, "_f0") if f"{name}_time" in qc.variables]
    source = next((name for name in ("corrected", "fluorescence") if name in recording.variables), None)
    if not names or source is None or recording[source].ndim != 2:
        return None
    f0, at = qc[names[0]].values, qc[f"{names[0]}_time"].values
    chosen = np.argsort(-np.nan_to_num(np.nanstd(recording[source].values, axis=0)))[:3]

    def paint(canvas: Canvas) -> None:
        panels = canvas.subplots(1, len(chosen), squeeze=False)[0]
        for axes, roi in zip(panels, chosen, strict=True):
            trace = recording[source].variable[:, int(roi)].values
            axes.plot(thinned(recording.time), thinned(trace), color=GREY, lw=0.6, label=source)
            axes.plot(at, f0[:, roi], color=ORANGE, lw=1.4, label="F0")
            axes.set(xlabel="time (s)", title=f"ROI {roi}")
        panels[0].set_ylabel(f"{source} ({recording[source].attrs['units']})")
        panels[-1].legend(loc="upper right")

    return draw(
        paint, height=2.0, alt="Baseline over fluorescence", caption="Baseline F0 of the three ROIs that vary most."
    )


def _regression(recording: Recording, qc: xr.Dataset) -> Figure | None:
    after = _ending(qc, "_correlation_after")
    if not after or qc[after[0]].ndim != 2:
        return None
    stem = after[0].removesuffix("_correlation_after")
    names = [f"{stem}_{what}" for what in ("beta", "correlation_before", "correlation_after")]
    caption = (
        "Hemodynamic correction: regression coefficient on the reference, and correlation of the signal with the "
        "reference before and after."
    )
    return _maps(recording, qc, [name for name in names if name in qc], caption, signed=True)


def _maps(recording: Recording, qc: xr.Dataset, names: list[str], caption: str, *, signed: bool) -> Figure:
    def paint(canvas: Canvas) -> None:
        panels = canvas.subplots(1, 3, squeeze=False)[0]
        for axes, name in zip(panels, names, strict=False):
            values = qc[name].values.astype(float)
            low, high = (-1.0, 1.0) if "correlation" in name else symmetric(_inside(recording, values))
            limits = {"vmin": low, "vmax": high, "cmap": SIGNED} if signed else {"cmap": "viridis"}
            brain = recording.brain
            brain = brain if brain is not None and brain.shape == values.shape else None
            unit = str(qc[name].attrs.get("units", ""))
            bar = image(axes, values, brain, **limits)
            canvas.colorbar(bar, ax=axes, shrink=0.8, label="" if unit == "1" else unit)
            axes.set_title(TITLES.get(name.rpartition("_")[2], name))
        for axes in panels[len(names) :]:
            axes.axis("off")

    return draw(paint, height=2.1, alt="Maps of the correction", caption=caption, pixels=True)


def _separation(recording: Recording, qc: xr.Dataset) -> Figure | None:
    return _histogram(
        qc,
        "demux_certainty",
        "likeness to the chosen channel less the other (SD)",
        "frames",
        "Channel separation: how much better each frame fits its channel than the other; near 0 the choice is a guess.",
    )


def _noise(recording: Recording, qc: xr.Dataset) -> Figure | None:
    names = _ending(qc, "_noise_level")
    label = "noise level ν (% per √Hz)"
    return _histogram(qc, names[0], label, "ROIs", "Noise level of each ROI's ΔF/F.") if names else None


def _histogram(qc: xr.Dataset, name: str, label: str, counted: str, caption: str) -> Figure | None:
    if name not in qc:
        return None
    values = qc[name].values[np.isfinite(qc[name].values)]

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        axes.hist(values, bins=min(60, max(5, values.size // 4)), color=BLUE)
        axes.set(xlabel=label, ylabel=counted)

    return draw(paint, height=1.6, alt=caption, caption=caption)


def thinned(values: np.ndarray) -> np.ndarray:
    """Return at most 2000 points, each the mean of a stretch; NaN where a stretch has no number."""
    step = -(-values.size // POINTS)
    stretches = values[: values.size // step * step].reshape(-1, step)
    good = np.isfinite(stretches)
    count = good.sum(axis=1)
    total = np.where(good, stretches, 0).sum(axis=1)
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
