"""Targets on a circle: directions, orientations, phases."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np

LARGEST_RADIAN = 2 * np.pi + 1e-3


@dataclass(frozen=True)
class Circle:
    """What one turn of a circular target is.

    Parameters
    ----------
    period
        In the target's own unit: 360 for directions in degrees, π for orientations in radians.
    degrees
        The same in degrees: 360 for directions, 180 for orientations. Errors are told in these.
    """

    period: float = 360.0
    degrees: float = 360.0

    @property
    def unit(self) -> str:
        """The target's unit in words."""
        if np.isclose(self.period, self.degrees):
            return "degrees"
        return "radians" if np.isclose(self.period, np.deg2rad(self.degrees)) else "turns"

    def radians(self, values: np.ndarray) -> np.ndarray:
        """Return values as radians of a whole turn, in [0, 2π): orientations are doubled; shape of `values`."""
        return np.mod(2 * np.pi * np.asarray(values, dtype=np.float64) / self.period, 2 * np.pi)

    def values(self, radians: np.ndarray) -> np.ndarray:
        """Return radians of a whole turn in the target's unit, from 0 to the period; shape of `radians`."""
        return np.mod(radians, 2 * np.pi) * self.period / (2 * np.pi)


def unit_vectors(radians: np.ndarray) -> np.ndarray:
    """Return cosines, then sines: shape (sample, column) -> (sample, 2 column)."""
    return np.concatenate([np.cos(radians), np.sin(radians)], axis=-1)


def directions(vectors: np.ndarray) -> np.ndarray:
    """Return the radians of cosines and sines side by side: shape (..., 2 column) -> (..., column)."""
    cosine, sine = np.split(vectors, 2, axis=-1)
    return np.arctan2(sine, cosine)


def angle_unit(units: str) -> Literal["degrees", "radians"] | None:
    """Return the unit of an angle; None where a column's unit is none of an angle."""
    plain = units.strip().lower()
    if plain in ("deg", "degs", "degree", "degrees", "°"):
        return "degrees"
    return "radians" if plain in ("rad", "rads", "radian", "radians") else None


def asked_circle(period: float, units: str) -> Circle:
    """Return the circle of a period that was asked for: of degrees, of radians, or one turn of anything else."""
    if angle_unit(units) == "degrees" or period in (360.0, 180.0, 90.0):
        return Circle(period, period)
    whole = next((part for part in (1, 2, 4) if abs(period - 2 * np.pi / part) < 0.01), None)
    if whole is not None:
        return Circle(2 * np.pi / whole, 360.0 / whole)
    return Circle(period, float(np.rad2deg(period)) if angle_unit(units) == "radians" else 360.0)


def find_circle(words: Collection[str], finite: np.ndarray, units: str, modulo: float | None) -> Circle:
    """Return one turn of an angle, by its name, in the unit that its column or its values have.

    Without a unit, fractions within ±2π are radians and phases from 0 to 1 are shares of a cycle; all else is degrees.
    Orientations begin again at 180°, unless their values span more; so do angles from 0 to below 180°; other angles at
    360°.

    Parameters
    ----------
    words
        Of the name, in lower case.
    finite
        Values, shape (entry,).
    units
        Of the column; "" for none.
    modulo
        Where the values begin again by the target NAME%NUMBER.
    """
    unit, largest = angle_unit(units), float(np.abs(finite).max(initial=0))
    fractions = bool((finite != np.round(finite)).any())
    if unit is None and "phase" in words and fractions and finite.min() >= 0 and largest <= 1:
        turn = 1.0
    else:
        radians = unit == "radians" or (unit is None and fractions and largest <= LARGEST_RADIAN)
        turn = 2 * np.pi if radians else 360.0
    if modulo is not None:
        return Circle(modulo, 360.0 * modulo / turn)
    return Circle(turn / 2, 180.0) if _is_half(words, finite, turn) else Circle(turn, 360.0)


def _is_half(words: Collection[str], finite: np.ndarray, turn: float) -> bool:
    """Say whether half a turn is the whole of it."""
    span, slack = float(np.ptp(finite)) if finite.size else 0.0, 1e-4 * turn
    if {"orientation", "orientations", "ori", "oris"} & set(words):
        return span <= turn / 2 + slack
    if {"angle", "angles", "theta"} & set(words):
        return bool(finite.min(initial=0) >= 0) and turn / 4 <= span and bool(finite.max(initial=0) < turn / 2 - slack)
    return False
