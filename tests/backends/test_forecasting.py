"""Forecasters: what each computes, and that no chance and no other window decides a forecast."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.linear_model import Ridge

from neurodyn.backends import BACKENDS
from neurodyn.backends.batch import Batch
from neurodyn.backends.forecasting.crossformer import Crossformer, Merge
from neurodyn.backends.forecasting.forecaster import Forecaster
from neurodyn.backends.layout import Layout
from neurodyn.core.errors import ConfigError
from neurodyn.data.stimulus_code import ColumnCode, StimulusCode

CODE = StimulusCode(
    columns=(ColumnCode(name="image", kind="name", values=("a", "b", "c")),), conditions=(("a",), ("b",), ("c",))
)
SMALL = {"width": 16, "feedforward": 32}
HEADS = {**SMALL, "heads": 2}
SIZES = {
    "crossformer": {**HEADS, "segment": 4},
    "informer": {**HEADS, "factor": 1},
    "autoformer": SMALL,
    "patchtst": HEADS,
}
LIBRARY = ("informer", "autoformer", "patchtst")


def layout(entries: int, source: int, horizon: int) -> Layout:
    return Layout(source + horizon, (entries,), 10.0, np.ones(entries, bool), horizon=horizon, code=CODE)


def make(name: str, entries: int = 5, source: int = 24, horizon: int = 6, **config: object) -> Forecaster:
    """A model prepared on data of mean 3 and standard deviation 2, with weights away from their start."""
    torch.manual_seed(0)
    kind = BACKENDS.get(name)
    model = kind(kind.Config(**{**SIZES.get(name, {}), **config}), layout(entries, source, horizon))
    model.prepare([np.random.default_rng(0).normal(3, 2, (30, source + horizon, entries)).astype(np.float32)])
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape)
    return model.eval()


def make_batch(x: torch.Tensor) -> Batch:
    count, frames, _ = x.shape
    condition = torch.arange(count) % 3
    t = (torch.arange(frames) / 10.0).expand(count, -1)
    valid = torch.ones_like(x, dtype=torch.bool)
    return Batch(x, t, valid, valid, torch.zeros(count, dtype=torch.long), None, torch.eye(4)[condition], condition)


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return 3 + 2 * torch.randn(shape, generator=generator(seed))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def chosen(batch: Batch, index: list[int]) -> Batch:
    names = ("x", "t", "visible", "valid", "session", "stimulus", "condition")
    return replace(batch, **{name: getattr(batch, name)[index] for name in names})


def forecast(model: Forecaster, batch: Batch) -> torch.Tensor:
    return model(batch).mean[:, model.source :]


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize(("entries", "source", "horizon"), [(1, 7, 5), (3, 2, 9), (3, 13, 1)])
def test_any_source_and_any_horizon(name, entries, source, horizon):
    model = make(name, entries, source, horizon)
    out = forecast(model, make_batch(noise(4, source + horizon, entries)))
    assert out.shape == (4, horizon, entries)
    assert torch.isfinite(out).all()
    assert (out[0] - out[1]).abs().max() > 1e-4


@pytest.mark.parametrize("name", ["crossformer", "informer", "autoformer"])
def test_the_stimulus_changes_the_forecast(name):
    model, batch = make(name), make_batch(noise(4, 30, 5))
    told = forecast(model, batch)
    assert (forecast(model, replace(batch, stimulus=batch.stimulus.flip(1))) - told).abs().amax((1, 2)).min() > 1e-3
    silent = forecast(model, replace(batch, stimulus=None))
    assert (silent - told).abs().max() > 1e-3


def test_patchtst_is_not_told_the_stimulus():
    model, batch = make("patchtst"), make_batch(noise(4, 30, 5))
    torch.testing.assert_close(forecast(model, replace(batch, stimulus=None)), forecast(model, batch), rtol=0, atol=0)


@pytest.mark.parametrize("name", SIZES)
def test_neither_chance_nor_other_windows_decide_a_forecast(name):
    model, batch = make(name), make_batch(noise(6, 30, 5))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    out = forecast(model, batch)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(forecast(model, batch), out)
    for index in ([3, 0, 5, 1, 4, 2], [4], [2, 5]):
        torch.testing.assert_close(forecast(model, chosen(batch, index)), out[index], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["crossformer", "informer", "patchtst"])
def test_in_training_too_no_other_window_decides_a_forecast(name):
    """Autoformer alone chooses its delays for a whole batch in training, as published."""
    model, batch, source = make(name).train(), make_batch(noise(6, 30, 5)), torch.randn(6, 24, 5)
    torch.manual_seed(1)
    whole = model.forecast(source, batch)
    torch.manual_seed(1)
    torch.testing.assert_close(model.forecast(source[2:3], chosen(batch, [2])), whole[2:3], rtol=1e-5, atol=1e-5)


# Crossformer


def test_crossformer_holds_the_first_frame_before_a_source_that_segments_do_not_divide():
    short, whole = make("crossformer", source=7), make("crossformer", source=8)
    whole.load_state_dict(short.state_dict())
    x = noise(4, 13, 5)
    held = torch.cat([x[:, :1], x], dim=1)
    torch.testing.assert_close(forecast(short, make_batch(x)), forecast(whole, make_batch(held)))


def test_crossformer_is_equivariant_when_a_neurons_own_vectors_move_with_it():
    """Only the tables of positions and of queries tell neurons apart."""
    model, batch, order = make("crossformer"), make_batch(noise(4, 30, 5)), [3, 0, 4, 1, 2]
    model.frames.cells.fit(np.full(5, 3.0), np.full(5, 4.0))
    moved = replace(batch, x=batch.x[..., order])
    out = forecast(model, batch)
    assert (forecast(model, moved) - out[..., order]).abs().max() > 1e-2
    with torch.no_grad():
        model.positions.copy_(model.positions[order])
        model.queries.copy_(model.queries[order])
    torch.testing.assert_close(forecast(model, moved), out[..., order], rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        model.positions.copy_(model.positions[:1].expand_as(model.positions))
        model.queries.copy_(model.queries[:1].expand_as(model.queries))
    torch.testing.assert_close(forecast(model, moved), forecast(model, batch)[..., order], rtol=1e-5, atol=1e-5)


def test_crossformer_neurons_hear_of_each_other():
    model, batch = make("crossformer"), make_batch(noise(4, 30, 5))
    louder = batch.x.clone()
    louder[..., 2] *= 2
    change = (forecast(model, replace(batch, x=louder)) - forecast(model, batch)).abs()
    assert change[..., [0, 1, 3, 4]].amax((0, 1)).min() > 1e-3


def test_crossformer_adds_up_what_its_layers_read():
    model, batch = make("crossformer", layers=3), make_batch(noise(4, 30, 5))
    source = torch.randn(4, 24, 5)
    whole = model.forecast(source, batch)
    alone = []
    for kept in range(4):
        model = make("crossformer", layers=3)
        for layer, reader in enumerate(model.decoder):
            if layer != kept:
                for parameter in reader.read.parameters():
                    torch.nn.init.zeros_(parameter)
        alone.append(model.forecast(source, batch))
    assert min(part.abs().max() for part in alone) > 1e-2
    torch.testing.assert_close(sum(alone), whole, rtol=1e-5, atol=1e-5)


def test_crossformer_merges_neighbours_and_repeats_the_last():
    merge, tokens = Merge(2, 2), torch.randn(1, 3, 5, 2)
    pairs = [tokens[:, :, [first, min(first + 1, 4)]].flatten(2) for first in (0, 2, 4)]
    torch.testing.assert_close(merge(tokens), torch.stack([merge.join(merge.norm(pair)) for pair in pairs], dim=2))


def test_crossformer_learns_a_planted_autoregression():
    rng = np.random.default_rng(0)
    turn, phase = np.array([0.3, 0.5, 0.8]), rng.uniform(0, 2 * np.pi, (400, 1, 3))
    x = 3 + 2 * np.cos(turn * np.arange(18)[None, :, None] + phase) + 0.1 * rng.normal(size=(400, 18, 3))
    x = torch.from_numpy(x.astype(np.float32))
    torch.manual_seed(0)
    model = Crossformer(Crossformer.Config(**SIZES["crossformer"], layers=1), layout(3, 12, 6))
    model.prepare([x[:300].numpy()])
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(80):
        loss = model.loss(make_batch(x[:300][step * 60 % 300 :][:60]), generator())["forecast"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()
    test, mean = make_batch(x[300:]), make("source_mean", 3, 12, 6)
    mean.frames.load_state_dict(model.frames.state_dict())
    error, naive = (some.loss(test, generator())["forecast"].item() for some in (model, mean))
    assert error < 0.05 * naive


# Models of the library


def test_patchtst_has_the_published_number_of_parameters():
    kind = BACKENDS.get("patchtst")
    model = kind(kind.Config(), layout(171, 96, 64))
    assert sum(parameter.numel() for parameter in model.parameters()) == 407_744


def test_patchtst_follows_the_level_of_a_window():
    model, batch = make("patchtst", head="flat"), make_batch(noise(4, 30, 5))
    raised = replace(batch, x=7 + 3 * batch.x)
    torch.testing.assert_close(forecast(model, raised), 7 + 3 * forecast(model, batch), rtol=1e-3, atol=1e-3)


def test_the_library_gives_the_shapes_we_rely_on():
    batch = make_batch(noise(4, 30, 5))
    informer, autoformer = make("informer", start=10), make("autoformer", start=10)
    read = informer.encoder(inputs_embeds=torch.randn(4, 24, 10)).last_hidden_state
    assert read.shape == (4, 12, 16)
    asked = informer.decoder(inputs_embeds=torch.randn(4, 16, 10), encoder_hidden_states=read).last_hidden_state
    assert asked.shape == (4, 16, 16)
    read = autoformer.encoder(inputs_embeds=torch.randn(4, 24, 10)).last_hidden_state
    assert read.shape == (4, 24, 16)
    values = torch.randn(4, 16, 10)
    states = autoformer.decoder(trend=values, inputs_embeds=values, encoder_hidden_states=read)
    assert states.last_hidden_state.shape == states.trend.shape == (4, 16, 10)
    assert make("patchtst").model(past_values=batch.x[:, :24]).prediction_outputs.shape == (4, 6, 5)


def test_informer_draws_its_keys_from_the_generator_in_training():
    model, batch = make("informer").train(), make_batch(noise(4, 30, 5))
    source, state = generator(5), torch.get_rng_state()
    first, second = (model.loss(batch, source)["forecast"].item() for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(9)
    assert model.loss(batch, generator(5))["forecast"].item() == first
    assert first != second


def test_informer_sees_no_later_frame_in_its_decoder():
    """With every query active; which ones are, Informer decides by all keys."""
    model = make("informer", factor=10, start=6)
    memory, asked = torch.randn(2, 12, 16), torch.randn(2, 12, 10)
    later = asked.clone()
    later[:, 8:] += 1
    states = [model.decoder(inputs_embeds=x, encoder_hidden_states=memory).last_hidden_state for x in (asked, later)]
    torch.testing.assert_close(states[0][:, :8], states[1][:, :8])
    assert (states[0][:, 8:] - states[1][:, 8:]).abs().min(1).values.max() > 1e-3


def test_autoformer_starts_from_the_mean_of_the_source():
    model = make("autoformer")
    for name, parameter in model.decoder.named_parameters():
        if "trend_projection" in name or "seasonality_projection" in name:
            torch.nn.init.zeros_(parameter)
    source = torch.randn(4, 24, 5)
    mean = source.mean(1, keepdim=True).expand(-1, 6, -1)
    torch.testing.assert_close(model.forecast(source, make_batch(noise(4, 30, 5))), mean)


def test_heads_of_autoformer_do_not_matter():
    one = make("autoformer").encoder
    settings = type(one.config)(**{**one.config.to_dict(), "encoder_attention_heads": 4})
    settings.feature_size = one.config.feature_size
    four = type(one)(settings).eval()
    four.load_state_dict(one.state_dict())
    x = torch.randn(1, 24, 10)
    torch.testing.assert_close(four(inputs_embeds=x).last_hidden_state, one(inputs_embeds=x).last_hidden_state)


def test_autoformer_correlates_with_a_shorter_source_followed_by_zeros():
    model = make("autoformer", source=6, horizon=5, factor=1)
    attention = model.decoder.layers[0].encoder_attn
    queries, memory = torch.randn(3, 11, 16), torch.randn(3, 6, 16)
    keys, values = (torch.zeros(3, 11, 16) for _ in range(2))
    keys[:, :6], values[:, :6] = memory @ attention.k_proj.weight.T, memory @ attention.v_proj.weight.T
    asked = attention.q_proj(queries)
    scores = torch.stack([(asked * keys.roll(delay, 1)).sum(1).mean(-1) for delay in range(11)], dim=1)
    best, delays = scores.topk(int(np.log(11)), dim=1)
    rolled = [torch.stack([v.roll(-int(d), 0) for v, d in zip(values, some, strict=True)]) for some in delays.T]
    mixed = sum(share[:, None, None] * some for share, some in zip(best.softmax(1).T, rolled, strict=True))
    padded = torch.nn.functional.pad(memory, (0, 0, 0, 5))
    torch.testing.assert_close(attention(queries, padded)[0], attention.out_proj(mixed), rtol=1e-4, atol=1e-4)
    given = []
    model.decoder.register_forward_pre_hook(lambda _, args, kept: given.append(kept), with_kwargs=True)
    forecast(model, make_batch(noise(3, 11, 5)))
    read = given[0]["encoder_hidden_states"]
    assert read.shape == (3, 11, 16)
    assert read[:, 6:].abs().max() == 0 < read[:, :6].abs().max()


@pytest.mark.parametrize("name", LIBRARY)
def test_what_to_install_is_said(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=f"{name} needs transformers") as error:
        make(name)
    assert error.value.fix == "pip install 'neurodyn[baselines]'"


@pytest.mark.parametrize(
    ("name", "config"),
    [("crossformer", {"width": 10, "heads": 4}), ("autoformer", {"trend": 4}), ("informer", {"heads": 3})],
)
def test_sizes_that_cannot_be(name, config):
    with pytest.raises(ValidationError):
        BACKENDS.get(name).Config(**config)


# The others


def test_psth_is_the_mean_response_of_each_condition():
    rng = np.random.default_rng(3)
    x = rng.normal(3, 2, (12, 8, 2)).astype(np.float32)
    x[0, 5, 1] = x[4, 6] = x[::3, 7, 0] = np.nan
    batch = make_batch(torch.from_numpy(x))
    valid = torch.from_numpy(np.isfinite(x))
    batch = replace(batch, valid=valid, visible=valid)
    model = make("psth", 2, 5, 3)
    model.prepare_batches([chosen(batch, list(range(5))), chosen(batch, list(range(5, 12)))])
    overall = np.nanmean(x[:, 5:], axis=0)
    expected = np.stack([np.ma.masked_invalid(x[c::3, 5:]).mean(0).filled(np.nan) for c in range(3)])
    assert np.isnan(expected[0, 2, 0])  # never seen with this stimulus
    expected[0, 2, 0] = overall[2, 0]
    np.testing.assert_allclose(forecast(model, chosen(batch, [6, 7, 8])), expected, rtol=1e-5)
    unknown = replace(batch, condition=torch.full((12,), -1))
    for some in (unknown, replace(batch, condition=None)):
        np.testing.assert_allclose(forecast(model, some)[9], overall, rtol=1e-5)


def test_ridge_is_that_of_each_neuron_alone():
    model, batch = make("ridge_ar", 3, 6, 4, penalty=7.0), make_batch(noise(40, 10, 3))
    model.prepare_batches([chosen(batch, list(range(15))), chosen(batch, list(range(15, 40)))])
    z = (batch.x - model.frames.cells.mean[0]) / model.frames.cells.scale[0]
    told = torch.cat([batch.stimulus, torch.eye(3)[batch.condition]], dim=1)
    out = model.forecast(z[:, :6], batch)
    for neuron in range(3):
        regressors = torch.cat([z[:, :6, neuron], told], dim=1)
        reference = Ridge(alpha=7.0).fit(regressors.double(), z[:, 6:, neuron].double())
        np.testing.assert_allclose(out[..., neuron], reference.predict(regressors.double()), atol=1e-4)


@pytest.mark.parametrize("individual", [False, True])
def test_nlinear_copies_the_past_with_the_identity_for_its_weights(individual):
    model, x = make("nlinear", 3, 10, 4, individual=individual), noise(5, 14, 3)
    with torch.no_grad():
        model.map.weight.copy_(torch.eye(10)[-4:].expand_as(model.map.weight))
        model.map.bias.zero_()
    torch.testing.assert_close(forecast(model, make_batch(x)), x[:, 6:10])


def test_ar_lstm_rolls_out_as_if_fed_frame_by_frame():
    model, batch = make("ar_lstm", hidden=8), make_batch(noise(4, 30, 5))
    frames = source = torch.randn(4, 24, 5)
    told = model.stimulus(batch.stimulus)
    for _ in range(6):
        states, _ = model.lstm(frames)
        following = model.out(torch.cat([states[:, -1], told], dim=1))
        frames = torch.cat([frames, following[:, None]], dim=1)
    torch.testing.assert_close(model.forecast(source, batch), frames[:, 24:])
