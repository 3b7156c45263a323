"""A small run folder as training and inference would leave it, with known contents."""

import csv
import json
from pathlib import Path

import numpy as np
import xarray as xr
import yaml

from neurodyn.core.files import sha256
from neurodyn.data.recording import Recording
from neurodyn.data.scores import Score, write_scores
from neurodyn.data.window_config import WindowConfig
from neurodyn.data.windows import Windows

NAN = float("nan")
PERIOD, ON = 4.0, 2.0


def stimulus(trials, rng):
    start = 1.0 + PERIOD * np.arange(trials)
    contrast = rng.permutation(np.resize([0.02, 0.1, 0.4, 1.0], trials))
    return {
        "start": start,
        "stop": start + ON,
        "contrast": contrast,
        "orientation": np.resize([0, 45, 90, 135], trials),
    }


def movie(trials=40, shape=(20, 24), rate=10.0, session="mouse1", seed=0):
    """Make a movie recording: a blob that follows contrast, on top of noise, inside an oval brain."""
    rng = np.random.default_rng(seed)
    events = stimulus(trials, rng)
    time = np.arange(round((trials * PERIOD + 2) * rate)) / rate
    drive = sum(
        contrast * ((time >= start) & (time < stop))
        for start, stop, contrast in zip(events["start"], events["stop"], events["contrast"], strict=True)
    )
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    blob = np.exp(-((y - 0.3) ** 2 + (x + 0.4) ** 2) / 0.1)
    smooth = np.convolve(drive, np.exp(-np.arange(8) / 3.0) / 3.5)[: time.size]
    dff = 0.1 * smooth[:, None, None] * blob + 0.03 * rng.normal(size=(time.size, *shape))
    return Recording.from_arrays(
        {"dff": dff.astype(np.float32)},
        rate_hz=rate,
        session=session,
        indicator="jRCaMP1b",
        stimulus=events,
        brain=y**2 + x**2 < 1,
        behavior=xr.Dataset({"pupil": ("pupil_time", np.sin(time / 9))}, coords={"pupil_time": time}),
        history=[{"step": "dff", "params": {"input": "fluorescence", "percentile": 10}, "version": "0.1.0"}],
    )


def traces(trials=40, cells=12, rate=10.0, session="mouse2", seed=0):
    """Make an ROI recording: cells tuned to orientation."""
    rng = np.random.default_rng(seed)
    events = stimulus(trials, rng)
    time = np.arange(round((trials * PERIOD + 2) * rate)) / rate
    dff = 0.1 * rng.normal(size=(time.size, cells))
    for start, stop, angle in zip(events["start"], events["stop"], events["orientation"], strict=True):
        on = (time >= start) & (time < stop)
        dff[on] += np.exp(-(((np.arange(cells) / cells * 180 - angle + 90) % 180 - 90) ** 2) / 500)
    return Recording.from_arrays({"dff": dff.astype(np.float32)}, rate_hz=rate, session=session, stimulus=events)


def make_run(folder: Path, recording: Recording | None = None, **extra) -> Path:
    """Write a run folder beside its recording; `extra` overrides configuration keys."""
    source = (recording or movie()).save(folder.parent / f"{folder.name}-recording.zarr")
    opened = Recording.open(source)
    windows = WindowConfig(duration=1.0, stride=0.5, split="blocked", fractions=(0.4, 0.1, 0.5))
    config = {
        "name": "cst",
        "backend": "cst",
        "model": {"width": 64, "layers": 3},
        "windows": windows.model_dump(mode="json"),
        "training": {"epochs": 4, "seed": 0},
        "recordings": [{"path": str(source), "sha256": sha256(source)}],
    } | extra
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    write_prediction(folder / "prediction.zarr", Windows.cut([opened], windows).split()["test"])
    write_tables(folder, opened)
    return folder


