"""Give damaged sources to a worker process; a crash and a hang are findings as an unknown exception is."""

import contextlib
import json
import select
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.mutations import damage

SECONDS = 60.0
FINE = ("ok", "said")
OPTIONS: dict[str, dict[str, Any]] = {
    name: {"fs": 20.0} for name in ("tiff", "hdf5", "numpy", "suite2p", "matlab", "zarr", "wfield", "wfield-results")
}


class Worker:
    """A process that reads sources, started anew whenever one has killed or stopped it."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self._process: subprocess.Popen[str] | None = None
        self._warm: list[list[Any]] = []

    def warm_up(self, reader: str, path: Path, options: dict[str, Any]) -> None:
        """Have a whole source read before the limit on memory is set: what is imported does not count."""
        self._warm.append([reader, str(path), options])

    def read(self, reader: str, path: Path, options: dict[str, Any]) -> tuple[str, str]:
        """Return what came of it: ok, said (one of our errors), memory, fault, crash or hang; and the text."""
        if self._process is None:
            self._start()
        kind, text = self._ask([reader, str(path), options], self.seconds)
        if kind in ("crash", "hang"):
            self.close()
        return kind, text

    def _start(self) -> None:
        command = [sys.executable, "-X", "faulthandler", "-m", "tests.fuzz.worker"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._answer(300)[0] == "ready"
        for one in self._warm:
            kind, text = self._ask(one, 300)
            assert kind == "ok", f"the whole source is not read: {one} {kind} {text}"
        assert self._ask(["limit", "", {}], 60)[0] == "ok"

    def _ask(self, question: list[Any], seconds: float) -> tuple[str, str]:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self._answer(seconds)

    def _answer(self, seconds: float) -> tuple[str, str]:
        assert self._process is not None and self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            return "hang", f"no answer in {seconds:g} s"
        line = self._process.stdout.readline()
        if not line:
            return "crash", f"the process died: {self._process.wait()}"
        kind, text = json.loads(line)
        return kind, text

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            with self._process:
                pass
            self._process = None


def options_of(reader: str, variant: str) -> list[dict[str, Any]]:
    """Return the options a source is read with."""
    plain = OPTIONS.get(reader, {})
    if variant == "ome" and reader == "zarr":
        plain = {}
    return [plain, {"pickle": True}] if reader == "suite2p" else [plain]


def trial(worker: Worker, reader: str, source: Path, options: dict[str, Any], random: Random, folder: Path) -> Any:
    """Damage a source in an empty folder and have it read; return kind, text and the damaged copy."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    copy = damage(source, folder / source.name, random)
    return *worker.read(reader, copy, options), copy
