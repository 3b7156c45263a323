"""Frames standardised by training statistics."""

import numpy as np
import pytest
import torch

from neurodyn.nn.frames import Frames
from neurodyn.nn.parts import mean_where


def data() -> tuple[np.ndarray, np.ndarray]:
    brain = np.ones((4, 3), bool)
    brain[0, :2] = False
    values = np.random.default_rng(0).normal(5, 2, (20, 6, 4, 3)) * np.arange(1, 13).reshape(4, 3)
    values[:, :, ~brain] = np.nan
    values[0, 1, 3, 2] = np.nan
    return values.astype(np.float32), brain


@pytest.mark.parametrize("image", [True, False])
@pytest.mark.parametrize("normalise", ["entry", "global"])
def test_they_are_z_scored_and_come_back(image, normalise):
    values, brain = data()
    frames = Frames(brain, image)
    frames.fit([values[:7], values[7:]], normalise)
    valid = torch.from_numpy(np.isfinite(values))
    x = torch.from_numpy(np.nan_to_num(values))
    z, seen = frames.standardised(x, valid), frames.mask(valid)
    assert z.shape == seen.shape == (20, 6, *((4, 3) if image else (10,)))
    assert (z[~seen] == 0).all()
    assert torch.equal(frames.inside.expand(seen.shape), frames.mask(torch.from_numpy(brain).expand(x.shape)))
    axes = (0, 1) if normalise == "entry" else (0, 1, 2, 3)
    filled = np.where(brain, values, 0.0)  # some of whose entries have no mean
    spread = np.nanstd(filled if normalise == "entry" else values, axes)
    mean = np.nanmean(filled if normalise == "entry" else values, axes)
    expected = ((values - mean) / np.where(spread > 0, spread, 1.0))[valid.numpy()]
    np.testing.assert_allclose(z[seen], expected, rtol=1e-3, atol=1e-4)
    back = frames.restored(z)
    torch.testing.assert_close(back[valid], x[valid])
    assert (back[:, :, ~brain] == 0).all()


def test_traces_are_images_of_height_one():
    frames = Frames(np.ones(5, bool))
    x = torch.randn(2, 3, 5)
    seen = torch.ones_like(x, dtype=torch.bool)
    assert frames.standardised(x, seen).shape == frames.mask(seen).shape == (2, 3, 1, 5)
    torch.testing.assert_close(frames.restored(frames.standardised(x, seen)), x)


def test_averages_over_chosen_entries():
    values = torch.tensor([1.0, 2.0, float("nan")])
    assert mean_where(values, torch.tensor([True, True, False])) == 1.5
    assert mean_where(values, torch.zeros(3, dtype=torch.bool)) == 0
