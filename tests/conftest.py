"""Shared fixtures; jaxtyping is checked wherever tensors flow."""

import os
import sys
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as training does: threads in products this small only wait
os.environ.setdefault("OMP_NUM_THREADS", "1")  # a processor for each of the two workers of pyproject.toml
os.environ.setdefault("NUMBA_NUM_THREADS", "1")  # numba sets the number for PyTorch, too, once suite2p has loaded it

import pytest
from jaxtyping import install_import_hook

# Where PYTHONDONTWRITEBYTECODE is set, every process that a test starts would compile PyTorch and all others anew.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

HOOK = install_import_hook(["neurodyn.nn", "neurodyn.backends"], "beartype.beartype")
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real recordings; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the real recordings are not on this machine")
    return SHARED
