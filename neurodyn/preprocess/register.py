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
SIDE = 64
ANGLES = np.arange(-8.0, 8.1, 0.5)
TURNED = 1.0
CLEAR = 20.0
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
    the frame is moved by whole pixels, rows and columns that come in from outside repeating the edge, and by the rest
    of a pixel with a phase ramp on the frame continued by its mirror image: unlike interpolation between neighbours, that leaves
    the noise of a frame as large as it was, however far it moves. Frames whose shift exceeds `max_shift`, and blank
    ones, are left where they are and named. `qc/motion`, shape (time_qc, axis), holds the shifts in pixels along y and x.

    Rotations are not undone, but looked for: the angle at which the template, at 64 x 64 pixels or so, resembles the
    moved frame most is in `qc/rotation`, shape (time_qc,), degrees counter-clockwise as displayed with y downwards;
    frames turned by more than 1 degree are named.
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
        shifts, angles = np.zeros((source.shape[0], 2)), np.zeros(source.shape[0])
        turned = Turned(template)
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
                made = np.stack([shifted(f, s) for f, s in zip(moving, shifts[block.keep], strict=True)])
                target[block.keep] = made
                if name == names[0]:
                    angles[block.keep] = turned.angles(made)
            workspace.progress(done / len(stretches))
        self._report(workspace, shifts, angles)

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

    def _report(self, workspace: Workspace, shifts: np.ndarray, angles: np.ndarray) -> None:
        lost = np.isnan(shifts).any(axis=1)
        if lost.any():
            LOGGER.warning(
                "register: %d of %d frames match the template nowhere near and stay unmoved, the first is frame %d.",
                *(lost.sum(), lost.size, int(np.argmax(lost))),
            )
        workspace.keep("qc", "motion", ("time_qc", "axis"), shifts.astype(np.float32), "pixels")
        far = np.abs(angles) >= TURNED
        if far.any():
            LOGGER.warning(
                "register: %d of %d frames are rotated by %g degrees or more, by %.1f at most, the first is frame %d; "
                "shifts alone do not undo that: see qc/rotation, and leave these frames out or register with a tool "
                "that rotates.",
                *(far.sum(), far.size, TURNED, np.abs(angles).max(), int(np.argmax(far))),
            )
        workspace.keep("qc", "rotation", ("time_qc",), angles.astype(np.float32), "degrees")

    def methods(self) -> str:
        """Return one sentence for a methods section."""
        return f"Frames were registered rigidly by cross-correlation of '{self.requires[0]}' with a template, to a tenth of a pixel."


class Turned:
    """By which angle frames are turned against a template.

    Parameters
    ----------
    template
        Shape (y, x).
    """

    def __init__(self, template: np.ndarray) -> None:
        self.window = np.outer(*(hann(size) for size in _small(template[None]).shape[1:]))
        bank = np.stack([ndimage.rotate(template, angle, reshape=False, order=1, mode="nearest") for angle in ANGLES])
        self.bank = self._normed(bank)

    def angles(self, frames: np.ndarray) -> np.ndarray:
        """Return the angle of each frame, degrees, 0 where no other is clearly better, shape (frame,)."""
        score = np.clip(self._normed(frames) @ self.bank.T, -1, 1)
        best = score.argmax(axis=1)
        rows, zero = np.arange(len(frames)), int(np.flatnonzero(ANGLES == 0)[0])
        # Log likelihood ratio of two linear fits of the frame by the template.
        gain = np.log((1 - score[:, zero] ** 2 + 1e-12) / (1 - score[rows, best] ** 2 + 1e-12))
        return np.where(self.window.size / 2 * gain > CLEAR, ANGLES[best], 0.0)

    def _normed(self, frames: np.ndarray) -> np.ndarray:
        """Return frames at low resolution, faded out towards the edges, of mean 0 and norm 1, shape (frame, pixel)."""
        weight = self.window / self.window.sum()
        small = _small(frames)
        flat = ((small - (small * weight).sum((1, 2), keepdims=True)) * self.window).reshape(len(frames), -1)
        return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), np.finfo(np.float64).tiny)


def _small(frames: np.ndarray) -> np.ndarray:
    """Average frames in blocks down to about 64 x 64 pixels, float64, shape (frame, y, x)."""
    step = [max(1, size // SIDE) for size in frames.shape[1:]]
    rows, columns = (size // k * k for size, k in zip(frames.shape[1:], step, strict=True))
    cut = frames[:, :rows, :columns].reshape(len(frames), rows // step[0], step[0], columns // step[1], step[1])
    return cut.mean(axis=(2, 4), dtype=np.float64)


def shifted(frame: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Move a frame, shape (y, x), by (y, x) pixels, leaving its noise as it is; NaN leaves it where it is."""
    if not np.isfinite(shift).all():
        return frame
    for axis, by in enumerate(shift):
        whole = round(float(by))
        places = np.clip(np.arange(frame.shape[axis]) - whole, 0, frame.shape[axis] - 1)
        frame = _by_part(frame.take(places, axis), float(by) - whole, axis)
    return frame


def _by_part(frame: np.ndarray, by: float, axis: int) -> np.ndarray:
    """Move a frame by less than a pixel along one axis, its mirror image beyond its ends."""
    if not by:
        return frame
    length = frame.shape[axis]
    mirrored = np.concatenate([frame, np.flip(frame, axis)], axis)
    ramp = np.exp(-2j * np.pi * by * np.fft.rfftfreq(2 * length)).astype(np.complex64)
    spectrum = np.asarray(fft.rfft(mirrored, axis=axis))
    moved = fft.irfft(spectrum * np.expand_dims(ramp, 1 - axis), 2 * length, axis=axis)
    return np.asarray(moved).take(np.arange(length), axis).astype(frame.dtype, copy=False)


def _spectrum(frame: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Return the Fourier transform of a frame without its mean, faded out towards its edges."""
    return np.asarray(fft.fft2((frame - frame.mean()) * window))
