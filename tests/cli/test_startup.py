"""The command line starts fast and says things in the right place."""

import subprocess
import sys
import time

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
    for _ in range(5):
        for times, arguments in ((own, ("-m", "neurodyn", "--help")), (drawn, ("-c", "import typer.rich_utils"))):
            start = time.perf_counter()
            assert run(*arguments).returncode == 0
            times.append(time.perf_counter() - start)
    assert min(own) < 2 * min(drawn)


def test_listing_models_imports_no_torch() -> None:
    assert not loaded_after("list", "models") & {"torch", "xarray"}


def test_unknown_verb_is_a_usage_error() -> None:
    result = run("-m", "neurodyn", "trian")
    assert result.returncode == 2
    assert result.stderr.startswith("Error: No such command 'trian'")
    assert result.stdout == ""
