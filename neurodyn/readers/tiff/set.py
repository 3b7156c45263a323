"""Several TIFF files as one movie: they must agree, be whole, and follow each other in time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.data.schema import RATE_TOLERANCE
from neurodyn.readers.lazy_views import Part
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.questions import Need, QuestionError, which_one
from neurodyn.readers.stacks import Stack
from neurodyn.readers.tiff.file import Piece, look
from neurodyn.readers.tiff.frames import frames_of
from neurodyn.readers.tiff.layout import Order, joined, of_sizes
from neurodyn.readers.tiff.pages import first_page, truncated
from neurodyn.readers.tiff.scanimage import Scan, fields, of_scans

MEANT = re.compile(rb'^ImageJ|<OME|^\{"shape"|SI\.|frameNumber|state\.')
NOTE = "the acquisition was stopped, or files are missing or cut off"


def look_all(files: Sequence[Path]) -> list[Piece]:
    """Look at every file; of uncompressed twins, whose first pages and sizes are the same byte for byte, once."""
    known: dict[Any, Piece] = {}
    found = []
    for path in files:
        size, tags, description = first_page(path)
        key = (size, tags, description if MEANT.search(description[:2000]) else b"")
        piece = known.get(key)
        if piece is None:
            piece = look(path)
            if piece.offset is not None and piece.scan is None:
                known[key] = piece
        found.append(piece if piece.path == path else replace(piece, path=path))
    return found


def in_time(path: Path, pieces: Sequence[Piece], options: ReadOptions, words: str = "") -> Stack:
    """Return the stack of files that follow each other in time.

    Raises
    ------
    DataError
        Naming the first file that does not go with the others.
    QuestionError
        If frames are missing and nobody said that this is known.
    """
    check_alike(path, pieces)
    if pieces[0].scan is not None:
        return _of_scans(path, pieces, options, words)
    pieces = [_filled(piece, pieces) for piece in pieces]
    orders = [piece.order for piece in pieces if piece.order is not None]
    if len(orders) < len(pieces):
        odd = next(piece for piece in pieces if piece.order is None)
        raise DataError(
            f"{odd.path} has frames that lie in other files.",
            "Its OME header describes several files or images.",
            "Give the folder that holds all of them.",
        )
    _check_orders(pieces, orders)
    note = check_whole(path, pieces, options)
    orders = [order.within(piece.count) for order, piece in zip(orders, pieces, strict=True)]
    order = joined(orders, [piece.count for piece in pieces])
    return finished(path, order, frames_of(pieces), words, note)


def finished(path: Path, order: Order, frames: Any, words: str, note: str) -> Stack:
    """Return the stack of an order that is complete, with words for what it was recognised as.

    Raises
    ------
    DataError
        If there is not one whole time point.
    """
    if not len(order.rows):
        raise DataError(f"{path} has no whole time point.", f"Found: {NOTE}.", "Copy the files again.")
    told = "; ".join(part for part in (words, order.words) if part)
    return replace(order, words=told, losses=(*order.losses, *filter(None, (note,)))).stack(frames)


def check_alike(path: Path, pieces: Sequence[Piece]) -> None:
    """Refuse files whose frames differ in shape or type, and those of ScanImage among others.

    Raises
    ------
    DataError
        Naming the first that differs.
    """
    full = [piece for piece in pieces if piece.count]
    if not full:
        raise truncated(pieces[0].path if len(pieces) == 1 else path, pieces[0].cut or "no whole frame")
    kinds = [_kind(piece) for piece in full]
    for piece, kind in zip(full, kinds, strict=True):
        if kind != kinds[0]:
            raise DataError(
                f"{piece.path} does not match the other frames.",
                f"Found {_shown(kind)}; the first file has {_shown(kinds[0])}.",
                "Move files of other kinds out of the folder.",
            )


def _kind(piece: Piece) -> tuple[tuple[int, int], str, bool]:
    return piece.shape, str(np.dtype(piece.dtype).newbyteorder("=")), piece.scan is not None


def _shown(kind: tuple[tuple[int, int], str, bool]) -> str:
    return f"frames of {kind[0][0]} x {kind[0][1]}, {kind[1]}{', with a header of ScanImage' if kind[2] else ''}"


def _check_orders(pieces: Sequence[Piece], orders: Sequence[Order]) -> None:
    first = orders[0]
    for piece, order in zip(pieces, orders, strict=True):
        if order is first:
            continue
        rates = order.rate_hz, first.rate_hz
        fast = None not in rates and abs((rates[0] or 1) / (rates[1] or 1) - 1) > RATE_TOLERANCE
        if order.rows.shape[1:] != first.rows.shape[1:] or fast:
            raise DataError(
                f"{piece.path} does not match the other files.",
                f"Found {_loops(order)}; the first file has {_loops(first)}.",
                "Move files of other kinds out of the folder.",
            )


def _loops(order: Order) -> str:
    rate = f" at {order.rate_hz:g} Hz" if order.rate_hz else ""
    return f"{order.rows.shape[1]} planes and {order.rows.shape[2]} channels{rate}"


def _filled(piece: Piece, pieces: Sequence[Piece]) -> Piece:
    """Complete what a cut file no longer says of itself from the others, where these are all of one length."""
    if not piece.cut or (piece.order is not None and piece.promised is not None):
        return piece
    others = [one for one in pieces if one.whole and one.order is not None]
    lengths = {one.promised for one in others if one is not pieces[-1]}
    if len(lengths) == 1:
        return replace(piece, order=others[0].order, promised=lengths.pop())
    if piece is pieces[-1] and len(pieces) > 1 and others and not piece.count:
        return replace(piece, order=others[0].order)
    return piece


def check_whole(path: Path, pieces: Sequence[Piece], options: ReadOptions) -> str:
    """Return words for the frames that are missing; empty where none are.

    Raises
    ------
    QuestionError
        If frames are missing and `incomplete` was not said.
    DataError
        If frames are missing before others, and nobody knows how many.
    """
    broken = [piece for piece in pieces if not piece.whole]
    if not broken:
        return ""
    here = sum(piece.count for piece in pieces)
    known = all(piece.promised is not None for piece in pieces)
    promised = sum(piece.promised or 0 for piece in pieces) if known else None
    cut = next((piece for piece in broken if piece.cut), None)
    odd = broken[0] if cut is None else cut
    if any(piece.promised is None for piece in pieces[:-1]):
        raise DataError(
            f"{odd.path} is truncated.",
            f"Found: {odd.cut}; how many frames are lost before those of the next file is not known.",
            "Copy it again, or move it and the files after it out of the folder.",
        )
    return missing(path if cut is None else cut.path, here, promised, "" if cut is None else cut.cut, options)


def missing(path: Path, here: int, promised: int | None, cut: str, options: ReadOptions) -> str:
    """Return words for missing frames, once it was said that some are.

    Parameters
    ----------
    here, promised
        Frames that there are and that there should be; None where that is not known.
    cut
        Where a file breaks off.

    Raises
    ------
    QuestionError
        If `incomplete` was not said.
    """
    count = f"{here} of {promised} frames are here" if promised else f"{here} whole frames are here"
    if not options.incomplete:
        told = f"the header promises {promised} frames, {here} are here" if promised else f"{here} frames are whole"
        reason = f"{told}: {cut or NOTE}"
        raise QuestionError(
            f"{path} is truncated." if cut else f"{path} has fewer frames than it promises.",
            f"Found: {reason}.",
            "Copy it again, or read the whole frames that are there: --set source.incomplete=true",
            need=Need("--set source.incomplete=true", reason),
            guess={"incomplete": True},
        )
    lost = f"{promised - here} are lost" if promised else "how many are lost is not known"
    return f"{count}, {lost}: {cut or NOTE}"


def _of_scans(path: Path, pieces: Sequence[Piece], options: ReadOptions, words: str) -> Stack:
    """Return the stack of ScanImage's files; those that go on counting frames are one acquisition."""
    pieces = [piece if piece.promised is not None else replace(piece, promised=None) for piece in pieces]
    note = check_whole(path, pieces, options)
    orders, counts = [], []
    for part in _acquisitions(pieces):
        scans = [piece.scan for piece in part if piece.scan is not None]
        counts.append(sum(piece.count for piece in part))
        orders.append(of_scans(part[0].path if len(pieces) > 1 else path, scans, [piece.count for piece in part]))
    _check_orders([part[0] for part in _acquisitions(pieces)], orders)
    if len(orders) > 1:
        words = "; ".join(filter(None, (words, f"{len(orders)} acquisitions end to end")))
    stack = finished(path, joined(orders, counts), frames_of(pieces), words, note)
    scan = pieces[0].scan
    return stack if scan is None else _one_field(path, stack, scan, pieces[0].shape, options)


