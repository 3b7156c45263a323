"""The recording made of extracted ROIs: traces, a table of ROIs with their quality, and how the movie moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording, entry

CITATION = (
    "Pachitariu et al., Suite2p: beyond 10,000 neurons with standard two-photon microscopy, bioRxiv 061507 (2017)"
)
PIXEL = {"units": "pixels"}
NO_UNIT = {"units": "1"}


@dataclass(frozen=True)
class Found:
    """What suite2p gave, in the 16-bit numbers it was given: count = gain · number + offset.

    Parameters
    ----------
    fluorescence, neuropil
        Shape (roi, time); no neuropil where the background is taken away already.
    rois
        One dict per ROI: ypix, xpix, lam, overlap, npix, radius, skew, snr, found_by.
    cells
        Class (0 or 1) and probability, shape (roi, 2).
    registration
        Displacements `yoff` and `xoff` in pixels, correlation `corrXY` with the reference, `badframes`, each shape
        (time,), and more where suite2p did more; nothing over time without registration.
    pictures
        `mean_image` of the registered movie and `max_projection` of its binned form, each shape (y, x).
    gain, offset
        The movie's counts per step, and its counts at zero.
    course
        Mean of each frame of the movie, counts, shape (time,).
    saturated
        Frames in which each pixel has the largest value of the movie's integer type, shape (y, x); None for other types.
    step
        Name of what found them, for the history.
    """

    fluorescence: np.ndarray
    neuropil: np.ndarray | None
    rois: list[dict[str, Any]]
    cells: np.ndarray
    registration: dict[str, Any]
    pictures: dict[str, np.ndarray]
    gain: float
    offset: float
    course: np.ndarray
    saturated: np.ndarray | None
    step: str = "suite2p"


def extracted(
    recording: Recording, variable: str, found: Found, cells_only: bool, asked: Mapping[str, Any]
) -> Recording:
    """Build the recording of a movie's ROIs; stimulus, behaviour, truth and qc of the movie stay.

    Parameters
    ----------
    asked
        For the history: what was asked of suite2p.

    Raises
    ------
    DataError
        If only cells are kept and there is none.
    """
    # the classifier goes by activity: it says nothing about cells that were found by their shape
    by_shape = np.array([roi["found_by"] != "activity" for roi in found.rois])
    keep = np.flatnonzero((found.cells[:, 0] > 0) | by_shape) if cells_only else np.arange(len(found.rois))
    if not keep.size:
        raise DataError(
            f"suite2p found {len(found.rois)} ROIs, but its classifier calls none of them a cell.",
            f"The highest probability is {float(found.cells[:, 1].max()):.2f}; 0.5 is needed.",
            "Keep all of them: --set cells_only=false",
        )
    units = str(recording[variable].attrs["units"])
    neural = {
        name: xr.Variable(("time", "roi"), _counts(traces[keep].T, found), {"units": units, "made_by": found.step})
        for name, traces in (("fluorescence", found.fluorescence), ("neuropil", found.neuropil))
        if traces is not None
    }
    built = Recording.from_arrays(
        neural,
        rate_hz=recording.rate_hz,
        time=recording.time,
        rois=_roi_table([found.rois[index] for index in keep], found.cells[keep]),
        qc=_seen(recording, found, units),
        history=[*recording.history, entry(found.step, asked)],
        attrs={str(key): value for key, value in recording.tree.attrs.items() if key != "history"},
    )
    for group in ("stimulus", "behavior", "truth"):
        table = recording.table(group)
        if table is not None:
            built.tree[group] = xr.DataTree(table)
    return built


def _counts(values: np.ndarray, found: Found) -> np.ndarray:
    return (found.gain * values + found.offset).astype(np.float32)


def _roi_table(rois: list[dict[str, Any]], cells: np.ndarray) -> xr.Dataset:
    """Return one row per ROI, and its mask as rows of (mask_roi, mask_y, mask_x, mask_weight)."""
    weights = [roi["lam"] / roi["lam"].sum() for roi in rois]
    centres = np.array([[w @ roi["ypix"], w @ roi["xpix"]] for roi, w in zip(rois, weights, strict=True)])
    table: dict[str, Any] = {
        "y": ("roi", centres[:, 0], PIXEL),
        "x": ("roi", centres[:, 1], PIXEL),
        "npix": ("roi", np.array([roi["npix"] for roi in rois], dtype=np.int64), PIXEL),
        "radius": ("roi", _column(rois, "radius"), PIXEL),
        "skew": ("roi", _column(rois, "skew"), NO_UNIT),
        "snr": (
            "roi",
            _column(rois, "snr"),
            NO_UNIT | {"long_name": "1 - half the variance of differences / variance"},
        ),
        "overlap": (
            "roi",
            np.array([np.mean(roi["overlap"]) for roi in rois]),
            NO_UNIT | {"long_name": "share shared"},
        ),
        "probability": ("roi", cells[:, 1].astype(np.float64), NO_UNIT | {"long_name": "of being a cell"}),
        "cell": ("roi", cells[:, 0] > 0, {"long_name": "by suite2p's classifier, which goes by activity"}),
        "found_by": ("roi", np.array([roi["found_by"] for roi in rois])),
        "mask_roi": ("mask", np.repeat(np.arange(len(rois)), [roi["ypix"].size for roi in rois])),
        "mask_y": ("mask", np.concatenate([roi["ypix"] for roi in rois]).astype(np.int64), PIXEL),
        "mask_x": ("mask", np.concatenate([roi["xpix"] for roi in rois]).astype(np.int64), PIXEL),
        "mask_weight": ("mask", np.concatenate(weights).astype(np.float64), NO_UNIT),
    }
    return xr.Dataset(table)


def _column(rois: list[dict[str, Any]], name: str) -> np.ndarray:
    return np.array([roi[name] for roi in rois], dtype=np.float64)


def _seen(recording: Recording, found: Found, units: str) -> xr.Dataset:
    """Return the movie's qc with the registered movie's pictures, its motion and how well frames matched.

    `motion` (time_qc, axis) holds the shifts along y and x that move frames onto the reference, as the step `register`
    does: the opposite of suite2p's displacements.
    """
    mean = _counts(found.pictures["mean_image"], found)
    highest = (found.gain * found.pictures["max_projection"]).astype(np.float32)
    seen: dict[str, Any] = {
        "mean_image": (("y", "x"), mean, {"units": units}),
        "max_projection": (("y", "x"), highest, {"units": units, "long_name": "largest rise above the mean"}),
    }
    seen["movie_course"] = ("time_qc", found.course.astype(np.float32), {"units": units})
    if found.saturated is not None:
        seen["movie_saturated"] = (("y", "x"), found.saturated.astype(np.float32), {"units": "frames"})
    shifts = found.registration
    if "yoff" in shifts:
        motion = -np.stack([shifts["yoff"], shifts["xoff"]], axis=1).astype(np.float32)
        seen |= {
            "motion": (("time_qc", "axis"), motion, PIXEL),
            "motion_correlation": ("time_qc", np.asarray(shifts["corrXY"], dtype=np.float32), NO_UNIT),
            "bad_frame": ("time_qc", np.asarray(shifts["badframes"], dtype=bool)),
        }
    if shifts.get("yoff1") is not None:
        warp = np.sqrt(np.mean(np.square(shifts["yoff1"]) + np.square(shifts["xoff1"]), axis=1))
        seen["motion_nonrigid"] = ("time_qc", warp.astype(np.float32), PIXEL | {"long_name": "rms over blocks"})
    if shifts.get("regDX") is not None:
        seen["motion_left"] = (("pc", "kind"), np.asarray(shifts["regDX"], dtype=np.float32), PIXEL)
    earlier = recording.table("qc")
    made = xr.Dataset(seen)
    if earlier is None:
        return made
    clashes = {dim for dim, size in made.sizes.items() if earlier.sizes.get(dim, size) != size}
    kept = [name for name, values in earlier.data_vars.items() if name not in made and not clashes & set(values.dims)]
    return earlier[kept].assign(made.data_vars)


def methods(asked: Mapping[str, Any]) -> str:
    """Say for a methods section what suite2p did.

    Parameters
    ----------
    asked
        As the history has it.
    """
    changed = _flat(asked.get("settings") or {})
    registered = "was registered rigidly"
    if changed.get("run.do_registration") == 0:
        registered = "was not registered"
    elif asked.get("block_size"):
        blocks = " × ".join(map(str, asked["block_size"]))
        registered = f"was registered, rigidly and in blocks of {blocks} pixels,"
    tau = f", decay time constant {asked['tau']:g} s" if asked.get("tau") else ""
    listed = "; ".join(f"{name} {_words(value)}" for name, value in changed.items())
    told = f" Settings changed from suite2p's own: {listed}." if listed else ""
    return (
        f"The movie '{asked.get('variable', 'fluorescence')}' {registered} and {_search(asked, tau)}, each with its "
        f"fluorescence and that of the neuropil around it.{told}"
    )


def one_photon_methods(asked: Mapping[str, Any]) -> str:
    """Say for a methods section how cells were told from a one-photon background.

    Parameters
    ----------
    asked
        As the history has it.
    """
    size = f" {asked['diameter_px']:g} pixels wide ({asked['diameter_from']})" if "diameter_px" in asked else ""
    return (
        f"The one-photon movie '{asked.get('variable', 'fluorescence')}' was registered by suite2p "
        f"{asked.get('suite2p', '')}; cells{size} were seeded where the peak-to-noise ratio has maxima, and their "
        "footprints and traces told from a ring background by constrained nonnegative matrix factorisation."
    )


def _search(asked: Mapping[str, Any], tau: str) -> str:
    """Say how cells were found and which were kept; histories before there was a choice have no word of it."""
    suite2p, preset = f"suite2p {asked.get('suite2p', '')}", f"preset {asked.get('preset', 'default')}{tau}"
    size = f"cells of {asked['diameter_px']:g} pixels ({asked['diameter_from']})" if "diameter_px" in asked else "ROIs"
    kept = "those that its built-in classifier calls cells" if asked.get("cells_only", True) else "all of them"
    shapes = "somata that stand out of their surround in the mean image"
    match asked.get("cells", "activity"):
        case "given":
            return f"the traces of ROIs from a file were taken by {suite2p}"
        case "anatomy":
            return f"searched for {size} by their shape; {shapes} were kept"
        case "both":
            found = f"searched for {size} by {suite2p} ({preset}) and by their shape"
            return f"{found}; of ROIs found by activity {kept} were kept, and all {shapes}"
    return f"searched for {size} by {suite2p} ({preset}); {kept} were kept"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _words(value: Any) -> str:
    return " and ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
