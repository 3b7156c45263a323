"""Run the command line in this process, as a shell would see it."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from neurodyn.cli import app


@dataclass(frozen=True)
class Outcome:
    """Exit code and what was printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def neurodyn(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Return a function that runs `neurodyn ARGS` and returns its outcome."""

    def run(*args: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["neurodyn", *map(str, args)])
        with pytest.raises(SystemExit) as stop:
            app.main()
        captured = capsys.readouterr()
        return Outcome(int(stop.value.code or 0), captured.out, captured.err)

    return run
