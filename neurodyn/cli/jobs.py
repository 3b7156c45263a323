"""What can be refused of a pipeline before any job runs: commands, names and settings, and decodings of too few trials."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import typer.main

from neurodyn.cli.console import refuse_strangers
from neurodyn.core.config import Layer, find_preset, layers_of, list_presets, load_yaml, resolve, validate
from neurodyn.core.errors import ConfigError, DataError, NeurodynError
from neurodyn.core.registry import unknown
from neurodyn.workflow.made import Job
from neurodyn.workflow.pipeline import Plan

NUMBER = re.compile(r"(?<![\w.-])[0-9.]+(?![\w.])")
SHOWN = 5
SEEDS = ("seed=", "training.seed=")  # which change nothing in how many trials there are


@dataclass(frozen=True)
class Typed:
    """A job's command, read as it will be.

    Parameters
    ----------
    job
        The job.
    values
        What its options and arguments are, by name.
    sections
        Sections of configuration that the command reads; None where it has keys of its own.
    """

    job: Job
    values: Mapping[str, Any]
    sections: Sequence[str] | None


def check_jobs(plan: Plan) -> None:
    """Refuse jobs that would fail whatever their input is; of those that differ in numbers and paths alone one is tried.

    Raises
    ------
    ConfigError
        If a command, an option or a name is wrong.
    DataError
        If a recording that is there has too few trials for the decoding that follows its training.
    """
    products = {job.product for job in plan.jobs}
    alike = {_shape(job, products): job for job in reversed(plan.jobs)}
    for job in reversed(alike.values()):
        try:
            read = typed_job(job)
            refuse_strangers(job.argv[0], read.sections, None, read.values.get("sets") or [])
            NAMES.get(job.argv[0], _nothing)(read.values, products)
        except NeurodynError as error:
            raise type(error)(f"Job '{job.name}': {error.what}", error.found, error.fix) from error
    _check_trials(plan)


def _shape(job: Job, products: set[str]) -> tuple[str, ...]:
    """Return a command without what its paths and numbers are."""
    return (job.rule, *("" if "/" in word or word in products else NUMBER.sub("0", word) for word in job.argv))


def typed_job(job: Job) -> Typed:
    """Read a job's words as the command line would.

    Raises
    ------
    ConfigError
        If it could not.
    """
    command = _program()
    words, path = list(job.argv), "neurodyn"
    while hasattr(command, "commands"):
        name = words.pop(0) if words else ""
        if name not in command.commands:
            raise unknown("command", name, command.commands)
        command, path = command.commands[name], f"{path} {name}"
    try:
        values = command.make_context(path, words).params
    except Exception as error:  # Typer's own errors of usage have no public class in common
        said = getattr(error, "format_message", None)
        if said is None:
            raise
        raise ConfigError(
            " ".join(said().split()), f"neurodyn {shlex.join(job.argv)}", f"See: {path} --help"
        ) from error
    return Typed(job, values, getattr(command.callback, "sections", None))


@cache
def _program() -> Any:
    """Return the whole command line, assembled once for all jobs."""
    from neurodyn.cli.app import build

    return typer.main.get_command(build())


def _nothing(values: Mapping[str, Any], products: set[str]) -> None:
    """Nothing can be refused."""


def _model(values: Mapping[str, Any], products: set[str]) -> None:
    name = str(values["model"])
    if name not in products and "/" not in name:
        find_preset("model", f"{name}-classifier" if values.get("task") == "classify" else name)


def _simulator(values: Mapping[str, Any], products: set[str]) -> None:
    from neurodyn.simulate import SIMULATORS

    _known("simulator", values["kind"], SIMULATORS.names())


def _chain(values: Mapping[str, Any], products: set[str]) -> None:
    name = values["chain"]
    if name is not None and "/" not in name and not name.endswith((".yaml", ".yml")):
        _known("chain", name, list_presets("chain"))


def _decoder(values: Mapping[str, Any], products: set[str]) -> None:
    from neurodyn.decode import DECODERS

    given = resolve(layers_of("decode", sets=values["sets"] or [])).values
    name = given.get("decoder") or values["decoder"]
    if name is not None:
        _known("decoder", str(name), DECODERS.names())


def _metric(values: Mapping[str, Any], products: set[str]) -> None:
    from neurodyn.evaluate import EVALUATIONS

    _known("metric", values["metric"], EVALUATIONS.names())


def _known(kind: str, name: str, names: Sequence[str] | Mapping[str, Any]) -> None:
    if name not in names:
        raise unknown(kind, name, names)


NAMES: dict[str, Callable[[Mapping[str, Any], set[str]], None]] = {
    "train": _model,
    "tune": _model,
    "simulate": _simulator,
    "preprocess": _chain,
    "decode": _decoder,
    "evaluate": _metric,
}


def _check_trials(plan: Plan) -> None:
    """Refuse decodings of trained models whose held-out windows have too few trials to be divided."""
    answers: dict[tuple[Any, ...], DataError | None] = {}
    failing: dict[str, DataError] = {}
    for decoding, training in _decodings(plan):
        told = [*training.argv[1:3], plan.configs.get(training.name), *_told(training), *_told(decoding)]
        key = (*map(str, told), str(plan.configs.get(decoding.name)))
        if key not in answers:
            answers[key] = _too_few(plan, decoding, training)
        if (error := answers[key]) is not None:
            failing[decoding.name] = error
    if failing:
        names, first = list(failing), next(iter(failing.values()))
        rule = next(job.rule for job in plan.jobs if job.name == names[0])
        raise DataError(
            f"Would fail after the training: {', '.join(names[:SHOWN])}{', …' if len(names) > SHOWN else ''}.",
            f"{first.what} {first.found}",
            f"{first.fix} In this pipeline: --set jobs.{rule}.set.folds=N; or leave such recordings out.",
        )


def _decodings(plan: Plan) -> Iterator[tuple[Job, Job]]:
    """Yield decodings of runs and their trainings, where these have one recording, which is there already."""
    trainings = {job.product: job for job in plan.jobs if job.argv[0] == "train" and _on_one(job.argv)}
    for job in plan.jobs:
        if job.argv[0] == "decode" and job.argv[1:2] and job.argv[1] in trainings:
            yield job, trainings[job.argv[1]]


def _on_one(argv: Sequence[str]) -> bool:
    recordings = [Path(word) for word in argv[2:] if (Path(word) / "zarr.json").is_file()]
    return len(recordings) == 1 and recordings[0].is_absolute() and argv[2] == str(recordings[0])


def _told(job: Job) -> list[str]:
    """Return the options of a job, without paths."""
    return [NUMBER.sub("0", word) if word.startswith(SEEDS) else word for word in job.argv[2:] if "/" not in word]


def _too_few(plan: Plan, decoding: Job, training: Job) -> DataError | None:
    """Return what will keep a decoding from dividing the trials that its training holds out."""
    from neurodyn.cli.decode import flags_of
    from neurodyn.data.recording import Recording
    from neurodyn.data.window_config import WindowConfig
    from neurodyn.decode.check import check_folds
    from neurodyn.decode.settings import DecodeConfig

    fit, asked = typed_job(training).values, typed_job(decoding).values
    given = [load_yaml(find_preset("model", str(fit["model"]))), Layer(dict(plan.configs.get(training.name) or {}), "")]
    sets = [item for item in fit["sets"] or [] if item.startswith("windows")]
    windows = validate(WindowConfig, resolve([*given, *layers_of(sections=("windows",), sets=sets)]), ("windows",))
    over = Layer(dict(plan.configs.get(decoding.name) or {}), f"configuration of job '{decoding.name}'")
    config = validate(
        DecodeConfig, resolve([over, *layers_of("decode", flags=flags_of(asked), sets=asked["sets"] or [])])
    )
    try:
        check_folds(Recording.open(fit["recordings"][0]), windows, config)
    except DataError as error:
        return error
    return None
