"""Cells whose states are images."""

import torch
from torch import nn

from neurodyn.nn.convolutional import ConvGRUCell, ConvLSTMCell, empty_map, pooled


def test_a_convlstm_on_single_pixels_is_an_lstm():
    torch.manual_seed(0)
    cell, plain = ConvLSTMCell(3, 5), nn.LSTMCell(3, 5)
    order = [0, 1, 3, 2]  # torch keeps i, f, g, o
    centre = cell.gates.weight[:, :, 1, 1].detach().unflatten(0, (4, 5))[order].flatten(0, 1)
    bias = cell.gates.bias.detach().unflatten(0, (4, 5))[order].flatten()
    plain.load_state_dict(
        {"weight_ih": centre[:, :3], "weight_hh": centre[:, 3:], "bias_ih": bias, "bias_hh": torch.zeros(20)}
    )
    state, expected = (torch.randn(2, 5, 1, 1), torch.randn(2, 5, 1, 1)), None
    expected = tuple(some[:, :, 0, 0] for some in state)
    for x in torch.randn(4, 2, 3):
        state, expected = cell(x[:, :, None, None], state), plain(x, expected)
        for ours, theirs in zip(state, expected, strict=True):
            torch.testing.assert_close(ours[:, :, 0, 0], theirs)


def test_a_convgru_on_single_pixels_follows_its_equation():
    torch.manual_seed(0)
    cell = ConvGRUCell(3, 5)
    x, h = torch.randn(2, 3), torch.randn(2, 5)
    gates = torch.cat([x, h], 1) @ cell.gates.weight[:, :, 1, 1].T + cell.gates.bias
    z, r = gates.sigmoid().chunk(2, dim=1)
    n = torch.tanh(torch.cat([x, r * h], 1) @ cell.candidate.weight[:, :, 1, 1].T + cell.candidate.bias)
    out = cell(x[:, :, None, None], h[:, :, None, None])
    torch.testing.assert_close(out[:, :, 0, 0], h + z * (n - h))


def test_cells_keep_the_size_of_images_and_see_only_the_kernel():
    torch.manual_seed(0)
    x = torch.randn(1, 2, 7, 6, requires_grad=True)
    zero = empty_map(x[:, 0], 4)
    assert zero.shape == (1, 4, 7, 6)
    for out in (ConvLSTMCell(2, 4)(x, (zero, zero))[0], ConvGRUCell(2, 4, 5)(x, zero)):
        assert out.shape == (1, 4, 7, 6)
        reached = torch.autograd.grad(out[0, :, 3, 3].sum(), x)[0].abs().sum((0, 1)) > 0
        side = 3 if reached.sum() == 9 else 5
        assert reached.sum() == side**2


def test_pooling_averages_over_a_grid_no_finer_than_the_maps():
    maps = torch.arange(32.0).view(1, 2, 4, 4)
    expected = maps.unflatten(2, (2, 2)).unflatten(4, (2, 2)).mean((3, 5)).flatten(1)
    torch.testing.assert_close(pooled(maps, (2, 2)), expected)
    assert pooled(maps[:, :, :1], (3, 2)).shape == (1, 4)
