"""Recordings that neurodyn wrote itself."""

from __future__ import annotations

from pathlib import Path

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.data.schema import RATE_TOLERANCE
from neurodyn.readers.base import Reader
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.sources import refuse_others


class ZarrReader(Reader):
    """Reads a neurodyn recording, a Zarr folder."""

    suffixes = (".zarr",)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Say whether the path is a folder with the name or the mark of a Zarr store."""
        return path.is_dir() and (path.suffix == ".zarr" or (path / "zarr.json").is_file())

    @classmethod
    def read(cls, path: Path, options: ReadOptions) -> Recording:
        """Open a recording lazily; what it says about itself may be repeated in the options, not contradicted.

        Only an unknown indicator may be told.
        """
        refuse_others(options, "recording", {"fs"})
        recording = Recording.open(path)
        if options.indicator is not None and recording.indicator == "unknown":
            recording = recording.with_groups({}, attrs={"indicator": options.indicator})
        if options.fs is not None and abs(options.fs / recording.rate_hz - 1) > RATE_TOLERANCE:
            raise _contradiction(path, "fs", f"{options.fs:g} Hz", f"{recording.rate_hz:g} Hz")
        said = {"indicator": recording.indicator, "session": recording.session}
        said |= {f"units of {name}": recording[name].attrs["units"] for name in options.units}
        given = {"indicator": options.indicator, "session": options.session}
        given |= {f"units of {name}": unit for name, unit in options.units.items()}
        for key, value in given.items():
            if value not in (None, "unknown", said[key]):
                raise _contradiction(path, key, str(value), said[key])
        return recording


def _contradiction(path: Path, key: str, given: str, said: str) -> DataError:
    return DataError(
        f"{path}: the given {key} contradicts the recording.",
        f"Given {given}; the recording says {said}.",
        f"Leave {key} out, or convert the source file again with the right one.",
    )
