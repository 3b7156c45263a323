"""Registration and ROIs of a two-photon movie by suite2p, run headless in a fresh folder."""

from __future__ import annotations

import contextlib
import copy
import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import xarray as xr

from neurodyn.core.errors import ConfigError, DataError, NeurodynError, WorkError
from neurodyn.core.files import atomic, clear_partials, locked
from neurodyn.core.provenance import version
from neurodyn.core.registry import unknown
from neurodyn.data.recording import Recording, entry
from neurodyn.data.store import write_tree
from neurodyn.preprocess.indicators import KINETICS, known

Progress = Callable[[str, float], None]

CITATION = (
    "Pachitariu et al., Suite2p: beyond 10,000 neurons with standard two-photon microscopy, bioRxiv 061507 (2017)"
)
ALWAYS = {"run": {"do_deconvolution": False}, "classification": {"use_builtin_classifier": True}}
FAST = {"registration": {"nonrigid": False, "nimg_init": 100}, "run": {"do_regmetrics": False}}
LEAST_FRAMES = 50
INT16_TOP = 2**15 - 2  # suite2p clips there
SCALED_TOP = 30000
READ_BYTES = 64 * 2**20


def extract(
    recording: Recording,
    target: Path,
    *,
    settings: Mapping[str, Any] | None = None,
    variable: str = "fluorescence",
    tau: float | None = None,
    fast: bool = True,
    cells_only: bool = True,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Path:
    """Register a movie, find ROIs and write their fluorescence and neuropil as a new Recording.

    Spikes are not inferred here; the step `deconvolution` does that from ΔF/F. The movie reaches suite2p as 16-bit
    integers: as it is where its counts fit, otherwise scaled linearly, and the traces are scaled back to its unit.

    Parameters
    ----------
    recording
        Has a movie, shape (time, y, x).
    target
        The recording to write: `fluorescence` and `neuropil`, shape (time, roi), in the movie's unit; `rois` with
        centre, size, cell probability and pixel masks; rigid shifts as `behavior/motion_y`, `motion_x`; stimulus,
        behaviour and truth of the movie.
    settings
        suite2p's nested settings to change, e.g. {"diameter": [8, 8]}; `fast` and `cells_only` may be given here too.
    tau
        Decay time constant of the indicator, s, for detection (default: the recording's indicator, else suite2p's 1 s).
    fast
        Rigid registration to a reference of 100 frames, no registration metrics: four times faster, enough where the
        field does not warp.
    cells_only
        Keep the ROIs that suite2p's built-in classifier calls cells.
    device
        Torch device: "cpu", "cuda", "cuda:1".
    progress
        Called with the stage and the share of it that is done.

    Raises
    ------
    DataError
        If there is no movie, or it is too short or not finite.
    ConfigError
        If a setting is unknown.
    WorkError
        If suite2p fails or finds nothing.
    """
    changes = copy.deepcopy(dict(settings or {}))
    fast, cells_only = changes.pop("fast", fast), changes.pop("cells_only", cells_only)
    _check(recording, variable)
    suite2p = import_suite2p()
    chosen = _settings(suite2p, recording, changes, tau, fast)
    _check_device(device)
    with locked(target):
        clear_partials(target)
        with atomic(target, folder=True) as folder:
            scratch = folder.parent / "suite2p"
            scratch.mkdir()
            found = _run(suite2p, recording[variable], scratch, chosen, device, progress)
            asked = {"settings": changes, "fast": fast, "cells_only": cells_only, "variable": variable}
            asked |= {"tau": chosen["tau"], "suite2p": version("suite2p")}
            write_tree(_result(recording, variable, found, cells_only, asked).tree, folder)
            Recording.open(folder)
    return target


@dataclass(frozen=True)
class Found:
    """What suite2p gave.

    Parameters
    ----------
    fluorescence, neuropil
        In the movie's unit, shape (roi, time).
    rois
        One dict per ROI: ypix, xpix, lam, npix, radius, skew.
    cells
        Class (0 or 1) and probability, shape (roi, 2).
    registration
        Rigid shifts `yoff` and `xoff` in pixels and `badframes`, each shape (time,); empty without registration.
    """

    fluorescence: np.ndarray
    neuropil: np.ndarray
    rois: list[dict[str, Any]]
    cells: np.ndarray
    registration: dict[str, np.ndarray]


def _check(recording: Recording, variable: str) -> None:
    movie = recording[variable]
    if movie.ndim != 3:
        raise DataError(
            f"'{variable}' is not a movie.",
            f"Found dimensions {movie.dims}; expected (time, y, x).",
            "ROI traces need no extraction: neurodyn preprocess",
        )
    if movie.shape[0] < LEAST_FRAMES:
        raise DataError(
            f"The movie is too short for suite2p: {movie.shape[0]} frames.",
            f"Expected {LEAST_FRAMES} at least, shape {movie.shape} read as (time, y, x).",
            "Check the axes: --axes time,y,x",
        )


def _check_device(device: str) -> None:
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"There is no device '{device}'.", "torch finds no GPU.", "Take the CPU: --gpu none")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep a third party's warnings to itself and its prints off stdout, which carries our product only."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        yield


