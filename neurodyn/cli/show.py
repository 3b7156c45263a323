"""`neurodyn show`: every parameter of a model, step, decoder, evaluation, simulator, chain or pipeline."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from neurodyn.cli.console import Common, command
from neurodyn.cli.list import registry

Kind = Literal["model", "step", "chain", "decoder", "evaluation", "simulator", "pipeline"]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(app, "show", panel="About", example="neurodyn show model cst")(show)


def show(
    common: Common,
    kind: Annotated[Kind, typer.Argument(help="What kind.")],
    name: Annotated[str, typer.Argument(help="Its name; see: neurodyn list.")],
) -> None:
    """Print every parameter with type, default, meaning and source."""
    from neurodyn.core.config import find_preset

    if kind in ("pipeline", "chain"):
        common.plan(find_preset(kind, name).read_text(encoding="utf-8").splitlines(), path=find_preset(kind, name))
        return
    rows = _model_rows(name) if kind == "model" else _rows(_params(kind, name), {}, "default")
    widths = [max(len(row[k]) for row in rows) for k in range(3)] if rows else [0, 0, 0]
    lines = [
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[3]]).rstrip() for row in rows
    ]
    common.plan(
        lines,
        **{kind: name},
        parameters=[dict(zip(("key", "type", "value", "meaning"), row, strict=True)) for row in rows],
    )


def _params(kind: str, name: str) -> Any:
    plugin = registry(kind).get(name)
    return plugin.Config if kind == "evaluation" else plugin.Params


def _model_rows(name: str) -> list[tuple[str, str, str, str]]:
    from neurodyn.runs.config import RunConfig
    from neurodyn.training.config import load_run_config

    config, _ = load_run_config(name, None, [])
    backend = registry("backend").get(config.backend)
    rows = [
        ("backend", "str", config.backend, str(RunConfig.model_fields["description"].default or config.description))
    ]
    model = backend.Config.model_validate(config.model)
    for prefix, section in (("model", model), ("windows", config.windows), ("training", config.training)):
        rows += _rows(type(section), section.model_dump(), f"preset {name}", f"{prefix}.")
    return [(*row[:3], f"{row[3]}{_searched(backend.SEARCH.get(row[0]))}") for row in rows]


def _searched(space: Any) -> str:
    return "" if space is None else f" [tuned: {space}]"


def _rows(model: Any, values: dict[str, Any], source: str, prefix: str = "") -> list[tuple[str, str, str, str]]:
    rows = []
    for name, info in model.model_fields.items():
        value = values.get(name, info.get_default(call_default_factory=True))
        origin = "default" if value == info.get_default(call_default_factory=True) else source
        kind = getattr(info.annotation, "__name__", str(info.annotation)).replace("typing.", "")
        rows.append((f"{prefix}{name}", kind, str(value), f"{info.description or ''} [{origin}]"))
    return rows
