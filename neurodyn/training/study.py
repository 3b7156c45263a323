"""A search that any number of processes share through the file system: an Optuna study in a journal."""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import optuna
import yaml
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from neurodyn.core.config import load_yaml
from neurodyn.core.errors import ConfigError
from neurodyn.core.files import atomic, clear_partials, is_locked, lock_of, locked, remove
from neurodyn.core.search import Choice, Space
from neurodyn.runs.folder import Existing, differences
from neurodyn.training.space import Search

NAME = "neurodyn"
MADE_HERE = ("study.yaml", "journal.jsonl", "trials.csv", "best.yaml", "trials")
DRAWS = 20
DEATHS = 5


@dataclass(frozen=True)
class Trial:
    """One configuration and what became of it.

    Parameters
    ----------
    number
        0 for the configuration to start from, then in the order of their beginnings.
    state
        "complete", "pruned" (stopped early), "fail" or "running".
    value
        Validation loss, that of the best epoch; a pruned trial's is that of its last.
    parameters
        By dotted key.
    seconds
        From its first start to its end; None while it runs.
    epochs
        Epochs trained, of the last stage.
    reason
        Why it failed.
    """

    number: int
    state: str
    value: float | None
    parameters: dict[str, Any]
    seconds: float | None
    epochs: int
    reason: str = ""


