"""Registration and ROIs of a two-photon movie by suite2p, and by the shape of cells, run headless in a fresh folder."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr

from neurodyn.calcium.indicators import KINETICS, known
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.core.files import clear_partials, locked, sha256
from neurodyn.core.log import LOGGER
from neurodyn.core.provenance import version
from neurodyn.core.registry import unknown
from neurodyn.data.recording import Recording
from neurodyn.data.store import whole_store, write_tree
from neurodyn.preprocess.denoised import warn_denoised
from neurodyn.preprocess.extracted import Found, extracted
from neurodyn.preprocess.find_cells import WAYS, Wanted, Way, find_cells, told
from neurodyn.preprocess.movie16 import fill, mean_frame, scaling
from neurodyn.preprocess.one_photon_rois import one_photon_cells
from neurodyn.preprocess.roi_files import read_masks
from neurodyn.preprocess.suite2p_stages import Progress, Stages, quiet

Preset = Literal["fast", "default"]

ALWAYS = {"run": {"do_deconvolution": False}, "classification": {"use_builtin_classifier": True}}
PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"registration": {"nonrigid": False, "nimg_init": 100}, "run": {"do_regmetrics": False}},
    "default": {},
}
OURS = ("preset", "cells_only", "cells", "rois", "one_photon")  # settings that are not suite2p's
LEAST_FRAMES = 10
FEW_FRAMES = 50
LEAST_DIAMETER = 3.0  # pixels


def extract(
    recording: Recording,
    target: Path,
    *,
    settings: Mapping[str, Any] | None = None,
    variable: str = "fluorescence",
    tau: float | None = None,
    preset: Preset = "fast",
    cells_only: bool = True,
    cells: Way = "both",
    rois: Path | None = None,
    one_photon: bool = False,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Path:
    """Register a movie, find cells and write their fluorescence and neuropil as a new Recording.

    The diameter of cells is estimated from the registered movie's pictures, unless it is told. Active cells are those
    that suite2p finds at that size; cells that do not fire are found by their shape (`anatomy`).
    Spikes are not inferred here; the step `deconvolution` does that from ΔF/F. The movie reaches suite2p as 16-bit
    integers: as it is where its counts fit, otherwise scaled linearly, and the traces are scaled back to its unit.
    suite2p works in a new folder every time, which is removed afterwards: it would take up binaries of another movie.

    Parameters
    ----------
    recording
        Has a movie, shape (time, y, x).
    target
        The recording to write: `fluorescence` and `neuropil`, shape (time, roi), in the movie's unit; `rois` with
        centre, quality and pixel masks; `qc` with motion, bad frames and pictures of the registered movie; stimulus,
        behaviour and truth of the movie.
    settings
        suite2p's nested settings to change, e.g. {"diameter": 8}; `preset`, `cells_only`, `cells`, `rois` and
        `one_photon` may be given here, too.
    tau
        Decay time constant of the indicator, s, for detection (default: the recording's indicator, else suite2p's 1 s).
    preset
        "fast": rigid registration to a reference of 100 frames, no registration metrics, four times faster and enough
        where the field does not warp; "default": suite2p's own settings.
    cells_only
        Of the ROIs found by activity alone, keep those that suite2p's built-in classifier calls cells.
    cells
        Find cells by their "activity", by their "anatomy" in the mean image, or by "both".
    rois
        File of the user's own ROIs of the registered movie (`roi_files`), instead of any search.
    one_photon
        Tell cells from the background of a one-photon movie (`one_photon`) instead of asking suite2p; no neuropil then.
    device
        Torch device: "cpu", "cuda", "cuda:1".
    progress
        Called with the stage and the share of it that is done.

    Raises
    ------
    DataError
        If there is no movie, it is too short, constant or not finite, or no ROI is found in it.
    ConfigError
        If a setting is unknown, or there is no such device.
    WorkError
        If suite2p fails.
    """
    changes = copy.deepcopy(dict(settings or {}))
    rois, one_photon = changes.pop("rois", rois), changes.pop("one_photon", one_photon)
    preset, cells_only = changes.pop("preset", preset), changes.pop("cells_only", cells_only)
    warn_denoised(recording, () if rois else ("extract",))
    wanted = _wanted(recording, variable, changes, changes.pop("cells", cells), rois, one_photon)
    suite2p, chosen = _prepared(recording, variable, changes, tau, preset, device)
    asked = {"settings": changes, "preset": preset, "cells_only": cells_only, "variable": variable}
    asked |= {"tau": chosen["tau"], "suite2p": version("suite2p")}
    asked |= {"rois": Path(rois).name, "rois_sha256": sha256(Path(rois))} if rois else {}
    asked |= {"block_size": chosen["registration"]["block_size"]} if chosen["registration"]["nonrigid"] else {}
    with locked(target):
        clear_partials(target)
        with whole_store(target) as folder:
            scratch = folder.parent / "suite2p"
            scratch.mkdir()
            found, how = _run(suite2p, recording[variable], scratch, chosen, device, progress, wanted, changes)
            asked |= {"counts_per_step": found.gain} | how
            write_tree(extracted(recording, variable, found, cells_only, asked).tree, folder)
            Recording.open(folder)
    return target


def _wanted(
    recording: Recording, variable: str, changes: Mapping[str, Any], cells: Any, rois: Any, one_photon: Any
) -> Wanted:
    """Return how cells are to be found, with the ROIs of a file read."""
    _check(recording, variable)
    if cells not in WAYS:
        raise ConfigError(f"Cells cannot be found by '{cells}'.", f"Known: {', '.join(WAYS)}.", "Take --cells both")
    if one_photon and (rois is not None or cells != "both"):
        raise ConfigError(
            "One-photon movies show cells by their activity alone.",
            f"Found --one-photon beside {'--rois' if rois is not None else '--cells'}.",
            "Leave one of them out.",
        )
    diameter = changes.get("diameter")
    values = np.atleast_1d(np.asarray([] if diameter is None else diameter, dtype=object))
    if not all(isinstance(value, int | float) and value >= LEAST_DIAMETER for value in values):
        raise ConfigError(
            f"A cell's diameter cannot be {diameter}.",
            f"Expected pixels, {LEAST_DIAMETER:g} at least.",
            "Give its number, or leave it out for an estimate: --diameter 12",
        )
    told = float(np.mean(values)) if values.size else None
    height, width = recording[variable].shape[1:]
    return Wanted(
        cells, told, None if rois is None else read_masks(Path(rois), (height, width), told), bool(one_photon)
    )


def check(
    recording: Recording, *, settings: Mapping[str, Any], variable: str = "fluorescence", device: str = "cpu"
) -> None:
    """Refuse what `extract` would refuse before it begins; nothing is written.

    suite2p, which takes long to import, is asked only where there are settings that it may not know.
    """
    ours = (settings.get(name, usual) for name, usual in (("cells", "both"), ("rois", None), ("one_photon", False)))
    _wanted(recording, variable, settings, *ours)
    changes = {name: value for name, value in settings.items() if name not in OURS}
    if changes:
        _prepared(recording, variable, changes, None, settings.get("preset", "fast"), device)
        return
    _check(recording, variable)
    _check_device(device)
    if version("suite2p") == "absent":
        raise _no_suite2p("It is not installed.")


def _prepared(
    recording: Recording, variable: str, changes: Mapping[str, Any], tau: float | None, preset: str, device: str
) -> tuple[ModuleType, dict[str, Any]]:
    """Return suite2p and its settings, where it can work on this movie."""
    _check(recording, variable)
    suite2p = import_suite2p()
    chosen = settings_for(suite2p, recording, changes, tau, preset)
    _fit_blocks(chosen["registration"], recording[variable].shape[1:])
    _check_device(device)
    return suite2p, chosen


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
    if movie.shape[0] < FEW_FRAMES:
        LOGGER.warning("%d frames are few to find cells by their activity.", movie.shape[0])


def _check_device(device: str) -> None:
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"There is no device '{device}'.", "torch finds no GPU.", "Take the CPU: --gpu none")


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
        with quiet():
            import suite2p
            import suite2p.io  # noqa: F401 - BinaryFile
    except (ImportError, OSError) as error:
        raise _no_suite2p(f"{type(error).__name__}: {error}") from error
    if ours:
        for empty in (folder / "settings", folder):
            with contextlib.suppress(OSError):  # somebody else put something there meanwhile
                empty.rmdir()
    return suite2p


def _no_suite2p(found: str) -> ConfigError:
    fix = "Install the extra: pip install 'neurodyn[suite2p]'; it needs a home folder that can be written"
    return ConfigError("suite2p cannot be imported.", found, fix)


def settings_for(
    suite2p: ModuleType, recording: Recording, changes: Mapping[str, Any], tau: float | None, preset: str
) -> dict[str, Any]:
    """Return suite2p's defaults with ours and the user's changes, merged key by key.

    suite2p itself replaces whole sections, so that naming one key of a section loses the others.

    Raises
    ------
    ConfigError
        If a setting or the preset is unknown.
    """
    if preset not in PRESETS:
        raise ConfigError(
            f"There is no preset '{preset}' of the extraction.", f"Known: {', '.join(PRESETS)}.", "Take --preset fast"
        )
    chosen = copy.deepcopy(suite2p.default_settings())
    name = known(recording.indicator)
    timing = {"fs": recording.rate_hz, "tau": tau or (KINETICS[name].tau if name else chosen["tau"])}
    for layer in (ALWAYS, PRESETS[preset], timing, changes):
        _update(chosen, layer, "")
    return chosen


def _fit_blocks(registration: dict[str, Any], shape: tuple[int, ...]) -> None:
    """Take blocks of half a frame where non-rigid registration would have a single one along an axis: suite2p fails."""
    asked = [int(size) for size in registration["block_size"]]
    fitting = [size if size < length else length // 2 for size, length in zip(asked, shape, strict=True)]
    if registration["nonrigid"] and fitting != asked:
        LOGGER.warning("Blocks of non-rigid registration are made %s: frames have %s pixels.", fitting, list(shape))
        registration["block_size"] = fitting


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


def _run(
    suite2p: ModuleType,
    movie: xr.DataArray,
    scratch: Path,
    settings: dict[str, Any],
    device: str,
    progress: Progress | None,
    wanted: Wanted,
    by_hand: Mapping[str, Any],
) -> tuple[Found, dict[str, Any]]:
    """Return what was found, and for the history how."""
    gain, offset, seen = scaling(movie)
    frames, height, width = movie.shape
    with suite2p.io.BinaryFile(height, width, str(scratch / "data.bin"), n_frames=frames, write=True) as binary:
        fill(binary, movie, gain, offset)
        stages = Stages(suite2p, binary, scratch, settings, device, progress)
        registration = stages.register()
        if wanted.one_photon:
            (cells, fluorescence), neuropil = one_photon_cells(stages, registration, wanted), None
            verdicts = np.tile([1.0, np.nan], (len(cells.rois), 1))  # suite2p's classifier knows two-photon ROIs
        else:
            cells = find_cells(stages, registration, wanted, by_hand)
            fluorescence, neuropil = stages.traces(cells.rois)
            verdicts = stages.classify(cells.rois)
        mean = registration.get("meanImg")
        pictures = {"mean_image": mean_frame(binary) if mean is None else np.asarray(mean, dtype=np.float64)}
    saturated = seen.saturated if movie.dtype.kind in "iu" else None
    found = Found(
        fluorescence,
        neuropil,
        cells.rois,
        verdicts,
        registration,
        pictures | {"max_projection": cells.rise},
        gain,
        offset,
        seen.course,
        saturated,
        "one_photon" if wanted.one_photon else "suite2p",
    )
    return found, told(cells, wanted)
