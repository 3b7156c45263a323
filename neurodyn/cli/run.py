"""`neurodyn run`: a whole pipeline, resumable, on this machine or on SLURM."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurodyn.cli.common import Existing, ExistingOption, Out
from neurodyn.cli.console import Common, command

if TYPE_CHECKING:
    from neurodyn.workflow.pipeline import Plan
    from neurodyn.workflow.run import How

Jobs = Annotated[int, typer.Option("-j", "--jobs", min=1, help="Jobs at a time; with --slurm, submitted at a time.")]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(
        app, "run", panel="Pipelines", example="neurodyn run many-sessions clean/*.zarr -o group -j 8", sections=None
    )(run)


def run(
    common: Common,
    pipeline: Annotated[str, typer.Argument(help="Pipeline name or YAML file; see: neurodyn list pipelines.")],
    inputs: Annotated[
        list[Path] | None, typer.Argument(help="Input files, where the pipeline takes any.", show_default=False)
    ] = None,
    output: Out = None,
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
    """Run a pipeline; type the same command again to go on after an interruption."""
    from neurodyn.workflow.run import How

    folder = output or Path(f"neurodyn-{Path(pipeline).stem}")
    how = How(jobs, keep_going, until, slurm, profile)
    run_pipeline(common, pipeline, inputs or [], folder, how, existing)
    if not common.dry_run:
        common.product(folder)


def run_pipeline(
    common: Common, pipeline: str, inputs: list[Path], folder: Path, how: How, existing: Existing = "error"
) -> None:
    """Resolve and run a pipeline, telling on stderr what happens."""
    from neurodyn.cli.jobs import check_jobs
    from neurodyn.core.errors import DataError
    from neurodyn.core.files import check_output
    from neurodyn.core.registry import unknown
    from neurodyn.workflow.pipeline import load_pipeline, plan
    from neurodyn.workflow.run import run as run_jobs

    spec, _ = load_pipeline(pipeline, common.sets or [], common.config)
    for path in [*inputs, *([how.profile] if how.profile else [])]:
        if not path.exists():
            raise DataError(f"{path} does not exist.", "Expected an input file.", "Check the path.")
    check_output(folder, inputs, whole=False)
    planned = plan(spec, inputs)
    names = dict.fromkeys(name for job in planned.jobs for name in (job.rule, job.name))
    if how.until is not None and how.until not in names:
        raise unknown("job", how.until, names)
    check_jobs(planned)
    if common.dry_run:
        _show_plan(common, planned, folder, how)
        return
    run_jobs(folder, planned, how, existing=existing, say=common.say)


def _show_plan(common: Common, plan: Plan, folder: Path, how: How) -> None:
    """Print every command, then what is done already, what will be asked for, and how long it may take."""
    from neurodyn.workflow.states import foreseen

    lines = [f"{job.name}: neurodyn {' '.join(job.argv)}" for job in plan.jobs]
    estimate = foreseen(folder, plan, how.parallel)
    common.plan([*lines, *estimate], folder=folder, jobs=[job.name for job in plan.jobs], estimate=estimate)
