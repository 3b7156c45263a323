"""Readers answer damaged files with an error of neurodyn's or with what is still readable: never with another one.

Longer: `uv run pytest -m slow -n 0 tests/fuzz`, or as long as one likes: `uv run python -m tests.fuzz --minutes 10`.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from neurodyn.readers.read import READERS
from tests.fuzz.harness import FINE, OPTIONS, Worker, options_of, trial
from tests.fuzz.sources import SOURCES

INPUTS = Path(__file__).parent / "inputs"
CASES = [(reader, variant) for reader, variants in SOURCES.items() for variant in variants]
FIXED: dict[str, Any] = {
    "derandomize": True,
    "database": None,
    "deadline": None,
    "phases": [Phase.explicit, Phase.generate],
    "suppress_health_check": list(HealthCheck),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """A whole source of every kind."""
    return {(reader, variant): SOURCES[reader][variant](tmp_path_factory.mktemp(reader)) for reader, variant in CASES}


@pytest.fixture(scope="module")
def worker(whole: dict[tuple[str, str], Path]) -> Iterator[Worker]:
    """A process that reads them all before its memory is limited."""
    worker = Worker()
    for (reader, variant), path in whole.items():
        for options in options_of(reader, variant):
            worker.warm_up(reader, path, options)
    yield worker
    worker.close()


def test_every_reader_is_fuzzed():
    assert set(SOURCES) == set(READERS.names())


def attempt(case: tuple[str, str], whole: Any, worker: Worker, random: Random, folder: Path) -> None:
    for options in options_of(*case):
        kind, text, copy = trial(worker, case[0], whole[case], options, random, folder)
        assert kind in FINE, f"{copy}: {kind}\n{text}"


def attempt_many(examples: int, case: tuple[str, str], whole: Any, worker: Worker, folder: Path) -> None:
    @settings(max_examples=examples, **FIXED)
    @given(seed=st.integers(0, 2**32))
    def damaged(seed):
        attempt(case, whole, worker, Random(seed), folder)

    damaged()


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_a_few_damaged_files(case, whole, worker, tmp_path):
    attempt_many(2, case, whole, worker, tmp_path / "damaged")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_many_damaged_files(case, whole, worker, tmp_path):
    attempt_many(300, case, whole, worker, tmp_path / "damaged")


@pytest.mark.parametrize("kept", sorted(INPUTS.iterdir()), ids=lambda kept: kept.name)
def test_what_was_found_before(kept, worker, tmp_path):
    """Inputs that once ended in another exception, in a crash or in all memory taken."""
    copy = Path(shutil.copytree(kept, tmp_path / "kept"))
    reader = next(name for name in sorted(SOURCES, key=len, reverse=True) if kept.name.startswith(f"{name}-"))
    source = next(iter(sorted(copy.iterdir())))
    options = [{"pickle": True}, OPTIONS[reader]] if reader == "suite2p" else [OPTIONS.get(reader, {})]
    for one in options:
        kind, text = worker.read(reader, source, one)
        assert kind in FINE, text
