"""neurodyn: calcium imaging from raw movie to decoded, reported result.

``import neurodyn as nd`` gives what the command line does, for notebooks; nothing heavy is imported before it is used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neurodyn.api import Recording as Recording
    from neurodyn.api import decode as decode
    from neurodyn.api import denoise as denoise
    from neurodyn.api import fit as fit
    from neurodyn.api import infer as infer
    from neurodyn.api import open as open
    from neurodyn.api import preprocess as preprocess
    from neurodyn.api import read as read
    from neurodyn.api import report as report
    from neurodyn.api import respond as respond
    from neurodyn.api import view as view

__version__: str
__all__ = [
    "Recording",
    "__version__",
    "decode",
    "denoise",
    "fit",
    "infer",
    "open",
    "preprocess",
    "read",
    "report",
    "respond",
    "view",
]


class _Room(ModuleType):
    """A package whose name is a verb, too: once it is imported, `nd.decode` is the package, and still decodes."""

    def __call__(self, *args: Any, **settings: Any) -> Any:
        verb = self.__name__.rpartition(".")[2]
        return getattr(import_module("neurodyn.api"), verb)(*args, **settings)


class _Face(ModuleType):
    """The package itself: the import system binds packages as its attributes, over what it has of the same name."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in __all__ and isinstance(value, ModuleType):
            value.__class__ = _Room
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Face


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("neurodyn.core.provenance").version()
    if name in __all__:
        return getattr(import_module("neurodyn.api"), name)
    raise AttributeError(f"module 'neurodyn' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
