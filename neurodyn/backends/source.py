"""What all models share that read the frames before a horizon."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from neurodyn.backends.batch import Batch
from neurodyn.backends.framed import Framed
from neurodyn.backends.settings.base import SourceConfig
from neurodyn.nn.interpolation import hold


class FromSource(Framed):
    """Reads the source, the frames before the horizon, and what is told of the stimulus.

    z = (x − m) / s per entry, with m and s of the training windows. An entry that is not visible in a source frame takes
    the last visible value, its mean where there is none.

    Raises
    ------
    ConfigError
        If windows have no horizon.
    """

    IMAGE = False
    config: SourceConfig

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

    def _source(self, batch: Batch) -> Float[Tensor, "batch source entry"]:
        x, t = batch.x[:, : self.source], batch.t[:, : self.source]
        seen = (batch.visible & batch.valid)[:, : self.source]
        return hold(self.frames.standardised(x, seen), t, self.frames.mask(seen), t)
