"""No command puts its output into, over or around what it is made from, or into any recording."""

from pathlib import Path

import numpy as np
import pytest
import typer.main

from neurodyn.cli.app import build
from neurodyn.core.errors import ConfigError
from neurodyn.core.files import check_output
from neurodyn.data.recording import Recording

IN = "a.zarr/inner"
COMMANDS = {
    "preprocess": ["a.zarr", "-o", f"{IN}.zarr"],
    "convert": ["a.zarr", f"{IN}.nwb"],
    "extract": ["a.zarr", "-o", f"{IN}.zarr"],
    "impute": ["a.zarr", "--model", "linear", "-o", f"{IN}.zarr"],
    "denoise": ["a.zarr", "--run", "none", "-o", f"{IN}.zarr"],
    "train": ["lfads", "a.zarr", "-o", IN],
    "train-spikes": ["a.zarr", "-o", IN],
    "tune": ["lfads", "a.zarr", "-o", IN],
    "decode": ["a.zarr", "--target", "contrast", "-o", IN],
    "respond": ["a.zarr", "-o", IN],
    "evaluate": ["a.zarr", "-o", IN],
    "compare": ["a.zarr", "-o", IN],
    "report": ["a.zarr", "-o", f"{IN}.html"],
    "curate": ["a.zarr", "b.zarr", "-o", f"{IN}.zarr"],
    "match": ["a.zarr", "b.zarr", "-o", IN],
    "simulate": ["lorenz", "-o", f"{IN}.zarr"],
    "run": ["widefield-405", "a.zarr", "-o", IN],
    "demo": ["-o", IN],
    "docs": ["-o", IN],
    "fetch sample": ["-o", f"{IN}.tif"],
    "fetch allen": ["--experiment", "1", "-o", IN],
    "fetch dandi": ["000039", "--path", "x", "-o", IN],
    "list": ["models", "--log-file", f"{IN}.log"],
}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*"))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with two recordings, which is the working one."""
    neural = {"fluorescence": np.ones((20, 2), np.float32)}
    for name in ("a", "b"):
        Recording.from_arrays(neural, rate_hz=10.0, session=name, rois=_rois()).save(tmp_path / f"{name}.zarr")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEURODYN_CACHE", str(tmp_path.parent / "cache"))
    return tmp_path


def _rois():
    import xarray as xr

    return xr.Dataset({"cell_id": ("roi", [1, 2])})


def _options(command):
    for name, each in command.commands.items():
        yield from ((f"{name} {inner}", one) for inner, one in getattr(each, "commands", {}).items())
        if not hasattr(each, "commands"):
            yield name, each


def test_every_command_with_an_output_is_here():
    commands = _options(typer.main.get_command(build()))
    assert {name for name, each in commands if any(one.name == "output" for one in each.params)} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_is_put_into_a_recording(command, here, neurodyn):
    before = _files(here)
    outcome = neurodyn(*command.split(), *COMMANDS[command])
    assert outcome.code == 2, outcome.err
    assert "cannot be the output" in outcome.err and "-o PATH" in outcome.err
    assert _files(here) == before


@pytest.mark.parametrize("command", ["preprocess", "extract", "impute", "convert"])
@pytest.mark.parametrize("target", ["a.zarr", "./b/../a.zarr", "link.zarr", "into/a.zarr"])
def test_an_input_is_not_overwritten_by_whatever_name(command, target, here, neurodyn):
    (here / "b").mkdir()
    (here / "link.zarr").symlink_to(here / "a.zarr")
    (here / "into").symlink_to(here)
    more = ["--model", "linear"] if command == "impute" else []
    out = [target] if command == "convert" else ["-o", target]
    outcome = neurodyn(command, "a.zarr", *out, *more, "--existing", "overwrite")
    assert outcome.code == 2 and "would overwrite itself" in outcome.err
    np.testing.assert_array_equal(Recording.open(here / "a.zarr")["fluorescence"].values, np.ones((20, 2)))


def test_the_rule(here):
    (here / "movies").mkdir()
    with pytest.raises(ConfigError, match="lies inside the input"):
        check_output(here / "movies" / "out.zarr", [here / "movies"])
    with pytest.raises(ConfigError, match="would be replaced"):
        check_output(here, [here / "movies" / "a.tif"])
    check_output(here, [here / "movies" / "a.tif"], whole=False)
    check_output(here / "movies.zarr", [here / "movies"])
    with pytest.raises(ConfigError, match="nothing else may be put into"):
        check_output(here / "a.zarr", whole=False)
    check_output(here / "a.zarr")
