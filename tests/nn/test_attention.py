"""Attention against an explicit softmax, and what masks promise."""

import pytest
import torch

from neurodyn.nn.attention import MultiHeadAttention, isolating_mask
from neurodyn.nn.transformer import TransformerBlock


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randn(3, 7, 12, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def layer() -> MultiHeadAttention:
    torch.manual_seed(0)
    return MultiHeadAttention(12, 3).eval()


def random_mask(batch: int, count: int) -> torch.Tensor:
    chosen = torch.rand(batch, count, count, generator=torch.Generator().manual_seed(1)) < 0.4
    return chosen | torch.eye(count, dtype=torch.bool)


def explicit(layer: MultiHeadAttention, tokens: torch.Tensor, mask: torch.Tensor | None) -> tuple:
    query, key, value = layer.project(tokens).chunk(3, dim=-1)
    outs, maps = [], []
    for head in range(layer.heads):
        s = slice(4 * head, 4 * head + 4)
        scores = torch.einsum("bqd,bkd->bqk", query[..., s], key[..., s]) / 2.0
        if mask is not None:
            scores = torch.where(mask, scores, -torch.inf)
        weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
        maps.append(weights)
        outs.append(weights @ value[..., s])
    return layer.join(torch.cat(outs, -1)), torch.stack(maps).mean(0)


@pytest.mark.parametrize("masked", [False, True])
def test_the_fused_kernel_equals_the_explicit_softmax(layer, tokens, masked):
    mask = random_mask(3, 7) if masked else None
    torch.testing.assert_close(layer(tokens, mask), explicit(layer, tokens, mask)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_weights_are_the_chosen_rows_and_sum_to_one(layer, tokens, masked):
    mask = random_mask(3, 7) if masked else None
    rows = torch.tensor([6, 0, 3])
    weights = layer.weights(tokens, rows, mask)
    torch.testing.assert_close(weights, explicit(layer, tokens, mask)[1][:, rows], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 3))
    if mask is not None:
        assert (weights[~mask[:, rows]] == 0).all()


def test_isolating_mask_shows_real_tokens_and_oneself():
    mask = isolating_mask(torch.tensor([[True, False, True, False]]))
    expected = torch.tensor([[1, 0, 1, 0], [1, 1, 1, 0], [1, 0, 1, 0], [1, 0, 1, 1]], dtype=torch.bool)
    assert torch.equal(mask[0], expected)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_isolated_queries_do_not_touch_each_other_nor_the_real_tokens(tokens, norm):
    torch.manual_seed(0)
    block = TransformerBlock(12, 3, 24, norm=norm).eval()
    real = torch.tensor([True, True, False, True, False, True, False]).expand(3, -1)
    changed = tokens.clone()
    changed[:, 4] += 10
    before, after = block(tokens, isolating_mask(real)), block(changed, isolating_mask(real))
    others = [0, 1, 2, 3, 5, 6]
    torch.testing.assert_close(before[:, others], after[:, others], rtol=0, atol=1e-6)
    assert (before[:, 4] - after[:, 4]).abs().max() > 0.1


def test_blocks_are_equivariant_to_the_order_of_tokens(tokens):
    torch.manual_seed(0)
    block = TransformerBlock(12, 3, 24).eval()
    order = torch.tensor([3, 1, 6, 0, 2, 5, 4])
    torch.testing.assert_close(block(tokens)[:, order], block(tokens[:, order]), rtol=1e-5, atol=1e-5)
