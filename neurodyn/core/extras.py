"""Libraries that only some commands need, and the extra that installs each."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from neurodyn.core.errors import ConfigError

EXTRAS = {
    "torch": "train",
    "jaxtyping": "train",
    "vector_quantize_pytorch": "train",
    "optuna": "tune",
    "snakemake": "pipelines",
    "suite2p": "suite2p",
    "roifile": "suite2p",
    "nd2": "nd2",
    "cv2": "video",
    "torchdiffeq": "baselines",
    "transformers": "baselines",
    "remfile": "dandi",
    "pynapple": "pynapple",
}


def require(module: str, what: str = "This") -> Any:
    """Import a library that an extra installs.

    Parameters
    ----------
    what
        What needs it.

    Raises
    ------
    ConfigError
        If it cannot be imported; the message says what to type.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise _told(module, what, error) from error


def check(module: str, what: str = "This") -> None:
    """Refuse where a library that an extra installs is absent, without importing it.

    Raises
    ------
    ConfigError
        If it is.
    """
    if importlib.util.find_spec(module) is None:
        raise _told(module, what, ModuleNotFoundError(name=module))


def lacking(error: BaseException) -> ConfigError | None:
    """Return what to tell a user where an import failed for want of an extra; None of any other error."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
    return _told(name, "This", error) if name in EXTRAS else None


def _told(name: str, what: str, error: BaseException) -> ConfigError:
    absent = isinstance(error, ModuleNotFoundError) and error.name == name
    found = "It is not installed." if absent else f"{error}."
    return ConfigError(f"{what} needs {name}.", found, f"pip install 'neurodyn[{EXTRAS[name]}]'")
