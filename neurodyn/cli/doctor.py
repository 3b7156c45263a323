"""`neurodyn doctor`: what this installation can do, and what is missing."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from pathlib import Path

import typer

from neurodyn.cli.console import Common, command
from neurodyn.core.errors import WorkError


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(app, "doctor", panel="About", example="neurodyn doctor")(doctor)


def doctor(common: Common) -> None:
    """Check versions, GPU, space and optional parts."""
    from neurodyn.core.extras import EXTRAS
    from neurodyn.core.provenance import PACKAGES, version

    facts = {"neurodyn": version(), "python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    facts |= {
        "processors": str(os.cpu_count()),
        "free disk here": f"{shutil.disk_usage(Path.cwd()).free / 2**30:.1f} GiB",
        "gpu": _gpus(),
    }
    missing = [name for name in ("pynwb", "oasis") if importlib.util.find_spec(name) is None]
    absent = [name for name in EXTRAS if importlib.util.find_spec(name) is None]
    facts |= {name: f"absent; to have it: pip install 'neurodyn[{EXTRAS[name]}]'" for name in absent}
    width = max(map(len, facts))
    common.plan([f"{name.ljust(width)}  {value}" for name, value in facts.items()], **facts)
    if missing:
        raise WorkError(
            "The installation is incomplete.",
            f"Missing: {', '.join(missing)}.",
            "Install again: pip install --upgrade neurodyn",
        )


def _gpus() -> str:
    if importlib.util.find_spec("torch") is None:
        return "not to be told without torch"
    from neurodyn.training.devices import describe_gpus

    return describe_gpus()
