"""Time of one training step of CST: the published size with every attention, and what the regulariser costs."""

import time

import numpy as np
import pytest
import torch
from torch import nn

from neurodyn.backends.batch import Batch
from neurodyn.backends.cst import CST, CSTConfig
from neurodyn.backends.layout import Layout
from neurodyn.core.processor import keep_freed_memory

OFFICIAL = {"full": (3.9, 5.0), "nystrom": (9.5, 11.6)}
GOAL = {"full": 3.9 / 2, "factorised": 3.9 / 6}
SMALL = {"official": True, "patch": (23, 16), "width": 384, "heads": 6, "layers": 6, "feedforward": 3072, "query": "joint", "residual": False}  # fmt: skip


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    keep_freed_memory()
    yield
    torch.set_num_threads(before)


def batch_of(count: int, frames: int, space: tuple[int, ...]) -> Batch:
    x = torch.randn(count, frames, *space, generator=torch.Generator().manual_seed(0))
    seen = torch.ones(x.shape, dtype=torch.bool)
    t = (torch.arange(frames) / 10).expand(count, -1)
    return Batch(x, t, seen, seen, torch.zeros(count, dtype=torch.long))


def seconds(step, count: int = 5) -> np.ndarray:
    """Return the time of each call but the first."""
    times = []
    for _ in range(count + 1):
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    return np.array(times[1:])


@pytest.fixture(scope="module")
def small() -> dict[str, np.ndarray]:
    """Seconds of a step on 1040 tokens with every attention, beside a plain encoder of the published size."""
    batch, times = batch_of(1, 10, (184, 208)), {}
    layout = Layout(10, (184, 208), 10.0, np.ones((184, 208), dtype=bool))
    torch.set_num_threads(2)
    keep_freed_memory()
    cases = {kind: {"attention": kind} for kind in ("full", "nystrom", "factorised")}
    cases["factorised, own width of blocks"] = {"attention": "factorised", "feedforward": None}
    for name, chosen in cases.items():
        torch.manual_seed(0)
        model = CST(CSTConfig(**SMALL | chosen), layout)

        def step(model: CST = model) -> None:
            model.zero_grad()
            torch.stack(list(model.loss(batch, torch.Generator().manual_seed(0)).values())).sum().backward()

        times[name] = seconds(step)
    layer = nn.TransformerEncoderLayer(384, 6, 3072, dropout=0.0, activation="gelu", batch_first=True)
    peer, tokens = nn.TransformerEncoder(layer, 6), torch.randn(1, 1040, 384)

    def peer_step() -> None:
        peer.zero_grad()
        peer(tokens).square().mean().backward()

    times["nn.TransformerEncoder"] = seconds(peer_step)
    reference = np.median(times["nn.TransformerEncoder"])
    for name, found in times.items():
        published = f"; official {OFFICIAL[name][0]} to {OFFICIAL[name][1]} s" if name in OFFICIAL else ""
        print(
            f"\nCST-small, 1040 tokens, {name}: median {np.median(found):.2f} s (least {found.min():.2f}), "
            f"ratio to nn.TransformerEncoder {np.median(found) / reference:.2f}{published}"
        )
    return times


@pytest.mark.slow
def test_cst_small_takes_half_the_published_time_and_hardly_more_than_a_plain_encoder(small):
    assert small["full"].min() < GOAL["full"]
    assert np.median(small["full"]) < 1.5 * np.median(small["nn.TransformerEncoder"])


@pytest.mark.slow
@pytest.mark.xfail(strict=True, reason="blocks of 3072 units take most of the time, whatever the attention")
def test_factorised_attention_takes_a_sixth_of_the_published_time(small):
    assert small["factorised"].min() < GOAL["factorised"]


@pytest.mark.slow
@pytest.mark.parametrize("query", ["isolated", "joint"])
def test_the_regulariser_costs_little(query):
    batch, layout = batch_of(10, 10, (2,)), Layout(10, (2,), 9.0, np.ones(2, dtype=bool))
    times = {}
    for name, weights in {"plain": (0.0, 0.0, 0.0), "regularised": (0.0, 1e-6, 1e-6)}.items():
        torch.manual_seed(0)
        config = {"width": 32, "layers": 4, "feedforward": 3072, "query": query, "dummies": 100, "sobolev": weights}
        model = CST(CSTConfig(**config), layout)
        optimizer = torch.optim.AdamW(model.parameters(), fused=True)
        if name == "plain":  # the same tokens, without derivatives
            model._output_and_slopes = lambda *a, model=model: (model._decode(model._encode(a[2]), a[2]), [])
            model.config = CSTConfig(**(config | {"sobolev": (1.0, 0.0, 0.0)}))

        def step(model: CST = model, optimizer: torch.optim.AdamW = optimizer) -> None:
            optimizer.zero_grad()
            torch.stack(list(model.loss(batch, torch.Generator().manual_seed(0)).values())).sum().backward()
            optimizer.step()

        times[name] = seconds(step, 20)
    ratio = np.median(times["regularised"]) / np.median(times["plain"])
    print(f"\nspiral step, 110 tokens, {query}: {np.median(times['regularised']):.4f} s against {np.median(times['plain']):.4f} s, ratio {ratio:.2f}; official 2.6 to 9")  # fmt: skip
    assert ratio < 1.3
