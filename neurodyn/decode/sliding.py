"""Windows that slide along trials: the signal's mean in each, and what curves over time need."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurodyn.core.errors import ConfigError
from neurodyn.data.windows import Windows
from neurodyn.decode import DECODERS
from neurodyn.decode.features import build_courses, course_name
from neurodyn.decode.labels import Labels
from neurodyn.decode.settings import DecodeConfig
from neurodyn.decode.source import Source
from neurodyn.decode.tasks import default_decoder


@dataclass(frozen=True)
class Sliding:
    """The signal in windows that slide along trials.

    Parameters
    ----------
    name
        Of the features.
    start, end
        Times of the first and the last frame of each window, s from the event, shape (window,).
    rows
        Mean of each window's frames, float32, shape (window, sample, feature).
    """

    name: str
    start: np.ndarray
    end: np.ndarray
    rows: np.ndarray


def slide(source: Source, config: DecodeConfig) -> Sliding:
    """Return the means of a signal in windows that slide along trials."""
    first, length = sliding_frames(source.windows, config)
    courses = build_courses(source, config)
    rows = np.stack([courses[:, begin : begin + length].mean(axis=1) for begin in first])
    times = source.windows.times
    return Sliding(course_name(source), times[first], times[first + length - 1], rows)


def sliding_frames(windows: Windows, config: DecodeConfig) -> tuple[np.ndarray, int]:
    """Return the first frame of each sliding window, shape (window,), and how many frames each has.

    Raises
    ------
    ConfigError
        If windows do not begin at events, or fewer than two sliding ones fit.
    """
    if windows.config.align != "events" or windows.config.irregular:
        raise ConfigError(
            "Curves over time need windows around events, of frames at a steady rate.",
            f"Found windows of {windows.config.duration:g} s along the stream."
            if windows.config.align != "events"
            else "Found irregular frames.",
            "Align them: --set windows.align=events --set windows.offset=-1 --set windows.duration=3",
        )
    length = max(1, round(config.curve_window * windows.rate_hz))
    step = max(1, round(config.curve_step * windows.rate_hz))
    first = np.arange(0, windows.frames - length + 1, step)
    if first.size < 2:
        raise ConfigError(
            f"No two windows of {config.curve_window:g} s fit one after another into trials.",
            f"Found trials of {windows.frames / windows.rate_hz:g} s, {windows.frames} frames.",
            "Make them shorter, or trials longer: --set curve_window=SECONDS --set windows.duration=SECONDS",
        )
    return first, length


def check_curves(source: Source, labels: Labels, config: DecodeConfig) -> None:
    """Refuse curves that cannot be made, before anything is fitted.

    Raises
    ------
    ConfigError
        If windows are not around events, a movie is asked for numbers of cells, or the decoder takes sequences.
    """
    if not config.curves:
        return
    decoder = default_decoder(config, labels.task)
    if DECODERS.get(decoder).sequential:
        raise ConfigError(
            f"Decoder '{decoder}' takes the course of a trial.", "Curves are of single moments.", "Use --decoder lda"
        )
    if "cells" in config.curves and source.entries.ndim != 1:
        raise ConfigError(
            "A movie has no cells to draw from.",
            f"Found frames of {' × '.join(map(str, source.entries.shape))} pixels.",
            "Leave it out: --curves time,generalise; or find its cells first: neurodyn extract MOVIE -o cells.zarr",
        )
    if {"time", "generalise"} & set(config.curves):
        sliding_frames(source.windows, config)
