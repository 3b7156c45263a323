"""`StimulusCode`: what models are told of a stimulus, and which condition it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
from pydantic import Field

from neurodyn.core.config import Params
from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording

ANGLES = ("orientation", "direction", "angle")


class ColumnCode(Params):
    """How one stimulus column becomes numbers."""

    name: str = Field(description="stimulus column")
    kind: Literal["angle", "cycle", "number", "name"] = Field(
        description="angle: sine and cosine of once and twice the degrees; cycle: the same of a share of a cycle; "
        "number: z-score; name: one number per value"
    )
    mean: float = Field(default=0.0, description="of a number")
    sd: float = Field(default=1.0, gt=0, description="of a number")
    values: tuple[str, ...] = Field(default=(), description="known names")

    @property
    def size(self) -> int:
        """Numbers per event."""
        return {"angle": 4, "cycle": 4, "number": 1, "name": len(self.values)}[self.kind]

    def encode(self, column: np.ndarray) -> np.ndarray:
        """Return the numbers, shape (event, size); 0 where the column is NaN or a name is not known."""
        if self.kind == "name":
            return (np.array([str(value) for value in column])[:, None] == np.array(self.values)).astype(np.float32)
        values = np.asarray(column, dtype=np.float64)
        if self.kind == "number":
            return np.nan_to_num((values - self.mean) / self.sd)[:, None].astype(np.float32)
        turns = 2 * np.pi * values / (360.0 if self.kind == "angle" else 1.0)
        waves = [wave(times * turns) for times in (1, 2) for wave in (np.sin, np.cos)]
        return np.nan_to_num(np.stack(waves, axis=1)).astype(np.float32)


class StimulusCode(Params):
    """The code of a stimulus table, fitted once and kept with the model.

    Every column gives its numbers; a last one is 1 where every column is NaN, a blank. Conditions are the combinations
    of values, in sorted order.
    """

    columns: tuple[ColumnCode, ...] = Field(description="codes of the columns")
    conditions: tuple[tuple[str, ...], ...] = Field(description="known combinations of values")

    @classmethod
    def fit(cls, recordings: Sequence[Recording], names: Sequence[str]) -> Self:
        """Learn which values there are.

        Raises
        ------
        DataError
            If a recording has no such column.
        """
        tables = [[stimulus_column(recording, name) for name in names] for recording in recordings]
        whole = [np.concatenate(columns) for columns in zip(*tables, strict=True)]
        keys = {key for columns in tables for key in _keys(columns)}
        codes = tuple(_code(name, column) for name, column in zip(names, whole, strict=True))
        return cls(columns=codes, conditions=tuple(sorted(keys)))

    @property
    def size(self) -> int:
        """Numbers per event."""
        return sum(column.size for column in self.columns) + 1

    def encode(self, recording: Recording) -> tuple[np.ndarray, np.ndarray]:
        """Return numbers and condition of every event, in order of onsets.

        Returns
        -------
        numbers
            float32, shape (event, size).
        condition
            Index into `conditions`, -1 for one that is not known, shape (event,).
        """
        return self.encode_columns([stimulus_column(recording, column.name) for column in self.columns])

    def encode_columns(self, columns: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return the same of columns in the code's order, each of shape (event,)."""
        numbers = [code.encode(column) for code, column in zip(self.columns, columns, strict=True)]
        blank = np.logical_and.reduce([_missing(column) for column in columns])
        known = {key: index for index, key in enumerate(self.conditions)}
        condition = np.array([known.get(key, -1) for key in _keys(columns)], dtype=np.int64)
        return np.concatenate([*numbers, blank[:, None].astype(np.float32)], axis=1), condition


def stimulus_column(recording: Recording, name: str) -> np.ndarray:
    """Return one column of a recording's stimulus table in order of onsets, shape (event,).

    Raises
    ------
    DataError
        If there is none of that name.
    """
    stimulus = recording.stimulus
    if name not in stimulus:
        columns = ", ".join(str(c) for c in stimulus.variables)
        raise DataError(
            f"There is no stimulus column '{name}'.",
            f"Found: {columns}.",
            "Name one of these in its place, --set KEY=NAME: windows.stimuli, windows.condition or condition",
        )
    return stimulus[name].values[np.argsort(stimulus["start"].values, kind="stable")]


def with_stimulus_alone(recording: Recording, kind: str) -> Recording:
    """Return the recording with only those events whose column `stimulus` is `kind`.

    Raises
    ------
    DataError
        If there are none.
    """
    table = recording.stimulus
    kinds = np.array([str(value) for value in table["stimulus"].values] if "stimulus" in table else [])
    if not (kinds == kind).any():
        known = ", ".join(sorted(set(kinds))) or "no column `stimulus` that tells kinds of stimuli apart"
        raise DataError(
            f"Recording '{recording.session}' has no stimulus '{kind}'.",
            f"Found: {known}.",
            "Name one of these: --set windows.kind=KIND, of respond --set kind=KIND",
        )
    table = recording.tree.children["stimulus"].to_dataset(inherit=False)
    return recording.with_groups({"stimulus": table.isel(event=kinds == kind)})


def _code(name: str, column: np.ndarray) -> ColumnCode:
    if not np.issubdtype(column.dtype, np.number):
        return ColumnCode(name=name, kind="name", values=tuple(sorted({str(value) for value in column})))
    values = column[np.isfinite(column)].astype(np.float64)
    if any(word in name for word in ANGLES):
        return ColumnCode(name=name, kind="angle")
    if "phase" in name:
        return ColumnCode(name=name, kind="cycle" if np.abs(values).max(initial=0) <= 1 else "angle")
    mean, sd = (float(values.mean()), float(values.std())) if values.size else (0.0, 0.0)
    return ColumnCode(name=name, kind="number", mean=mean, sd=sd or 1.0)


def _missing(column: np.ndarray) -> np.ndarray:
    numeric = np.issubdtype(column.dtype, np.number)
    return ~np.isfinite(column) if numeric else np.zeros(column.shape, dtype=bool)


def _keys(columns: Sequence[np.ndarray]) -> list[tuple[str, ...]]:
    plain = [column.astype(float) if np.issubdtype(column.dtype, np.number) else column for column in columns]
    return [tuple(str(value) for value in row) for row in zip(*plain, strict=True)]
