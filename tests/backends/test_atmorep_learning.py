"""AtmoRep trained: runs of several signals, pretraining, and what one field learns from another."""

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from neurodyn.backends.atmorep import AtmoRep
from neurodyn.backends.batch import Batch, Signal
from neurodyn.backends.layout import Channel, Layout
from neurodyn.data.recording import Recording
from neurodyn.nn.ensemble import fair_crps
from neurodyn.training.batches import OrderedBatches, generator, read_batch
from neurodyn.training.config import load_run_config
from neurodyn.training.fit import fit
from neurodyn.training.infer import infer
from neurodyn.training.run import load_run
from tests.backends.test_atmorep import source, without


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    """A movie, and behaviour with a clock of its own that ends before the movie."""
    rng = np.random.default_rng(0)
    t, y, x = np.meshgrid(np.arange(300) / 10, np.arange(8) / 8, np.arange(8) / 8, indexing="ij")
    waves = (np.sin(2 * np.pi * (0.4 * t - x)) + np.cos(2 * np.pi * (0.25 * t + y))).astype(np.float32)
    data = waves + 0.3 * rng.normal(size=waves.shape).astype(np.float32)
    mask = np.ones((8, 8), bool)
    mask[:4, :4] = False
    clock = np.arange(0, 29.9, 0.03)
    speed = xr.Dataset({"speed": ("behavior_time", np.sin(clock))}, coords={"behavior_time": clock})
    made = Recording.from_arrays({"dff": data}, rate_hz=10, brain=mask, behavior=speed, session="two")
    return made.save(tmp_path_factory.mktemp("data") / "two.zarr")


SETTINGS = (
    "model.token=[4,4,4]",
    "model.width=16",
    "model.layers=1",
    "model.decoder_layers=1",
    "windows.duration=1.0",
    "training.epochs=2",
    "training.steps_per_epoch=3",
    "training.batch=4",
    "training.warmup=2",
)


def test_a_run_with_behaviour_beside_the_movie(recording, tmp_path):
    config, _ = load_run_config("atmorep", None, [*SETTINGS, "windows.others=[behavior.speed]"])
    out = fit(config, None, [recording], tmp_path / "run", gpu="none")
    run, again = load_run(out), load_run(out)
    assert run.backend.field("behavior.speed").factor != 1 and run.backend.field("dff").factor != 1
    batch = read_batch(run.windows["test"], slice(0, 3))
    answer, other = run.backend(batch), again.backend(batch)
    for found, same in zip((answer, *answer.others), (other, *other.others), strict=True):
        assert torch.equal(found.mean, same.mean) and torch.equal(found.std, same.std)
    assert answer.others[0].mean.shape == (3, 10, 1)
    assert infer(out, gpu="none").exists() and infer(out, gpu="none", horizon=0.3).exists()
    recalibrated = load_run(out).backend
    recalibrated.calibrate(OrderedBatches(run.windows["valid"], 4), generator(0, "calibration"))
    torch.testing.assert_close(recalibrated.state_dict(), run.backend.state_dict())


def test_pretrained_alone_then_coupled(recording, tmp_path):
    alone, _ = load_run_config("atmorep", None, SETTINGS)
    out = fit(alone, None, [recording], tmp_path / "alone", gpu="none")
    sets = [*SETTINGS, "windows.others=[behavior.speed]", f"start={out}"]
    coupled, _ = load_run_config("atmorep", None, sets)
    run = load_run(fit(coupled, None, [recording], tmp_path / "coupled", gpu="none"))
    before, after = (load_run(path).backend.field("dff").embed.weight for path in (out, run.path))
    assert 0 < (before - after).abs().max() < 0.05


def lagged(count: int, seed: int) -> Batch:
    """Random smooth movies; the second field is the first, two frames later, at half the resolution, and noisy."""
    rng = torch.Generator().manual_seed(seed)
    frames = 14
    course = torch.randn(count, frames + 2, 4, generator=rng)
    course = (course + course.roll(1, 1) + course.roll(2, 1)) / 3**0.5
    pattern = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(99))
    movie = torch.einsum("btk,kyx->btyx", course, pattern) / 2
    late = torch.nn.functional.avg_pool2d(movie[:, :-2], 2)
    late = late + 0.1 * torch.randn(late.shape, generator=rng)
    first = movie[:, 2:]
    valid = [torch.ones_like(some, dtype=torch.bool) for some in (first, late)]
    t = (torch.arange(frames) / 10.0).expand(count, -1)
    return Batch(first, t, valid[0], valid[0], torch.zeros(count).long(), others=(Signal(late, valid[1], valid[1]),))


def score_of_the_hidden_field(coupling: bool) -> float:
    torch.manual_seed(0)
    layout = Layout(
        14, (8, 8), 10.0, np.ones((8, 8), bool), variable="a", others=(Channel("b", (4, 4), np.ones((4, 4), bool)),)
    )
    sizes = {"token": (4, 8, 8), "width": 32, "heads": 2, "layers": 1, "decoder_layers": 1, "normalise": "global"}
    modes = {"channel": 0.7, "bert": 0.3}
    model = AtmoRep(AtmoRep.Config(**sizes, base="none", coupling=coupling, modes=modes), layout)
    model.prepare([lagged(200, 1).x.numpy()])
    model.prepare_batches([lagged(200, 1)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=8e-3)
    for step in range(160):
        loss = sum(model.loss(lagged(24, 100 + step), source(step)).values())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    test = lagged(200, 2)
    with torch.no_grad():
        return fair_crps(model.eval()(without(test, 0)).members, test.x).mean().item()


def test_coupled_fields_learn_from_each_other():
    assert score_of_the_hidden_field(coupling=True) < 0.85 * score_of_the_hidden_field(coupling=False)
