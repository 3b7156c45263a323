"""`neurodyn run`: a whole pipeline, resumable, on this machine or on SLURM."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurodyn.cli.common import Axes, Brain, Channels, Existing, ExistingOption, Fs, Indicator, Key, Out
from neurodyn.cli.console import Common, command

if TYPE_CHECKING:
    from neurodyn.workflow.pipeline import Found, PipelineSpec, Plan
    from neurodyn.workflow.run import How

Jobs = Annotated[int, typer.Option("-j", "--jobs", min=1, help="Jobs at a time; with --slurm, submitted at a time.")]

Stimulus = Annotated[
    str | None,
    typer.Option(
        "--stimulus",
        help="Stimulus log, here or beside the movie; of several movies {stem}.csv, or {folder}/trials.csv.",
        show_default=False,
    ),
]
FrameTimes = Annotated[
    str | None,
    typer.Option("--frame-times", help="Frame times, here or beside the movie, as in convert.", show_default=False),
]
Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        help="Stimulus or behaviour column to respond to and to decode (default: the only one that varies).",
        show_default=False,
    ),
]
SHOWN = 8


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(
        app,
        "run",
        panel="Pipelines",
        sections=None,
        example="neurodyn run session movie.tif --fs 30 --indicator GCaMP6f --stimulus trials.csv -o OUT",
    )(run)


def run(
    common: Common,
    pipeline: Annotated[str, typer.Argument(help="Pipeline name or YAML file; see: neurodyn list pipelines.")],
    inputs: Annotated[
        list[Path] | None, typer.Argument(help="Input files, where the pipeline takes any.", show_default=False)
    ] = None,
    output: Out = None,
    fs: Fs = None,
    indicator: Indicator = None,
    stimulus: Stimulus = None,
    target: Target = None,
    channels: Channels = None,
    axes: Axes = None,
    key: Key = None,
    brain: Brain = None,
    frame_times: FrameTimes = None,
    days: Annotated[
        bool, typer.Option("--days", help="The movies show the same cells on several days: match them.")
    ] = False,
    jobs: Jobs = 1,
    keep_going: Annotated[
        bool,
        typer.Option(
            "--keep-going/--stop-at-first", help="After a failure: go on with what does not depend on it, or stop."
        ),
    ] = True,
    until: Annotated[
        str | None,
        typer.Option("--until", help="Stop after this job, or after all jobs of this name.", show_default=False),
    ] = None,
    slurm: Annotated[
        bool, typer.Option("--slurm", help="Submit the jobs to SLURM, those of one name as an array.")
    ] = False,
    profile: Annotated[
        Path | None,
        typer.Option(
            "--profile", help="Snakemake profile (YAML): account, partition and the like.", show_default=False
        ),
    ] = None,
    existing: ExistingOption = "error",
) -> None:
    """Run a pipeline; type the same command again to go on after an interruption.

    The pipelines session, session-one-photon and session-widefield go from a movie to a report; what it does not say of
    itself is told as to convert (--fs, --indicator, …; --set source.KEY=VALUE).
    """
    from neurodyn.workflow.run import How

    folder = output or Path(f"neurodyn-{Path(pipeline).stem}")
    how = How(jobs, keep_going, until, slurm, profile)
    beside = {"stimulus": stimulus, "frame_times": frame_times}
    source: dict[str, Any] = {"fs": fs, "indicator": indicator, "axes": axes, "key": key, "brain": brain}
    source |= {"channels": channels.split(",") if channels else None}
    source |= {name: {"file": file} if file else None for name, file in beside.items()}
    told = {"source": _given(source), "settings": _given({"target": target, "days": days or None})}
    run_pipeline(common, pipeline, inputs or [], folder, how, existing, _given(told))
    if not common.dry_run:
        common.product(folder)


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """Return what was told, nothing being told by None or by nothing."""
    return {name: value for name, value in values.items() if value not in (None, {})}


def run_pipeline(
    common: Common,
    pipeline: str,
    inputs: list[Path],
    folder: Path,
    how: How,
    existing: Existing = "error",
    told: dict[str, Any] | None = None,
) -> None:
    """Resolve and run a pipeline, telling on stderr what happens."""
    from neurodyn.cli.jobs import check_jobs
    from neurodyn.core.errors import DataError
    from neurodyn.core.files import check_output
    from neurodyn.core.registry import unknown
    from neurodyn.workflow.pipeline import load_pipeline, plan
    from neurodyn.workflow.run import run as run_jobs

    spec, _ = load_pipeline(pipeline, common.sets or [], common.config, told)
    for path in [*inputs, *([how.profile] if how.profile else [])]:
        if not path.exists():
            raise DataError(f"{path} does not exist.", "Expected an input file.", "Check the path.")
    check_output(folder, inputs, whole=False)
    planned = plan(spec, inputs, _found(common, spec, inputs))
    _tell(common, planned.left_out.items(), "Left out ")
    names = dict.fromkeys(name for job in planned.jobs for name in (job.rule, job.name))
    if how.until is not None and how.until not in names:
        raise unknown("job", how.until, names)
    check_jobs(planned)
    if common.dry_run:
        _show_plan(common, planned, folder, how)
        return
    run_jobs(folder, planned, how, existing=existing, say=common.say)
    pages = [folder / job.product for job in planned.jobs if job.product.endswith(".html")]
    for page in [*pages[:SHOWN], folder / "index.html"] if spec.kind else []:
        common.say(f"Look at {page}")


def _found(common: Common, spec: PipelineSpec, inputs: list[Path]) -> dict[Path, Found]:
    """Return what movies say of themselves; nothing of pipelines that are not of movies."""
    if spec.kind is None:
        return {}
    from neurodyn.workflow.session import look

    found = look(spec, inputs)
    lacks = [(path.name, each.lacks["indicator"]) for path, each in found.items() if "indicator" in each.lacks]
    _tell(common, lacks)
    return found


def _tell(common: Common, lacks: Iterable[tuple[str, str]], first: str = "") -> None:
    """Tell what is missing, once, and where; `first` begins each line."""
    places: dict[str, list[str]] = {}
    for name, why in lacks:
        places.setdefault(why, []).append(name)
    for why, names in places.items():
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        common.say(f"{first}{', '.join(names[:SHOWN])}{more}: {why}.")


def _show_plan(common: Common, plan: Plan, folder: Path, how: How) -> None:
    """Print every command, then what is done already, what will be asked for, and how long it may take."""
    from neurodyn.workflow.states import foreseen

    lines = [f"{job.name}: neurodyn {' '.join(job.argv)}" for job in plan.jobs]
    estimate = foreseen(folder, plan, how.parallel)
    common.plan([*lines, *estimate], folder=folder, jobs=[job.name for job in plan.jobs], estimate=estimate)
