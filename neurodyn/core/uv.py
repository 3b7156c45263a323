"""uv, which comes with neurodyn."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from neurodyn.core.errors import WorkError


def find_uv(purpose: str) -> str:
    """Return where uv lies: beside this Python, or on the path.

    Parameters
    ----------
    purpose
        What it is needed for, a sentence.

    Raises
    ------
    WorkError
        If it is nowhere.
    """
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        raise WorkError("uv was not found.", purpose, "Install it: python -m pip install uv")
    return uv
