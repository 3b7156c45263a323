"""Hidden cells of runs, beside linear references, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from neurodyn.core.config import build
from neurodyn.core.errors import ConfigError
from neurodyn.data.recording import Recording
from neurodyn.data.scores import read_scores
from neurodyn.evaluate.cosmoothing import Cosmoothing
from neurodyn.evaluate.run import evaluate
from neurodyn.report.blocks import Figure, Table
from neurodyn.report.cosmoothing import cosmoothing_part
from neurodyn.training.config import load_run_config
from neurodyn.training.fit import fit

CELLS, RATE = 8, 10.0
SETTINGS = (
    "windows.duration=1",
    "windows.blocks=2",
    "windows.gap=0",
    "training.epochs=2",
    "training.steps_per_epoch=4",
)


def quick_run(
    folder: Path, recording: Path, *settings: str, model: str = "lfads-widefield", samples: bool = True
) -> Path:
    """Return a run that was trained for a few steps."""
    drawn = ["model.samples=4"] if samples else []
    config = load_run_config(model, None, [*SETTINGS, *drawn, "model.factors=2", "training.warmup=2", *settings])[0]
    return fit(config, None, [recording], folder / "run", gpu="none")


def shared(folder: Path, counts: bool = False, frames: int = 2000) -> Path:
    """Write a recording whose cells share two slow factors."""
    rng = np.random.default_rng(0)
    slow = np.zeros((frames, 2))
    for t in range(1, frames):
        slow[t] = 0.9 * slow[t - 1] + 0.7 * rng.normal(size=2)
    drive = slow @ rng.normal(size=(2, CELLS))
    values = rng.poisson(np.exp(0.5 * drive - 0.5)) if counts else drive + 4.0 * rng.normal(size=drive.shape)
    made = Recording.from_arrays({"dff": values.astype(np.float32)}, rate_hz=RATE, session="shared")
    return made.save(folder / "shared.zarr")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    return quick_run(folder, shared(folder))


def scored(run: Path, folder: Path, **settings):
    asked = Cosmoothing(build(Cosmoothing.Config, {"bootstraps": 100, **settings}, "test"))
    return read_scores(evaluate(asked, [run], folder / "scores"))


def test_a_run_stands_beside_linear_models_of_as_many_dimensions(run, tmp_path):
    scores = scored(run, tmp_path, groups=4)
    whole = {(s.metric, s.model): s for s in scores if s.fold == "all"}
    models = [model for metric, model in whole if metric == "cosmoothing_r2"]
    assert models == ["lfads-widefield", "ridge", "ridge, 4 time scales", "PCA 2", "factor analysis 2", "GPFA 2"]
    assert whole["cosmoothing_r2", "ridge, 4 time scales"].value > whole["cosmoothing_r2", "ridge"].value > 0.05
    assert whole["cosmoothing_r2", "GPFA 2"].value > whole["cosmoothing_r2", "factor analysis 2"].value
    gain = whole["cosmoothing_r2_gain", "lfads-widefield"]
    apart = whole["cosmoothing_r2", models[0]].value - whole["cosmoothing_r2", "factor analysis 2"].value
    assert gain.value == pytest.approx(apart) and gain.ci_low < apart < gain.ci_high < 0
    assert (gain.unit, gain.n, gain.target) == ("cells", CELLS, "dff, 4 groups of cells hidden")
    assert whole["cosmoothing_r2_over_trials", "ridge"].unit == "windows"
    cells = [s.value for s in scores if s.model == "ridge" and s.fold.startswith("cell")]
    assert len(cells) == CELLS and np.mean(cells) == pytest.approx(whole["cosmoothing_r2", "ridge"].value)


def test_what_is_later_counts_nothing_where_the_past_is_asked_for(run, tmp_path):
    past = {
        s.model: s for s in scored(run, tmp_path, past_only=True) if s.metric == "cosmoothing_r2" and s.fold == "all"
    }
    whole = {s.model: s for s in scored(run, tmp_path / "whole") if s.metric == "cosmoothing_r2" and s.fold == "all"}
    assert past["ridge"].target == "dff, each cell hidden, from the past"
    assert past["GPFA 2"].value < whole["GPFA 2"].value - 0.02


def test_counts_have_bits_per_spike(tmp_path):
    recording = shared(tmp_path, counts=True)
    run = quick_run(tmp_path, recording, "model.likelihood=poisson", "windows.variable=dff", model="lfads")
    run = {s.model: s for s in scored(run, tmp_path, groups=4) if s.metric == "cosmoothing_bits_per_spike"}
    assert run["ridge"].value > run["lfads"].value + 0.05


def test_its_page_says_first_how_the_model_stands(run, tmp_path):
    part = cosmoothing_part("scores", scored(run, tmp_path), {"groups": 100, "seed": 0})
    assert "lfads-widefield R²" in part.summary[0] and "below factor analysis 2" in part.summary[0]
    figure, table = part.sections[0].blocks
    assert isinstance(figure, Figure) and isinstance(table, Table)
    assert figure.uri.startswith("data:image/svg")
    assert [row[0] for row in table.rows][-1] == "lfads-widefield minus factor analysis 2"


def test_what_has_no_cells_is_refused(tmp_path):
    movie = Recording.from_arrays(
        {"dff": np.random.default_rng(0).normal(size=(400, 4, 4)).astype(np.float32)}, rate_hz=RATE, session="movie"
    )
    run = quick_run(tmp_path, movie.save(tmp_path / "movie.zarr"))
    with pytest.raises(ConfigError, match="no cells to be told"):
        scored(run, tmp_path)


def test_more_dimensions_than_cells_are_refused(run, tmp_path):
    with pytest.raises(ConfigError, match="8 factors of 8 cells are too many"):
        scored(run, tmp_path, dimensions=8)
    assert not (tmp_path / "scores").exists()
