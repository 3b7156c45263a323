"""What an installation without extras can do, and what it says of what it cannot."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from neurodyn.core.extras import EXTRAS, lacking, require

WITHOUT = """
import importlib.machinery, json, sys
found = importlib.machinery.PathFinder.find_spec
importlib.machinery.PathFinder.find_spec = lambda name, *rest: None if name in {names} else found(name, *rest)
from neurodyn.cli.app import build
from neurodyn.cli.console import show_error
for arguments in json.loads(sys.argv[1]):
    try:
        build()(arguments, prog_name="neurodyn", standalone_mode=False)
    except Exception as error:
        sys.exit(show_error(error))
"""


def run(folder, *commands):
    """Run commands in one process, in which no library of an extra can be imported."""
    given = json.dumps([list(map(str, command)) for command in commands])
    command = [sys.executable, "-c", WITHOUT.format(names=list(EXTRAS)), given]
    active = os.environ | {"HOME": str(folder)}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=active)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    rng = np.random.default_rng(0)
    np.save(folder / "traces.npy", rng.random((6, 400)) + 1)
    rows = "".join(f"{start},{start + 1},{start % 3}\n" for start in range(1, 36, 2))
    (folder / "stimuli.csv").write_text("start,stop,contrast\n" + rows)
    return folder


def test_traces_are_preprocessed_and_decoded_without_any_extra(folder):
    steps = [
        ("convert", "traces.npy", "a.zarr", "--fs", 10, "--axes", "roi,time", "--stimulus", "stimuli.csv"),
        ("preprocess", "a.zarr", "--chain", "traces", "-o", "b.zarr"),
        ("decode", "b.zarr", "--target", "contrast", "--set", "shuffles=20", "-o", "scores"),
        ("report", "scores", "-o", "report.html"),
    ]  # fmt: skip
    done = run(folder, *steps)
    assert done.returncode == 0, done.stderr
    assert (folder / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("command", "library", "what"),
    [
        (("train", "pca", "a.zarr", "-o", "run"), "torch", "This"),
        (("run", "demo", "-o", "demo"), "snakemake", "A pipeline"),
    ],
)
def test_what_needs_an_extra_says_which(folder, command, library, what):
    done = run(folder, command)
    assert done.returncode == 2
    assert not (folder / command[-1]).exists()
    assert done.stderr.splitlines()[-3:] == [
        f"Error: {what} needs {library}.",
        "It is not installed.",
        f"pip install 'neurodyn[{EXTRAS[library]}]'",
    ]


def test_every_extra_is_one_of_the_project_and_installs_its_library():
    found = importlib.metadata.metadata("neurodyn")
    assert set(EXTRAS.values()) < set(found.get_all("Provides-Extra"))
    wanted = list(found.get_all("Requires-Dist"))
    names = {"cv2": "opencv-python-headless", "vector_quantize_pytorch": "vector-quantize-pytorch"}
    for library, extra in EXTRAS.items():
        assert any(re.match(rf"{names.get(library, library)}\W.*extra == .{extra}.$", line) for line in wanted), library
    plain = {re.split(r"\W", line)[0] for line in wanted if "extra ==" not in line}
    assert not plain & {"torch", "optuna", "snakemake", "suite2p"}


def test_other_faults_of_an_import_are_not_taken_for_a_missing_extra():
    assert lacking(ModuleNotFoundError("No module named 'neurodyn.nothing'", name="neurodyn.nothing")) is None
    assert lacking(ValueError("torch")) is None
    broken = lacking(ImportError("libcudart.so: cannot open", name="torch._C"))
    assert broken.found == "libcudart.so: cannot open."
    assert require("torch").nn
