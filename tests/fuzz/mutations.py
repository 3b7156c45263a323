"""Damage of files: what broken copies, broken disks and bad writers leave behind, and what an attacker would write."""

import re
import shutil
from pathlib import Path
from random import Random

NUMBERS = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**64 - 1)
TEXTS = (b"0", b"-1", b"1", b"3", b"4294967296", b"9223372036854775807", b"99999999999999999999", b"1e308", b"NaN")
MOST = 4096  # bytes at either end of a file, where headers and indexes lie


def mutated(data: bytes, random: Random) -> bytes:
    """Return the content with one to four faults in it."""
    for _ in range(random.randint(1, 4)):
        data = random.choice(FAULTS)(data, random)
    return data


def damage(source: Path, copy: Path, random: Random) -> Path:
    """Copy a file or folder and damage one file of it, or leave it out."""
    if source.is_dir():
        shutil.copytree(source, copy)
    else:
        shutil.copyfile(source, copy)
        for beside in source.parent.glob(f"{source.stem}.*"):
            if beside != source:
                shutil.copyfile(beside, copy.with_suffix(beside.suffix))
    inside = sorted(path for path in copy.rglob("*") if path.is_file())
    beside = sorted(path for path in copy.parent.glob(f"{copy.stem}.*") if path.is_file())
    victim = random.choice(inside or beside)
    if source.is_dir() and random.random() < 0.05:
        victim.unlink()
    else:
        victim.write_bytes(mutated(victim.read_bytes(), random))
    return copy


def _place(data: bytes, random: Random) -> int:
    most = len(data)
    where = random.randint(0, 3)
    if where == 0:
        return random.randint(0, min(most, MOST))
    if where == 1:
        return random.randint(max(0, most - MOST), most)
    if where == 2:
        return random.randint(0, min(most, 128))
    return random.randint(0, most)


def _truncate(data: bytes, random: Random) -> bytes:
    return data[: _place(data, random)]


def _flip(data: bytes, random: Random) -> bytes:
    out = bytearray(data)
    for _ in range(random.randint(1, 8)):
        place = _place(data, random)
        if place < len(out):
            out[place] ^= 1 << random.randint(0, 7)
    return bytes(out)


def _bytes(data: bytes, random: Random) -> bytes:
    place, count = _place(data, random), random.randint(1, 16)
    return data[:place] + random.randbytes(count) + data[place + count :]


def _zeros(data: bytes, random: Random) -> bytes:
    place, count = _place(data, random), random.choice((1, 4, 16, 64, 512))
    return data[:place] + bytes(min(count, len(data) - place)) + data[place + count :]


def _splice(data: bytes, random: Random) -> bytes:
    start, count, place = _place(data, random), random.choice((4, 16, 64, 512)), _place(data, random)
    return data[:place] + data[start : start + count] + data[place + random.choice((0, count)) :]


def _cut(data: bytes, random: Random) -> bytes:
    place = _place(data, random)
    return data[:place] + data[place + random.choice((1, 4, 64, 512)) :]


def _number(data: bytes, random: Random) -> bytes:
    place, width = _place(data, random), random.choice((1, 2, 4, 8))
    value = random.choice(NUMBERS) % 2 ** (8 * width)
    return data[:place] + value.to_bytes(width, random.choice(("little", "big"))) + data[place + width :]


def _digits(data: bytes, random: Random) -> bytes:
    """Change a number written as text, as headers of .npy, ImageJ, OME and Zarr have them."""
    found = [match.span() for match in re.finditer(rb"(?<![\w.])\d+(?:\.\d+)?", data[:MOST])]
    if not found:
        return _number(data, random)
    start, stop = random.choice(found)
    return data[:start] + random.choice(TEXTS) + data[stop:]


def _word(data: bytes, random: Random) -> bytes:
    """Put one of a file's words in the place of another: names, types and codecs get mixed up."""
    found = [match.span() for match in re.finditer(rb"[A-Za-z_]{3,}", data[:MOST])]
    if len(found) < 2:
        return _flip(data, random)
    (start, stop), (first, last) = random.choice(found), random.choice(found)
    return data[:start] + data[first:last] + data[stop:]


FAULTS = (_truncate, _flip, _bytes, _zeros, _splice, _cut, _number, _number, _digits, _word)
