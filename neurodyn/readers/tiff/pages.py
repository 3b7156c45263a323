"""The chain of pages in a TIFF file, followed without a library: whole, or where it breaks off."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from neurodyn.core.errors import DataError
from neurodyn.readers.images import unreadable

TYPE_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}  # others take 1
DESCRIPTION = 270
HEADER = 16


@dataclass(frozen=True)
class Dialect:
    """How a TIFF header says that numbers are stored: classic or BigTIFF, either byte order."""

    order: str
    big: bool

    @property
    def widths(self) -> tuple[int, int, int]:
        """Bytes of a tag, of the number of tags and of the offset of the next page."""
        return (20, 8, 8) if self.big else (12, 2, 4)

    def number(self, data: bytes) -> int:
        """Return an unsigned integer of 2, 4 or 8 bytes."""
        return int.from_bytes(data, "little" if self.order == "<" else "big")

    def tags(self, entries: bytes) -> list[tuple[int, int, bytes]]:
        """Return number, length in bytes and value (or, of long values, offset) of a page's tags."""
        width, inline = self.widths[0], 8 if self.big else 4
        found = []
        for tag in (entries[k : k + width] for k in range(0, len(entries), width)):
            length = TYPE_BYTES.get(self.number(tag[2:4]), 1) * self.number(tag[4 : 4 + inline])
            found.append((self.number(tag[:2]), length, tag[4 + inline :]))
        return found

    def values_end(self, entries: bytes) -> int:
        """Return the last byte that a page's tags point to outside the page."""
        inline = 8 if self.big else 4
        ends = (self.number(value) + length for _, length, value in self.tags(entries) if length > inline)
        return max(ends, default=0)


@dataclass(frozen=True)
class Chain:
    """The pages of a file.

    Parameters
    ----------
    offsets
        Where the tags of each whole page lie.
    second
        Where the first page says that the next one lies; 0 where it is the only one.
    broken
        Where and how the chain breaks off; empty where it is whole.
    """

    dialect: Dialect
    offsets: tuple[int, ...]
    second: int
    broken: str


def chain(path: Path) -> Chain:
    """Follow the file's chain of pages to its end; the first and last page's tags must lie inside the file.

    Raises
    ------
    DataError
        If the file is no TIFF, or its pages run in a ring.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        dialect, offset = _start(file, path)
        offsets, ends, second, broken = dict[int, None](), 0, 0, ""
        while offset and not broken:
            if offset in offsets:
                raise unreadable(path, ValueError(f"page {len(offsets)} leads back to an earlier one"))
            page = _page(file, dialect, offset, size)
            if page is None:
                broken = f"page {len(offsets)} should be at byte {offset} of {size}"
                break
            last, (entries, following) = offset, page
            if not offsets:
                second, ends = following, dialect.values_end(entries)
                broken = _beyond(ends, size)
            offsets[last], offset = None, following
    if offsets and not broken and (broken := _beyond(dialect.values_end(entries), size)):
        offsets.popitem()
    return Chain(dialect, () if ends > size else tuple(offsets), second, broken)


def _beyond(end: int, size: int) -> str:
    return f"its tags reach to byte {end} of {size}" if end > size else ""


def _start(file: BinaryIO, path: Path) -> tuple[Dialect, int]:
    head = file.read(HEADER)
    order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
    version = Dialect(order, False).number(head[2:4]) if order else 0
    if version not in (42, 43) or len(head) < HEADER:
        raise unreadable(path, ValueError("it has no TIFF header"))
    dialect = Dialect(order, version == 43)
    return dialect, dialect.number(head[8:16] if dialect.big else head[4:8])


def _page(file: BinaryIO, dialect: Dialect, offset: int, size: int) -> tuple[bytes, int] | None:
    """Return the tags of the page at `offset` and the offset of the next page; None where it is not all there."""
    width, count_bytes, next_bytes = dialect.widths
    file.seek(min(offset, size))
    length = dialect.number(file.read(count_bytes)) * width
    rest = file.read(length + next_bytes) if offset + count_bytes + length + next_bytes <= size else b""
    if len(rest) < length + next_bytes:
        return None
    return rest[:length], dialect.number(rest[length:])


def first_page(path: Path) -> tuple[int, bytes, bytes]:
    """Return a file's size, the tags of its first page as they stand there, and its description; to tell twins by.

    Raises
    ------
    DataError
        If the file is no TIFF.
    """
    with path.open("rb") as file:
        dialect, offset = _start(file, path)
        size = file.seek(0, 2)
        page = _page(file, dialect, offset, size)
        if page is None:
            return size, b"", b""
        return size, page[0] + str(page[1]).encode(), _description(file, dialect, page[0])


def descriptions(path: Path, links: Chain) -> list[str]:
    """Return what every page of a file says of itself."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        pages = (_page(file, links.dialect, offset, size) for offset in links.offsets)
        return [_description(file, links.dialect, page[0]).decode("latin1") if page else "" for page in pages]


def _description(file: BinaryIO, dialect: Dialect, entries: bytes) -> bytes:
    wanted, width = DESCRIPTION.to_bytes(2, "little" if dialect.order == "<" else "big"), dialect.widths[0]
    for k in range(0, len(entries), width):  # the one tag that is looked for: a folder may have 20,000 files
        if entries[k : k + 2] == wanted:
            _, length, value = dialect.tags(entries[k : k + width])[0]
            if length <= len(value):
                return value[:length]
            file.seek(min(dialect.number(value), file.seek(0, 2)))  # a damaged one may not even fit into an offset
            return file.read(min(length, 2**24))
    return b""


def truncated(path: Path, found: str) -> DataError:
    """Return what to tell the user of a file that has no whole frame."""
    return DataError(f"{path} is truncated.", f"Found: {found}.", "Copy or write the file again.")
