"""What damaged files do to the libraries that read them, and what the user is told."""

from __future__ import annotations

import lzma
import math
import struct
import sysconfig
import tokenize
import traceback
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from neurodyn.core.errors import DataError, NeurodynError

# Libraries answer a damaged file with whatever comes up. A lack of memory is not among it: it is told as one.
DAMAGED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    SystemError,
    TypeError,
    ValueError,
    lzma.LZMAError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)

# What reads files, by the beginning of its modules' names; an exception that comes of it is the file's, any other is ours.
LIBRARIES = (
    *(
        "_pickle",
        "h5py",
        "hdmf",
        "imagecodecs",
        "json",
        "nd2",
        "numcodecs",
        "ome_types",
        "pickle",
        "pynwb",
        "scipy.io",
        "scipy.sparse",
    ),
    *("numpy._core.memmap", "numpy.lib._format", "numpy.lib._npyio", "numpy.lib.format", "numpy.lib.npyio"),
    *("tifffile", "xarray.backends", "zarr", "zipfile"),
)

STANDARD = sysconfig.get_path("stdlib")

SMALL = 2**28  # bytes that any file may ask for
PACKED = 4096  # values' bytes per byte on disk; deflate reaches 1032, and recordings about 3


def reason(error: BaseException) -> str:
    """Return what an exception says, in one line without a full stop; its kind where it says nothing."""
    said = " ".join(str(error).split())
    return said[:300].rstrip(".") or type(error).__name__


def broken(path: Path, error: Exception) -> DataError:
    """Return what to tell the user of a damaged file."""
    return DataError(
        f"{path} cannot be read.", f"{reason(error)}.", "Check that the file is whole and holds plain numeric arrays."
    )


@contextmanager
def library(path: Path, told: Callable[[Path, Exception], DataError] = broken) -> Iterator[None]:
    """Tell what a library cannot read of a file as damage of the file; neurodyn's own faults pass as what they are.

    Parameters
    ----------
    told
        Makes the message of path and exception.

    Raises
    ------
    DataError
        If a call into a library that reads files raised anything.
    """
    try:
        yield
    except (NeurodynError, MemoryError):
        raise
    except Exception as error:  # libraries answer a damaged file with whatever comes up
        if not of_library(error):
            raise
        raise told(path, error) from error


def of_library(error: BaseException) -> bool:
    """Say whether an exception was raised by a call into a library that reads files, not by neurodyn's own code."""
    modules: list[str] = []
    for frame, _ in traceback.walk_tb(error.__traceback__):
        modules = [] if _is_ours(frame) else [*modules, str(frame.f_globals.get("__name__", ""))]
    return any(module.startswith(LIBRARIES) for module in modules)


def _is_ours(frame: FrameType) -> bool:
    """Say whether code is neurodyn's or its user's, and not an installed library's or Python's own."""
    if str(frame.f_globals.get("__name__", "")).partition(".")[0] == "neurodyn":
        return True
    file = Path(frame.f_code.co_filename)  # of compiled libraries, no whole path
    installed = {"site-packages", "dist-packages"} & set(file.parts)
    return file.is_absolute() and not installed and not file.is_relative_to(STANDARD)


def check_packed(path: Path, shape: Sequence[int], dtype: Any, stored: int | None = None) -> None:
    """Refuse an array that is far larger than what lies on disk could be: its header is damaged, or it is a bomb.

    Parameters
    ----------
    stored
        Bytes on disk, where they are known to be others than those of the file or folder.

    Raises
    ------
    DataError
        Before memory is asked for.
    """
    size = math.prod(int(n) for n in shape) * np.dtype(dtype).itemsize
    if size <= SMALL or (stored is None and not path.exists()):  # streamed
        return
    stored = _bytes(path) if stored is None else stored
    if size > PACKED * stored:
        raise DataError(
            f"{path} says that it holds more than it can.",
            f"Found an array of shape {tuple(map(int, shape))}, {size / 2**30:,.1f} GiB, in {stored:,} bytes.",
            "Check that the file is whole; copy it again.",
        )


def load_array(path: Path) -> np.ndarray:
    """Load a .npy file without pickle; one that says it holds more than it does is damaged, and asks for no memory.

    Raises
    ------
    ValueError
        If its header asks for more than the file has, or for Python objects.
    """
    return np.array(np.load(path, mmap_mode="r", allow_pickle=False))


def _bytes(path: Path) -> int:
    files = (file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)
