"""Attention and normalisation as compiled are PyTorch's."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from neurodyn.compiled.transformer import LANES, add_and_normalise, attend


@pytest.mark.parametrize("tokens", [1, 10, LANES])
@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])  # scores up to some thousand, of both signs
def test_attention_is_that_of_pytorch(tokens, scale):
    rng = np.random.default_rng(0)
    heads, wanted, count = 2, min(3, tokens), 7
    query = scale * rng.standard_normal((wanted, count, heads * LANES)).astype(np.float32)
    both = scale * rng.standard_normal((tokens, count, 2 * heads * LANES)).astype(np.float32)
    found = np.empty_like(query)
    attend(query, both, found)
    parts = (torch.from_numpy(part) for part in (query, *np.split(both, 2, axis=2)))
    per_head = (part.unflatten(2, (heads, LANES)).permute(1, 2, 0, 3).double() for part in parts)
    expected = functional.scaled_dot_product_attention(*per_head).permute(2, 0, 1, 3).flatten(2)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5 * scale)


def test_scores_far_below_zero_are_told_apart():
    query, both = np.ones((1, 1, LANES), np.float32), np.zeros((2, 1, 2 * LANES), np.float32)
    both[:, 0, :LANES] = [[-50.0], [-51.0]]
    both[:, 0, LANES:] = [[1.0], [0.0]]
    found = np.empty_like(query)
    attend(query, both, found)
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-4.0)), rtol=1e-5)


def test_normalisation_is_that_of_pytorch():
    tokens, added, weight, bias = (torch.randn(*shape) for shape in ((9, 24), (9, 24), (24,), (24,)))
    out = np.empty((9, 24), np.float32)
    add_and_normalise(*(part.numpy() for part in (tokens, added, weight, bias)), np.float32(1e-5), out)
    expected = functional.layer_norm(tokens + added, (24,), weight, bias, 1e-5)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)
