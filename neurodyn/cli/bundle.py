"""What a bug report needs, in one file: what was typed and what went wrong, and no data."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import traceback
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from neurodyn.core.config import Resolved
from neurodyn.core.files import atomic
from neurodyn.core.provenance import PACKAGES, git_state, version

OURS = ("NEURODYN_", "SLURM_")
SECRET = re.compile(r"token|secret|passw|credential|api_?key|auth|cookie|jwt", re.IGNORECASE)
SHORTEST = 4  # letters
INPUT = re.compile(r"input_value=.*?,(?= input_type)", re.DOTALL)  # of pydantic's messages
ADDRESS = re.compile(r"(?<=://)[^/\s@]+@")  # name and password in an address
GIVEN = re.compile(r"((?:token|secret|passw\w*|api_?key|auth\w*)[\w.]*\s*[=:]\s*)\S+", re.IGNORECASE)


def write_bundle(error: BaseException, lines: Sequence[str], folder: Path) -> Path:
    """Write `neurodyn-debug-TIME.zip`: command, configuration, traceback, versions, platform, last log lines.

    Home folders are shortened to ~. Of the environment it holds the variables of neurodyn and SLURM, save those whose
    name speaks of a secret; of the traceback no values of variables.

    Parameters
    ----------
    lines
        The last messages.
    folder
        Where to write it.
    """
    time, held = datetime.now(UTC), _resolved(error)
    secrets = _secrets(held.values if held else {}) | _secrets(os.environ)
    parts = {
        "command.txt": " ".join(["neurodyn", *map(repr, sys.argv[1:])]),
        "traceback.txt": "".join(traceback.format_exception(error)),
        "configuration.json": json.dumps(_configuration(held), indent=2, default=str, ensure_ascii=False),
        "system.json": json.dumps(_system(time), indent=2, ensure_ascii=False),
        "log.txt": "\n".join(lines),
    }
    path = folder / f"neurodyn-debug-{time:%Y%m%d-%H%M%S}-{os.getpid()}.zip"
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, without_secrets(text, secrets) + "\n")
    return path


def without_secrets(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text with home folders as ~, and without secrets: those known, and what looks like one.

    Parameters
    ----------
    secrets
        Values of settings and variables whose names speak of one.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    for home in {str(Path.home()), os.environ.get("HOME", "")} - {"", "/"}:
        text = text.replace(home, "~")
    return GIVEN.sub(r"\1***", ADDRESS.sub("***@", INPUT.sub("input_value=***,", text)))


def _secrets(values: Mapping[str, Any]) -> set[str]:
    """Return the values, long enough to be told apart, of all keys that speak of a secret."""
    found: set[str] = set()
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _secrets(value)
        elif SECRET.search(str(key)) and len(str(value)) >= SHORTEST:
            found.add(str(value))
    return found


def _resolved(error: BaseException) -> Resolved | None:
    """Return the last resolved configuration that the failing functions held."""
    held = (value for frame, _ in traceback.walk_tb(error.__traceback__) for value in frame.f_locals.values())
    return next(reversed([value for value in held if isinstance(value, Resolved)]), None)


def _configuration(held: Resolved | None) -> dict[str, Any]:
    """Return the configuration with the origin of each value."""
    if held is None:
        return {}
    origins = {".".join(map(str, key)): origin for key, origin in held.origins.items()}
    return {"values": _plain(held.values), "origins": origins}


def _plain(value: Any) -> Any:
    """Return nested settings; of anything else, its kind."""
    if isinstance(value, Mapping):
        return {str(key): "***" if SECRET.search(str(key)) else _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, str | int | float | bool) else type(value).__name__


def _system(time: datetime) -> dict[str, Any]:
    environment = {
        name: value for name, value in sorted(os.environ.items()) if name.startswith(OURS) and not SECRET.search(name)
    }
    return {
        "time_utc": time.isoformat(timespec="seconds"),
        "versions": {"neurodyn": version(), "python": platform.python_version()} | {p: version(p) for p in PACKAGES},
        "git": git_state(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "locale": os.environ.get("LC_ALL") or os.environ.get("LANG") or "",
        "environment": environment,
    }
