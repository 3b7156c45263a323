"""The contract of a simulator: parameters and a seed in, a Recording with `truth` out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from neurodyn.core.config import Params
from neurodyn.data.recording import Recording


class Simulator(ABC):
    """Makes one synthetic session.

    Parameters
    ----------
    params
        An instance of the class's `Params`; its `seed` decides every draw.
    """

    Params: ClassVar[type[Params]]
    citation: ClassVar[str] = ""

    def __init__(self, params: Params) -> None:
        self.params = params

    @abstractmethod
    def make(self) -> Recording:
        """Return the recording, ground truth in the group `truth`."""
