"""`infer`: a finished run and windows in, predictions and reconstruction scores out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import zarr
from torch import Tensor

from neurodyn.backends.base import Backend
from neurodyn.backends.batch import Batch, Prediction
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.core.files import clear_partials, locked, sha256
from neurodyn.core.log import LOGGER, Report, silent
from neurodyn.data.scores import Score, write_scores
from neurodyn.data.splits import PARTS
from neurodyn.data.store import whole_store
from neurodyn.data.windows import Windows
from neurodyn.runs.folder import PREDICTION
from neurodyn.runs.prediction_store import MAP_AXES, Arrays, own_cells, store, write_tables
from neurodyn.training.devices import choose_devices, reproducible
from neurodyn.training.reconstruction import Errors, Filled, hide
from neurodyn.training.run import Run, load_run

OPTIONAL = ("latents", "summary", "inputs", "rates", "spikes", "spikes_std", "std", "logits")


def infer(
    run_path: Path,
    recordings: Sequence[Path] | None = None,
    *,
    parts: Sequence[str] = ("test",),
    gpu: str = "auto",
    attention: bool = True,
    maps: Sequence[str] = (),
    batch: int = 32,
    at: Sequence[float] | Literal["truth"] | None = None,
    few: int | None = None,
    horizon: float | None = None,
    seed: int = 0,
    threads: int | None = None,
    progress: Report = silent,
) -> Path:
    """Write `prediction.zarr` and `reconstruction.csv` into a run folder.

    prediction.zarr holds, per window: `start` (s), `session` (index), `trial`, `part`; `observed` and `mean`
    (window, time, *space), the model's output with nothing hidden, and where the model has them `std`, `rates` (Hz),
    `spikes` (per frame) and `spikes_std` like it; `latents` (window, time, feature); `inputs` (window, time, input);
    `attention`
    (window, time, key), the last frame's attention averaged over its patches; and a test in which some inner frames
    are hidden: `hidden` (window, time), `hidden_mean` and `linear` like `mean`. With `at`: `at` (window, query, *space).
    Where the model says which cells respond, `logits` (window, *space), the log-odds, and `responses`, what came.
    Where the target is another variable, `target` like `mean`; where frames are irregular, `clock` (window, time), s.
    reconstruction.csv has R² on hidden frames of every part, for the model and for linear interpolation. With a horizon,
    its frames are the hidden ones, and `mean` is a forecast of them.

    Parameters
    ----------
    recordings
        Other recordings, all of whose windows are used (part "all"); None for the run's own held-out windows.
    parts
        Which of train, valid and test to write; all three are scored.
    gpu
        "auto", "none", or the index of a visible GPU.
    attention
        Write attention, where the model has it.
    maps
        Also write `attention_maps`, with these axes kept apart: any of "layer", "head" and "query" (the last frame's
        tokens, in the order of the patches that hold data).
    batch
        Windows at a time; bounds the memory.
    at
        Times within the window, s, for models of continuous time; "truth": those at which the recordings say what is true
        between their frames (`query` of the group truth).
    few
        Also ask for so many of these times together, spread over the window, and write `at_few`, like `at`: models whose
        queries see each other answer otherwise.
    horizon
        Forecast the last so many seconds of every window; None for what the model was trained to do. A model trained for
        one horizon knows no other.
    seed
        Decides which frames are hidden.
    progress
        Called with the part and the share of it that is done.
    threads
        CPU threads; None for those of training. They change no more than round-off, and so repeat nothing.

    Returns
    -------
    Path
        Of prediction.zarr.
    """
    run, devices = load_run(run_path), choose_devices(gpu)
    windows, times = _asked(run, recordings, parts, at, few, maps, horizon)
    target = run.path / PREDICTION
    with locked(target):
        settings = _settings(run, recordings, list(parts), attention, times, seed) | {
            "maps": list(maps),
            "few": few,
            "horizon": horizon,
        }
        if _up_to_date(target, settings):
            LOGGER.info("%s is up to date.", target)
            return target
        clear_partials(target)
        with reproducible(threads or run.config.training.threads, devices), whole_store(target) as folder:
            worker = _Worker(run, devices.first, attention, maps, times, few, batch, seed)
            chosen = parts if recordings is None else ("all",)
            scores = _write(folder, worker, windows, chosen, settings, progress)
            write_scores(run.path / "reconstruction.csv", scores)
    return target


def check(
    run_path: Path,
    recordings: Sequence[Path] | None,
    *,
    parts: Sequence[str],
    gpu: str,
    at: Sequence[float] | Literal["truth"] | None,
    few: int | None,
    maps: Sequence[str],
    horizon: float | None,
) -> None:
    """Refuse what `infer` would refuse before it computes; nothing is written."""
    choose_devices(gpu)
    _asked(load_run(run_path), recordings, parts, at, few, maps, horizon)


def _asked(
    run: Run,
    recordings: Sequence[Path] | None,
    parts: Sequence[str],
    at: Sequence[float] | Literal["truth"] | None,
    few: int | None,
    maps: Sequence[str],
    horizon: float | None,
) -> tuple[dict[str, Windows], Sequence[float] | None]:
    """Return the windows asked for, and the times to predict at, where the model can."""
    _check(run, parts, at, few, maps)
    windows = _with_horizon(run, run.windows if recordings is None else {"all": run.cut(recordings)}, horizon)
    return windows, _true_times(windows) if at == "truth" else at


def _check(
    run: Run, parts: Sequence[str], at: Sequence[float] | str | None, few: int | None, maps: Sequence[str]
) -> None:
    strange = [part for part in parts if part not in PARTS]
    if strange or not parts:
        raise ConfigError(
            f"There is no part {', '.join(strange) or 'named'}.", f"Known: {', '.join(PARTS)}.", "Use --on test"
        )
    if at is not None and "continuous_time" not in run.backend.capabilities:
        raise ConfigError(
            f"The model {run.config.name} cannot be evaluated between frames.",
            f"It can: {', '.join(sorted(run.backend.capabilities))}.",
            "Leave out --at, or use a model of continuous time: cst",
        )
    if few is not None and at is None:
        raise ConfigError("There are no times to ask for few of.", "Found --few without --at.", "Give --at, too: truth")
    if maps and (set(maps) - set(MAP_AXES) or "attention" not in run.backend.capabilities):
        raise ConfigError(
            f"Attention of {run.config.name} cannot be kept apart by {', '.join(maps)}.",
            f"Known: {', '.join(MAP_AXES)}; the model can: {', '.join(sorted(run.backend.capabilities))}.",
            "Example, for cst: --attention layer,head",
        )


def _with_horizon(run: Run, windows: dict[str, Windows], horizon: float | None) -> dict[str, Windows]:
    """Hide the last seconds of every window."""
    if horizon is None:
        return windows
    config, rate, own = run.config.windows, run.backend.layout.rate_hz, run.config.windows.horizon
    if (own and abs(horizon - own) > 0.5 / rate) or not 0 < horizon < config.duration:
        raise ConfigError(
            f"{run.config.name} cannot forecast {horizon:g} s.",
            f"Its windows last {config.duration:g} s" + (f", and it was trained for {own:g} s." if own else "."),
            f"Train it so: neurodyn train {run.config.name} … --set windows.horizon={horizon:g}",
        )
    asked = config.model_copy(update={"horizon": horizon})
    return {part: replace(some, config=asked) for part, some in windows.items()}


def _true_times(windows: dict[str, Windows]) -> list[float]:
    """Return the times, s from a window's start, of what is known to be true between the frames."""
    recordings = next(iter(windows.values())).recordings
    truths = [recording.table("truth") for recording in recordings]
    found = [truth["query"].values for truth in truths if truth is not None and "query" in truth.coords]
    if len(found) < len(recordings) or any(not np.array_equal(times, found[0]) for times in found):
        raise DataError(
            "There are no true times to predict at.",
            f"Found them in {len(found)} of {len(recordings)} recordings; expected the same in all: truth/query.",
            "Name the times: --at 0.05,0.15",
        )
    return [float(time) for time in found[0]]


