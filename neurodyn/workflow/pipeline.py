"""Pipelines: a YAML of jobs, each job one `neurodyn` command, joined by the products they name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from neurodyn.core.config import Layer, Params, Resolved, find_preset, layer_from_sets, load_yaml, resolve, validate
from neurodyn.core.errors import ConfigError
from neurodyn.core.registry import unknown
from neurodyn.workflow.matrix import Cell, Value, agree, cell_name, cells, filled

INPUT = re.compile(r"@input([1-9][0-9]*)?")
JOB_NAME = re.compile(r"[a-z][a-z0-9_]*")
VERBS_THAT_REPLACE = ("simulate", "preprocess", "extract", "train", "convert")
Made = dict[str, list[tuple[Cell, "Job"]]]


class JobSpec(Params):
    """One job as written in the pipeline's YAML."""

    command: tuple[str, ...] = Field(
        description="verb and arguments; @job is that job's product, @input the files given, @input1 the first; between "
        "cells, @job is the one that agrees on every shared axis, @job* are all that do"
    )
    matrix: str | None = Field(
        default=None, description="run once per cell of this matrix, {axis} standing for the cell's value everywhere"
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
    matrices: dict[str, tuple[dict[str, tuple[Value, ...]], ...]] = Field(
        default_factory=dict, description="name -> list of axes with their values, whose combinations are its cells"
    )
    scale: str | None = Field(default=None, description="which of the scales is run: --set scale=NAME")
    scales: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="name -> what differs from the rest of this file at that scale"
    )
    jobs: dict[str, JobSpec] = Field(description="job name -> job, in order")


@dataclass(frozen=True)
class Job:
    """One command, ready to run.

    Parameters
    ----------
    name
        Job name, with the values of its cell.
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
    """Load a pipeline by name or path, with overrides such as ``scale=paper`` or ``jobs.cst.set.training.epochs=2``.

    Raises
    ------
    ConfigError
        With file, line and key where the YAML is wrong.
    """
    written = load_yaml(find_preset("pipeline", name))
    over: list[Layer] = [*([load_yaml(config)] if config else []), *layer_from_sets(sets)]
    resolved = resolve([written, *over])
    scale, scales = resolved.values.get("scale"), resolved.values.get("scales") or {}
    if scale is not None:
        if scale not in scales:
            raise unknown("scale", str(scale), scales)
        resolved = resolve([written, Layer(scales[scale], f"{written.origin}, scale {scale}"), *over])
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
        If a job refers to an unknown or later job, or inputs are missing, or two jobs have one name or product.
    """
    files = [str(path.resolve()) for path in inputs] or [str(Path(name).expanduser().resolve()) for name in spec.inputs]
    made: Made = {}
    jobs: list[Job] = []
    configs: dict[str, dict[str, Any]] = {}
    for base, template in spec.jobs.items():
        if not JOB_NAME.fullmatch(base):
            raise ConfigError(
                f"jobs.{base}: not a job name.", "Expected lower-case letters, digits and _.", "Rename it."
            )
        here: list[tuple[Cell, Job]] = []
        for name, cell, job in _repeated(base, template, spec.matrices):
            here.append((cell, _job(name, job, cell, made, files)))
            configs |= {name: job.config} if job.config else {}
        made[base] = here
        jobs += [job for _, job in here]
    _check_apart(made)
    return jobs, configs


def _repeated(base: str, job: JobSpec, matrices: Mapping[str, Any]) -> Iterator[tuple[str, Cell, JobSpec]]:
    """Yield a job once per cell of its matrix, filled in."""
    if job.matrix is None:
        yield base, {}, job
        return
    if job.matrix not in matrices:
        raise unknown(f"matrix for jobs.{base}", job.matrix, matrices)
    for cell in cells(matrices[job.matrix]):
        values = filled(job.model_dump(exclude={"matrix"}), cell, f"jobs.{base}")
        values["command"] = [str(word) for word in values["command"]]
        values["out"] = None if values["out"] is None else str(values["out"])
        yield cell_name(base, cell), cell, JobSpec.model_validate(values)


def _check_apart(made: Made) -> None:
    """Refuse jobs of one name, and cells that would write over each other's products."""
    names = [job.name for several in made.values() for _, job in several]
    products = [job.product for several in made.values() for _, job in several if job.argv[0] in VERBS_THAT_REPLACE]
    for what, found in (("name", names), ("product", products)):
        twice = [one for one in found if found.count(one) > 1]
        if twice:
            raise ConfigError(
                f"Two jobs have the {what} {twice[0]}.",
                f"Found {found.count(twice[0])} of them.",
                "Give each its own: out: NAME-{axis} for every axis of the matrix.",
            )


def _job(name: str, spec: JobSpec, cell: Cell, earlier: Made, files: list[str]) -> Job:
    needs: list[Job] = []

    def words(word: str) -> list[str]:
        """Replace a reference by the paths it stands for."""
        if INPUT.fullmatch(word):
            return _inputs(word, files)
        if not word.startswith("@"):
            return [word]
        found = _meant(name, word, cell, earlier)
        needs.extend(found)
        return [job.product for job in found]

    argv = [path for word in spec.command for path in words(word)]
    flags = [path for word in _flags(name, spec) for path in words(word)]
    product = spec.out or (needs[0].product if needs else None)
    if product is None or Path(product).is_absolute() or ".." in Path(product).parts:
        raise ConfigError(
            f"jobs.{name}.out: no product inside the output folder.", f"Found {product}.", "Give out: NAME"
        )
    return Job(name, (*argv, *flags), tuple(job.name for job in needs), product)


def _meant(name: str, word: str, cell: Cell, earlier: Made) -> list[Job]:
    """Return the job that ``@job`` stands for in a cell, or all that ``@job*`` stands for."""
    base = word[1:].removesuffix("*")
    if base not in earlier:
        raise unknown(f"earlier job for jobs.{name}", base, earlier)
    found = [job for other, job in earlier[base] if agree(cell, other)]
    if not found or (len(found) > 1 and not word.endswith("*")):
        raise ConfigError(
            f"jobs.{name}: {word} stands for {len(found)} jobs.",
            f"The cells of {base}: {', '.join(job.name for _, job in earlier[base])}.",
            f"Write @{base}* for all of them, or give both jobs the same matrix.",
        )
    return found


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