def write_prediction(path: Path, test: Windows, seed=1) -> None:
    """Write what inference writes: latents know the contrast, the reconstruction is the signal with less noise."""
    rng = np.random.default_rng(seed)
    observed, mask = test.values()
    target = observed.reshape(len(test), test.frames, -1)
    latents = np.concatenate([target[..., ::37], rng.normal(size=(*target.shape[:2], 2))], axis=-1)
    hidden = np.zeros((len(test), test.frames), dtype=bool)
    hidden[:, [3, 6]] = True
    space = ("y", "x") if observed.ndim == 4 else ("roi",)
    dims = ("window", "time", *space)
    linear = observed.copy()
    linear[:, 3] = observed[:, 2] + (observed[:, 4] - observed[:, 2]) / 2
    linear[:, 6] = observed[:, 5] + (observed[:, 7] - observed[:, 5]) / 2
    attention = rng.random((len(test), test.frames, 6)) + np.linspace(0, 3, test.frames)[:, None]
    attention /= attention.sum(axis=(1, 2), keepdims=True)
    dataset = xr.Dataset(
        {
            "start": ("window", test.start, {"units": "s"}),
            "session": ("window", test.session),
            "trial": ("window", test.trial),
            "first": ("window", test.first),
            "part": ("window", np.full(len(test), "test", dtype=object)),
            "observed": (dims, np.where(mask, observed, np.nan)),
            "mean": (dims, 0.9 * observed),
            "hidden": (("window", "time"), hidden),
            "hidden_mean": (dims, 0.9 * observed),
            "linear": (dims, linear),
            "latents": (("window", "time", "feature"), latents.astype(np.float32)),
            "attention": (("window", "time", "key"), attention.astype(np.float16)),
        },
        coords={"time": ("time", test.times, {"units": "s"})},
        attrs={
            "settings": {"model": "cst", "parts": ["test"], "inputs": {}, "seed": 0},
            "sessions": [recording.session for recording in test.recordings],
            "attention_grid": [2, 3],
        },
    )
    dataset.to_zarr(path, zarr_format=3, consolidated=False, write_empty_chunks=True)


def write_tables(folder: Path, recording: Recording) -> None:
    """Write metrics, reconstruction scores, provenance, status and the model card."""
    with (folder / "metrics.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["epoch", "step", "train_hidden", "train_visible", "valid_hidden", "valid_visible", "lr"])
        writer.writerows([e, 40 * e, 1 / (e + 1), 0.5 / (e + 1), 1.1 / (e + 1), 0.6 / (e + 1), 0.002] for e in range(4))
    cases = (("cst", "hidden_frame_r2", 0.42), ("linear interpolation", "hidden_frame_r2", 0.35))
    common = {"session": recording.session, "seed": 0, "split": "blocked:test", "target": "dff", "fold": "all"}
    scores = [
        Score(model=model, metric=metric, value=value, ci_low=value - 0.03, ci_high=value + 0.03, null_mean=NAN, p=NAN,
              n=90, unit="windows", **common)
        for model, metric, value in cases
    ]  # fmt: skip
    write_scores(folder / "reconstruction.csv", scores)
    provenance = {
        "command": ["neurodyn", "train", "cst"],
        "time_utc": "2025-01-02T03:04:05+00:00",
        "versions": {"neurodyn": "0.1.0", "python": "3.11.7", "torch": "2.5.0"},
        "machine": {"platform": "Linux", "processors": 2},
        "git": {"commit": "0123456789abcdef", "dirty": False},
        "inputs": {"recording.zarr": "0" * 64},
        "seeds": {"training": 0},
        "origins": {"model.width": "models/cst.yaml:6", "training.epochs": "--set training.epochs=4"},
    }
    (folder / "provenance.json").write_text(json.dumps(provenance), encoding="utf-8")
    status = {"state": "done", "epochs": 4, "best": {"epoch": 3, "value": 0.2}}
    (folder / "status.json").write_text(json.dumps(status), encoding="utf-8")
    card = {"backend": "cst", "parameters": 151_000, "citation": "Fonseca et al. (2023), ICML"}
    (folder / "model.json").write_text(json.dumps(card), encoding="utf-8")
