"""The notebook's face: README's scripts run on arrays, give what the command line gives, and nothing heavy comes too soon."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import neurodyn as nd
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.scores import read_scores
from tests.cli.conftest import neurodyn as neurodyn

README = Path(__file__).parents[1] / "README.md"


def scripts() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.S)


def trials(count: int, seconds: float) -> dict[str, np.ndarray]:
    start = 2.0 + 3.0 * np.arange(count)
    assert start[-1] + 3 < seconds
    contrast = np.random.default_rng(1).permutation(np.resize([0.1, 0.5, 1.0], count))
    return {"start": start, "stop": start + 1.0, "contrast": contrast}


def responses(rate: float, seconds: float, told: dict[str, np.ndarray]) -> np.ndarray:
    """Return fluorescence of 12 cells, half of which follow contrast, shape (time, roi)."""
    rng = np.random.default_rng(0)
    time = np.arange(int(rate * seconds)) / rate
    drive = sum(
        size * np.where(time >= at, np.exp(-(time - at) / 0.7), 0)
        for at, size in zip(told["start"], told["contrast"], strict=True)
    )
    return 100 + 40 * drive[:, None] * (np.arange(12) % 2) + 2 * rng.standard_normal((time.size, 12))


def test_traces_to_spikes_to_a_table_of_scores():
    stimulus = trials(40, 130.0)
    space = {"traces": responses(30.0, 130.0, stimulus), "stimuli": stimulus}
    exec(scripts()[0], space)
    found = space["scores"]
    assert {"spikes", "dff"} <= set(space["clean"].variables)
    best = found[(found.metric == "r2") & found.features.str.startswith("spikes")]
    assert best.value.max() > 0.8
    assert set(found.fold) == {"all"}


def test_a_movie_to_a_model_to_a_table_of_scores(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stimulus = trials(100, 310.0)
    movie = responses(10.0, 310.0, stimulus)[:, :1] + 40 * responses(10.0, 310.0, stimulus)[:, 1:2] / 100
    pattern = np.random.default_rng(2).uniform(0.5, 1, (8, 8))
    space = {"movie": (movie[:, :, None] * pattern).astype(np.float32), "stimuli": stimulus}
    exec(scripts()[1], space)
    assert (space["run"] / "status.json").exists()
    assert space["scores"].features.str.startswith("latents").any()
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_it_gives_what_the_command_line_gives(tmp_path, neurodyn):
    stimulus = trials(40, 130.0)
    recording = nd.Recording.from_arrays(
        {"fluorescence": responses(30.0, 130.0, stimulus)}, rate_hz=30, stimulus=stimulus
    )
    path = recording.save(tmp_path / "recording.zarr")
    neurodyn("preprocess", path, "--chain", "zscore", "-o", tmp_path / "clean.zarr", "--set", "dff.window=30")
    clean = nd.preprocess(recording, "zscore", settings={"dff.window": 30})
    np.testing.assert_array_equal(clean["dff"].values, nd.open(tmp_path / "clean.zarr")["dff"].values)
    neurodyn("decode", tmp_path / "clean.zarr", "--target", "contrast", "--set", "shuffles=9")
    table = read_scores(tmp_path / "clean.decode" / "scores.csv")
    found = nd.decode(clean, "contrast", folds=True, shuffles=9)
    assert found.value.tolist() == pytest.approx([score.value for score in table], rel=1e-6, nan_ok=True)
    assert not (tmp_path / "recording.decode").exists()


def test_mistakes_are_told_as_on_the_command_line(tmp_path):
    with pytest.raises(DataError):
        nd.open(tmp_path / "nothing.zarr")
    recording = nd.Recording.from_arrays({"dff": np.zeros((100, 2))}, rate_hz=10)
    with pytest.raises(ConfigError, match="fold"):
        nd.decode(recording, "contrast", fold=3)
    with pytest.raises(AttributeError, match="deconde"):
        _ = nd.deconde


def test_importing_it_imports_nothing_heavy():
    code = "import sys, neurodyn as nd; nd.__version__; print(*(set(sys.modules) & {'numpy', 'xarray', 'torch', 'pandas', 'pydantic'}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
