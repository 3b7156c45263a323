"""Pipelines: a YAML of jobs, each job one `neurodyn` command, joined by the products they name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from neurodyn.core.config import Layer, Params, Resolved, find_preset, layers_of, load_yaml, resolve, validate
from neurodyn.core.errors import ConfigError
from neurodyn.core.registry import unknown
from neurodyn.workflow.made import Job, Made
from neurodyn.workflow.matrix import Cell, Value, cell_name, cells, filled

INPUTS = "@inputs"
INPUT = re.compile(r"@input([1-9][0-9]*)?")
JOB_NAME = re.compile(r"[a-z][a-z0-9_]*")
VERBS_THAT_REPLACE = ("simulate", "preprocess", "extract", "train", "convert", "match")
Kind = Literal["two-photon", "one-photon", "widefield"]


class Resources(Params):
    """What a job is given: by SLURM, or of this machine's cores."""

    cpus: int = Field(default=1, gt=0, description="CPU cores")
    gpus: int = Field(default=0, ge=0, description="GPUs")
    memory_gb: float | None = Field(default=None, gt=0, description="memory in GB (default: the cluster's)")
    minutes: int | None = Field(default=None, gt=0, description="longest time in minutes (default: the cluster's)")
    group: int = Field(default=1, gt=0, description="jobs that one cluster job runs, for short ones")


class JobSpec(Params):
    """One job as written in the pipeline's YAML."""

    command: tuple[str, ...] = Field(
        description="verb and arguments; @job is that job's product, @input the files given, @input1 the first, and the "
        "cell's own where an axis is @inputs; between cells, @job is the one that agrees on every shared axis, @job* are "
        "all that do, and @job? is none where that job is left out"
    )
    when: tuple[str, ...] = Field(
        default=(), description="settings; where none of them is told or found, the job is left out, with a word"
    )
    matrix: str | None = Field(
        default=None, description="run once per cell of this matrix, {axis} standing for the cell's value everywhere"
    )
    options: dict[str, str | int | float | bool | None] = Field(
        default_factory=dict, description="long options of the command; null leaves one out"
    )
    set: dict[str, Any] = Field(default_factory=dict, description="configuration keys, given as --set key=value")
    config: dict[str, Any] = Field(default_factory=dict, description="configuration, given as a --config file")
    out: str | None = Field(
        default=None,
        description="product, relative to the output folder (default: the first @job's); given as -o unless in command",
    )
    resources: Resources = Field(
        default_factory=lambda: Resources.model_validate({}), description="cores, GPUs, memory and time of each"
    )


class PipelineSpec(Params):
    """A pipeline as written in YAML."""

    description: str = Field(description="what it does, in one line")
    inputs: tuple[str, ...] = Field(default=(), description="files used when none are given")
    kind: Kind | None = Field(
        default=None, description="what every input is a movie of; what it says of itself fills in the settings"
    )
    source: dict[str, Any] | None = Field(
        default=None,
        description="how inputs are read, as convert takes it (null: nothing can be told); {source} in a job",
    )
    settings: dict[str, Any] = Field(
        default_factory=dict, description="name -> value (null: not told), which {name} stands for in a job"
    )
    matrices: dict[str, tuple[dict[str, tuple[Value, ...]], ...]] = Field(
        default_factory=dict,
        description="name -> list of axes with their values, whose combinations are its cells; ['@inputs'] stands for the "
        "names of the files given",
    )
    scale: str | None = Field(default=None, description="which of the scales is run: --set scale=NAME")
    scales: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="name -> what differs from the rest of this file at that scale"
    )
    jobs: dict[str, JobSpec] = Field(description="job name -> job, in order")


