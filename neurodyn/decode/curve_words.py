"""Curves in words: when a target could be told, from how many cells, and whether one code tells it at all times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurodyn.data.curves import Curve
from neurodyn.metrics.order import runs

MOST = 0.9  # of what all cells give above chance
ABOUT = ("over time: ", "over cells: ", "across times: ")
METRICS = {"r2": "R²"}


def curve_sentence(curve: Curve) -> str:
    """Say what a curve shows; what it shows only by chance is not called found."""
    said = {"time": _over_time, "cells": _over_cells, "generalise": _across_times}[curve.kind](curve)
    return f"{curve.target} in {curve.session}, {curve.features} by {curve.decoder}: {said}"


def curve_facts(curve: Curve) -> list[str]:
    """Return what p and intervals of a curve are, in sentences."""
    return [f"{part[:1].upper()}{part[1:]}." for part in curve.note.split("; ") if part.startswith(ABOUT)]


def _metric(curve: Curve) -> str:
    return METRICS.get(curve.metric, curve.metric)


def _untested(curve: Curve) -> str:
    """Say why nothing can be called found; "" where it can."""
    if np.isnan(curve.p_corrected).all():
        return "scored without a null, so that nothing can be told from chance."
    if np.isnan(curve.threshold):
        return "too few shuffles: with fewer than 19 no p can reach .05."
    return ""


def _over_time(curve: Curve) -> str:
    why, end = _untested(curve), curve.axes["end_s"]
    if why:
        return f"over time {why}"
    told = curve.told
    if not told.any():
        return f"at none of {told.size} times could it be told from chance (corrected for all of them)."
    found = [run for run in runs(told.astype(float)) if told[run[0]]]
    when = _listed([_span(float(end[run[0]]), float(end[run[-1]])) for run in found])
    best = curve.best
    text = (
        f"decodable {when} from onset (ends of windows; {told.size} times corrected for), best at {end[best]:.2f} s with "
        f"{_metric(curve)} {curve.value[best]:.2f} (95 % interval {curve.ci_low[best]:.2f} to {curve.ci_high[best]:.2f}; "
        f"chance {curve.chance:.3f})."
    )
    before = end < -1e-9
    if (told & before).any():
        return f"{text} That begins before the onset: earlier trials, or the order of conditions, are in the signal."
    return f"{text} Before the onset it could not be told." if before.any() else text


def _span(first: float, last: float) -> str:
    return f"at {first:.2f} s" if first == last else f"from {first:.2f} to {last:.2f} s"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def _over_cells(curve: Curve) -> str:
    cells, value = curve.axes["cells"].astype(int), curve.value
    text = f"{_metric(curve)} {value[0]:.2f} from one cell and {value[-1]:.2f} from all {cells[-1]} (chance {curve.chance:.3f})."
    if not (curve.p[-1] <= 0.05 and value[-1] > curve.chance):
        return f"{text} Not even all cells can be told from chance."
    enough = int(np.argmax(value - curve.chance >= MOST * (value[-1] - curve.chance)))
    few = f"{cells[enough]} random cells give" if cells[enough] > 1 else "One random cell gives"
    if enough == len(cells) - 1:
        return (
            f"{text} No smaller number tried gives {MOST:.0%} of what all give above chance: more cells may tell more."
        )
    return f"{text} {few} {MOST:.0%} of what all give above chance."


def _across_times(curve: Curve) -> str:
    why, size = _untested(curve), round(np.sqrt(curve.value.size))
    if why:
        return f"across times {why}"
    told = curve.told.reshape(size, size)
    start, end = (curve.axes[f"test_{name}_s"][:size] for name in ("start", "end"))
    apart = (start[:, None] > end) | (start > end[:, None])
    at = np.diag(told)
    pairs = apart & at[:, None] & at
    text = f"told from chance at {int(told.sum())} of {told.size} pairs of times of training and testing, all corrected for."
    if not pairs.any():
        return text
    return (
        f"{text} Of {int(pairs.sum())} pairs without common frames, both of times at which it could be told, "
        f"{told[pairs].mean():.0%}."
    )
