"""How a frame is cut into patches; known without torch."""

from __future__ import annotations

import numpy as np

from neurodyn.core.errors import ConfigError


def patch_of(brain: np.ndarray, patch: tuple[int, int], rois: int | None) -> tuple[int, int]:
    """Return height and width of a patch: as asked for of a movie, so many ROIs, or all, of traces."""
    return patch if brain.ndim == 2 else (1, min(rois or brain.size, brain.size))


def require_entries(brain: np.ndarray) -> None:
    """Refuse frames without any entry that is data.

    Raises
    ------
    ConfigError
        If there is none.
    """
    if not brain.any():
        raise ConfigError("The brain mask is empty.", "Expected at least one entry inside.", "Check the brain mask.")


def check_patches(brain: np.ndarray, patch: tuple[int, int]) -> None:
    """Refuse patches that do not fit.

    Raises
    ------
    ConfigError
        If a patch is larger than the frame, or no entry is data.
    """
    frame = np.atleast_2d(brain).shape
    require_entries(brain)
    if patch[0] > frame[0] or patch[1] > frame[1]:
        raise ConfigError(
            f"Patches of {patch[0]}×{patch[1]} pixels do not fit the frame.",
            f"The frame has {frame[0]}×{frame[1]} pixels.",
            "Use smaller ones: --set model.patch=[8,8]",
        )
