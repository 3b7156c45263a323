"""A recording of ROIs as suite2p's folder, for its window, for MATLAB and for scripts written for it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import xarray as xr
from scipy.stats import skew

from neurodyn.core.errors import DataError
from neurodyn.core.files import atomic, clear_partials, locked
from neurodyn.data.recording import Recording

LOGGER = logging.getLogger(__name__)
NEUROPIL_COEFFICIENT = 0.7
BLOCK = 4096
MATLAB_BYTES = 2**31 - 2**20  # the largest variable of the MAT files that scipy writes
# What suite2p's window and its joining of planes look up; 1.1 has more, which only its own pipeline reads.
SETTINGS: dict[str, Any] = {
    "torch_device": "cpu",
    "run": {"do_registration": 1, "do_detection": True, "do_deconvolution": True, "multiplane_parallel": False},
    "io": {"combined": True, "save_mat": False, "save_NWB": False, "save_ops_orig": True, "delete_bin": False},
    "registration": {"nonrigid": False},
    "detection": {"soma_crop": True},
    "classification": {"classifier_path": None, "use_builtin_classifier": True},
    "extraction": {"neuropil_extract": True, "neuropil_coefficient": NEUROPIL_COEFFICIENT, "allow_overlap": False},
    "dcnv_preprocess": {"baseline": "maximin", "win_baseline": 60.0, "sig_baseline": 10.0},
}


def write_suite2p(recording: Recording, target: Path, tau: float = 1.0) -> Path:
    """Write FOLDER/suite2p/plane0 as suite2p 1.1 does, and Fall.mat in it; atomically.

    Files are F, Fneu, spks and iscell, shape (roi, time) and (roi, 2); stat, one dict per ROI; ops (all in one, as
    scripts and older versions read it), settings, db, reg_outputs and detect_outputs. Where neuropil or spikes are not
    known, zeros are written in their place, and told.

    Parameters
    ----------
    target
        The folder.
    tau
        Decay time constant of the indicator, s; the window smooths traces by it.

    Raises
    ------
    DataError
        If the recording has no fluorescence of ROIs, or its ROIs have no masks.
    """
    rois = _checked(recording)
    with locked(target):
        clear_partials(target)
        with atomic(target, folder=True) as folder:
            plane = folder / "suite2p" / "plane0"
            plane.mkdir(parents=True)
            traces = _traces(recording, plane)
            stat = _stat(rois, traces["F"], traces["Fneu"])
            told = _told(recording, rois, stat, target / "suite2p" / "plane0", tau)
            iscell = _iscell(rois)
            np.save(plane / "iscell.npy", iscell)
            np.save(plane / "stat.npy", np.array([*stat, None], dtype=object)[:-1])  # one of dicts, however many
            for name, part in told.items():
                np.save(plane / f"{name}.npy", np.array(part, dtype=object))
            ops = {key: value for part in told.values() for key, value in part.items()}
            np.save(plane / "ops.npy", np.array(ops, dtype=object))
            _matlab(plane / "Fall.mat", traces, stat, iscell, ops)
    return target


def _checked(recording: Recording) -> xr.Dataset:
    rois = recording.table("rois")
    if "fluorescence" not in recording.variables or recording["fluorescence"].dims != ("time", "roi"):
        raise DataError(
            f"'{recording.session}' has no fluorescence of ROIs.",
            f"Found: {', '.join(f'{name} {recording[name].dims}' for name in recording.variables)}.",
            "Extract ROIs first: neurodyn extract MOVIE -o rois.zarr",
        )
    if rois is None or not {"mask_roi", "mask_y", "mask_x"} <= set(map(str, rois.variables)):
        raise DataError(
            f"The ROIs of '{recording.session}' have no masks.",
            "suite2p's folder holds the pixels of every ROI.",
            "Read masks, too (--set source.pickle=true for suite2p), or write traces as CSV.",
        )
    return rois


def _traces(recording: Recording, plane: Path) -> dict[str, np.ndarray]:
    """Write the traces, shape (roi, time), a stretch of time at a time, and return them as they lie on the disk."""
    made = {}
    shape = recording["fluorescence"].shape[::-1]
    for file, name in (("F", "fluorescence"), ("Fneu", "neuropil"), ("spks", "spikes")):
        into = np.lib.format.open_memmap(plane / f"{file}.npy", "w+", np.float32, shape)
        if name in recording.variables:
            variable = recording[name].variable
            for start in range(0, shape[1], BLOCK):
                into[:, start : start + BLOCK] = variable[start : start + BLOCK].values.T
        else:
            LOGGER.warning("%s: the recording has no %s; zeros are written in their place.", f"{file}.npy", name)
        into.flush()
        made[file] = into
    return made


def _iscell(rois: xr.Dataset) -> np.ndarray:
    """Return verdict and probability, shape (roi, 2); every ROI counts where no verdict is known."""
    known = [rois[name].values for name in ("accepted", "cell") if name in rois]
    verdict = next((values for values in known if values.dtype.kind == "b"), np.ones(rois.sizes["roi"], dtype=bool))
    probability = rois["probability"].values if "probability" in rois else verdict
    return np.stack([verdict, probability], axis=1).astype(np.float64)


def _stat(rois: xr.Dataset, fluorescence: np.ndarray, neuropil: np.ndarray) -> list[dict[str, Any]]:
    """Return one dict per ROI with what suite2p's window shows of it."""
    stat = list(_forms(rois))
    typical = np.mean([roi["npix"] for roi in stat]) or 1.0
    for k, roi in enumerate(stat):
        signal = fluorescence[k] - NEUROPIL_COEFFICIENT * neuropil[k]
        spread = float(signal.std())
        told = {name: float(rois[name].values[k]) for name in ("skew", "snr", "radius") if name in rois}
        roi |= {"std": spread, "skew": float(skew(signal)) if spread else 0.0}
        roi |= {"snr": 1 - 0.5 * float(np.diff(signal).var()) / spread**2 if spread else 0.0}
        roi |= told | {"npix_norm": roi["npix"] / typical, "npix_norm_no_crop": roi["npix"] / typical}
    return stat


