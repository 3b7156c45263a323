"""Several processes that train one model together: how they are started, how they end, what is heard of their errors."""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import ProcessException, spawn

from neurodyn.core import errors
from neurodyn.core.errors import NeurodynError, WorkError
from neurodyn.core.log import LOGGER, log_to
from neurodyn.training.devices import Devices, reproducible
from neurodyn.training.stability import Progress

PATIENCE = 2.0  # s
LIBRARY_LOG = "TORCH_CPP_LOG_LEVEL"
OURS = re.compile(r"neurodyn\.core\.errors\.(\w+): (.*)\n(.*)\n(.*)\s*\Z")


@dataclass(frozen=True)
class Ranks:
    """One process among those that train one model together.

    Parameters
    ----------
    rank
        Its number.
    count
        Number of processes.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes and tells."""
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """Add up over all processes."""
        if self.count > 1:
            values = values.detach().clone()
            distributed.all_reduce(values)
        return values

    def add_gradients(self, model: nn.Module) -> None:
        """Give every parameter the sum of its gradients; one that no process reached keeps none, as in one process."""
        if self.count == 1:
            return
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        reached = self.total(torch.tensor([float(one.grad is not None) for one in trained], device=trained[0].device))
        for parameter, times in zip(trained, reached.tolist(), strict=True):
            if times:
                gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                distributed.all_reduce(gradient)
                parameter.grad = gradient

    def share_buffers(self, model: nn.Module) -> None:
        """Give all processes the first one's buffers."""
        if self.count > 1:
            for buffer in model.buffers():
                distributed.broadcast(buffer, 0)

    def own(self, model: nn.Module) -> None:
        """Copy what came from another process: torch sends tensors as shared memory, and all would move the same weights."""
        if self.count > 1:
            for tensor in (*model.parameters(), *model.buffers()):
                tensor.data = tensor.data.clone()

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.count > 1:
            distributed.barrier()


def run_ranks(work: Callable[[Ranks, torch.device], None], devices: Devices, threads: int, log: Path) -> None:
    """Run something in as many new processes as there are devices, as ranks that know of each other.

    What launchers and schedulers (torchrun, SLURM) say of ranks in the environment is not asked: a training within a job
    of 4 tasks is not one of 4.

    Parameters
    ----------
    work
        Takes the rank and its device; must be picklable.
    threads
        Of every process.
    log
        Where the first of them logs, too.

    Raises
    ------
    NeurodynError
        What one of them raised, where it is ours.
    WorkError
        If one of them failed otherwise, or died.
    """
    with tempfile.TemporaryDirectory() as folder, _library_log(), _ended():
        meeting = str(Path(folder) / "ranks")
        spawn(_rank, (work, devices, threads, log, meeting), nprocs=devices.ranks)


def _rank(
    rank: int, work: Callable[[Ranks, torch.device], None], devices: Devices, threads: int, log: Path, meeting: str
) -> None:
    """Be one of several processes: say nothing, and end with the one that started it."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    device = torch.device("cuda", devices.gpus[rank]) if devices.gpus else torch.device("cpu")
    if devices.gpus:
        torch.cuda.set_device(device)
    if rank == 0:
        LOGGER.setLevel(logging.INFO)
        log_to(log)
    library = "nccl" if devices.gpus else "gloo"
    distributed.init_process_group(library, f"file://{meeting}", rank=rank, world_size=devices.ranks)
    with reproducible(threads, devices):
        work(Ranks(rank, devices.ranks), device)
    distributed.destroy_process_group()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _library_log() -> Iterator[None]:
    """Have the processes to come say no more of PyTorch's inner life than errors, unless someone wants to hear it."""
    before = os.environ.get(LIBRARY_LOG)
    os.environ.setdefault(LIBRARY_LOG, "ERROR")
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(LIBRARY_LOG, None)


@contextmanager
def _ended() -> Iterator[None]:
    """Let no process that is started meanwhile live on, and raise what one of them said."""
    before = multiprocessing.active_children()
    try:
        yield
    except ProcessException as error:
        raise told(error) from error
    finally:  # the launcher knows its processes only once all have started
        for process in multiprocessing.active_children():
            if process not in before:
                process.kill()
                process.join()


@contextmanager
def heard(progress: Progress | None, ranks: int) -> Iterator[Progress | None]:
    """Yield what the first process may call in place of `progress`, and call it here.

    What it raises is raised here, once training has ended.
    """
    if progress is None or ranks < 2:
        yield progress
        return
    mine, theirs = multiprocessing.get_context("spawn").Pipe(duplex=False)
    failed: list[BaseException] = []
    listener = threading.Thread(target=_listen, args=(mine, progress, failed), daemon=True)
    listener.start()
    patience = PATIENCE
    try:
        yield theirs.send
        patience = None
    finally:
        theirs.close()
        listener.join(patience)  # not for ever: a process stopped while it starts holds the other end until it reads
    if failed:
        raise failed[0]


def _listen(connection: Connection, progress: Progress, failed: list[BaseException]) -> None:
    with suppress(EOFError):
        while True:
            row = connection.recv()
            if not failed:
                try:
                    progress(row)
                except Exception as error:  # noqa: BLE001 - raised again by `heard`
                    failed.append(error)


def told(error: ProcessException) -> NeurodynError:
    """Return what a process said before it ended."""
    text = str(error).strip()
    ours = OURS.search(text)
    kind = getattr(errors, ours.group(1), None) if ours else None
    if ours and isinstance(kind, type) and issubclass(kind, NeurodynError):
        return kind(*ours.groups()[1:])
    return WorkError(
        "Training ended in one of its processes.",
        text.splitlines()[-1],
        "Type it again to go on after the last epoch; with less memory: --set training.accumulate=2 and half the batch",
    )
