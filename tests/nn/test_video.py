"""Patches of movies, pooling over time, overlapping decoding."""

import pytest
import torch

from neurodyn.nn.positions import paired_sinusoids
from neurodyn.nn.video import AttentionPooling, OverlappingDecoder, VideoEncoder

GRID = (2, 5)  # rows and columns of patches, as many frames as neither


def movie(channels: int = 2, frames: int = 3, side: tuple[int, int] = (4, 15)) -> torch.Tensor:
    return torch.randn(2, channels, frames, *side, generator=torch.Generator().manual_seed(0))


def test_a_patch_changes_its_own_tokens_alone():
    encoder, x = VideoEncoder(2, (1, 2, 3), 8), movie()
    changed = x.clone()
    changed[1, :, :, 2:4, 9:12] += 1  # second row, fourth column of patches
    differs = (encoder(changed) != encoder(x)).any(-1)
    expected = torch.zeros(2, 3, 10, dtype=torch.bool)
    expected[1, :, 8] = True
    assert torch.equal(differs, expected)


def test_a_frame_changes_its_own_tokens_alone():
    encoder, x = VideoEncoder(2, (1, 2, 3), 8), movie()
    changed = x.clone()
    changed[0, :, 1] += 1
    differs = (encoder(changed) != encoder(x)).any(-1)
    expected = torch.zeros(2, 3, 10, dtype=torch.bool)
    expected[0, 1] = True
    assert torch.equal(differs, expected)


def test_a_token_is_a_linear_map_of_its_patch():
    encoder, x = VideoEncoder(2, (2, 2, 3), 8), movie(frames=4)
    patch = x[1, :, 2:4, 2:4, 6:9]  # second step, second row, third column
    weight, bias = encoder.project.weight, encoder.project.bias
    token = encoder.norm(weight.flatten(1) @ patch.flatten() + bias)
    torch.testing.assert_close(encoder(x)[1, 1, 7], token, rtol=1e-4, atol=1e-5)


def test_padding_is_zeros_at_the_ends():
    encoder, x = VideoEncoder(2, (2, 3, 4), 8), movie()
    whole = torch.nn.functional.pad(x, (0, 1, 0, 2, 0, 1))
    torch.testing.assert_close(encoder(x), encoder(whole))
    share = encoder.share(torch.ones(1, 3, 4, 15))
    assert share.shape == (1, 2, 8)
    assert share[0, 0, 0] == 1
    assert share[0, 1, 7].item() == pytest.approx(1 / 2 * 1 / 3 * 3 / 4)


def test_pooling_sees_nothing_of_unobserved_tokens():
    pooling, source = AttentionPooling(8), torch.Generator().manual_seed(0)
    tokens = torch.randn(2, 3, 4, 5, 8, generator=source)
    observed = torch.rand(2, 3, 4, 5, generator=source)
    observed[0, 1, 2], observed[1, 0, :3, 4] = 0, 0
    weights = pooling.weights(tokens, observed)
    torch.testing.assert_close(weights.sum(2), torch.ones(2, 3, 5))
    assert (weights[observed == 0] == 0).all() and (weights[observed > 0] > 0).all()
    assert weights[1, 0, 3, 4] == 1
    spoiled = torch.where(observed[..., None] > 0, tokens, 1e3)
    torch.testing.assert_close(pooling(spoiled, observed), pooling(tokens, observed))


def test_pooling_weighs_alike_where_nothing_was_observed():
    pooling = AttentionPooling(8)
    tokens = torch.randn(1, 2, 4, 3, 8, requires_grad=True)
    observed = torch.ones(1, 2, 4, 3)
    observed[0, 1] = 0
    pooled = pooling(tokens, observed)
    torch.testing.assert_close(pooled[0, 1], tokens[0, 1].mean(0))
    pooled.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in [tokens, *pooling.parameters()])


def test_pooling_depends_on_data_and_on_the_observed_share():
    pooling, source = AttentionPooling(8), torch.Generator().manual_seed(0)
    tokens = torch.randn(1, 1, 4, 2, 8, generator=source)
    full, half = torch.ones(1, 1, 4, 2), torch.tensor([1.0, 1.0, 0.5, 1.0])[None, None, :, None].expand(1, 1, 4, 2)
    weights = pooling.weights(tokens, full)
    assert not torch.allclose(weights[..., 0], weights[..., 1], atol=1e-3)
    assert not torch.allclose(weights, pooling.weights(tokens, half), atol=1e-3)


@pytest.mark.parametrize("overlap", [0, 1, 2])
@pytest.mark.parametrize("patch", [(1, 1), (2, 3), (4, 4), (1, 5)])
def test_decoded_images_have_the_exact_size(patch, overlap):
    decoder = OverlappingDecoder(8, 16, patch, overlap, channels=3)
    images = decoder(torch.randn(2, 8, *GRID))
    assert images.shape == (2, 3, GRID[0] * patch[0], GRID[1] * patch[1])
    assert (images == 0).all()


@pytest.mark.parametrize("overlap", [0, 1])
def test_a_token_reaches_its_patch_and_the_overlap(overlap):
    decoder = OverlappingDecoder(8, 16, (4, 3), overlap, channels=1)
    decoder.refine = torch.nn.Identity()
    torch.nn.init.normal_(decoder.out.weight)
    tokens = torch.randn(1, 8, *GRID)
    changed = tokens.clone()
    changed[0, :, 1, 2] += 1
    differs = (decoder(changed) - decoder(tokens)).abs()[0, 0] > 1e-6
    expected = torch.zeros(8, 15, dtype=torch.bool)
    expected[4 - overlap :, 6 - overlap : 9 + overlap] = True
    assert torch.equal(differs, expected)


def test_rows_and_columns_are_told_apart():
    row, column = torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij")
    codes = paired_sinusoids(row, column, 16)
    assert codes.shape == (12, 12, 16)
    assert torch.pdist(codes.flatten(0, 1)).min() > 0.1
    torch.testing.assert_close(codes[3, 7, :8], codes[3, 2, :8])
    torch.testing.assert_close(codes[3, 7, 8:], codes[7, 3, :8])
