"""`neurodyn run`: a whole pipeline, resumable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurodyn.cli.common import Existing, ExistingOption, Out
from neurodyn.cli.console import Common, command

Jobs = Annotated[int, typer.Option("-j", "--jobs", min=1, help="Jobs at a time.")]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(app, "run")(run)


def run(
    common: Common,
    pipeline: Annotated[str, typer.Argument(help="Pipeline name or YAML file; see: neurodyn list pipelines.")],
    inputs: Annotated[
        list[Path] | None, typer.Argument(help="Input files, where the pipeline takes any.", show_default=False)
    ] = None,
    output: Out = None,
    jobs: Jobs = 1,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Go on with independent jobs after a failure.")
    ] = False,
    until: Annotated[str | None, typer.Option("--until", help="Stop after this job.", show_default=False)] = None,
    existing: ExistingOption = "error",
) -> None:
    """Run a pipeline; type the same command again to go on after an interruption."""
    folder = output or Path(f"neurodyn-{Path(pipeline).stem}")
    run_pipeline(common, pipeline, inputs or [], folder, jobs, keep_going, until, existing)
    if not common.dry_run:
        common.product(folder)


def run_pipeline(
    common: Common,
    pipeline: str,
    inputs: list[Path],
    folder: Path,
    jobs: int,
    keep_going: bool = False,
    until: str | None = None,
    existing: Existing = "error",
) -> None:
    """Resolve and run a pipeline, telling on stderr what happens."""
    from neurodyn.core.errors import DataError
    from neurodyn.core.registry import unknown
    from neurodyn.workflow.pipeline import load_pipeline, plan
    from neurodyn.workflow.run import run as run_jobs

    spec, _ = load_pipeline(pipeline, common.sets or [], common.config)
    for path in inputs:
        if not path.exists():
            raise DataError(f"{path} does not exist.", "Expected an input file.", "Check the path.")
    planned, configs = plan(spec, inputs)
    if until is not None and until not in {job.name for job in planned}:
        raise unknown("job", until, [job.name for job in planned])
    if common.dry_run:
        lines = [f"{job.name}: neurodyn {' '.join(job.argv)}" for job in planned]
        common.plan(lines, folder=folder, jobs=[job.name for job in planned])
        return
    run_jobs(
        folder, planned, configs, existing=existing, parallel=jobs, keep_going=keep_going, until=until, say=common.say
    )
