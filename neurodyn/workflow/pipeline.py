"""Pipelines: a YAML of jobs, each job one `neurodyn` command, joined by the products they name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from neurodyn.core.config import Layer, Params, Resolved, find_preset, layer_from_sets, load_yaml, resolve, validate
from neurodyn.core.errors import ConfigError
from neurodyn.core.registry import unknown

INPUT = re.compile(r"@input[1-9]?")
JOB_NAME = re.compile(r"[a-z][a-z0-9_]*")
VERBS_THAT_REPLACE = ("simulate", "preprocess", "extract", "train", "convert")


class JobSpec(Params):
    """One job as written in the pipeline's YAML."""

    command: tuple[str, ...] = Field(
        description="verb and arguments; @job is that job's product, @input the files given, @input1 the first"
    )
    options: dict[str, str | int | float | bool] = Field(
        default_factory=dict, description="long options of the command"
    )
    set: dict[str, Any] = Field(default_factory=dict, description="configuration keys, given as --set key=value")
    config: dict[str, Any] = Field(default_factory=dict, description="configuration, given as a --config file")
    out: str | None = Field(
        default=None,
        description="product, relative to the output folder (default: the first @job's); given as -o unless in command",
    )


class PipelineSpec(Params):
    """A pipeline as written in YAML."""

    description: str = Field(description="what it does, in one line")
    inputs: tuple[str, ...] = Field(default=(), description="files used when none are given")
    jobs: dict[str, JobSpec] = Field(description="job name -> job, in order")


@dataclass(frozen=True)
class Job:
    """One command, ready to run.

    Parameters
    ----------
    name
        Job name.
    argv
        Arguments after `neurodyn`.
    needs
        Jobs whose products it reads.
    product
        What it makes, relative to the output folder.
    """

    name: str
    argv: tuple[str, ...]
    needs: tuple[str, ...]
    product: str


def load_pipeline(name: str, sets: Sequence[str] = (), config: Path | None = None) -> tuple[PipelineSpec, Resolved]:
    """Load a pipeline by name or path, with overrides such as ``jobs.cst.set.training.epochs=2``.

    Raises
    ------
    ConfigError
        With file, line and key where the YAML is wrong.
    """
    layers: list[Layer] = [load_yaml(find_preset("pipeline", name))]
    layers += [load_yaml(config)] if config else []
    resolved = resolve([*layers, *layer_from_sets(sets)])
    return validate(PipelineSpec, resolved), resolved


def plan(spec: PipelineSpec, inputs: Sequence[Path] = ()) -> tuple[list[Job], dict[str, dict[str, Any]]]:
    """Turn a pipeline into jobs, in the order given.

    Returns
    -------
    jobs
        The jobs.
    configs
        Job name -> configuration that the job reads from ``configs/NAME.yaml``.

    Raises
    ------
    ConfigError
        If a job refers to an unknown or later job, or inputs are missing.
    """
    files = [str(path.resolve()) for path in inputs] or [str(Path(name).expanduser().resolve()) for name in spec.inputs]
    jobs: dict[str, Job] = {}
    for name, job in spec.jobs.items():
        if not JOB_NAME.fullmatch(name):
            raise ConfigError(
                f"jobs.{name}: not a job name.", "Expected lower-case letters, digits and _.", "Rename it."
            )
        jobs[name] = _job(name, job, jobs, files)
    return list(jobs.values()), {name: job.config for name, job in spec.jobs.items() if job.config}


def _job(name: str, spec: JobSpec, earlier: dict[str, Job], files: list[str]) -> Job:
    needs: list[str] = []

    def words(word: str) -> list[str]:
        """Replace a reference by the paths it stands for."""
        if INPUT.fullmatch(word):
            return _inputs(word, files)
        if not word.startswith("@"):
            return [word]
        if word[1:] not in earlier:
            raise unknown(f"earlier job for jobs.{name}", word[1:], earlier)
        needs.append(word[1:])
        return [earlier[word[1:]].product]

    argv = [path for word in spec.command for path in words(word)]
    flags = [path for word in _flags(name, spec) for path in words(word)]
    product = spec.out or (earlier[needs[0]].product if needs else None)
    if product is None or Path(product).is_absolute() or ".." in Path(product).parts:
        raise ConfigError(
            f"jobs.{name}.out: no product inside the output folder.", f"Found {product}.", "Give out: NAME"
        )
    return Job(name, (*argv, *flags), tuple(needs), product)


def _inputs(word: str, files: list[str]) -> list[str]:
    """Return all files for ``@input``, the first for ``@input1``, and so on."""
    number = word.removeprefix("@input")
    chosen = files[int(number) - 1 : int(number)] if number else files
    if not chosen:
        raise ConfigError(
            f"This pipeline needs {word}.", f"Found {len(files)} input files.", "Type: neurodyn run PIPELINE FILE…"
        )
    return chosen


def _flags(name: str, spec: JobSpec) -> list[str]:
    flags = ["-o", spec.out] if spec.out and spec.out not in spec.command else []
    flags += ["-c", f"configs/{name}.yaml"] if spec.config else []
    for key, value in spec.options.items():
        flags += [f"--{key}"] if value is True else [] if value is False else [f"--{key}", str(value)]
    for key, value in _leaves(spec.set):
        flags += ["--set", f"{key}={value}"]
    return flags + (["--existing", "overwrite"] if spec.command[0] in VERBS_THAT_REPLACE else [])


def _leaves(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    leaves: list[tuple[str, Any]] = []
    for key, value in tree.items():
        if isinstance(value, dict):
            leaves += _leaves(value, f"{prefix}{key}.")
        else:
            leaves.append((f"{prefix}{key}", "null" if value is None else value))
    return leaves
