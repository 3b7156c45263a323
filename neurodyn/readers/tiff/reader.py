"""TIFF movies: stacks, BigTIFF, ImageJ, OME, ScanImage, and folders of TIFF files; read frame by frame."""

from __future__ import annotations

from pathlib import Path

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.readers.base import Reader
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.sources import refuse_others
from neurodyn.readers.stacks import OPTIONS, read_stack
from neurodyn.readers.tiff.folder import open_folder
from neurodyn.readers.tiff.layout import natural
from neurodyn.readers.tiff.set import flat, in_time, look_all

SUFFIXES = (".tif", ".tiff", ".btf")


class TiffReader(Reader):
    """Reads a TIFF stack, or a folder of TIFF files, as a movie; files in time follow each other in natural order."""

    suffixes = SUFFIXES

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Say whether the path is a TIFF file or a folder with TIFF files in it."""
        if path.is_dir():
            return any(child.suffix.lower() in SUFFIXES for child in path.iterdir())
        return path.suffix.lower() in SUFFIXES

    @classmethod
    def read(cls, path: Path, options: ReadOptions) -> Recording:
        """Read lazily; channels and planes as the file says, else frame i belongs to channel i modulo their number.

        Raises
        ------
        DataError
            If files are damaged, do not go together, or nobody knows how.
        """
        refuse_others(options, "tiff", OPTIONS | {"variables", "field", "incomplete"})
        files = tiff_files(path)
        if options.variables:  # places in the file as it lies there
            stack = flat(path, look_all(files), options)
        elif path.is_dir():
            stack = open_folder(path, files, options)
        else:
            stack = in_time(path, look_all(files), options)
        if options.field is not None and "field" not in stack.layout:
            raise DataError(
                f"{path} has no fields to choose from.", "Only ScanImage tells of them.", "Leave source.field out."
            )
        return read_stack("tiff", path, stack, options)


def tiff_files(path: Path) -> list[Path]:
    """Return the TIFF files of a folder in natural order ("2.tif" before "10.tif"), or the file itself."""
    if not path.is_dir():
        return [path]
    files = [child for child in path.iterdir() if child.suffix.lower() in SUFFIXES and not child.name.startswith(".")]
    if not files:
        raise DataError(f"{path} has no TIFF files.", "Expected .tif or .tiff files.", "Check the folder.")
    return sorted(files, key=lambda file: natural(file.stem))
