"""It begins as factor analysis, and what it learns from hidden cells and time is more."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from neurodyn.backends.batch import Batch
from neurodyn.backends.factor_dynamics import FactorDynamics
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.dynamics import FactorDynamicsConfig
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.metrics.factor_analysis import FactorAnalysis
from neurodyn.runs.folder import RunFolder
from neurodyn.training.run import load_run
from tests.evaluate.test_cosmoothing import quick_run, shared

CELLS, FRAMES, RATE = 12, 20, 10.0


def slow(windows: int, seed: int = 0) -> np.ndarray:
    """Windows of cells whose two factors last three frames, in much noise."""
    loadings = np.random.default_rng(1).normal(size=(CELLS, 2))
    rng = np.random.default_rng(seed)
    apart = np.subtract.outer(np.arange(FRAMES), np.arange(FRAMES))
    root = np.linalg.cholesky(np.exp(-(apart**2) / 18) + 1e-6 * np.eye(FRAMES))
    factors = np.einsum("st,wtk->wsk", root, rng.normal(size=(windows, FRAMES, 2)))
    return (5 + factors @ loadings.T + 2.0 * rng.normal(size=(windows, FRAMES, CELLS))).astype(np.float32)


def batch_of(values: np.ndarray) -> Batch:
    x = torch.from_numpy(values)
    there = torch.ones_like(x, dtype=torch.bool)
    t = (torch.arange(x.shape[1]) / RATE).expand(len(x), -1)
    return Batch(x, t, there, there, torch.zeros(len(x), dtype=torch.long))


def built(values: np.ndarray, **settings) -> FactorDynamics:
    torch.manual_seed(0)
    layout = Layout(FRAMES, (CELLS,), RATE, np.ones(CELLS, dtype=bool))
    model = FactorDynamics(FactorDynamicsConfig.model_validate({"factors": 2, "states": 16, **settings}), layout)
    model.prepare([values])
    return model.eval()


def hidden(batch: Batch, cells: list[int]) -> Batch:
    visible = batch.visible.clone()
    visible[..., cells] = False
    return replace(batch, visible=visible)


def test_it_begins_as_factor_analysis_whatever_is_hidden():
    values = slow(60)
    model, found = built(values), FactorAnalysis.fit(values.reshape(-1, CELLS), 2)
    seen = np.setdiff1d(np.arange(CELLS), [0, 7])
    said = model(hidden(batch_of(values), [0, 7]))
    factors = found.posterior(values[..., seen], seen)
    np.testing.assert_allclose(said.latents.detach().numpy(), factors, atol=1e-3)
    np.testing.assert_allclose(said.mean.detach().numpy(), found.mean + factors @ found.loadings.T, atol=1e-2)


def test_holes_that_change_from_frame_to_frame_are_left_out_one_by_one():
    values = slow(20)
    model, batch = built(values), batch_of(values)
    visible = torch.from_numpy(np.random.default_rng(0).random(values.shape) < 0.6)
    said = model(replace(batch, visible=visible)).latents
    found = FactorAnalysis.fit(values.reshape(-1, CELLS), 2)
    for window, frame in ((0, 0), (3, 11)):
        seen = np.flatnonzero(visible[window, frame].numpy())
        np.testing.assert_allclose(
            said[window, frame].detach().numpy(), found.posterior(values[window, frame, seen], seen), atol=1e-3
        )


def test_training_on_hidden_cells_uses_time():
    model, test = built(slow(200)), batch_of(slow(60, seed=9))
    train, source = batch_of(slow(200)), torch.Generator().manual_seed(0)
    before = model.loss(test, torch.Generator().manual_seed(1))["hidden"].item()
    optimiser = torch.optim.AdamW(model.train().parameters(), lr=5e-3)
    for _ in range(120):
        optimiser.zero_grad()
        model.loss(train.rows(torch.randint(200, (32,), generator=source)), source)["hidden"].backward()
        optimiser.step()
    after = model.eval().loss(test, torch.Generator().manual_seed(1))["hidden"].item()
    assert after < before - 0.02


def test_counts_have_positive_rates_and_negative_ones_are_refused():
    counts = np.random.default_rng(0).poisson(np.exp(0.3 * slow(40) - 2)).astype(np.float32)
    model = built(counts, likelihood="poisson")
    said = model(batch_of(counts))
    assert (said.mean > 0).all() and torch.allclose(said.rates, said.mean * RATE)
    assert np.corrcoef(said.mean.detach().numpy().ravel(), counts.ravel())[0, 1] > 0.3
    with pytest.raises(DataError, match="negative values"):
        built(counts - 1, likelihood="poisson")


@pytest.mark.parametrize("cells", [2, 3000])
def test_too_few_and_too_many_cells_are_refused(cells):
    layout = Layout(FRAMES, (cells,), RATE, np.ones(cells, dtype=bool))
    with pytest.raises(ConfigError, match=f"cannot be fitted to {cells} cells"):
        FactorDynamics(FactorDynamicsConfig(), layout)


def test_the_start_is_kept_where_training_only_spoils_it(tmp_path):
    settings = ("training.lr=10", "training.warmup=1", "training.clip=null", "training.ema=null")
    run = quick_run(tmp_path, shared(tmp_path), *settings, model="factor-dynamics", samples=False)
    assert RunFolder(run).state == "done"
    assert load_run(run).backend.kernels.abs().max() == 0


def test_the_best_of_training_is_kept_where_it_helps(tmp_path):
    run = quick_run(tmp_path, shared(tmp_path), "training.steps_per_epoch=30", model="factor-dynamics", samples=False)
    assert load_run(run).backend.kernels.abs().max() > 0
