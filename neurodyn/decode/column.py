"""The column that is decoded, of a recording's stimulus table or behaviour, and the windows that suit it."""

from __future__ import annotations

import numpy as np

from neurodyn.core.errors import ConfigError
from neurodyn.data.columns import read_column, zero_is_nothing
from neurodyn.data.recording import Recording
from neurodyn.data.stimulus_code import with_stimulus_alone
from neurodyn.data.window_config import WindowConfig
from neurodyn.decode.events import event_windows
from neurodyn.decode.settings import DecodeConfig
from neurodyn.decode.tasks import choose_task


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
    column = read_column(alone, str(config.target))
    if column.behavior or (choose_task(column, config).task == "regress" and zero_is_nothing(column.name)):
        return given
    known = np.isfinite(column.values) if column.numeric else column.values != ""
    return event_windows(given, alone, known)
