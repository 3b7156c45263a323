"""`neurodyn inspect`: what a file holds, what it has to be told, and what can be done with it next."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurodyn.cli.common import Axes, Channels, Fs, Indicator, Key, ReaderName, read_options
from neurodyn.cli.console import Common, command

if TYPE_CHECKING:
    import xarray as xr

    from neurodyn.data.recording import Recording
    from neurodyn.readers.survey import Survey

FEW = 12
LONG_ENOUGH = 300.0  # s of recording from which on a model may be trained


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
    from neurodyn.readers.survey import survey

    options = read_options(common, fs=fs, channels=channels, axes=axes, key=key, indicator=indicator)
    seen = survey(source, options, reader)
    flags = {"fs": fs, "channels": channels, "axes": axes, "key": key, "indicator": indicator, "reader": reader}
    facts = describe(seen, source, typed(common, flags))
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


def typed(common: Common, flags: dict[str, Any]) -> list[str]:
    """Return what was said of the source, as options to be typed again."""
    words = [f"--{name} {_quoted(value)}" for name, value in flags.items() if value is not None]
    words += [f"--set {shlex.quote(item)}" for item in common.sets or [] if item.startswith("source.")]
    return words + ([f"--config {shlex.quote(str(common.config))}"] if common.config else [])


def _quoted(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else shlex.quote(str(value))


def describe(seen: Survey, source: Path, told: list[str]) -> dict[str, Any]:
    """Collect what is known about a source, ready for a table or JSON.

    Parameters
    ----------
    told
        Options that were given, as they are typed.
    """
    facts: dict[str, Any] = {"format": seen.format}
    if seen.arrays:
        shown = [f"{name} {what}" for name, what in list(seen.arrays.items())[:FEW]]
        more = [f"and {len(seen.arrays) - FEW} more"] if len(seen.arrays) > FEW else []
        facts["arrays"] = shown + more
    if seen.needs:
        facts["needs"] = [{"option": need.option, "why": need.why} for need in seen.needs]
    notes = [*seen.notes, *([] if seen.recording is None else _notes(seen.recording, seen))]
    if notes:
        facts["notes"] = notes
    if seen.recording is not None:
        facts |= of_recording(seen.recording, seen.rate_known)
        facts["next"] = next_steps(seen, source, told)
    return facts


def _notes(recording: Recording, seen: Survey) -> list[str]:
    """Say what the numbers of a recording mean for what comes next."""
    from neurodyn.preprocess.default import without_baseline
    from neurodyn.workflow.session import kind_of

    notes, names = [], set(recording.variables)
    if any(recording[name].ndim == 3 for name in names) and kind_of(recording, seen.format) == "either":
        notes.append("A movie of cells goes on with extract, a widefield movie with preprocess.")
        notes.append(
            "From here to a report: pipeline session under two photons, session-one-photon, or session-widefield."
        )
    notes += _interleaved(recording, list(seen.arrays)) if seen.rate_known else []
    if without_baseline(recording):
        notes.append(
            "fluorescence is without its background, so that nothing is left to divide by: ΔF/F has to come from the "
            "program that took it (CaImAn: estimates.detrend_df_f, before saving)."
        )
    if seen.rate_known and names & {"dff", "spikes"} and not _long_enough(recording):
        notes.append(
            f"{_seconds(recording):.0f} s are too short to train a model on; {LONG_ENOUGH:.0f} s are the least."
        )
    return notes


def _interleaved(recording: Recording, arrays: list[str]) -> list[str]:
    """Say that intervals of frames alternate, and how two channels that do so are read.

    Parameters
    ----------
    arrays
        Names in the source, of which each may be a camera.
    """
    from neurodyn.data.clock import alternates
    from neurodyn.readers.survey import ACTIVITY

    pair = alternates(recording.time)
    if pair is None:
        return []
    cameras = [name for name in arrays if ACTIVITY.search(name)] or arrays
    key = f"key: {cameras[0]}, " if cameras else ""
    others = f"; other arrays here: {', '.join(cameras[1:4])}" if len(cameras) > 1 else ""
    return [
        f"Intervals alternate between {pair[0]:.4g} and {pair[1]:.4g} s: frames of two channels may be interleaved, "
        f"{1 / sum(pair):.4g} Hz each. If so, name them in their order: --channels fluorescence,reference",
        "or say where each lies, also of two cameras in one file: --set 'source.variables="
        f"{{fluorescence: {{{key}first: 0, every: 2}}, reference: {{{key}first: 1, every: 2}}}}'{others}",
    ]


def _seconds(recording: Recording) -> float:
    return float(recording.time[-1] - recording.time[0] + 1 / recording.rate_hz)


def _long_enough(recording: Recording) -> bool:
    return _seconds(recording) >= LONG_ENOUGH


def of_recording(recording: Recording, rate_known: bool = True) -> dict[str, Any]:
    """Collect the facts about a recording."""
    time = recording.time
    seconds = f"{time[-1] - time[0] + 1 / recording.rate_hz:.1f} s, " if rate_known else ""
    facts: dict[str, Any] = {"layout": recording.tree.attrs["layout"]} if "layout" in recording.tree.attrs else {}
    facts |= {
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

    span = (
        f", {float(table['start'].values.min()):.1f} to {float(table['stop'].values.max()):.1f} s" if rate_known else ""
    )
    lines = [f"{table.sizes['event']} events{span}"]
    for name, column in table.data_vars.items():
        if name in ("start", "stop"):
            continue
        values, counts = np.unique(column.values, return_counts=True)
        few = ", ".join(f"{value} ({count})" for value, count in zip(values[:FEW], counts[:FEW], strict=True))
        lines.append(f"{name}: {few if len(values) <= FEW else f'{len(values)} values'}")
    return lines


def next_steps(seen: Survey, source: Path, told: list[str]) -> list[str]:
    """Return commands that make sense of a recording next; the one that tells what is missing, first.

    Parameters
    ----------
    told
        Options that were given, as they are typed.
    """
    recording = seen.recording
    assert recording is not None
    needs = [need.option for need in seen.needs]
    words = [shlex.quote(str(source)), *told, *needs, *seen.advice]
    beside = _beside(source)
    convert = " ".join(["neurodyn convert", words[0], f"{beside}recording.zarr", *words[1:]])
    steps = _made_of(recording, seen.format, " ".join(words), beside)
    whole = _to_a_report(recording, seen, words, beside)
    if needs:
        return [convert, *(step for step in steps if step.startswith("neurodyn extract")), *whole]
    if source.suffix != ".zarr" or seen.format != "recording":
        return [*steps, convert, *whole]
    return steps + whole + _learnt_from(recording, words[0])


def _to_a_report(recording: Recording, seen: Survey, words: list[str], beside: str) -> list[str]:
    """Return the command from a movie to a report, where the kind of movie is known: of cells, or widefield."""
    from neurodyn.workflow.session import kind_of, targets

    movie = any(recording[name].ndim == 3 for name in recording.variables)
    kind = kind_of(recording, seen.format)
    if (
        not movie
        or kind == "either"
        or "dff" in recording.variables
        or any(word.startswith("--reader") for word in words)
    ):
        return []
    options = list(words)
    found = targets(recording)
    options += [f"--target {found[0]}"] if len(found) > 1 else []
    pipeline = "session-widefield" if kind == "widefield" else "session"
    return [f"neurodyn run {pipeline} {' '.join(options)} -o {beside}session"]


def _beside(source: Path) -> str:
    """Return where products go: here, or beside a source in which the user stands, since none may lie inside it."""
    whole = source.resolve()
    return f"{shlex.quote(str(whole.parent))}/" if Path.cwd().is_relative_to(whole) else ""


def _made_of(recording: Recording, reader: str, words: str, beside: str) -> list[str]:
    """Return the commands that bring a recording to ROIs, to ΔF/F, to spikes."""
    from neurodyn.workflow.session import kind_of

    names = set(recording.variables)
    steps = []
    if (
        any(recording[name].ndim == 3 for name in names)
        and "dff" not in names
        and kind_of(recording, reader) != "widefield"
    ):
        steps.append(f"neurodyn extract {_for_extract(words)} -o {beside}rois.zarr")
    chain = _chain(recording, reader)
    return steps + ([f"neurodyn preprocess {words} --chain {chain} -o {beside}clean.zarr"] if chain else [])


def _for_extract(words: str) -> str:
    """Spell names of channels as `extract` takes them."""
    split = shlex.split(words)
    spelt = [
        shlex.quote(word) if split[k - 1] != "--channels" or not k else shlex.quote(f"source.channels=[{word}]")
        for k, word in enumerate(split)
    ]
    return " ".join("--set" if word == "--channels" else word for word in spelt)


def _chain(recording: Recording, reader: str) -> str:
    """Return the chain that fits what a recording has, as `preprocess` takes it by itself; nothing where none does."""
    from neurodyn.core.errors import DataError
    from neurodyn.preprocess.default import default_chain
    from neurodyn.workflow.session import kind_of

    names = set(recording.variables)
    if any(recording[name].ndim == 3 for name in names) and "reference" not in names and "dff" not in names:
        return "" if kind_of(recording, reader) == "cells" else "widefield-mean"
    try:
        return default_chain(recording)[0]
    except DataError:
        return ""


def _learnt_from(recording: Recording, source: str) -> list[str]:
    """Return the commands that train on a recording and decode it."""
    names = set(recording.variables)
    if not names & {"dff", "spikes"}:
        return []
    movie = any(recording[name].ndim == 3 for name in names)
    model = "cst" if movie else "lfads" if "spikes" in names else "cst-traces"
    target = _target(recording)
    steps = [f"neurodyn train {model} {source} -o runs/model"] if _long_enough(recording) else []
    asked = [f"neurodyn {verb} {source} --target {target}" for verb in ("respond", "decode")]
    return steps + (asked if target else [])


def _target(recording: Recording) -> str | None:
    """Return a stimulus parameter that could be decoded: the first with a few different values."""
    import numpy as np

    from neurodyn.data.columns import WHEN

    if recording.table("stimulus") is None:
        return None
    for name, column in recording.stimulus.data_vars.items():
        if name not in WHEN and 1 < np.unique(column.values).size <= FEW:
            return str(name)
    return None
