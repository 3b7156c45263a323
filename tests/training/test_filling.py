"""What is hidden from a model, and what it still sees."""

import torch

from neurodyn.backends.batch import Batch, Signal
from neurodyn.training.filling import hide_signals


def test_a_hidden_channel_leaves_the_others_and_hidden_frames_do_not():
    x = torch.zeros(1, 4, 2, 2)
    there = torch.ones_like(x, dtype=torch.bool)
    aside = torch.ones(1, 4, 1, dtype=torch.bool)
    batch = Batch(x, torch.arange(4)[None] / 10, there, there, torch.zeros(1, dtype=torch.long))
    batch = Batch(**{**batch.__dict__, "others": (Signal(torch.zeros(1, 4, 1), aside, aside),)})
    hidden = torch.zeros_like(there)
    hidden[:, 1:3] = True
    alone = hide_signals(batch, 0, hidden, everything=False)
    assert alone.others[0].visible.all() and not alone.visible[:, 1:3].any()
    everything = hide_signals(batch, 0, hidden, everything=True)
    assert everything.others[0].visible[0, :, 0].tolist() == [True, False, False, True]
    other = hide_signals(batch, 1, hidden[..., 0, :1], everything=False)
    assert other.visible.all() and other.others[0].visible[0, :, 0].tolist() == [True, False, False, True]