def _forms(rois: xr.Dataset) -> Iterator[dict[str, Any]]:
    owner = rois["mask_roi"].values
    order = np.argsort(owner, kind="stable")
    edges = np.searchsorted(owner[order], np.arange(rois.sizes["roi"] + 1))
    y, x = (rois[name].values.astype(np.int64)[order] for name in ("mask_y", "mask_x"))
    weight = rois["mask_weight"].values[order] if "mask_weight" in rois else np.ones(owner.size)
    _, index, count = np.unique(np.stack([y, x], axis=1), axis=0, return_inverse=True, return_counts=True)
    shared = rois["mask_overlap"].values[order] if "mask_overlap" in rois else count[index.ravel()] > 1
    for roi, (a, b) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        if a == b:
            raise DataError(
                f"ROI {roi} has no pixels.",
                "suite2p's folder holds the pixels of every ROI.",
                "Read the source's masks again.",
            )
        yield _form(y[a:b], x[a:b], weight[a:b].astype(np.float32), shared[a:b].astype(bool))


def _form(y: np.ndarray, x: np.ndarray, weight: np.ndarray, overlap: np.ndarray) -> dict[str, Any]:
    """Return a ROI's pixels and its shape as suite2p's detection/stats.py measures it."""
    middle = np.array([np.median(y), np.median(x)])
    nearest = int(np.argmin((y - middle[0]) ** 2 + (x - middle[1]) ** 2))  # so that the centre is one of its pixels
    apart = np.hypot(y - middle[0], x - middle[1]).mean()
    side = np.arange(int(np.ceil(np.sqrt(y.size))) + 1)
    disk = np.sort(np.hypot(*np.meshgrid(np.r_[-side[:0:-1], side], np.r_[-side[:0:-1], side])), axis=None)[
        : y.size
    ].mean()
    axes = (
        np.sqrt(np.maximum(np.linalg.eigvalsh(np.cov(np.stack([y, x]), bias=True)), 0))[::-1] if y.size > 1 else [0, 0]
    )
    return {
        "ypix": y, "xpix": x, "lam": weight, "med": [int(y[nearest]), int(x[nearest])], "npix": int(y.size),
        "overlap": overlap, "soma_crop": np.ones(y.size, dtype=bool), "npix_soma": int(y.size),
        "mrs": float(apart), "mrs0": float(disk), "compact": float(max(1.0, apart / (1e-10 + disk))),
        "radius": float(2 * axes[0]) or 1.0, "aspect_ratio": float(2 * axes[0] / (0.01 + axes[0] + axes[1])),
        "footprint": 0.0,
    }  # fmt: skip


