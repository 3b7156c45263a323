"""Time of one training step of CaLFADS on the paper's problem, beside the same model as a plain loop over bins."""

import math
import time

import numpy as np
import pytest
import torch
from torch import nn

from neurodyn.backends.batch import Batch
from neurodyn.backends.calfads import CaLFADS, CaLFADSConfig
from neurodyn.backends.layout import Layout

BATCH, BINS, CELLS = 65, 100, 30
SIZES = {
    "repository's sizes": {"encoder": 32, "controller": 32, "latent": 64, "deep_encoder": 64},
    "Table S1": {"encoder": 128, "controller": 128, "latent": 100, "deep_encoder": 64},
}
GOAL = {"repository's sizes": 0.06, "Table S1": 0.1225}
OFFICIAL = {"repository's sizes": 0.24, "Table S1": 0.49}


class PlainLoop(nn.Module):
    """CaLFADS bin by bin with nn.GRUCell, as one would write it down."""

    def __init__(self, encoder: int, controller: int, latent: int, deep_encoder: int) -> None:
        super().__init__()
        self.shallow = nn.ModuleList(nn.GRUCell(CELLS, encoder) for _ in range(2))
        self.deep = nn.ModuleList(nn.GRUCell(CELLS, deep_encoder) for _ in range(2))
        self.control = nn.GRUCell(2 * encoder + CELLS, controller)
        self.generator = nn.GRUCell(1, 64)
        self.posterior, self.start = nn.Linear(controller, 2 * latent), nn.Linear(2 * deep_encoder, 2 * 64)
        self.factors, self.rates = nn.Linear(64, 3, bias=False), nn.Linear(3, CELLS)
        self.readout = nn.Linear(latent + 3, CELLS)
        nn.init.normal_(self.readout.weight, std=0.01)
        self.latent = latent

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        forth, back = (_walk(cells, x) for cells in (self.shallow, self.deep))
        encoded = torch.cat(forth, dim=-1)
        mean, logvar = self.start(torch.cat([back[0][:, -1], back[1][:, 0]], dim=-1)).chunk(2, dim=-1)
        state = mean + torch.exp(0.5 * logvar) * torch.randn_like(mean)
        total = 0.5 * (logvar.exp() + mean**2 - 1 - logvar).sum()
        control = x.new_zeros(len(x), self.control.hidden_size)
        calcium, nothing = torch.zeros_like(x[:, 0]), x.new_zeros(len(x), 1)
        for t in range(x.shape[1]):
            state = self.generator(nothing, state)
            factors = self.factors(state)
            control = self.control(torch.cat([encoded[:, t], calcium], dim=-1), control)
            mean, logvar = self.posterior(control).chunk(2, dim=-1)
            z = mean + torch.exp(0.5 * logvar) * torch.randn_like(mean)
            spikes = torch.relu(torch.exp(self.readout(torch.cat([z, factors], dim=-1)).clamp(max=6)) - 1)
            calcium = math.exp(-1 / 3) * calcium + spikes
            log_rate = self.rates(factors)
            total = total + 0.5 * (((x[:, t] - calcium) / 0.2) ** 2).sum() + (log_rate.exp() - spikes * log_rate).sum()
            total = total + 0.5 * (logvar.exp() + mean**2 - 1 - logvar).sum()
        return total / len(x)


def _walk(cells: nn.ModuleList, x: torch.Tensor) -> list[torch.Tensor]:
    courses = []
    for cell, order in zip(cells, (range(BINS), reversed(range(BINS))), strict=True):
        h, states = x.new_zeros(len(x), cell.hidden_size), {}
        for t in order:
            h = cell(x[:, t], h)
            states[t] = h
        courses.append(torch.stack([states[t] for t in range(BINS)], dim=1))
    return courses


def steps(parameters, loss, count: int) -> np.ndarray:
    """Return seconds of each training step: loss, gradients, clipping and Adam, as in training."""
    optimizer, times = torch.optim.AdamW(parameters, lr=1e-3, fused=True), []
    for _ in range(count + 2):
        begin = time.perf_counter()
        optimizer.zero_grad()
        loss().backward()
        nn.utils.clip_grad_norm_(parameters, 200)
        optimizer.step()
        times.append(time.perf_counter() - begin)
    return np.array(times[2:])


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_a_training_step_takes_a_quarter_of_the_official_time(name):
    from neurodyn.core.processor import keep_freed_memory
    from neurodyn.training.devices import Devices, reproducible

    keep_freed_memory()
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.gamma(0.5, 1.0, (BATCH, BINS, CELLS)).astype(np.float32))
    seen = torch.ones_like(x, dtype=torch.bool)
    batch = Batch(x, (torch.arange(BINS) / 10).expand(BATCH, -1), seen, seen, torch.zeros(BATCH, dtype=torch.long))
    config = CaLFADSConfig(**SIZES[name], factors=3, tau=0.3, gain=1.0, initial_calcium="zero")
    ours = CaLFADS(config, Layout(BINS, (CELLS,), 10.0, np.ones(CELLS, dtype=bool)))
    ours.prepare([x.numpy()])
    plain, draws = PlainLoop(**SIZES[name]), torch.Generator().manual_seed(0)
    with reproducible(1, Devices(())):
        fused = steps(list(ours.parameters()), lambda: torch.stack(list(ours.loss(batch, draws).values())).sum(), 20)
        loop = steps(list(plain.parameters()), lambda: plain.loss(x), 8)
    ratio = np.median(fused) / np.median(loop)
    print(
        f"\nCaLFADS training step, {name}: ours median {np.median(fused):.4f} s (least {fused.min():.4f}), "
        f"loop of GRUCells {np.median(loop):.4f} s (least {loop.min():.4f}), ratio {ratio:.3f}; "
        f"official {OFFICIAL[name]} s, a quarter is {GOAL[name]} s"
    )
    assert ratio < 0.5
    assert fused.min() < GOAL[name]
