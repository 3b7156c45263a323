"""Weights of spike networks as files: those that come with neurodyn, and a lab's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple
from importlib.resources import files
from pathlib import Path

import numpy as np

from neurodyn.calcium.spike_network import Layer, RateSpread, SpikeNetwork
from neurodyn.core.errors import DataError

SHIPPED, CAUSAL = "spike_network.safetensors", "spike_network_causal.safetensors"


def load(path: Path | None = None, causal: bool = False) -> SpikeNetwork:
    """Read a network's weights; without a path those that come with neurodyn.

    Parameters
    ----------
    causal
        Those that come with neurodyn and see no further ahead than a tenth of a second.

    Raises
    ------
    DataError
        If the file holds no such network.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as parse

    name = path or files("neurodyn.calcium") / (CAUSAL if causal else SHIPPED)
    try:
        tensors = parse(name.read_bytes())
        return SpikeNetwork(
            tuple(_members(tensors)),
            float(tensors["share"]),
            tuple(tensors["delay"].tolist()),
            RateSpread(*tensors["spread"].tolist()) if "spread" in tensors else None,
            float(tensors["lookahead"]) if "lookahead" in tensors else None,
        )
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise DataError(
            f"{name} holds no spike network.",
            f"{type(error).__name__}: {error}",
            "Train one: neurodyn train-spikes GROUND_TRUTH… -o FILE.safetensors",
        ) from error


def save(network: SpikeNetwork, path: Path) -> None:
    """Write a network's weights, .safetensors: MEMBER.LAYER.weight, shape (output, input), and .bias; its other fields."""
    from safetensors.numpy import save as written

    tensors = {"share": np.array(network.share, dtype=np.float32), "delay": np.array(network.delay, dtype=np.float32)}
    if network.spread is not None:
        tensors["spread"] = np.array(astuple(network.spread), dtype=np.float32)
    if network.lookahead is not None:
        tensors["lookahead"] = np.array(network.lookahead, dtype=np.float32)
    for member, layers in enumerate(network.members):
        for place, layer in enumerate(layers):
            tensors[f"{member}.{place}.weight"] = np.ascontiguousarray(layer.weight.T)
            tensors[f"{member}.{place}.bias"] = layer.bias
    path.write_bytes(written(tensors))  # save_file would leave it to its owner alone


def _members(tensors: dict[str, np.ndarray]) -> Iterator[tuple[Layer, ...]]:
    members = 1 + max(int(name.split(".")[0]) for name in tensors if name.endswith(".weight"))
    for member in range(members):
        count = sum(name.startswith(f"{member}.") for name in tensors) // 2
        names = [f"{member}.{layer}" for layer in range(count)]
        yield tuple(Layer(tensors[f"{name}.weight"].T.copy(), tensors[f"{name}.bias"]) for name in names)
