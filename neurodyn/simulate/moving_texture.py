"""Clips of moving textures with noisy patches: a benchmark of inpainting."""

from __future__ import annotations

from typing import Self

import numpy as np
import xarray as xr
from pydantic import Field, model_validator

from neurodyn.data.recording import Recording
from neurodyn.simulate.base import Simulator
from neurodyn.simulate.sequences import SequenceParams, sequence_recording
from neurodyn.simulate.signals import unit_grid

EDGE = 0.02  # softness of a blob's edge, share of the frame's side


class MovingTextureParams(SequenceParams):
    """The benchmark of inpainting."""

    trials: int = Field(default=300, ge=1, description="number of clips, each one trial")
    frames: int = Field(default=10, ge=1, description="frames per clip")
    rate_hz: float = Field(default=10.0, gt=0, description="frames per second, Hz")
    height: int = Field(default=64, ge=4, description="frame height, pixels")
    width: int = Field(default=64, ge=4, description="frame width, pixels")
    waves: int = Field(default=40, ge=1, description="plane waves a texture is made of")
    finest: float = Field(default=6.0, ge=1, description="shortest wave of a texture, periods per side")
    speed: float = Field(default=0.4, ge=0, description="fastest translation of texture and blobs, sides per s")
    turn: float = Field(
        default=0.6, ge=0, description="fastest rotation of the texture about the centre, radians per s"
    )
    blobs: int = Field(default=3, ge=0, description="blobs that move in front of the texture")
    patch: int = Field(default=8, ge=1, description="height and width of the patches that become noisy, pixels")
    noise: float = Field(default=0.5, ge=0, description="standard deviation of noise on those patches, a.u.")
    noisy: tuple[float, float] = Field(
        default=(0.4, 0.6), description="least and largest share of a frame's patches that are noisy"
    )

    @model_validator(mode="after")
    def _patches_fit(self) -> Self:
        if self.height % self.patch or self.width % self.patch:
            raise ValueError("patch must divide height and width")
        if not 0 <= self.noisy[0] <= self.noisy[1] <= 1:
            raise ValueError("noisy must be two shares from 0 to 1, the smaller one first")
        return self

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.height, self.width


class MovingTexture(Simulator):
    """Clips of smooth textures that translate and rotate under blobs, and the same clips with noise on many patches.

    Values lie between -1 and 1. A texture is tanh Σₖ aₖ cos(kₖ·R(ω t)(x - v t) + φₖ) with aₖ ~ 1/|kₖ|, of standard
    deviation 1 within the tanh; blobs are soft discs of one brightness each, which move straight on and hide each
    other. In each frame a share of the patches, drawn between two limits, gets N(0, noise) on every pixel.
    Inpainting goes from `video` to `clean`.

    Source: stands in for the driving videos of Fonseca et al., CST (ICML 2023), section 4.2, and is made like its task.
    """

    Params = MovingTextureParams
    params: MovingTextureParams
    citation = "Fonseca, Zappala, Ortega Caro & van Dijk, Continuous spatiotemporal transformers, ICML 2023"

    def make(self) -> Recording:
        """Return the recording; `truth` has the noisy patches, and velocity and turning of each clip's texture."""
        p = self.params
        texture_rng, blob_rng, patch_rng, noise_rng = np.random.default_rng(p.seed).spawn(4)
        t = np.arange(p.frames) / p.rate_hz
        velocity, turning = _velocities(p, p.trials, texture_rng), texture_rng.uniform(-p.turn, p.turn, p.trials)
        clean = _textures(p, t, velocity, turning, texture_rng)
        _cover(p, t, clean, blob_rng)
        patches = _noisy_patches(p, patch_rng)
        everywhere = patches.repeat(p.patch, axis=2).repeat(p.patch, axis=3)
        video = clean.copy()
        video[everywhere] += np.float32(p.noise) * noise_rng.standard_normal(int(everywhere.sum()), dtype=np.float32)
        truth = xr.Dataset(
            {
                "noisy": (("event", "frame", "patch_y", "patch_x"), patches),
                "velocity": (("event", "axis"), velocity, {"units": "sides per s"}),
                "turning": ("event", turning, {"units": "radians per s"}),
            },
            coords={"axis": ["y", "x"]},
        )
        return sequence_recording(
            "moving_texture", p, {"video": video, "clean": clean}, t, rate_hz=p.rate_hz, truth=truth
        )


def _velocities(p: MovingTextureParams, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw directions at random and speeds from half the fastest to the fastest, sides per s, shape (count, 2)."""
    angle, speed = rng.uniform(0, 2 * np.pi, count), p.speed * rng.uniform(0.5, 1, count)
    return speed[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1)


def _textures(
    p: MovingTextureParams, t: np.ndarray, velocity: np.ndarray, turning: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return the textures, float32, shape (clip, frame, y, x)."""
    y, x = (axis - 0.5 for axis in (unit_grid(p.shape)[0][:, 0], unit_grid(p.shape)[1][0]))
    clips = np.empty((p.trials, p.frames, *p.shape), np.float32)
    for clip in range(p.trials):
        periods = np.exp(rng.uniform(np.log(0.5), np.log(p.finest), p.waves))
        weight = rng.standard_normal(p.waves) / periods
        weight *= np.sqrt(2 / (weight**2).sum())
        phase, angle = rng.uniform(0, 2 * np.pi, (2, p.waves))
        angle = angle + turning[clip] * t[:, None]  # (frame, wave)
        ky, kx = 2 * np.pi * periods * np.sin(angle), 2 * np.pi * periods * np.cos(angle)
        phase = phase - t[:, None] * (ky * velocity[clip, 0] + kx * velocity[clip, 1])
        down = weight * np.exp(1j * (ky[:, None] * y[:, None] + phase[:, None]))  # (frame, y, wave)
        clips[clip] = np.tanh((down @ np.exp(1j * kx[..., None] * x)).real)
    return clips


def _cover(p: MovingTextureParams, t: np.ndarray, clips: np.ndarray, rng: np.random.Generator) -> None:
    """Draw blobs over the clips, in place; each crosses the frame's middle region at half time."""
    y, x = unit_grid(p.shape)
    for _ in range(p.blobs):
        middle = rng.uniform(0.2, 0.8, (p.trials, 1, 2))
        centre = middle + _velocities(p, p.trials, rng)[:, None] * (t[:, None] - t.mean())
        radius, brightness = rng.uniform(0.08, 0.18, p.trials), rng.uniform(-1, 1, p.trials)
        for clip in range(p.trials):
            cy, cx = (centre[clip, :, axis, None, None] for axis in (0, 1))
            distance = np.hypot(y - cy, x - cx)
            opaque = ((1 - np.tanh((distance - radius[clip]) / EDGE)) / 2).astype(np.float32)
            clips[clip] += opaque * (np.float32(brightness[clip]) - clips[clip])


def _noisy_patches(p: MovingTextureParams, rng: np.random.Generator) -> np.ndarray:
    """Return which patches are noisy, bool, shape (clip, frame, patch row, patch column)."""
    rows, columns = p.height // p.patch, p.width // p.patch
    count = rows * columns
    wanted = np.rint(count * rng.uniform(*p.noisy, (p.trials, p.frames, 1)))
    rank = rng.random((p.trials, p.frames, count)).argsort(axis=2).argsort(axis=2)
    return (rank < wanted).reshape(p.trials, p.frames, rows, columns)
