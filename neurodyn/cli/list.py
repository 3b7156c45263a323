"""`neurodyn list`: names of what there is, importing none of it."""

from __future__ import annotations

import importlib
from typing import Annotated, Literal

import typer

from neurodyn.cli.console import Common, command
from neurodyn.core.registry import Registry

Kind = Literal[
    "models",
    "steps",
    "chains",
    "decoders",
    "evaluations",
    "readers",
    "simulators",
    "backends",
    "pipelines",
    "indicators",
]
REGISTRIES = {
    "step": "neurodyn.preprocess:STEPS",
    "decoder": "neurodyn.decode:DECODERS",
    "reader": "neurodyn.readers.read:READERS",
    "evaluation": "neurodyn.evaluate:EVALUATIONS",
    "simulator": "neurodyn.simulate:SIMULATORS",
    "backend": "neurodyn.backends:BACKENDS",
}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(app, "list", panel="About", example="neurodyn list models")(list_names)


def registry(kind: str) -> Registry:
    """Return the registry of one kind of plug-in; importing it imports no plug-in."""
    module, _, name = REGISTRIES[kind].partition(":")
    return getattr(importlib.import_module(module), name)


def summaries(kind: str) -> dict[str, str]:
    """Return every name of a kind with its one-line description."""
    if kind in REGISTRIES:
        names = registry(kind)
        return {name: names.summary(name) for name in names.names()}
    if kind == "indicator":
        from neurodyn.calcium.indicators import KINETICS

        return {
            name: f"peak {1000 * one.peak:g} ms, half-decay {1000 * one.half_decay:g} ms, tau {one.tau:g} s. {one.source}"
            for name, one in KINETICS.items()
        }
    from neurodyn.core.config import list_presets, load_yaml

    return {
        name: str(load_yaml(path).values.get("description", "")).strip() for name, path in list_presets(kind).items()
    }


def list_names(common: Common, kind: Annotated[Kind, typer.Argument(help="What to list.")]) -> None:
    """List models, steps, chains, decoders, evaluations, readers, simulators, back-ends, pipelines or indicators."""
    found = summaries(kind.removesuffix("s"))
    width = max(map(len, found), default=0)
    common.plan([f"{name.ljust(width)}  {text}".rstrip() for name, text in found.items()], **{kind: found})
