"""Memory of a training step against closed forms."""

import torch

from neurodyn.training.cost import PeakMemory

FLOAT = 4


def test_memory_is_what_lives_at_once():
    with PeakMemory() as memory:
        kept = torch.ones(1000)
        for _ in range(3):
            freed = kept.exp()  # the next one is made before this name lets go of the last
        view = kept[10:].reshape(10, 99)
        view.mul_(2)
    assert memory.peak == 3 * 1000 * FLOAT
    assert memory.now == 2 * 1000 * FLOAT
    del freed
    assert memory.now == 1000 * FLOAT


def test_what_the_backward_pass_keeps_is_counted():
    weight = torch.ones(500, requires_grad=True)
    with PeakMemory() as memory:
        value = weight.exp().exp().exp()  # each result is kept for its own gradient
        assert memory.now == 3 * 500 * FLOAT
        value.sum().backward()
    assert weight.grad is not None
    assert memory.peak >= 5 * 500 * FLOAT
