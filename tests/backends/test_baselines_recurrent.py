"""Predictors of the next frame, and the encoder-forecaster."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from neurodyn.backends.layout import Layout
from neurodyn.core.config import find_preset, load_yaml
from tests.backends.baselines import generator, make, make_batch, parameters

PREDICTORS = {
    "lstm": {"hidden": 6},
    "convgru": {"encoder": (3,), "decoder": (4,)},
    "fno2d": {"width": 4, "layers": 2, "modes": (2, 2), "decoder": 8, "history": 2},
}
FULL = Layout(10, (184, 208), 10.0, np.ones((184, 208), bool))


@pytest.mark.parametrize(
    ("preset", "published"), [("lstm-paper", 46_196_992), ("convlstm-paper", 16_535_297), ("convgru-paper", 11_993_729)]
)
def test_parameters_on_full_frames(preset, published):
    values = load_yaml(find_preset("model", preset)).values
    assert parameters(values["backend"], FULL, values["model"]) == published


@pytest.mark.parametrize("name", PREDICTORS)
def test_predictions_do_not_know_the_present_or_the_future(name):
    model, batch = make(name, **PREDICTORS[name]), make_batch()
    changed = replace(batch, x=torch.where(torch.arange(8).view(-1, 1, 1) >= 4, 9.0, batch.x).where(batch.valid, 0.0))
    first, second = model(batch), model(changed)
    torch.testing.assert_close(second.mean[:, :5], first.mean[:, :5], rtol=0, atol=0)
    torch.testing.assert_close(second.latents[:, :4], first.latents[:, :4], rtol=0, atol=0)
    inside = batch.valid[0, 0]
    assert ((second.mean[:, 5] - first.mean[:, 5]).abs()[:, inside] > 0).all()
    assert ((second.latents[:, 4] - first.latents[:, 4]).abs() > 0).any()


@pytest.mark.parametrize("name", PREDICTORS)
def test_hidden_entries_are_replaced_by_their_predictions(name):
    model, batch = make(name, **PREDICTORS[name]), make_batch(hide=(3, 6, 7))
    batch.visible[1, 5, 3, 2] = False
    hidden = model(batch).mean
    filled = replace(batch, x=torch.where(batch.visible, batch.x, hidden), visible=batch.valid)
    torch.testing.assert_close(model(filled).mean, hidden, rtol=1e-4, atol=1e-4)


def test_fno2d_remembers_its_history_and_nothing_else():
    model, batch = make("fno2d", **PREDICTORS["fno2d"]), make_batch()
    early = torch.where(torch.arange(8).view(-1, 1, 1) < 3, 9.0, batch.x).where(batch.valid, 0.0)
    first, second = model(batch).mean, model(replace(batch, x=early)).mean
    torch.testing.assert_close(second[:, 5:], first[:, 5:], rtol=0, atol=0)
    assert not torch.allclose(second[:, 4], first[:, 4])


@pytest.mark.parametrize("name", PREDICTORS)
def test_training_predicts_from_the_context_and_then_from_itself(name):
    model, batch = make(name, **PREDICTORS[name], context=5), make_batch()
    late = torch.arange(8).view(-1, 1, 1) >= 5
    predicted = model(replace(batch, visible=batch.valid & ~late)).mean
    squares = ((predicted - batch.x) / 2) ** 2  # 2: about the data's standard deviation
    parts = model.loss(batch, generator())
    for part, frames in (("next", slice(0, 6)), ("recursive", slice(6, 8))):
        expected = squares[:, frames][batch.valid[:, frames]].mean()
        assert parts[part].item() == pytest.approx(expected.item(), rel=0.1)
    shown = replace(batch, x=torch.where(late, 0.0, batch.x), targets=batch.x)
    assert model.loss(shown, generator())["recursive"] == parts["recursive"]


def test_the_lstm_reads_only_the_brain():
    assert make("lstm", hidden=6).cell.weight_ih.shape == (24, 24)


def test_the_convlstm_reads_its_context_and_replays_the_window():
    model, batch = make("convlstm", hidden=3, context=4, latent_grid=(1, 2)), make_batch()
    late = torch.where(torch.arange(8).view(-1, 1, 1) >= 4, 9.0, batch.x).where(batch.valid, 0.0)
    early = torch.where(torch.arange(8).view(-1, 1, 1) == 3, 9.0, batch.x).where(batch.valid, 0.0)
    first = model(batch)
    torch.testing.assert_close(model(replace(batch, x=late)).mean, first.mean, rtol=0, atol=0)
    changed = model(replace(batch, x=early))
    assert ((changed.mean - first.mean).abs()[batch.valid] > 0).all()
    assert first.latents.shape == (4, 8, 6)
    torch.testing.assert_close(changed.latents[:, :3], first.latents[:, :3], rtol=0, atol=0)
    assert ((changed.latents[:, 3:] - first.latents[:, 3:]).abs() > 0).any(-1).all()
