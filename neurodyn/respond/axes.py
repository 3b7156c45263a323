"""What tuning curves say along one column: directions and orientations, contrast, or a preferred value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurodyn.data.columns import words_of
from neurodyn.metrics.curves import gaussian, half_width, naka_rushton, von_mises
from neurodyn.metrics.tuning import evenly_spread, peak_selectivity, vector_selectivity
from neurodyn.respond.conditions import Axis

FEWEST_LEVELS = 4  # that a curve is fitted to
GEOMETRIC = 1.05  # how far ratios of neighbours may differ for levels to be steps of a logarithm
Columns = dict[str, np.ndarray]
Halves = Sequence[tuple[np.ndarray, np.ndarray]]


def of_axis(
    axis: Axis, level: np.ndarray, mean: np.ndarray, squared_error: np.ndarray, number: np.ndarray, halves: Halves
) -> Columns:
    """Return what curves say along one column, the other one averaged over; columns of the table of cells.

    Parameters
    ----------
    level
        Of each condition on this axis, shape (condition,).
    mean, squared_error, number
        Of the responses, shape (condition, cell).
    halves
        Means over random halves of the trials.
    """
    weights = (level == np.arange(len(axis.levels))[:, None]).astype(float)
    weights = weights[weights.any(axis=1)]
    share = weights / weights.sum(axis=1, keepdims=True)
    present = axis.levels[np.unique(level)]
    curve, error, trials = share @ np.nan_to_num(mean), share**2 @ np.nan_to_num(squared_error), weights @ number
    if axis.kind == "angle":
        each = [(share @ np.nan_to_num(one), share @ np.nan_to_num(other)) for one, other in halves]
        return _of_angle(axis, axis.circle.radians(present), curve, error, trials, each)
    if axis.kind == "quantity" and present.size >= FEWEST_LEVELS:
        return _of_quantity(axis, present.astype(float), curve, trials)
    return {}


def _of_angle(
    axis: Axis, radians: np.ndarray, mean: np.ndarray, squared_error: np.ndarray, number: np.ndarray, halves: Halves
) -> Columns:
    whole, circle = axis.circle.degrees > 180, axis.circle
    found: Columns = {}
    if radians.size >= FEWEST_LEVELS:
        fit = von_mises(mean, number, radians, 2 if whole else 1)
        found |= {f"preferred_{axis.name}": circle.values(fit.place), "width": circle.values(half_width(fit.width))}
        found["fit_explained"] = fit.explained
    if whole:
        found |= _vector("direction", radians, mean, squared_error, 1)
        found |= {"dsi": peak_selectivity(halves, radians, 1), "osi": peak_selectivity(halves, radians, 2)}
        found["preferred_orientation"] = circle.values(vector_selectivity(mean, squared_error, radians, 2)[1])
        return found | _vector("orientation", radians, mean, squared_error, 2)
    return (
        found | {"osi": peak_selectivity(halves, radians, 1)} | _vector("orientation", radians, mean, squared_error, 1)
    )


def _vector(word: str, radians: np.ndarray, mean: np.ndarray, squared_error: np.ndarray, harmonic: int) -> Columns:
    if not evenly_spread(radians, harmonic):
        return {}
    return {f"{word}_selectivity": vector_selectivity(mean, squared_error, radians, harmonic)[0]}


def _of_quantity(axis: Axis, levels: np.ndarray, mean: np.ndarray, number: np.ndarray) -> Columns:
    if "contrast" in words_of(axis.name) and levels.min() >= 0 and (levels > 0).sum() >= FEWEST_LEVELS - 1:
        fit = naka_rushton(mean, number, levels)
        return {"c50": fit.place, "exponent": fit.width, "r_max": fit.heights[1], "fit_explained": fit.explained}
    ratio = levels[1:] / levels[:-1] if levels.min() > 0 else np.array([0.0])
    octaves = bool(levels.min() > 0 and ratio.max() < GEOMETRIC * ratio.min() and ratio.max() > 1.3)
    fit = gaussian(mean, number, np.log2(levels) if octaves else levels)
    place = 2**fit.place if octaves else fit.place
    return {f"preferred_{axis.name}": place, "width_octaves" if octaves else "width": fit.width,
            "fit_explained": fit.explained}  # fmt: skip
