"""A SLURM that is not there: sbatch, squeue, sacct, scontrol and scancel that run what they are given at once.

`sbatch` writes its arguments to calls.jsonl and runs the tasks of its array one after another before it answers; `squeue`
says how they ended.
"""

import json
import os
import sys
from pathlib import Path

TOOLS = ("sbatch", "squeue", "sacct", "scontrol", "scancel")
SCRIPT = """#!{python}
import json, os, subprocess, sys
from pathlib import Path

HOME, name, args = Path({home!r}), Path(sys.argv[0]).name, sys.argv[1:]
STATES = HOME / "states"


def value(flag):
    for place, arg in enumerate(args):
        if arg == flag:
            return args[place + 1]
        if arg.startswith(flag + "="):
            return arg.split("=", 1)[1]


def sbatch():
    with (HOME / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps(args) + "\\n")
    number = str(100 + len((HOME / "calls.jsonl").read_text().splitlines()))
    first, _, last = value("--array").partition("-")
    script = args[[arg.startswith("-") for arg in args].index(False) :]
    for task in range(int(first), int(last) + 1):
        told = {{"SLURM_JOB_ID": number, "SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": str(task), "SLURM_NTASKS": "4"}}
        with (HOME / f"{{number}}_{{task}}.out").open("w") as log:
            code = subprocess.run(["bash", *script], cwd=value("--chdir"), env=os.environ | told, stdout=log, stderr=log).returncode
        with STATES.open("a") as states:
            states.write(f"{{number}}_{{task}}|{{'FAILED' if code else 'COMPLETED'}}\\n")
    print(number)


if name == "sbatch":
    sbatch()
elif name == "squeue":
    print(STATES.read_text() if STATES.exists() else "", end="")
elif name == "sacct":
    print("OUT_OF_MEMORY")
elif name == "scontrol":
    print("MaxArraySize = 1001")
"""
PROFILE = "seconds-between-status-checks: 1\ndefault-resources: [slurm_account=lab, slurm_partition=short]\n"


class FakeSlurm:
    """The tools in a folder that is put in front of PATH, and what they were asked.

    Parameters
    ----------
    folder
        Where they and their notes lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir(parents=True)
        for tool in TOOLS:
            script = folder / "bin" / tool
            script.write_text(SCRIPT.format(python=sys.executable, home=str(folder)))
            script.chmod(0o755)
        self.profile = folder / "profile.yaml"
        self.profile.write_text(PROFILE)

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which the tools are found."""
        return os.environ | {"PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}

    @property
    def calls(self) -> list[list[str]]:
        """The arguments of every sbatch so far."""
        notes = self.folder / "calls.jsonl"
        return [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []
