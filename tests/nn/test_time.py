"""Interpolation, derivatives, positions, masks and moments against closed forms and numpy."""

import math

import numpy as np
import pytest
import torch

from neurodyn.nn.derivatives import derivatives
from neurodyn.nn.interpolation import interpolate
from neurodyn.nn.masking import hide_blocks, hide_inner_frames, times_between
from neurodyn.nn.moments import moments
from neurodyn.nn.positions import FourierFeatures


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def irregular(batch: int, count: int) -> torch.Tensor:
    return (torch.rand(batch, count, generator=seeded()) + 0.2).cumsum(1)


def test_interpolation_equals_numpy_per_entry_with_own_times_and_masks():
    t = irregular(4, 9)
    values = torch.randn(4, 9, 2, 3, generator=seeded(1))
    visible = torch.rand(4, 9, 2, 3, generator=seeded(2)) < 0.5
    at = torch.rand(4, 13, generator=seeded(3)) * 8 - 0.5
    got = interpolate(torch.where(visible, values, torch.tensor(1e9)), t, visible, at)
    for b, i, j in np.ndindex(4, 2, 3):
        seen = visible[b, :, i, j].numpy()
        expected = np.interp(at[b], t[b].numpy()[seen], values[b, :, i, j].numpy()[seen]) if seen.any() else 0.0
        np.testing.assert_allclose(got[b, :, i, j], expected, atol=1e-5)


def test_interpolation_returns_visible_values_exactly_and_zero_without_any():
    t, values = irregular(1, 5), torch.randn(1, 5, generator=seeded(1))
    assert torch.equal(interpolate(values, t, torch.ones(1, 5, dtype=torch.bool), t), values)
    assert torch.equal(interpolate(values, t, torch.zeros(1, 5, dtype=torch.bool), t), torch.zeros(1, 5))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_derivatives_of_polynomials_are_exact_on_uneven_unordered_times(order):
    t = irregular(3, 8).double()[:, torch.randperm(8, generator=seeded(5))]
    found = derivatives(5 + t[..., None] ** order, t, order)[order - 1]
    torch.testing.assert_close(found, torch.full_like(found, math.factorial(order)), rtol=1e-7, atol=1e-7)
    assert found.shape == (3, 8 - order, 1)


def test_hidden_frames_are_inner_and_as_many_as_allowed():
    hidden = hide_inner_frames(4000, 7, 3, seeded())
    assert not hidden[:, [0, -1]].any()
    counts = hidden.sum(1)
    assert sorted(counts.unique().tolist()) == [1, 2, 3]
    np.testing.assert_allclose(counts.bincount()[1:] / 4000, 1 / 3, atol=0.03)
    np.testing.assert_allclose(hidden[:, 1:-1].float().mean(0), 2 / 5, atol=0.03)
    assert hide_inner_frames(5, 3, 10, seeded()).sum() == 5


@pytest.mark.parametrize("count", [1, 4, 11])
def test_drawn_times_keep_their_distance(count):
    t = irregular(50, 5)
    drawn = times_between(t, count, seeded())
    together = torch.cat([t, drawn], 1).sort(1).values
    assert drawn.shape == (50, count)
    assert together.diff(dim=1).min() > 0.09 * 0.2 / -(-count // 4)
    assert (drawn > t[:, :1]).all()
    assert (drawn < t[:, -1:]).all()


def test_fourier_features_are_what_they_say():
    features = FourierFeatures((1.0, 0.0))
    x = torch.tensor([[0.3, 0.8]])
    expected = [-0.2, 0.3, math.sin(math.pi * 0.3), math.sin(2 * math.pi * 0.3)]
    expected += [math.cos(math.pi * 0.3), math.cos(2 * math.pi * 0.3)]
    torch.testing.assert_close(features(x)[0], torch.tensor(expected))
    assert features.features == 6


def test_moments_in_chunks_equal_numpy_with_gaps():
    rng = np.random.default_rng(0)
    data = rng.normal(1e4, 2.0, (11, 5, 6)).astype(np.float32)
    data[rng.random(data.shape) < 0.2] = np.nan
    data[..., 3] = np.nan
    count, mean, variance = moments(data[i : i + 4] for i in range(0, 11, 4))
    flat = data.reshape(-1, 6).astype(np.float64)
    keep = [0, 1, 2, 4, 5]
    np.testing.assert_array_equal(count, np.isfinite(flat).sum(0))
    np.testing.assert_allclose(mean[keep], np.nanmean(flat[:, keep], 0), rtol=1e-9)
    np.testing.assert_allclose(variance[keep], np.nanvar(flat[:, keep], 0), rtol=1e-6)
    assert mean[3] == variance[3] == 0


def test_blocks_are_hidden_whole_and_as_often_as_asked():
    share = torch.tensor([0.0, 0.2, 0.5, 1.0]).repeat_interleave(300)
    hidden = hide_blocks((12, 8, 9), (3, 4, 4), share, seeded())
    assert hidden.shape == (1200, 12, 8, 9)
    assert not hidden[:300].any()
    assert hidden[900:].all()
    found = hidden[300:900].float().flatten(1).mean(1).view(2, 300).mean(1)
    torch.testing.assert_close(found, torch.tensor([0.2, 0.5]), atol=0.03, rtol=0)
    runs = hidden[300:600, 3:9, 3:5, 3:6].float()  # inside a block neighbours share their fate more often than not
    assert (runs[:, 1:] == runs[:, :-1]).float().mean() > 0.85
    assert torch.equal(hidden, hide_blocks((12, 8, 9), (3, 4, 4), share, seeded()))


def test_blocks_of_traces_are_hidden_in_time_and_over_neighbouring_cells():
    hidden = hide_blocks((6, 4), (2, 2), torch.tensor([0.3]), seeded())
    assert hidden.shape == (1, 6, 4)
    assert 0 < hidden.float().mean() < 0.6
