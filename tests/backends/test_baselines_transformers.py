"""Masked tokens, tubelets, and space before time."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from neurodyn.backends.baselines.transformer import TransformerConfig, choose_tokens
from neurodyn.backends.layout import Layout
from neurodyn.core.config import find_preset, load_yaml
from neurodyn.core.errors import ConfigError
from tests.backends.baselines import generator, make, make_batch, parameters

TOKENS = {"patch": (2, 3), "width": 8, "heads": 2}


def test_masks_have_the_stated_shares():
    chosen, masked, swapped = choose_tokens((200, 10, 20), TransformerConfig(), generator())
    assert (chosen.sum((1, 2)) == 60).all()
    assert not (masked & swapped).any() and not ((masked | swapped) & ~chosen).any()
    assert masked.sum().item() / chosen.sum().item() == pytest.approx(0.8, abs=0.02)
    assert swapped.sum().item() / chosen.sum().item() == pytest.approx(0.1, abs=0.02)
    assert chosen.float().mean(0).std() < 0.05  # every place alike
    assert choose_tokens((5, 2, 1), TransformerConfig(), generator())[0].sum() == 5


def test_the_loss_is_the_error_on_chosen_tokens(monkeypatch):
    model, batch = make("transformer", **TOKENS, chosen=1e-9), make_batch()
    site, time = 4, 2  # rows 2 and 3, columns 3 to 5
    module = "neurodyn.backends.baselines.transformer.choose_tokens"
    chosen = torch.zeros(4, 8, len(model.patches.sites), dtype=torch.bool)
    site = int((model.patches.sites == 3).nonzero())
    chosen[:, time, site] = True
    monkeypatch.setattr(module, lambda *_: (chosen, chosen, torch.zeros_like(chosen)))
    visible = batch.visible.clone()
    visible[:, time, 2:4, 3:] = False
    predicted = model(replace(batch, visible=visible)).mean  # a hidden token holds the constant, too
    error = model.frames.standardised(predicted, batch.valid) - model.frames.standardised(batch.x, batch.valid)
    part = model.loss(batch, generator())["masked"]
    torch.testing.assert_close(part, error[:, time, 2:4, 3:].square().mean(), rtol=1e-4, atol=1e-5)


def test_swapped_tokens_come_from_the_batch_and_kept_ones_stay(monkeypatch):
    model, batch = make("transformer", **TOKENS), make_batch()
    shape = (4, 8, len(model.patches.sites))
    every, none = torch.ones(shape, dtype=torch.bool), torch.zeros(shape, dtype=torch.bool)
    fed = []
    monkeypatch.setattr(
        model.network, "embedded", lambda values, *_: fed.append(values) or values.new_zeros(4, shape[1] * shape[2], 8)
    )
    module = "neurodyn.backends.baselines.transformer.choose_tokens"
    for swapped in (none, every):
        monkeypatch.setattr(module, lambda *_, swapped=swapped: (every, none, swapped))
        model.loss(batch, generator())
    kept, moved = (values.reshape(-1, values.shape[-1]) for values in fed)
    assert (kept != moved).any(-1).float().mean() > 0.9
    assert torch.equal(kept.unique(dim=0), moved.unique(dim=0))


def test_isolated_times_do_not_matter_to_each_other_and_joint_ones_do():
    batch = make_batch(hide=(3,))
    times = batch.t[:, :5] + 0.05
    for query, alike in (("isolated", True), ("joint", False)):
        model = make("transformer", **TOKENS, query=query)
        together, alone = model.at(batch, times), model.at(batch, times[:, 2:3])
        assert torch.allclose(together[:, 2:3], alone, atol=1e-5) == alike
        chunked = make("transformer", **TOKENS, query=query, at_once=1).at(batch, times)
        torch.testing.assert_close(chunked[:, 2:3], alone)


def test_a_hidden_frame_is_a_question_at_its_time():
    model, batch = make("transformer", **TOKENS), make_batch(frames=7, hide=(3,))
    whole = make("transformer", frames=7, **TOKENS)
    rest = [0, 1, 2, 4, 5, 6]
    fewer = replace(
        batch, x=batch.x[:, rest], t=batch.t[:, rest], visible=batch.visible[:, rest], valid=batch.valid[:, rest]
    )
    torch.testing.assert_close(whole.at(fewer, batch.t[:, 3:4]), whole(batch).mean[:, 3:4], rtol=1e-4, atol=1e-4)
    assert model.capabilities >= {"continuous_time", "attention"}


def test_attention_rows_sum_to_one():
    model, batch = make("transformer", **TOKENS), make_batch()
    summary = model(batch, attention=True).attention
    sums = summary.sum((2, 3))
    kept = model.patches.sites
    assert summary.shape == (4, 6, 8, 6)
    torch.testing.assert_close(sums[:, kept], torch.ones(4, len(kept)))
    assert sums.sum().item() == pytest.approx(4 * len(kept))


def test_the_published_network_has_its_number_of_parameters():
    values = load_yaml(find_preset("model", "transformer-paper")).values
    count = parameters("transformer", Layout(10, (2,), 10.0, np.ones(2, bool)), values["model"])
    assert count == 817_696  # the paper's 818 thousand; its code has an unused table of 320 more


def test_tubelets_hold_their_frames_one_after_the_other():
    model, batch = make("vit3d", frames=7, **TOKENS, tubelet=3), make_batch(frames=7)
    values = model.frames.standardised(batch.x, batch.valid)
    tokens, patches = model.tubelets(values), model.patches.split(values)
    assert tokens.shape == (4, 3, len(model.patches.sites), 3 * 6)
    assert torch.equal(tokens[1, 1, 2], patches[1, 3:6, 2].flatten())
    assert torch.equal(tokens[1, 2, 2], patches[1, 6, 2].repeat(3))
    prediction = model(batch)
    assert prediction.mean.shape == batch.x.shape
    assert prediction.latents.shape == (4, 7, 8)
    assert torch.equal(prediction.latents[:, 3], prediction.latents[:, 5])


def patches_moved(batch, order):
    """Exchange the patches of a window of 4x6 pixels cut into four of 2x3."""
    tiles = batch.x.unflatten(2, (2, 2)).unflatten(4, (2, 3)).transpose(3, 4).flatten(2, 3)
    back = tiles[:, :, order].unflatten(2, (2, 2)).transpose(3, 4).flatten(4, 5).flatten(2, 3)
    return replace(batch, x=back)


@pytest.mark.parametrize("name", ["vit3d", "vivit"])
def test_without_positions_patches_are_a_set(name):
    model, batch = make(name, space=(4, 6), **TOKENS, normalise="global"), make_batch(space=(4, 6))
    order = [2, 0, 3, 1]
    assert not torch.allclose(moved_mean(model, batch, order), patches_moved(mean_of(model, batch), order).x, atol=1e-3)
    for layer in [model.network.place] if name == "vit3d" else [model.place]:
        torch.nn.init.zeros_(layer.weight)
    torch.testing.assert_close(
        moved_mean(model, batch, order), patches_moved(mean_of(model, batch), order).x, rtol=1e-4, atol=1e-4
    )


def mean_of(model, batch):
    return replace(batch, x=model(batch).mean.detach())


def moved_mean(model, batch, order):
    return model(patches_moved(batch, order)).mean.detach()


def test_vivit_without_dates_takes_frames_as_a_set():
    model, batch = make("vivit", **TOKENS), make_batch()
    order = [3, 1, 0, 7, 5, 2, 6, 4]
    moved = replace(batch, x=batch.x[:, order])
    assert not torch.allclose(model(moved).mean, model(batch).mean[:, order], atol=1e-3)
    torch.nn.init.zeros_(model.date.weight)
    torch.testing.assert_close(model(moved).mean, model(batch).mean[:, order], rtol=1e-4, atol=1e-4)


def test_vivits_frames_meet_only_in_time():
    model, batch = make("vivit", **TOKENS), make_batch()
    values = model.frames.standardised(batch.x, batch.valid)
    changed = values.clone()
    changed[:, 3] = 1.0
    first, second = model.within_frames(values), model.within_frames(changed)
    others = [0, 1, 2, 4, 5, 6, 7]
    torch.testing.assert_close(second[:, others], first[:, others])
    latents = model(replace(batch, x=torch.where(torch.arange(8).view(-1, 1, 1) == 3, 4.0, batch.x))).latents
    assert ((latents - model(batch).latents).abs() > 0).any(-1).all()


@pytest.mark.parametrize("name", ["vit3d", "vivit", "convlstm", "fno3d", "latent_ode"])
def test_windows_too_short_to_hide_a_frame_are_refused(name):
    with pytest.raises(ConfigError, match="at least 3 frames"):
        make(name, frames=2)


def test_hidden_and_visible_errors_are_weighted():
    batch = make_batch()
    full, half = (make("vit3d", **TOKENS, visible_weight=weight).loss(batch, generator()) for weight in (1.0, 0.5))
    assert full["hidden"] == half["hidden"]
    torch.testing.assert_close(half["visible"], 0.5 * full["visible"])
    clean = replace(batch, targets=batch.x + 2 * batch.valid)
    assert make("vit3d", **TOKENS).loss(clean, generator())["visible"] != full["visible"]


def test_noise_is_added_in_training_alone():
    batch = make_batch()
    for name in ("vit3d", "transformer"):
        quiet, noisy = (make(name, **TOKENS, noise=noise) for noise in (0.0, 0.5))
        same = quiet.loss(batch, generator())
        assert {k: v.item() for k, v in noisy.loss(batch, generator()).items()} == {
            k: v.item() for k, v in same.items()
        }
        assert sum(noisy.train().loss(batch, generator()).values()) != sum(same.values())
