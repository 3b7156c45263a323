"""The column that is decoded, of a recording's stimulus table or behaviour, and the windows that suit it."""

from __future__ import annotations

import numpy as np

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.recording import Recording
from neurodyn.data.stimulus_code import with_stimulus_alone
from neurodyn.data.store import as_text
from neurodyn.data.window_config import WindowConfig
from neurodyn.decode.events import Events, event_windows
from neurodyn.decode.settings import DecodeConfig
from neurodyn.decode.tasks import Column, choose_task, zero_is_nothing


def with_target(config: DecodeConfig, recording: Recording) -> DecodeConfig:
    """Return the configuration with a target: the one asked for, or the only stimulus column there is.

    Raises
    ------
    ConfigError
        If none was asked for and there are none or several.
    """
    if config.target is not None:
        return config
    table = recording.table("stimulus")
    columns = [] if table is None else sorted(str(name) for name in table.data_vars if name not in ("start", "stop"))
    if len(columns) != 1:
        raise ConfigError(
            "No target was named.",
            f"Recording '{recording.session}' has stimulus columns: {', '.join(columns) or 'none'}.",
            f"Name one: --target {columns[0] if columns else 'NAME'}",
        )
    return config.model_copy(update={"target": columns[0]})


def read_column(recording: Recording, config: DecodeConfig) -> Column:
    """Read the target, one value per event in order of onsets, or per sample of behaviour.

    Raises
    ------
    DataError
        If there is no such column, or % is asked of something that is no number.
    """
    target = str(config.target)
    name, modulo = _parse(target)
    stimulus, behavior = recording.table("stimulus"), recording.table("behavior")
    if stimulus is not None and name in stimulus:
        found, of_behavior = Events.of(recording).table[name], False
    elif behavior is not None and name in behavior.data_vars and behavior[name].ndim == 1:
        found, of_behavior = behavior[name], True
    else:
        raise _no_target(recording, target)
    values = as_text(found.values) if found.dtype.kind in "OSUTb" else found.values
    if modulo is not None:
        if values.dtype.kind not in "iuf":
            raise DataError(f"'{name}' is not a number.", f"Found {found.dtype}; % needs numbers.", "Leave out the %.")
        values = values % modulo
    return Column(name, values, str(found.attrs.get("units", "")), modulo, of_behavior)


def suitable_windows(recording: Recording, config: DecodeConfig) -> WindowConfig:
    """Return the windows of a bare recording: around events, unless asked otherwise or 0 between events is the truth.

    Windows along the stream stay where `windows.align`, `windows.stride` or `blank` is given, for behaviour, and for
    quantities such as contrast, whose 0 is the absence of the stimulus.
    """
    given = config.windows
    if {"align", "stride"} & given.model_fields_set or config.blank is not None:
        return given
    config = with_target(config, recording)
    alone = recording if given.kind is None else with_stimulus_alone(recording, given.kind)
    column = read_column(alone, config)
    if column.behavior or (choose_task(column, config).task == "regress" and zero_is_nothing(column.name)):
        return given
    known = np.isfinite(column.values) if column.numeric else column.values != ""
    return event_windows(given, alone, known)


def _parse(target: str) -> tuple[str, float | None]:
    name, sign, number = target.partition("%")
    if not sign:
        return name, None
    try:
        modulo = float(number)
    except ValueError as error:
        raise ConfigError(
            f"Target '{target}' cannot be read.",
            f"After % a number is expected, found '{number}'.",
            "--target NAME%180",
        ) from error
    if modulo <= 0:
        raise ConfigError(f"Target '{target}' cannot be read.", "The number after % must be positive.", "NAME%180")
    return name, modulo


def _no_target(recording: Recording, target: str) -> DataError:
    found = []
    for group in ("stimulus", "behavior"):
        table = recording.table(group)
        if table is not None:
            names = sorted(str(n) for n in table.variables if n not in ("start", "stop") and n not in table.dims)
            found.append(f"{group}: {', '.join(names) or 'nothing'}")
    return DataError(
        f"Recording '{recording.session}' has no target '{target}'.",
        f"Found {'; '.join(found) or 'neither stimulus nor behaviour'}.",
        "Name one of these: --target NAME",
    )
