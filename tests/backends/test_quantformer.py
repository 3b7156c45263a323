"""QuantFormer: the vocabulary, what is frozen, what unknown codes count as, and whose token is whose."""

import numpy as np
import pytest
import torch

from neurodyn.backends.batch import Batch
from neurodyn.backends.layout import Layout
from neurodyn.backends.quantformer import QuantFormer, QuantFormerConfig
from neurodyn.backends.vocabulary import QUANTIZER
from neurodyn.core.errors import ConfigError
from neurodyn.data.stimulus_code import ColumnCode, StimulusCode

FORECASTER = "forecaster"
FRAMES, HORIZON = 24, 8
SMALL = {"patch": 4, "width": 16, "heads": 2, "layers": 1, "codes": 12}
CODE = StimulusCode(columns=(ColumnCode(name="direction", kind="angle"),), conditions=(("0.0",), ("90.0",)))


def layout(cells: int = 5, **more) -> Layout:
    return Layout(FRAMES, (cells,), 10.0, np.ones(cells, dtype=bool), (cells,), ("one",), HORIZON, **more)


def batch(count: int = 6, cells: int = 5, seed: int = 0) -> Batch:
    x = torch.randn(count, FRAMES, cells, generator=torch.Generator().manual_seed(seed)).cumsum(1)
    t = (torch.arange(FRAMES) / 10.0).expand(count, -1)
    valid = torch.ones_like(x, dtype=torch.bool)
    visible = valid.clone()
    visible[:, -HORIZON:] = False
    condition = torch.arange(count) % 2
    stimulus = torch.nn.functional.one_hot(condition, CODE.size).float()
    return Batch(x, t, visible, valid, torch.zeros(count, dtype=torch.long), None, stimulus, condition)


def made(cells: int = 5, seed: int = 0, **config) -> QuantFormer:
    torch.manual_seed(seed)
    model = QuantFormer(QuantFormerConfig(**SMALL | config), layout(cells, code=CODE))
    model.prepare([batch(30, cells).x.numpy()])
    return model


def trained(model: QuantFormer, stage: str, steps: int, cells: int = 5) -> None:
    model.begin(stage, [batch(20, cells, 1), batch(20, cells, 2)])
    model.train()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    for step in range(steps):
        loss = sum(model.loss(batch(8, cells, step), torch.Generator().manual_seed(step)).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.mark.parametrize("codebook", ["learned", "ema", "fsq"])
def test_a_gradient_reaches_encoder_and_codebook(codebook):
    model = made(codebook=codebook)
    trained(model, QUANTIZER, 1)
    model.zero_grad()
    sum(model.loss(batch(), torch.Generator().manual_seed(0)).values()).backward()
    assert model.quantizer.embed.weight.grad.abs().max() > 0
    for name, parameter in model.quantizer.codebook.named_parameters():
        assert parameter.grad.abs().max() > 0, name
    assert (codebook == "ema") == (not list(model.quantizer.codebook.parameters()))


def test_commitment_alone_moves_the_encoder():
    model = made()
    trained(model, QUANTIZER, 1)
    model.zero_grad()
    model.loss(batch(), torch.Generator().manual_seed(0))["commitment"].backward()
    assert model.quantizer.embed.weight.grad.norm() > 0


@pytest.mark.parametrize("codebook", ["learned", "ema", "fsq"])
def test_codes_decode_to_exactly_what_forward_gives(codebook):
    model = made(codebook=codebook)
    trained(model, QUANTIZER, 20)
    model.eval()
    patches = torch.randn(7, 6, 4)
    decoded, quantized = model.quantizer(patches)
    again = model.quantizer.decode(model.quantizer.codebook.vectors(quantized.codes))
    torch.testing.assert_close(again, decoded, rtol=0, atol=0)
    assert torch.equal(model.quantizer.codes(patches), quantized.codes)
    assert len(quantized.codes.unique()) > 1


@pytest.mark.parametrize("codebook", ["learned", "ema"])
def test_a_frozen_quantiser_is_the_same_bit_by_bit_after_100_steps(codebook):
    model = made(codebook=codebook)
    trained(model, QUANTIZER, 5)
    before = {name: value.clone() for name, value in model.quantizer.state_dict().items()}
    encoder = model.encoder.place.detach().clone()
    trained(model, FORECASTER, 100)
    assert all(torch.equal(value, before[name]) for name, value in model.quantizer.state_dict().items())
    assert not torch.equal(model.encoder.place, encoder)


def test_one_neuron_and_one_window():
    model = made(cells=1)
    for stage in model.stages():
        trained(model, stage, 2, cells=1)
    one = batch(1, 1)
    assert model.eval()(one).mean.shape == (1, FRAMES, 1)
    assert torch.isfinite(sum(model.loss(one, torch.Generator().manual_seed(0)).values()))


def test_a_code_unseen_in_training_counts_as_the_nearest_that_was_seen():
    model = made()
    trained(model, QUANTIZER, 30)
    model.begin(FORECASTER, [batch(20)])
    book = model.book()
    model.counts[3:] = 0
    model.counts[:3] = 1
    nearest = torch.cdist(book, book[:3]).argmin(1)
    assert torch.equal(model._known(), nearest)
    codes, _ = model._codes(batch(10, seed=5))
    assert codes.max() < 3
    assert torch.equal(model._weights(), torch.tensor([1.0] * 3 + [0.0] * 9))
    spoken = model.eval()(batch()).mean
    with torch.no_grad():
        model.head.bias[3:] += 100.0  # a hard forecast never says a code that training did not have
    torch.testing.assert_close(model(batch()).mean, spoken)


def test_balance_makes_codes_weigh_alike():
    model = made()
    model.counts[:2] = torch.tensor([30, 10])
    torch.testing.assert_close(model._weights()[:2], torch.tensor([40 / 60, 40 / 20]))
    model.config = model.config.model_copy(update={"balance": 0.0})
    torch.testing.assert_close(model._weights()[:2], torch.ones(2))


def test_without_gamma_and_balance_the_loss_is_cross_entropy():
    model = made(balance=0.0)
    for stage in model.stages():
        trained(model, stage, 3)
    model.eval()
    b = batch()
    traces = model._traces(b, b.visible & b.valid)
    codes, _ = model._codes(b)
    logits = model.head(model._coming(traces, b))
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), codes.flatten())
    torch.testing.assert_close(model.loss(b, torch.Generator())["codes"], expected)