def _settings(
    run: Run,
    recordings: Sequence[Path] | None,
    parts: list[str],
    attention: bool,
    at: Sequence[float] | None,
    seed: int,
) -> dict[str, Any]:
    given = [Path(path).resolve() for path in recordings or ()]
    return {
        "model": run.config.name,
        "model_sha256": sha256(run.path / "model.safetensors"),
        "inputs": run.folder.inputs if recordings is None else {str(path): sha256(path) for path in given},
        "parts": parts if recordings is None else ["all"],
        "attention": attention,
        "at": None if at is None else [float(time) for time in at],
        "seed": seed,
    }


def _up_to_date(target: Path, settings: dict[str, Any]) -> bool:
    if not (target / "zarr.json").exists() or not (target.parent / "reconstruction.csv").exists():
        return False
    return zarr.open_group(target, mode="r").attrs.asdict().get("settings") == settings


class _Worker:
    """Runs the model on windows, a batch at a time."""

    def __init__(
        self,
        run: Run,
        device: torch.device,
        attention: bool,
        maps: Sequence[str],
        at: Sequence[float] | None,
        few: int | None,
        batch: int,
        seed: int,
    ) -> None:
        self.run, self.device, self.maps, self.at, self.few = run, device, maps, at, few
        self.batch, self.seed = batch, seed
        self.backend: Backend = run.backend.to(device)
        self.attention = attention and "attention" in self.backend.capabilities

    def __call__(self, windows: Windows, full: bool) -> Iterator[tuple[np.ndarray, Filled, Arrays]]:
        """Yield window indices, the hidden-frame test, and predictions; latents and attention only where `full`."""
        for start in range(0, len(windows), self.batch):
            indices = np.arange(start, min(start + self.batch, len(windows)))
            filled = hide(windows, indices, self.seed)
            with torch.inference_mode():
                yield indices, filled, self._predict(filled, full, forecast=windows.horizon > 0)

    def _predict(self, filled: Filled, full: bool, forecast: bool) -> Arrays:
        seen = filled.batch.visible if forecast else filled.batch.valid
        observed = replace(filled.batch, visible=seen).to(self.device)
        whole = self.backend(observed, attention=full and self.attention)
        out = {"mean": _array(whole.mean)}
        out["hidden_mean"] = out["mean"] if forecast else _array(self.backend(filled.batch.to(self.device)).mean)
        if not full:
            return out
        out |= _optional(whole) | {"observed": np.where(filled.batch.valid, filled.batch.x, np.nan)}
        out |= {"linear": filled.linear, "hidden": filled.hidden}
        if filled.batch.targets is not None:
            out["target"] = np.where(filled.batch.valid, filled.batch.targets, np.nan)
        if filled.batch.responses is not None:
            out["responses"] = filled.batch.responses.numpy()
        if self.run.config.windows.irregular:
            out["clock"] = filled.batch.t.numpy()
        if self.maps:
            out["attention_maps"] = _maps(self.backend, observed, self.maps)
        if self.at is not None:
            times = torch.tensor(self.at, dtype=torch.float32, device=self.device).expand(len(filled.hidden), -1)
            out["at"] = _array(self.backend.at(observed, times))
            if self.few is not None:
                out["at_few"] = _array(_asked_in_turn(self.backend, observed, times, self.few))
        return out


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.float().cpu().numpy()


