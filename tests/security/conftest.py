"""A payload that leaves a mark if it ever runs."""

import os
from pathlib import Path

import pytest

from tests.cli.conftest import neurodyn
from tests.reliability.conftest import movie, recording, run

__all__ = ["movie", "neurodyn", "recording", "run"]


class Bomb:
    """What is unpickled as a call of `os.mkdir`."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def mark(tmp_path: Path):
    """Where payloads leave their mark; the test fails if one did."""
    place = tmp_path / "the payload ran"
    yield place
    assert not place.exists()
