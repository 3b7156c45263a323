"""An LSTM that reads each cell's past by itself."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurodyn.backends.base import TRAINING_SEARCH
from neurodyn.backends.batch import Batch
from neurodyn.backends.classification.classifier import Classifier
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.classification import LSTMResponseConfig
from neurodyn.core.search import Range


class LSTMResponse(Classifier):
    """Says from the last state of an LSTM over the cell's source, the cell and the stimulus: log-odds = V relu(U [h, c, s]).

    One network for all cells. As a baseline in Calcagno et al. 2024, where a convolution over neighbouring cells in the
    list stands in place of V relu(U ·), which means nothing in a list without order.
    Hochreiter & Schmidhuber 1997, Neural Comput. 9:1735.
    """

    Config = LSTMResponseConfig
    SEARCH = TRAINING_SEARCH | {
        "model.hidden": Range(32, 256, log=True),
        "model.layers": Range(1, 3),
    }
    citation = "Hochreiter S., Schmidhuber J. (1997). Long short-term memory. Neural Comput. 9:1735."
    config: LSTMResponseConfig

    def __init__(self, config: LSTMResponseConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self.lstm = nn.LSTM(1, config.hidden, config.layers, batch_first=True)
        self.cell = nn.Embedding(self.entries, config.hidden)
        self.stimulus = nn.Linear(self.told, config.hidden) if self.told else None
        joined = config.hidden * (3 if self.told else 2)
        self.read = nn.Sequential(nn.Linear(joined, config.hidden), nn.ReLU(), nn.Linear(config.hidden, 1))

    def log_odds(self, source: Float[Tensor, "batch source entry"], batch: Batch) -> Float[Tensor, "batch entry"]:
        """Read every cell's past."""
        batches, _, cells = source.shape
        states, _ = self.lstm(source.transpose(1, 2).flatten(0, 1)[..., None])
        parts = [states[:, -1].unflatten(0, (batches, cells)), self.cell.weight.expand(batches, -1, -1)]
        if self.stimulus is not None and batch.stimulus is not None:
            parts.append(self.stimulus(batch.stimulus)[:, None].expand(-1, cells, -1))
        return self.read(torch.cat(parts, dim=-1))[..., 0]
