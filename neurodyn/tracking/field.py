"""The field of one session: its cells' footprints, where they lie, and a picture of the plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy import sparse

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording

LEAST_CELLS = 5


@dataclass(frozen=True)
class Field:
    """One session's cells in a plane.

    Parameters
    ----------
    session
        Name, for messages.
    footprints
        Weights of each cell's pixels, the largest 1, shape (pixel, roi); pixels run along the rows first.
    centres
        Centres of mass, (y, x) in pixels, shape (roi, 2).
    shape
        Rows and columns of the plane.
    mean
        Mean image, shape (y, x); None where the recording has none.
    """

    session: str
    footprints: sparse.csc_array
    centres: np.ndarray
    shape: tuple[int, int]
    mean: np.ndarray | None

    @property
    def diameter(self) -> float:
        """Median diameter of a disk with as many pixels as a cell, pixels."""
        return float(2 * np.sqrt(np.median(np.diff(self.footprints.indptr)) / np.pi))

    @property
    def picture(self) -> np.ndarray:
        """All footprints in one picture, shape (y, x)."""
        return np.asarray(self.footprints.sum(axis=1)).reshape(self.shape)


def fields_of(recordings: Sequence[Recording]) -> list[Field]:
    """Return the fields of sessions, in planes of one shape.

    Raises
    ------
    DataError
        If a recording has no masks, or too few cells for its field to be told from another.
    """
    tables = [_table(recording) for recording in recordings]
    means = [_mean(recording) for recording in recordings]
    extents = [(int(table["mask_y"].max()) + 1, int(table["mask_x"].max()) + 1) for table in tables]
    rows, columns = np.max(extents + [mean.shape for mean in means if mean is not None], axis=0)
    return [
        _field(recording.session, table, mean, (int(rows), int(columns)))
        for recording, table, mean in zip(recordings, tables, means, strict=True)
    ]


def _table(recording: Recording) -> xr.Dataset:
    table = recording.table("rois")
    if table is None or not {"mask_roi", "mask_y", "mask_x"} <= set(map(str, table.variables)):
        raise DataError(
            f"The cells of '{recording.session}' have neither ids nor masks.",
            "Expected masks in its table 'rois' to find the same cells by, or a column 'cell' with ids.",
            "Read masks, too: neurodyn convert FOLDER rec.zarr --set source.pickle=true (suite2p)",
        )
    if table.sizes["roi"] < LEAST_CELLS:
        raise DataError(
            f"'{recording.session}' has too few cells for its field to be recognised.",
            f"Found {table.sizes['roi']}; {LEAST_CELLS} at least.",
            "Leave it out, or give the cells ids in a column 'cell': neurodyn match --by ids",
        )
    return table


def _mean(recording: Recording) -> np.ndarray | None:
    seen = recording.table("qc")
    return None if seen is None or "mean_image" not in seen else seen["mean_image"].values.astype(float)


def _field(session: str, table: xr.Dataset, mean: np.ndarray | None, shape: tuple[int, int]) -> Field:
    owner = table["mask_roi"].values.astype(int)
    y, x = (table[name].values.astype(int) for name in ("mask_y", "mask_x"))
    weight = table["mask_weight"].values.astype(float) if "mask_weight" in table else np.ones(owner.size)
    weight = np.maximum(weight, 0) + 1e-9  # a pixel of weight 0 still belongs to the cell
    prints = footprints(owner, np.stack([y, x], axis=1), weight, shape, table.sizes["roi"])
    return Field(session, prints, centres_of(prints, shape), shape, None if mean is None else _padded(mean, shape))


def footprints(
    owner: np.ndarray, places: np.ndarray, weight: np.ndarray, shape: tuple[int, int], count: int
) -> sparse.csc_array:
    """Return footprints, the largest weight of each 1, shape (pixel, roi); what lies outside the plane is left out.

    Parameters
    ----------
    owner
        The cell each entry belongs to, shape (entry,).
    places
        Row and column of each entry, integers, shape (entry, 2).
    weight
        Shape (entry,); entries of the same cell and pixel add up.
    """
    inside = ((places >= 0) & (places < shape)).all(axis=1)
    pixel = places[inside, 0] * shape[1] + places[inside, 1]
    size = (shape[0] * shape[1], count)
    made = sparse.coo_array((weight[inside], (pixel, owner[inside])), shape=size).tocsc()
    largest = np.maximum(made.max(axis=0).toarray().ravel(), np.finfo(float).tiny)
    return sparse.csc_array(made @ sparse.diags_array(1 / largest))


def entries_of(prints: sparse.csc_array, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return owner, place (row and column, shape (entry, 2)) and weight of every pixel of footprints.

    Parameters
    ----------
    columns
        Of the plane.
    """
    entries = prints.tocoo()
    pixel, owner = entries.coords
    return owner, np.stack(np.divmod(pixel, columns), axis=1), entries.data


def centres_of(prints: sparse.csc_array, shape: tuple[int, int]) -> np.ndarray:
    """Return centres of mass, (y, x) in pixels, shape (roi, 2); NaN for a cell without pixels."""
    places = np.stack(np.divmod(np.arange(shape[0] * shape[1]), shape[1]), axis=1)
    mass = np.asarray(prints.sum(axis=0)).ravel()
    with np.errstate(invalid="ignore"):
        return (prints.T @ places) / np.where(mass > 0, mass, np.nan)[:, None]


def _padded(mean: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    whole = np.full(shape, np.nan)
    whole[: mean.shape[0], : mean.shape[1]] = mean
    return whole
