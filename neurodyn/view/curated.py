"""A recording as its curation left it: dropped cells gone, merged cells one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr

from neurodyn.core.errors import DataError
from neurodyn.data.lazy import DiskArray, lazy
from neurodyn.data.matching import with_rois
from neurodyn.data.recording import Recording, entry
from neurodyn.view.cells import ROW, column, names_of_cells
from neurodyn.view.curation import Verdicts

RAW = ("fluorescence", "neuropil")  # what a mean over pixels is; everything else is made of these anew
MASK = ("mask_roi", "mask_y", "mask_x", "mask_weight")
Undecided = Literal["keep", "drop"]


def groups_of(recording: Recording, found: Verdicts, undecided: Undecided = "keep") -> list[list[int]]:
    """Return the rows that each cell that stays is made of, the one whose id it has first.

    Parameters
    ----------
    undecided
        What becomes of cells without a verdict.

    Raises
    ------
    DataError
        If none stays.
    """
    names = names_of_cells(recording)
    members: dict[str, list[int]] = {name: [row] for row, name in enumerate(names) if name not in found.into}
    for row, name in enumerate(names):
        if name in found.into:
            members[found.into[name]].append(row)
    groups = [rows for name, rows in members.items() if found.verdict.get(name, undecided) == "keep"]
    if not groups:
        raise DataError(
            "No cell would be left.",
            f"Of {len(names)} cells {sum(verdict == 'keep' for verdict in found.verdict.values())} are kept.",
            "Keep some in the window: neurodyn view, or leave --undecided out",
        )
    return groups


def curated(recording: Recording, found: Verdicts, undecided: Undecided = "keep") -> Recording:
    """Return a recording without its dropped cells, and with merged ones as one; its traces stay on disk.

    A merged cell has the union of the masks, and as fluorescence and neuropil the mean of its parts, each weighted by its
    number of pixels, as if they had been one ROI; ΔF/F, spikes and other variables made of these are left out, since they
    have to be made anew. Ids are kept; cells without ids get the row they had, as column `curated_row`.

    Raises
    ------
    DataError
        If no cell is left, or cells are merged and there is no fluorescence.
    """
    groups, names = groups_of(recording, found, undecided), names_of_cells(recording)
    kept = with_rois(recording, [rows[0] for rows in groups])
    merged = {names[rows[0]]: [names[row] for row in rows] for rows in groups if len(rows) > 1}
    going = set(names) - {names[row] for rows in groups for row in rows}
    told = {"dropped": [name for name in names if name in going], "merged": merged, "undecided": undecided}
    tables = {"rois": _with_rows(kept, names, groups)}
    if merged:
        tables |= _merged(recording, kept.with_groups(tables), groups)
    # one step, not also that of choosing rows by ids
    history = json.dumps([*recording.history, entry("curate", told)], ensure_ascii=False)
    return Recording(kept.with_groups(tables, attrs={"history": history}).tree)


def left_out(recording: Recording, groups: Sequence[Sequence[int]]) -> list[str]:
    """Return the variables that go when cells are merged; none where none are."""
    many = any(len(rows) > 1 for rows in groups)
    return [name for name in _of_cells(recording) if name not in RAW] if many else []


def _of_cells(recording: Recording) -> list[str]:
    return [str(name) for name, array in recording.neural.data_vars.items() if "roi" in array.dims]


def _with_rows(kept: Recording, names: Sequence[str], groups: Sequence[Sequence[int]]) -> xr.Dataset:
    """Return the table of ROIs with ids, also where those were rows."""
    table = kept.table("rois")
    table = xr.Dataset() if table is None else table
    ids = names == [str(row) for row in range(len(names))]
    if ids and ("cell" not in table or table["cell"].dtype.kind == "b"):
        table[ROW] = ("roi", np.array([rows[0] for rows in groups], dtype=np.int64))
    return table


def _merged(recording: Recording, kept: Recording, groups: Sequence[Sequence[int]]) -> dict[str, xr.Dataset]:
    """Return the groups in which merged cells are one."""
    if "fluorescence" not in _of_cells(recording):
        raise DataError(
            "Cells cannot be merged without their fluorescence.",
            f"Found {', '.join(_of_cells(recording))}, which have to be made of it anew.",
            "Curate the recording that these were made from.",
        )
    weights = pixels_of(recording)
    neural = kept.neural.drop_vars([name for name in _of_cells(kept) if name not in RAW])
    for name in set(RAW) & set(map(str, neural.data_vars)):
        source = recording[name].variable
        neural[name] = lazy(("time", "roi"), _Mean(source, groups, weights))
        neural[name].attrs = dict(source.attrs)
    table = kept.table("rois")
    assert table is not None
    found = {"neural": neural, "rois": _table(recording, table, groups, weights)}
    for name in ("truth", "qc"):  # what is known of cells one by one is not known of a merged one
        other = kept.table(name)
        if other is not None and "roi" in other.sizes:
            found[name] = other.drop_vars([key for key, array in other.variables.items() if "roi" in array.dims])
    return found


def pixels_of(recording: Recording) -> np.ndarray:
    """Return the number of pixels of each cell, shape (roi,); 1 for each where nothing says."""
    table, count = recording.table("rois"), recording.neural.sizes["roi"]
    if table is not None and "mask_roi" in table:
        return np.bincount(table["mask_roi"].values, minlength=count).astype(np.float64)
    told = column(recording, "npix")
    return told if np.isfinite(told).all() and (told > 0).all() else np.ones(count)


class _Mean(DiskArray):
    """Traces of groups of cells: the mean of each group, weighted by pixels."""

    def __init__(self, source: xr.Variable, groups: Sequence[Sequence[int]], weights: np.ndarray) -> None:
        super().__init__((source.shape[0], len(groups)), source.dtype)
        self.source, self.groups, self.weights = source, groups, weights

    def _block(self, key: tuple[slice, ...]) -> np.ndarray:
        time, places = key
        groups = self.groups[places]
        rows = sorted({row for group in groups for row in group})
        values = self.source[time].values[:, rows]
        place = {row: k for k, row in enumerate(rows)}
        out = np.empty((values.shape[0], len(groups)), self.dtype)
        for k, group in enumerate(groups):
            parts = values[:, [place[row] for row in group]]
            # what is single stays as it is, to the bit
            out[:, k] = parts[:, 0] if len(group) == 1 else np.average(parts, axis=1, weights=self.weights[list(group)])
        return out


def _table(recording: Recording, table: xr.Dataset, groups: Sequence[Sequence[int]], weights: np.ndarray) -> xr.Dataset:
    """Return the table of ROIs in which merged cells have a common centre and mask; other measures of theirs are NaN."""
    many = [place for place, rows in enumerate(groups) if len(rows) > 1]
    table = table.copy(deep=True)
    for name, array in table.data_vars.items():
        if array.dims == ("roi",) and array.dtype.kind == "f":
            whole = column(recording, str(name))
            centre = name in ("y", "x")
            array.values[many] = [
                np.average(whole[groups[k]], weights=weights[groups[k]]) if centre else np.nan for k in many
            ]
    if "mask_roi" in table:
        table = _with_masks(recording, table, groups, weights)
        if "npix" in table:
            table["npix"].values[many] = np.bincount(table["mask_roi"].values, minlength=len(groups))[many]
    elif "npix" in table:
        table["npix"].values[many] = [sum(weights[groups[k]]) for k in many]
    return table


def _with_masks(
    recording: Recording, table: xr.Dataset, groups: Sequence[Sequence[int]], weights: np.ndarray
) -> xr.Dataset:
    """Return the table with the union of the masks of every group; the weights of a pixel in both add up."""
    whole = recording.table("rois")
    assert whole is not None
    mask: dict[str, Any] = {name: whole[name].values for name in MASK if name in whole}
    found: dict[str, list[np.ndarray]] = {name: [] for name in mask}
    for place, rows in enumerate(groups):
        mine = np.concatenate([np.flatnonzero(mask["mask_roi"] == row) for row in rows])
        owner, own = mask["mask_roi"][mine], {name: values[mine] for name, values in mask.items()}
        if len(rows) > 1:
            if "mask_weight" in own:
                own["mask_weight"] = own["mask_weight"] * weights[owner] / weights[list(rows)].sum()
            own = _union(own)
        own["mask_roi"] = np.full(own["mask_y"].size, place, dtype=mask["mask_roi"].dtype)
        for name, values in own.items():
            found[name].append(values)
    table = table.drop_vars([name for name, array in table.variables.items() if "mask" in array.dims])
    return table.assign(
        {name: ("mask", np.concatenate(parts), dict(whole[name].attrs)) for name, parts in found.items()}
    )


def _union(own: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return each pixel of a mask once, with the sum of its weights."""
    places, first, which = np.unique(
        np.stack([own["mask_y"], own["mask_x"]]), axis=1, return_index=True, return_inverse=True
    )
    union = {"mask_roi": own["mask_roi"][first], "mask_y": places[0], "mask_x": places[1]}
    if "mask_weight" in own:
        union["mask_weight"] = np.bincount(which.ravel(), weights=own["mask_weight"], minlength=first.size)
    return union
