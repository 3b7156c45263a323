"""How fast the linear algebra library and the allocator of memory use this processor."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
LARGE = 32 * 2**20  # glibc accepts no more
KEPT = 2**30
USUAL = 2**17  # what glibc begins with, for both


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_wide_vectors() -> None:
    """Have OpenBLAS use 512-bit vectors where it would not by itself; call it before numpy is imported.

    OpenBLAS knows AMD's processors by model, and takes the 256-bit code meant for older ones on models it does not know:
    small matrix products are then 2.5 times slower. A choice the user made (OPENBLAS_CORETYPE) stands.
    """
    words = CPUINFO.read_text(encoding="utf-8", errors="replace").split() if CPUINFO.exists() else []
    if "AuthenticAMD" in words and {"avx512f", "avx512dq", "avx512bw", "avx512vl"} <= set(words):
        os.environ.setdefault("OPENBLAS_CORETYPE", "SkylakeX")


def keep_freed_memory() -> None:
    """Have glibc hand arrays of up to 32 MB the memory freed last, up to 1 GB of it, instead of fresh pages every time.

    A step of training frees what the next one asks for; clearing new pages took a fifth of it. Elsewhere than on glibc,
    nothing changes.
    """
    _tell_allocator(LARGE, KEPT)


def return_freed_memory() -> None:
    """Have glibc give freed arrays back at once, for a command that waits longer than it works."""
    _tell_allocator(USUAL, USUAL)


def _tell_allocator(mmap_from: int, trim_from: int) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, mmap_from)
        mallopt(TRIM_THRESHOLD, trim_from)
