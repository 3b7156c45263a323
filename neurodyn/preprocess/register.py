"""Rigid registration of movies by cross-correlation with a template."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from pydantic import Field
from scipy import fft, ndimage
from scipy.signal.windows import hann
from skimage.registration import phase_cross_correlation

from neurodyn.core.config import Params
from neurodyn.core.errors import DataError
from neurodyn.preprocess.base import Step, Workspace
from neurodyn.preprocess.scan import scan
from neurodyn.preprocess.tiles import blocks, same_shape

LOGGER = logging.getLogger(__name__)
UPSAMPLE = 10
NOT_WHITENED: dict[str, Any] = {"normalization": None}


class RegisterParams(Params):
    """Settings of the registration."""

    input: str = Field(default="fluorescence", description="variable whose shifts are found")
    output: str = Field(default="registered", description="variable to make")
    also: dict[str, str] = Field(
        default_factory=dict, description="variables to move by the same shifts -> variables to make of them"
    )
    template_frames: int = Field(
        default=100, ge=1, description="frames, spread over the recording, behind the template"
    )
    max_shift: float = Field(
        default=0.1, gt=0, lt=0.5, description="largest shift believed, as a share of the frame's shorter side"
    )


class Register(Step):
    """Shift every frame onto a template, rigidly and by parts of a pixel.

    The template is the mean of frames spread over the recording, aligned once to their own mean. A frame's shift is the
    peak of its cross-correlation with the template under a Hann window, found to a tenth of a pixel by upsampled
    Fourier transform (Guizar-Sicairos et al. 2008; not whitened, which would let the noise of a smooth picture decide);
    the frame is moved by bilinear interpolation, and rows and columns that come in from outside repeat the edge. Frames whose
    shift exceeds `max_shift`, and blank ones, are left where they are and named. `qc/motion`, shape (time_qc, axis), holds the shifts in
    pixels along y and x.
    """

    Params = RegisterParams
    params: RegisterParams
    kinds = frozenset({"movie"})
    citation = "Guizar-Sicairos et al., Optics Letters 33, 156-158 (2008), doi:10.1364/OL.33.000156"

    @property
    def requires(self) -> tuple[str, ...]:
        """The variables to move."""
        return (self.params.input, *self.params.also)

    @property
    def provides(self) -> tuple[str, ...]:
        """The moved variables."""
        return (self.params.output, *self.params.also.values())

    def apply(self, workspace: Workspace) -> None:
        """Find and apply the shifts, one stretch of time after another."""
        names = self.requires
        for name in names:
            same_shape(workspace, names[0], name, "register")
            scan(workspace, name, step="register")
        source = workspace[names[0]]
        if min(source.shape[1:]) < 8:
            raise DataError(
                "register: the frames are too small.",
                f"Found {source.shape[1:]}.",
                "8 × 8 pixels at least; drop the step.",
            )
        template = self._template(workspace)
        shifts = np.zeros((source.shape[0], 2))
        targets = [
            workspace.create(made, name, str(workspace[name].attrs["units"]), "register")
            for name, made in zip(names, self.provides, strict=True)
        ]
        stretches = blocks(source)
        for done, block in enumerate(stretches, start=1):
            frames = np.asarray(source[block.keep], dtype=np.float32)
            shifts[block.keep] = self._shifts(template, frames)
            for name, target in zip(names, targets, strict=True):
                moving = frames if name == names[0] else np.asarray(workspace[name][block.keep], dtype=np.float32)
                target[block.keep] = np.stack([shifted(f, s) for f, s in zip(moving, shifts[block.keep], strict=True)])
            workspace.progress(done / len(stretches))
        self._report(workspace, shifts)

    def _template(self, workspace: Workspace) -> np.ndarray:
        source = workspace[self.requires[0]]
        count = min(self.params.template_frames, source.shape[0])
        chosen = np.unique(np.linspace(0, source.shape[0] - 1, count).astype(int))
        frames = np.stack([np.asarray(source[int(frame)], dtype=np.float32) for frame in chosen])
        shifts = self._shifts(frames.mean(axis=0), frames)
        return np.mean([shifted(f, s) for f, s in zip(frames, np.nan_to_num(shifts), strict=True)], axis=0)

    def _shifts(self, template: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """Return shifts that move frames onto the template, pixels, NaN where not believed, shape (frame, 2)."""
        window = np.outer(*(hann(size) for size in template.shape))
        limit = self.params.max_shift * min(template.shape)
        reference, found = _spectrum(template, window), np.full((len(frames), 2), np.nan)
        for frame, row in zip(frames, found, strict=True):
            if not np.ptp(frame) > 0 or not reference.any():
                continue
            row[:], _, _ = phase_cross_correlation(
                *(reference, _spectrum(frame, window)), upsample_factor=UPSAMPLE, space="fourier", **NOT_WHITENED
            )
        return np.where(np.abs(found).max(axis=1, keepdims=True) <= limit, found, np.nan)

    def _report(self, workspace: Workspace, shifts: np.ndarray) -> None:
        lost = np.isnan(shifts).any(axis=1)
        if lost.any():
            LOGGER.warning(
                "register: %d of %d frames match the template nowhere near and stay unmoved, the first is frame %d.",
                *(lost.sum(), lost.size, int(np.argmax(lost))),
            )
        workspace.keep("qc", "motion", ("time_qc", "axis"), shifts.astype(np.float32), "pixels")

    def methods(self) -> str:
        """Return one sentence for a methods section."""
        return f"Frames were registered rigidly by cross-correlation of '{self.requires[0]}' with a template, to a tenth of a pixel."


def shifted(frame: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Move a frame, shape (y, x), by (y, x) pixels with bilinear interpolation; NaN leaves it where it is."""
    if not np.isfinite(shift).all():
        return frame
    return ndimage.shift(frame, shift, order=1, mode="nearest")


def _spectrum(frame: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Return the Fourier transform of a frame without its mean, faded out towards its edges."""
    return np.asarray(fft.fft2((frame - frame.mean()) * window))
