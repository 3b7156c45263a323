"""PyTorch's optimisers without its compiler.

PyTorch imports its compiler when an optimiser is made or takes a step, only to keep the compiler out of these methods. That
import takes longer than PyTorch's own, before every training; nothing here is compiled, so the methods are called as they are.
"""

from __future__ import annotations

import inspect

import torch


def _plain(kind: type[torch.optim.Optimizer]) -> dict[str, object]:
    names = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    return {name: inspect.unwrap(getattr(kind, name)) for name in names} | {
        "step": torch.no_grad()(inspect.unwrap(kind.step))
    }


Adam: type[torch.optim.Adam] = type("Adam", (torch.optim.Adam,), _plain(torch.optim.Adam))
AdamW: type[torch.optim.AdamW] = type("AdamW", (torch.optim.AdamW,), _plain(torch.optim.AdamW))