def import_suite2p() -> ModuleType:
    """Import suite2p, and remove the empty folder it makes in the home folder.

    Raises
    ------
    ConfigError
        If it is not installed, or cannot be imported.
    """
    folder = Path.home() / ".suite2p"
    ours = not folder.exists()
    try:
        with _quiet():
            import suite2p
            import suite2p.io  # noqa: F401 - BinaryFile
    except (ImportError, OSError) as error:
        raise ConfigError(
            "suite2p cannot be imported.",
            f"{type(error).__name__}: {error}",
            "Install the extra: pip install 'neurodyn[suite2p]'; it needs a home folder that can be written",
        ) from error
    if ours:
        for empty in (folder / "settings", folder):
            with contextlib.suppress(OSError):  # somebody else put something there meanwhile
                empty.rmdir()
    return suite2p


def _settings(
    suite2p: ModuleType, recording: Recording, changes: dict[str, Any], tau: float | None, fast: bool
) -> dict[str, Any]:
    """Return suite2p's defaults with ours and the user's changes, merged key by key."""
    chosen = suite2p.default_settings()
    name = known(recording.indicator)
    timing = {"fs": recording.rate_hz, "tau": tau or (KINETICS[name].tau if name else chosen["tau"])}
    for layer in (ALWAYS, FAST if fast else {}, timing, changes):
        _update(chosen, layer, "")
    return chosen


def _update(base: dict[str, Any], layer: Mapping[str, Any], path: str) -> None:
    for key, value in layer.items():
        if key not in base:
            error = unknown("suite2p setting", f"{path}{key}", [f"{path}{name}" for name in base])
            fix = (
                error.fix if error.fix.startswith("Did") else "Take one of these: --set detection.threshold_scaling=0.5"
            )
            raise ConfigError(error.what, error.found, fix)
        if isinstance(base[key], dict) != isinstance(value, Mapping):
            expected = f"keys ({', '.join(base[key])})" if isinstance(base[key], dict) else "a value"
            raise ConfigError(f"suite2p setting '{path}{key}': found {value!r}.", f"Expected {expected}.", "Mend it.")
        if isinstance(value, Mapping):
            _update(base[key], value, f"{path}{key}.")
        else:
            base[key] = value


def _range(movie: xr.DataArray) -> tuple[float, float]:
    """Return the smallest and largest count, read in chunks; refuse NaN."""
    low, high = np.inf, -np.inf
    for frames in _chunks(movie):
        values = movie.variable[frames].values
        if not np.isfinite(values).all():
            bad = frames.start + int(np.argmax(~np.isfinite(values).reshape(len(values), -1).all(axis=1)))
            raise DataError(
                f"'{movie.name}' is not finite.",
                f"The first NaN or infinity is in frame {bad}; suite2p would turn it into a number silently.",
                "Mend or drop the frame.",
            )
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    return low, high


