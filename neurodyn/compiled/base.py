"""How loops are compiled."""

from __future__ import annotations

import os
from pathlib import Path

import numba

# Compiled code is kept beside this file, or not at all: numba's other place is the home folder.
CACHE = os.access(Path(__file__).parent, os.W_OK)
compiled = numba.njit(fastmath=True, cache=CACHE, error_model="numpy", nogil=True)
# For parts of a loop so short that counting references to their arrays would be what takes time.
inlined = numba.njit(fastmath=True, error_model="numpy", nogil=True, inline="always")
