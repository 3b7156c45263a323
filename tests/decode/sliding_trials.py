"""Simulated trials whose code is there at known times."""

from collections.abc import Callable

import numpy as np

from neurodyn.data.recording import Recording
from neurodyn.data.window_config import WindowConfig

RATE, BEFORE, AFTER = 20.0, 0.5, 1.5
WINDOWS = WindowConfig(align="events", offset=-BEFORE, duration=BEFORE + AFTER)


def trials(
    code: Callable[[np.ndarray, int], np.ndarray], *, seed=0, count=48, cells=12, classes=3, noise=1.0, session="m1"
) -> Recording:
    """Return a recording of trials one after another, their classes in random order.

    Parameters
    ----------
    code
        Takes times from onset in s, shape (time,), and a class; returns what cells do, shape (time, cell) or as wide as that.
    """
    rng = np.random.default_rng([seed, 11])
    labels = rng.permutation(np.arange(count) % classes)
    time = np.arange(round((BEFORE + AFTER) * RATE)) / RATE - BEFORE
    dff = np.concatenate([code(time, k) + noise * rng.standard_normal((time.size, cells)) for k in labels])
    start = BEFORE + np.arange(count) * (BEFORE + AFTER)
    stimulus = {"start": start, "stop": start + 1.0, "image": labels}
    return Recording.from_arrays({"dff": dff.astype(np.float32)}, rate_hz=RATE, stimulus=stimulus, session=session)


def axes_of(seed: int, cells=12, classes=3) -> np.ndarray:
    """Return what each class does to cells, shape (class, cell)."""
    return np.random.default_rng([seed, 12]).standard_normal((classes, cells))


def while_on(axes: np.ndarray, first: float, last: float) -> Callable[[np.ndarray, int], np.ndarray]:
    """Return a code that is there from `first` on, and gone at `last`, s from onset."""
    return lambda time, k: ((time > first - 1e-9) & (time < last - 1e-9))[:, None] * axes[k]
