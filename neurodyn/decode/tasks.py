"""Classes, a quantity or a circle: what a target is, by its name and its values, and why, in words."""

from __future__ import annotations

from dataclasses import dataclass

from neurodyn.core.errors import ConfigError
from neurodyn.data.circle import Circle
from neurodyn.data.columns import Column, Kind, circle_of, is_angle, meaning_of
from neurodyn.decode import DECODERS
from neurodyn.decode.base import Task
from neurodyn.decode.settings import DecodeConfig

DEFAULTS: dict[Task, str] = {"regress": "ridge", "classify": "lda", "circular": "ridge"}

TASK_OF: dict[Kind, Task] = {"class": "classify", "quantity": "regress", "angle": "circular"}
TASKS: tuple[Task, ...] = ("regress", "classify", "circular")


@dataclass(frozen=True)
class Choice:
    """What kind of prediction a target asks for.

    Parameters
    ----------
    task
        "regress", "classify" or "circular".
    why
        What its values are, in words.
    circle
        One turn, of a circular target.
    """

    task: Task
    why: str
    circle: Circle = Circle()

    def sentence(self, target: str, config: DecodeConfig, numeric: bool) -> str:
        """Say what was taken and why, and how another is taken."""
        words = {"regress": "a quantity", "classify": "classes"}
        what = words.get(self.task) or f"a circle of {self.circle.degrees:g} degrees"
        said = f"{target}: {self.why}: {what} ({default_decoder(config, self.task)})."
        other: Task = "regress" if self.task == "classify" else "classify"
        able = config.decoder is None or other in DECODERS.get(config.decoder).tasks
        how = f"--set task={other}" if able else f"--decoder {DEFAULTS[other]}"
        return f"{said} As {words[other]}: {how}" if numeric else said


def default_decoder(config: DecodeConfig, task: Task) -> str:
    """Return the decoder asked for, or the one that suits the task."""
    return config.decoder or ("knn" if config.protocol == "paper" else DEFAULTS[task])


def choose_task(column: Column, config: DecodeConfig) -> Choice:
    """Decide what a target is; what the configuration asks for comes first, then name and values.

    Raises
    ------
    ConfigError
        If numbers are asked for where there are names, or a circle whose period nobody knows.
    """
    meant = meaning_of(column, config.period)
    found = Choice(TASK_OF[meant.kind], meant.why, meant.circle)
    wanted: Task | None = config.task
    if wanted is None and config.decoder is not None and found.task not in (able := DECODERS.get(config.decoder).tasks):
        wanted = next(task for task in TASKS if task in able)
    if wanted is None or wanted == found.task:
        return found
    if not column.numeric:
        raise ConfigError(
            f"'{column.name}' has names, not numbers.",
            f"Found {found.why}; asked for: {wanted}.",
            "Take them as classes: --decoder lda --set task=classify",
        )
    if wanted != "circular":
        return Choice(wanted, found.why)
    if not is_angle(column):
        raise ConfigError(
            f"'{column.name}' has no known period.",
            f"Found {found.why}; a circle needs the value at which it begins again.",
            "Say it: --set period=360",
        )
    return Choice("circular", found.why, circle_of(column))