@dataclass(frozen=True)
class Found:
    """What is known of one input.

    Parameters
    ----------
    settings
        What takes the place of the pipeline's settings for it.
    lacks
        Setting -> why it has no value, in words.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    lacks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """A pipeline's jobs, ready to run.

    Parameters
    ----------
    description
        What the pipeline does.
    jobs
        In the order given.
    configs
        Job name -> configuration that the job reads from ``configs/NAME.yaml``.
    resources
        Name in the pipeline -> what each of its jobs is given.
    cells
        Job name -> its place in its matrix, for jobs that have one.
    left_out
        Job name -> why it is not run.
    """

    description: str
    jobs: tuple[Job, ...]
    configs: Mapping[str, Mapping[str, Any]]
    resources: Mapping[str, Resources]
    cells: Mapping[str, Cell] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)


def load_pipeline(
    name: str, sets: Sequence[str] = (), config: Path | None = None, told: Mapping[str, Any] | None = None
) -> tuple[PipelineSpec, Resolved]:
    """Load a pipeline by name or path, with overrides such as ``scale=paper`` or ``jobs.cst.set.training.epochs=2``.

    Parameters
    ----------
    told
        What options say, in the sections `source` and `settings`.

    Raises
    ------
    ConfigError
        With file, line and key where the YAML is wrong.
    """
    written = load_yaml(find_preset("pipeline", name))
    over = layers_of("run", ("source",), config=config, flags=told, sets=sets)
    resolved = resolve([written, *over])
    scale, scales = resolved.values.get("scale"), resolved.values.get("scales") or {}
    if scale is not None:
        if scale not in scales:
            raise unknown("scale", str(scale), scales)
        resolved = resolve([written, Layer(scales[scale], f"{written.origin}, scale {scale}"), *over])
    _refuse_strangers(name, written, resolved)
    return validate(PipelineSpec, resolved), resolved


def _refuse_strangers(name: str, written: Layer, resolved: Resolved) -> None:
    """Refuse settings that the pipeline does not have, and words on how to read what it does not read."""
    known = written.values.get("settings") or {}
    for setting in resolved.values.get("settings") or {}:
        if setting not in known:
            raise unknown(f"setting of pipeline {name}", setting, known)
    if resolved.values.get("source") and written.values.get("source") is None:
        raise ConfigError(
            f"Pipeline {name} takes nothing on how files are read.",
            f"Found {', '.join(resolved.values['source'])}.",
            "Leave it out, or take a pipeline that does: neurodyn run session MOVIE",
        )


def plan(spec: PipelineSpec, inputs: Sequence[Path] = (), found: Mapping[Path, Found] | None = None) -> Plan:
    """Turn a pipeline into jobs.

    Parameters
    ----------
    found
        Input file -> what is known of it.

    Raises
    ------
    ConfigError
        If a job refers to an unknown or later job, or inputs are missing, or two jobs have one name or product.
    """
    files = [path.resolve() for path in inputs] or [Path(name).expanduser().resolve() for name in spec.inputs]
    matrices = {name: _Matrix.of(axes, files) for name, axes in spec.matrices.items()}
    made = Made()
    jobs: list[Job] = []
    configs: dict[str, dict[str, Any]] = {}
    places: dict[str, Cell] = {}
    left_out: dict[str, str] = {}
    for rule, template in spec.jobs.items():
        if not JOB_NAME.fullmatch(rule):
            raise ConfigError(
                f"jobs.{rule}: not a job name.", "Expected lower-case letters, digits and _.", "Rename it."
            )
        here: list[tuple[Cell, Job]] = []
        for name, cell, job, own in _repeated(rule, template, matrices, files):
            known = (found or {}).get(own[0], Found()) if len(own) == 1 else Found()
            read = {} if spec.source is None else {"source": spec.source}
            values = {**read, **spec.settings, **known.settings}
            if not _wanted(job, values):
                left_out |= _why(name, job, values, known)
                continue
            job = _filled(rule, job, values | cell)
            here.append((cell, _job(rule, name, job, cell, made, own)))
            configs |= {name: job.config} if job.config else {}
            places |= {name: cell} if cell else {}
        made.add(rule, here)
        jobs += [job for _, job in here]
    _check_apart(jobs)
    resources = {rule: job.resources for rule, job in spec.jobs.items()}
    return Plan(spec.description, tuple(jobs), configs, resources, places, left_out)


@dataclass(frozen=True)
class _Matrix:
    """Cells, each with the files that are inputs in it."""

    cells: Sequence[Cell]
    inputs: Sequence[Sequence[Path]]

    @classmethod
    def of(cls, products: Sequence[Mapping[str, Sequence[Value]]], files: Sequence[Path]) -> _Matrix:
        found: list[Cell] = []
        inputs: list[Sequence[Path]] = []
        names = names_of(files) if any(_over_inputs(product) for product in products) else {}
        for product in products:
            axis = _over_inputs(product)
            here = cells([{**product, **({axis: list(names)} if axis else {})}])
            found += here
            inputs += [[names[str(cell[axis])]] if axis else files for cell in here]
        return cls(found, inputs)


def _over_inputs(product: Mapping[str, Sequence[Value]]) -> str | None:
    """Return the axis that stands for the files given, if there is one."""
    return next((axis for axis, values in product.items() if list(values) == [INPUTS]), None)


def names_of(files: Sequence[Path]) -> dict[str, Path]:
    """Name files by as much of the end of their paths as tells them apart; the names fit file names.

    Raises
    ------
    ConfigError
        If there are none, or one is given twice.
    """
    if not files:
        raise ConfigError(
            f"This pipeline needs {INPUTS}.", "Found no input files.", "Type: neurodyn run PIPELINE FILE…"
        )
    parts = [[*path.parts[1:-1], path.stem] for path in files]
    for depth in range(1, max(map(len, parts)) + 1):
        names = [re.sub(r"[^\w.]+", "-", "-".join(part[-depth:])).strip("-") or "input" for part in parts]
        if len({cell_name("", {"name": name}) for name in names}) == len(files):
            return dict(zip(names, files, strict=True))
    twice = Counter(files).most_common(1)[0][0]
    raise ConfigError(
        "Two input files cannot be told apart.", f"Found {twice} more than once, or names alike.", "Rename one."
    )


def _repeated(
    rule: str, job: JobSpec, matrices: Mapping[str, _Matrix], files: Sequence[Path]
) -> Iterator[tuple[str, Cell, JobSpec, Sequence[Path]]]:
    """Yield a job once per cell of its matrix, with its inputs."""
    if job.matrix is None:
        yield rule, {}, job, files
        return
    if job.matrix not in matrices:
        raise unknown(f"matrix for jobs.{rule}", job.matrix, matrices)
    matrix = matrices[job.matrix]
    for cell, own in zip(matrix.cells, matrix.inputs, strict=True):
        yield cell_name(rule, cell), cell, job, own


def _wanted(job: JobSpec, values: Mapping[str, Any]) -> bool:
    return not job.when or any(values.get(name) for name in job.when)


def _why(name: str, job: JobSpec, values: Mapping[str, Any], known: Found) -> dict[str, str]:
    """Return why a job is left out, by its name; nothing where a setting says no by itself."""
    missing = [setting for setting in job.when if values.get(setting) is None]
    return {name: known.lacks.get(missing[0], f"no {missing[0]} (--{missing[0]})")} if missing else {}


def _filled(rule: str, job: JobSpec, values: Mapping[str, Any]) -> JobSpec:
    """Put values in the place of {axis} and {setting}; where there are none, braces are plain text."""
    if not values:
        return job
    made = filled(job.model_dump(exclude={"matrix", "resources", "when"}), values, f"jobs.{rule}")
    made["command"] = [str(word) for word in made["command"]]
    made["out"] = None if made["out"] is None else str(made["out"])
    return JobSpec.model_validate(made)


def _check_apart(jobs: Sequence[Job]) -> None:
    """Refuse jobs of one name, and cells that would write over each other's products."""
    names = Counter(job.name for job in jobs)
    products = Counter(job.product for job in jobs if job.argv[0] in VERBS_THAT_REPLACE)
    for what, found in (("name", names), ("product", products)):
        twice, count = (found.most_common(1) or [("", 0)])[0]
        if count > 1:
            raise ConfigError(
                f"Two jobs have the {what} {twice}.",
                f"Found {count} of them.",
                "Give each its own: out: NAME-{axis} for every axis of the matrix.",
            )


