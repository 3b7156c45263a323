"""Single images: masks that lie beside a source."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.core.files import beside
from neurodyn.data.damage import library, load_array, reason


def mask_file(path: Path, name: str, what: str = "brain") -> np.ndarray:
    """Read a mask from an image file, looked for as given and beside the source.

    Parameters
    ----------
    what
        What it is a mask of, for the message.

    Raises
    ------
    DataError
        If there is none.
    """
    found = beside(path, name)
    if found is None:
        raise DataError(
            f"{what}: there is no mask {name}.",
            "Expected a TIFF or .npy image" + (", or a dataset of the source." if what == "brain" else "."),
            "Check the name.",
        )
    return read_image(found)


def read_image(path: Path) -> np.ndarray:
    """Read one image, TIFF or .npy, shape (y, x).

    Raises
    ------
    DataError
        If it is no image.
    """
    import tifffile

    with library(path, unreadable):
        image = load_array(path) if path.suffix == ".npy" else tifffile.imread(path)
    return np.asarray(image)


def unreadable(path: Path, error: Exception) -> DataError:
    """Return what to tell the user of a file that is no TIFF, or a damaged one."""
    return DataError(
        f"{path} cannot be read as TIFF.", f"{reason(error)}.", "Check that the file is whole; copy it again."
    )
