"""What a population does, in a few numbers with their intervals."""

from __future__ import annotations

import numpy as np
import xarray as xr

from neurodyn.respond import encoded
from neurodyn.respond.encoded import is_encoding
from neurodyn.respond.share import Share

SHARES = {"responsive": "respond", "tuned": "are tuned", "informative": "are informative"}
MEDIANS = {  # words, unit
    "latency": ("half rise", " s"),
    "reliability": ("split-half correlation", ""),
    "information": ("information", " bits per event"),
    "dsi": ("DSI", ""),
    "osi": ("OSI", ""),
    "direction_selectivity": ("1 − circular variance of directions", ""),
    "orientation_selectivity": ("1 − circular variance of orientations", ""),
    "c50": ("c50", ""),
    "exponent": ("exponent", ""),
    "spatial_information": ("spatial information", " bits per event"),
}


def shares(found: xr.Dataset) -> list[Share]:
    """Return which shares of the cells respond, are tuned, and are informative, of those that could be tested."""
    told = []
    for name, words in SHARES.items():
        tests = {"responsive": "responsive_p", "tuned": "selective_p", "informative": "spatial_information_p"}
        if name in found and (known := int(np.isfinite(found[tests[name]].values).sum())):
            told.append(Share.of_cells(name, words, int(found[name].values.sum()), known))
    return told


def medians(found: xr.Dataset) -> dict[str, tuple[float, float, float]]:
    """Return median and quartiles over tuned cells (responsive ones, where no tuning was asked for), by column."""
    which = found["tuned"] if "tuned" in found else found.get("responsive")
    chosen = np.zeros(0, dtype=bool) if which is None else which.values
    out = {}
    for name in MEDIANS:
        if name in found and chosen.any():
            values = found[name].values[chosen]
            if np.isfinite(values).any():
                low, middle, high = np.nanquantile(values, [0.25, 0.5, 0.75])
                out[name] = (float(middle), float(low), float(high))
    return out


def pair_means(found: xr.Dataset) -> dict[str, float]:
    """Return the mean signal and noise correlation over pairs of cells."""
    out = {}
    for name in ("signal_correlation", "noise_correlation"):
        if name in found:
            pairs = found[name].values[np.triu_indices(len(found[name]), 1)]
            out[name.replace("_", " ")] = float(np.nanmean(pairs)) if np.isfinite(pairs).any() else float("nan")
    return out


def sentences(found: xr.Dataset) -> list[str]:
    """Say what the population does."""
    if is_encoding(found):
        return encoded.sentences(found)
    each = "pixels" if "y" in found.dims else "cells"
    said = [f"{share.sentence(each)}." for share in shares(found)]
    chosen = "tuned" if "tuned" in found else "responsive"
    told = [_told(name, *values) for name, values in medians(found).items()]
    if told:
        said.append(f"Median (quartiles) of {chosen} {each}: {'; '.join(told)}.")
    pairs = ", ".join(f"{name} {value:.2f}" for name, value in pair_means(found).items())
    return [*said, *([f"Mean over pairs: {pairs}."] if pairs else [])]


def _told(name: str, middle: float, low: float, high: float) -> str:
    words, unit = MEDIANS[name]
    return f"{words} {middle:.2g} ({low:.2g} to {high:.2g}){unit}".replace("-", "−").replace("split−half", "split-half")


def reading(found: xr.Dataset) -> list[str]:
    """Say what numbers rest on: measure, order of conditions, null."""
    if is_encoding(found):
        return encoded.reading(found)
    told = [f"Response: {found.attrs['measured']}."]
    if found.sizes["condition"] > 1:
        told += [f"Order of conditions: {found.attrs['order']}.", f"Null of tuning: {found.attrs['null']}."]
    if "responsive_by" in found.attrs:
        told.append(f"Null of responses: {found.attrs['responsive_by']}.")
    each = "pixels" if "y" in found.dims else "cells"
    return [*told, f"False discovery rate over {each}: {found.attrs['alpha']:g} (Benjamini & Hochberg)."]
