"""Tables and traces that lie beside a recording: CSV, TSV, MAT, HDF5 and numpy files as named columns."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.core.files import beside
from neurodyn.data.clock import is_time

TEXT = (".csv", ".tsv", ".txt", ".log")
HDF5 = (".h5", ".hdf5", ".hdf")


def require_beside(source: Path, name: str, what: str) -> Path:
    """Return a file named as given, or lying beside the source.

    Raises
    ------
    DataError
        If there is none.
    """
    found = beside(source, name)
    if found is None:
        raise DataError(f"{what}: there is no file {name}.", f"Looked there and in {source.parent}.", "Check the name.")
    return found


def read_columns(path: Path, names: tuple[str, ...] = (), key: str | None = None) -> dict[str, np.ndarray]:
    """Read a table as columns, each of shape (row,), numbers where every cell is one.

    Parameters
    ----------
    names
        Names of the columns where the file has none; the columns after the last name are left out, and so are those
        named "-".
    key
        Struct, group or dataset in a file that holds several things.

    Raises
    ------
    DataError
        If the file is damaged, of no known kind, or its columns have no names.
    """
    suffix = path.suffix.lower()
    if suffix in TEXT:
        return _text(path, names)
    arrays = _arrays(path, suffix)
    if key is not None:
        inside = f"{key.strip('/')}/"
        chosen = {name.removeprefix(inside): a for name, a in arrays.items() if f"{name}/".startswith(inside)}
        arrays = _some(path, chosen, arrays, key)
    columns = {name: _plain(array) for name, array in arrays.items()}
    if names and len(columns) == 1 and next(iter(columns.values())).ndim == 2:
        return _named(path, list(next(iter(columns.values())).T), names)
    flat = {name: column for name, column in columns.items() if column.ndim == 1}
    return _named(path, list(flat.values()), names) if names else _some(path, flat, columns, "of one axis")


def read_trace(path: Path, key: str | None, times: bool = False) -> tuple[str, np.ndarray]:
    """Read one column of numbers, shape (sample,), and its name.

    Parameters
    ----------
    times
        Of several columns, take the one that is called after time.

    Raises
    ------
    DataError
        If there are several and `key` names none of them.
    """
    if path.suffix.lower() in TEXT:
        columns = read_columns(path, () if _has_header(path) else ("0",))
        columns = columns if key is None else {name: c for name, c in columns.items() if name == key.strip()}
    else:
        columns = read_columns(path, key=key)
    numeric = {name: column for name, column in columns.items() if column.dtype.kind in "buif"}
    called = {name: column for name, column in numeric.items() if is_time(name)}
    if times and len(numeric) > 1 and len(called) == 1:
        numeric = called
    if len(numeric) != 1:
        raise DataError(
            f"{path}: {'no' if not numeric else 'several'} columns of numbers could be meant.",
            f"Found {', '.join(numeric) or 'none'}{'' if key is None else f' for key {key}'}.",
            "Name one with key.",
        )
    name, column = next(iter(numeric.items()))
    return name, column.astype(np.float64)


def _arrays(path: Path, suffix: str) -> dict[str, Any]:
    from neurodyn.readers.containers.hdf5 import hdf5_arrays
    from neurodyn.readers.containers.matlab import mat_arrays
    from neurodyn.readers.containers.npy import numpy_arrays

    if suffix == ".mat":
        return mat_arrays(path, expand=True)
    if suffix in HDF5:
        return hdf5_arrays(path)
    if suffix in (".npy", ".npz"):
        return numpy_arrays(path)
    raise DataError(
        f"{path} is no table that neurodyn reads.",
        f"Known: {', '.join((*TEXT, '.mat', '.npy', '.npz', *HDF5))}.",
        "Export it as CSV.",
    )


def _plain(array: Any) -> np.ndarray:
    from neurodyn.readers.containers.hdf5 import Hdf5Array

    text = isinstance(array, Hdf5Array) and np.dtype(array.dtype).kind == "O"
    values = array.text() if text else np.asarray(array)
    return values.ravel() if values.ndim == 2 and 1 in values.shape else values


def _some(path: Path, chosen: dict[str, Any], all_: dict[str, Any], what: str) -> dict[str, Any]:
    if chosen:
        return chosen
    listed = ", ".join(f"{name} {tuple(array.shape)}" for name, array in list(all_.items())[:12])
    raise DataError(f"{path} holds nothing {what}.", f"Found: {listed or 'nothing'}.", "Name a dataset with key.")


def _named(path: Path, columns: list[np.ndarray], names: tuple[str, ...]) -> dict[str, np.ndarray]:
    if len(names) > len(columns):
        raise DataError(
            f"{path} has fewer columns than names.",
            f"Found {len(columns)} columns; named {len(names)}: {', '.join(names)}.",
            "Name as many as there are, in their order; - leaves one out.",
        )
    return {name: column for name, column in zip(names, columns, strict=False) if name not in ("", "-")}


def _rows(path: Path) -> list[list[str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
        first = lines[0] if lines else ""
        delimiter = next((sign for sign in ("\t", ";", ",") if sign in first), ",")
        rows = list(csv.reader(lines, delimiter=delimiter, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table.", f"{error}.", "Export it as CSV in UTF-8.") from error
    odd = next((k for k, row in enumerate(rows) if len(row) != len(rows[0])), None)
    if not rows or odd is not None:
        found = "it is empty" if not rows else f"row {odd} has {len(rows[odd or 0])} cells, row 0 has {len(rows[0])}"
        raise DataError(f"{path} is no whole table.", f"Found: {found}.", "Mend the row, or export the table again.")
    return [[cell.strip() for cell in row] for row in rows]


def _has_header(path: Path) -> bool:
    return _is_header(_rows(path)[0])


def _is_header(row: list[str]) -> bool:
    return not any(_is_number(cell) for cell in row)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _text(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    rows = _rows(path)
    header = rows[0] if _is_header(rows[0]) else None
    if header is None and not names:
        raise DataError(
            f"{path} has no header.",
            f"Its first row is {', '.join(rows[0][:6])}; it has {len(rows[0])} columns.",
            "Name them: --set source.stimulus.columns=[contrast,orientation]",
        )
    body = rows if header is None else rows[1:]
    if not body:
        raise DataError(f"{path} has no rows.", f"Found the header {', '.join(rows[0])} alone.", "Export it again.")
    columns = [_typed([row[k] for row in body]) for k in range(len(rows[0]))]
    return _named(path, columns, names or tuple(header or ()))


def _typed(cells: list[str]) -> np.ndarray:
    if any(cells) and all(_is_number(cell) or not cell for cell in cells):
        return np.array([float(cell) if cell else np.nan for cell in cells])
    return np.array(cells, dtype=str)