@dataclass(frozen=True)
class Study:
    """The trials of a search, and whose turn it is.

    Every trial is locked by the process that runs it. The system releases the lock when that process dies, however it
    dies, so a trial that is running and not locked has lost its worker: the next process takes it up, and its training
    goes on from its last epoch. Who chooses or takes up a trial holds the lock of the study. The same kind of lock
    guards the journal: a killed writer blocks nobody, and a line it left half written is cut off by the next one.
    Processes on several machines need a file system that passes locks between them, as NFS 4 does. A heartbeat is not
    needed, which Optuna keeps in databases only; nor are its own lock files, which a killed holder leaves behind for
    half a minute.

    Parameters
    ----------
    folder
        Where it is.
    search
        What is searched.
    trials
        How many trials there are to be.
    """

    folder: Path
    search: Search
    trials: int

    def claim(self, wanted: dict[str, Any], existing: Existing) -> bool:
        """Begin the study, or join the one that is there; replace another one if told so, or leave it as it is.

        Returns
        -------
        bool
            Whether the folder holds this study now.

        Raises
        ------
        ConfigError
            If the folder holds another study, or something that is no study, or is in use and to be replaced.
        """
        with self.locked():
            for name in MADE_HERE:
                clear_partials(self.folder / name)
            path = self.folder / "study.yaml"
            found = load_yaml(path).values if path.exists() else None
            if found == wanted or (found is not None and existing == "skip"):
                return found == wanted
            if found is None:
                self._require_empty()
            elif existing == "overwrite":
                self._clear()
            else:
                raise ConfigError(
                    f"{self.folder} holds a study of another configuration or other data.",
                    f"Different: {', '.join(sorted(differences(found, wanted)))}.",
                    "Choose another folder with -o DIR, or replace it: --existing overwrite",
                )
            with atomic(path) as temporary:
                temporary.write_text(yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True), encoding="utf-8")
        return True

    def locked(self) -> contextlib.AbstractContextManager[int]:
        """Hold the lock of the study."""
        return locked(self.folder / "study")

    def path(self, number: int) -> Path:
        """Return the folder in which a trial is trained; it goes when the trial ends."""
        return _folder_of(self.folder, number)

    @contextlib.contextmanager
    def next(self) -> Iterator[FrozenTrial | None]:
        """Hold the next trial to run: one that has lost its worker, or a new one; None if there is none now."""
        with contextlib.ExitStack() as held:
            with self.locked():
                trial = self._orphan(held) or self._new(held)
            yield trial

    @property
    def all(self) -> list[FrozenTrial]:
        """Every trial so far."""
        return self.journal.get_trials(deepcopy=False)

    @property
    def finished(self) -> bool:
        """Whether all trials have ended."""
        trials = self.all
        return len(trials) >= self.trials and all(trial.state.is_finished() for trial in trials)

    @cached_property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The space as Optuna has it."""
        return {key: _distribution(space) for key, space in self.search.space.items()}

    @cached_property
    def storage(self) -> JournalStorage:
        """The journal."""
        path = self.folder / "journal.jsonl"
        return JournalStorage(JournalFileBackend(str(path), cast(Any, JournalLock(path))))

    @cached_property
    def journal(self) -> optuna.Study:
        """The study in the journal."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        settings = self.search.settings
        pruner = optuna.pruners.NopPruner()
        if settings.prune:
            pruner = optuna.pruners.MedianPruner(settings.prune_after, settings.prune_after)
        if NAME in optuna.get_all_study_names(self.storage):  # to create it again would add a line to the journal
            return optuna.load_study(study_name=NAME, storage=self.storage, pruner=pruner)
        return optuna.create_study(study_name=NAME, storage=self.storage, load_if_exists=True, pruner=pruner)

    def chosen(self, params: dict[str, Any]) -> dict[str, Any]:
        """Return values by dotted key from the journal's."""
        return {key: decoded(self.search.space[key], value) for key, value in params.items()}

    def report(self, trial: FrozenTrial, epoch: int, value: float) -> bool:
        """Keep a trial's validation of an epoch; return whether it should be stopped."""
        number = self._id(trial.number)
        self.storage.set_trial_intermediate_value(number, epoch, value)
        return self.journal.pruner.prune(self.journal, self.storage.get_trial(number))

    def end(self, trial: FrozenTrial, state: TrialState, value: float | None = None, reason: str = "") -> None:
        """Say what became of a trial, and remove what it had on disk."""
        if reason:
            self.storage.set_trial_user_attr(self._id(trial.number), "reason", reason)
        self.journal.tell(trial.number, value, state)
        remove(self.path(trial.number))

    def tidy(self) -> None:
        """Remove the trials' folder where nothing is in it; under the study's lock."""
        folder = self.folder / "trials"
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

    def _id(self, number: int) -> int:
        """Return the journal's own number of a trial."""
        study = self.storage.get_study_id_from_name(self.journal.study_name)
        return self.storage.get_trial_id_from_study_id_trial_number(study, number)

    def _orphan(self, held: contextlib.ExitStack) -> FrozenTrial | None:
        """Take up a trial that has lost its worker, and tidy up after those that lost it when they had ended."""
        for trial in self.all:
            path = self.path(trial.number)
            if trial.state.is_finished() and not (path.exists() or lock_of(path).exists()):
                continue
            with contextlib.ExitStack() as mine:
                if not _free(path, mine):
                    continue
                now = self.storage.get_trial(self._id(trial.number))
                if now.state.is_finished():
                    remove(path)
                elif self._given_up(now):
                    continue
                else:
                    held.enter_context(mine.pop_all())
                    return now
        return None

    def _given_up(self, trial: FrozenTrial) -> bool:
        """Count the worker that a trial has lost; end it if it lost too many at the same epoch."""
        deaths = [*trial.user_attrs.get("deaths", []), trial.last_step or 0]
        self.storage.set_trial_user_attr(self._id(trial.number), "deaths", deaths)
        if deaths.count(deaths[-1]) <= DEATHS:
            return False
        self.end(trial, TrialState.FAIL, reason=f"its worker died {DEATHS + 1} times at epoch {deaths[-1]}")
        return True

    def _new(self, held: contextlib.ExitStack) -> FrozenTrial | None:
        trials = self.all
        if len(trials) >= self.trials:
            return None
        start = {key: encoded(value) for key, value in self.search.start.items()}
        params = self._draw(trials) if trials else start
        held.enter_context(locked(self.path(len(trials))))
        template = create_trial(state=TrialState.RUNNING, params=params, distributions=self.distributions)
        study = self.storage.get_study_id_from_name(self.journal.study_name)
        return self.storage.get_trial(self.storage.create_new_trial(study, template_trial=template))

    def _draw(self, trials: list[FrozenTrial]) -> dict[str, Any]:
        """Draw the next configuration: it follows from the seed, its number and the trials before it alone."""
        tried = [trial.params for trial in trials]
        for attempt in range(DRAWS):
            params = self._sample(trials, attempt)
            if params not in tried and self._valid(params):
                return params
        return self._sample(trials, 0)

    def _sample(self, trials: list[FrozenTrial], attempt: int) -> dict[str, Any]:
        settings = self.search.settings
        seed = np.random.SeedSequence([settings.seed, len(trials), attempt]).generate_state(1)[0]
        sampler = optuna.samplers.TPESampler(seed=int(seed), n_startup_trials=settings.startup)
        memory = optuna.create_study(sampler=sampler)
        memory.add_trials(trials)
        return memory.ask(self.distributions).params

    def _valid(self, params: dict[str, Any]) -> bool:
        try:
            self.search.with_values(self.chosen(params), "a trial")
        except ConfigError:  # values that do not go together, as heads that do not divide a width
            return False
        return True

    def _require_empty(self) -> None:
        strangers = [path.name for path in self.folder.iterdir() if not path.name.startswith(".")]
        if strangers:
            raise ConfigError(
                f"{self.folder} is no folder of a study.",
                f"Found {', '.join(sorted(strangers)[:3])} and no study.yaml.",
                "Choose another folder: -o DIR",
            )

    def _clear(self) -> None:
        """Remove everything that a study makes; refuse while one of its trials is run."""
        for lock in (self.folder / "trials").glob(".*.lock"):
            with locked(lock.with_name(lock.name[1:].removesuffix(".lock")), wait=0):
                pass
        for name in MADE_HERE:
            remove(self.folder / name)


