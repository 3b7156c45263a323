"""The health of latent models: hidden cells beside factor analysis, told in status and log, and changing nothing."""

import json
from pathlib import Path

import numpy as np
import pytest

from neurodyn.data.recording import Recording
from neurodyn.runs.folder import RunFolder
from neurodyn.runs.health import Health
from neurodyn.training import health
from neurodyn.training.config import load_run_config
from neurodyn.training.fit import fit
from neurodyn.training.health import measured
from neurodyn.training.run import load_run
from neurodyn.workflow.pipeline import PipelineSpec, plan
from neurodyn.workflow.run import _Teller, prepare
from tests.backends.test_lfads import lorenz_trials

CELLS = 12
SETTINGS = ("windows={variable: dff, duration: 1, blocks: 2, gap: 0}", "training.epochs=1", "training.warmup=2")
LFADS = ("model.likelihood=gaussian", "model.samples=4", "model.factors=2", "training.steps_per_epoch=4")


def shared(folder: Path, **changed: np.ndarray) -> Path:
    """Write a recording whose cells share two slow factors."""
    rng = np.random.default_rng(0)
    slow = np.zeros((2000, 2))
    for t in range(1, 2000):
        slow[t] = 0.9 * slow[t - 1] + 0.44 * rng.normal(size=2)
    values = slow @ rng.normal(size=(2, CELLS)) + rng.normal(size=(2000, CELLS))
    signals = {"dff": values.astype(np.float32)} | changed
    return Recording.from_arrays(signals, rate_hz=10, session="shared").save(folder / "shared.zarr")


def trained(out: Path, recording: Path, preset: str, *settings: str) -> Path:
    return fit(load_run_config(preset, None, [*SETTINGS, *settings])[0], None, [recording], out, gpu="none")


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    return shared(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def untrained(recording, tmp_path_factory) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "run", recording, "lfads", *LFADS)


def test_a_model_that_learned_nothing_is_a_finished_run_that_is_unhealthy(untrained):
    folder = RunFolder(untrained)
    status = json.loads((untrained / "status.json").read_text())
    assert folder.done and status["state"] == "done" and status["status"] == "unhealthy"
    found = status["cosmoothing"]
    assert found["r2"] < 0.1 < 0.3 < found["factor_analysis_r2"]
    assert found["difference"] == pytest.approx(found["r2"] - found["factor_analysis_r2"])
    assert (found["factors"], found["cells"], found["groups"]) == (2, CELLS, 8)
    log = (untrained / "log.jsonl").read_text()
    assert "Unhealthy: Hidden cells" in log and "model.kl" in log and "lfads-real" in log


def test_it_changes_no_weight_and_can_be_left_out(untrained, recording, tmp_path):
    without = trained(tmp_path / "run", recording, "lfads", *LFADS, "training.health=false")
    assert (without / "model.safetensors").read_bytes() == (untrained / "model.safetensors").read_bytes()
    assert RunFolder(without).done and RunFolder(without).health is None
    assert "status" not in json.loads((without / "status.json").read_text())


def test_it_is_the_same_again_and_another_seed_deals_other_groups(untrained):
    run = load_run(untrained)
    told = RunFolder(untrained).health
    assert measured(run.backend, run.windows, 0) == told
    assert measured(run.backend, run.windows, 1).factor_analysis_r2 != told.factor_analysis_r2


def test_factor_analysis_itself_is_not_below_factor_analysis(recording, tmp_path):
    """The start of `factor-dynamics` is the factor analysis that it is compared with, and its training goes up from there."""
    few = ("model.factors=2", "windows.stride=1", "training.steps_per_epoch=2")
    start = RunFolder(trained(tmp_path / "a", recording, "factor-dynamics", *few, "training.lr=1e-9")).health
    assert start.r2 == pytest.approx(start.factor_analysis_r2, abs=2e-3) and not start.unhealthy
    more = RunFolder(
        trained(tmp_path / "b", recording, "factor-dynamics", *few[:2], "training.steps_per_epoch=60")
    ).health
    assert more.difference > 0.01 and more.ci_low > 0


def test_cells_that_do_not_change_and_missing_data_leave_a_number(tmp_path):
    values = Recording.open(shared(tmp_path)).neural["dff"].values.copy()
    values[:, 0], values[100:300, 1] = 1.0, np.nan
    (tmp_path / "some").mkdir()
    run = trained(tmp_path / "run", shared(tmp_path / "some", dff=values), "lfads", *LFADS)
    assert RunFolder(run).health.cells == CELLS and np.isfinite(RunFolder(run).health.ci_high)


