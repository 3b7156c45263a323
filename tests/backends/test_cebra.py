"""What belongs together lies together: in time, or under one stimulus."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from neurodyn.backends.batch import Batch
from neurodyn.backends.cebra import CEBRA
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.cebra import CEBRAConfig
from neurodyn.core.errors import ConfigError
from neurodyn.data.stimulus_code import ColumnCode, StimulusCode
from neurodyn.nn.temporal import TemporalEncoder

CODE = StimulusCode(columns=(ColumnCode(name="image", kind="name", values=("a", "b")),), conditions=(("a",), ("b",)))
FRAMES, CELLS = 12, 8


def layout(code=CODE) -> Layout:
    return Layout(FRAMES, (CELLS,), 10.0, np.ones(CELLS, dtype=bool), code=code)


def batch(x: np.ndarray, condition: np.ndarray) -> Batch:
    values = torch.from_numpy(x.astype(np.float32))
    seen = torch.ones_like(values, dtype=torch.bool)
    t = (torch.arange(FRAMES) / 10.0).expand(len(x), -1)
    told = torch.from_numpy(condition)
    return Batch(values, t, seen, seen, torch.zeros(len(x), dtype=torch.long), condition=told)


def trained(given: Batch, **settings) -> CEBRA:
    torch.manual_seed(0)
    model = CEBRA(CEBRAConfig(dimensions=4, width=16, layers=1, offset=0.2, temperature=0.2, **settings), layout())
    model.prepare([given.x.numpy()])
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for step in range(150):
        optimizer.zero_grad()
        sum(model.loss(given, torch.Generator().manual_seed(step)).values()).backward()
        optimizer.step()
    return model.eval()


def test_a_point_sees_so_many_frames_and_none_that_follow():
    torch.manual_seed(0)
    encoder, x = TemporalEncoder(3, 8, 4, 2), torch.randn(1, 20, 3)
    assert encoder.reach(2) == CEBRAConfig(layers=2).reach == 8
    before = encoder(x)
    assert before.shape == (1, 20, 4)
    torch.testing.assert_close(before.norm(dim=-1), torch.ones(1, 20))
    changed = x.clone()
    changed[:, 10] += 1
    differs = ((encoder(changed) - before).abs().amax(-1) > 1e-6)[0]
    assert differs.nonzero().ravel().tolist() == list(range(10, 18))


def test_the_loss_is_that_of_the_paper_with_the_partner_in_the_sum():
    x = np.random.default_rng(0).normal(size=(5, FRAMES, CELLS))
    given = batch(x, np.zeros(5, dtype=int))
    torch.manual_seed(0)
    model = CEBRA(CEBRAConfig(dimensions=4, width=16, layers=1, offset=0.2, temperature=0.5), layout())
    model.prepare([x.astype(np.float32)])
    points = model(given).latents.detach().numpy()
    told = []
    for window in range(5):
        for frame in range(5, FRAMES - 2):
            near = np.exp(points[:, 7:] @ points[window, frame] / 0.5)  # (window, frame two later)
            own = near[window, frame - 5]
            told.append(-np.log(own / (own + near[np.arange(5) != window].sum())))
    assert model.loss(given, torch.Generator())["contrast"].item() == pytest.approx(np.mean(told), rel=1e-4)


def test_with_labels_windows_of_one_stimulus_lie_together():
    rng = np.random.default_rng(0)
    condition = np.arange(24) % 2
    pattern = rng.normal(size=(2, CELLS))
    own = 3 * rng.normal(size=(24, 1, CELLS))  # what a window has for itself is larger than its stimulus
    given = batch(pattern[condition][:, None] + own + 0.1 * rng.normal(size=(24, FRAMES, CELLS)), condition)

    def apart(model):
        last = model(given).latents[:, -1].detach().numpy()
        near = last @ last.T
        same = condition[:, None] == condition
        return near[same & ~np.eye(24, dtype=bool)].mean() - near[~same].mean()

    assert apart(trained(given, labels=True)) > 0.8
    assert apart(trained(given)) < 0.5
    unknown = trained(replace(given, condition=torch.full((24,), -1)), labels=True)
    assert apart(unknown) < 0.5  # no partner is known: as without labels


def test_labels_that_are_not_told_are_refused():
    with pytest.raises(ConfigError, match="with labels needs stimuli"):
        CEBRA(CEBRAConfig(layers=0, labels=True), layout(code=None))
    with pytest.raises(ConfigError, match="at least 15 frames"):
        CEBRA(CEBRAConfig(), layout())
