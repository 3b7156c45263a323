"""Encoding models: how much they explain and what of it is whose, kernels of the population, and kernels of single cells."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from neurodyn.report.blocks import Block, Cited, Figure, Text
from neurodyn.report.style import BLUE, GREEN, GREY, ORANGE, RED, SKY, draw, image
from neurodyn.respond.encoded import number
from neurodyn.respond.share import Share

MOST_BEST = 4  # cells, each the best of a regressor
COLOURS = (BLUE, ORANGE, GREEN, RED, SKY, GREY)
MOST_LEVELS = 8  # kernels in one panel
SCATTER = 400  # cells drawn as points
METHODS = [
    Cited(
        "Activity was regressed on all regressors at once, and each one's unique contribution is what of the cross-validated "
        "share explained went when it was left out.",
        [
            "Musall S, Kaufman MT, Juavinett AL, Gluf S, Churchland AK (2019). Single-trial neural dynamics are dominated by "
            "richly varied movements. Nat Neurosci 22:1677-1686."
        ],
    ),
    Cited(
        "Kernels were sums of raised cosines.",
        [
            "Pillow JW, Shlens J, Paninski L, Sher A, Litke AM, Chichilnisky EJ, Simoncelli EP (2008). Spatio-temporal "
            "correlations and visual signalling in a complete neuronal population. Nature 454:995-999."
        ],
    ),
    Cited(
        "Chance was what a regressor, moved along the recording, told of what the others left over.",
        ["Harris KD (2021). Nonsense correlations in neuroscience. bioRxiv, doi:10.1101/2020.11.29.402719."],
    ),
]


def encoding_blocks(found: xr.Dataset) -> list[Block]:
    """Draw what models explain: of a movie maps, of cells the population, then kernels."""
    if "y" in found.dims:
        return [maps_figure(found)]
    blocks: list[Block] = [shares_figure(found), kernels_figure(found)]
    if not found["encodes"].values.any():
        blocks.insert(
            1, Text("No cell encodes any of the regressors by this test; kernels are of cells that come nearest.")
        )
    return blocks


def _share(found: xr.Dataset) -> str:
    return "variance" if found.attrs["family"] == "gaussian" else "deviance"


def shares_figure(found: xr.Dataset) -> Figure:
    """Draw how many cells encode each regressor, how much of them it tells alone and uniquely, and how much all tell."""
    names = list(found["regressor"].values)

    def paint(canvas: Canvas) -> None:
        counts, shares, whole = canvas.subplots(1, 3, width_ratios=[1, 1.6, 1])
        _draw_counts(counts, found, names)
        _draw_contributions(shares, found, names)
        _draw_explained(whole, found)

    caption = (
        f"The population. Left: cells that encode each regressor, bars their 95 % intervals (Wilson). Middle: share of a cell's "
        f"{_share(found)} that a regressor tells alone (pale) and that no other tells (dark), of each cell; lines are medians of "
        "the cells that encode it. What is told alone but not uniquely is shared with other regressors. Right: all regressors "
        "together."
    )
    height = max(2.1, 0.9 + 0.4 * len(names))
    return draw(paint, height=height, alt="Cells that encode each regressor, and how much", caption=caption)


def _draw_counts(axes: Axes, found: xr.Dataset, names: list[str]) -> None:
    for place, name in enumerate(names):
        of = found.sel(regressor=name)
        count, total = int(of["encodes"].values.sum()), max(1, int(np.isfinite(of["p"].values).sum()))
        share = Share.of_cells("encodes", f"encode {name}", count, total)
        axes.plot([100 * share.low, 100 * share.high], [place, place], color=_colour(place), lw=2)
        axes.plot(100 * count / total, place, "o", color=_colour(place), ms=6)
        at = float(np.clip(100 * count / total, 10, 90))  # inside the panel
        axes.text(at, place - 0.16, f"{count} of {total}", ha="center", va="bottom", fontsize=7.5)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlim=(-8, 108), ylim=(len(names) - 0.5, -0.6), xlabel="cells (%)", title="encode it")


def _colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def _draw_contributions(axes: Axes, found: xr.Dataset, names: list[str]) -> None:
    rng = np.random.default_rng(0)
    cells = np.flatnonzero(np.isfinite(found["explained"].values))
    cells = cells if cells.size <= SCATTER else np.sort(rng.choice(cells, SCATTER, replace=False))
    for place, name in enumerate(names):
        of = found.sel(regressor=name)
        for key, lift, alpha in (("alone", -0.16, 0.25), ("unique", 0.16, 0.8)):
            values = of[key].values
            jitter = place + lift + 0.11 * (rng.random(cells.size) * 2 - 1)
            axes.plot(values[cells], jitter, ".", color=_colour(place), alpha=alpha, ms=3.5, mew=0)
            if (encodes := of["encodes"].values).any():
                middle = float(np.median(values[encodes]))
                axes.plot([middle, middle], [place + lift - 0.14, place + lift + 0.14], color="black", lw=1.3)
    axes.axvline(0, color=GREY, lw=0.6)
    axes.set_yticks(range(len(names)), [])
    axes.set(
        ylim=(len(names) - 0.5, -0.6), xlabel=f"share of {_share(found)}", title="alone (pale) and uniquely (dark)"
    )


def _draw_explained(axes: Axes, found: xr.Dataset) -> None:
    values = found["explained"].values
    values = values[np.isfinite(values)]
    some = np.any(found["encodes"].values, axis=0)[np.isfinite(found["explained"].values)]
    edges = np.linspace(min(0.0, float(values.min(initial=0.0))), max(0.05, float(values.max(initial=0.0))), 25)
    axes.hist(values, list(edges), color="#CCCCCC")
    axes.hist(values[some], list(edges), color=BLUE)
    axes.set(xlabel=f"share of {_share(found)}", ylabel="cells", title="all together")
    axes.text(0.97, 0.95, "blue: encode any", transform=axes.transAxes, ha="right", va="top", fontsize=7.5, color=BLUE)


def shown_cells(found: xr.Dataset) -> list[tuple[str, int]]:
    """Return the cell of the largest contribution of each regressor that any encodes, and the middle cell of all these.

    Where no cell encodes anything, those of which most is explained.
    """
    encodes, explained = found["encodes"].values, np.nan_to_num(found["explained"].values, nan=-np.inf)
    some = np.flatnonzero(encodes.any(axis=0))
    if not some.size:
        return [("explained most", int(cell)) for cell in np.argsort(-explained, kind="stable")[:2]]
    unique = np.where(encodes, found["unique"].values, -np.inf)
    names = found["regressor"].values
    best = {
        int(unique[k].argmax()): f"best of {names[k]}" for k in range(min(len(names), MOST_BEST)) if encodes[k].any()
    }
    order = some[np.argsort(-explained[some], kind="stable")]
    middle = int(order[order.size // 2])
    return [(word, cell) for cell, word in ({middle: "middle"} | best).items()][::-1]


def kernels_figure(found: xr.Dataset) -> Figure:
    """Draw kernels: the mean of the cells that encode a regressor, then single cells, a column for each regressor."""
    names, cells = list(found["regressor"].values), shown_cells(found)

    def paint(canvas: Canvas) -> None:
        grid = canvas.subplots(1 + len(cells), len(names), squeeze=False, sharex="col")
        for place, name in enumerate(names):
            _draw_mean(grid[0, place], found, name)
            for row, (word, cell) in enumerate(cells):
                _draw_kernel(grid[1 + row, place], found, name, word if place == 0 else "", cell)
            grid[-1, place].set_xlabel("time (s)" if _is_behavior(found, name) else "time from the onset (s)")

    units = found.attrs["units"] or "a.u."
    caption = (
        f"Kernels, {units} (of behaviour, per standard deviation and s). First row: mean and quartiles of the cells that encode "
        "the regressor, its strongest level orange. Then single cells with 95 % intervals (jackknife over folds), orange where the "
        "cell encodes the regressor. Right of 0 activity follows."
    )
    return draw(
        paint, height=1.25 * (1 + len(cells)) + 0.5, alt="Kernels of the population and of cells", caption=caption
    )


def _is_behavior(found: xr.Dataset, name: str) -> bool:
    return name in json.loads(found.attrs["behaviors"])


def _levels(found: xr.Dataset, name: str) -> tuple[np.ndarray, list[np.ndarray], list[str]]:
    """Return times of a regressor's kernels, the moments of each level, and the levels."""
    own = np.flatnonzero(found["kernel_regressor"].values == name)
    level = found["kernel_level"].values[own]
    names = list(dict.fromkeys(level))
    rows = [own[level == one] for one in names]
    return found["kernel_time"].values[rows[0]], rows, names