def _job(rule: str, name: str, spec: JobSpec, cell: Cell, earlier: Made, files: Sequence[Path]) -> Job:
    needs: list[Job] = []

    def words(word: str) -> list[str]:
        """Replace a reference by the paths it stands for."""
        if INPUT.fullmatch(word):
            return _inputs(word, files)
        if not word.startswith("@"):
            return [word]
        found = earlier.meant(name, word, cell)
        needs.extend(found)
        return [job.product for job in found]

    argv = [path for word in spec.command for path in words(word)]
    flags = [path for word in _flags(name, spec) for path in words(word)]
    product = spec.out or (needs[0].product if needs else None)
    if product is None or Path(product).is_absolute() or ".." in Path(product).parts:
        raise ConfigError(
            f"jobs.{name}.out: no product inside the output folder.", f"Found {product}.", "Give out: NAME"
        )
    return Job(rule, name, (*argv, *flags), tuple(job.name for job in needs), product)


def _inputs(word: str, files: Sequence[Path]) -> list[str]:
    """Return all files for ``@input``, the first for ``@input1``, and so on."""
    number = word.removeprefix("@input")
    chosen = files[int(number) - 1 : int(number)] if number else files
    if not chosen:
        raise ConfigError(
            f"This pipeline needs {word}.", f"Found {len(files)} input files.", "Type: neurodyn run PIPELINE FILE…"
        )
    return [str(path) for path in chosen]


def _flags(name: str, spec: JobSpec) -> list[str]:
    flags = ["-o", spec.out] if spec.out and spec.out not in spec.command else []
    flags += ["-c", f"configs/{name}.yaml"] if spec.config else []
    for key, value in spec.options.items():
        if value is not None and value is not False:
            flags += [f"--{key}"] if value is True else [f"--{key}", str(value)]
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
