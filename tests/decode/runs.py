"""Run folders as inference would leave them, on simulated trials, with predictions of known quality."""

from pathlib import Path

import numpy as np
import xarray as xr
import yaml

from neurodyn.core.files import sha256
from neurodyn.data.recording import Recording
from neurodyn.data.splits import PARTS
from neurodyn.data.window_config import WindowConfig
from neurodyn.data.windows import Windows
from neurodyn.simulate import SIMULATORS

TRIALS = {"conditions": 6, "repeats": 5, "train_repeats": 3, "held_out": 4, "held_out_repeats": 2}
NOISE = 0.3
FORECAST_WINDOWS = {
    "align": "events", "offset": -1.0, "duration": 3.0, "horizon": 2.0, "split": "trial", "stimuli": ["direction"],
}  # fmt: skip


def simulated(folder: Path, kind="lorenz", **params) -> Path:
    """Save a small simulated recording."""
    simulator = SIMULATORS.get(kind)
    recording = simulator(simulator.Params(**{**TRIALS, **params})).make()
    return recording.save(folder / f"{recording.session}.zarr")


def make_run(
    folder: Path, source: Path, *, name="calfads", seed=0, variable="dff", parts=PARTS, noise=0.1, leave_out=()
) -> Path:
    """Write a run whose latents are a noisy affine map of the true ones, and whose courses are noisy true ones."""
    recording = Recording.open(source)
    stimulus = recording.stimulus
    duration = float(stimulus["stop"].values[0] - stimulus["start"].values[0])
    config = WindowConfig(variable=variable, duration=duration, align="events", split="column", condition="part")
    windows = Windows.cut([recording], config).split()
    chosen = {part: windows[part] for part in parts}
    first = np.concatenate([some.first for some in chosen.values()])
    columns = {
        key: np.concatenate([getattr(some, key) for some in chosen.values()])
        for key in ("start", "session", "trial", "first")
    }
    part = np.concatenate([np.full(len(some), key, dtype=object) for key, some in chosen.items()])
    frames = windows["train"].frames
    courses = _courses(recording, first[:, None] + np.arange(frames), noise, np.random.default_rng(seed))
    dims = {"latents": "feature"}
    data = {key: ("window", values) for key, values in (columns | {"part": part}).items()}
    data |= {
        key: (("window", "time", dims.get(key, "roi")), values.astype(np.float32))
        for key, values in courses.items()
        if key not in leave_out
    }
    folder.mkdir(parents=True)
    attrs = {"settings": {"parts": list(parts), "inputs": {}}, "sessions": [recording.session]}
    xr.Dataset(data, attrs=attrs).to_zarr(
        folder / "prediction.zarr", zarr_format=3, consolidated=False, write_empty_chunks=True
    )
    written = {
        "name": name,
        "backend": "calfads",
        "windows": config.model_dump(mode="json"),
        "training": {"seed": seed},
        "recordings": [{"path": str(source.resolve()), "sha256": sha256(source)}],
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(written), encoding="utf-8")
    return folder


def _courses(recording, frames, noise, rng):
    truth = recording.table("truth")
    latents = truth["latents"].values[frames].astype(float)
    mixed = latents @ rng.standard_normal((latents.shape[-1], 5)) + 2.0
    rates = truth["rates"].values[frames]
    spikes = truth["spikes"].values[frames].astype(float)
    return {
        "latents": mixed + noise * rng.standard_normal(mixed.shape),
        "rates": rates * np.exp(noise * rng.standard_normal(rates.shape)),
        "spikes": spikes + noise * rng.standard_normal(spikes.shape),
        "mean": truth["calcium"].values[frames],
    }


def join_runs(runs: list[Path], folder: Path) -> Path:
    """Write the runs' predictions as one run of several sessions, its cells padded to as many as any has."""
    opened = [xr.open_zarr(run / "prediction.zarr", consolidated=False).load() for run in runs]
    cells = max(one.sizes["roi"] for one in opened)
    padded = [
        one.pad(roi=(0, cells - one.sizes["roi"]), constant_values=0.0).assign(session=one["session"] * 0 + k)
        for k, one in enumerate(opened)
    ]
    joined = xr.concat(padded, "window", combine_attrs="override")
    folder.mkdir(parents=True)
    joined.drop_encoding().assign(part=joined["part"].astype(object)).to_zarr(
        folder / "prediction.zarr", zarr_format=3, consolidated=False, write_empty_chunks=True
    )
    settings = [yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8")) for run in runs]
    first = settings[0] | {"recordings": [one["recordings"][0] for one in settings]}
    (folder / "config.yaml").write_text(yaml.safe_dump(first), encoding="utf-8")
    return folder


def repeated_responses(folder: Path, session="mouse", cells=6, seed=0, trials=64, rate=5.0) -> Path:
    """Save cells whose response to each of four directions is a course of its own for 2 s, in noise."""
    rng = np.random.default_rng(seed)
    start = 2 + 4.0 * np.arange(trials)
    direction = rng.permutation(np.resize([0.0, 90.0, 180.0, 270.0], trials))
    time = np.arange(round((4 * trials + 4) * rate)) / rate
    courses = np.random.default_rng(7).normal(size=(4, round(2 * rate), cells))
    dff = NOISE * rng.normal(size=(time.size, cells))
    for onset, angle in zip(start, direction, strict=True):
        first = round(onset * rate)
        dff[first : first + courses.shape[1]] += courses[int(angle // 90)]
    events = {"start": start, "stop": start + 2, "direction": direction}
    made = Recording.from_arrays({"dff": dff.astype(np.float32)}, rate_hz=rate, session=session, stimulus=events)
    return made.save(folder / f"{session}.zarr")


def make_forecast(folder: Path, sources: list[Path], forecast, name="oracle", seed=0, **settings) -> Path:
    """Write a run whose forecast of the test windows is a function of what came, shape (window, horizon, roi)."""
    config = WindowConfig.model_validate(FORECAST_WINDOWS | settings)
    cut = Windows.cut([Recording.open(source) for source in sources], config, ragged=len(sources) > 1)
    test = cut.split()["test"]
    values, mask = test.values()
    observed = np.where(mask, values, np.nan).astype(np.float32)
    mean = observed.copy()
    mean[:, -test.horizon :] = forecast(observed[:, -test.horizon :])
    columns = {key: ("window", getattr(test, key)) for key in ("start", "session", "trial", "first")}
    columns["part"] = ("window", np.full(len(test), "test", dtype=object))
    arrays = {key: (("window", "time", "roi"), array) for key, array in (("observed", observed), ("mean", mean))}
    folder.mkdir(parents=True)
    made = xr.Dataset(columns | arrays, attrs={"settings": {"parts": ["test"], "inputs": {}, "horizon": None}})
    made.to_zarr(folder / "prediction.zarr", zarr_format=3, consolidated=False, write_empty_chunks=True)
    settings = {
        "name": name,
        "windows": config.model_dump(mode="json"),
        "training": {"seed": seed},
        "recordings": [{"path": str(source), "sha256": sha256(source)} for source in sources],
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return folder
