"""`denoise`: a recording whose every entry is what a model predicts without having seen it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
import zarr
from pydantic import Field

from neurodyn.backends.batch import Batch, Prediction
from neurodyn.core.config import Params
from neurodyn.core.errors import DataError
from neurodyn.core.files import clear_partials, locked, sha256
from neurodyn.core.log import Report, silent
from neurodyn.data.recording import DENOISED as STEP
from neurodyn.data.recording import Recording, entry
from neurodyn.data.store import aligned_chunks, create_variable, whole_store, write_table, write_tree
from neurodyn.data.streaming import ChunkStore
from neurodyn.data.windows import Windows
from neurodyn.metrics.photon import PhotonTransfer, StepNoise
from neurodyn.training.batches import read_batch
from neurodyn.training.devices import choose_devices, reproducible
from neurodyn.training.holes import HoleConfig, with_holes
from neurodyn.training.impute import cover
from neurodyn.training.run import Run, check_fit, load_run

NOISE = ("noise_gain", "noise_read")
IN_MEMORY = 64 * 2**20  # bytes of the source that are kept, whatever its length
PIXELS = "every entry is predicted from the other entries of its frame and from other frames"
FRAMES = "every frame is predicted from the other frames of its window, one frame hidden at a time"
EDGES = "frames at the ends, and beside gaps, are predicted from one side; frames that are missing are predicted, too"


class DenoiseConfig(Params):
    """How a recording is denoised."""

    mix: bool = Field(
        default=False,
        description="the posterior mean of prediction and observation by their variances, instead of the prediction",
    )
    longest: float = Field(
        default=60.0, gt=0, description="longest gap in the frame times that is bridged, s; its frames count as missing"
    )


def denoise(
    source: Path, target: Path, run_path: Path, config: DenoiseConfig, request: str = "", progress: Report = silent
) -> Path:
    """Write a recording in which the run's variable is predicted blind.

    All else stays. The variable NAME is float32, its attributes say what was hidden, and its noise: variance = `noise_gain`
    · value + `noise_read`. Where the model says how sure it is, `NAME_sd` is the standard deviation of a new noisy value in
    every entry. The table `qc` has maps: `NAME_noise_sd`, of the recording's noise, and `NAME_error_sd`, of the error of
    predictions, √max(0, mean (x − x̂)² − noise).

    The recording passes window by window; memory does not depend on its length.

    Parameters
    ----------
    request
        Digest of all that decides the output, kept in its attributes.
    progress
        Called with what is done and the share of it that is done.

    Raises
    ------
    DataError
        If the recording does not fit the model, or a gap is longer than allowed.
    """
    work = opened(source, run_path, config)
    with locked(target):
        clear_partials(target)
        with reproducible(work.run.config.training.threads, choose_devices("none")), whole_store(target) as folder:
            work.write(folder, request, progress)
            Recording.open(folder)
    return target


def opened(source: Path, run_path: Path, config: DenoiseConfig) -> Denoising:
    """Open what `denoise` needs, and refuse what it would refuse before it computes; nothing is written."""
    run, recording = load_run(run_path), Recording.open(source)
    if "reconstruct" not in run.backend.capabilities:
        raise DataError(
            f"The model {run.config.name} does not say what a frame should be.",
            f"It can: {', '.join(sorted(run.backend.capabilities))}.",
            "Use one that reconstructs: neurodyn train denoise RECORDING -o runs/denoise",
        )
    regular = with_holes(recording, HoleConfig(longest=config.longest))
    windows = cover(regular, run.config.windows)
    check_fit(windows, run.backend.layout)
    return Denoising(run, recording, _streamed(windows), config)


def _streamed(windows: Windows) -> Windows:
    """Have windows read from disk, however short the recording is."""
    for signal in windows.signals:
        arrays = [recording[signal.config.variable].variable for recording in signal.recordings]
        signal.__dict__["_sources"] = ChunkStore(arrays, IN_MEMORY)
    return windows


@dataclass(frozen=True)
class Denoising:
    """A recording, the model that predicts it, and how.

    Parameters
    ----------
    run
        The trained model.
    recording
        As it is.
    windows
        Windows that overlap and cover every frame of it, on a regular clock.
    config
        What was asked for.
    """

    run: Run
    recording: Recording
    windows: Windows
    config: DenoiseConfig

    @property
    def name(self) -> str:
        """The variable that is denoised."""
        return self.run.config.windows.variable

    @property
    def blind(self) -> bool:
        """Whether the model leaves out every entry by itself, so that nothing needs to be hidden from it."""
        return "blind" in self.run.backend.capabilities

    @cached_property
    def places(self) -> np.ndarray:
        """Place of every frame on the regular clock, shape (time,)."""
        half = 0.5 / self.recording.rate_hz
        return np.searchsorted(self.windows.recordings[0].time, self.recording.time - half)

    def write(self, folder: Path, request: str, progress: Report) -> None:
        """Write the whole recording into an empty folder."""
        array = self.recording[self.name]
        noise, transfer = self._noise(progress)
        told = self._told(transfer)
        kept = self.recording.with_groups({}, step=entry(STEP, told), attrs={"request": request})
        tree = kept.tree.copy(deep=False)
        tree["neural"] = tree["neural"].to_dataset().drop_vars(self.name)
        root = write_tree(tree, folder)
        dims = tuple(map(str, array.dims))
        attrs = dict(array.attrs) | {"made_by": STEP} | {key: told[key] for key in ("hidden", "mix", *NOISE)}
        mean = create_variable(root, self.name, array.shape, dims, np.float32, attrs)
        sd = self._sd(root, array.shape, dims)
        error = self._predict(mean, sd, progress)
        excess = np.maximum(error - noise.variance, 0.0)
        if self.config.mix:
            self._mix(mean, noise, transfer, excess, progress)
        self._maps(folder, dims[1:], noise.variance, excess)

    def _noise(self, progress: Report) -> tuple[StepNoise, PhotonTransfer]:
        """Measure the noise of the recording, stretch by stretch."""
        noise, array = StepNoise(), self.recording[self.name].variable
        length = max(3, IN_MEMORY // max(1, 8 * int(np.prod(array.shape[1:]))))
        for start in range(0, len(array), length):
            noise.add(np.asarray(array[start : start + length].values, dtype=np.float64))
            progress("noise", min(1.0, (start + length) / len(array)))
        brain = self.recording.brain if array.ndim == 3 and self.recording.brain is not None else np.True_
        inside = np.broadcast_to(brain, noise.mean.shape)
        return noise, PhotonTransfer.fit(noise.mean[inside], noise.variance[inside])

    def _told(self, transfer: PhotonTransfer) -> dict[str, Any]:
        return {
            "recording": str(self.recording.path),
            "run": str(self.run.path),
            "model": self.run.config.name,
            "model_sha256": sha256(self.run.path / "model.safetensors"),
            "variable": self.name,
            "hidden": PIXELS if self.blind else FRAMES,
            "edges": EDGES,
            "mix": self.config.mix,
            "noise_gain": transfer.gain,
            "noise_read": transfer.read,
        }

    def _sd(self, root: zarr.Group, shape: tuple[int, ...], dims: tuple[str, ...]) -> zarr.Array | None:
        if "uncertainty" not in self.run.backend.capabilities:
            return None
        attrs = {"units": self.recording[self.name].attrs["units"], "made_by": STEP}
        return create_variable(root, f"{self.name}_sd", shape, dims, np.float32, attrs)

    def _predict(self, mean: zarr.Array, sd: zarr.Array | None, progress: Report) -> np.ndarray:
        """Write predictions, and return the mean square of what they leave of every entry, shape (*space)."""
        square = count = np.zeros(())
        for chunk in aligned_chunks(mean, IN_MEMORY):
            source = np.asarray(self.recording[self.name].variable[chunk].values, dtype=np.float32)
            values, spread = np.full(source.shape, np.nan, np.float32), np.full(source.shape, np.nan, np.float32)
            for frames, given, std in self._given(chunk):
                values[frames] = given
                if std is not None:
                    spread[frames] = std
            outside = ~np.broadcast_to(self.windows.brain, source.shape)
            values[outside], spread[outside] = source[outside], 0.0
            mean[chunk] = values
            if sd is not None:
                sd[chunk] = spread
            left = np.where(np.isfinite(source), source - values, np.nan).astype(np.float64)
            square, count = square + np.nansum(left**2, 0), count + np.isfinite(left).sum(0)
            progress(self.name, chunk.stop / mean.shape[0])
        return square / np.maximum(count, 1)

    def _given(self, chunk: slice) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
        """Yield frames of the chunk, by their place in it, and what the model says of them, window by window."""
        places = self.places[chunk]
        middle = self.windows.first + (self.windows.frames - 1) / 2
        owner = np.searchsorted((middle[:-1] + middle[1:]) / 2, places)
        for index in np.unique(owner):
            mine = np.flatnonzero(owner == index)
            within = places[mine] - self.windows.first[index]
            with torch.inference_mode():
                batch = read_batch(self.windows, np.array([index]))
                given = self.run.backend(batch) if self.blind else self._hidden(batch, within)
            rows = within if self.blind else np.arange(len(within))
            std = None if given.std is None else given.std[0, rows].numpy()
            yield mine, given.mean[0, rows].numpy(), std

    def _hidden(self, batch: Batch, within: np.ndarray) -> Prediction:
        """Return frames of a window, each predicted while it is hidden, shape (1, frame, *space)."""
        means, stds = [], []
        for frame in within:
            visible = batch.visible.clone()
            visible[:, frame] = False
            given = self.run.backend(replace(batch, visible=visible)).signals[0]
            means.append(given.mean[:, frame])
            stds.append(None if given.std is None else given.std[:, frame])
        known = [std for std in stds if std is not None]
        return Prediction(torch.stack(means, 1), torch.stack(known, 1) if known else None)

    def _mix(
        self, mean: zarr.Array, noise: StepNoise, transfer: PhotonTransfer, excess: np.ndarray, progress: Report
    ) -> None:
        """Draw predictions to what was observed, as far as their error is large beside the noise.

        The noise of an entry is that which was measured of it, and grows with brightness as that of the movie.
        """
        usual = np.maximum(transfer.variance(noise.mean), 1e-30)
        for chunk in aligned_chunks(mean, IN_MEMORY):
            source = np.asarray(self.recording[self.name].variable[chunk].values, dtype=np.float32)
            given = np.asarray(mean[chunk], dtype=np.float32)
            brightness = transfer.variance(given) / usual
            share = excess / np.maximum(excess + noise.variance * brightness, 1e-30)
            mean[chunk] = np.where(np.isfinite(source), given + share * (source - given), given).astype(np.float32)
            progress("mix", chunk.stop / mean.shape[0])

    def _maps(self, folder: Path, dims: tuple[str, ...], noise: np.ndarray, excess: np.ndarray) -> None:
        units = {"units": self.recording[self.name].attrs["units"], "made_by": STEP}
        maps = {f"{self.name}_noise_sd": np.sqrt(noise), f"{self.name}_error_sd": np.sqrt(excess)}
        write_table(folder, "qc", xr.Dataset({key: (dims, each, units) for key, each in maps.items()}))
