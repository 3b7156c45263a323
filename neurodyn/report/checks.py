"""What preprocessing saw of a recording, held against thresholds."""

from __future__ import annotations

import numpy as np
import xarray as xr

from neurodyn.data.clock import missing_frames
from neurodyn.data.recording import Recording
from neurodyn.report.check import Check, above
from neurodyn.report.heart import heart_rate, heartbeat_left, power_beside
from neurodyn.report.roi_checks import roi_checks

CHANNELS = ("fluorescence", "reference")
HEART_LEFT = 0.1


def checks(recording: Recording, qc: xr.Dataset) -> list[Check]:
    """Return every check that the recording has data for."""
    return [
        *_saturation(recording, qc),
        *_brightness(qc),
        *_dropped(recording, qc),
        *_movement(qc),
        *_regression(recording, qc),
        *_heart(recording, qc),
        *_drift(recording, qc),
        *_separation(qc),
        *_noise(qc),
        *roi_checks(recording, qc),
    ]


def _saturation(recording: Recording, qc: xr.Dataset) -> list[Check]:
    found, why = [], "their peaks are cut off; lower the gain or mask them"
    for name in recording.variables:
        if f"{name}_course" not in qc or recording[name].dtype.kind not in "iu":
            continue
        saturated = qc[f"{name}_saturated"].values if f"{name}_saturated" in qc else np.zeros(1)
        noun = "pixels" if recording[name].ndim == 3 else "ROIs"
        found.append(above(f"{noun} of '{name}' ever saturated, share", float(np.mean(saturated > 0)), 0.001, why))
    if "movie_saturated" in qc:
        share = float(np.mean(qc["movie_saturated"].values > 0))
        found.append(above("pixels of the movie ever saturated, share", share, 0.001, why))
    return found