def _told(
    recording: Recording, rois: xr.Dataset, stat: list[dict[str, Any]], plane: Path, tau: float
) -> dict[str, dict[str, Any]]:
    """Return settings and results by the file that holds them."""
    seen = xr.Dataset() if (qc := recording.table("qc")) is None else qc
    mean = _mean_image(seen, rois)
    rows, columns = _whole_part(seen, mean.shape)
    part = (slice(*rows), slice(*columns))
    frames = recording["fluorescence"].shape[0]
    diameter = 2 * float(np.median([roi["radius"] for roi in stat]))
    empty = np.zeros(mean.shape, dtype=np.float32)
    pictures = {
        key: (seen[name].values if name in seen else empty)[part].astype(np.float32)
        for key, name in (("Vcorr", "correlation_image"), ("max_proj", "max_projection"))
    }
    moved = -seen["motion"].values if "motion" in seen and len(seen["motion"]) == frames else np.zeros((frames, 2))
    db = {
        "data_path": [], "nplanes": 1, "nrois": 1, "nchannels": 1, "functional_chan": 1, "iplane": 0,
        "Ly": mean.shape[0], "Lx": mean.shape[1], "nframes": frames, "batch_size": 500, "keep_movie_raw": False,
        "save_path0": str(plane.parents[1]), "save_path": str(plane), "save_folder": "suite2p", "fast_disk": str(plane),
        "reg_file": str(plane / "data.bin"),
    }  # fmt: skip
    settings = SETTINGS | {"tau": tau, "fs": recording.rate_hz, "diameter": np.array([diameter, diameter])}
    registered = {"meanImg": mean, "yrange": rows, "xrange": columns, "yoff": moved[:, 0], "xoff": moved[:, 1]}
    registered |= {"badframes": np.zeros(frames, dtype=bool)}
    return {"db": db, "settings": settings, "reg_outputs": registered, "detect_outputs": pictures}


def _mean_image(seen: xr.Dataset, rois: xr.Dataset) -> np.ndarray:
    y, x = (rois[name].values.astype(int) for name in ("mask_y", "mask_x"))
    if "mean_image" in seen:
        mean = seen["mean_image"].values.astype(np.float32)
        return np.where(np.isfinite(mean), mean, np.nanmin(mean))
    LOGGER.warning("ops.npy: no mean image is known; the picture of all masks stands in its place.")
    picture = np.zeros((int(y.max()) + 1, int(x.max()) + 1), dtype=np.float32)
    np.add.at(picture, (y, x), 1)
    return picture


def _whole_part(seen: xr.Dataset, shape: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """Return rows and columns, first and end, of the part that was seen in every frame: where projections are known."""
    if "max_projection" not in seen or not np.isfinite(seen["max_projection"].values).any():
        return [0, shape[0]], [0, shape[1]]
    y, x = np.nonzero(np.isfinite(seen["max_projection"].values))
    return [int(y.min()), int(y.max()) + 1], [int(x.min()), int(x.max()) + 1]


def _matlab(
    path: Path, traces: dict[str, np.ndarray], stat: list[dict[str, Any]], iscell: np.ndarray, ops: dict[str, Any]
) -> None:
    if traces["F"].nbytes > MATLAB_BYTES:
        LOGGER.warning("Fall.mat is left out: the traces are larger than 2 GB, which such a file cannot hold.")
        return
    plain = {key: np.empty(0) if value is None else value for key, value in ops.items()}
    plain["classification"] = SETTINGS["classification"] | {"classifier_path": np.empty(0)}
    each = np.array([*stat, None], dtype=object)[:-1]
    scipy.io.savemat(path, {**traces, "stat": each, "ops": plain, "iscell": iscell, "redcell": np.empty(0)})
