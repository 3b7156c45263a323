"""`tune`: a configuration and recordings in, a better configuration out, by any number of processes and interruptions."""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import torch
import yaml
from optuna.trial import FrozenTrial, TrialState

from neurodyn.backends import BACKENDS
from neurodyn.backends.layout import Layout
from neurodyn.core.errors import ConfigError, TerminatedError, WorkError
from neurodyn.core.files import atomic, make_folder
from neurodyn.core.log import LOGGER
from neurodyn.core.search import plain
from neurodyn.data.windows import Windows
from neurodyn.runs.folder import Existing, RunFolder
from neurodyn.training.config import backend_config
from neurodyn.training.devices import Devices, choose_devices, reproducible
from neurodyn.training.fit import train_parts
from neurodyn.training.health import measurable
from neurodyn.training.opening import cut_parts, labelled, open_saved, sources
from neurodyn.training.space import Search
from neurodyn.training.stability import Row
from neurodyn.training.study import Study, Trial, best_of, read_trials, write_trials

POLL_SECONDS = 0.5
BEST = "best.yaml"
Hear = Callable[[Trial, list[Trial]], None]


@dataclass(frozen=True)
class Tuned:
    """What a search found.

    Parameters
    ----------
    path
        The best configuration, a preset.
    trials
        All of them; none where another study was left as it is.
    """

    path: Path
    trials: list[Trial]

    @property
    def best(self) -> Trial | None:
        """The trial of the smallest validation loss."""
        return best_of(self.trials)

    @property
    def start(self) -> Trial | None:
        """The trial of the configuration that the search started from."""
        return self.trials[0] if self.trials else None


@dataclass(frozen=True)
class Worker:
    """One process of a search.

    Parameters
    ----------
    study
        Which it works on.
    recordings
        Their paths.
    devices
        Where it trains.
    parent
        Process without which it ends; None for one of its own.
    """

    study: Study
    recordings: tuple[Path, ...]
    devices: Devices
    parent: int | None = None

    def work(self, parts: dict[str, Windows], hear: Hear | None = None) -> None:
        """Run trials until all have ended, here or elsewhere."""
        told = {trial.number for trial in self.study.all if trial.state.is_finished()}
        while not self.study.finished:
            with self.study.next() as trial:
                if trial is not None:
                    self._run(trial, parts)
                    with self.study.locked():
                        write_results(self.study, self.recordings)
            _tell(self.study, told, hear)
            if trial is None and not self.study.finished:
                self._stay()
                time.sleep(POLL_SECONDS)
        _tell(self.study, told, hear)

    def _run(self, trial: FrozenTrial, parts: dict[str, Windows]) -> None:
        """Train a trial's configuration; one that cannot be trained has failed, and the search goes on."""
        study, folder = self.study, self.study.path(trial.number)
        make_folder(folder / "checkpoints")

        def hear(row: Row) -> None:
            self._stay()
            if "stages_left" in row:
                return
            step = int(row["epoch"] + row["attempt"] * row["epochs"])  # a restarted training is no later epoch of it
            hopeless = study.report(trial, step, row.get("valid_hidden", row["valid_loss"]))
            if hopeless and row["epoch"] < row["epochs"] and not study.search.by_cells:
                raise optuna.TrialPruned

        try:
            config = study.search.with_values(study.chosen(trial.params), f"trial {trial.number}")
            with reproducible(config.training.threads, self.devices), _hushed():
                train_parts(folder, config, parts, self.devices, hear)
            study.end(trial, TrialState.COMPLETE, _value(study.search, RunFolder(folder)))
        except optuna.TrialPruned:
            study.end(trial, TrialState.PRUNED)
        except (ConfigError, WorkError, MemoryError, torch.OutOfMemoryError) as error:
            study.end(trial, TrialState.FAIL, reason=" ".join(str(error).split()) or type(error).__name__)

    def _stay(self) -> None:
        """End where the process that this one belongs to has ended."""
        if self.parent is not None and os.getppid() != self.parent:
            raise TerminatedError


def _value(search: Search, trained: RunFolder) -> float:
    """Return what trials are compared by."""
    if not search.by_cells:
        return trained.status["best"]["value"]
    if trained.health is None:
        raise WorkError("No hidden cell could be scored.", "None changes in validation windows.", "Give them more.")
    return 1.0 - trained.health.r2


