"""One contract for every source format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from neurodyn.data.recording import Recording
from neurodyn.readers.options import ReadOptions


class Reader(ABC):
    """Reads one source format lazily into a Recording."""

    suffixes: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Say whether this reader can read the file or folder, without reading it whole; by the suffix unless told otherwise."""
        return path.is_file() and path.suffix.lower() in cls.suffixes

    @classmethod
    def arrays(cls, path: Path) -> Mapping[str, Any]:
        """Return named arrays on disk, where the format is a container that leaves to its users what they mean."""
        return {}

    @classmethod
    @abstractmethod
    def read(cls, path: Path, options: ReadOptions) -> Recording:
        """Read lazily.

        Raises
        ------
        DataError
            If the source is missing, truncated, or does not say enough about itself.
        """