def _acquisitions(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Divide ScanImage's files into acquisitions: a new one begins where frames are counted from 1 again."""
    parts = [[pieces[0]]]
    for piece in pieces[1:]:
        first = piece.scan.first if piece.scan is not None else None
        if first == 1:
            parts.append([])
        parts[-1].append(piece)
    return parts


def _one_field(path: Path, stack: Stack, scan: Scan, shape: tuple[int, int], options: ReadOptions) -> Stack:
    found = fields(path, scan, shape)
    if found is None and options.field is None and options.rows is None:
        raise _stacked(path, shape)
    if options.field is None and options.rows is None and found and len(found) > 1:
        raise _which_field(path, found)
    if options.field is None:
        return stack
    if not found or options.field >= len(found):
        known = f"{len(found)} fields" if found else "no fields whose sizes its header gives"
        raise DataError(
            f"{path} has no field {options.field}.",
            f"Found {known} in pages of {shape[0]} x {shape[1]} pixels.",
            "Choose another, from 0, or cut pages to rows: --set source.rows=FIRST:END",
        )
    rows, columns = found[options.field]
    words = f"{stack.layout}; field {options.field} of {len(found)}, rows {rows.start}:{rows.stop} of each page"
    return replace(
        stack, frames=lambda channel, plane: _part(stack.frames(channel, plane), rows, columns), layout=words
    )


def _part(movie: Any, rows: range, columns: range) -> Part:
    return Part(movie, (range(movie.shape[0]), rows, columns))


def _stacked(path: Path, shape: tuple[int, int]) -> QuestionError:
    return QuestionError(
        f"{path} has several fields (multi-ROI) stacked above each other in each page.",
        f"Pages have {shape[0]} rows and {shape[1]} columns; ScanImage's header does not give the fields' sizes.",
        f"Cut pages to one: --set source.rows=FIRST:END; all of a page is --set source.rows=0:{shape[0]}",
        need=Need(
            f"--set source.rows=0:{shape[0]}",
            "fields are stacked above each other in each page: the first row of one and the row after its last, or "
            f"0:{shape[0]} for all; columns likewise with source.columns",
        ),
        guess={"rows": f"0:{shape[0]}"},
    )


def _which_field(path: Path, found: Sequence[tuple[range, range]]) -> QuestionError:
    listed = ", ".join(f"{k}: {len(rows)} x {len(columns)}" for k, (rows, columns) in enumerate(found))
    what, why = (
        f"{len(found)} fields (multi-ROI) stacked above each other",
        f"one of {len(found)} fields, rows x columns {listed}",
    )
    return which_one(path, what, f"rows x columns of {listed}", "--set source.field=0", why, {"field": 0})


def flat(path: Path, pieces: Sequence[Piece], options: ReadOptions) -> Stack:
    """Return all frames in their order, whatever the files say of them."""
    check_alike(path, pieces)
    note = check_whole(path, pieces, options)
    order = of_sizes({"T": sum(piece.count for piece in pieces)}, words="frames in their order")
    return finished(path, order, frames_of(pieces), "", note)
