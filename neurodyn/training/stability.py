"""When training steps back or starts anew: a journal that survives a kill."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NoReturn, Self

from neurodyn.core.errors import WorkError
from neurodyn.core.files import read_json, write_json
from neurodyn.core.log import LOGGER
from neurodyn.runs.config import TrainingConfig
from neurodyn.training.batches import derive_seed

Row = dict[str, float | int]
Progress = Callable[[Row], None]
Event = dict[str, Any]


class UnstableError(Exception):
    """Training cannot go on as it did; the journal on disk says why and from where."""


@dataclass(frozen=True)
class Journal:
    """What went wrong in a run so far. It decides, with the last checkpoint, how training goes on.

    A step back repeats the epoch from its start at half the learning rate; a restart begins a new attempt with another
    seed. Both do what a resumed run does, so interruptions change nothing.

    Parameters
    ----------
    folder
        The run folder.
    attempt
        0, plus one for every restart.
    events
        In order: `kind` ("step back" or "restart"), `attempt`, `epoch`, `step`, `reason`.
    rows
        Metrics of the attempts given up.
    """

    folder: Path
    attempt: int = 0
    events: tuple[Event, ...] = ()
    rows: tuple[Row, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the journal of a run folder; an empty one where nothing went wrong."""
        path = _path(folder)
        if not path.exists():
            return cls(folder)
        kept = read_json(path)
        return cls(folder, kept["attempt"], tuple(kept["events"]), tuple(kept["rows"]))

    @property
    def step_backs(self) -> int:
        """Steps back in this attempt."""
        return sum(event["kind"] == "step back" and event["attempt"] == self.attempt for event in self.events)

    @property
    def restarts(self) -> list[Event]:
        """Events that ended an attempt."""
        return [event for event in self.events if event["kind"] == "restart"]

    @property
    def scale(self) -> float:
        """What the steps back leave of the learning rate."""
        return 0.5**self.step_backs

    def seed(self, first: int) -> int:
        """Return the seed of this attempt, given that of the first."""
        return derive_seed(first, "attempt", self.attempt) if self.attempt else first

    def step_back(self, epoch: int, step: int, reason: str) -> NoReturn:
        """Record that training must repeat this epoch, and leave it."""
        self._record("step back", epoch, step, reason).write()
        raise UnstableError(reason)

    def restart(self, epoch: int, step: int, reason: str, rows: list[Row]) -> NoReturn:
        """Record that training must start anew, with the metrics of the attempt given up, and leave it."""
        changed = self._record("restart", epoch, step, reason)
        replace(changed, attempt=self.attempt + 1, rows=(*self.rows, *rows)).write()
        raise UnstableError(reason)

    def _record(self, kind: Literal["step back", "restart"], epoch: int, step: int, reason: str) -> Self:
        event = {"kind": kind, "attempt": self.attempt, "epoch": epoch, "step": step, "reason": reason}
        return replace(self, events=(*self.events, event))

    def write(self) -> None:
        """Write the journal atomically."""
        kept = {"attempt": self.attempt, "events": list(self.events), "rows": list(self.rows)}
        write_json(_path(self.folder), kept)

    def require(self, config: TrainingConfig) -> None:
        """Stop when it went wrong more often than allowed.

        Raises
        ------
        WorkError
            Naming the last reason.
        """
        if self.step_backs > config.step_backs:
            raise WorkError(
                f"Training does not become stable: {self.events[-1]['reason']}.",
                f"Stepped back {config.step_backs} times, halving the learning rate each time (training.step_backs).",
                f"Lower the learning rate: --set training.lr={config.lr / 10:.1g} --existing overwrite",
            )
        if self.attempt > config.restarts:
            reasons = "; ".join(f"epoch {event['epoch']}: {event['reason']}" for event in self.restarts)
            raise WorkError(
                f"The model collapsed in {self.attempt} of {self.attempt} attempts (training.restarts).",
                f"Found {reasons}.",
                f"Change its training: --set training.lr={config.lr / 2:.1g} --existing overwrite",
            )

    def tell(self) -> None:
        """Log the last event."""
        event = self.events[-1]
        then = "repeating the epoch at half the learning rate"
        if event["kind"] == "restart":
            then = "starting anew with another seed"
        LOGGER.warning("Epoch %d: %s; %s.", event["epoch"], event["reason"], then, extra={"fields": event})


def _path(folder: Path) -> Path:
    return folder / "checkpoints" / "journal.json"
