"""Entries kept by random bits, in one pass over memory."""

from __future__ import annotations

import numpy as np

from neurodyn.compiled.base import compiled


@compiled
def kept(x: np.ndarray, bits: np.ndarray, dropped: np.uint16, scale: np.float32) -> np.ndarray:
    """Return scale * x where `bits` (uint16) is not below `dropped`, 0 elsewhere; flat arrays of one length."""
    out = np.empty_like(x)
    for i in range(len(x)):
        out[i] = x[i] * scale if bits[i] >= dropped else 0
    return out