def _optional(prediction: Prediction) -> Arrays:
    """Return what else the model gave; attention as one map per window whose entries sum to 1."""
    given = {name: getattr(prediction, name) for name in OPTIONAL}
    out = {name: _array(value) for name, value in given.items() if value is not None and value.numel()}
    if prediction.attention is not None:
        summed = prediction.attention.sum(1)
        out["attention"] = _array(summed / summed.sum((1, 2), keepdim=True)).astype(np.float16)
    return out


def _asked_in_turn(backend: Backend, batch: Batch, times: Tensor, few: int) -> Tensor:
    rounds = -(-times.shape[1] // few)
    answers = [backend.at(batch, times[:, first::rounds]) for first in range(rounds)]
    order = torch.cat([torch.arange(first, times.shape[1], rounds) for first in range(rounds)])
    return torch.cat(answers, dim=1)[:, order.argsort()]


def _maps(backend: Backend, batch: Batch, kept: Sequence[str]) -> np.ndarray:
    """Return attention of the last frame's tokens, shape (window, [layer], [head], [query], time, place)."""
    found = backend.attention_maps(batch, layers="layer" in kept, heads="head" in kept)
    if "query" not in kept:
        found = found.mean(3, keepdim=True)
    chosen = found.unflatten(-1, (batch.t.shape[1], -1))
    for axis, name in reversed(list(enumerate(MAP_AXES, start=1))):
        chosen = chosen if name in kept else chosen.squeeze(axis)
    return _array(chosen).astype(np.float16)


def _write(
    folder: Path,
    worker: _Worker,
    windows: dict[str, Windows],
    parts: Sequence[str],
    settings: dict[str, Any],
    progress: Report,
) -> list[Score]:
    run = worker.run
    chosen = [part for part in windows if part in parts]
    root = zarr.open_group(folder, mode="w", zarr_format=3)
    write_tables(folder, {part: windows[part] for part in chosen}, worker.at)
    first = next(iter(windows.values()))
    sessions = [recording.session for recording in first.recordings]
    grid = None if worker.backend.attention_grid is None else list(worker.backend.attention_grid)
    root.attrs.update({"settings": settings, "sessions": sessions, "attention_grid": grid})
    total, offset, scores = sum(len(windows[part]) for part in chosen), 0, []
    for part, some in windows.items():
        if not len(some):
            continue
        errors = Errors(some)
        for indices, filled, arrays in worker(some, part in chosen):
            progress(f"{part} windows", (int(indices[-1]) + 1) / len(some))
            errors.add(filled, arrays["mean"], arrays["hidden_mean"])
            if part in chosen:
                store(root, own_cells(arrays, some, indices), offset, total, first, worker.maps)
                offset += indices.size
        split = f"{run.config.windows.split}:{part}"
        scores += errors.scores(run.config.name, run.config.windows.variable, split, some, worker.seed)
    if worker.backend.summary_parts:
        root["summary"].attrs["parts"] = worker.backend.summary_parts
    return scores
