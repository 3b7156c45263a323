"""What is decoded: labels of samples, and which samples belong together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.data.circle import Circle
from neurodyn.decode.base import Task


@dataclass(frozen=True)
class Labels:
    """What is decoded: one label per sample, and which samples belong together.

    Parameters
    ----------
    target
        Labels, shape (sample,): numbers, or any values for classification.
    groups
        Trial (or segment) of each sample, shape (sample,).
    times
        Time of each sample, s, shape (sample,).
    task
        "regress", "classify" or "circular".
    name, session, unit, note
        Written into every score; `unit` says what the groups are.
    taken
        What the target was taken for, and why; written before the note.
    circle
        One turn of a circular target.
    course
        Whether they are the course of a behaviour, slow in time as the recording is; segments always are.

    Raises
    ------
    DataError
        If lengths differ, labels are missing, or there is only one value.
    """

    target: np.ndarray
    groups: np.ndarray
    times: np.ndarray
    task: Task
    name: str = "target"
    session: str = ""
    unit: str = "trials"
    note: str = ""
    taken: str = ""
    circle: Circle = Circle()
    course: bool = False

    def __post_init__(self) -> None:
        sizes = {len(self.target), len(self.groups), len(self.times)}
        if len(sizes) != 1 or 0 in sizes:
            raise DataError(
                "Target, trials and times must have one entry per sample.",
                f"Found {len(self.target)}, {len(self.groups)} and {len(self.times)}.",
                "Check where they come from.",
            )
        if self.task != "classify" and not np.isfinite(self.target.astype(float)).all():
            raise DataError(
                f"Target '{self.name}' has missing values.", "Expected finite numbers.", "Drop those samples first."
            )
        on_circle = self.circle.radians(self.target).round(9) if self.task == "circular" else self.target
        if np.unique(on_circle).size < 2:
            raise DataError(
                f"Target '{self.name}' is constant.",
                f"Found only {self.target[0]} in {len(self.target)} samples.",
                "Choose another target, or windows that cover more conditions.",
            )