def _draw_mean(axes: Axes, found: xr.Dataset, name: str) -> None:
    time, rows, _ = _levels(found, name)
    encodes = found["encodes"].sel(regressor=name).values
    axes.axvline(0, color=GREY, lw=0.5)
    axes.axhline(0, color=GREY, lw=0.5)
    axes.set_title(f"{name}: {int(encodes.sum())} cells" if encodes.any() else f"{name}: no cell")
    if not encodes.any():
        axes.set_yticks([])
        return
    kernels = np.stack([found["kernel"].values[row][:, encodes] for row in rows])  # (level, moment, cell)
    best = int((kernels.mean(axis=2) ** 2).sum(axis=1).argmax())
    for k, one in enumerate(kernels.mean(axis=2)):
        axes.plot(time, one, color=ORANGE if k == best else GREY, lw=1.3 if k == best else 0.5, zorder=2 + (k == best))
    low, high = np.quantile(kernels[best], [0.25, 0.75], axis=1)
    axes.fill_between(time, low, high, color=ORANGE, alpha=0.3, lw=0)


def _draw_kernel(axes: Axes, found: xr.Dataset, name: str, word: str, cell: int) -> None:
    time, rows, levels = _levels(found, name)
    of = found.sel(regressor=name)
    kernels = np.stack([found["kernel"].values[row, cell] for row in rows])
    best = int((kernels**2).sum(axis=1).argmax())
    strong = bool(of["encodes"].values[cell])
    colour = ORANGE if strong else GREY
    for k, one in enumerate(kernels[:MOST_LEVELS]):
        if k != best:
            axes.plot(time, one, color=GREY, lw=0.5)
    low, high = (found[key].values[rows[best], cell] for key in ("kernel_low", "kernel_high"))
    axes.fill_between(time, low, high, color=colour, alpha=0.3, lw=0)
    axes.plot(time, kernels[best], color=colour, lw=1.3)
    axes.axhline(0, color=GREY, lw=0.5)
    axes.axvline(0, color=GREY, lw=0.5)
    label = f"{levels[best]}: " if len(levels) > 1 else ""
    told = f"unique {number(float(of['unique'].values[cell]))}, q {float(of['q'].values[cell]):.3f}"
    axes.set_title(f"{label}{told}", fontsize=7, weight="normal")
    if word:
        axes.set_ylabel(f"{word}\n(cell {found[found['explained'].dims[0]].values[cell]})", fontsize=7.5)