def _chunks(movie: xr.DataArray) -> list[slice]:
    step = max(1, READ_BYTES // max(1, movie[0].nbytes))
    return [slice(start, min(start + step, movie.shape[0])) for start in range(0, movie.shape[0], step)]


def _scaling(movie: xr.DataArray) -> tuple[float, float]:
    """Return gain and offset so that count = gain * int16 + offset; (1, 0) where the counts fit as they are."""
    low, high = _range(movie)
    if movie.dtype.kind in "iub" and low >= -(2**15) and high <= INT16_TOP:
        return 1.0, 0.0
    return ((high - low) / SCALED_TOP or 1.0), low


def _run(
    suite2p: ModuleType,
    movie: xr.DataArray,
    scratch: Path,
    settings: dict[str, Any],
    device: str,
    progress: Progress | None,
) -> Found:
    gain, offset = _scaling(movie)
    frames, height, width = movie.shape
    with suite2p.io.BinaryFile(height, width, str(scratch / "data.bin"), n_frames=frames, write=True) as binary:
        for chunk in _chunks(movie):
            binary[chunk] = np.rint((movie.variable[chunk].values - offset) / gain).astype(np.int16)
        try:
            with _quiet(), _listening(progress):
                outputs = suite2p.pipeline(
                    str(scratch),
                    binary,
                    run_registration=settings["run"]["do_registration"] > 0,
                    settings=settings,
                    device=torch.device(device),
                )
        except NeurodynError:
            raise
        except Exception as error:  # whatever suite2p raises, the user needs one message
            raise _failed(f"{type(error).__name__}: {error}") from error
    registration, _, rois, fluorescence, neuropil, _, _, _, cells, *_ = outputs
    if fluorescence is None:
        raise _failed("It found no ROI.")
    return Found(gain * fluorescence + offset, gain * neuropil + offset, list(rois), cells, registration)


def _failed(found: str) -> WorkError:
    return WorkError(
        "suite2p could not extract ROIs.",
        found,
        "Check rate and axes, or lower the threshold: --set detection.threshold_scaling=0.5 --set diameter=[12,12]",
    )


class _Stages(logging.Handler):
    """Turns suite2p's log into stages and shares."""

    def __init__(self, report: Progress) -> None:
        super().__init__(logging.INFO)
        self._report, self._stage = report, "suite2p"

    def emit(self, record: logging.LogRecord) -> None:
        """Report a new stage, or the share that a tqdm line shows."""
        message = record.getMessage()
        if stage := re.match(r"-{5,} ([A-Z][A-Z ]+)$", message):
            self._stage = f"suite2p {stage[1].lower()}"
            self._report(self._stage, 0.0)
        elif share := re.search(r"(\d+)%\|", message):
            self._report(self._stage, int(share[1]) / 100)


@contextlib.contextmanager
def _listening(progress: Progress | None) -> Iterator[None]:
    """Route suite2p's log to `progress` alone."""
    logger = logging.getLogger("suite2p")
    handler = _Stages(progress or (lambda stage, share: None))
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def _result(recording: Recording, variable: str, found: Found, cells_only: bool, asked: Mapping[str, Any]) -> Recording:
    keep = np.flatnonzero(found.cells[:, 0] > 0) if cells_only else np.arange(len(found.rois))
    if not keep.size:
        best = float(found.cells[:, 1].max())
        raise WorkError(
            f"suite2p found {len(found.rois)} ROIs, but its classifier calls none of them a cell.",
            f"The highest probability is {best:.2f}; 0.5 is needed.",
            "Keep all of them: --set cells_only=false",
        )
    units = str(recording[variable].attrs["units"])
    made = {"units": units, "made_by": "suite2p"}
    neural = {
        name: xr.Variable(("time", "roi"), traces[keep].T.astype(np.float32), made)
        for name, traces in (("fluorescence", found.fluorescence), ("neuropil", found.neuropil))
    }
    built = Recording.from_arrays(
        neural,
        rate_hz=recording.rate_hz,
        time=recording.time,
        rois=_roi_table([found.rois[index] for index in keep], found.cells[keep]),
        behavior=_with_motion(recording, found.registration),
        history=[*recording.history, entry("suite2p", asked)],
        attrs={str(key): value for key, value in recording.tree.attrs.items() if key != "history"},
    )
    for group in ("stimulus", "truth"):
        table = recording.table(group)
        if table is not None:
            built.tree[group] = xr.DataTree(table)
    return built


def _roi_table(rois: list[dict[str, Any]], cells: np.ndarray) -> xr.Dataset:
    """Return one row per ROI, and its mask as rows of (mask_roi, mask_y, mask_x, mask_weight)."""
    weights = [roi["lam"] / roi["lam"].sum() for roi in rois]
    centres = np.array([[w @ roi["ypix"], w @ roi["xpix"]] for roi, w in zip(rois, weights, strict=True)])
    pixel = {"units": "pixel"}
    table = {
        "y": ("roi", centres[:, 0], pixel),
        "x": ("roi", centres[:, 1], pixel),
        "npix": ("roi", np.array([roi["npix"] for roi in rois], dtype=np.int64)),
        "radius": ("roi", np.array([roi["radius"] for roi in rois], dtype=np.float64), pixel),
        "skew": ("roi", np.array([roi["skew"] for roi in rois], dtype=np.float64)),
        "probability": ("roi", cells[:, 1].astype(np.float64)),
        "cell": ("roi", cells[:, 0] > 0),
        "mask_roi": ("mask", np.repeat(np.arange(len(rois)), [roi["ypix"].size for roi in rois])),
        "mask_y": ("mask", np.concatenate([roi["ypix"] for roi in rois]).astype(np.int64), pixel),
        "mask_x": ("mask", np.concatenate([roi["xpix"] for roi in rois]).astype(np.int64), pixel),
        "mask_weight": ("mask", np.concatenate(weights).astype(np.float64)),
    }
    return xr.Dataset(table)


def _with_motion(recording: Recording, registration: Mapping[str, np.ndarray]) -> xr.Dataset | None:
    """Add the rigid shifts to the movie's behaviour, on a time axis of their own where `time` is taken."""
    behavior = recording.table("behavior")
    if "yoff" not in registration:
        return behavior
    behavior = xr.Dataset() if behavior is None else behavior
    taken = "time" in behavior.sizes and not np.array_equal(behavior["time"].values, recording.time)
    axis = "motion_time" if taken else "time"
    shifts = {
        f"motion_{name}": (axis, np.asarray(registration[f"{name}off"], dtype=np.float64), {"units": "pixel"})
        for name in ("y", "x")
    }
    return behavior.assign(shifts).assign_coords({axis: (axis, recording.time, {"units": "s"})})
