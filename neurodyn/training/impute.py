"""`impute`: a recording with holes in, the same with the holes filled out, and nothing that was observed changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import zarr

from neurodyn.backends import BACKENDS
from neurodyn.backends.base import Backend
from neurodyn.backends.layout import Layout
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.core.files import clear_partials, locked, sha256
from neurodyn.core.log import LOGGER, Report, silent
from neurodyn.data.behavior import BEHAVIOR
from neurodyn.data.recording import Recording, entry
from neurodyn.data.store import aligned_chunks, create_variable, whole_store, write_tree
from neurodyn.data.window_config import WindowConfig
from neurodyn.data.windows import Windows
from neurodyn.runs.config import RunConfig
from neurodyn.training.batches import prepare, read_batch
from neurodyn.training.config import backend_config
from neurodyn.training.devices import choose_devices, reproducible
from neurodyn.training.holes import HoleConfig, with_holes
from neurodyn.training.run import check_fit, load_run

BATCH = 16


@dataclass(frozen=True)
class Filler:
    """A model that fills holes.

    Parameters
    ----------
    config
        The model and the windows that it reads.
    source
        What the recording's history says of it.
    backend
        The trained model; None for one that is fitted to what the recording itself holds.
    """

    config: RunConfig
    source: dict[str, str]
    backend: Backend | None = None

    @classmethod
    def of_run(cls, path: Path) -> Self:
        """Use a trained model."""
        run = load_run(path)
        source = {"run": str(path), "model_sha256": sha256(path / "model.safetensors")}
        return cls(run.config, source, run.backend)

    @classmethod
    def untrained(cls, config: RunConfig) -> Self:
        """Use a model that needs no training: interpolation, or principal components of the recording itself."""
        return cls(config, {"model": config.name})

    def fitted(self, windows: Windows) -> Backend:
        """Return the model, fitted to the windows where it needs no training.

        Raises
        ------
        ConfigError
            If it needs training and has none.
        DataError
            If the windows do not fit the model.
        """
        if self.backend is not None:
            check_fit(windows, self.backend.layout)
            return self.backend
        backend = self.built(windows)
        prepare(backend, windows)
        return backend.eval()

    def built(self, windows: Windows) -> Backend:
        """Return a model that needs no training, before it is fitted to the windows.

        Raises
        ------
        ConfigError
            If it needs training.
        """
        backend = BACKENDS.get(self.config.backend)(backend_config(self.config), Layout.of(windows))
        if backend.stages():
            raise ConfigError(
                f"{self.config.name} fills nothing without training.",
                "Interpolation (linear, spline) and principal components (svd, pca) need none.",
                f"Train it, neurodyn train {self.config.name} …, and give its folder: --run DIR",
            )
        return backend


def check(source: Path, filler: Filler, holes: HoleConfig) -> None:
    """Refuse what `impute` would refuse before it fits anything; nothing is written."""
    windows = cover(with_holes(Recording.open(source), holes), filler.config.windows)
    if filler.backend is None:
        filler.built(windows)
    else:
        check_fit(windows, filler.backend.layout)


def impute(
    source: Path, target: Path, filler: Filler, holes: HoleConfig, request: str, progress: Report = silent
) -> Path:
    """Fill what is missing from the signals that a model gives.

    The recording is put on a regular clock, dropped frames in their places. Of every filled signal NAME, the output has
    `NAME`, observed entries as they were and missing ones as the model has them; `NAME_imputed`, true for the latter; and,
    where the model says how sure it is, `NAME_sd`, the standard deviation of what was imputed, 0 where observed. Every
    frame is taken from the window in whose middle half it lies, as far as the recording's ends allow. Entries outside the
    brain stay as they are.

    Parameters
    ----------
    request
        Digest of all that decides the output, kept in its attributes.
    progress
        Called with a signal's name and the share of it that is done.

    Returns
    -------
    Path
        Of the new recording.

    Raises
    ------
    DataError
        If nothing is missing, or the recording does not fit the model.
    """
    recording = with_holes(Recording.open(source), holes)
    windows = cover(recording, filler.config.windows)
    names = [signal.config.variable for signal in windows.signals]
    backend = filler.fitted(windows)
    recording = recording.with_groups({}, step=entry("impute", filler.source), attrs={"request": request})
    with locked(target):
        clear_partials(target)
        with (
            reproducible(filler.config.training.threads, choose_devices("none")),
            whole_store(target) as folder,
        ):
            root = write_tree(_without(recording, names), folder)
            work = _Work(backend, windows, root, progress)
            counts = [work.fill(place, signal) for place, signal in enumerate(windows.signals)]
            if not sum(counts):
                raise DataError(
                    f"Nothing is missing from {source}.",
                    f"Every entry of {', '.join(names)} is there, and nothing is rejected.",
                    "Reject something: --reject 10-12.5 or --pixels FILE",
                )
            Recording.open(folder)
    LOGGER.info("%s", "; ".join(f"{name}: {count} entries filled" for name, count in zip(names, counts, strict=True)))
    return target


def _without(recording: Recording, names: list[str]) -> Any:
    tree = recording.tree.copy(deep=False)
    tree["neural"] = tree["neural"].to_dataset().drop_vars([name for name in names if name in recording.variables])
    return tree


def cover(recording: Recording, config: WindowConfig) -> Windows:
    """Return windows that overlap by half and cover every frame, the last one flush with the end."""
    free = {"align": "stream", "split": "blocked", "condition": None, "kind": None, "irregular": False, "horizon": None}
    plain = config.model_copy(
        update=free | {"baseline": None, "target": None, "responses": None, "stimuli": (), "stride": None}
    )
    windows = Windows.cut([recording], plain)
    last = recording.time.size - windows.frames
    first = np.unique(np.append(np.arange(0, last, max(1, windows.frames // 2)), last))
    zero = np.zeros(first.size, dtype=int)
    return replace(windows, first=first, session=zero, trial=zero - 1)


class _Work:
    """Fills signals chunk by chunk."""

    def __init__(self, backend: Backend, windows: Windows, root: zarr.Group, progress: Report) -> None:
        self.backend, self.windows, self.root, self.progress = backend, windows, root, progress

    def fill(self, place: int, signal: Windows) -> int:
        """Write a signal, and return how many entries were filled; `place` 0 is the first signal, k the k-th beside it."""
        name = signal.config.variable
        if name.startswith(BEHAVIOR):
            return 0
        array = self.windows.recordings[0][name]
        dims, shape = tuple(str(dim) for dim in array.dims), array.shape
        attrs = {"units": array.attrs["units"], "made_by": "impute"}
        mean = create_variable(self.root, name, shape, dims, array.dtype, dict(array.attrs))
        mask = create_variable(self.root, f"{name}_imputed", shape, dims, bool, attrs | {"units": "bool"})
        sure = "uncertainty" in self.backend.capabilities
        sd = create_variable(self.root, f"{name}_sd", shape, dims, np.float32, attrs) if sure else None
        filled = 0
        for chunk in aligned_chunks(mean):
            values = array.variable[chunk].values
            missing = ~np.isfinite(values) & signal.brain
            spread = np.zeros(values.shape, dtype=np.float32)
            for frames, given, std in self._given(chunk, missing, place):
                values[frames] = np.where(missing[frames], given, values[frames])
                if std is not None:
                    spread[frames] = np.where(missing[frames], std, 0.0)
            mean[chunk], mask[chunk] = values, missing
            if sd is not None:
                sd[chunk] = spread
            filled += int(missing.sum())
            self.progress(name, chunk.stop / shape[0])
        return filled

    def _given(
        self, chunk: slice, missing: np.ndarray, place: int
    ) -> Iterator[tuple[slice, np.ndarray, np.ndarray | None]]:
        """Yield frames of the chunk in which something is missing, window by window, and what the model has for them."""
        owner = self._owners(np.arange(chunk.start, chunk.stop))
        wanted = np.unique(owner[missing.reshape(len(missing), -1).any(1)])
        for begin in range(0, wanted.size, BATCH):
            indices = wanted[begin : begin + BATCH]
            with torch.inference_mode():
                given = self.backend(read_batch(self.windows, indices)).signals[place]
            for row, index in enumerate(indices):
                frames = slice(*np.searchsorted(owner, [index, index + 1]).tolist())
                kept = np.arange(chunk.start, chunk.stop)[frames] - self.windows.first[index]
                std = None if given.std is None else given.std[row, kept].numpy()
                yield frames, given.mean[row, kept].numpy(), std

    def _owners(self, frames: np.ndarray) -> np.ndarray:
        """Return the window that each frame is taken from: the one whose middle is nearest, the earlier one of two."""
        middle = self.windows.first + (self.windows.frames - 1) / 2
        return np.searchsorted((middle[:-1] + middle[1:]) / 2, frames)
