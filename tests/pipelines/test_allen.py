"""The pipelines of the Allen Brain Observatory, from written session files to tables: pytest -m slow -n 0 THIS."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from neurodyn.data.scores import read_scores
from tests.fetch import allen_api
from tests.readers.allen_files import session

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def run(pipeline: str, files: list[Path], out: Path, *sets: str, **more: str) -> None:
    words = [word for one in sets for word in ("--set", one)]
    command = [sys.executable, "-m", "neurodyn", "run", pipeline, *map(str, files), "-o", str(out), *words]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | more, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def sessions(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("allen")
    return [
        session(folder / f"{number}.nwb", "A", cells=4, experiment=number, seed=number, trials=30) for number in (1, 2)
    ]


def test_forecasts(sessions, tmp_path):
    short = [
        f"jobs.{job}.set.training={{epochs: 2, steps_per_epoch: 3, warmup: 0, batch: 8}}"
        for job in ("vocabulary", "trained", "quantformer")
    ]
    rows = ["matrices.trained=[{model: [nlinear, patchtst], seed: [0]}]", "matrices.seeds=[{seed: [0]}]"]
    run("allen-forecast", sessions, tmp_path / "out", *short, *rows)
    models = {row.model for row in read_scores(tmp_path / "out" / "scores" / "scores.csv")}
    assert models >= {"psth", "persistence", "source-mean", "ridge-ar", "nlinear", "patchtst", "quantformer"}
    assert (tmp_path / "out" / "report.html").is_file()


def test_responses(sessions, tmp_path):
    short = "jobs.train.set.training={epochs: 2, steps_per_epoch: 3, warmup: 0, batch: 8}"
    rows = "matrices.models=[{model: [response-rate, logistic-classifier, quantformer-classifier], seed: [0]}]"
    threshold = "jobs.train.set.windows.responses.threshold=0.04"  # near the median: both answers occur
    run("allen-classify", sessions[:1], tmp_path / "out", short, rows, threshold)
    rows = read_scores(tmp_path / "out" / "scores" / "scores.csv")
    assert {row.model for row in rows} == {"response-rate", "logistic-classifier", "quantformer-classifier"}
    assert (tmp_path / "out" / "comparison" / "comparison.csv").is_file()


def test_from_the_archive_to_a_report(tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = allen_api.observatory(tmp_path, (501940850,), trials=30)
    short = "jobs.train.set.training={epochs: 2, steps_per_epoch: 3, warmup: 0, batch: 8}"
    rows = "matrices.models=[{model: [psth, persistence, nlinear, quantformer], seed: [0]}]"
    where = {"NEURODYN_CACHE": str(tmp_path / "cache"), "NEURODYN_ALLEN_API": server.url}
    where["NEURODYN_ALLEN_MIRROR"] = server.mirror
    container = "jobs.session.options.container=511510688"
    run("allen-session", [], tmp_path / "out", short, rows, container, **where)
    server.close()
    rows = read_scores(tmp_path / "out" / "scores" / "scores.csv")
    assert {row.model for row in rows} >= {"psth", "persistence", "nlinear", "quantformer"}
    assert (tmp_path / "out" / "report.html").is_file()
    assert (tmp_path / "cache" / "allen" / "501940850.nwb").is_file()
