"""Several processes that train one model together: how they are started, how they end, what is heard of their errors."""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection

import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.strategies import DDPStrategy
from threadpoolctl import threadpool_limits
from torch.multiprocessing.spawn import ProcessException

from neurodyn.core import errors
from neurodyn.core.errors import NeurodynError, WorkError
from neurodyn.training.stability import Progress

CHATTY = ("pytorch_lightning", "lightning.pytorch", "lightning_fabric")
LAUNCHERS = ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT", "STANDALONE_PORT")
PATIENCE = 2.0  # s
LIBRARY_LOG = "TORCH_CPP_LOG_LEVEL"
OURS = re.compile(r"neurodyn\.core\.errors\.(\w+): (.*)\n(.*)\n(.*)\s*\Z")


@contextmanager
def own_ranks() -> Iterator[LightningEnvironment]:
    """Yield an environment whose processes are those that we start ourselves, whatever a launcher has left in the air.

    Schedulers and launchers (SLURM, torchrun) tell processes their ranks in the environment, and Lightning would take a
    training within a job of 4 tasks for one of 4. Here a training is one process, or starts its own.
    """
    before = {name: os.environ.get(name) for name in (*LAUNCHERS, LIBRARY_LOG)}
    for name in LAUNCHERS:
        os.environ.pop(name, None)
    os.environ.setdefault(LIBRARY_LOG, "ERROR")  # read by the processes to come
    environment = LightningEnvironment()
    environment.set_global_rank(0)
    try:
        yield environment
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def hush() -> None:
    """Have the trainer say nothing in this process; its errors are told by the one that started it."""
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=UserWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)


def together(ranks: int) -> DDPStrategy | str:
    """Return how so many processes train together; not every step need reach every parameter."""
    return "auto" if ranks < 2 else DDPStrategy(start_method="spawn", find_unused_parameters=True)


@contextmanager
def ended() -> Iterator[None]:
    """Let no process that is started meanwhile live on.

    Raises
    ------
    NeurodynError
        What one of them raised, where it is ours.
    WorkError
        If one of them failed otherwise, or died.
    """
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


def arrive() -> None:
    """Begin in a process that was started to train with others: say nothing, and end with the one that started it."""
    hush()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def join_in(threads: int) -> None:
    """Prepare a process for training with others: its threads, and its end when it is told to."""
    torch.set_num_threads(threads)
    threadpool_limits(threads, user_api="blas")
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # Lightning would tell the others, who may be gone


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
