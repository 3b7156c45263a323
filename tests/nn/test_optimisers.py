"""Optimisers without PyTorch's compiler do what PyTorch's do, and do not import it."""

import copy
import subprocess
import sys

import pytest
import torch

from neurodyn.nn import optimisers

USED = """
import sys, torch
from neurodyn.nn.optimisers import AdamW
from neurodyn.training.devices import choose_devices, reproducible
with reproducible(1, choose_devices("none")):
    weight = torch.nn.Parameter(torch.ones(3))
    optimiser = AdamW([weight])
    weight.square().sum().backward()
    optimiser.step()
    optimiser.zero_grad()
    optimiser.load_state_dict(optimiser.state_dict())
print(*sys.modules)
"""


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_the_same_steps_as_pytorch_s_also_from_its_state(name):
    found = []
    for kind in (getattr(optimisers, name), getattr(torch.optim, name)):
        torch.manual_seed(0)
        model = torch.nn.Linear(4, 3)
        optimiser = kind(
            [{"params": [model.weight]}, {"params": [model.bias], "weight_decay": 0.0}], lr=0.1, weight_decay=0.2
        )
        for _ in range(3):
            optimiser.zero_grad()
            model(torch.ones(2, 4)).square().sum().backward()
            optimiser.step()
        again = kind(optimiser.param_groups, lr=0.1)
        again.load_state_dict(copy.deepcopy(optimiser.state_dict()))
        again.step()
        assert model.weight.requires_grad
        found.append([model.weight.detach().clone(), model.bias.detach().clone()])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*found, strict=True))


def test_the_compiler_is_not_imported():
    done = subprocess.run([sys.executable, "-c", USED], capture_output=True, text=True, check=True)
    assert not {"torch._dynamo", "torch._inductor", "sympy"} & set(done.stdout.split())