def maps_figure(found: xr.Dataset) -> Figure:
    """Draw maps of what all regressors explain together, and of what each tells uniquely, of the pixels that encode it."""
    names = list(found["regressor"].values)
    top = float(np.nanquantile(found["explained"].values, 0.99))

    def paint(canvas: Canvas) -> None:
        panels = canvas.subplots(1, 1 + len(names), squeeze=False)[0]
        bar = image(panels[0], found["explained"].values, None, cmap="viridis", vmin=0, vmax=max(top, 1e-3))
        canvas.colorbar(bar, ax=panels[0], shrink=0.6, label=f"share of {_share(found)}")
        panels[0].set_title("all together")
        for axes, name in zip(panels[1:], names, strict=True):
            of = found.sel(regressor=name)
            shown = np.where(of["encodes"].values, of["unique"].values, np.nan)
            limit = max(float(np.nanquantile(shown, 0.99)), 1e-3) if np.isfinite(shown).any() else 1e-3
            bar = image(axes, shown, None, cmap="magma", vmin=0, vmax=limit)
            canvas.colorbar(bar, ax=axes, shrink=0.6)
            axes.set_title(name)

    caption = "Maps: what all regressors explain in frames left out, then the unique contribution of each, of pixels that encode it."
    return draw(paint, height=1.9, alt="Maps of what each regressor explains", caption=caption, pixels=True)
