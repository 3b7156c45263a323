"""Jobs of a pipeline, as Snakemake or SLURM starts them: their commands, their logs, and what became of them.

It imports next to nothing, so that it costs next to nothing beside the command.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import IO, Any

from neurodyn.core.files import make_folder, write_json
from neurodyn.workflow import warm

PLAN = "pipeline.json"
FAILED = "FAILED"
STOPPED = (130, 143)  # a job that was told to end; those after it do not begin


def main(names: Sequence[str]) -> int:
    """Run jobs of the output folder that is the working folder, one after another; return the last exit code but 0."""
    known = {job["name"]: job for job in json.loads(Path(PLAN).read_text(encoding="utf-8"))["jobs"]}
    jobs = [known[name] for name in names]
    given = os.environ.get(warm.WARM)
    with nullcontext(given) if given else warm.serving([job["argv"][0] for job in jobs]) as address:
        worst = 0
        for job in jobs:
            worst = run(job, address) or worst
            if worst in STOPPED:
                break
    return worst


def run(job: dict[str, Any], address: str | None) -> int:
    """Run a job, note what became of it, and return its exit code.

    Parameters
    ----------
    job
        As it stands in the plan.
    address
        Where a process with its imports ready listens, if there is one.
    """
    name = job["name"]
    files = Files(Path(), job["rule"], name)
    make_folder(files.log.parent)
    start = time.time()
    facts = {"started": round(start, 3), "host": platform.node(), "pid": os.getpid()}
    files.write({"state": "running"} | facts)
    with files.said.open("wb") as said, files.log.open("wb") as log:
        code = _command(job["argv"], address, said, log)
    facts["seconds"] = round(time.time() - start, 3)
    if code == 0:
        files.said.replace(files.done)
    files.write({"state": "failed" if code else "done", "code": code} | facts)
    sys.stderr.write(
        f"neurodyn: {name} {f'{FAILED} with exit code {code}' if code else 'done'} in {facts['seconds']:.1f} s\n"
    )
    return code


class Files:
    """Where a job's traces lie in the output folder.

    Parameters
    ----------
    folder
        Output folder.
    rule, name
        The job.
    """

    def __init__(self, folder: Path, rule: str, name: str) -> None:
        stem = folder / "jobs" / rule / name
        self.done, self.state, self.said = (stem.with_name(f"{name}.{end}") for end in ("done", "json", "said"))
        self.log = folder / "logs" / rule / f"{name}.log"

    def write(self, state: dict[str, Any]) -> None:
        """Note what became of the job."""
        write_json(self.state, state)

    def read(self) -> dict[str, Any]:
        """Return what became of the job; it is "waiting" where nothing did."""
        with suppress(OSError, ValueError):
            return json.loads(self.state.read_text(encoding="utf-8"))
        return {"state": "waiting"}


def _command(argv: Sequence[str], address: str | None, said: IO[bytes], log: IO[bytes]) -> int:
    """Run `neurodyn` with these arguments."""
    if address:
        return warm.ask(address, argv, said.fileno(), log.fileno())
    command = [sys.executable, "-P", "-m", "neurodyn", *argv]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=log) as process:
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())  # as SLURM stops a job; its own code is 143
        with suppress(KeyboardInterrupt):
            process.wait()
        return warm.shell_code(process.wait())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
