"""Every forecaster may start from a linear path: it is then the ridge until training shows better."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from neurodyn.backends import BACKENDS
from neurodyn.backends.base import Backend
from neurodyn.backends.batch import Batch
from neurodyn.backends.layout import Layout
from neurodyn.backends.linear_start import LinearStart
from neurodyn.data.recording import Recording
from neurodyn.data.stimulus_code import ColumnCode, StimulusCode
from neurodyn.training.config import load_run_config
from neurodyn.training.fit import fit
from neurodyn.training.run import load_run

FRAMES, HORIZON, CELLS = 24, 8, 4
CODE = StimulusCode(columns=(ColumnCode(name="image", kind="name", values=("a", "b")),), conditions=(("a",), ("b",)))
HEADS = {"width": 16, "heads": 2, "layers": 1, "feedforward": 32}
SMALL = {
    "ar_lstm": {"hidden": 8, "layers": 1},
    "autoformer": {"width": 16, "feedforward": 32, "layers": 1},
    "brainlm": {**HEADS, "patch": 4},
    "crossformer": {**HEADS, "segment": 4},
    "dlinear": {},
    "informer": HEADS,
    "nlinear": {"individual": True},
    "patchtst": {**HEADS, "patch": 4},
    "quantformer": {**HEADS, "patch": 4, "codes": 8, "trace_weight": 1.0},
}


def batch(count: int = 12, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(0, 1, (count, FRAMES, CELLS)).cumsum(1).astype(np.float32))
    valid = torch.ones_like(x, dtype=torch.bool)
    valid[1, 3, 2] = False
    visible = valid.clone()
    visible[:, -HORIZON:] = False
    condition = torch.arange(count) % 2
    t = (torch.arange(FRAMES) / 10.0).expand(count, -1)
    told = (torch.zeros(count, dtype=torch.long), None, torch.eye(CODE.size)[condition], condition)
    return Batch(x, t, visible, valid, *told)


def made(name: str, **config: object) -> Backend:
    torch.manual_seed(0)
    kind = BACKENDS.get(name)
    layout = Layout(FRAMES, (CELLS,), 10.0, np.ones(CELLS, dtype=bool), (CELLS,), ("one",), HORIZON, CODE)
    model = kind(kind.Config(**SMALL.get(name, {}) | config), layout)
    given = [batch(20, 1), batch(20, 2)]
    model.prepare([one.x.where(one.valid, torch.nan).numpy() for one in given])
    model.prepare_batches(given)
    model(given[0])  # a codebook begins with the first patches that it sees
    return model.eval()


def horizon(model: Backend, given: Batch) -> torch.Tensor:
    with torch.no_grad():
        return model(given).mean[:, -HORIZON:]


@pytest.mark.parametrize("linear", ["shared", "cell"])
@pytest.mark.parametrize("name", SMALL)
def test_before_training_it_is_the_ridge(name, linear):
    model, given = made(name, linear=linear, level="mean"), batch()
    expected = horizon(made("ridge", linear=linear), given)
    torch.testing.assert_close(horizon(model, given), expected, rtol=1e-4, atol=1e-4)
    model.stage = "forecaster"
    assert model.keeps_start
    assert not made(name).keeps_start


@pytest.mark.parametrize("level", ["mean", "last"])
@pytest.mark.parametrize("name", SMALL)
def test_a_level_of_the_window_comes_back(name, level):
    model, given = made(name, level=level), batch()
    shifted = replace(given, x=given.x + 3.0)
    torch.testing.assert_close(horizon(model, shifted), horizon(model, given) + 3.0, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", SMALL)
def test_without_a_start_the_state_is_what_it_was(name):
    model = made(name)
    assert not [key for key in model.state_dict() if key.startswith(("begun", "direct"))]
    assert len(list(made(name, linear="cell").parameters())) == len(list(model.parameters())) + 1


@pytest.mark.parametrize("name", SMALL)
def test_what_is_forecast_above_the_path_is_learned(name):
    model, given = made(name, linear="cell", level="mean"), batch(12, 3)
    for stage in model.stages():
        model.begin(stage, [given])
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    before = error(model, given)
    model.train()
    for step in range(25):
        optimizer.zero_grad()
        sum(model.loss(given, torch.Generator().manual_seed(step)).values()).backward()
        optimizer.step()
    assert error(model.eval(), given) < 0.99 * before


def error(model: Backend, given: Batch) -> float:
    with torch.no_grad():
        return sum(model.eval().loss(given, torch.Generator().manual_seed(0)).values()).item()


def test_the_share_of_the_models_own_forecast_shrinks_to_what_helps():
    model, given = made("nlinear", linear="shared"), batch(12, 3)
    with torch.no_grad():
        model.begun.gain.copy_(0.5 * torch.eye(HORIZON))
    model.calibrate([given, batch(12, 4)], torch.Generator())
    share = model.begun.gain[0, 0].item()
    assert 0 <= share < 0.5
    best = error(model, batch(12, 3)) + error(model, batch(12, 4))
    for other in (0.9 * share, min(0.5, 1.1 * share + 0.01)):
        model.begun.gain.data.copy_(other * torch.eye(HORIZON))
        assert error(model, batch(12, 3)) + error(model, batch(12, 4)) >= best - 1e-6


def test_a_start_that_has_nothing_to_say_keeps_nothing():
    start = LinearStart(BACKENDS.get("dlinear").Config(linear="shared"), made("dlinear").layout, CELLS)
    there = torch.ones(2, 3, dtype=torch.bool)
    assert start.shrink([(torch.zeros(2, 3), torch.ones(2, 3), there)]) == 0
    assert start.shrink([(torch.ones(2, 3), -torch.ones(2, 3), there)]) == 0


def test_quantformer_streams_what_it_forecasts():
    model, given = made("quantformer", linear="cell", level="mean", direct=True, decoding="soft"), batch(3, 5)
    with torch.no_grad():
        model.begun.gain.normal_()
        model.direct.weight.normal_()
        streamed = model.streamed(2)
        for row in range(3):
            one = given.rows(slice(row, row + 1))
            torch.testing.assert_close(streamed(one), horizon(model, one), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("quantformer", {"direct": True, "trace_weight": 0.0}),
        ("quantformer", {"linear": "cell", "trace_weight": 0.0}),
        ("informer_classifier", {"linear": "cell"}),
        ("crossformer_classifier", {"level": "mean"}),
    ],
)
def test_what_cannot_be_trained_is_refused(name, config):
    with pytest.raises(ValidationError, match=r"trace_weight|a classifier has none"):
        BACKENDS.get(name).Config(**config)


def test_a_training_that_only_harms_leaves_the_ridge(tmp_path):
    """An autoregressive process, and steps so large that no epoch is better than the start."""
    rng = np.random.default_rng(0)
    x = np.zeros((900, CELLS))
    for frame in range(1, len(x)):
        x[frame] = 0.9 * x[frame - 1] + rng.normal(size=CELLS)
    path = Recording.from_arrays({"dff": x.astype(np.float32)}, rate_hz=10.0).save(tmp_path / "ar.zarr")
    told = ("windows={variable: dff, duration: 2.4, horizon: 0.8, stride: 0.4, blocks: 1}",)
    harm = (
        "model={linear: cell, level: mean}",
        "training={epochs: 3, steps_per_epoch: 5, lr: 10.0, ema: null, warmup: 0}",
    )
    found = {}
    for name, more in (("dlinear", harm), ("ridge", ())):
        config = load_run_config(name, None, told + more)[0]
        run = load_run(fit(config, None, [path], tmp_path / name, gpu="none"))
        windows = run.windows["test"]
        values, mask = windows.values(slice(0, 8))
        frames, valid = torch.from_numpy(values), torch.from_numpy(mask)
        t = (torch.arange(frames.shape[1]) / 10.0).expand(8, -1)
        found[name] = horizon(run.backend, Batch(frames, t, valid, valid, torch.zeros(8, dtype=torch.long)))
    torch.testing.assert_close(found["dlinear"], found["ridge"], rtol=1e-4, atol=1e-5)
