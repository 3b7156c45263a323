"""The compiled recurrent loops are the plain ones, forwards and backwards."""

import pytest
import torch

from neurodyn.nn import dynamics, ladder, recurrent
from neurodyn.nn.recurrent import GRU, Bidirectional


def draw(*shape: int, scale: float = 1.0, seed: int = 0) -> torch.Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def with_gradients(function, arguments, last):
    leaves = [a.clone().requires_grad_(a.requires_grad) for a in arguments]
    out = function(*leaves, last)
    out = out if isinstance(out, tuple) else (out,)
    total = sum((o * draw(*o.shape, seed=k).to(o.dtype)).sum() for k, o in enumerate(out))
    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    return [*out, *torch.autograd.grad(total, wanted)]


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert (a - b).abs().max() <= 1e-5 * b.abs().max()


def doubled(arguments):
    return [a.detach().double().requires_grad_(a.requires_grad) for a in arguments]


@pytest.mark.parametrize("inputs", [0, 5])
@pytest.mark.parametrize("backwards", [False, True])
def test_the_compiled_unit_is_the_plain_one_in_double_precision(backwards, inputs):
    hidden = 7
    arguments = [
        draw(20, 6, inputs).requires_grad_(),
        draw(inputs, 3 * hidden, scale=0.5, seed=1).requires_grad_(),
        draw(3 * hidden, seed=2).requires_grad_(),
        draw(hidden, 3 * hidden, scale=0.4, seed=3).requires_grad_(),
        draw(6, hidden, seed=4).requires_grad_(),
    ]
    plain = with_gradients(recurrent.loop, doubled(arguments), backwards)
    found = with_gradients(recurrent._Fused.apply, arguments, backwards)
    assert_same([f for f in found if f.numel()], [p for p in plain if p.numel()])


def test_the_plain_unit_has_the_gradients_of_finite_differences():
    hidden = 3
    arguments = doubled([draw(4, 2, 2), draw(2, 9, seed=1), draw(9, seed=2), draw(hidden, 9, seed=3), draw(2, hidden)])
    for a in arguments:
        a.requires_grad_()
    assert torch.autograd.gradcheck(lambda *a: recurrent.loop(*a, True), arguments)


@pytest.mark.parametrize("ceiling", [1.0, 6.0])
def test_the_compiled_rung_is_the_plain_one_in_double_precision(ceiling):
    frames, count, hidden, latent, cells = 15, 6, 7, 4, 5
    shapes = {
        "h": (frames, count, 3),
        "entering": (3, 3 * hidden),
        "bias": (3 * hidden,),
        "feedback": (cells, 3 * hidden),
        "recurrent": (hidden, 3 * hidden),
        "posterior": (hidden, 2 * latent),
        "posterior bias": (2 * latent,),
        "noise": (frames, count, latent),
        "readout": (latent, cells),
        "drive": (frames, count, cells),
        "decay": (2, cells),
        "control": (count, hidden),
        "calcium": (count, cells),
    }
    arguments = [draw(*shape, scale=0.4, seed=k) for k, shape in enumerate(shapes.values())]
    for name, argument in zip(shapes, arguments, strict=True):
        argument.requires_grad_(name != "noise")
    plain = with_gradients(ladder.loop, doubled(arguments), ceiling)
    assert_same(with_gradients(ladder._Fused.apply, arguments, ceiling), plain)
    spikes = plain[2]
    assert (spikes == 0).any() and (spikes > 0).any()
    assert (spikes >= torch.tensor(ceiling).exp() - 1.001).any() == (ceiling == 1.0)


def controlled_arguments(frames, count, control, inputs, hidden, factors):
    shapes = {
        "pre": (frames, count, 3 * control),
        "control bias": (3 * control,),
        "feedback": (factors, 3 * control),
        "control weights": (control, 3 * control),
        "posterior": (control, 2 * inputs),
        "posterior bias": (2 * inputs,),
        "noise": (frames, count, inputs),
        "entering": (inputs, 3 * hidden),
        "bias": (3 * hidden,),
        "weights": (hidden, 3 * hidden),
        "rows": (factors, hidden),
        "keep": (frames, count, hidden),
        "control": (count, control),
        "state": (count, hidden),
    }
    arguments = [draw(*shape, scale=0.5, seed=k) for k, shape in enumerate(shapes.values())]
    for name, argument in zip(shapes, arguments, strict=True):
        argument.requires_grad_(name not in ("noise", "keep"))
    return arguments


def test_the_compiled_controller_and_generator_are_the_plain_ones_in_double_precision():
    arguments = controlled_arguments(frames=15, count=6, control=7, inputs=2, hidden=8, factors=3)
    plain = with_gradients(lambda *a: dynamics.loop(*a[:-1]), doubled(arguments), None)
    assert_same(with_gradients(lambda *a: dynamics._Fused.apply(*a[:-1]), arguments, None), plain)


def test_a_forecast_runs_on_without_inputs():
    torch.manual_seed(0)
    model = dynamics.Dynamics(4, 5, 6, 7, 3, inputs=2, controller=5).eval()
    x, noise = draw(12, 6, 4), dynamics.Noise(draw(6, 6), draw(12, 6, 2, seed=1))
    short, long = model(x, noise, 12), model(x, noise, 20)
    torch.testing.assert_close(long.factors[:12], short.factors)
    assert not long.inputs[12:].any() and long.inputs[:12].any()
    torch.testing.assert_close(long.kl_inputs, short.kl_inputs)
    plain = model.double()(x.double(), dynamics.Noise(*(part.double() for part in noise)), 20)
    torch.testing.assert_close(long.factors, plain.factors.float(), rtol=1e-4, atol=1e-5)


def test_states_stay_between_the_limits():
    unit = GRU(3, 4, clip=5.0)
    states = unit(100 * draw(30, 2, 3), 50 * draw(2, 4))
    assert states.abs().max() <= 5.0


def test_both_directions_see_their_side_of_an_impulse():
    torch.manual_seed(0)
    encoder = Bidirectional(2, 3)
    quiet, loud = torch.zeros(9, 1, 2), torch.zeros(9, 1, 2)
    loud[4] = 1.0
    (a, last_a), (b, last_b) = encoder(quiet), encoder(loud)
    moved = (a - b).abs().amax(dim=1) > 0
    assert not moved[:4, :3].any() and moved[4:, :3].all()
    assert moved[:5, 3:].all() and not moved[5:, 3:].any()
    torch.testing.assert_close(last_b, torch.cat([b[-1, :, :3], b[0, :, 3:]], dim=-1))
    assert not torch.equal(last_a, last_b)


@pytest.mark.parametrize("inputs", [0, 6])
def test_the_product_is_torchs(inputs):
    arguments = [draw(5, 3, inputs).requires_grad_(), draw(inputs, 4, seed=1).requires_grad_()]
    plain = with_gradients(lambda *a: a[0] @ a[1], doubled(arguments), None)
    found = with_gradients(lambda *a: recurrent.product(*a[:-1]), arguments, None)
    assert_same([f for f in found if f.numel()], [p for p in plain if p.numel()])


def test_gradients_of_a_compiled_loop_are_taken_once():
    torch.manual_seed(0)
    states = GRU(2, 3)(draw(4, 5, 2), draw(5, 3))
    states.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="only once"):
        states.sum().backward()