def test_the_horizon_is_never_seen_and_the_stimulus_is():
    model = made(decoding="soft")
    for stage in model.stages():
        trained(model, stage, 3)
    model.eval()
    b = batch()
    spoiled = b.x.clone()
    spoiled[:, -HORIZON:] += 5.0
    changed = Batch(spoiled, b.t, b.visible, b.valid, b.session, None, b.stimulus, b.condition)
    torch.testing.assert_close(model(changed).mean[:, -HORIZON:], model(b).mean[:, -HORIZON:], rtol=0, atol=0)
    other = Batch(b.x, b.t, b.visible, b.valid, b.session, None, b.stimulus.roll(1, 0), b.condition)
    assert not torch.allclose(model(other).mean, model(b).mean)


def one_window(model: QuantFormer, hidden: bool) -> Batch:
    one = batch(1, len(model.cells), 7)
    visible = one.visible.clone()
    if hidden:
        visible[:, 3:9, 1] = visible[:, :, 2] = visible[:, :5, 3] = False
    told = one.stimulus if model.stimulus is not None else None
    return Batch(one.x, one.t, visible, one.valid, one.session, None, told, one.condition)


STREAMED = [
    {},
    {"decoding": "soft"},
    {"decoding": "soft", "layers": 2},
    {"width": 32, "layers": 3},  # heads of 16 features: compiled attention
    {"width": 32, "patch": 5, "layers": 2},
    {"codebook": "ema", "decoding": "soft"},
    {"codebook": "fsq"},
    {"across": True},
]


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("config", STREAMED, ids=str)
def test_a_streamed_forecast_is_the_ordinary_one(config, hidden):
    model = made(**config)
    for stage in model.stages():
        trained(model, stage, 3)
    model.eval()
    window = one_window(model, hidden)
    with torch.no_grad():
        expected = model(window).mean[:, -HORIZON:]
    assert expected.std() > 0.01
    for threads in (1, 2):
        forecast = model.streamed(threads)
        other = batch(1, seed=8)
        forecast(Batch(other.x, other.t, other.visible, other.valid, other.session, None, other.stimulus * 0.5))
        torch.testing.assert_close(forecast(window), expected, rtol=1e-4, atol=1e-5)


def test_a_streamed_forecast_without_oneDNN_and_without_a_stimulus(monkeypatch):
    model = QuantFormer(QuantFormerConfig(**SMALL), layout())
    model.prepare([batch(30).x.numpy()])
    trained(model, QUANTIZER, 3)
    model.eval()
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    window = one_window(model, hidden=True)
    threads = torch.get_num_threads()
    with torch.no_grad():
        torch.testing.assert_close(model.streamed(9)(window), model(window).mean[:, -HORIZON:], rtol=1e-4, atol=1e-5)
    assert torch.get_num_threads() == threads


def test_neurons_are_known_by_name_in_another_session():
    torch.manual_seed(0)
    first = QuantFormer(QuantFormerConfig(**SMALL), layout(3, code=CODE, names=(("a", "b", "c"),)))
    second = QuantFormer(QuantFormerConfig(**SMALL), layout(4, code=CODE, names=(("c", "x", "a", "y"),)))
    assert second.take_over(first) == (QUANTIZER,)
    assert torch.equal(second.neurons.weight[0], first.neurons.weight[2])
    assert torch.equal(second.neurons.weight[2], first.neurons.weight[0])
    assert not torch.equal(second.neurons.weight[1], first.neurons.weight[1])
    assert torch.equal(second.head.weight, first.head.weight)
    second.begin(FORECASTER, [batch(4, 4)])
    assert torch.equal(second.encoder.place, first.encoder.place)


def test_a_run_of_another_shape_is_refused():
    with pytest.raises(ConfigError, match="cannot start"):
        made().take_over(made(patch=2))


def test_parameters_of_the_published_configuration():
    """Published: 806,036 and 431,394.

    The first has two more rows of places (256), an affine map of the codebook (256), four fixed scales, and in encoder and
    decoder a CLS token and a map of the stimulus that stage 1 never uses (2 × 768). The second has the CLS token and its
    place (256), two scales, the frozen codebook with its map (4,352) and one more token (128).
    """
    four = StimulusCode(columns=(ColumnCode(name="x", kind="name", values=("1", "2", "3")),), conditions=())
    shape = Layout(160, (171,), 30.0, np.ones(171, dtype=bool), (171,), ("one",), 64, four)
    model = QuantFormer(QuantFormerConfig(), shape)
    counts = []
    for stage in (QUANTIZER, FORECASTER):
        model.begin(stage, [])
        counts.append(sum(p.numel() for p in model.parameters() if p.requires_grad))
    assert counts == [806_036 - 256 - 256 - 4 - 2 * 768, 431_394 - 256 - 2 - 4_352 - 128]
