"""Cheap dropout is dropout."""

import pytest
import torch

from neurodyn.nn.dropout import Dropout


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.5])
def test_the_share_left_out_and_the_mean_are_right(rate):
    torch.manual_seed(0)
    out = Dropout(rate)(torch.ones(400, 500))
    assert (out == 0).float().mean().item() == pytest.approx(rate, abs=0.005)
    assert out.mean().item() == pytest.approx(1.0, abs=0.01)
    assert len(out.unique()) == 2


def test_it_follows_torchs_seed_and_draws_anew_every_time():
    layer, x = Dropout(0.5), torch.ones(100)
    torch.manual_seed(3)
    first, second = layer(x), layer(x)
    torch.manual_seed(3)
    assert torch.equal(layer(x), first)
    assert not torch.equal(first, second)


def test_nothing_is_left_out_in_use():
    x = torch.ones(10)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_gradients_pass_where_entries_passed():
    x = torch.ones(1000, requires_grad=True)
    out = Dropout(0.4)(x)
    out.sum().backward()
    torch.testing.assert_close(x.grad, out.detach())
