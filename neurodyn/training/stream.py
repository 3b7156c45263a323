"""Forecasts while an experiment runs: a frame in, a forecast out, with its latency."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self, TextIO

import numpy as np
import torch
import zarr

from neurodyn.backends.batch import Batch
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.window_view import over_baseline
from neurodyn.training.devices import Devices, choose_devices, reproducible
from neurodyn.training.run import Run, load_run

POLL = 0.002
PATIENCE = 10.0


class Arrived(NamedTuple):
    """A frame, what stimulus is on, and the clock at its arrival, s."""

    values: np.ndarray
    stimulus: Mapping[str, Any] | None
    at: float


@dataclass(frozen=True)
class Latency:
    """How long forecasts took from the arrival of their frame, ms, in order."""

    each: tuple[float, ...]

    @property
    def said(self) -> str:
        """What a person wants to know of it."""
        if not self.each:
            return "No forecast: fewer frames came than the model reads."
        median, high = np.percentile(self.each, [50, 99])
        return f"{len(self.each)} forecasts; latency median {median:.1f} ms, 99 % within {high:.1f} ms."


class Streamer:
    """A trained forecaster that is given one frame after the other.

    Parameters
    ----------
    run
        A finished run whose windows have a horizon.
    devices
        Where it computes.
    threads
        CPU threads; None for those of training.

    Raises
    ------
    ConfigError
        If the model was not trained to forecast, or for several sessions.
    """

    def __init__(self, run: Run, devices: Devices, threads: int | None = None) -> None:
        layout, config = run.backend.layout, run.config.windows
        if not layout.horizon or len(layout.sessions) > 1:
            raise ConfigError(
                f"{run.config.name} cannot forecast a stream.",
                f"Found a horizon of {layout.horizon} frames and {len(layout.sessions)} sessions; expected one of each.",
                "Train on one recording with --set windows.horizon=SECONDS",
            )
        self.run, self.devices, self.backend = run, devices, run.backend.to(devices.first)
        self.threads = threads or run.config.training.threads
        self.forecast = self.backend.streamed(self.threads)
        self.source = layout.frames - layout.horizon
        self.lasting = None if config.baseline is None else max(2, round(config.baseline * layout.rate_hz))
        self._frames = np.full((0, *layout.space), np.nan, dtype=np.float32)
        start = config.offset if config.align == "events" else 0.0
        self._clock = torch.arange(layout.frames, dtype=torch.float32)[None] / layout.rate_hz + start

    @classmethod
    def open(cls, path: Path, gpu: str = "auto", threads: int | None = None) -> Self:
        """Open a run folder."""
        return cls(load_run(path), choose_devices(gpu), threads)

    def push(self, frame: np.ndarray, stimulus: Mapping[str, Any] | None = None) -> np.ndarray | None:
        """Take in a frame and forecast what follows it.

        Parameters
        ----------
        frame
            In the units of the recording trained on, shape (*space); NaN where there is no datum.
        stimulus
            Columns of the stimulus that is on; None for none.

        Returns
        -------
        np.ndarray
            Like frames, shape (horizon, *space); None until as many frames have come as the model reads.

        Raises
        ------
        DataError
            If the frame has another shape, or the stimulus lacks a column.
        """
        space = self.backend.layout.space
        if frame.shape != space:
            raise DataError(
                "A frame does not fit the model.",
                f"Found {frame.shape}; expected {space}.",
                "Send the cells of the recording it was trained on, in their order.",
            )
        self._frames = np.concatenate([self._frames, frame[None].astype(np.float32)])[-self.source :]
        if len(self._frames) < self.source:
            return None
        with torch.inference_mode():
            mean = self.forecast(self._batch(stimulus).to(self.devices.first))
        return mean[0].float().cpu().numpy()

    def _batch(self, stimulus: Mapping[str, Any] | None) -> Batch:
        layout = self.backend.layout
        x = np.zeros((1, layout.frames, *layout.space), dtype=np.float32)
        x[0, : self.source] = self._frames
        seen = np.isfinite(x) & layout.brain
        if self.lasting is not None:
            x, seen = over_baseline(x, seen, self.source, self.lasting)
        seen[:, self.source :] = False
        x[~seen] = 0.0
        visible = torch.from_numpy(seen)
        told = (None, None) if layout.code is None else self._told(stimulus)
        session = torch.zeros(1, dtype=torch.int64)
        return Batch(torch.from_numpy(x), self._clock, visible, visible, session, None, *told)

    def _told(self, stimulus: Mapping[str, Any] | None) -> tuple[torch.Tensor, torch.Tensor]:
        code = self.backend.layout.code
        if code is None or stimulus is None:
            return torch.zeros(1, code.size if code else 0), torch.full((1,), -1)
        missing = [column.name for column in code.columns if column.name not in stimulus]
        if missing:
            raise DataError(
                f"The stimulus lacks {', '.join(missing)}.",
                f"Found {', '.join(stimulus) or 'nothing'}.",
                'Send it: {"frame": [...], "stimulus": {"' + missing[0] + '": VALUE}}',
            )
        numbers, condition = code.encode_columns([np.array([stimulus[column.name]]) for column in code.columns])
        return torch.from_numpy(numbers), torch.from_numpy(condition)


def stream_forecasts(streamer: Streamer, frames: Iterable[Arrived], out: TextIO) -> Latency:
    """Write one JSON object per forecast: `frame` (its number from 0), `forecast` (horizon, *space), `latency_ms`."""
    latencies = []
    with reproducible(streamer.threads, streamer.devices):
        for number, arrived in enumerate(frames):
            forecast = streamer.push(arrived.values, arrived.stimulus)
            if forecast is None:
                continue
            latencies.append(1e3 * (time.perf_counter() - arrived.at))
            said = {"frame": number, "forecast": forecast.round(6).tolist(), "latency_ms": round(latencies[-1], 3)}
            out.write(json.dumps(said) + "\n")
            out.flush()
    return Latency(tuple(latencies))


def frames_of_lines(lines: Iterable[str], streamer: Streamer) -> Iterator[Arrived]:
    """Yield the frames of JSON lines: lists of numbers (null for no datum), or objects with `frame` and `stimulus`.

    Raises
    ------
    DataError
        Naming the line that is neither.
    """
    for number, line in enumerate(lines, start=1):
        at = time.perf_counter()
        try:
            found = json.loads(line)
            told = found.get("stimulus") if isinstance(found, dict) else None
            values = np.array(found["frame"] if isinstance(found, dict) else found, dtype=np.float32)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"Line {number} is not a frame.",
                f"Found {line.strip()[:60] or 'an empty line'}.",
                'Send [0.1, null, 0.3], or {"frame": [...], "stimulus": {...}}, one per line.',
            ) from error
        yield Arrived(values, told, at)


def growing_frames(path: Path, streamer: Streamer, patience: float = PATIENCE) -> Iterator[Arrived]:
    """Yield the frames of a recording as they are appended; end when none has come for `patience` seconds.

    A frame without any datum is taken for one not yet written, until a later one has some.

    Raises
    ------
    DataError
        If there is no such recording.
    """
    name, seen, last = f"neural/{streamer.run.config.windows.variable}", 0, time.perf_counter()
    while time.perf_counter() - last < patience:
        try:
            array = zarr.open_array(path, path=name, mode="r")
        except (FileNotFoundError, KeyError) as error:
            raise DataError(
                f"{path} holds no {name}.", "Expected a recording that grows.", "Name the .zarr folder."
            ) from error
        fresh = np.asarray(array[seen:])
        written = np.flatnonzero(np.isfinite(fresh).any(axis=tuple(range(1, fresh.ndim))))
        for frame in fresh[: written.max(initial=-1) + 1]:
            seen, last = seen + 1, time.perf_counter()
            yield Arrived(frame, None, last)
        time.sleep(POLL)
