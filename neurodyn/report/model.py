"""What the model learned: training curves, reconstructions, attention."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.data.scores import Score
from neurodyn.report.blocks import Figure, Table, Text, interval, number
from neurodyn.report.style import BLACK, BLUE, GREY, ORANGE, PALE, SIGNED, draw, image, symmetric

CANDIDATES = 24
BATCH = 32
SHOWN_FRAMES = 8
SHOWN_ROIS = 6
METRIC_WORDS = {
    "hidden_frame_r2": "R², hidden frames",
    "hidden_frame_r2_gain": "gain in R² over linear, hidden frames",
    "reconstruction_r2": "R², all frames, nothing hidden",
}


def read_curves(path: Path) -> dict[str, np.ndarray]:
    """Read a table of metrics per epoch: column -> values, shape (epoch,); NaN where a cell is empty.

    Raises
    ------
    DataError
        If it is not such a table.
    """
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            rows = list(csv.DictReader(handle))
        return {name: np.array([float(row[name] or "nan") for row in rows]) for name in (rows[0] if rows else {})}
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{path} is not a table of metrics.", str(error), "Train again: --existing overwrite"
        ) from error


def curves_figure(curves: dict[str, np.ndarray]) -> Figure | None:
    """Draw every loss part over epochs, training against validation; None where there is nothing to draw.

    Attempts that were given up are left out.
    """
    if "attempt" in curves:
        last = curves["attempt"] == curves["attempt"].max()
        curves = {name: values[last] for name, values in curves.items()}
    epochs = curves.get("epoch")
    parts = sorted({name.split("_", 1)[1] for name in curves if name.startswith(("train_", "valid_"))})
    if epochs is None or not parts or epochs.size < 2:
        return None
    parts = sorted(parts, key=lambda part: part != "loss")[:4]

    def paint(canvas: Canvas) -> None:
        for axes, part in zip(canvas.subplots(1, len(parts), squeeze=False)[0], parts, strict=True):
            for side, colour, dash in (("train", BLACK, "-"), ("valid", ORANGE, "--")):
                values = curves.get(f"{side}_{part}")
                if values is not None:
                    axes.plot(epochs, values, dash, color=colour, label=side, marker=".", ms=4)
            _maybe_log(axes)
            axes.set(xlabel="epoch", title=part)
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        canvas.axes[0].set_ylabel("loss (a.u.)")
        canvas.axes[0].legend()

    caption = "Loss parts over epochs, on training and validation windows."
    return draw(paint, height=2.3, alt="Training curves", caption=caption)


def stability_text(status: Mapping[str, Any]) -> Text | None:
    """Say how often training started anew or stepped back, and why; None where all went well."""
    words = {"restart": "Restarted with another seed", "step back": "Stepped back to half the learning rate"}
    lines = []
    for kind, what in words.items():
        events = [event for event in status.get("events") or [] if event["kind"] == kind]
        reasons = "; ".join(f"epoch {event['epoch']}, {event['reason']}" for event in events)
        if events:
            lines.append(f"{what} {_times(len(events))}: {reasons}.")
    return Text(" ".join(lines)) if lines else None


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _maybe_log(axes: Axes) -> None:
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.lines])
    values = values[np.isfinite(values)]
    if values.size and values.min() > 0 and values.max() > 30 * values.min():
        axes.set_yscale("log")


def reconstruction_table(scores: list[Score]) -> Table:
    """Show how well hidden frames were filled in, beside linear interpolation: a row per metric, a column per part."""
    splits = list(dict.fromkeys(score.split for score in scores))
    cells: dict[tuple[str, str, str], dict[str, str]] = {}
    for score in scores:
        row = cells.setdefault((METRIC_WORDS.get(score.metric, score.metric), score.model, score.session), {})
        row[score.split] = f"{number(score.value)} {interval(score.ci_low, score.ci_high)}".strip()
    counts = {score.split: f"{score.n} {score.unit}" for score in scores}
    header = ["Metric", "By", *(f"{split.rpartition(':')[2]} ({counts[split]})" for split in splits)]
    rows = [[metric, model, *(row.get(split, "–") for split in splits)] for (metric, model, _), row in cells.items()]
    kinds = " and ".join(dict.fromkeys(split.partition(":")[0] for split in splits))
    sessions = ", ".join(dict.fromkeys(score.session for score in scores))
    caption = f"Reconstruction of windows, {sessions}; {kinds} split of the recording. In brackets: 95 % intervals."
    notes = list(dict.fromkeys(score.note for score in scores if score.note))
    return Table(caption, header, rows, frozenset(range(2, len(header))), notes)


def prediction_figure(prediction: xr.Dataset, recordings: list[Recording], variable: str) -> Figure | None:
    """Draw one held-out window: observed, model, linear interpolation; None where the prediction lacks them."""
    if not {"observed", "hidden", "hidden_mean", "linear"} <= set(map(str, prediction.data_vars)):
        return None
    index = _telling_window(prediction)
    window = prediction.isel(window=index).load()
    recording = recordings[int(window["session"])] if "session" in window else recordings[0]
    unit = recording.neural[variable].attrs["units"] if variable in recording.variables else "a.u."
    show = _frames if window["observed"].ndim == 3 else _window_traces
    return show(window, recording, f"{variable} ({unit})")


def _telling_window(prediction: xr.Dataset) -> int:
    """Return, of some evenly spaced windows, the one whose mean signal changes most."""
    total = prediction.sizes["window"]
    rows = np.unique(np.linspace(0, total - 1, min(CANDIDATES, total)).astype(int))
    course = [np.nanmean(prediction["observed"][row].values.reshape(prediction.sizes["time"], -1), 1) for row in rows]
    return int(rows[int(np.argmax(np.std(course, axis=1)))])


def _frames(window: xr.Dataset, recording: Recording, label: str) -> Figure:
    hidden = window["hidden"].values.astype(bool)
    chosen = _shown_frames(hidden)
    brain = recording.brain
    rows = (("observed", "observed"), ("hidden_mean", "model"), ("linear", "linear\ninterpolation"))
    low, high = symmetric(window["observed"].values[:, brain] if brain is not None else window["observed"].values)
    begin = float(window["start"])

    def paint(canvas: Canvas) -> None:
        grid = canvas.subplots(3, chosen.size, squeeze=False)
        for line, (name, words) in zip(grid, rows, strict=True):
            for axes, frame in zip(line, chosen, strict=True):
                bar = image(axes, window[name].values[frame], brain, cmap=SIGNED, vmin=low, vmax=high)
            line[0].set_ylabel(words)
        for axes, frame in zip(grid[0], chosen, strict=True):
            when = f"{float(window['time'][frame]):.2f} s"
            axes.set_title(f"{when}\nhidden" if hidden[frame] else f"{when}\n ", fontsize=8, loc="center")
        canvas.colorbar(bar, ax=grid, shrink=0.6, label=label, pad=0.01)

    caption = (
        f"One held-out window, from {begin:.1f} s of {recording.session}: of {CANDIDATES} evenly spaced windows, the one "
        "whose mean signal changes most. Frames marked hidden were withheld from the model and from the interpolation."
    )
    alt = "Observed frames, model and linear interpolation"
    return draw(paint, height=3.1, alt=alt, caption=caption, pixels=True)


def _shown_frames(hidden: np.ndarray) -> np.ndarray:
    """Return at most eight frames, hidden ones first in line."""
    if hidden.size <= SHOWN_FRAMES:
        return np.arange(hidden.size)
    kept = np.flatnonzero(hidden)[: SHOWN_FRAMES - 2]
    rest = np.setdiff1d(np.arange(hidden.size), kept)
    fill = rest[np.unique(np.linspace(0, rest.size - 1, SHOWN_FRAMES - kept.size).astype(int))]
    return np.sort(np.concatenate([kept, fill]))


def _window_traces(window: xr.Dataset, recording: Recording, label: str) -> Figure:
    hidden, time = window["hidden"].values.astype(bool), window["time"].values
    observed = window["observed"].values
    seen = np.flatnonzero(np.isfinite(observed).any(axis=0))
    shown = np.sort(seen[np.argsort(-np.nanstd(observed[:, seen], axis=0), kind="stable")[:SHOWN_ROIS]])

    def paint(canvas: Canvas) -> None:
        grid = canvas.subplots(2, (shown.size + 1) // 2, sharex=True, squeeze=False)
        for axes, roi in zip(grid.flat, shown, strict=False):
            axes.plot(time, window["linear"].values[:, roi], ":", color=GREY, label="linear interpolation")
            axes.plot(time, window["hidden_mean"].values[:, roi], color=BLUE, label="model")
            axes.plot(time[~hidden], observed[~hidden, roi], "o", color=BLACK, ms=3, label="observed")
            axes.plot(time[hidden], observed[hidden, roi], "o", mfc="white", mec=BLACK, ms=4, label="observed, hidden")
            axes.set_title(f"ROI {roi}")
        for axes in grid.flat[shown.size :]:
            axes.set_visible(False)
        canvas.supxlabel("time in the window (s)", fontsize=8.5)
        canvas.supylabel(label, fontsize=8.5)
        handles, words = grid.flat[0].get_legend_handles_labels()
        canvas.legend(handles, words, loc="outside upper center", ncols=4)

    caption = (
        f"One held-out window, from {float(window['start']):.1f} s of {recording.session}, the ROIs that vary most. "
        "Open circles were withheld from the model and from the interpolation."
    )
    return draw(paint, height=3.2, alt="Observed traces, model and linear interpolation", caption=caption)


def attention_figure(prediction: xr.Dataset, brain: np.ndarray | None) -> Figure | None:
    """Draw the attention that patches and frames receive, relative to even attention; None without attention."""
    if "attention" not in prediction:
        return None
    attention = prediction["attention"]
    total = np.zeros(attention.shape[1:])
    for start in range(0, attention.shape[0], BATCH):
        total += attention[start : start + BATCH].values.sum(axis=0, dtype=np.float64)
    grid = prediction.attrs.get("attention_grid")
    spatial = bool(grid) and int(np.prod(grid)) == total.shape[1] and total.shape[1] > 1
    by_patch, by_time = total.sum(0) * total.shape[1] / total.sum(), total.sum(1) * total.shape[0] / total.sum()

    def paint(canvas: Canvas) -> None:
        panels = canvas.subplots(1, 2 if spatial else 1, squeeze=False, width_ratios=(1, 1.6) if spatial else (1,))[0]
        if spatial:
            _attention_map(canvas, panels[0], by_patch.reshape(grid), brain)
        panels[-1].axhline(1, color=GREY, lw=0.8, ls="--")
        panels[-1].plot(prediction["time"].values, by_time, "o-", color=BLUE, ms=3)
        panels[-1].set(xlabel="time in the window (s)", ylabel="attention received (1 = even)", title="frames")
        panels[-1].set_ylim(bottom=0)

    caption = (
        f"Attention of the last frame's queries, mean over {attention.shape[0]} held-out windows, heads and layers; "
        "1 means as much as if attention were spread evenly. It shows where the model looks, not what causes what."
    )
    alt = "Attention received by patches and frames"
    return draw(paint, height=2.5 if spatial else 1.8, alt=alt, caption=caption, pixels=spatial)


def _attention_map(canvas: Canvas, axes: Axes, received: np.ndarray, brain: np.ndarray | None) -> None:
    """Show patches at the size of the frame, so that the brain's outline fits."""
    if brain is not None:
        rows, columns = (
            np.minimum(np.arange(size) * count // size, count - 1)
            for size, count in zip(brain.shape, received.shape, strict=True)
        )
        received = received[np.ix_(rows, columns)]
    inside = received if brain is None else received[brain]
    spread = max(float(np.quantile(np.abs(inside - 1), 0.98)), 0.05)
    bar = image(axes, received, brain, cmap=SIGNED, vmin=1 - spread, vmax=1 + spread)
    axes.set_facecolor(PALE)
    canvas.colorbar(bar, ax=axes, shrink=0.8, label="1 = even", extend="both")
    axes.set_title("patches")
