"""What all models share that see frames entry by entry, in units of their spread."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from neurodyn.backends.base import Backend
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.base import FrameConfig
from neurodyn.nn.frames import Frames


class Framed(Backend):
    """A model of standardised frames: z = (x − m) / s, with m and s of the training windows.

    Attributes
    ----------
    IMAGE
        Whether it sees frames as pictures, or as rows of the entries that are data.
    """

    IMAGE: ClassVar[bool] = True
    config: FrameConfig

    def __init__(self, config: FrameConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self.frames = Frames(layout.brain, self.IMAGE)

    def prepare(self, frames: Iterable[np.ndarray]) -> None:
        """Fit mean and standard deviation."""
        self.frames.fit(frames, self.config.normalise)
