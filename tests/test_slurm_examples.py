"""The batch scripts of examples/slurm, with stand-ins for neurodyn and SLURM on PATH."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .workflow.slurm import FakeSlurm

SCRIPTS = Path(__file__).parents[1] / "examples" / "slurm"
STAND_IN = """#!{python}
import json, sys
with open({notes!r}, "a") as notes:
    notes.write(json.dumps(sys.argv[1:]) + "\\n")
if any("bad" in word for word in sys.argv):
    sys.exit("Error: bad recording.")
print(sys.argv[sys.argv.index("-o") + 1] if "-o" in sys.argv else sys.argv[2])
"""


class Lab:
    """A folder with recordings, some of whose names are awkward, and what the stand-in for neurodyn was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.slurm, self.notes = folder, FakeSlurm(folder / "slurm"), folder / "asked.jsonl"
        command = folder / "slurm" / "bin" / "neurodyn"
        command.write_text(STAND_IN.format(python=sys.executable, notes=str(self.notes)))
        command.chmod(0o755)
        self.recordings = ["mouse 1.zarr", "bad $(touch x).zarr", "mouse;2.zarr"]

    def bash(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the lab's folder."""
        environment = self.slurm.environment | environment
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)

    @property
    def asked(self) -> list[list[str]]:
        """What neurodyn was asked, in order."""
        return [json.loads(line) for line in self.notes.read_text().splitlines()]


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


def test_a_loop_does_the_rest_and_names_what_failed(lab):
    done = lab.bash("bash", str(SCRIPTS / "loop.sh"), "out dir", *lab.recordings)
    assert done.returncode == 1 and "Failed: bad $(touch x).zarr" in done.stderr
    assert [words[:3] for words in lab.asked if words[0] == "train"] == [
        ["train", "pca", name] for name in lab.recordings
    ]
    assert ["decode", "out dir/mouse;2", "--target", "contrast"] in lab.asked
    assert not (lab.folder / "x").exists()


def test_xargs_runs_each_and_fails_if_one_does(lab):
    done = lab.bash("bash", str(SCRIPTS / "xargs.sh"), "out dir", *lab.recordings, MODEL="cst")
    assert done.returncode == 123
    assert sorted(words[2] for words in lab.asked) == sorted(lab.recordings)
    assert all(words[1] == "cst" for words in lab.asked)
    assert "bad recording" in (lab.folder / "out dir" / "bad $(touch x).log").read_text()
    assert not (lab.folder / "x").exists()


def test_an_array_gives_every_task_its_recording(lab):
    done = lab.bash("sbatch", "--array=0-2", str(SCRIPTS / "array.sbatch"), "out", *lab.recordings)
    assert done.returncode == 0
    assert [words[2] for words in lab.asked] == lab.recordings
    states = (lab.folder / "slurm" / "states").read_text().split()
    assert [state.split("|")[1] for state in states] == ["COMPLETED", "FAILED", "COMPLETED"]


def test_a_pipeline_is_handed_over_with_its_profile(lab):
    assert lab.bash("bash", str(SCRIPTS / "run.sh"), "out", *lab.recordings[::2]).returncode == 0
    (words,) = lab.asked
    assert words[:4] == ["run", "many-sessions", "mouse 1.zarr", "mouse;2.zarr"]
    assert "--slurm" in words
    profile = yaml.safe_load(Path(words[words.index("--profile") + 1]).read_text())
    assert any(item.startswith("slurm_account=") for item in profile["default-resources"])
