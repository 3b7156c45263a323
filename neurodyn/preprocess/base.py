"""The contract of a preprocessing step: named variables in, named variables out, never the whole movie in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import zarr

from neurodyn.core.config import Params
from neurodyn.core.log import nobody
from neurodyn.data.recording import Recording
from neurodyn.data.store import STORAGE, create_variable

LAYOUT_KINDS = {2: "traces", 3: "movie"}


@dataclass(frozen=True)
class Workspace:
    """The recording being made: its open Zarr group, and what steps need to know of it.

    Parameters
    ----------
    root
        Zarr group of the unfinished recording; variables are under "neural".
    rate_hz
        Frames per second.
    time
        Frame times, s, shape (time,).
    brain
        Pixels inside the brain, bool, shape (y, x), or None.
    indicator
        Name of the calcium indicator.
    progress
        Called with the share of the step's work that is done, 0 to 1.
    scans
        What one look at a variable found, by name, so that every variable is looked at once; see `tiles.scan`.
    """

    root: zarr.Group
    rate_hz: float
    time: np.ndarray
    brain: np.ndarray | None
    indicator: str
    progress: Callable[[float], None] = nobody
    scans: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> zarr.Array:
        array = self.root[f"neural/{name}"]
        if not isinstance(array, zarr.Array):
            raise KeyError(name)
        return array

    def create(self, name: str, like: str, units: str, made_by: str, **attrs: Any) -> zarr.Array:
        """Create a float32 output variable with the shape and dims of the variable `like`, to be filled in slices."""
        dims = tuple(str(dim) for dim in self[like].metadata.dimension_names or ())  # type: ignore[union-attr]
        return self.create_shaped(name, self[like].shape, dims, units, made_by, **attrs)

    def create_shaped(
        self, name: str, shape: tuple[int, ...], dims: tuple[str, ...], units: str, made_by: str, **attrs: Any
    ) -> zarr.Array:
        """Create a float32 output variable of another shape, such as (time, component)."""
        return create_variable(self.root, name, shape, dims, np.float32, {"units": units, "made_by": made_by} | attrs)

    def keep(self, group: str, name: str, dims: tuple[str, ...], values: np.ndarray, units: str, **attrs: Any) -> None:
        """Put a small array beside the movies: maps and time courses in "qc", spatial components in "components"."""
        self.root.require_group(group).create_array(
            name,
            data=np.ascontiguousarray(values),
            dimension_names=dims,
            attributes={"units": units} | attrs,
            overwrite=True,
            **STORAGE,
        )

    def describe_rois(self, name: str, words: np.ndarray) -> None:
        """Put a column of words into the table of ROIs, shape (roi,)."""
        table = self.root.require_group("rois")
        table.create_array(
            name, data=words.astype(np.dtypes.StringDType()), dimension_names=("roi",), overwrite=True, **STORAGE
        )


class Step(ABC):
    """One preprocessing step.

    Parameters
    ----------
    params
        An instance of the class's `Params`.
    """

    Params: ClassVar[type[Params]]
    kinds: ClassVar[frozenset[str]] = frozenset({"traces", "movie"})
    citation: ClassVar[str] = ""

    judges_noise: ClassVar[bool] = False
    """Whether it takes what is fast in a trace for white noise, as a denoised one is not."""

    passes: ClassVar[int] = 1
    """How often it reads its variables, beside the one look that checks them."""

    makes: ClassVar[str | None] = None
    """Layout kind of what it provides, where that is not the kind of its first input."""

    def __init__(self, params: Params) -> None:
        self.params = params

    @property
    def source(self) -> str:
        """The paper behind the step as its parameters have it; `citation` unless a step knows better."""
        return self.citation

    @property
    def requires(self) -> tuple[str, ...]:
        """Names of the variables it reads: its parameter `input`, and `reference` where it has one."""
        said = vars(self.params)
        return tuple(said[name] for name in ("input", "reference") if name in said)

    @property
    def provides(self) -> tuple[str, ...]:
        """Names of the variables it makes: its parameter `output`."""
        return (vars(self.params)["output"],)

    def suited(self, recording: Recording) -> tuple[Self, str]:
        """Return the step with parameters that suit the recording, and in a sentence what was changed, "" for nothing.

        It is asked before anything is copied, so that what the recording's length and rate rule out fails at once.

        Raises
        ------
        DataError
            If the recording is too short for the step.
        ConfigError
            If a parameter does not go with the frame rate.
        """
        return self, ""

    @abstractmethod
    def apply(self, workspace: Workspace) -> None:
        """Make the provided variables from the required ones, in slices.

        Raises
        ------
        DataError
            If the data cannot bear the step: NaN, constant, too short.
        """

    @abstractmethod
    def methods(self) -> str:
        """Return one sentence for a methods section, parameters with units included."""
