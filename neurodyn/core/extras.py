"""Libraries that only some commands need, and the extra that installs each."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from neurodyn.core.errors import ConfigError

EXTRAS = {
    "torch": "train",
    "jaxtyping": "train",
    "safetensors": "train",
    "vector_quantize_pytorch": "train",
    "optuna": "tune",
    "snakemake": "pipelines",
    "suite2p": "suite2p",
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
        raise lacking(error, module, what) or error from error


def check(module: str, what: str = "This") -> None:
    """Refuse where a library that an extra installs is absent, without importing it.

    Raises
    ------
    ConfigError
        If it is.
    """
    if importlib.util.find_spec(module) is None:
        raise lacking(ModuleNotFoundError(name=module), module, what) or ModuleNotFoundError(name=module)


def lacking(error: BaseException, module: str = "", what: str = "This") -> ConfigError | None:
    """Return what to tell a user where an import failed for want of an extra; None of any other error.

    Parameters
    ----------
    module
        What was imported; without, as the error says.
    what
        What needs it.
    """
    if not isinstance(error, ImportError):
        return None
    name = (module or error.name or "").partition(".")[0]
    if name not in EXTRAS:
        return None
    found = "It is not installed." if isinstance(error, ModuleNotFoundError) and error.name == name else f"{error}."
    return ConfigError(f"{what} needs {name}.", found, f"pip install 'neurodyn[{EXTRAS[name]}]'")
