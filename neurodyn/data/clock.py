"""What frame times say of frames that are not there."""

from __future__ import annotations

import numpy as np


def missing_frames(time: np.ndarray, rate_hz: float) -> np.ndarray:
    """Return how many frames are missing between each two, whole numbers, shape (time - 1,).

    Parameters
    ----------
    time
        Frame times, s, shape (time,).
    """
    return np.maximum(np.rint(np.diff(time) * rate_hz).astype(np.int64), 1) - 1
