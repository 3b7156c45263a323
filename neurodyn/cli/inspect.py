"""`neurodyn inspect`: what a file holds, what it has to be told, and what can be done with it next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurodyn.cli.common import Axes, Channels, Fs, Indicator, Key, ReaderName, read_options
from neurodyn.cli.console import Common, command

if TYPE_CHECKING:
    import xarray as xr

    from neurodyn.data.recording import Recording
    from neurodyn.data.survey import Survey

FEW = 12


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(app, "inspect", panel="Start", example="neurodyn inspect movie.tif", sections=("source",))(inspect)


def inspect(
    common: Common,
    source: Annotated[Path, typer.Argument(help="Any file or folder: recording, movie, traces, container of arrays.")],
    fs: Fs = None,
    channels: Channels = None,
    axes: Axes = None,
    key: Key = None,
    indicator: Indicator = None,
    reader: ReaderName = None,
) -> None:
    """Show what a file is: shape, rate, variables, cells, indicator, stimuli, behaviour, history; and what comes next.

    What the file does not say is listed as `needs`, with the option that says it; the rest is shown as if it had been
    told so.
    """
    from neurodyn.data.survey import survey

    options = read_options(common, fs=fs, channels=channels, axes=axes, key=key, indicator=indicator)
    seen = survey(source, options, reader)
    facts = describe(seen, source)
    if common.json:
        common.product(source, **facts)
        return
    lines = []
    for name, value in facts.items():
        several = value if isinstance(value, list) else [value]
        lines += [f"{name if k == 0 else '':12}  {_line(one)}" for k, one in enumerate(several)]
    common.plan([line.rstrip() for line in lines])


def _line(value: Any) -> str:
    return f"{value['option']}   ({value['why']})" if isinstance(value, dict) else str(value)


def describe(seen: Survey, source: Path) -> dict[str, Any]:
    """Collect what is known about a source, ready for a table or JSON."""
    facts: dict[str, Any] = {"format": seen.format}
    if seen.arrays:
        shown = [f"{name} {what}" for name, what in list(seen.arrays.items())[:FEW]]
        more = [f"and {len(seen.arrays) - FEW} more"] if len(seen.arrays) > FEW else []
        facts["arrays"] = shown + more
    if seen.needs:
        facts["needs"] = [{"option": need.option, "why": need.why} for need in seen.needs]
    if seen.notes:
        facts["notes"] = seen.notes
    if seen.recording is not None:
        facts |= of_recording(seen.recording, seen.rate_known)
        facts["next"] = next_steps(seen, source)
    return facts


def of_recording(recording: Recording, rate_known: bool = True) -> dict[str, Any]:
    """Collect the facts about a recording."""
    time = recording.time
    seconds = f"{time[-1] - time[0] + 1 / recording.rate_hz:.1f} s, " if rate_known else ""
    facts: dict[str, Any] = {
        "session": recording.session,
        "rate": f"{recording.rate_hz:g} Hz" if rate_known else "unknown",
        "duration": f"{seconds}{time.size} frames",
        "indicator": _indicator(recording.indicator),
    }
    for name in recording.variables:
        variable = recording[name]
        facts[name] = (
            f"({', '.join(map(str, variable.dims))}) {variable.shape} {variable.dtype}, {variable.attrs['units']}"
        )
    rois = recording.table("rois")
    if rois is not None:
        facts["cells"] = f"{rois.sizes['roi']} ROIs: {', '.join(str(name) for name in rois.data_vars)}"
    if recording.table("stimulus") is not None:
        facts["stimulus"] = _stimulus(recording.stimulus, rate_known)
    behavior = recording.table("behavior")
    if behavior is not None:
        facts["behavior"] = ", ".join(
            f"{name} ({array.attrs.get('units', 'a.u.')})" for name, array in behavior.items()
        )
    facts["groups"] = ", ".join(recording.tree.children)
    facts["history"] = " -> ".join(step["step"] for step in recording.history) or "as read"
    return facts


def _indicator(name: str) -> str:
    from neurodyn.calcium.indicators import kinetics, known

    if known(name) is None:
        return name if name == "unknown" else f"{name} (no kinetics on record)"
    found = kinetics(name)
    return f"{name}: peak after {1000 * found.peak:g} ms, half-decay {1000 * found.half_decay:g} ms"


def _stimulus(table: xr.Dataset, rate_known: bool) -> list[str]:
    import numpy as np

    span = f", {float(table['start'].min()):.1f} to {float(table['stop'].max()):.1f} s" if rate_known else ""
    lines = [f"{table.sizes['event']} events{span}"]
    for name, column in table.data_vars.items():
        if name in ("start", "stop"):
            continue
        values, counts = np.unique(column.values, return_counts=True)
        few = ", ".join(f"{value} ({count})" for value, count in zip(values[:FEW], counts[:FEW], strict=True))
        lines.append(f"{name}: {few if len(values) <= FEW else f'{len(values)} values'}")
    return lines


def next_steps(seen: Survey, source: Path) -> list[str]:
    """Return commands that make sense of a recording next; the one that tells what is missing, first."""
    recording = seen.recording
    assert recording is not None
    if seen.needs:
        told = " ".join(need.option for need in seen.needs)
        return [f"neurodyn convert {source} recording.zarr {told}"]
    names = set(recording.variables)
    steps = []
    movie = any(recording[name].ndim == 3 for name in names)
    if movie and "dff" not in names:
        both = "fluorescence" in names and "reference" in names
        chain = "widefield" if both else "widefield-mean"
        steps += [] if both else [f"neurodyn extract {source} -o rois.zarr"]
        steps.append(f"neurodyn preprocess {source} --chain {chain} -o clean.zarr")
    elif "dff" not in names and "fluorescence" in names:
        chain = "two-photon" if "neuropil" in names and _on_record(recording.indicator) else (
            "traces-suite2p" if "neuropil" in names else "traces"
        )  # fmt: skip
        steps.append(f"neurodyn preprocess {source} --chain {chain} -o clean.zarr")
    elif "dff" in names and "spikes" not in names and not movie:
        chain = "spikes" if _on_record(recording.indicator) else "counts"
        steps.append(f"neurodyn preprocess {source} --chain {chain} -o clean.zarr")
    target = _target(recording)
    if source.suffix != ".zarr":
        steps.append(f"neurodyn convert {source} recording.zarr")
    elif names & {"dff", "spikes"}:
        model = "cst" if movie else "lfads" if "spikes" in names else "cst-traces"
        steps.append(f"neurodyn train {model} {source} -o runs/model")
        steps += [f"neurodyn decode {source} --target {target}"] if target else []
    return steps


def _on_record(indicator: str) -> bool:
    from neurodyn.calcium.indicators import known

    return known(indicator) is not None


def _target(recording: Recording) -> str | None:
    """Return a stimulus parameter that could be decoded: the first with a few different values."""
    import numpy as np

    if recording.table("stimulus") is None:
        return None
    for name, column in recording.stimulus.data_vars.items():
        if name not in ("start", "stop", "start_frame", "stop_frame") and 1 < np.unique(column.values).size <= FEW:
            return str(name)
    return None
