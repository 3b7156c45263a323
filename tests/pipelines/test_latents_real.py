"""Latent models of real recordings, at full size: no collapse, and what their factors say of stimulus and position."""

import subprocess
import sys
from pathlib import Path

import pytest

from neurodyn.core.files import read_json
from neurodyn.data.scores import Score, read_scores

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def run(name: str, inputs: list[Path], out: Path, *flags: str) -> Path:
    command = [sys.executable, "-m", "neurodyn", "run", name, *map(str, inputs), "-o", str(out), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def steady(folder: Path) -> bool:
    status = read_json(folder / "status.json")
    return status["state"] == "done" and not status["events"]


def pooled(table: Path, metric: str) -> dict[tuple[str, str], Score]:
    return {(s.session, s.features): s for s in read_scores(table) if s.fold == "all" and s.metric == metric}


def test_direction_of_gratings_is_in_the_factors(shared_data, tmp_path):
    source = shared_data / "park_v1_gratings" / "230809_mrcuts28_fov4.npz"
    sets = ("-s", "matrices.sessions=[{session: [1]}]", "--until", "linear_1_direction_direction")
    only = ("-s", "matrices.decodings=[{session: [1], what: [direction], target: [direction]}]")
    out = run("calfads-gratings", [source], tmp_path / "out", *sets, *only)
    assert steady(out / "runs" / "calfads-1")
    scores = {
        name: s for (_, name), s in pooled(out / "runs" / "calfads-1" / "scores-direction.csv", "accuracy").items()
    }
    for name in ("latents:mean", "rates:mean", "inferred_spikes:mean"):
        assert scores[name].ci_low > 2 * 0.125
        assert scores[name].p < 0.01


def test_no_seed_collapses_on_the_allen_excerpt(shared_data, tmp_path):
    source = shared_data / "allen_excerpt" / "Experiment_552195520_excerpt.mat"
    out = run("calfads-allen", [source], tmp_path / "out")
    assert all(steady(out / "runs" / f"calfads-{seed}") for seed in (0, 1, 2))
    assert (out / "report.html").is_file()


@pytest.fixture(scope="module")
def positions(shared_data, tmp_path_factory) -> dict[int, tuple[Score, dict[str, list[Score]]]]:
    """Score of factors, and those of components and events, long windows and short, by session."""
    source = shared_data / "zivlab_hippocampus" / "C8M2_spike_train.mat"
    out = run("lfads-hippocampus", [source], tmp_path_factory.mktemp("hippocampus") / "out")
    assert steady(out / "runs" / "lfads")
    long = pooled(out / "runs" / "lfads" / "scores-position.csv", "r2")
    found = {}
    for number in (0, 2, 4, 6):
        name, short = f"session-{number}", pooled(out / f"short-{number}" / "scores.csv", "r2")
        others = {base: [scores[name, f"{base}:mean"] for scores in (long, short)] for base in ("pca", "events")}
        found[number] = long[name, "latents:last"], others
    return found


def test_position_on_the_track_is_better_known_from_factors_than_from_components(positions):
    for factors, others in positions.values():
        assert factors.value > max(score.value for score in others["pca"])
        assert factors.ci_low > 0


def test_position_on_the_track_is_better_known_from_factors_than_from_events(positions):
    for number in (0, 4, 6):
        factors, others = positions[number]
        assert factors.value > max(score.value for score in others["events"])


def test_where_events_hardly_tell_the_position_factors_are_no_worse_than_chance_allows(positions):
    """Session 2: events .25 [-.20, .56]; factors .20 on one machine, .29 on another."""
    factors, others = positions[2]
    assert factors.value > max(score.ci_low for score in others["events"])
