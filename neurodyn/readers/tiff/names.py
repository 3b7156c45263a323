"""What the names of files say of their order where no program's habit is known."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from neurodyn.core.errors import DataError
from neurodyn.readers.tiff.grid import Grid, of_places

DIGITS = re.compile(r"(\d+)")
AXIS = re.compile(r"(?:^|[^a-z])(t|time|frame|z|slice|plane|c|ch|chan|channel)[ _-]?$", re.IGNORECASE)
OF_WORD = {
    **dict.fromkeys(("t", "time", "frame"), 0),
    **dict.fromkeys(("z", "slice", "plane"), 1),
    **dict.fromkeys(("c", "ch", "chan", "channel"), 2),
}
LISTED = 4


def by_names(path: Path, files: Sequence[Path]) -> Grid | None:
    """Return the grid where names tell planes or channels (z, plane, ch, …); None where one number counts the files.

    Raises
    ------
    DataError
        If there are movies of several names, or several numbers count and nothing says what.
    """
    parts = {file: DIGITS.split(file.stem.removesuffix(".ome")) for file in files}
    _check_stems(path, parts)
    numbered = {file: part for file, part in parts.items() if len(part) > 1}
    values = {file: tuple(int(one) for one in part[1::2]) for file, part in numbered.items()}
    if not values:
        return None
    texts = next(iter(numbered.values()))[0::2]
    varying = [k for k, column in enumerate(zip(*values.values(), strict=True)) if len(set(column)) > 1]
    words = {k: AXIS.search(texts[k]) for k in varying}
    axes = {k: OF_WORD[found[1].lower()] if found else 0 for k, found in words.items()}
    if any(axes.values()) and len(set(axes.values())) == len(axes) and len(numbered) == len(parts):
        places = {file: _place(value, axes) for file, value in values.items()}
        told = ", ".join(f"{texts[k]}#" for k in varying)
        return replace(of_places(places, f"planes and channels by names ({told})", dense=False), headers=True)
    if len(varying) > 1 and not any(_counts([value[k] for value in values.values()]) for k in varying):
        raise _several(path, texts, varying, values)
    return None


def _place(value: tuple[int, ...], axes: Mapping[int, int]) -> tuple[int, int, int]:
    place = [0, 0, 0]
    for k, axis in axes.items():
        place[axis] = value[k]
    return place[0], place[1], place[2]


def _counts(numbers: Sequence[int]) -> bool:
    """Say whether numbers rise from each file to the next."""
    return all(a < b for a, b in zip(numbers, numbers[1:], strict=False))


def _check_stems(path: Path, parts: Mapping[Path, Sequence[str]]) -> None:
    """Refuse names that differ in more than their numbers; a first file without a number is a first one."""
    shapes = {tuple(part[0::2]) for part in parts.values()}
    bare = [part[0] for part in parts.values() if len(part) == 1]
    rest = {shape for shape in shapes if len(shape) > 1}
    if len(shapes) == 1 and not (len(bare) > 1):
        return
    if len(bare) == 1 and len(rest) == 1 and next(iter(rest))[0].startswith(bare[0]):
        return
    names = sorted({"#".join(shape) for shape in shapes})
    listed = ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")
    raise DataError(
        f"{path} holds movies of several names.",
        f"Found {listed} (# is a number); nothing says whether they are channels, planes or recordings.",
        "Give each a folder of its own.",
    )


def _several(
    path: Path, texts: Sequence[str], varying: Sequence[int], values: Mapping[Path, tuple[int, ...]]
) -> DataError:
    listed = []
    for k in varying:
        column = sorted({value[k] for value in values.values()})
        listed.append(f"{texts[k]}# from {column[0]} to {column[-1]}")
    return DataError(
        f"{path}: several numbers count its files, and nothing says what they count.",
        f"Found {', '.join(listed)} (# is a number) in {len(values)} files.",
        "Rename the files so that one number counts them in time, with t, z or ch before numbers of time, plane, channel.",
    )
