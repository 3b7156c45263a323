"""Chains: a list of steps, checked before anything runs, applied to one recording at a time."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from pydantic import Field

from neurodyn.core.config import Layer, Params, Resolved, find_preset, layer_from_sets, load_yaml, resolve, validate
from neurodyn.core.errors import ConfigError, DataError, UnknownNameError
from neurodyn.core.files import clear_partials, locked
from neurodyn.core.log import LOGGER, silent
from neurodyn.core.registry import unknown
from neurodyn.data.recording import Recording, entry
from neurodyn.data.store import whole_store, write_tree
from neurodyn.preprocess import STEPS
from neurodyn.preprocess.base import LAYOUT_KINDS, Step, Workspace
from neurodyn.preprocess.denoised import warn_denoised
from neurodyn.preprocess.scan import Scanner

Progress = Callable[[str, float], None]


class ChainFile(Params):
    """What a chain file may hold."""

    description: str = Field(default="", description="what the chain is for, in one line")
    steps: dict[str, dict[str, Any]] = Field(description="the steps in order, each a name and its parameters")


@dataclass(frozen=True)
class Chain:
    """Steps in order.

    Parameters
    ----------
    steps
        (name, step) pairs.
    description
        What the chain is for, in one line.
    """

    steps: tuple[tuple[str, Step], ...]
    description: str = ""

    def check(self, recording: Recording) -> None:
        """Check that every step finds what it needs, of a kind it can work on, and overwrites nothing.

        Raises
        ------
        DataError
            If the recording lacks a variable, has it in the wrong layout, or has no ROIs or pixels.
        ConfigError
            If a step would overwrite a variable.
        """
        _refuse_empty(recording)
        kinds = {str(name): LAYOUT_KINDS[array.ndim] for name, array in recording.neural.data_vars.items()}
        for index, (name, step) in enumerate(self.steps):
            for needed in step.requires:
                if needed not in kinds:
                    raise self._missing(index, needed, kinds, recording)
                if kinds[needed] not in step.kinds:
                    raise DataError(
                        f"Step {index} ({name}) cannot work on '{needed}'.",
                        f"It is a {kinds[needed]} variable; the step takes {' or '.join(sorted(step.kinds))}.",
                        "Drop the step, or extract ROIs first: neurodyn extract",
                    )
            for made in step.provides:
                if made in kinds:
                    raise ConfigError(
                        f"Step {index} ({name}) would overwrite '{made}'.",
                        f"The recording or an earlier step already has it: {', '.join(kinds)}.",
                        f"Name the output: --set steps.{index}.output={made}_2",
                    )
                kinds[made] = step.makes or kinds[step.requires[0]]

    def _missing(self, index: int, needed: str, kinds: dict[str, str], recording: Recording) -> DataError:
        name, step = self.steps[index]
        key = next((key for key, value in step.params.model_dump().items() if value == needed), "input")
        return DataError(
            f"Step {index} ({name}) needs '{needed}', which is not there.",
            f"Recording '{recording.session}' and the earlier steps have: {', '.join(kinds)}.",
            f"Name the variable (--set steps.{index}.{key}=NAME), or choose another chain: neurodyn list chains",
        )

    def describe(self) -> list[dict[str, Any]]:
        """Return one dict per step: step, params, requires, provides, kinds, citation."""
        return [
            {
                "step": name,
                "params": step.params.model_dump(mode="json"),
                "requires": list(step.requires),
                "provides": list(step.provides),
                "kinds": sorted(step.kinds),
                "passes": step.passes,
                "citation": step.source,
            }
            for name, step in self.steps
        ]

    def plan(self) -> list[str]:
        """Return one line per step: what it reads, how often, and what it makes."""
        times = {1: "once", 2: "twice"}
        return [
            f"{name}: reads {', '.join(step.requires)} {times.get(step.passes, f'{step.passes} times')}, "
            f"makes {', '.join(step.provides)}"
            for name, step in self.steps
        ]

    def methods(self) -> str:
        """Return a methods paragraph, one sentence per step."""
        return " ".join(step.methods() for _, step in self.steps)

    def citations(self) -> list[str]:
        """Return the sources of the steps, each once, in order."""
        return list(dict.fromkeys(step.source for _, step in self.steps if step.source))

    def run(self, recording: Recording, target: Path, *, progress: Progress | None = None) -> Path:
        """Copy a recording, apply every step to the copy, and put it in place in one rename.

        Parameters
        ----------
        recording
            The source; it is not changed.
        target
            The recording to write; whatever stands there is replaced.
        progress
            Called with the step's name and the share of it that is done.

        Raises
        ------
        NeurodynError
            If the chain does not fit the recording or the data cannot bear a step; nothing is written then.
        """
        self.check(recording)
        suited = [(name, *step.suited(recording)) for name, step in self.steps]
        for name, _, note in suited:
            if note:
                LOGGER.warning("%s: %s", name, note)
        warn_denoised(recording, (name for name, step, _ in suited if step.judges_noise))
        report = progress or silent
        with locked(target):
            clear_partials(target)
            with whole_store(target) as folder:
                report("copy", 0.0)
                scanners = _scanners(recording)
                root = write_tree(recording.tree, folder, lambda name, start, values: scanners[name].add(start, values))
                workspace = Workspace(root, recording.rate_hz, recording.time, recording.brain, recording.indicator)
                workspace.scans.update({name: scanner.done() for name, scanner in scanners.items()})
                _keep_quality(workspace)
                for name, step, _ in suited:
                    report(name, 0.0)
                    step.apply(dataclasses.replace(workspace, progress=partial(report, name)))
                _keep_courses(workspace, recording)
                _record(root, recording, suited)
                Recording.open(folder)
        return target


def _record(root: zarr.Group, recording: Recording, applied: Sequence[tuple[str, Step, str]]) -> None:
    """Add the steps as they were applied to the history, with what was changed for the recording under "note"."""
    steps = [
        entry(name, step.params.model_dump(mode="json")) | ({"note": note} if note else {})
        for name, step, note in applied
    ]
    root.attrs["history"] = json.dumps([*recording.history, *steps], ensure_ascii=False)


def _scanners(recording: Recording) -> dict[str, Scanner]:
    """Return a scanner per variable, to look at what is copied while it is in memory."""
    brain = recording.brain
    masks = {
        name: brain if array.ndim == 3 and brain is not None else np.ones(array.shape[1:], dtype=bool)
        for name, array in recording.neural.data_vars.items()
    }
    return {str(n): Scanner(a.shape, a.dtype, masks[n]) for n, a in recording.neural.data_vars.items()}


def _keep_quality(workspace: Workspace) -> None:
    """Put what the look at the source variables found into "qc"."""
    _keep_courses(workspace)
    for name, found in workspace.scans.items():
        units = str(workspace[name].attrs["units"])
        if found.mean.ndim == 2:
            workspace.keep("qc", f"{name}_mean", ("y", "x"), found.mean.astype(np.float32), units)
        if found.saturated.any():
            dims = ("y", "x") if found.mean.ndim == 2 else ("roi",)
            workspace.keep("qc", f"{name}_saturated", dims, found.saturated.astype(np.float32), "frames")


def _keep_courses(workspace: Workspace, source: Recording | None = None) -> None:
    """Put the mean of each frame into "qc", of every variable that was looked at and is not in `source`."""
    for name in set(workspace.scans) - set(source.variables if source else ()):
        course, units = workspace.scans[name].course.astype(np.float32), str(workspace[name].attrs["units"])
        workspace.keep("qc", f"{name}_course", ("time_qc",), course, units)


def _refuse_empty(recording: Recording) -> None:
    for name, array in recording.neural.data_vars.items():
        if array.size == 0:
            raise DataError(
                f"'{name}' of recording '{recording.session}' is empty.",
                f"Found {', '.join(f'{size} {dim}' for dim, size in array.sizes.items())}.",
                "Check the source: was any ROI kept?",
            )


def load_chain(name: str | Path, sets: Sequence[str] = (), layers: Sequence[Layer] = ()) -> Chain:
    """Load a chain by name or path.

    Parameters
    ----------
    name
        A YAML file, or a name in ./pipelines/chains or among the packaged chains.
    sets
        Overrides: "steps.0.window=30", or by the step's name, "dff.window=30".
    layers
        Overrides of the same kind that were read already; `sets` win.

    Raises
    ------
    ConfigError
        With file, line and key, and the closest match for a name.
    """
    layer = load_yaml(find_preset("chain", str(name)))
    return _build(layer, [*layers, *layer_from_sets(sets)])


def chain_from_steps(steps: Sequence[dict[str, Any]], origin: str, sets: Sequence[str] = ()) -> Chain:
    """Build a chain from a list of {step: NAME, ...params}, as a pipeline holds it.

    Parameters
    ----------
    origin
        Where the list stands, for messages.
    """
    return _build(Layer({"steps": list(steps)}, origin), layer_from_sets(sets))


def _build(layer: Layer, over: Sequence[Layer]) -> Chain:
    steps = layer.values.get("steps")
    if not isinstance(steps, list) or not steps or not all(isinstance(s, dict) and "step" in s for s in steps):
        raise ConfigError(
            f"{layer.where(('steps',))}: 'steps' is not a list of steps.",
            f"Found {type(steps).__name__}; expected items such as 'step: dff' with parameters below.",
            "Compare a packaged one: neurodyn show chain traces",
        )
    base = dataclasses.replace(layer, values=layer.values | {"steps": {str(i): s for i, s in enumerate(steps)}})
    names = [str(step["step"]) for step in steps]
    resolved = resolve([base, *(_by_index(each, names) for each in over)])
    file = validate(ChainFile, resolved)
    strangers = [index for index in file.steps if index not in {str(i) for i in range(len(names))}]
    if strangers:
        raise ConfigError(
            f"--set: there is no step {strangers[0]}.", f"The chain has {_numbered(names)}.", "Count from 0."
        )
    return Chain(tuple(_step(index, resolved) for index in file.steps), file.description)


def _by_index(layer: Layer, names: list[str]) -> Layer:
    """Turn dff.window=30 into steps.0.window=30."""
    places = {key: str(_place(key, layer, names)) for key, value in layer.values.items() if _is_step(key, value)}
    values = {key: value for key, value in layer.values.items() if key not in places}
    steps = values.get("steps", {})
    if places and isinstance(steps, dict):  # anything else is refused when the whole is validated
        values["steps"] = steps | {place: layer.values[key] for key, place in places.items()}
    lines = {("steps", places[path[0]], *path[1:]) if path[0] in places else path: n for path, n in layer.lines.items()}
    return Layer(values, layer.origin, lines)


def _is_step(key: str, value: Any) -> bool:
    return key not in ChainFile.model_fields and isinstance(value, dict)


def _place(name: str, layer: Layer, names: list[str]) -> int:
    """Return which step of the chain a name means."""
    places = [index for index, each in enumerate(names) if each == name]
    if not places:
        raise unknown(f"step for {layer.where((name,))}", name, names)
    if len(places) > 1:
        raise ConfigError(
            f"{layer.where((name,))}: '{name}' is ambiguous.",
            f"The chain has {_numbered(names)}.",
            f"Name the place: --set steps.{places[0]}.{next(iter(layer.values[name]))}=VALUE",
        )
    return places[0]


def _numbered(names: list[str]) -> str:
    return ", ".join(f"{index}: {name}" for index, name in enumerate(names))


def _step(index: str, resolved: Resolved) -> tuple[str, Step]:
    values = dict(resolved.values["steps"][index])
    name = str(values.pop("step"))
    try:
        plugin = STEPS.get(name)
    except UnknownNameError as error:
        origin = resolved.origins.get(("steps", index, "step"), "chain")
        raise UnknownNameError(f"{origin}: {error.what}", error.found, error.fix) from error
    mine = Resolved(resolved.values | {"steps": {index: values}}, resolved.origins)
    return name, plugin(validate(plugin.Params, mine, ("steps", index)))
