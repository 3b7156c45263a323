"""Registration and ROIs of a two-photon movie by suite2p, run headless in a fresh folder."""

from __future__ import annotations

import contextlib
import copy
import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr

from neurodyn.calcium.indicators import KINETICS, known
from neurodyn.core.errors import ConfigError, DataError, NeurodynError, WorkError
from neurodyn.core.files import clear_partials, locked
from neurodyn.core.log import LOGGER
from neurodyn.core.provenance import version
from neurodyn.core.registry import unknown
from neurodyn.data.recording import Recording
from neurodyn.data.store import whole_store, write_tree
from neurodyn.preprocess.extracted import Found, extracted
from neurodyn.preprocess.scan import Scan, Scanner

Progress = Callable[[str, float], None]
Preset = Literal["fast", "default"]

ALWAYS = {"run": {"do_deconvolution": False}, "classification": {"use_builtin_classifier": True}}
PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"registration": {"nonrigid": False, "nimg_init": 100}, "run": {"do_regmetrics": False}},
    "default": {},
}
LEAST_FRAMES = 10
FEW_FRAMES = 50
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
    preset: Preset = "fast",
    cells_only: bool = True,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Path:
    """Register a movie, find ROIs and write their fluorescence and neuropil as a new Recording.

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
        suite2p's nested settings to change, e.g. {"diameter": [8, 8]}; `preset` and `cells_only` may be given here too.
    tau
        Decay time constant of the indicator, s, for detection (default: the recording's indicator, else suite2p's 1 s).
    preset
        "fast": rigid registration to a reference of 100 frames, no registration metrics, four times faster and enough
        where the field does not warp; "default": suite2p's own settings.
    cells_only
        Keep the ROIs that suite2p's built-in classifier calls cells.
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
    preset, cells_only = changes.pop("preset", preset), changes.pop("cells_only", cells_only)
    suite2p, chosen = _prepared(recording, variable, changes, tau, preset, device)
    with locked(target):
        clear_partials(target)
        with whole_store(target) as folder:
            scratch = folder.parent / "suite2p"
            scratch.mkdir()
            found = _run(suite2p, recording[variable], scratch, chosen, device, progress)
            asked = {"settings": changes, "preset": preset, "cells_only": cells_only, "variable": variable}
            asked |= {"tau": chosen["tau"], "suite2p": version("suite2p"), "counts_per_step": found.gain}
            asked |= {"block_size": chosen["registration"]["block_size"]} if chosen["registration"]["nonrigid"] else {}
            write_tree(extracted(recording, variable, found, cells_only, asked).tree, folder)
            Recording.open(folder)
    return target


def check(
    recording: Recording, *, settings: Mapping[str, Any], variable: str = "fluorescence", device: str = "cpu"
) -> None:
    """Refuse what `extract` would refuse before it begins; nothing is written.

    suite2p, which takes long to import, is asked only where there are settings that it may not know.
    """
    changes = {name: value for name, value in settings.items() if name not in ("preset", "cells_only")}
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


def _range(movie: xr.DataArray) -> tuple[float, float, Scan]:
    """Return the smallest and largest count and what one look found, read in chunks; refuse NaN."""
    low, high = np.inf, -np.inf
    scanner = Scanner(movie.shape, movie.dtype, np.ones(movie.shape[1:], dtype=bool))
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
        scanner.add(frames.start, values)
    return low, high, scanner.done()


def _chunks(movie: xr.DataArray) -> list[slice]:
    return _stretches(movie.shape, movie.dtype.itemsize)


def _stretches(shape: tuple[int, ...], itemsize: int = 2) -> list[slice]:
    step = max(1, READ_BYTES // max(1, itemsize * shape[1] * shape[2]))
    return [slice(start, min(start + step, shape[0])) for start in range(0, shape[0], step)]


def _scaling(movie: xr.DataArray) -> tuple[float, float, Scan]:
    """Return gain and offset so that count = gain * int16 + offset, (1, 0) where the counts fit, and what was seen.

    suite2p alone would halve uint16, cut fractions off, and let large counts wrap.
    """
    low, high, seen = _range(movie)
    if low == high:
        raise DataError(
            f"'{movie.name}' is constant.",
            f"Every pixel of every frame is {low:g}.",
            "Check the file, and the channel that was read: --channels",
        )
    if movie.dtype.kind in "iub" and low >= -(2**15) and high <= INT16_TOP:
        return 1.0, 0.0, seen
    gain = (high - low) / SCALED_TOP
    LOGGER.info("The movie is scaled to 16 bits for suite2p, in steps of %.3g %s.", gain, movie.attrs["units"])
    return gain, low, seen


def _run(
    suite2p: ModuleType,
    movie: xr.DataArray,
    scratch: Path,
    settings: dict[str, Any],
    device: str,
    progress: Progress | None,
) -> Found:
    gain, offset, seen = _scaling(movie)
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
            raise _failed(error) from error
        registration, detection, rois, fluorescence, neuropil, _, _, _, cells, *_ = outputs
        if fluorescence is None:
            raise _none_found("Detection ended without any.")
        mean = registration.get("meanImg")
        pictures = {"mean_image": _mean(binary) if mean is None else np.asarray(mean, dtype=np.float64)}
    pictures |= {"max_projection": _in_frame(detection["max_proj"], registration, (height, width))}
    saturated = seen.saturated if movie.dtype.kind in "iu" else None
    return Found(
        fluorescence, neuropil, list(rois), cells, registration, pictures, gain, offset, seen.course, saturated
    )


def _mean(movie: Any) -> np.ndarray:
    """Return the mean frame of what was not registered, shape (y, x)."""
    total = sum(movie[chunk].sum(axis=0, dtype=np.float64) for chunk in _stretches(movie.shape))
    return np.asarray(total) / movie.shape[0]


def _in_frame(picture: np.ndarray, registration: Mapping[str, Any], shape: tuple[int, int]) -> np.ndarray:
    """Return a picture of the part seen in every frame in the whole frame, NaN around it, shape (y, x)."""
    whole = np.full(shape, np.nan)
    rows, columns = (slice(*registration[name]) for name in ("yrange", "xrange"))
    whole[rows, columns] = picture
    return whole


def _failed(error: Exception) -> NeurodynError:
    said = f"{type(error).__name__}: {error}"
    if str(error).startswith("no ROIs"):
        return _none_found(said)
    return WorkError("suite2p could not extract ROIs.", said, "Check rate and axes: neurodyn inspect MOVIE")


def _none_found(found: str) -> DataError:
    return DataError(
        "suite2p found no ROI in the movie.",
        found,
        "Check rate and axes, or look closer: --set detection.threshold_scaling=0.5 --set diameter=[8,8]",
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
