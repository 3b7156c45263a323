"""`neurodyn list`: names of what there is, importing none of it."""

from __future__ import annotations

import importlib
from typing import Annotated, Literal

import typer

from neurodyn.cli.console import Common, command
from neurodyn.core.registry import Registry

Kind = Literal["models", "steps", "chains", "decoders", "readers", "simulators", "backends", "pipelines"]
REGISTRIES = {
    "step": "neurodyn.preprocess:STEPS",
    "decoder": "neurodyn.decode:DECODERS",
    "reader": "neurodyn.data.readers:READERS",
    "simulator": "neurodyn.simulate:SIMULATORS",
    "backend": "neurodyn.backends:BACKENDS",
}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(app, "list")(list_names)


def registry(kind: str) -> Registry:
    """Return the registry of one kind of plug-in; importing it imports no plug-in."""
    module, _, name = REGISTRIES[kind].partition(":")
    return getattr(importlib.import_module(module), name)


def summaries(kind: str) -> dict[str, str]:
    """Return every name of a kind with its one-line description."""
    if kind in REGISTRIES:
        names = registry(kind)
        return {name: names.summary(name) for name in names.names()}
    from neurodyn.core.config import list_presets, load_yaml

    return {
        name: str(load_yaml(path).values.get("description", "")).strip() for name, path in list_presets(kind).items()
    }


def list_names(common: Common, kind: Annotated[Kind, typer.Argument(help="What to list.")]) -> None:
    """List models, steps, chains, decoders, readers, simulators, back-ends or pipelines."""
    found = summaries(kind.removesuffix("s"))
    width = max(map(len, found), default=0)
    common.plan([f"{name.ljust(width)}  {text}".rstrip() for name, text in found.items()], **{kind: found})
