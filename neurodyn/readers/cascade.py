"""Cascade's ground truth: fluorescence of single cells with their recorded spikes, in MATLAB files."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from scipy.io import loadmat, whosmat

from neurodyn.core.errors import DataError
from neurodyn.data.damage import library, reason
from neurodyn.data.recording import Recording
from neurodyn.data.schema import RATE_TOLERANCE
from neurodyn.readers.base import Reader
from neurodyn.readers.containers.matlab_check import check_structure
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.sources import build, refuse_others

LOGGER = logging.getLogger(__name__)
VARIABLE = "CAttached"
FIELDS = ("fluo_time", "fluo_mean", "events_AP")
TICKS_PER_SECOND = 1e4
DATASET = re.compile(r"^(?:X-)?DS\d+-((?:[A-Za-z]-)?[A-Za-z]+\d*[A-Za-z]*)")  # GCaMP6f, OGB1 of OGB1-2, R-CaMP


@dataclass(frozen=True)
class Stretch:
    """One uninterrupted recording of the cell.

    Parameters
    ----------
    time
        Frame times, s, shape (time,).
    dff
        ΔF/F, shape (time,).
    spikes
        Times of the recorded spikes, s, shape (spike,).
    """

    time: np.ndarray
    dff: np.ndarray
    spikes: np.ndarray

    @property
    def frame(self) -> float:
        """Duration of a frame, s."""
        return float(np.median(np.diff(self.time)))


class CascadeReader(Reader):
    """Reads one cell of Cascade's ground-truth database: ΔF/F and, in `truth`, recorded spikes.

    Files are small and read whole. The cell's stretches are laid end to end with a gap (`trial_gap`) between them. The
    dataset and the indicator are read from the folder's name, as in DS09-GCaMP6f-m-V1.

    Source: Rupprecht et al., Nat Neurosci 24, 1324 (2021).
    """

    suffixes = (".mat",)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Say whether it is a MATLAB file (up to version 7) with the database's variable."""
        if path.suffix.lower() != ".mat" or not path.is_file():
            return False
        try:
            with library(path):
                check_structure(path)
                return any(name == VARIABLE for name, _, _ in whosmat(str(path)))
        except DataError:
            return False

    @classmethod
    def read(cls, path: Path, options: ReadOptions) -> Recording:
        """Read `dff`, shape (time, 1), and in `truth` `spikes` per frame, `spike_time` in s and `spike_roi`."""
        refuse_others(options, "cascade", {"trial_gap"})
        stretches = _stretches(path)
        frame = _common_frame(path, stretches)
        time, spikes = _lay_out(stretches, max(options.trial_gap, 2 * frame))
        dff = np.concatenate([stretch.dff for stretch in stretches])[:, None].astype(np.float32)
        name = path.resolve().parent.name
        found = DATASET.match(name)
        indicator = found[1] if found and options.indicator == "unknown" else options.indicator
        attrs = {"source": path.name, "dataset": name if found else path.stem}
        truth = _truth(time, frame, spikes)
        neural = {"dff": xr.Variable(("time", "roi"), dff, {"units": "ΔF/F"})}
        return build(
            "cascade", path, neural, time, options, rate_hz=1 / frame, indicator=indicator, truth=truth, attrs=attrs
        )


def _stretches(path: Path) -> list[Stretch]:
    check_structure(path)
    with library(path, _no_truth):
        cells = loadmat(str(path), variable_names=[VARIABLE]).get(VARIABLE)
    if not isinstance(cells, np.ndarray):
        raise _no_truth(path, KeyError(VARIABLE))
    try:
        found = [stretch for item in cells.ravel() for stretch in _unpack(item)]
    except ValueError as error:  # fields that are no numbers
        raise _no_truth(path, error) from error
    if not found:
        raise DataError(
            f"{path} holds no usable recording.",
            f"No struct in '{VARIABLE}' has {', '.join(FIELDS)} with 2 frames or more.",
            "Leave the file out.",
        )
    return found


def _no_truth(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path} cannot be read as Cascade ground truth.",
        f"{type(error).__name__}: {reason(error)}; expected a cell array '{VARIABLE}' of structs with {', '.join(FIELDS)}.",
        "Copy the file again, or name another reader: --reader NAME",
    )


def _unpack(item: Any) -> list[Stretch]:
    """Return the stretches in one entry of the cell array, which may be nested."""
    while isinstance(item, np.ndarray) and item.dtype == object and item.size == 1:
        item = item.ravel()[0]
    names = item.dtype.names if isinstance(item, np.ndarray) else None
    if names is None or not set(FIELDS) <= set(names):
        return []
    rows = [[np.asarray(row[name], dtype=np.float64).ravel() for name in FIELDS] for row in item.ravel()]
    return [stretch for row in rows if (stretch := _clean(*row)) is not None]


def _clean(time: np.ndarray, dff: np.ndarray, ticks: np.ndarray) -> Stretch | None:
    """Drop frames without signal or increasing time, and spikes without time; None where fewer than 2 frames are left."""
    length = min(time.size, dff.size)
    latest = np.r_[-np.inf, np.fmax.accumulate(time[:length])[:-1]]
    good = np.isfinite(dff[:length]) & (time[:length] > latest)
    if time.size != dff.size or not good.all():
        lost = max(time.size, dff.size) - int(good.sum())
        LOGGER.warning("cascade: %d frames have no signal, or no time after the one before, and are left out.", lost)
    spikes = ticks[np.isfinite(ticks)] / TICKS_PER_SECOND
    return Stretch(time[:length][good], dff[:length][good], np.sort(spikes)) if good.sum() > 1 else None


def _common_frame(path: Path, stretches: list[Stretch]) -> float:
    frames = np.array([stretch.frame for stretch in stretches])
    frame = float(np.median(frames))
    if (np.abs(frames / frame - 1) > RATE_TOLERANCE).any():
        raise DataError(
            f"{path}: the stretches differ in frame rate.",
            f"Found {', '.join(f'{1 / value:.3g}' for value in frames)} Hz; one rate was expected.",
            "Leave the file out.",
        )
    return frame


def _lay_out(stretches: list[Stretch], gap: float) -> tuple[np.ndarray, np.ndarray]:
    """Return frame times and spike times, s, of stretches laid end to end; spikes outside the frames are dropped."""
    times, spikes, begin, dropped = [], [], 0.0, 0
    for stretch in stretches:
        half = stretch.frame / 2
        inside = (stretch.spikes >= stretch.time[0] - half) & (stretch.spikes < stretch.time[-1] + half)
        dropped += int((~inside).sum())
        times.append(stretch.time - stretch.time[0] + begin)
        spikes.append(stretch.spikes[inside] - stretch.time[0] + begin)
        begin = float(times[-1][-1]) + gap
    if dropped:
        LOGGER.info("cascade: %d spikes were recorded before or after imaging and are left out.", dropped)
    return np.concatenate(times), np.concatenate(spikes)


def _truth(time: np.ndarray, frame: float, spikes: np.ndarray) -> xr.Dataset:
    nearest = np.searchsorted(time - frame / 2, spikes, side="right") - 1
    counts = np.bincount(nearest, minlength=time.size).astype(np.uint16)[:, None]
    values = {
        "spikes": (("time", "roi"), counts, {"units": "spikes/frame"}),
        "spike_time": ("spike", spikes, {"units": "s"}),
        "spike_roi": ("spike", np.zeros(spikes.size, dtype=np.int64)),
    }
    return xr.Dataset(values, coords={"time": ("time", time, {"units": "s"})})