def _brightness(qc: xr.Dataset) -> list[Check]:
    """Compare the last with the first twentieth of the recording: lost to bleaching, or gained."""
    found = []
    for name in ending(qc, "_course"):
        course, stem = qc[name].values, name.removesuffix("_course")
        edge = max(1, course.size // 20)
        first, last = float(course[:edge].mean()), float(course[-edge:].mean())
        if stem in (*CHANNELS, "neuropil", "movie") and first > 0:
            why = (
                "bleaching, or light or focus that was lost; ΔF/F needs a baseline that follows, or a detrend step"
                if last < first
                else "the baseline rises: light that warms up, focus that drifts, or light from outside; ΔF/F needs a "
                "baseline that follows, or a detrend step"
            )
            found.append(Check(f"change of '{stem}' from start to end, share", last / first - 1, -0.2, 0.2, why))
    return found


def _dropped(recording: Recording, qc: xr.Dataset) -> list[Check]:
    why = "windows and filters run across them"
    missing = float(missing_frames(recording.time, recording.rate_hz).sum()) / recording.time.size
    found = [above("frames missing in the frame times, share", missing, 0.01, why)]
    if "demux_dropped" in qc:
        share = float(qc["demux_dropped"].values.mean())
        found.append(above("dropped frames, interpolated, share", share, 0.01, why))
    return found


def _movement(qc: xr.Dataset) -> list[Check]:
    if "motion" not in qc:
        return []
    shifts = qc["motion"].values
    size = np.hypot(*(shifts - np.nanmedian(shifts, axis=0)).T)
    far, lost = float(np.nanpercentile(size, 95)), float(np.isnan(size).mean())
    turned = float((np.abs(qc["rotation"].values) >= 1).mean()) if "rotation" in qc else 0.0
    return [
        above("frames rotated by 1 degree or more, share", turned, 0.001, "shifts alone do not undo rotations"),
        above("motion, 95th percentile (pixels)", far, 5.0, "what moves out of focus is lost"),
        above("frames that could not be registered, share", lost, 0.001, "they stand unmoved in the movie"),
    ]


def _regression(recording: Recording, qc: xr.Dataset) -> list[Check]:
    """Check sign and size of β, and how much of the signal the correction took away."""
    found = []
    for name in ending(qc, "_beta"):
        beta = _of_pixels(recording, qc[name].values)
        if not beta.size:
            continue
        why = (
            "blood dims both channels at once, so that β is positive; a negative one adds blood to the signal. Are the "
            "channels swapped, or is the reference mostly noise?"
        )
        found.append(above("pixels with negative β, share", float((beta < 0).mean()), 0.05, why))
        why = "below 0.1 the reference explains next to nothing, above 3 it moves far less than the signal: the wrong channel?"
        found.append(Check("β, median over pixels", float(np.median(beta)), 0.1, 3.0, why))
    for name in ending(qc, "_variance_removed"):
        share = _of_pixels(recording, qc[name].values)
        why = (
            "below 0.01 the correction did nothing or added variance; above 0.95 it took the signal, too: does calcium "
            "leak into the reference?"
        )
        found.append(
            Check("variance removed by the correction, median share", float(np.median(share)), 0.01, 0.95, why)
        )
    return found


def _of_pixels(recording: Recording, values: np.ndarray) -> np.ndarray:
    """Return the values of pixels or ROIs that were corrected at all: 0 stands for a reference that did not vary."""
    chosen = inside(recording, values)
    return chosen[np.isfinite(chosen) & (chosen != 0)]


def _heart(recording: Recording, qc: xr.Dataset) -> list[Check]:
    """Check what is left at the heart rate that the reference shows, beside neighbouring frequencies."""
    names = [f"{name}_course" for name in ("reference", "fluorescence", "corrected")]
    if any(name not in qc or qc[name].size != recording.time.size for name in names):
        return []
    reference, before, after = (qc[name].values.astype(float) for name in names)
    beat = heart_rate(reference, recording.rate_hz)
    if beat is None:
        return []
    left = heartbeat_left(before, after, recording.rate_hz, beat)
    had, has = (power_beside(course, recording.rate_hz, beat) for course in (before, after))
    name = (
        f"share left of the heartbeat's power at {beat:.1f} Hz ({had:.3g} times that of neighbouring frequencies before, "
        f"{has:.3g} times after the correction)"
    )
    why = "the correction left the heartbeat in the signal, or put it there; so it may have with slower blood signals"
    return [] if left is None else [above(name, left, HEART_LEFT, why)]


def _drift(recording: Recording, qc: xr.Dataset) -> list[Check]:
    """Fit a line to the mean ΔF/F of each frame."""
    found = []
    for name in ending(qc, "_course"):
        course = qc[name].values.astype(float)
        good = np.isfinite(course)
        if qc[name].attrs.get("units") != "ΔF/F" or course.size != recording.time.size or good.sum() < 3:
            continue
        slope = np.polyfit(recording.time[good], course[good], 1)[0]
        change = float(slope * (recording.time[-1] - recording.time[0]))
        why = "the baseline does not follow the recording: a shorter window, or a detrend step before"
        stem = name.removesuffix("_course")
        found.append(Check(f"drift of mean '{stem}' from start to end, ΔF/F", change, -0.05, 0.05, why))
    return found


def _separation(qc: xr.Dataset) -> list[Check]:
    if "demux_certainty" not in qc:
        return []
    unsure = float(np.mean(qc["demux_certainty"].values < 3.0))
    why = "the channels look alike in these frames; some may stand in the wrong channel"
    return [above("frames of uncertain channel, share", unsure, 0.001, why)]


def _noise(qc: xr.Dataset) -> list[Check]:
    why = "single spikes drown; 1 is very good, 3 to 4 decent (Rupprecht et al., Nat Neurosci 24, 1324, 2021)"
    return [
        above("noise level, median over ROIs (%/√Hz)", float(np.nanmedian(qc[name].values)), 5.0, why)
        for name in ending(qc, "_noise_level")
    ]


def inside(recording: Recording, values: np.ndarray) -> np.ndarray:
    """Return the pixels of a map inside the brain; the map itself where no brain of its shape is known."""
    brain = recording.brain
    return values[brain] if brain is not None and values.shape == brain.shape else values


def ending(qc: xr.Dataset, suffix: str) -> list[str]:
    """Return the names in "qc" with a suffix, in order."""
    return sorted(str(name) for name in qc.data_vars if str(name).endswith(suffix))
