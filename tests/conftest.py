"""Shared fixtures; jaxtyping is checked wherever tensors flow."""

import os
import shutil
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as training does: threads in products this small only wait
os.environ.setdefault("OMP_NUM_THREADS", "1")  # a processor for each of the two workers of pyproject.toml
os.environ.setdefault("NUMBA_NUM_THREADS", "1")  # numba sets the number for PyTorch, too, once suite2p has loaded it

import pytest
from jaxtyping import install_import_hook

MEMORY = Path("/dev/shm")
if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 8 * 2**30:
    # A run makes some 70,000 small files, and a disk takes minutes to make and to remove them.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

HOOK = install_import_hook(["neurodyn.nn", "neurodyn.backends"], "beartype.beartype")
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real recordings; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the real recordings are not on this machine")
    return SHARED
