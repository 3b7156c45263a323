"""Find runs and recordings in folders."""

from __future__ import annotations

from pathlib import Path

from neurodyn.core.errors import DataError
from neurodyn.runs.folder import RunFolder


def runs_in(source: Path) -> list[Path]:
    """Return a run folder or a recording itself, or every run and recording in a folder, by name.

    Raises
    ------
    DataError
        If there is none.
    """
    if RunFolder(source).begun or not source.is_dir():
        return [source]
    runs = sorted(path for path in source.iterdir() if RunFolder(path).begun)
    return runs or recordings_in(source)


def recordings_in(source: Path) -> list[Path]:
    """Return a recording itself, or every recording in a folder, by name.

    Raises
    ------
    DataError
        If there is none.
    """
    if (source / "zarr.json").is_file():
        return [source]
    found = sorted(source.glob("*.zarr")) if source.is_dir() else []
    if not found:
        raise DataError(
            f"{source} holds no recording.",
            "Expected a recording (.zarr folder), or a folder of them.",
            "Make them first: neurodyn preprocess FILE… -o DIR --chain spikes",
        )
    return found
