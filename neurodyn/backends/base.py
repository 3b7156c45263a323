"""The contract of a model back-end: a Batch goes in, a Prediction comes out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from neurodyn.backends.batch import Batch, Prediction
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.base import BackendConfig
from neurodyn.core.errors import ConfigError
from neurodyn.core.search import Choice, Range, Space

CAPABILITIES = frozenset(
    {
        "attention",
        "blind",
        "channels",
        "classify",
        "continuous_time",
        "cosmoothing",
        "forecast",
        "inputs",
        "latents",
        "reconstruct",
        "sessions",
        "spikes",
        "uncertainty",
    }
)

TRAINING_SEARCH: dict[str, Space] = {
    "training.lr": Range(1e-4, 2e-2, log=True),
    "training.weight_decay": Choice((0.0, 1e-4, 1e-3, 1e-2, 1e-1)),
}


class Backend(nn.Module, ABC):
    """A model. No I/O and no device code inside.

    Parameters
    ----------
    config
        An instance of the class's `Config`, which says what the model can, its stages, and what data it refuses.
    layout
        Shapes and rate of the data.

    Attributes
    ----------
    SEARCH
        What tuning searches where nothing else is said: `model.KEY` and `training.KEY`. Only what leaves the validation
        loss comparable: no weights of its parts, nothing that decides what is hidden or in which unit errors are.
    """

    Config: ClassVar[type[BackendConfig]]
    SEARCH: ClassVar[Mapping[str, Space]] = TRAINING_SEARCH
    citation: ClassVar[str] = ""

    def __init__(self, config: BackendConfig, layout: Layout) -> None:
        super().__init__()
        config.check(layout, type(self).__name__)
        self.config, self.layout = config, layout

    @property
    def capabilities(self) -> frozenset[str]:
        """What the model can."""
        return self.config.capabilities

    @abstractmethod
    def forward(self, batch: Batch, *, attention: bool = False) -> Prediction:
        """Predict every frame of the window from its visible entries.

        Parameters
        ----------
        attention
            Also return the attention summary; only back-ends with that capability give one.
        """

    @abstractmethod
    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return named parts whose sum is the training loss, already weighted.

        Parameters
        ----------
        generator
            Source of every random draw (masks, noise, samples); on the CPU.
        """

    def prepare(self, frames: Iterable[np.ndarray]) -> None:  # noqa: B027 - optional hook
        """Fit what needs no gradient on the training windows alone.

        Parameters
        ----------
        frames
            Chunks of training windows, float32, shape (window, time, *space); NaN where not valid. Each window once;
            they may be gone through again.
        """

    @property
    def summary_parts(self) -> dict[str, int]:
        """Parts of the summary, name -> numbers, that decoders may also take alone; none where it is one."""
        return {}

    @property
    def tells_sessions(self) -> bool:
        """Whether a prediction depends on the session, so that every recording must be one of the layout's."""
        return "sessions" in self.capabilities and len(self.layout.sessions) > 1

    @property
    def tells_cells(self) -> bool:
        """Whether latents are of what cells share, so that a cell hidden throughout a window is told from the others."""
        return "cosmoothing" in self.capabilities

    def prepare_sessions(self, frames: Iterable[tuple[int, np.ndarray]]) -> None:
        """Fit what needs no gradient; called in place of `prepare` where the capability `sessions` is declared.

        Parameters
        ----------
        frames
            Index of a session, and a chunk of its training windows, float32, shape (window, time, cells of this
            session); NaN where not valid. Each window once, session after session.
        """
        self.prepare(chunk for _, chunk in frames)

    def prepare_batches(self, batches: Iterable[Batch]) -> None:  # noqa: B027 - optional hook
        """Fit what needs no gradient, but more than frames; called after `prepare`.

        Parameters
        ----------
        batches
            The training windows, each once; they may be gone through again.
        """

    def calibrate(self, batches: Iterable[Batch], generator: torch.Generator) -> None:  # noqa: B027 - optional hook
        """Fit, once the weights are final, how sure the model may be; what is fitted is part of the state.

        Parameters
        ----------
        batches
            The validation windows, each once; the training windows where there are none.
        generator
            Source of every random draw; on the CPU.
        """

    @property
    def keeps_start(self) -> bool:
        """Whether the weights that `prepare` gives are among those that validation chooses from."""
        return False

    @property
    def warm_steps(self) -> int:
        """Optimiser steps until every part of the loss has its full weight; no weights are chosen before."""
        return 0

    def warm(self, step: int | None) -> None:  # noqa: B027 - optional hook
        """Set the weights that grow during training; they are no part of the state.

        Parameters
        ----------
        step
            Optimiser steps done, told before every step; None, told before validation, means that every part has its
            full weight, as in a new model.
        """

    def health(self, valid: dict[str, float], step: int) -> str | None:
        """Say whether training has failed for good, so that it must start anew with another seed.

        Parameters
        ----------
        valid
            Mean of every part of the fully weighted loss over the validation windows, asked after each epoch.
        step
            Optimiser steps done.

        Returns
        -------
        str or None
            Why the model has collapsed, in one phrase; None while it has not.
        """
        return None

    def at(self, batch: Batch, times: Tensor) -> Tensor:
        """Predict frames at any times; only back-ends with the capability `continuous_time` can.

        Parameters
        ----------
        times
            Seconds on the clock of `batch.t`, shape (batch, query).

        Returns
        -------
        Tensor
            In the units of Batch.x, shape (batch, query, *space).
        """
        raise NotImplementedError

    def attention_maps(
        self, batch: Batch, *, layers: bool = False, heads: bool = False, rows: Literal["last", "all"] = "last"
    ) -> Tensor:
        """Return who looks at whom; only back-ends with the capability `attention` can.

        Parameters
        ----------
        layers, heads
            Keep them apart instead of averaging over them.
        rows
            Queries: the tokens of the last frame, or all.

        Returns
        -------
        Tensor
            Shape (batch, layer, head, query, token), 1 for an axis averaged over; tokens run over time, then over
            places that hold data.
        """
        raise NotImplementedError

    def streamed(self, threads: int) -> Callable[[Batch], Tensor]:
        """Return what forecasts the horizon of one window after another, shape (1, horizon, *space), by the weights of now.

        Back-ends may prepare what does not depend on the window; the forecast is that of `forward` but for rounding.

        Parameters
        ----------
        threads
            How many may compute.
        """
        return lambda batch: self(batch).mean[:, -self.layout.horizon :]

    @property
    def attention_grid(self) -> tuple[int, int] | None:
        """Rows and columns that an attention map's keys fill, row by row; None without attention."""
        return None

    def stages(self) -> tuple[str, ...]:
        """Name the training stages in order; () for a model that `prepare` fits entirely."""
        return self.config.stages

    def begin(self, stage: str, batches: Iterable[Batch]) -> None:  # noqa: B027 - optional hook
        """Get ready for a stage: what is trained, and what `loss` returns; told before each, again when training resumes.

        Parameters
        ----------
        batches
            The training windows, each once.
        """

    def take_over(self, other: Backend) -> tuple[str, ...]:
        """Start from the weights of another trained model; called after `prepare`.

        Returns
        -------
        tuple
            Stages that need not be trained any more.

        Raises
        ------
        ConfigError
            If the other model does not fit.
        """
        given = self.weights_from(other) if type(other) is type(self) else {}
        if {name: value.shape for name, value in given.items()} != {
            n: own.shape for n, own in self.state_dict().items()
        }:
            raise ConfigError(
                f"{type(self).__name__} cannot start from this run.",
                f"It holds a {type(other).__name__}, or one of another shape.",
                "Give a run of the same model, its configuration and the shape of its data.",
            )
        self.load_state_dict(given)
        return ()

    def weights_from(self, other: Backend) -> dict[str, Tensor]:
        """Return the weights of another model as far as they mean the same here."""
        return other.state_dict()
