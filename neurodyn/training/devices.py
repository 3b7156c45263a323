"""Which device computes, and how to compute the same twice."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neurodyn.core.errors import ConfigError
from neurodyn.core.log import LOGGER

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Devices:
    """CPU, or chosen GPUs.

    Parameters
    ----------
    gpus
        Indices among the visible GPUs; () means the CPU.
    processes
        Processes on the CPU.
    """

    gpus: tuple[int, ...]
    processes: int = 1

    @property
    def ranks(self) -> int:
        """Processes that train together: one per GPU, or those on the CPU."""
        return len(self.gpus) or self.processes

    @property
    def first(self) -> torch.device:
        """The device for work that one device does."""
        import torch

        return torch.device("cuda", self.gpus[0]) if self.gpus else torch.device("cpu")


def describe_gpus() -> str:
    """Name the visible GPUs, or say that there is none."""
    import torch

    names = [f"{index}: {torch.cuda.get_device_name(index)}" for index in range(torch.cuda.device_count())]
    return ", ".join(names) or "none"


def choose_devices(gpu: str, processes: int = 1) -> Devices:
    """Read `--gpu`.

    Parameters
    ----------
    gpu
        "none", "auto" (the first GPU if there is one), "all", or indices of visible GPUs: "0", "0,1".
    processes
        Processes, where the CPU computes.

    Raises
    ------
    ConfigError
        If it cannot be read, or names a GPU that is not there.
    """
    if gpu == "none":
        return Devices((), processes)
    import torch

    found = torch.cuda.device_count()
    if gpu == "auto":
        if not found:
            LOGGER.info("No GPU found: using the CPU.")
        return Devices((0,) if found else (), processes)
    try:
        wanted = tuple(range(found)) if gpu == "all" else tuple(int(part) for part in gpu.split(","))
    except ValueError:
        raise ConfigError(
            f"--gpu {gpu} cannot be read.", "Expected 0, 0,1, all, auto or none.", "Example: --gpu auto"
        ) from None
    if not wanted or len(set(wanted)) < len(wanted) or any(not 0 <= index < found for index in wanted):
        raise ConfigError(
            f"--gpu {gpu} is not available.",
            f"Found {found} visible GPU{'' if found == 1 else 's'}{f', numbered 0 to {found - 1}' if found else ''}.",
            "Use --gpu auto, or --gpu none for the CPU.",
        )
    return Devices(wanted, processes)


@contextlib.contextmanager
def reproducible(threads: int, devices: Devices) -> Iterator[None]:
    """Compute with deterministic algorithms and a fixed number of threads; restore PyTorch's state afterwards."""
    import scipy.linalg  # noqa: F401 - its BLAS must be loaded before its threads can be limited
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    if devices.gpus:
        os.environ.setdefault(
            "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
        )  # cuBLAS is deterministic only with a fixed workspace
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode("error")  # `use_deterministic_algorithms` is the same and imports the compiler
    try:
        with threadpool_limits(threads, user_api="blas"), torch.random.fork_rng(devices=list(devices.gpus)):
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.set_deterministic_debug_mode(before[1])
