"""Sessions of the same cells: which cells they share by id, and recordings of these alone, in one order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording, entry


def cell_ids(recording: Recording) -> np.ndarray:
    """Return the ids of a recording's cells, text, shape (roi,).

    Raises
    ------
    DataError
        If its ROIs have no ids, or an id stands twice.
    """
    table = recording.table("rois")
    if table is None or "cell" not in table or table["cell"].dtype.kind == "b":
        raise DataError(
            f"The cells of '{recording.session}' have no ids.",
            "Expected a column 'cell' in its table 'rois', the same for a cell in every session.",
            "Give the ids when converting; or read masks, too, and let cells be found by them: neurodyn match --by pictures",
        )
    ids = np.array(table["cell"].values.tolist(), dtype=str)  # numpy cannot cast the strings a store gives back
    if np.unique(ids).size != ids.size:
        twice = [str(one) for one, count in zip(*np.unique(ids, return_counts=True), strict=True) if count > 1]
        raise DataError(
            f"'{recording.session}': {len(twice)} cell ids stand more than once.",
            f"Found twice: {', '.join(twice[:5])}.",
            "Give every cell its own id.",
        )
    return ids


def rows_of_cells(recordings: Sequence[Recording]) -> dict[str, list[int | None]]:
    """Return for each cell of any session the row it has in every session, None where it was not found.

    Cells are in order of the first session that has them.
    """
    rows: dict[str, list[int | None]] = {}
    for place, recording in enumerate(recordings):
        for row, cell in enumerate(cell_ids(recording)):
            rows.setdefault(str(cell), [None] * len(recordings))[place] = row
    return rows


def have_ids(recordings: Sequence[Recording]) -> bool:
    """Say whether every recording has a column of ids; one of truth values, as suite2p's verdicts, names no cell."""
    tables = [recording.table("rois") for recording in recordings]
    return all(table is not None and "cell" in table and table["cell"].dtype.kind != "b" for table in tables)


def with_ids(recording: Recording, ids: Sequence[int], probability: np.ndarray, step: dict[str, Any]) -> Recording:
    """Return a recording whose cells have ids, column `cell`; verdicts that stood there move to `accepted`.

    Parameters
    ----------
    ids
        One per ROI.
    probability
        That each was matched rightly, shape (roi,); NaN where it was found in no other session.
    step
        For the history: how they were matched.
    """
    table = recording.table("rois")
    rois = xr.Dataset() if table is None else table
    if "cell" in rois and rois["cell"].dtype.kind == "b":
        rois = rois.rename(cell="accepted")
    columns = {
        "cell": ("roi", np.asarray(ids, dtype=np.int64)),
        "match_probability": (
            "roi",
            probability,
            {"units": "1", "long_name": "mean over the cell's pairs of sessions"},
        ),
    }
    return recording.with_groups({"rois": rois.assign(columns)}, step=entry("match", step))


def with_rois(recording: Recording, rows: Sequence[int]) -> Recording:
    """Return a recording of some ROIs alone, in the order of `rows`; its traces stay on disk.

    Parameters
    ----------
    rows
        Places of the ROIs in the recording.
    """
    groups: dict[str, Any] = {}
    for name, node in recording.tree.children.items():
        dataset = node.to_dataset(inherit=False)
        kept = dataset.isel(roi=list(rows)) if "roi" in dataset.sizes else dataset
        groups[name] = _masks(kept, dataset, rows) if name == "rois" and "mask_roi" in dataset else kept
    tree = xr.DataTree.from_dict({"/": xr.Dataset()} | groups)
    history = [*recording.history, entry("rois", {"rows": [int(row) for row in rows]})]
    tree.attrs = dict(recording.tree.attrs) | {"history": json.dumps(history, ensure_ascii=False)}
    return Recording(tree)


def _masks(kept: xr.Dataset, dataset: xr.Dataset, rows: Sequence[int]) -> xr.Dataset:
    owner = dataset["mask_roi"].values
    place = {row: k for k, row in enumerate(rows)}
    mine = np.flatnonzero(np.isin(owner, list(rows)))
    order = mine[np.argsort([place[int(owner[k])] for k in mine], kind="stable")]
    kept = kept.isel(mask=order)
    kept["mask_roi"] = ("mask", np.array([place[int(owner[k])] for k in order], dtype=owner.dtype))
    return kept