@pytest.mark.parametrize(("cells", "limit"), [(2, 1000), (12, 11)])
def test_too_few_and_too_many_cells_are_not_measured(cells, limit, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "neurodyn")
    monkeypatch.setattr(health, "MOST_CELLS", limit)
    values = np.random.default_rng(0).normal(size=(600, cells)).astype(np.float32)
    run = trained(tmp_path / "run", shared(tmp_path, dff=values), "lfads", *LFADS)
    assert RunFolder(run).done and RunFolder(run).health is None
    assert "no validation windows of 3 to 1000 cells" in caplog.text


def test_a_model_of_other_things_is_not_asked(recording, tmp_path):
    run = trained(tmp_path / "run", recording, "pca", "training.warmup=0")
    assert RunFolder(run).done and RunFolder(run).health is None


def test_every_session_has_factor_analysis_of_its_own(tmp_path):
    values = Recording.open(shared(tmp_path)).neural["dff"].values
    (tmp_path / "b").mkdir()
    other = Recording.from_arrays({"dff": values[:, :7]}, rate_hz=10, session="other").save(tmp_path / "b" / "o.zarr")
    config = load_run_config("lfads", None, [*SETTINGS, *LFADS])[0]
    run = fit(config, None, [tmp_path / "shared.zarr", other], tmp_path / "run", gpu="none")
    assert RunFolder(run).health.cells == CELLS + 7


def test_a_pipeline_goes_on_and_says_so(untrained, tmp_path):
    jobs = {
        "data": {"command": ["simulate", "lorenz"], "out": "data.zarr"},
        "model": {"command": ["train", "lfads", "@data"], "out": "model"},
    }
    planned = plan(PipelineSpec.model_validate({"description": "x", "jobs": jobs}))
    prepare(tmp_path, planned, "error")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "status.json").write_text((untrained / "status.json").read_text())
    said: list[str] = []
    _Teller(tmp_path, said.append).line("data done in 1.0 s")
    assert said == ["data done in 1.0 s"]
    _Teller(tmp_path, said.append).line("model done in 1.0 s")
    assert said[2].startswith("model: Unhealthy: ") and "FAILED" not in "".join(said)


@pytest.fixture(scope="module")
def lorenz(tmp_path_factory) -> tuple[Path, Path]:
    """Counts of cells that follow three factors; and the same with the cells in another order."""
    rng = np.random.default_rng(1)
    latents = lorenz_trials(3, 24, seed=1)[rng.permutation(72)]
    weights = rng.uniform(0.3, 0.8, (3, 25)) * rng.choice([-1, 1], (3, 25))
    counts = rng.poisson(0.5 * np.exp(latents @ weights)).astype(np.float32).reshape(-1, 25)
    stimulus = {"start": np.arange(72) * 5.0, "stop": np.arange(72) * 5.0 + 4.9}
    folder = tmp_path_factory.mktemp("lorenz")
    made = []
    for name, order in (("a", np.arange(25)), ("b", rng.permutation(25))):
        one = Recording.from_arrays({"events": counts[:, order]}, rate_hz=10, session="lorenz", stimulus=stimulus)
        made.append(one.save(folder / f"{name}.zarr"))
    return made[0], made[1]


@pytest.mark.slow
def test_lfads_that_learned_the_dynamics_is_healthy_and_with_its_cells_shuffled_it_is_not(lorenz, tmp_path):
    settings = (
        "windows={variable: events, align: events, duration: 5, split: trial, fractions: [0.6, 0.3, 0.1]}",
        "model={factors: 3, generator: 32, initial: 32, encoder: 32, inputs: 0, warmup: 100, l2: 0.0, samples: 8}",
        "training={epochs: 10, steps_per_epoch: 20, lr: 0.01, warmup: 10, clip: 200, restarts: 0}",
    )
    config = load_run_config("lfads", None, settings)[0]
    run = load_run(fit(config, None, [lorenz[0]], tmp_path / "run", gpu="none"))
    found = run.folder.health
    assert not found.unhealthy and found.r2 > 0.25
    shuffled = measured(run.backend, run.cut([lorenz[1]]).split(), 0)
    assert shuffled.unhealthy and shuffled.r2 < 0


@pytest.mark.parametrize(
    ("ends", "word"), [((-0.2, -0.1), "below"), ((-0.2, 0.1), "not told apart"), ((0.1, 0.2), "above")]
)
def test_a_model_is_below_where_the_whole_interval_is(ends, word):
    found = Health(0.1, 0.25, 4, -0.15, *ends, 10, 5, 8)
    assert f", {word} " in found.sentence and found.unhealthy == (word == "below")
    assert Health.read(found.plain) == found and Health.read({}) is None
    rounding = Health(0.1, 0.1, 4, -1e-9, -2e-9, -1e-10, 10, 5, 8)
    assert not rounding.unhealthy
