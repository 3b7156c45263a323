"""The command line starts fast and says things in the right place."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from neurodyn.data.recording import Recording

HEAVY = ("torch", "xarray", "zarr", "numpy", "sklearn", "matplotlib", "suite2p", "pynwb")


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, check=False)


def loaded_after(*args: str) -> set[str]:
    code = (
        "import sys\nfrom neurodyn.cli import app\n"
        f"sys.argv = ['neurodyn', *{list(args)!r}]\n"
        "try:\n    app.main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "sys.stderr.write('LOADED ' + ' '.join(m for m in sys.modules if '.' not in m))"
    )
    result = run("-c", code)
    assert result.returncode == 0, result.stderr
    return set(result.stderr.split("LOADED ")[1].split())


def test_help_is_fast_and_light() -> None:
    """At most twice as long as importing the library that draws it: 0.5 s where that takes 0.25 s."""
    assert not loaded_after("--help") & set(HEAVY)
    own, drawn = [], []
    for _ in range(3):
        for times, arguments in ((own, ("-m", "neurodyn", "--help")), (drawn, ("-c", "import typer.rich_utils"))):
            start = time.perf_counter()
            assert run(*arguments).returncode == 0
            times.append(time.perf_counter() - start)
    assert min(own) < 2 * min(drawn)


def test_listing_models_imports_no_torch() -> None:
    assert not loaded_after("list", "models") & {"torch", "xarray"}


UNUSED = {
    "matplotlib",
    "sklearn",
    "transformers",
    "torchvision",
    "torchmetrics",
    "pytorch_lightning",
    "optuna",
    "snakemake",
    "pynwb",
}
LIGHT = UNUSED | {"torch", "numba", "scipy"}


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    start = 2.0 + 3.0 * np.arange(40)
    stimulus = {"start": start, "stop": start + 1, "contrast": np.resize([0.1, 0.4, 0.6, 1.0], 40)}
    dff = np.random.default_rng(0).standard_normal((1300, 5)).astype(np.float32)
    made = Recording.from_arrays({"dff": dff}, rate_hz=10, stimulus=stimulus)
    return made.save(tmp_path_factory.mktemp("startup") / "recording.zarr")


@pytest.mark.parametrize(
    ("arguments", "unused"),
    [
        (("inspect",), LIGHT),
        (("validate",), LIGHT),
        (("decode", "--target", "contrast", "--dry-run"), LIGHT),
        (("train", "cst-traces", "--dry-run"), LIGHT),
    ],
)
def test_a_command_imports_nothing_that_it_does_not_use(recording, arguments, unused) -> None:
    place = 2 if arguments[0] == "train" else 1
    assert not loaded_after(*arguments[:place], str(recording), *arguments[place:]) & unused


def test_a_misspelt_model_is_refused_before_anything_heavy() -> None:
    code = (
        "import sys\nfrom neurodyn.cli import app\nsys.argv = ['neurodyn', 'train', 'cst-tyni', 'recording.zarr']\n"
        "try:\n    app.main()\nexcept SystemExit as stop:\n    print(stop.code, *(m for m in sys.modules if '.' not in m))"
    )
    result = run("-c", code)
    assert "Did you mean 'cst-tiny'?" in result.stderr
    status, *loaded = result.stdout.split()
    assert status == "2"
    assert not set(loaded) & set(HEAVY)


def test_unknown_verb_is_a_usage_error() -> None:
    result = run("-m", "neurodyn", "trian")
    assert result.returncode == 2
    assert result.stderr.startswith("Error: No such command 'trian'")
    assert result.stdout == ""
