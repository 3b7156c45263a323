"""The global heaps of HDF5 files, where texts lie, looked through before HDF5 reads them: one kind of damage keeps it busy for ever.

Source: The HDF Group, HDF5 File Format Specification 3.0, section III.E.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from neurodyn.core.errors import DataError

SIGNATURE, USER_BLOCKS = b"\x89HDF\r\n\x1a\n", (0, 512)  # MATLAB's header takes 512 bytes
FRONT = 2**26  # bytes in which heaps are looked for: texts are written early, and whole movies take minutes to read
HEAP, HEADER, ENTRY = b"GCOL\x01\0\0\0", 16, 16


def check_heaps(path: Path) -> None:
    """Refuse a file with a heap whose free space has no size: HDF5 (2.0) would step over it without moving.

    Raises
    ------
    DataError
        If there is one.
    """
    with path.open("rb") as file:
        front = file.read(USER_BLOCKS[-1] + len(SIGNATURE))
        if not any(front[start:].startswith(SIGNATURE) for start in USER_BLOCKS):
            return
        with mmap.mmap(file.fileno(), min(path.stat().st_size, FRONT), access=mmap.ACCESS_READ) as data:
            start = data.find(HEAP)
            while start >= 0:
                if _stands_still(data, start):
                    raise DataError(
                        f"{path} cannot be read.",
                        f"The heap of texts at byte {start} has free space without a size.",
                        "Check that the file is whole; copy it again.",
                    )
                start = data.find(HEAP, start + HEADER)


def _stands_still(data: mmap.mmap, start: int) -> bool:
    """Say whether a walk over a heap's entries would not end."""
    end = min(start + _number(data, start + 8), len(data))
    place = start + HEADER
    while place + ENTRY <= end:
        index, size = int.from_bytes(data[place : place + 2], "little"), _number(data, place + 8)
        if index == 0 and size == 0:
            return True
        place += size if index == 0 else ENTRY + -(-size // 8) * 8
    return False


def _number(data: mmap.mmap, place: int) -> int:
    return int.from_bytes(data[place : place + 8], "little")
