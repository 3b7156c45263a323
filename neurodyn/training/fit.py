"""`fit`: recordings and a configuration in, a finished run folder out, however often it was interrupted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from neurodyn.backends import BACKENDS
from neurodyn.backends.base import Backend
from neurodyn.backends.layout import Layout
from neurodyn.core.config import Resolved
from neurodyn.core.errors import NeurodynError, WorkError
from neurodyn.core.files import locked, make_folder, write_json
from neurodyn.core.log import LOGGER, log_to
from neurodyn.core.provenance import provenance
from neurodyn.data.recording import Recording
from neurodyn.data.windows import Windows
from neurodyn.runs.config import RunConfig, TrainingConfig
from neurodyn.runs.folder import Existing, RunFolder
from neurodyn.runs.health import Health
from neurodyn.training.batches import (
    PREPARE_WINDOWS,
    OrderedBatches,
    derive_seed,
    generator,
    prepare,
)
from neurodyn.training.checkpoint import checkpoint_path, last_checkpoint, read_checkpoint, write_metrics
from neurodyn.training.config import backend_config
from neurodyn.training.devices import Devices, reproducible
from neurodyn.training.health import measured
from neurodyn.training.loop import TrainingLoop
from neurodyn.training.opening import check_stages, labelled, opened, sources
from neurodyn.training.ranks import Ranks, heard, run_ranks
from neurodyn.training.run import load_run
from neurodyn.training.stability import Journal, Progress, Row, UnstableError
from neurodyn.training.weights import save_model


def fit(
    config: RunConfig,
    resolved: Resolved | None,
    recordings: Sequence[Path | Recording],
    out: Path,
    *,
    gpu: str = "auto",
    resume: bool = False,
    existing: Existing = "error",
    progress: Progress | None = None,
) -> Path:
    """Train a model into a run folder.

    The same command finishes what an interrupted one began: the final weights and metrics are the same, bit for bit,
    as without the interruption (on the same kind of device). A finished run is left as it is.

    Parameters
    ----------
    config
        What to train, as `load_run_config` gives it.
    resolved
        Origins of its values, for the provenance record; may be None.
    recordings
        Recordings on disk.
    out
        Run folder.
    gpu
        "auto", "none", "all", or indices of visible GPUs; several of them share every batch.
    resume
        Say in the log when there was nothing to resume.
    existing
        What to do with another run in the folder.
    progress
        Called after every epoch with its row of metrics and `epochs`.

    Raises
    ------
    ConfigError
        If the folder holds another run, another process trains in it, or the GPU is not there.
    DataError
        If a recording or the checkpoint cannot be read.
    WorkError
        If the loss stays not finite, or the model collapsed, more often than the configuration allows.
    """
    devices, found, parts = opened(config, recordings, gpu)  # before the folder is touched: bad input leaves nothing
    wanted = config.model_dump(mode="json") | {"recordings": sources(found)}
    folder = RunFolder(Path(out))
    with locked(folder.path, wait=0):
        state = folder.claim(wanted, existing)
        if state == "done":
            LOGGER.info("%s is up to date.", folder.path)
            return folder.path
        handler = log_to(folder.path / "log.jsonl")
        try:
            _start(folder.path, config, resolved, wanted, resume)
            with reproducible(config.training.threads, devices):
                train_parts(folder.path, config, labelled(parts), devices, progress)
        finally:
            LOGGER.removeHandler(handler)
            handler.close()
    return folder.path


def _start(path: Path, config: RunConfig, resolved: Resolved | None, wanted: dict[str, Any], resume: bool) -> None:
    make_folder(path / "checkpoints")
    if checkpoint_path(path).exists():
        LOGGER.info("Resuming from %s.", checkpoint_path(path))
    elif resume:
        LOGGER.info("Nothing to resume in %s: starting from the beginning.", path)
    record = provenance([], {"training": config.training.seed, "windows": config.windows.seed})
    record["inputs"] = {source["path"]: source["sha256"] for source in wanted["recordings"]}
    record["origins"] = {".".join(key): origin for key, origin in resolved.origins.items()} if resolved else {}
    write_json(path / "provenance.json", record)


def train_parts(
    path: Path, config: RunConfig, parts: dict[str, Windows], devices: Devices, progress: Progress | None
) -> None:
    """Train every stage on the parts `train` and `valid`, from where the folder has it, and write model and status.

    Parameters
    ----------
    progress
        Called after every epoch with its row of metrics and `epochs`; while other stages follow, with `stages_left`.
    """
    *earlier, _ = stages_left(config, parts["train"])
    weights = None
    for number, stage in enumerate(earlier):
        folder = path / "stages" / stage
        make_folder(folder / "checkpoints")
        told = _with_stages_left(progress, len(earlier) - number)
        kept, _, journal = _stage(folder, config, stage, parts, devices, told, weights)
        write_metrics(folder, [*journal.rows, *kept["rows"]])
        weights = kept["best"]["weights"]
    kept, backend, journal = _stage(path, config, None, parts, devices, progress, weights)
    write_metrics(path, [*journal.rows, *kept["rows"]])
    save_model(path, config, backend, _calibrated(backend, config, parts, kept["best"]["weights"]))
    _finish(path, config, kept, journal, _health(backend, config, parts))


def _with_stages_left(progress: Progress | None, count: int) -> Progress | None:
    return None if progress is None else lambda row: progress(row | {"stages_left": count})


def _calibrated(
    backend: Backend, config: RunConfig, parts: dict[str, Windows], weights: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return the weights, with what is fitted once they are final."""
    backend.cpu().load_state_dict(weights)
    windows = parts["valid"] if len(parts["valid"]) else parts["train"]
    with torch.no_grad():
        batches = OrderedBatches(windows, config.training.batch)
        backend.eval().calibrate(batches, generator(config.training.seed, "calibration"))
    return backend.state_dict()


