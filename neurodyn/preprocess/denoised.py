"""Denoised recordings: what is left of their noise is slow and shared by the pixels of a cell."""

from __future__ import annotations

from collections.abc import Iterable

from neurodyn.core.log import LOGGER
from neurodyn.data.recording import DENOISED as STEP
from neurodyn.data.recording import Recording


def warn_denoised(recording: Recording, judges: Iterable[str]) -> None:
    """Tell whoever asks a denoised recording for what is judged by its noise, cells or spikes.

    Parameters
    ----------
    judges
        What is asked that is judged so; nobody is told where nothing is.
    """
    asked = ", ".join(judges)
    if asked and any(step.get("step") == STEP for step in recording.history):
        LOGGER.warning(
            "%s: '%s' was denoised. Cells and spikes are told from white noise, and what denoising leaves is slow and passes "
            "for them, or hides them: take the recording as it was before (docs/denoise.md).",
            asked,
            recording.session,
        )
