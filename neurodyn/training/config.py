"""What training reads: a preset and what a person says otherwise, checked with the back-end's own keys."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from neurodyn.backends import config_class
from neurodyn.backends.settings.base import BackendConfig
from neurodyn.core.config import (
    Layer,
    Resolved,
    find_preset,
    layers_of,
    load_yaml,
    resolve,
    validate,
    without_section,
)
from neurodyn.runs.config import RunConfig

TUNE = "tune"
SECTIONS = ("model", "windows", "training", "stages", TUNE)


def load_run_config(
    preset: str, config_file: Path | None = None, sets: Sequence[str] = ()
) -> tuple[RunConfig, Resolved]:
    """Merge preset, file, environment and `--set` items, and validate everything, the back-end's keys included.

    The section `tune` is tuning's, which may share a file with training.

    Parameters
    ----------
    preset
        Name of a preset, or path of a YAML file.

    Raises
    ------
    ConfigError
        Naming file, line and key of what is wrong.
    """
    path, layers = read_layers(preset, config_file, sets)
    resolved = resolve(without_section(layer, TUNE) for layer in layers)
    return run_config(resolved, path.stem), resolved


def read_layers(preset: str, config_file: Path | None, sets: Sequence[str]) -> tuple[Path, list[Layer]]:
    """Return the preset's path and the layers to merge: the preset's own, then file, environment and `--set` items."""
    path = find_preset("model", preset)
    return path, [load_yaml(path), *layers_of(sections=SECTIONS, config=config_file, sets=sets)]


def run_config(resolved: Resolved, name: str) -> RunConfig:
    """Validate merged values; `name` is the preset's.

    Raises
    ------
    ConfigError
        Naming file, line and key of what is wrong.
    """
    config = validate(RunConfig, resolved)
    model = validate(config_class(config.backend), resolved, ("model",))
    return config.model_copy(update={"name": config.name or name, "model": model.model_dump(mode="json")})


def backend_config(config: RunConfig) -> BackendConfig:
    """Return `model` as the back-end's own configuration."""
    return config_class(config.backend).model_validate(config.model)
