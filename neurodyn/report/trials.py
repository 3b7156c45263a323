"""Mean responses of a cell to the stimuli of a recording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from neurodyn.data.aligned import frames_around
from neurodyn.data.recording import Recording
from neurodyn.report.style import GREY, ORANGE, SKY

LONGEST, BEFORE = 6.0, 1.0
CONDITIONS = (2, 24)


@dataclass(frozen=True)
class Trials:
    """When stimuli came, and which.

    Parameters
    ----------
    start
        Onsets, s, shape (event,).
    length
        Median duration of a stimulus, s.
    condition
        Number of each event's condition, shape (event,); zeros where there is one.
    column
        What tells the conditions apart; "" for nothing.
    before
        Time shown before an onset, s.
    """

    start: np.ndarray
    length: float
    condition: np.ndarray
    column: str
    before: float = BEFORE

    @property
    def words(self) -> str:
        """What is drawn, for a caption."""
        best = f" (grey) and over those of its strongest {self.column} (orange)" if self.column else ""
        return f"all {self.start.size} stimuli{best}"

    def draw(self, axes: Axes, values: np.ndarray, time: np.ndarray) -> None:
        """Draw the means of a trace, shape (time,), over trials: of all, and of the condition with the strongest."""
        around = frames_around(time, self.start, self.before, self.length + self.before)
        at, each = around.offset, around.of(values)
        inside = np.isfinite(each).all(axis=1)
        if not inside.any():
            return
        axes.axvspan(0, self.length, color=SKY, alpha=0.25, lw=0)
        axes.plot(at, each[inside].mean(axis=0), color=GREY, lw=0.7)
        if self.column:
            kinds = np.unique(self.condition[inside])
            means = np.stack([each[inside & (self.condition == kind)].mean(axis=0) for kind in kinds])
            during, quiet = (at >= 0) & (at <= self.length), at < 0
            rise = means[:, during].mean(axis=1) - means[:, quiet].mean(axis=1)
            axes.plot(at, means[int(rise.argmax())], color=ORANGE, lw=0.9)


def trials_of(recording: Recording) -> Trials | None:
    """Return the trials of a recording; None where it has no stimuli."""
    table = recording.table("stimulus")
    if table is None or not table.sizes.get("event", 0):
        return None
    start = table["start"].values.astype(float)
    length = float(np.clip(np.median(table["stop"].values - start), 0.1, LONGEST))
    for name, column in table.data_vars.items():
        if name in ("start", "stop") or column.dims != ("event",):
            continue
        kinds, condition, counts = np.unique(
            np.array(column.values.tolist()), return_inverse=True, return_counts=True
        )  # numpy cannot sort the strings a store gives back
        if CONDITIONS[0] <= kinds.size <= CONDITIONS[1] and counts.min() >= 2:
            return Trials(start, length, condition, str(name))
    return Trials(start, length, np.zeros(start.size, dtype=int), "")
