"""The learning rate of every step."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from neurodyn.runs.config import TrainingConfig

NEW_SHARE = 0.7


def share_of_peak(step: int, steps: int, config: TrainingConfig) -> float:
    """Return the learning rate of a step as a share of its peak: linear warm-up, then cosine to 0 or constant."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    if config.schedule != "cosine":
        return 1.0
    done = (step - config.warmup) / max(1, steps - config.warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


@dataclass
class Plateau:
    """Cuts the learning rate when the smoothed training loss has not fallen for more than some epochs.

    The loss is smoothed as 0.3 × before + 0.7 × now. The smallest value is forgotten after each cut, because a loss
    whose weights still grow may never come back to where it was.

    Parameters
    ----------
    scale
        What all cuts so far leave of the learning rate.
    smoothed
        The smoothed loss; None before the first epoch.
    best
        Its smallest value since the last cut.
    stale
        Epochs since then.
    """

    scale: float = 1.0
    smoothed: float | None = None
    best: float = math.inf
    stale: int = 0

    def add(self, loss: float, config: TrainingConfig) -> None:
        """Take in an epoch's training loss."""
        before = loss if self.smoothed is None else self.smoothed
        self.smoothed = (1 - NEW_SHARE) * before + NEW_SHARE * loss
        self.stale = 0 if self.smoothed < self.best else self.stale + 1
        self.best = min(self.best, self.smoothed)
        if self.stale > config.plateau_patience:
            floor = min(self.scale, config.min_lr / config.lr)
            self.scale = max(floor, self.scale * config.plateau_factor)
            self.best, self.stale = math.inf, 0

    def state(self) -> dict[str, float | int | None]:
        """Return what a checkpoint keeps; `Plateau(**state)` takes it up again."""
        return asdict(self)
