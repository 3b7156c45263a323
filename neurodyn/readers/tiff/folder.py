"""A folder of TIFF files: which program wrote it, and how its files make up one movie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.stacks import Stack
from neurodyn.readers.tiff import bruker, micromanager, thor
from neurodyn.readers.tiff.file import Piece
from neurodyn.readers.tiff.frames import frames_of
from neurodyn.readers.tiff.grid import of_grid
from neurodyn.readers.tiff.names import by_names
from neurodyn.readers.tiff.ome import Image, Source, of_image, read_header
from neurodyn.readers.tiff.set import check_alike, finished, in_time, look_all, missing

COMPANIONS = (".companion.ome", ".ome.xml", ".ome")


def open_folder(path: Path, files: Sequence[Path], options: ReadOptions) -> Stack:
    """Return the movie that a folder's files make up.

    Raises
    ------
    DataError
        If they do not go together, or nobody knows how.
    QuestionError
        If something has to be told first.
    """
    for program in (bruker, thor, micromanager):
        if (grid := program.arranged(path, files)) is not None:
            return of_grid(path, grid, options)
    pieces = look_all(files)
    if any(piece.ome and piece.order is None for piece in pieces):
        return _of_ome_set(path, pieces, options)
    if all(piece.scan is None for piece in pieces) and (grid := by_names(path, files)) is not None:
        return of_grid(path, grid, options)
    several = f"{len(pieces)} files in the order of the numbers in their names" if len(pieces) > 1 else ""
    return in_time(path, pieces, options, several)


def _of_ome_set(path: Path, pieces: Sequence[Piece], options: ReadOptions) -> Stack:
    """Return the stack of files that one OME header describes."""
    check_alike(path, pieces)
    headers = {piece.path.name: read_header(piece.path, piece.ome) for piece in pieces if piece.ome}
    own = {name: uuid for name, (_, uuid, _) in headers.items()}
    name, images = _master(path, headers)
    ordered = sorted(pieces, key=lambda piece: piece.path.name != name)
    borders = np.cumsum([0, *(piece.count for piece in ordered)])
    names = [(piece.path.name, own.get(piece.path.name) or None) for piece in ordered]
    image = _only(path, images, {one for pair in names for one in pair if one})
    sources = [
        Source(pair, int(begin), piece.count) for pair, begin, piece in zip(names, borders, ordered, strict=False)
    ]
    order = of_image(path, image, sources)
    here, cut = int((order.rows >= 0).sum()), next((piece for piece in pieces if piece.cut), None)
    note = ""
    if here < image.promised or cut is not None:
        cut_at = path if cut is None else cut.path
        note = missing(cut_at, here, image.promised, "" if cut is None else cut.cut, options)
    order = replace(order, words=f"{order.words}, of {len(pieces)} files").within(int(borders[-1]))
    return finished(path, order, frames_of(ordered), "", note)


def _master(path: Path, headers: dict[str, tuple[list[Image], str, str]]) -> tuple[str, list[Image]]:
    """Return the header that describes most planes, and the name of its file; that of a companion where files name one."""
    elsewhere = {companion for _, _, companion in headers.values() if companion}
    for companion in sorted(elsewhere):
        file = path / companion
        if file.is_file() and file.name.endswith(COMPANIONS) and companion not in headers:
            return "", read_header(file, file.read_text(encoding="utf-8", errors="replace"))[0]
    described = {name: images for name, (images, _, _) in headers.items() if images}
    if not described:
        raise DataError(
            f"{path}: the OME header of its files is missing.",
            f"It should be in {', '.join(sorted(elsewhere)) or 'one of them'}.",
            "Copy that file into the folder.",
        )
    name = max(described, key=lambda one: sum(len(image.files) for image in described[one]))
    return name, described[name]


def _only(path: Path, images: Sequence[Image], names: set[str]) -> Image:
    """Return the one image whose planes lie in these files."""
    here = [image for image in images if not image.files or image.files & names] or list(images)
    if len(here) == 1:
        return here[0]
    listed = ", ".join(image.name or f"image {k}" for k, image in enumerate(here[:4]))
    raise DataError(
        f"{path} holds {len(here)} images, such as positions of the stage.",
        f"Found {listed}.",
        "Give the files of each position a folder of their own.",
    )
