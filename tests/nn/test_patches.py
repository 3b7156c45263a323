"""Frames to tokens and back."""

import numpy as np
import pytest
import torch

from neurodyn.core.errors import ConfigError
from neurodyn.nn.patches import Patches


@pytest.mark.parametrize("shape", [(8, 12), (9, 10), (7, 5)])
def test_splitting_and_joining_give_the_frame_back(shape):
    patches = Patches(np.ones(shape, bool), (4, 3))
    frames = torch.rand(2, 5, *shape)
    assert torch.equal(patches.join(patches.split(frames)), frames)
    assert patches.inside.sum() == shape[0] * shape[1]


def test_tokens_hold_the_pixels_of_their_patch_in_reading_order():
    patches = Patches(np.ones((4, 6), bool), (2, 3))
    frame = torch.arange(24.0).reshape(1, 1, 4, 6)
    assert patches.split(frame)[0, 0].tolist() == [
        frame[0, 0, r : r + 2, c : c + 3].flatten().tolist() for r in (0, 2) for c in (0, 3)
    ]
    torch.testing.assert_close(patches.centres[1], torch.tensor([0.25, 0.75]))


def test_patches_without_brain_are_dropped_and_pixels_outside_are_zero():
    brain = np.zeros((4, 6), bool)
    brain[0, 0] = brain[3, 5] = True
    patches = Patches(brain, (2, 3))
    assert patches.sites.tolist() == [0, 3]
    frames = torch.rand(1, 2, 4, 6) + 1
    tokens = patches.split(frames)
    assert (tokens != 0).sum() == 4
    assert torch.equal(patches.join(tokens), frames * torch.from_numpy(brain))
    assert patches.scatter(torch.tensor([[5.0, 7.0]])).tolist() == [[5.0, 0.0, 0.0, 7.0]]


def test_traces_are_one_patch():
    patches = Patches(np.ones(11, bool), (8, 8))
    traces = torch.rand(2, 3, 11)
    assert patches.split(traces).shape == (2, 3, 1, 11)
    assert torch.equal(patches.join(patches.split(traces)), traces)


def test_traces_are_split_into_patches_of_some_rois():
    brain = np.ones(11, bool)
    brain[8:] = False
    patches = Patches(brain, (8, 8), rois=4)
    traces = torch.rand(2, 3, 11)
    tokens = patches.split(traces)
    assert tokens.shape == (2, 3, 2, 4)  # the third holds no data
    assert torch.equal(tokens[:, :, 1], traces[..., 4:8])
    assert torch.equal(patches.join(tokens), traces * torch.from_numpy(brain))
    assert Patches(brain, (8, 8), rois=50).split(traces).shape == (2, 3, 1, 11)


def test_bad_patches_are_refused():
    with pytest.raises(ConfigError, match="do not fit"):
        Patches(np.ones((8, 8), bool), (9, 4))
    with pytest.raises(ConfigError, match="empty"):
        Patches(np.zeros((8, 8), bool), (4, 4))