def _health(backend: Backend, config: RunConfig, parts: dict[str, Windows]) -> Health | None:
    """Measure a trained latent model beside factor analysis, and tell; None where nothing can be measured."""
    if not config.training.health or not backend.tells_cells:
        return None
    found = measured(backend, parts, config.training.seed)
    if found is None:
        LOGGER.info("Hidden cells were not told from the others: no validation windows of 3 to 1000 cells.")
    elif found.unhealthy:
        LOGGER.warning(found.warning, extra={"fields": found.plain})
    else:
        LOGGER.info(found.sentence, extra={"fields": found.plain})
    return found


def stages_left(config: RunConfig, windows: Windows) -> tuple[str, ...]:
    """Return the stages that are to be trained; "main" stands for what `prepare` does."""
    check_stages(config)
    backend = _built(config, windows, 0)
    done = backend.take_over(load_run(Path(config.start)).backend) if config.start else ()
    return tuple(stage for stage in backend.stages() if stage not in done) or ("main",)


def _stage(
    folder: Path,
    config: RunConfig,
    stage: str | None,
    parts: dict[str, Windows],
    devices: Devices,
    progress: Progress | None,
    weights: dict[str, torch.Tensor] | None,
) -> tuple[dict[str, Any], Backend, Journal]:
    """Train a stage, the last one where it has no name, from given weights, however often it starts anew."""
    kept, journal = None, Journal.read(folder)
    while kept is None:
        backend = _built(config, parts["train"], journal.seed(config.training.seed))
        name = stage or (backend.stages() or ("main",))[-1]
        training = config.training_of(name)
        journal.require(training)
        kept = last_checkpoint(journal)
        if kept is None:
            _start_from(backend, config, parts["train"], weights)
        if backend.stages() == ():
            kept = _measured(backend, config, parts["valid"])
        elif kept is None or not kept["finished"]:
            backend.begin(name, OrderedBatches(parts["train"], PREPARE_WINDOWS))
            kept = _optimised(backend, training, parts, devices, progress, journal)
            journal = Journal.read(folder)
    return kept, backend, journal


def _start_from(backend: Backend, config: RunConfig, windows: Windows, weights: dict[str, torch.Tensor] | None) -> None:
    """Prepare a new model, then let it take what another model or an earlier stage knows."""
    prepare(backend, windows)
    if config.start:
        backend.take_over(load_run(Path(config.start)).backend)
    if weights is not None:
        backend.load_state_dict(weights)


def _built(config: RunConfig, windows: Windows, seed: int) -> Backend:
    torch.manual_seed(derive_seed(seed, "weights"))
    return BACKENDS.get(config.backend)(backend_config(config), Layout.of(windows))


def _measured(backend: Backend, config: RunConfig, valid: Windows) -> dict[str, Any]:
    """Return what a checkpoint would hold for a model that `prepare` has fitted: one row, its weights."""
    sums: dict[str, float] = {}
    with torch.no_grad():
        for index, batch in enumerate(OrderedBatches(valid, config.training.batch)):
            for name, value in backend.loss(batch, generator(config.training.seed, "validation", index)).items():
                sums[name] = sums.get(name, 0.0) + value.item() * len(batch.x)
    row: Row = {"epoch": 0, "step": 0} | {f"valid_{name}": total / len(valid) for name, total in sums.items()}
    value = row.get("valid_hidden", sum(sums.values()) / max(1, len(valid)))
    best = {"epoch": 0, "value": value, "weights": backend.state_dict()}
    return {"rows": [row], "best": best, "finished": True}


def _optimised(
    backend: Backend,
    training: TrainingConfig,
    parts: dict[str, Windows],
    devices: Devices,
    progress: Progress | None,
    journal: Journal,
) -> dict[str, Any] | None:
    """Train to the end and return what the checkpoint holds; None if training must step back or start anew."""
    path = journal.folder
    try:
        with heard(progress, devices.ranks) as said:
            work = _Work(backend, training, parts["train"], parts["valid"], journal, said)
            if devices.ranks > 1:
                run_ranks(work, devices, training.threads, path / "log.jsonl")
            else:
                work(Ranks(), devices.first)
    except (UnstableError, NeurodynError):  # the latter, where a process said that it was the former
        after = Journal.read(path)
        if after == journal:
            raise
        after.tell()
        if after.attempt > journal.attempt:
            write_metrics(path, list(after.rows))
        return None
    kept = read_checkpoint(path)
    if kept is None:
        raise WorkError(f"Training left no checkpoint in {path}.", "Expected one per epoch.", "Read log.jsonl there.")
    return kept


@dataclass(frozen=True)
class _Work:
    """One process's training; picklable, so that it can be sent to another process."""

    backend: Backend
    training: TrainingConfig
    train: Windows
    valid: Windows
    journal: Journal
    progress: Progress | None

    def __call__(self, ranks: Ranks, device: torch.device) -> None:
        parts = (self.train, self.valid)
        TrainingLoop(self.backend, self.training, *parts, self.journal, device, ranks, self.progress).run()


def _finish(path: Path, config: RunConfig, kept: dict[str, Any], journal: Journal, health: Health | None) -> None:
    """Write the status, last of all."""
    best = {"epoch": kept["best"]["epoch"], "value": kept["best"]["value"]}
    status = {"state": "done", "epochs": kept["rows"][-1]["epoch"], "best": best}
    status |= {"seed": journal.seed(config.training.seed), "attempt": journal.attempt, "events": list(journal.events)}
    status |= health.plain if health else {}
    write_json(path / "status.json", status)
    LOGGER.info("Trained; best epoch %s.", best["epoch"], extra={"fields": best})
