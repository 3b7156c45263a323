"""CaImAn results: the estimates of an .hdf5 file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr
from scipy import sparse

from neurodyn.core.errors import DataError
from neurodyn.data.damage import broken, library
from neurodyn.data.lazy import lazy
from neurodyn.data.recording import Recording
from neurodyn.readers.base import Reader
from neurodyn.readers.containers.hdf5 import Hdf5Array
from neurodyn.readers.lazy_views import Computed
from neurodyn.readers.masks import PIXEL, Mask, mask_columns
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.sources import View, build, refuse_others, regular_times
from neurodyn.readers.stacks import Stack, rate

LOGGER = logging.getLogger(__name__)
TRACES = {"dff": "F_dff", "denoised": "C", "spikes": "S"}
UNITS = {"fluorescence": "a.u.", "denoised": "a.u."}
QUALITY = {"SNR_comp": "snr", "r_values": "spatial_correlation", "cnn_preds": "probability"}


class CaimanReader(Reader):
    """Reads the components CaImAn accepted: denoised and raw activity, ΔF/F, spikes and where they lie."""

    suffixes = (".hdf5", ".h5")

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Say whether the file is HDF5 with CaImAn's estimates in it."""
        return path.is_file() and path.suffix.lower() in cls.suffixes and is_caiman(path)

    @classmethod
    def read(cls, path: Path, options: ReadOptions) -> Recording:
        """Read lazily; `fluorescence` is C + YrA, in the arbitrary unit of CaImAn's normalised footprints.

        Raises
        ------
        DataError
            If the file is damaged or its parts do not belong together.
        """
        refuse_others(options, "caiman", {"fs"})
        with library(path), h5py.File(path, "r") as file:
            estimates: Any = file["estimates"]
            kept = _accepted(path, estimates)
            arrays = _traces(path, estimates)
            rois = _rois(estimates, file, kept)
            said = _scalar(file, "params/data/fr")
        count, frames = arrays["denoised"].shape
        odd = {name: array.shape for name, array in arrays.items() if array.shape != (count, frames)}
        if odd:
            raise DataError(
                f"{path}: the traces differ in shape.", f"C has {(count, frames)}; found {odd}.", "Run CaImAn again."
            )
        axes = ("roi", "time")
        neural = {name: lazy(("time", "roi"), View(array, axes))[:, kept] for name, array in arrays.items()}
        fs = rate(path, Stack(lambda *_: None, rate_hz=said), options)
        time = regular_times(path, frames, fs)
        units = options.model_copy(update={"units": UNITS | options.units})
        words = f"CaImAn's estimates, component by time, as {', '.join(neural)}; {kept.size} of {count} components, as CaImAn accepted them"
        attrs = {"source": path.name, "layout": words}
        return build("caiman", path, neural, time, units, rate_hz=fs, rois=rois, attrs=attrs)


def is_caiman(path: Path) -> bool:
    """Say whether an HDF5 file holds CaImAn's estimates."""
    try:
        with library(path), h5py.File(path, "r") as file:
            return "estimates/C" in file and "estimates/A" in file
    except DataError:
        return False


def _is_table(item: Any) -> bool:
    """Say whether an entry holds numbers; CaImAn writes what is missing as the text NoneType."""
    return isinstance(item, h5py.Dataset) and item.dtype.kind in "buif" and item.ndim > 0


def _traces(path: Path, estimates: Any) -> dict[str, Any]:
    arrays: dict[str, Any] = {
        name: Hdf5Array(path, estimates[key]) for name, key in TRACES.items() if _is_table(estimates.get(key))
    }
    if "denoised" not in arrays or len(arrays["denoised"].shape) != 2:
        raise broken(path, ValueError("estimates/C is no table of components over time"))
    if _is_table(estimates.get("YrA")) and estimates["YrA"].shape == arrays["denoised"].shape:
        arrays = {"fluorescence": Computed(np.add, arrays["denoised"], Hdf5Array(path, estimates["YrA"]))} | arrays
    return arrays


def _accepted(path: Path, estimates: Any) -> np.ndarray:
    if not _is_table(estimates.get("idx_components")):
        return np.arange(estimates["C"].shape[0])
    kept = np.asarray(estimates["idx_components"][()], dtype=np.int64)
    if kept.size and not 0 <= kept.min() <= kept.max() < estimates["C"].shape[0]:
        raise broken(path, IndexError(f"idx_components names component {kept.max()} of {estimates['C'].shape[0]}"))
    if not kept.size:
        raise DataError(
            f"{path}: CaImAn accepted no component.", "idx_components is empty.", "Lower its thresholds, or remove it."
        )
    return kept


def _scalar(file: Any, name: str) -> float | None:
    item = file.get(name)
    return float(item[()]) if isinstance(item, h5py.Dataset) and item.dtype.kind in "uif" and item.size == 1 else None


def _rois(estimates: Any, file: Any, kept: np.ndarray) -> xr.Dataset:
    """Return number, centre of mass (pixels), quality and footprint of the components."""
    count = estimates["C"].shape[0]
    columns: dict[str, Any] = {"caiman_component": ("roi", kept)}
    for key, name in QUALITY.items():
        if _is_table(estimates.get(key)) and estimates[key].shape == (count,):
            columns[name] = ("roi", np.asarray(estimates[key][()])[kept])
    dims = next((group["dims"] for group in (estimates, file) if _is_table(group.get("dims"))), None)
    if "indptr" not in estimates["A"] or dims is None:
        return xr.Dataset(columns)
    if dims.shape != (2,):
        LOGGER.warning("%s: footprints of %d axes are left out.", file.filename, dims.size)
        return xr.Dataset(columns)
    return xr.Dataset(columns | _footprints(estimates["A"], kept, rows=int(dims[0])))


def _footprints(place: Any, kept: np.ndarray, rows: int) -> dict[str, Any]:
    """Return centres and masks from the sparse matrix A (pixel, component), whose pixels run down the columns first."""
    parts = tuple(np.asarray(place[name][()]) for name in ("data", "indices", "indptr"))
    footprints = sparse.csc_matrix(parts, shape=tuple(int(n) for n in place["shape"][()]))
    footprints.check_format(full_check=True)  # what is then computed trusts the indices, and writes where they say
    footprints = footprints[:, kept]
    pixel = np.arange(footprints.shape[0])
    mass = np.maximum(np.asarray(footprints.sum(axis=0)).ravel(), np.finfo(float).tiny)
    edges = footprints.indptr
    masks = [
        Mask(footprints.indices[a:b] % rows, footprints.indices[a:b] // rows, footprints.data[a:b])
        for a, b in zip(edges[:-1], edges[1:], strict=True)
    ]
    return {
        "y": ("roi", footprints.T @ (pixel % rows) / mass, PIXEL),
        "x": ("roi", footprints.T @ (pixel // rows) / mass, PIXEL),
        "npix": ("roi", np.diff(edges), PIXEL),
    } | mask_columns(masks)
