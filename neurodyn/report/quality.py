"""Whether a recording can be trusted: what preprocessing saw, drawn, and held against thresholds."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure as Canvas

from neurodyn.data.recording import Recording
from neurodyn.report.blocks import Block, Figure, Section, Table
from neurodyn.report.checks import CHANNELS, Check, checks, ending, inside
from neurodyn.report.rois import rois_figure
from neurodyn.report.signals import thinned
from neurodyn.report.style import BLACK, BLUE, GREY, ORANGE, SIGNED, draw, image, symmetric

COLOURS = (BLUE, ORANGE, BLACK)
TITLES = {"beta": "β", "before": "correlation before", "removed": "variance removed", "mean": "mean F0"}


def quality_section(recording: Recording, *, plane: bool = True) -> Section | None:
    """Show what preprocessing saw of a recording; None where it kept nothing.

    Parameters
    ----------
    plane
        Draw the ROIs on the mean image, too.
    """
    qc = recording.table("qc")
    if qc is None:
        return None
    figures = (
        *([rois_figure] if plane else []),
        _pictures,
        _courses,
        _change,
        _motion,
        _baseline,
        _regression,
        _separation,
        _noise,
    )
    drawn = [block for figure in figures if (block := figure(recording, qc)) is not None]
    lead = 1 if plane else 0
    blocks: list[Block] = [*drawn[:lead], _table(checks(recording, qc)), *drawn[lead:]]
    return Section(f"Quality: {recording.session}", blocks)


def _table(found: list[Check]) -> Table:
    rows = [
        [
            check.name,
            f"{check.value:.3g}".replace("-", "−"),
            check.limits,
            "look" if check.raised else "ok",
            check.reason,
        ]
        for check in found
    ]
    raised = sum(check.raised for check in found)
    caption = (
        f"{raised} of {len(found)} checks {'asks' if raised == 1 else 'ask'} for a look."
        if raised
        else f"All {len(found)} checks passed."
    )
    return Table(caption, ["Measured", "Value", "Flag when", "", "What a flag means"], rows, frozenset({1, 2}))


def _pictures(recording: Recording, qc: xr.Dataset) -> Figure | None:
    """Draw mean images, and where pixels saturate."""
    means = [name for name in ending(qc, "_mean") if qc[name].ndim == 2 and not name.endswith("_f0_mean")]
    names = means + [name for name in ending(qc, "_saturated") if qc[name].ndim == 2 and qc[name].values.any()]
    if "mean_image" in qc and recording.table("rois") is None:
        names.insert(0, "mean_image")
    if not names:
        return None
    names = [str(name) for name in names[:4]]

    def paint(canvas: Canvas) -> None:
        panels = canvas.subplots(1, max(3, len(names)), squeeze=False)[0]
        for axes, name in zip(panels, names, strict=False):
            values = qc[name].values
            full, shown = "saturated" in name, inside(recording, values)
            low, high = (0, max(1, values.max())) if full else np.nanpercentile(shown, [1, 99.5])
            brain = recording.brain if shown.ndim == 1 else None
            bar = image(axes, values, brain, cmap="viridis", vmin=low, vmax=high)
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


def _change(recording: Recording, qc: xr.Dataset) -> Figure | None:
    """Draw the mean ΔF/F of every frame, and the line whose slope is its drift."""
    names = [name for name in ending(qc, "_course") if qc[name].attrs.get("units") == "ΔF/F"]
    names = [name for name in names if qc[name].size == recording.time.size and np.isfinite(qc[name].values).sum() > 2]
    if not names:
        return None

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        for name, colour in zip(names, COLOURS, strict=False):
            course, time = qc[name].values.astype(float), recording.time
            good = np.isfinite(course)
            line = np.polyval(np.polyfit(time[good], course[good], 1), time[[0, -1]])
            axes.plot(thinned(time), thinned(course), color=colour, lw=0.8, label=name.removesuffix("_course"))
            axes.plot(time[[0, -1]], line, "--", color=colour, lw=1.2)
        axes.set(xlabel="time (s)", ylabel="mean ΔF/F", xlim=(recording.time[0], recording.time[-1]))
        axes.legend(ncols=3)

    caption = "Mean ΔF/F over all pixels or ROIs; dashed: the straight line that fits it, whose rise is the drift."
    return draw(paint, height=1.7, alt="Mean ΔF/F over the recording", caption=caption)


def _motion(recording: Recording, qc: xr.Dataset) -> Figure | None:
    if "motion" not in qc or qc["motion"].shape[0] != recording.time.size:
        return None
    shifts = qc["motion"].values
    alike = qc["motion_correlation"].values if "motion_correlation" in qc else np.empty(0)
    drifts = alike.size == recording.time.size

    def paint(canvas: Canvas) -> None:
        axes, *below = np.atleast_1d(canvas.subplots(1 + drifts, 1, sharex=True))
        for axis, (label, colour) in enumerate((("y", BLUE), ("x", ORANGE))):
            axes.plot(thinned(recording.time), thinned(shifts[:, axis]), color=colour, lw=0.8, label=label)
        axes.set(xlabel="time (s)", ylabel="shift (pixels)", xlim=(recording.time[0], recording.time[-1]))
        axes.legend(ncols=2)
        for under in below:
            under.plot(thinned(recording.time), thinned(alike), color=BLACK, lw=0.7)
            under.set(xlabel="time (s)", ylabel="correlation")
            axes.set_xlabel("")

    caption = "Rigid shifts that registration applied."
    if drifts:
        caption += " Below: how well each frame then correlates with the reference; a fall is a drift out of the plane, or a dimming."
    return draw(paint, height=2.8 if drifts else 1.7, alt="Motion over time", caption=caption)


def _baseline(recording: Recording, qc: xr.Dataset) -> Figure | None:
    """Draw F0 over the fluorescence of the ROIs that vary most, or its map for a movie."""
    maps = ending(qc, "_f0_mean")
    if maps:
        return _maps(recording, qc, maps[:1], "Mean baseline F0 that ΔF was divided by.", signed=False)
    names = [name for name in ending(qc, "_f0") if f"{name}_time" in qc.variables]
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
    before = ending(qc, "_correlation_before")
    if not before or qc[before[0]].ndim != 2:
        return None
    stem = before[0].removesuffix("_correlation_before")
    names = [f"{stem}_{what}" for what in ("beta", "correlation_before", "variance_removed")]
    caption = (
        "Hemodynamic correction: regression coefficient on the reference, correlation of the signal with the reference "
        "before the correction, and the share of the signal's variance that it took away."
    )
    return _maps(recording, qc, [name for name in names if name in qc], caption, signed=True)


def _maps(recording: Recording, qc: xr.Dataset, names: list[str], caption: str, *, signed: bool) -> Figure:
    def paint(canvas: Canvas) -> None:
        panels = canvas.subplots(1, 3, squeeze=False)[0]
        for axes, name in zip(panels, names, strict=False):
            values = qc[name].values.astype(float)
            unity = "correlation" in name or "variance" in name
            low, high = (-1.0, 1.0) if unity else symmetric(inside(recording, values))
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
    names = ending(qc, "_noise_level")
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
