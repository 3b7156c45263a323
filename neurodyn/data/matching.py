"""Sessions of the same cells: which cells they share by id, and recordings of these alone, in one order."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
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


def read_matching(path: Path, recordings: Sequence[Recording]) -> dict[str, list[int | None]]:
    """Read a table of matched cells, as `neurodyn match` writes it: the row of every cell in every session.

    Parameters
    ----------
    path
        CSV with a column `cell`, and one per session with the rows of its ROIs, empty where a cell was not found.
    recordings
        Sessions to look for, by their names.

    Raises
    ------
    DataError
        If a session is not in the table, or the table is of other ROIs than the recording has.
    """
    if not path.is_file():
        raise DataError(
            f"{path} is missing.", "Expected a matching.", "Make it: neurodyn match A.zarr B.zarr -o shared"
        )
    with path.open(newline="", encoding="utf-8") as handle:
        reader = csv.DictReader(handle)
        table, names = list(reader), list(reader.fieldnames or ())
    if len({one.session for one in recordings}) < len(recordings):
        raise DataError(
            "Two recordings have one session name.",
            f"Found {recordings[0].session}.",
            "Rename one of them, and match again.",
        )
    for recording in recordings:
        _check_column(path, table, names, recording)
    places = [[row[one.session] for one in recordings] for row in table]
    return {str(k): [int(place) if place else None for place in each] for k, each in enumerate(places)}


def _check_column(path: Path, table: list[dict[str, str]], names: list[str], recording: Recording) -> None:
    """Refuse a table without a session, or one that is not of its ROIs."""
    if recording.session not in names:
        raise DataError(
            f"{path} knows no session '{recording.session}'.",
            f"Found the columns {', '.join(names) or 'none'}.",
            "Match these recordings: neurodyn match A.zarr B.zarr -o shared",
        )
    found = [row[recording.session] for row in table if row[recording.session]]
    count = max(sizes["roi"] for sizes in _sizes(recording))
    if sorted(found) != sorted(map(str, range(count))):
        raise DataError(
            f"{path} is of other ROIs than '{recording.session}' has.",
            f"Found {len(found)} rows in the table, {count} ROIs in the recording.",
            "Give the recordings that were matched; those that match wrote have ids, and need no table.",
        )


def _sizes(recording: Recording) -> list[Any]:
    found = [recording.neural[name].sizes for name in recording.variables]
    return [sizes for sizes in found if "roi" in sizes] or [{"roi": 0}]


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
