"""Who made this, from what, with what: enough to repeat it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from neurodyn.core.files import sha256

PACKAGES = ("numpy", "scipy", "xarray", "zarr", "torch", "scikit-learn", "oasis-deconv", "suite2p")


def version(package: str = "neurodyn") -> str:
    """Return an installed package's version, or "absent"."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def git_state() -> dict[str, Any]:
    """Return commit and cleanliness of the source tree neurodyn runs from; empty when installed from a wheel."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return {}

    def git(*args: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *args], capture_output=True, text=True, check=False
        ).stdout.strip()

    return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}


def provenance(inputs: list[Path], seeds: dict[str, int]) -> dict[str, Any]:
    """Collect command, versions, machine, git state, input checksums and seeds.

    Parameters
    ----------
    inputs
        Files or folders that were read; each is recorded with its SHA-256.
    seeds
        Purpose -> seed.
    """
    return {
        "command": ["neurodyn", *sys.argv[1:]],
        "time_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"neurodyn": version(), "python": platform.python_version()} | {p: version(p) for p in PACKAGES},
        "machine": {"platform": platform.platform(), "processors": os.cpu_count()},
        "git": git_state(),
        "inputs": {str(path): sha256(path) for path in inputs},
        "seeds": seeds,
    }
