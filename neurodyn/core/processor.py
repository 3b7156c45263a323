"""How fast the linear algebra library uses this processor."""

from __future__ import annotations

import os
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def use_wide_vectors() -> None:
    """Have OpenBLAS use 512-bit vectors where it would not by itself; call it before numpy is imported.

    OpenBLAS knows AMD's processors by model, and takes the 256-bit code meant for older ones on models it does not know:
    small matrix products are then 2.5 times slower. A choice the user made (OPENBLAS_CORETYPE) stands.
    """
    words = CPUINFO.read_text(encoding="utf-8", errors="replace").split() if CPUINFO.exists() else []
    if "AuthenticAMD" in words and {"avx512f", "avx512dq", "avx512bw", "avx512vl"} <= set(words):
        os.environ.setdefault("OPENBLAS_CORETYPE", "SkylakeX")
