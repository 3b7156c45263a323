"""What encoding models found: tables, and sentences on the population."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from neurodyn.respond.share import Share

if TYPE_CHECKING:
    import pandas as pd

OF_REGRESSORS = ("unique", "unique_low", "unique_high", "alone", "p", "q", "encodes")
OF_KERNELS = ("kernel", "kernel_low", "kernel_high")


def is_encoding(found: xr.Dataset) -> bool:
    """Say whether responses are those of encoding models."""
    return "regressor" in found.dims


def contribution_table(found: xr.Dataset) -> pd.DataFrame:
    """Return a row per cell and regressor: unique contribution with 95 % interval, what it tells alone, p and q."""
    dims = found["explained"].dims
    kept = found[list(OF_REGRESSORS)]
    kept = kept.drop_vars([key for key in kept.coords if key not in (*dims, "regressor")])
    return kept.to_dataframe(dim_order=[*map(str, dims), "regressor"]).reset_index()


def kernel_table(found: xr.Dataset) -> pd.DataFrame:
    """Return a row per cell and moment of a kernel: regressor, level, time in s, kernel and 95 % interval."""
    import pandas as pd

    dims = tuple(map(str, found["explained"].dims))
    kept = found[list(OF_KERNELS)].drop_vars("regressor", errors="ignore")
    table = kept.to_dataframe(dim_order=[*dims, "moment"]).reset_index()
    names = ["kernel_regressor", "kernel_level", "kernel_time"]
    told = {name: table[name] for name in dims} | {name.removeprefix("kernel_"): table[name] for name in names}
    return pd.DataFrame(told | {name: table[name] for name in OF_KERNELS})


def wide_columns(found: xr.Dataset) -> xr.Dataset:
    """Return one value per cell for every regressor and number, as `unique_direction`."""
    told = found[["explained", "explained_low", "explained_high"]]
    wide = {
        f"{key}_{name}": found[key].sel(regressor=name, drop=True)
        for name in found["regressor"].values
        for key in OF_REGRESSORS
    }
    return told.assign(wide)


def sentences(found: xr.Dataset) -> list[str]:
    """Say what the population encodes."""
    each = "pixels" if "y" in found.dims else "cells"
    explained = found["explained"].values[np.isfinite(found["explained"].values)]
    if not explained.size:
        return [f"No model could be fitted: all {each} lack frames or never change."]
    low, middle, high = np.quantile(explained, [0.25, 0.5, 0.75])
    said = [
        f"The model explains {number(middle)} (median; quartiles {number(low)} to {number(high)}) of the {_share(found)} of {each} in "
        "frames left out."
    ]
    said += [_of_regressor(found, name, each) for name in found["regressor"].values]
    lost = found["explained"].size - explained.size
    return [*said, f"{lost} {each} lack frames or never change, and are left out."] if lost else said


def _share(found: xr.Dataset) -> str:
    return "variance" if found.attrs["family"] == "gaussian" else "deviance"


def _of_regressor(found: xr.Dataset, name: str, each: str) -> str:
    of = found.sel(regressor=name)
    known, encodes = np.isfinite(of["p"].values), of["encodes"].values
    count, total = int(encodes.sum()), int(known.sum())
    if not total:
        return f"Whether {each} encode {name} cannot be told from drift: its levels follow time."
    said = Share.of_cells("encodes", f"encode {name}", count, total).sentence(each)
    unique = of["unique"].values[encodes] if count else of["unique"].values[known]
    whose = "these" if count else f"all {each}"
    return f"{said}; unique contribution {number(float(np.median(unique)))} (median of {whose})."


def number(value: float) -> str:
    """Return a share as text, with a true minus, and none before zero."""
    return f"{round(value, 3) + 0.0:.3f}".replace("-", "−")


def reading(found: xr.Dataset) -> list[str]:
    """Say what numbers rest on."""
    each = "pixels" if "y" in found.dims else "cells"
    lean = json.loads(found.attrs["config"])["glm"]
    words = "linear, with a ridge" if found.attrs["family"] == "gaussian" else "Poisson, with a ridge"
    return [
        f"Model: {words}; slow courses (periods above {lean['drift']:g} s) belong to no regressor and count for nothing.",
        f"Held out: {found.attrs['held_out']}; frames used: {found.attrs['frames']}.",
        "Unique contribution: what of the share explained goes when a regressor is left out and the others are fitted anew.",
        f"Null: {found.attrs['null']}.",
        f"False discovery rate over {each}, for each regressor: {found.attrs['alpha']:g} (Benjamini & Hochberg).",
    ]
