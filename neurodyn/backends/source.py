"""What all models share that read the frames before a horizon."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float
from torch import Tensor

from neurodyn.backends.base import Backend
from neurodyn.backends.batch import Batch
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.base import SourceConfig
from neurodyn.nn.frames import Frames
from neurodyn.nn.interpolation import hold


class FromSource(Backend):
    """Reads the source, the frames before the horizon, and what is told of the stimulus.

    z = (x − m) / s per entry, with m and s of the training windows. An entry that is not visible in a source frame takes
    the last visible value, its mean where there is none.

    Raises
    ------
    ConfigError
        If windows have no horizon.
    """

    config: SourceConfig

    def __init__(self, config: SourceConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self.frames = Frames(layout.brain, image=False)

    @property
    def entries(self) -> int:
        """Entries of a frame that are data."""
        return self.frames.shape[0]

    @property
    def source(self) -> int:
        """Frames before the horizon."""
        return self.layout.frames - self.layout.horizon

    @property
    def told(self) -> int:
        """Numbers that say what the stimulus is; 0 where nothing is told."""
        return self.layout.code.size if self.layout.code else 0

    def prepare(self, frames: Iterable[np.ndarray]) -> None:
        """Fit mean and standard deviation."""
        self.frames.fit(frames, self.config.normalise)

    def _source(self, batch: Batch) -> Float[Tensor, "batch source entry"]:
        x, t = batch.x[:, : self.source], batch.t[:, : self.source]
        seen = (batch.visible & batch.valid)[:, : self.source]
        return hold(self.frames.standardised(x, seen), t, self.frames.mask(seen), t)
