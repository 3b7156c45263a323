"""What training begins with: recordings opened and cut, and all that can be refused before a model is built; no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from neurodyn.backends import config_class
from neurodyn.core.errors import ConfigError
from neurodyn.core.files import sha256
from neurodyn.data.recording import Recording
from neurodyn.data.windows import Windows
from neurodyn.runs.config import RunConfig
from neurodyn.training.devices import Devices, choose_devices


def check_stages(config: RunConfig) -> None:
    """Refuse stages that the model does not have.

    Raises
    ------
    ConfigError
        Naming those it has.
    """
    known = config_class(config.backend).stages
    if strange := set(config.stages) - set(known):
        raise ConfigError(
            f"{config.backend} has no stage {', '.join(sorted(strange))}.",
            f"It is trained in: {', '.join(known) or 'none'}.",
            "Name one of these in `stages`, or leave it out.",
        )


def opened(
    config: RunConfig, recordings: Sequence[Path | Recording], gpu: str
) -> tuple[Devices, list[Recording], dict[str, Windows]]:
    """Return the devices, the recordings and their windows, where training can begin with them."""
    devices = choose_devices(gpu, config.training.processes)
    found = [open_saved(recording) for recording in recordings]
    parts = cut_parts(config, found)
    _require_a_window_each(config, parts["train"], devices)
    return devices, found, parts


def cut_parts(config: RunConfig, recordings: Sequence[Recording], without: str | None = None) -> dict[str, Windows]:
    """Cut the windows that a model asks for and split them; the part `without` is left out, and never read."""
    ragged = "sessions" in _capabilities(config)
    parts = Windows.cut(recordings, config.windows, ragged).split(without)
    return parts | {"train": parts["train"].to_train()}


def _require_a_window_each(config: RunConfig, windows: Windows, devices: Devices) -> None:
    """Refuse batches that leave a process without a window.

    Raises
    ------
    ConfigError
        If there are more processes than windows in a batch, or at all.
    """
    for stage in config.every_training():
        pieces = devices.ranks * stage.accumulate
        if stage.batch < devices.ranks or (len(windows) < pieces and not stage.steps_per_epoch):
            raise ConfigError(
                f"{len(windows)} training windows in batches of {stage.batch} cannot be shared.",
                f"Found {devices.ranks} GPUs or processes and {stage.accumulate} batches per step; each needs a window.",
                f"Use larger batches, or fewer GPUs: --set training.batch={max(stage.batch, devices.ranks)}",
            )


def _capabilities(config: RunConfig) -> frozenset[str]:
    """Return what the model can.

    Raises
    ------
    ConfigError
        If it is to be shown more signals than it takes.
    """
    able = config_class(config.backend).capabilities
    if config.windows.others and "channels" not in able:
        raise ConfigError(
            f"{config.backend} takes one signal.",
            f"Found beside it: {', '.join(config.windows.others)}.",
            "Leave out windows.others, or train a model of several: atmorep",
        )
    return able


def labelled(parts: dict[str, Windows]) -> dict[str, Windows]:
    """Let the training windows decide, where responses are asked for, what counts as one in all parts."""
    rule = parts["train"].with_rule().rule
    return {name: replace(windows, rule=rule) for name, windows in parts.items()}


def open_saved(recording: Path | Recording) -> Recording:
    """Open a recording; refuse one that is only in memory."""
    if not isinstance(recording, Recording):
        return Recording.open(recording)
    if recording.path is None:
        raise ConfigError(
            f"Recording '{recording.session}' is only in memory.",
            "A run records where its data are.",
            "Save it first: recording.save(PATH), then Recording.open(PATH)",
        )
    return recording


def sources(recordings: Sequence[Recording]) -> list[dict[str, str]]:
    """Return path and SHA-256 of every recording."""
    paths = [recording.path.resolve() for recording in recordings if recording.path]
    return [{"path": str(path), "sha256": sha256(path)} for path in paths]