def tune(
    search: Search,
    recordings: Sequence[Path],
    out: Path,
    *,
    trials: int = 30,
    jobs: int = 1,
    gpu: str = "auto",
    existing: Existing = "error",
    hear: Hear | None = None,
) -> Tuned:
    """Search the configuration of the smallest validation loss, or what else `tune.objective` names.

    Trial 0 is the configuration to start from. Test windows are never read. The same call joins a study that other
    processes work on, on this machine or on others that see the folder, and goes on with one that was interrupted. A
    study of one process is repeatable: every trial follows from the seed, its number and the trials before it.

    Parameters
    ----------
    search
        What is searched, as `load_search` gives it.
    recordings
        Recordings on disk.
    out
        The study's folder.
    trials
        How many there are to be in all, whoever runs them.
    jobs
        Processes to run here.
    gpu
        "auto", "none", or indices of visible GPUs, which take turns among the processes.
    existing
        What to do with another study in the folder.
    hear
        Called with every trial that has ended, here or elsewhere, and all trials.

    Raises
    ------
    ConfigError
        If the folder holds another study, there is nothing to validate on, or the configuration does not fit the data.
    DataError
        If a recording cannot be read.
    WorkError
        If no trial could be completed.
    """
    study = Study(Path(out), search, trials)
    devices = choose_devices(gpu)
    opened = [open_saved(path) for path in recordings]
    parts = _parts(search, opened)
    wanted = {"config": search.config.model_dump(mode="json"), "recordings": sources(opened)}
    wanted |= {"space": {key: space.plain for key, space in search.space.items()}}
    wanted |= {"settings": search.settings.model_dump(mode="json", exclude={"space"})}
    if not study.claim(wanted, existing):
        return Tuned(study.folder / BEST, [])
    workers = [Worker(study, tuple(recordings), _turn(devices, number)) for number in range(jobs)]
    with _beside(workers[1:]):
        workers[0].work(parts, hear)
    with study.locked():
        study.tidy()
        return write_results(study, tuple(recordings))


def check(search: Search, recordings: Sequence[Path], *, gpu: str = "auto") -> None:
    """Refuse what `tune` would refuse before its first trial; nothing is written."""
    choose_devices(gpu)
    _parts(search, [open_saved(path) for path in recordings])


def _parts(search: Search, opened: list[Any]) -> dict[str, Windows]:
    """Return the windows that train and validate; refuse a configuration that does not fit them."""
    config = search.config
    parts = labelled(cut_parts(config, opened, without="test"))
    if not len(parts["valid"]):
        raise ConfigError(
            "There are no validation windows to compare trials by.",
            f"Found {len(parts['train'])} training windows.",
            "Give validation a share: --set windows.fractions=[0.6,0.1,0.3]",
        )
    backend = BACKENDS.get(config.backend)(backend_config(config), Layout.of(parts["train"]))
    if search.by_cells and not measurable(backend, parts["valid"]):
        raise ConfigError(
            f"{config.backend} cannot be compared by hidden cells here.",
            f"Found windows of shape {parts['valid'].space}; expected 3 to 1000 cells, and a model that tells them from others.",
            "Compare by the loss: --set tune.objective=loss",
        )
    return parts


def _turn(devices: Devices, number: int) -> Devices:
    return Devices((devices.gpus[number % len(devices.gpus)],)) if devices.gpus else devices


@contextmanager
def _beside(workers: list[Worker]) -> Iterator[None]:
    """Have other processes work, too; they end with this one."""
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_join, args=(replace(worker, parent=os.getpid()),)) for worker in workers]
    for process in processes:
        process.start()
    try:
        yield
        for process in processes:
            process.join()
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _join(worker: Worker) -> None:
    """Work in a process of its own; an interrupt is the parent's to tell of."""
    try:
        worker.work(_parts(worker.study.search, [open_saved(path) for path in worker.recordings]))
    except KeyboardInterrupt:
        return


def _tell(study: Study, told: set[int], hear: Hear | None) -> None:
    """Tell of every trial that has ended and was not told of."""
    trials = read_trials(study)
    for trial in trials:
        if trial.state != "running" and trial.number not in told:
            told.add(trial.number)
            if hear is not None:
                hear(trial, trials)


@contextmanager
def _hushed() -> Iterator[None]:
    """Keep the epochs of a trial out of the log."""
    level = LOGGER.level
    LOGGER.setLevel(logging.WARNING)
    try:
        yield
    finally:
        LOGGER.setLevel(level)


def write_results(study: Study, recordings: tuple[Path, ...]) -> Tuned:
    """Write trials.csv and, once a trial is complete, best.yaml.

    Raises
    ------
    WorkError
        If all trials have ended and none is complete.
    """
    trials = read_trials(study)
    write_trials(study.folder / "trials.csv", trials, list(study.search.space))
    found, path = Tuned(study.folder / BEST, trials), study.folder / BEST
    if found.best is not None:
        with atomic(path) as temporary:
            temporary.write_text(_preset(study, found, found.best, recordings), encoding="utf-8")
    elif study.finished:
        raise WorkError(
            "No trial could be completed.",
            f"Found {len(trials)} that failed, the first one: {trials[0].reason or 'stopped early'}.",
            f"Read {study.folder / 'trials.csv'}, then change model, space or data.",
        )
    return found


def _preset(study: Study, found: Tuned, best: Trial, recordings: tuple[Path, ...]) -> str:
    """Return the best configuration as a preset, with how it was found."""
    search = study.search
    values = search.values(best.parameters, f"trial {best.number}").values | {"name": f"{search.config.name}-tuned"}
    start = found.start.value if found.start and found.start.state == "complete" else None
    ended = sum(trial.state != "running" for trial in found.trials)
    names = ", ".join(path.name for path in recordings)
    lines = [
        f"Found by neurodyn tune, from {search.preset}: trial {best.number} of {ended}, seed {search.settings.seed}, on {names}.",
        f"Validation {search.measure} {best.value:.6g}; that of the configuration it started from, trial 0, "
        + (f"{start:.6g}." if start is not None else "is not known."),
        "The smallest of many is too good: what it is worth, the test windows say, which no trial has seen.",
    ]
    return "".join(f"# {line}\n" for line in lines) + yaml.safe_dump(plain(values), sort_keys=False, allow_unicode=True)
