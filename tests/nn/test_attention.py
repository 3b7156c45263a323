"""Attention against an explicit softmax, and what masks promise."""

import pytest
import torch

from neurodyn.nn.attention import FactorisedAttention, Grid, MultiHeadAttention, NystromAttention, isolating_mask
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
    torch.testing.assert_close(weights.mean(1), explicit(layer, tokens, mask)[1][:, rows], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 3, 3))
    if mask is not None:
        assert (weights.mean(1)[~mask[:, rows]] == 0).all()


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


def as_nystrom(layer: MultiHeadAttention, landmarks: int) -> NystromAttention:
    """Return attention through landmarks with the weights of full attention."""
    other = NystromAttention(12, 3, landmarks=landmarks).eval()
    other.load_state_dict(layer.state_dict())
    return other


def test_as_many_landmarks_as_tokens_are_full_attention(layer, tokens):
    torch.testing.assert_close(as_nystrom(layer, 7)(tokens), layer(tokens), rtol=1e-3, atol=1e-3)
    every = torch.arange(7)
    maps = as_nystrom(layer, 7).weights(tokens, every)
    torch.testing.assert_close(maps, layer.weights(tokens, every), rtol=1e-2, atol=2e-3)


def test_landmarks_are_close_to_full_attention_where_tokens_change_slowly(layer):
    t = torch.linspace(0, 1, 60)[None, :, None]
    tokens = torch.cat([torch.sin(2 * t * k + k) for k in range(12)], dim=-1)
    error = (as_nystrom(layer, 10)(tokens) - layer(tokens)).norm() / layer(tokens).norm()
    assert error < 0.01


def test_landmarks_do_not_mix_batch_mates(layer, tokens):
    loud = torch.cat([tokens[:1], 50 * tokens[1:]])
    torch.testing.assert_close(as_nystrom(layer, 3)(loud)[:1], as_nystrom(layer, 3)(tokens[:1]), rtol=1e-5, atol=1e-6)


def test_landmarks_see_no_hidden_token(layer, tokens):
    seen = torch.tensor([True, False, True, True, False, True, True]).expand(3, -1)
    spoiled = tokens.where(seen[..., None], 100.0)
    nystrom = as_nystrom(layer, 3)
    torch.testing.assert_close(nystrom(spoiled, seen)[seen], nystrom(tokens, seen)[seen])
    alone = nystrom(tokens[:, seen[0]])
    torch.testing.assert_close(nystrom(tokens, seen)[:, seen[0]], alone, rtol=1e-5, atol=1e-6)
    few = as_nystrom(layer, 6)(tokens, seen)  # more landmarks than there are visible tokens
    torch.testing.assert_close(few[:, seen[0]], layer(tokens[:, seen[0]]), rtol=1e-3, atol=1e-3)


def test_the_gradient_through_landmarks_is_that_of_the_exact_inverse(layer, tokens):
    exact, found = tokens.double().requires_grad_(), tokens.double().requires_grad_()
    nystrom = as_nystrom(layer, 3).double()
    nystrom(found).square().sum().backward()
    query, key, value = nystrom._heads(exact)
    pool = torch.block_diag(torch.full((1, 3), 1 / 3), torch.full((1, 2), 1 / 2), torch.full((1, 2), 1 / 2)).double()
    q, k = pool @ query, pool @ key
    scale = query.shape[-1] ** -0.5
    first, core, last = ((a @ b.mT * scale).softmax(-1) for a, b in ((query, k), (q, k), (q, key)))
    out = nystrom.join((first @ torch.linalg.inv(core) @ last @ value).transpose(1, 2).flatten(2))
    out.square().sum().backward()
    torch.testing.assert_close(found.grad, exact.grad, rtol=1e-3, atol=1e-3)


@pytest.fixture
def factorised() -> FactorisedAttention:
    torch.manual_seed(0)
    return FactorisedAttention(12, 4).eval()


def test_factorised_attention_looks_along_time_with_half_of_its_heads_and_across_the_frame_with_the_others(factorised):
    tokens = torch.randn(2, 4 * 3, 12, generator=torch.Generator().manual_seed(0))
    moved = tokens.clone()
    moved[:, 7] += 1  # time 2, site 1
    before, after = (factorised(x, Grid(3, None)).unflatten(1, (4, 3)) for x in (tokens, moved))
    changed = (before - after).abs().amax((0, 3)) > 1e-6
    expected = torch.zeros(4, 3, dtype=torch.bool)
    expected[:, 1] = expected[2] = True
    assert torch.equal(changed, expected)
    with pytest.raises(ValueError, match="even"):
        FactorisedAttention(12, 3)


@pytest.mark.parametrize("queries", [False, True])
def test_factorised_attention_is_full_attention_where_its_maps_allow(factorised, queries):
    tokens = torch.randn(2, 5 * 3, 12, generator=torch.Generator().manual_seed(0))
    seen = torch.rand(2, 15, generator=torch.Generator().manual_seed(1)) < 0.6 if queries else None
    grid = Grid(3, seen)
    maps = factorised.weights(tokens, torch.arange(15), grid)
    _, _, value = factorised._heads(tokens)
    joined = factorised.join((maps @ value).transpose(1, 2).flatten(2))
    torch.testing.assert_close(factorised(tokens, grid), joined)
    time, site = torch.arange(15) // 3, torch.arange(15) % 3
    scores = factorised.weights(tokens, torch.arange(15), Grid(3, None))
    assert (scores[:, :2][..., site[:, None] != site] == 0).all()
    assert (scores[:, 2:][..., time[:, None] != time] == 0).all()


def test_queries_of_factorised_attention_are_seen_by_none_but_their_own_frame(factorised):
    tokens = torch.randn(2, 5 * 3, 12, generator=torch.Generator().manual_seed(0))
    seen = torch.ones(2, 5, 3, dtype=torch.bool)
    seen[:, [1, 3]] = False
    moved = tokens.clone()
    moved[:, 3:6] += 5
    before, after = (factorised(x, Grid(3, seen.flatten(1))).unflatten(1, (5, 3)) for x in (tokens, moved))
    others = [0, 2, 3, 4]
    torch.testing.assert_close(before[:, others], after[:, others])
    assert not torch.allclose(before[:, 1], after[:, 1])


@pytest.mark.parametrize("queries", [False, True])
def test_maps_of_factorised_attention_sum_to_one_and_are_chosen_rows(factorised, queries):
    tokens = torch.randn(2, 5 * 3, 12, generator=torch.Generator().manual_seed(0))
    seen = torch.rand(2, 15, generator=torch.Generator().manual_seed(1)) < 0.6 if queries else None
    grid = Grid(3, seen)
    maps = factorised.weights(tokens, torch.arange(15), grid)
    assert maps.shape == (2, 4, 15, 15)
    torch.testing.assert_close(maps.sum(-1), torch.ones(2, 4, 15))
    rows = torch.tensor([14, 2])
    torch.testing.assert_close(factorised.weights(tokens, rows, grid), maps[:, :, rows])


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_some_tokens_become_what_they_become_among_all(norm):
    torch.manual_seed(0)
    block, tokens = TransformerBlock(16, 4, 32, norm=norm).eval(), torch.randn(3, 7, 16)
    for keep in (slice(2), slice(-3, None), slice(None)):
        torch.testing.assert_close(block.some(tokens, keep), block(tokens)[:, keep])
