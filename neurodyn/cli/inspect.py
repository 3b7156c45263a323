"""`neurodyn inspect`: what a file holds, and what can be done with it next."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from neurodyn.cli.common import Axes, Channels, Fs, Key, ReaderName, read_options
from neurodyn.cli.console import Common, command


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(app, "inspect")(inspect)


def inspect(
    common: Common,
    source: Annotated[Path, typer.Argument(help="Recording, movie or folder.")],
    fs: Fs = None,
    channels: Channels = None,
    axes: Axes = None,
    key: Key = None,
    reader: ReaderName = None,
) -> None:
    """Show shape, rate, variables, events and history."""
    from neurodyn.data.readers import read

    options = read_options(common, fs=fs, channels=channels, axes=axes, key=key)
    facts = describe(read(source, options, reader))
    if common.json:
        common.product(source, **facts)
    else:
        width = max(map(len, facts))
        common.plan([f"{name.ljust(width)}  {value}" for name, value in facts.items()])


def describe(recording: Any) -> dict[str, Any]:
    """Collect the facts about a recording, ready for a table or JSON."""
    time = recording.time
    facts: dict[str, Any] = {
        "session": recording.session,
        "rate": f"{recording.rate_hz:g} Hz",
        "duration": f"{time[-1] - time[0] + 1 / recording.rate_hz:.1f} s, {time.size} frames",
        "indicator": recording.indicator,
    }
    for name in recording.variables:
        variable = recording[name]
        facts[name] = f"{tuple(map(str, variable.dims))} {variable.shape} {variable.dtype}, {variable.attrs['units']}"
    stimulus = recording.table("stimulus")
    if stimulus is not None:
        facts["stimulus"] = f"{stimulus.sizes['event']} events: {', '.join(map(str, recording.stimulus.variables))}"
    facts["groups"] = ", ".join(recording.tree.children)
    facts["history"] = " -> ".join(step["step"] for step in recording.history) or "as read"
    return facts
