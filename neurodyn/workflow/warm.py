"""A process that has imported what jobs need, and forks one process per job.

Importing PyTorch takes longer than many a job; a pipeline's jobs on one machine share these imports. What
a job does, prints and returns is what the command does that can be typed by hand.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

WARM = "NEURODYN_WARM"
LOST = 70  # exit code where the process that ran the job has vanished
TOLD = 1024
ENOUGH = 3  # jobs, from which on it is worth while
DIE_WITH_PARENT = 1  # Linux's PR_SET_PDEATHSIG


def ask(address: str, argv: Sequence[str], stdout: int, stderr: int) -> int:
    """Have a command run by the process that listens at an address; return its exit code.

    Parameters
    ----------
    address
        Path of its socket.
    argv
        Arguments after `neurodyn`.
    stdout, stderr
        File descriptors that the command writes to.
    """
    request = json.dumps({"argv": list(argv), "folder": str(Path.cwd()), "environment": dict(os.environ)}).encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.connect(address)
        socket.send_fds(line, [len(request).to_bytes(4, "big")], [stdout, stderr])
        line.sendall(request)
        signal.signal(signal.SIGTERM, lambda *_: line.shutdown(socket.SHUT_WR))
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the job hears it, too, and ends as it sees fit
        answer = line.recv(TOLD)
    if answer:
        return int(answer)
    os.write(stderr, b"Error: the process that ran this job has vanished.\nThe system may have ended it, for memory.\n")
    return LOST


@contextlib.contextmanager
def serving(verbs: Sequence[str], lock: int | None = None) -> Iterator[str | None]:
    """Start such a process; yield its address, or nothing where jobs are few or processes cannot be forked safely.

    Parameters
    ----------
    verbs
        What its jobs do, one by one; their imports are made ready.
    lock
        File descriptor of a lock that it holds, too, as long as it lives.
    """
    if sys.platform != "linux" or len(verbs) < ENOUGH:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="neurodyn-") as folder, _listening(Path(folder) / "jobs") as listener:
        command = [sys.executable, "-P", "-m", "neurodyn.cli.warm", str(listener.fileno()), *dict.fromkeys(verbs)]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        inherited = [listener.fileno(), *([] if lock is None else [lock])]
        with subprocess.Popen(command, pass_fds=inherited, **pipes):  # it ends when its standard input is closed
            listener.close()
            yield str(Path(folder) / "jobs")


def _listening(address: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(address))
    listener.listen(64)
    return listener


def serve(listener: socket.socket, modules: Sequence[str], run: Callable[[], object]) -> None:
    """Fork a process per request until standard input ends; then have the jobs that still run end, and return.

    Parameters
    ----------
    listener
        Socket that already listens, so that those who ask early wait.
    modules
        What to import first; one that is not there is left to the job that needs it.
    run
        Runs the command line in ``sys.argv`` and exits with its code.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for module in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    gc.freeze()  # what is imported stays shared between processes
    _Server(listener, run).work()


class _Server:
    """Running jobs: their processes, and the lines on which their exit codes are awaited."""

    def __init__(self, listener: socket.socket, run: Callable[[], object]) -> None:
        self.listener, self.run = listener, run
        self.lines: dict[int, socket.socket] = {}
        self.selector = selectors.DefaultSelector()
        self.wake, wakened = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(wakened, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakened, warn_on_full_buffer=False)

    def work(self) -> None:
        """Start jobs and tell how they ended, until standard input ends and no job runs."""
        for source, act in ((self.listener, self._start), (self.wake, self._reap), (sys.stdin.fileno(), self._close)):
            self.selector.register(source, selectors.EVENT_READ, act)
        open_for_jobs = True
        while open_for_jobs or self.lines:
            for key, _ in self.selector.select():
                open_for_jobs = key.data() is not False and open_for_jobs

    def _close(self) -> bool:
        self.selector.unregister(sys.stdin.fileno())
        self.selector.unregister(self.listener)
        for process in self.lines:
            os.kill(process, signal.SIGTERM)
        return False

    def _start(self) -> None:
        line, _ = self.listener.accept()
        with contextlib.suppress(OSError, ValueError):
            head, streams, _, _ = socket.recv_fds(line, 4, 2)
            request = json.loads(line.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL))
            process = os.fork()
            if process == 0:
                self._leave(line)
                _become(request, streams, self.run)
            for stream in streams:
                os.close(stream)
            self.lines[process] = line
            self.selector.register(line, selectors.EVENT_READ, lambda: self._hang_up(process))
            return
        line.close()

    def _leave(self, line: socket.socket) -> None:
        """Close, in a job, what is the server's: a line that only the dead hold must end."""
        signal.set_wakeup_fd(-1)
        self.selector.close()
        for mine in (line, self.listener, *self.lines.values()):
            mine.close()
        die_with_parent(signal.SIGTERM)

    def _hang_up(self, process: int) -> None:
        """End the job of one that waits no longer, or was told to end it."""
        if process in self.lines:  # not told in the meantime
            self.selector.unregister(self.lines[process])
            os.kill(process, signal.SIGTERM)

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self.wake, TOLD):
                pass
        with contextlib.suppress(ChildProcessError):
            while True:
                process, status = os.waitpid(-1, os.WNOHANG)
                if not process:
                    break
                self._tell(process, os.waitstatus_to_exitcode(status))

    def _tell(self, process: int, code: int) -> None:
        line = self.lines.pop(process)
        with contextlib.suppress(KeyError):
            self.selector.unregister(line)
        with contextlib.suppress(OSError):
            line.sendall(str(shell_code(code)).encode())
        line.close()


def die_with_parent(number: int) -> None:
    """Have the system send this process a signal when its parent ends, where the system can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, number)


def shell_code(status: int) -> int:
    """Return the exit code that a shell gives a process, also one that a signal ended."""
    return status if status >= 0 else 128 - status


def _become(request: dict, streams: Sequence[int], run: Callable[[], object]) -> None:
    """Turn a forked process into a job; it never returns."""
    code = LOST
    try:
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (streams[0], 1), (streams[1], 2)):
            os.dup2(source, target)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.argv = ["neurodyn", *request["argv"]]
        run()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
