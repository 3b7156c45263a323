"""Cubic splines through visible frames."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.interpolate import CubicSpline
from torch import Tensor

from neurodyn.backends.baselines.interpolator import Interpolator
from neurodyn.backends.settings.interpolation import SplineConfig
from neurodyn.core.search import Choice


class Spline(Interpolator):
    """A cubic spline in time through the visible values of every entry.

    y(q) = Σₖ wₖ(q) yₖ, piecewise cubic with two continuous derivatives and y(tₖ) = yₖ at the visible times. Through two
    or three visible values goes the polynomial, a line or a parabola; one value is held.

    de Boor 1978, A practical guide to splines.
    """

    Config = SplineConfig
    SEARCH = {"model.boundary": Choice(("not-a-knot", "natural"))}
    citation = "de Boor C. (1978). A Practical Guide to Splines. Springer."
    config: SplineConfig

    def _curve(
        self,
        values: Float[Tensor, "batch time entry"],
        t: Float[Tensor, "batch time"],
        seen: Bool[Tensor, "batch time entry"],
        at: Float[Tensor, "batch query"],
    ) -> Float[Tensor, "batch query entry"]:
        # A spline is linear in its values: entries that are visible in the same frames share one matrix of weights.
        out = values.new_zeros(*at.shape, values.shape[2])
        times, queries, shown = (tensor.cpu().double().numpy() for tensor in (t, at, seen))
        for sample, column in enumerate(shown.astype(bool)):
            patterns, which = np.unique(column, axis=1, return_inverse=True)
            for number, visible in enumerate(patterns.T):
                mine = torch.from_numpy(np.flatnonzero(which == number)).to(out.device)
                weights = spline_weights(times[sample], visible, queries[sample], self.config.boundary)
                out[sample, :, mine] = torch.from_numpy(weights).to(values) @ values[sample, :, mine]
        return out


def spline_weights(
    t: np.ndarray, visible: np.ndarray, at: np.ndarray, boundary: Literal["not-a-knot", "natural"]
) -> np.ndarray:
    """Return the weight of every frame in the spline's value at every time; 0 for frames that are not visible.

    Parameters
    ----------
    t
        Increasing, shape (time,).
    visible
        Frames the curve goes through, bool, shape (time,).
    at
        Times to evaluate at; beyond the outermost visible times the value there holds, shape (query,).

    Returns
    -------
    np.ndarray
        Shape (query, time).
    """
    knots, weights = np.flatnonzero(visible), np.zeros((at.size, t.size))
    if knots.size == 1:
        weights[:, knots] = 1.0
    elif knots.size > 1:
        kind = boundary if knots.size > 3 else "not-a-knot"  # which of two or three points is their polynomial
        curves = CubicSpline(t[knots], np.eye(knots.size), bc_type=kind)
        weights[:, knots] = curves(at.clip(t[knots[0]], t[knots[-1]]))
    return weights
