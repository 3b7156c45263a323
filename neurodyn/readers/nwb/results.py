# pynwb makes its attributes at run time, so that a type checker cannot see them.
# pyright: reportAttributeAccessIssue=false, reportCallIssue=false
"""What was found in a recording, as a processing module of its NWB file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from hdmf.common import DynamicTable, VectorData
from pynwb import ProcessingModule, TimeSeries

if TYPE_CHECKING:
    import pandas as pd


def results_module(
    name: str,
    description: str,
    tables: Mapping[str, pd.DataFrame],
    series: Mapping[str, tuple[np.ndarray, np.ndarray, str]],
) -> ProcessingModule:
    """Return a processing module of tables and of values at moments.

    Parameters
    ----------
    name, description
        Of the module.
    tables
        Name -> table; each is a `DynamicTable` whose columns are those of the table.
    series
        Name -> times, s, shape (moment,); values, shape (moment, ...); and their unit; each is a `TimeSeries`.
    """
    module = ProcessingModule(name=name, description=description)
    for key, table in tables.items():
        columns = [
            VectorData(name=str(one), description=_words(str(one)), data=_plain(table[one].to_numpy())) for one in table
        ]
        module.add(DynamicTable(name=key, description=f"{description}: {_words(key)}", columns=columns))
    for key, (times, values, unit) in series.items():
        module.add(TimeSeries(name=key, data=values, timestamps=times, unit=unit or "a.u.", description=_words(key)))
    return module


def _words(name: str) -> str:
    return name.replace("_", " ")


def _plain(values: np.ndarray) -> Any:
    return [str(value) for value in values] if values.dtype.kind in "OUT" else values
