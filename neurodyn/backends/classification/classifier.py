"""What all classifiers of responses share: what they read, and the cross-entropy of their answers."""

from __future__ import annotations

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from neurodyn.backends.batch import Batch, Prediction
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.classification import ClassifierConfig
from neurodyn.backends.source import FromSource
from neurodyn.nn.parts import counted, mean_where


class Classifier(FromSource):
    """Says of every cell how likely it responds in the horizon, from the frames before it.

    Loss: cross-entropy over the cells whose response is known, `responses`. As a forecast of frames, which it is not, the
    last values are held.

    Raises
    ------
    ConfigError
        If nothing says which cells respond.
    """

    Config = ClassifierConfig
    config: ClassifierConfig

    def __init__(self, config: ClassifierConfig, layout: Layout) -> None:
        super().__init__(config, layout)

    def forward(self, batch: Batch, *, attention: bool = False) -> Prediction:
        """Return the log-odds of responses."""
        source = self._source(batch)
        held = torch.cat([source, source[:, -1:].expand(-1, self.layout.horizon, -1)], dim=1)
        odds = self.frames.cells.scatter(self.log_odds(source, batch)[None])[:, 0]
        return Prediction(mean=self.frames.restored(held), logits=odds)

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return `responses`."""
        odds = self.log_odds(self._source(batch), batch)
        return {"responses": cross_entropy(odds, self._responses(batch), self.config.balance)}

    @abstractmethod
    def log_odds(self, source: Float[Tensor, "batch source entry"], batch: Batch) -> Float[Tensor, "batch entry"]:
        """Answer for every cell; of the batch, only `t`, `session`, `stimulus` and `condition` may be used."""

    def _responses(self, batch: Batch) -> Float[Tensor, "batch entry"]:
        if batch.responses is None:
            raise ValueError("a batch without responses")
        return batch.responses.flatten(1)[:, self.frames.cells.brain]


def cross_entropy(
    odds: Float[Tensor, "*shape"], responses: Float[Tensor, "*shape"], balance: bool
) -> Float[Tensor, ""]:
    """Return the mean of −log p of what was, NaN left out; with `balance`, of the means of both answers."""
    known = torch.isfinite(responses)
    answer = responses.nan_to_num()
    error = functional.binary_cross_entropy_with_logits(odds, answer, reduction="none")
    if not balance:
        return mean_where(error, known)
    sides = [known & (answer == side) for side in (0, 1)]
    there = sum(counted(side).clamp(max=1) for side in sides)
    return torch.stack([mean_where(error, side) for side in sides]).sum() / torch.as_tensor(there).clamp(min=1)
