"""What conditions there are: the values of one or two columns, numbers with many values in bins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.circle import Circle
from neurodyn.data.columns import Column, Kind, meaning_of

MOST_VALUES = 24  # of a number, each a condition of its own
FEWEST = 2  # events of each condition


@dataclass(frozen=True)
class Axis:
    """A column and its levels.

    Parameters
    ----------
    name
        As asked for.
    kind
        Classes, a quantity or an angle.
    levels
        Values, or centres of bins, in order, shape (level,).
    code
        Level of each event or frame, -1 where it has none, shape (entry,).
    circle
        One turn, of an angle.
    edges
        Of bins, shape (level + 1,); None where values are levels.
    units
        Of the values; "" where the recording does not say.
    """

    name: str
    kind: Kind
    levels: np.ndarray
    code: np.ndarray
    circle: Circle
    edges: np.ndarray | None = None
    units: str = ""

    @property
    def radians(self) -> np.ndarray:
        """Levels of an angle as radians of a whole turn."""
        return self.circle.radians(self.levels)


@dataclass(frozen=True)
class Conditions:
    """Combinations of levels that occur.

    Parameters
    ----------
    axes
        One or two columns; none where events alone are asked for.
    code
        Condition of each event or frame, -1 for none, shape (entry,).
    places
        Level on each axis, shape (condition, axis).
    """

    axes: tuple[Axis, ...]
    code: np.ndarray
    places: np.ndarray

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.places)

    @property
    def labels(self) -> list[str]:
        """A name for each."""
        if not self.axes:
            return ["all events"]
        return [
            ", ".join(
                _word(axis.levels[k], 5 if axis.edges is None else 2) for axis, k in zip(self.axes, row, strict=True)
            )
            for row in self.places
        ]

    @property
    def name(self) -> str:
        """What they are called."""
        return " × ".join(axis.name for axis in self.axes) or "event"


def events_alone(count: int) -> Conditions:
    """Return one condition for so many events."""
    return Conditions((), np.zeros(count, dtype=np.int64), np.zeros((1, 0), dtype=np.int64))


def conditions_of(axes: Sequence[Axis], fewest: int = FEWEST, unit: str = "events") -> Conditions:
    """Return the combinations of levels that occur often enough.

    Parameters
    ----------
    fewest
        Events, or frames of behaviour, of each.
    unit
        What these are, for the message.

    Raises
    ------
    DataError
        If there are fewer than two.
    """
    table = np.stack([axis.code for axis in axes], axis=1)
    known = (table >= 0).all(axis=1)
    found, place, number = np.unique(table[known], axis=0, return_inverse=True, return_counts=True)
    code = np.full(len(table), -1)
    code[known] = np.where(number >= fewest, np.cumsum(number >= fewest) - 1, -1)[place.reshape(-1)]
    places = found[number >= fewest]
    if len(places) < 2:
        raise DataError(
            f"'{' × '.join(axis.name for axis in axes)}' has no two conditions to compare.",
            f"Found {len(found)}, of which {len(places)} have at least {fewest} {unit}.",
            "Name another column, take fewer bins (--set bins=4), or leave --target out for events alone.",
        )
    return Conditions(tuple(axes), code, places)


def axis_of(column: Column, values: np.ndarray, bins: int | None, period: float | None) -> Axis:
    """Return a column's levels.

    Parameters
    ----------
    values
        Of the column, one per event, or of behaviour one per frame, shape (entry,).
    bins
        For numbers of many values; of behaviour and where asked for, all numbers but codes are put into bins.
    period
        Of an angle, where it was asked for.

    Raises
    ------
    DataError
        If all values are missing.
    ConfigError
        If bins are asked of something that is no number.
    """
    meant = meaning_of(column, period)
    if meant.kind == "class":
        if bins is not None and not column.behavior:
            raise ConfigError(f"'{column.name}' has no bins.", f"Found {meant.why}.", "Leave `bins` out.")
        return _of_values(column, values, meant.kind, meant.circle)
    finite = values[np.isfinite(values)].astype(float)
    if not finite.size:
        raise DataError(
            f"'{column.name}' has no finite value.",
            f"Found {values.size} missing ones.",
            "Name another column, or mend it.",
        )
    if bins is None and not column.behavior and np.unique(finite).size <= MOST_VALUES:
        values = np.where(np.isfinite(values), meant.circle.values(meant.circle.radians(values)).round(6), np.nan) if (
            meant.kind == "angle"
        ) else values  # fmt: skip
        return _of_values(column, values, meant.kind, meant.circle)
    count = bins or (20 if column.behavior else 8)
    if meant.kind == "angle":
        values = meant.circle.values(meant.circle.radians(values))
        edges = np.linspace(0, meant.circle.period, count + 1)
    elif column.behavior:
        edges = np.linspace(finite.min(), finite.max(), count + 1)
    else:
        edges = np.unique(np.quantile(finite, np.linspace(0, 1, count + 1)))
    return _of_bins(column, values, edges, meant.kind, meant.circle)


def _of_values(column: Column, values: np.ndarray, kind: Kind, circle: Circle) -> Axis:
    known = np.isfinite(values.astype(float)) if values.dtype.kind in "iuf" else values != ""
    levels = np.unique(values[known])
    code = np.full(values.size, -1)
    code[known] = np.searchsorted(levels, values[known])
    return Axis(column.name, kind, levels, code, circle, units=_units(column, kind, circle))


def _of_bins(column: Column, values: np.ndarray, edges: np.ndarray, kind: Kind, circle: Circle) -> Axis:
    known = np.isfinite(values)
    code = np.full(values.size, -1)
    code[known] = np.clip(np.searchsorted(edges, values[known], side="right") - 1, 0, edges.size - 2)
    levels = (edges[1:] + edges[:-1]) / 2
    return Axis(column.name, kind, levels, code, circle, edges, _units(column, kind, circle))


def _units(column: Column, kind: Kind, circle: Circle) -> str:
    return circle.unit if kind == "angle" else column.units


def _word(level: object, digits: int) -> str:
    return f"{float(level):.{digits}g}" if isinstance(level, np.number) else str(level)
