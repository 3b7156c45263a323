"""Integration of ordinary differential equations with a fixed step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Flow = Callable[[np.ndarray], np.ndarray]


def rk4(flow: Flow, state: np.ndarray, step: float) -> np.ndarray:
    """Advance dx/dt = f(x) by one step of the classical fourth-order Runge-Kutta method (Kutta 1901).

    Parameters
    ----------
    flow
        f, from states to their rates of change, both shape (..., dimension).
    state
        x, shape (..., dimension).
    step
        In the time unit of `flow`.
    """
    k1 = flow(state)
    k2 = flow(state + step / 2 * k1)
    k3 = flow(state + step / 2 * k2)
    k4 = flow(state + step * k3)
    return state + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
