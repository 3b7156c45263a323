"""The structure of MATLAB files of version 5, looked through before scipy reads them: damage there ends its process.

Source: MathWorks, MAT-File Format (2019), chapter 1.
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

from neurodyn.data.damage import broken

HEADER = 128
MATRIX, COMPRESSED = 14, 15
BYTES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}  # of the numeric types
TEXT = {*BYTES, 16, 17, 18}
CELL, STRUCT, OBJECT, CHAR, SPARSE = 1, 2, 3, 4, 5
NUMERIC = range(6, 16)
FUNCTION, OPAQUE = 16, 17
DEEPEST = 60


class MalformedError(Exception):
    """Something in a file that cannot be."""


class Stream(Protocol):
    """Bytes that are read forwards."""

    def read(self, count: int, /) -> bytes:
        """Return so many bytes, fewer at the end."""
        ...

    def skip(self, count: int, /) -> None:
        """Leave so many bytes out."""
        ...


class _Raw:
    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def read(self, count: int) -> bytes:
        return self.file.read(count)

    def skip(self, count: int) -> None:
        self.file.seek(count, 1)


class _Deflated:
    """A compressed element, unpacked as far as it is read."""

    def __init__(self, file: BinaryIO, length: int) -> None:
        self.file, self.left, self.unpack = file, length, zlib.decompressobj()

    def read(self, count: int) -> bytes:
        out = b""
        while len(out) < count:
            source = self.unpack.unconsumed_tail
            if not source:
                source = self.file.read(min(self.left, 65536))
                self.left -= len(source)
            piece = self.unpack.decompress(source, count - len(out))
            if not piece and (self.unpack.eof or not source):
                break
            out += piece
        return out

    def skip(self, count: int) -> None:
        while count > 0:
            piece = self.read(min(count, 2**20))
            if not piece:
                raise MalformedError("a compressed variable ends early")
            count -= len(piece)


class Walk:
    """A walk through the elements of a file.

    Parameters
    ----------
    order
        Byte order.
    """

    def __init__(self, order: Literal["little", "big"]) -> None:
        self.order: Literal["little", "big"] = order

    def top(self, file: BinaryIO, size: int) -> None:
        """Look through one element at the top of a file, and go to its end."""
        start = file.tell()
        kind, length = self._words(file.read(8))
        if length > size - start - 8:
            raise MalformedError(f"it is truncated: a variable reaches to byte {start + 8 + length} of {size}")
        if kind == COMPRESSED:
            inside = _Deflated(file, length)
            kind, whole = self._words(inside.read(8))
            self._matrix(inside, kind, whole, 0)
        else:
            self._matrix(_Raw(file), kind, length, 0)
        file.seek(start + 8 + length)

    def _words(self, data: bytes) -> tuple[int, int]:
        if len(data) < 8:
            raise MalformedError("an element ends early")
        return int.from_bytes(data[:4], self.order), int.from_bytes(data[4:8], self.order)

    def _tag(self, stream: Stream) -> tuple[int, int, bytes | None]:
        """Return type and length of an element, and its data where they lie in the tag."""
        data = stream.read(8)
        kind, length = self._words(data)
        if kind >> 16:
            kind, length = kind & 0xFFFF, kind >> 16
            if length > 4:
                raise MalformedError(f"a short element of {length} bytes")
            return kind, length, data[4 : 4 + length]
        return kind, length, None

    def _small(self, stream: Stream, kinds: set[int], most: int) -> tuple[bytes, int]:
        """Return the data of a small element, and how many bytes it took."""
        kind, length, data = self._tag(stream)
        if kind not in kinds or length > most:
            raise MalformedError(
                f"an element of type {kind} with {length} bytes, where one of type {min(kinds)} belongs"
            )
        if data is not None:
            return data, 8
        padded = -(-length // 8) * 8
        data = stream.read(padded)
        if len(data) < padded:
            raise MalformedError("an element ends early")
        return data[:length], 8 + padded

    def _matrix(self, stream: Stream, kind: int, length: int, depth: int) -> None:
        if kind != MATRIX or depth > DEEPEST:
            raise MalformedError(f"an element of type {kind}, {depth} levels deep")
        if length == 0:
            return
        flags, used = self._small(stream, {6}, 8)
        flags = flags.ljust(8, b"\0")
        word = int.from_bytes(flags[:4], self.order)
        class_, complex_ = word & 0xFF, bool(word & 0x800)
        if class_ in (FUNCTION, OPAQUE):
            stream.skip(length - used)
            return
        dims, more = self._small(stream, {5, 6}, 128)
        used += more
        if len(dims) < 8 or len(dims) % 4:
            raise MalformedError(f"an array of {len(dims) / 4:g} axes")
        shape = [int.from_bytes(dims[k : k + 4], self.order, signed=True) for k in range(0, len(dims), 4)]
        if min(shape) < 0:
            raise MalformedError(f"an array of shape {shape}")
        used += self._small(stream, {1, 2, 16}, 4096)[1]
        left, count = length - used, math.prod(shape)
        if class_ in NUMERIC:
            self._numbers(stream, count, left, complex_, last=depth == 0)
        elif class_ in (CELL, STRUCT, OBJECT):
            self._inside(stream, class_, count, left, depth)
        elif class_ in (CHAR, SPARSE):
            self._parts(stream, left, TEXT if class_ == CHAR else {*BYTES})
        else:
            raise MalformedError(f"an array of class {class_}")

    def _numbers(self, stream: Stream, count: int, left: int, complex_: bool, last: bool) -> None:
        """Check that each part holds as many numbers as the array; what follows the last one's tag is not looked at."""
        for part in range(1 + complex_):
            kind, length, data = self._tag(stream)
            if kind not in BYTES or length != count * BYTES[kind]:
                raise MalformedError(f"{length} bytes of type {kind} for {count} numbers")
            padded = 0 if data is not None else -(-length // 8) * 8
            left -= 8 + padded
            if left < 0 and -left >= 8:
                raise MalformedError("numbers reach beyond their variable")
            if not (last and part == complex_):
                stream.skip(padded)

    def _inside(self, stream: Stream, class_: int, count: int, left: int, depth: int) -> None:
        if class_ == OBJECT:
            left -= self._small(stream, {1, 2, 16}, 4096)[1]
        if class_ != CELL:
            width, used = self._small(stream, {5}, 4)
            names, more = self._small(stream, {1, 2, 16}, 2**20)
            size, left = int.from_bytes(width, self.order), left - used - more
            if size < 1 or len(names) % size:
                raise MalformedError(f"names of {size} letters in {len(names)} bytes")
            count *= len(names) // size
        if 8 * count > left:
            raise MalformedError(f"{count} entries in {left} bytes")
        for _ in range(count):
            kind, length = self._words(stream.read(8))
            left -= 8 + length
            if left < 0:
                raise MalformedError("an entry reaches beyond its variable")
            self._matrix(stream, kind, length, depth + 1)

    def _parts(self, stream: Stream, left: int, kinds: set[int]) -> None:
        while left >= 8:
            kind, length, data = self._tag(stream)
            padded = 0 if data is not None else -(-length // 8) * 8
            left -= 8 + padded
            if kind not in kinds or left < 0:
                raise MalformedError(f"an element of type {kind} with {length} bytes")
            stream.skip(padded)


def check_structure(path: Path) -> None:
    """Follow the elements of a version 5 file to its end.

    Raises
    ------
    DataError
        If it is no such file, one reaches beyond it, or something in it cannot be.
    """
    try:
        _walk(path)
    except (MalformedError, zlib.error) as error:
        raise broken(path, error) from error


def _walk(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(HEADER)
        mark = header[126:128]
        if mark not in (b"IM", b"MI") or 0 in header[:4]:  # scipy takes a zero there for version 4
            raise MalformedError("it has no MATLAB header")
        walk = Walk("little" if mark == b"IM" else "big")
        while file.tell() < size:
            walk.top(file, size)