@dataclass
class JournalLock:
    """The only writer's lock on a journal, released when its holder dies; taking it mends a line half written.

    Parameters
    ----------
    path
        The journal.
    """

    path: Path
    held: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def acquire(self) -> bool:
        """Wait for the lock."""
        self.held.enter_context(locked(self.path))
        with self.path.open("r+b") as handle:
            size = handle.seek(0, os.SEEK_END)
            handle.seek(max(0, size - 1))
            if size and handle.read(1) != b"\n":
                handle.truncate(self.path.read_bytes().rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        """Give it back."""
        self.held.close()


def _folder_of(study: Path, number: int) -> Path:
    return study / "trials" / f"{number:05d}"


def _free(path: Path, held: contextlib.ExitStack) -> bool:
    """Take a lock if nobody has it."""
    try:
        held.enter_context(locked(path, wait=0))
    except ConfigError:
        return False
    return True


def _distribution(space: Space) -> BaseDistribution:
    if isinstance(space, Choice):
        return CategoricalDistribution([encoded(value) for value in space.values])
    if space.whole:
        return IntDistribution(int(space.low), int(space.high), log=space.log)
    return FloatDistribution(space.low, space.high, log=space.log)


def encoded(value: Any) -> Any:
    """Return a value as a journal can keep it: a list as JSON."""
    return json.dumps(value) if isinstance(value, list | tuple | dict) else value


def decoded(space: Space, value: Any) -> Any:
    """Return a parameter's value from the journal's."""
    if not isinstance(space, Choice):
        return value
    return next(
        own for own in space.values if encoded(own) == value and isinstance(own, bool) == isinstance(value, bool)
    )


def read_trials(study: Study) -> list[Trial]:
    """Return every trial in order."""
    return [_trial(trial, study.chosen(trial.params)) for trial in study.all]


def _trial(trial: FrozenTrial, parameters: dict[str, Any]) -> Trial:
    lasted = trial.duration.total_seconds() if trial.duration else None
    reason = trial.user_attrs.get("reason", "")
    return Trial(trial.number, trial.state.name.lower(), trial.value, parameters, lasted, trial.last_step or 0, reason)


def glance(folder: Path) -> list[Trial]:
    """Return every trial in order as far as its journal tells, without what was searched; "interrupted" has no worker."""
    path = folder / "journal.jsonl"
    if not path.exists():
        return []
    storage = JournalStorage(JournalFileBackend(str(path)))
    names = optuna.get_all_study_names(storage)
    trials = storage.get_all_trials(storage.get_study_id_from_name(NAME)) if NAME in names else []
    found = [_trial(trial, trial.params) for trial in trials]
    lost = [one.state == "running" and not is_locked(_folder_of(folder, one.number)) for one in found]
    return [replace(one, state="interrupted") if gone else one for one, gone in zip(found, lost, strict=True)]


def best_of(trials: list[Trial]) -> Trial | None:
    """Return the complete trial of the smallest value, the first of several."""
    complete = [trial for trial in trials if trial.state == "complete" and trial.value is not None]
    return min(complete, key=lambda trial: (trial.value, trial.number), default=None)


def write_trials(path: Path, trials: list[Trial], keys: list[str]) -> None:
    """Write one row per trial, atomically."""
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["number", "state", "value", *keys, "seconds", "epochs", "reason"])
        for trial in trials:
            values = [encoded(trial.parameters[key]) for key in keys]
            writer.writerow(
                [trial.number, trial.state, trial.value, *values, trial.seconds, trial.epochs, trial.reason]
            )
