"""Tuning: repeatable, joined and resumed by the same call, and blind to the test windows."""

import contextlib
import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from optuna.trial import TrialState

from neurodyn.backends import BACKENDS
from neurodyn.core.errors import ConfigError, DataError, UnknownNameError, WorkError
from neurodyn.core.search import Choice, Range
from neurodyn.data.recording import Recording
from neurodyn.runs.folder import RunFolder
from neurodyn.training import tune as tune_module
from neurodyn.training.config import load_run_config
from neurodyn.training.fit import fit
from neurodyn.training.loop import TrainingLoop
from neurodyn.training.space import Search, load_search
from neurodyn.training.study import JournalLock, Study, read_trials
from neurodyn.training.tune import Tuned, tune
from tests.cli.conftest import neurodyn as neurodyn

PRESET = """
description: A toy to tune
backend: tunable
windows: {duration: 0.8}
training: {epochs: 3, steps_per_epoch: 2, batch: 4, warmup: 0, schedule: constant, weight_decay: 0.0, ema: null}
"""
FAST = ("tune.startup=3", "tune.prune=false")
TRIALS = 5


class Killed(BaseException):
    """Stands for a kill: nothing handles it."""


@pytest.fixture(autouse=True, scope="module")
def tunable():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKENDS._table, "tunable", "tests.training.toy:Tunable")
        yield


@pytest.fixture(scope="session")
def preset(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("presets") / "toy.yaml"
    path.write_text(PRESET)
    return str(path)


def search(preset: str, *sets: str) -> Search:
    return load_search(preset, None, [*FAST, *sets])


def run(preset: str, traces: Path, out: Path, *sets: str, trials: int = TRIALS, **options) -> Tuned:
    return tune(search(preset, *sets), [traces], out, trials=trials, gpu="none", **options)


def untimed(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open() as handle:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(handle)]


@pytest.fixture(scope="module")
def undisturbed(tunable, preset, traces, tmp_path_factory) -> Tuned:
    return run(preset, traces, tmp_path_factory.mktemp("studies") / "undisturbed")


@pytest.fixture
def mine(undisturbed, tmp_path) -> Path:
    """A copy of the study, to go on with."""
    return shutil.copytree(undisturbed.path.parent, tmp_path / "mine")


def assert_same(one: Tuned, other: Tuned) -> None:
    assert untimed(one.path.parent) == untimed(other.path.parent)
    assert one.path.read_bytes() == other.path.read_bytes()


def test_the_best_trial_becomes_a_preset_that_trains_to_its_value(undisturbed, preset, traces, tmp_path):
    start, best = undisturbed.start, undisturbed.best
    assert start.parameters == {"model.level": 0.9, "model.shape": (1, 1), "training.lr": 2e-3}
    assert best.value < start.value
    assert best.value == min(trial.value for trial in undisturbed.trials)
    config, _ = load_run_config(str(undisturbed.path))
    assert config.name == "toy-tuned"
    assert config.model["level"] == best.parameters["model.level"]
    assert config.training.lr == best.parameters["training.lr"]
    assert config.training.epochs == 3
    header = undisturbed.path.read_text()
    assert f"trial {best.number} of {TRIALS}, seed 0, on traces.zarr" in header
    assert f"{best.value:.6g}" in header
    assert f"{start.value:.6g}" in header
    out = fit(config, None, [traces], tmp_path / "run", gpu="none")
    assert json.loads((out / "status.json").read_text())["best"]["value"] == best.value


def test_trials_are_a_tidy_table_and_nothing_else_is_left(undisturbed):
    rows = untimed(undisturbed.path.parent)
    assert [row["number"] for row in rows] == list(map(str, range(TRIALS)))
    assert {row["state"] for row in rows} == {"complete"}
    assert {row["epochs"] for row in rows} == {"3"}
    assert set(rows[0]) == {"number", "state", "value", "model.level", "model.shape", "training.lr", "epochs", "reason"}
    left = {path.name for path in undisturbed.path.parent.iterdir()}
    assert left == {"study.yaml", "journal.jsonl", "trials.csv", "best.yaml"}


def test_one_seed_gives_the_same_study_and_another_one_another(undisturbed, preset, traces, tmp_path):
    assert_same(undisturbed, run(preset, traces, tmp_path / "again"))
    other = run(preset, traces, tmp_path / "other", "tune.seed=1")
    assert other.start == undisturbed.start or other.start.parameters == undisturbed.start.parameters
    assert other.trials[1].parameters != undisturbed.trials[1].parameters


@pytest.mark.parametrize("moment", ["first epoch", "second epoch", "checkpointed", "before the end", "ended"])
def test_a_study_killed_anywhere_ends_as_if_it_had_not_been(undisturbed, preset, traces, tmp_path, monkeypatch, moment):
    owner, name, calls, early = {
        "first epoch": (Study, "report", 7, True),
        "second epoch": (Study, "report", 8, True),
        "checkpointed": (TrainingLoop, "_save", 8, False),
        "before the end": (Study, "end", 3, True),
        "ended": (Study, "end", 3, False),
    }[moment]
    original, count = getattr(owner, name), [0]

    def deadly(self, *args, **options):
        count[0] += 1
        if early and count[0] == calls:
            raise Killed
        found = original(self, *args, **options)
        if count[0] == calls:
            raise Killed
        return found

    monkeypatch.setattr(owner, name, deadly)
    with pytest.raises(Killed):
        run(preset, traces, tmp_path / "killed")
    monkeypatch.undo()
    assert_same(run(preset, traces, tmp_path / "killed"), undisturbed)


def test_a_finished_study_is_left_as_it_is_and_goes_on_when_more_trials_are_asked_for(
    undisturbed, mine, preset, traces, tmp_path
):
    out = mine
    journal = (out / "journal.jsonl").read_bytes()
    assert run(preset, traces, out).trials == undisturbed.trials
    assert (out / "journal.jsonl").read_bytes() == journal
    longer = run(preset, traces, out, trials=TRIALS + 2)
    assert longer.trials[:TRIALS] == undisturbed.trials
    assert_same(longer, run(preset, traces, tmp_path / "at once", trials=TRIALS + 2))


def test_test_windows_change_nothing_whatever_they_hold(undisturbed, preset, traces, tmp_path):
    """Values, parameters and the preset are the same bytes when every frame that only test windows have is poisoned."""
    original = Recording.open(traces)
    frames = original.time.size
    test = slice(round(0.7 * frames) + 4, None)  # what lies beyond half of the guard gap of a window, 8 frames
    for number, poison in enumerate((np.nan, 1e9)):
        data = original["dff"].values.copy()
        data[test] = poison
        poisoned = Recording.from_arrays({"dff": data}, rate_hz=10, session="traces")
        folder = tmp_path / str(number)
        folder.mkdir()
        found = run(preset, poisoned.save(folder / "traces.zarr"), folder / "out")
        assert_same(found, undisturbed)


def test_no_test_frame_is_read(preset, traces, tmp_path, monkeypatch):
    """Reading the recording raises as soon as a frame beyond validation is asked for; fitting the model does ask."""
    frames, read = Recording.open(traces).time.size, []

    class Guarded:
        def __init__(self, array):
            self.array, self.shape, self.ndim, self.nbytes = array, array.shape, array.ndim, array.nbytes

        def __getitem__(self, wanted):
            last = range(frames)[wanted][-1]
            read.append(last)
            if last >= round(0.7 * frames) + 4:
                raise PermissionError("a test frame was read")
            return self.array[wanted]

        @property
        def values(self):
            return self[:].values

    from neurodyn.data import window_view

    signal = window_view.signal
    monkeypatch.setattr(window_view, "signal", lambda recording, name: Guarded(signal(recording, name)))
    assert run(preset, traces, tmp_path / "out", trials=2).best is not None
    assert max(read) >= round(0.65 * frames), "validation frames were read"
    with pytest.raises(PermissionError):
        fit(search(preset).config, None, [traces], tmp_path / "run", gpu="none")


def test_hopeless_trials_are_stopped_early(preset, traces, tmp_path):
    found = run(preset, traces, tmp_path / "out", "tune.prune=true", "tune.prune_after=1", trials=10)
    stopped = [trial for trial in found.trials if trial.state == "pruned"]
    assert stopped
    assert all(trial.epochs < 3 for trial in stopped)
    medians = np.median([trial.value for trial in found.trials if trial.state == "complete"])
    assert all(trial.value > medians for trial in stopped)
    assert found.best.state == "complete"


def test_a_second_process_joins_and_takes_up_what_a_dead_one_left(preset, traces, tmp_path):
    out, wanted = tmp_path / "out", {"some": "study"}
    first, second = Study(out, search(preset), 2), Study(out, search(preset), 2)
    assert first.claim(wanted, "error")
    assert second.claim(wanted, "error"), "the same study is joined"
    with first.next() as one:
        with second.next() as other:
            assert (one.number, other.number) == (0, 1)
            assert not second.finished
            with second.next() as none:
                assert none is None, "two trials were asked for, and both are run"
        with second.next() as orphan:
            assert orphan.number == 1, "its worker is gone"
            assert orphan.params == other.params
            assert read_trials(first)[1].state == "running"
    with pytest.raises(ConfigError, match="of another configuration") as refused:
        second.claim({"some": "other study"}, "error")
    assert "some" in refused.value.found
    assert not second.claim({"some": "other study"}, "skip")
    with first.next(), pytest.raises(ConfigError, match="written by another process"):
        second.claim({"some": "other study"}, "overwrite")
    assert second.claim({"some": "other study"}, "overwrite")
    assert not (out / "journal.jsonl").exists()


def test_another_configuration_in_the_folder_is_refused_or_replaces_it(mine, preset, traces, tmp_path):
    out = mine
    with pytest.raises(ConfigError, match=r"another configuration") as refused:
        run(preset, traces, out, "training.batch=5")
    assert refused.value.exit_code == 2
    assert "config.training.batch" in refused.value.found
    kept = run(preset, traces, out, "training.batch=5", existing="skip")
    assert kept == Tuned(out / "best.yaml", [])
    replaced = run(preset, traces, out, "training.batch=5", existing="overwrite")
    assert_same(replaced, run(preset, traces, tmp_path / "other", "training.batch=5"))
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (stranger / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="no folder of a study"):
        run(preset, traces, stranger)


def test_a_trial_whose_worker_dies_again_and_again_has_failed(preset, tmp_path):
    study = Study(tmp_path / "out", search(preset), 1)
    study.claim({}, "error")
    for _ in range(6):
        with study.next() as trial:
            assert trial.number == 0
    with study.next() as trial:
        assert trial is None
    (only,) = read_trials(study)
    assert (only.state, only.reason) == ("fail", "its worker died 6 times at epoch 0")
    assert study.finished


def test_a_line_half_written_by_a_dead_writer_is_cut_off(preset, tmp_path):
    study = Study(tmp_path / "out", search(preset), 2)
    study.claim({}, "error")
    with study.next() as trial:
        study.report(trial, 1, 0.5)
        with (study.folder / "journal.jsonl").open("a") as handle:
            handle.write('{"op_code": 7, "worker')
        study.report(trial, 2, 0.25)
    again = Study(tmp_path / "out", search(preset), 2)
    assert again.all[0].intermediate_values == {1: 0.5, 2: 0.25}
    lock = JournalLock(study.folder / "journal.jsonl")
    assert lock.acquire()
    lock.release()


def test_status_tells_which_trials_run_which_lost_their_worker_and_why_one_failed(preset, tmp_path, neurodyn):
    study = Study(tmp_path / "out", search(preset), 4)
    study.claim({"some": "study"}, "error")
    assert "No trial yet." in neurodyn("status", str(study.folder)).out
    with study.next() as trial:
        study.end(trial, TrialState.COMPLETE, 0.5)
    with study.next() as trial:
        study.end(trial, TrialState.FAIL, reason="no luck")
    with study.next():
        pass  # a worker that dies
    with study.locked(), contextlib.ExitStack() as held:
        study._new(held)
        said = neurodyn("status", str(study.folder)).out
        rows = json.loads(neurodyn("status", str(study.folder), "--json").out)["jobs"]
    assert [(row["job"], row["state"], row["loss"]) for row in rows] == [
        ("trial 0", "complete", 0.5), ("trial 3", "running", None), ("trial 2", "interrupted", None),
        ("trial 1", "fail", None),
    ]  # fmt: skip
    assert "1 complete, 1 running, 1 interrupted, 1 fail." in said and "Best: trial 0, validation loss 0.5." in said
    assert said.rstrip().endswith("trial 1 failed: no luck")


def test_trials_that_cannot_be_trained_fail_and_the_search_goes_on(preset, traces, tmp_path):
    found = run(preset, traces, tmp_path / "out", "tune.space.model.bad=[false, true]", trials=8)
    failed = [trial for trial in found.trials if trial.state == "fail"]
    assert failed
    assert all(trial.parameters["model.bad"] for trial in failed)
    assert {trial.reason for trial in failed} == {"Toy is bad. Found bad. Be good."}
    assert found.best.parameters["model.bad"] is False


def test_when_no_trial_can_be_completed_the_work_has_failed(preset, traces, tmp_path, monkeypatch):
    def fails(*args):
        raise WorkError("It does not become stable.", "Found NaN.", "Lower the learning rate.")

    monkeypatch.setattr(tune_module, "train_parts", fails)
    with pytest.raises(WorkError, match="No trial could be completed") as error:
        run(preset, traces, tmp_path / "out", trials=2)
    assert "It does not become stable" in error.value.found
    assert not (tmp_path / "out" / "best.yaml").exists()


def test_trials_may_be_compared_by_hidden_cells(traces, tmp_path):
    small = (
        "windows={variable: dff, duration: 0.8}",
        "training={epochs: 1, steps_per_epoch: 4, warmup: 2, restarts: 0}",
        "model={likelihood: gaussian, factors: 2, generator: 8, initial: 6, encoder: 7, controller: 7, samples: 3}",
    )
    asked = load_search("lfads-real", None, [*small, "tune.startup=2"])
    assert asked.by_cells and "model.kl" in asked.space
    found = tune(asked, [traces], tmp_path / "out", trials=2, gpu="none")
    run = fit(load_run_config("lfads-real", None, small)[0], None, [traces], tmp_path / "run", gpu="none")
    assert found.start.value == pytest.approx(1 - RunFolder(run).health.r2)
    assert [trial.state for trial in found.trials] == ["complete", "complete"]
    assert "Validation 1 - R² of hidden cells" in found.path.read_text()
    assert load_run_config(str(found.path))[0].training.health


def test_a_model_without_cells_to_be_told_is_not_compared_by_them(preset, traces, tmp_path):
    with pytest.raises(ConfigError, match="cannot be compared by hidden cells"):
        run(preset, traces, tmp_path / "out", "tune.objective=cosmoothing")
    assert not (tmp_path / "out").exists()


def test_what_is_wrong_from_the_start_is_said_before_anything_is_made(preset, traces, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="Toy is bad"):
        run(preset, traces, out, "model.bad=true")
    with pytest.raises(ConfigError, match="no validation windows"):
        run(preset, traces, out, "windows.fractions=[0.7,0.0,0.3]")
    with pytest.raises(DataError):
        run(preset, tmp_path / "nothing.zarr", out)
    assert not out.exists()


def test_models_that_nothing_is_trained_for_are_tuned_too(traces, tmp_path):
    found = tune(load_search("pca", None, ["windows.duration=0.8"]), [traces], tmp_path / "out", trials=4, gpu="none")
    assert [trial.state for trial in found.trials] == ["complete"] * 4
    assert len({trial.parameters["model.components"] for trial in found.trials}) == 4
    assert {trial.epochs for trial in found.trials} == {0}


def test_only_the_last_stage_is_compared(traces, tmp_path):
    sets = [
        "model={patch: 4, width: 16, heads: 2, layers: 1, codes: 8}",
        "windows={variable: dff, duration: 1.6, stride: 0.8, horizon: 0.8, gap: 0}",
        "training={epochs: 2, steps_per_epoch: 3, batch: 4, warmup: 1, ema: 0.9}",
        "stages.quantizer={epochs: 3, ema: null}",
        "tune.space.training.lr={low: 1e-4, high: 1e-2, log: true}",
    ]
    found = tune(load_search("quantformer", None, sets), [traces], tmp_path / "out", trials=2, gpu="none")
    assert [trial.epochs for trial in found.trials] == [2, 2]
    assert set(found.trials[0].parameters) >= {"training.lr", "training.weight_decay"}


def test_given_values_are_fixed_and_given_spaces_are_searched(preset, tmp_path, monkeypatch):
    assert set(search(preset).space) == {"model.level", "model.shape", "training.lr"}
    fixed = search(preset, "model.level=0.5")
    assert set(fixed.space) == {"model.shape", "training.lr"}
    assert fixed.config.model["level"] == 0.5
    both = search(preset, "model.level=0.5", "tune.space.model.level=[0.1, 0.2]")
    assert both.space["model.level"] == Choice((0.1, 0.2, 0.5))
    assert both.start["model.level"] == 0.5
    monkeypatch.setenv("NEURODYN_TRAINING__LR", "0.5")
    assert "training.lr" not in search(preset).space
    monkeypatch.undo()
    assert search(preset, "tune.space.training.lr={low: 1e-4, high: 1.0}").space["training.lr"] == Range(1e-4, 1.0)
    mine = tmp_path / "mine.yaml"
    mine.write_text(yaml.safe_dump({"training": {"batch": 2}, "tune": {"space": {"model": {"size": [None, 1]}}}}))
    found = load_search(preset, mine)
    assert found.space["model.size"] == Choice((None, 1))
    assert found.config.training.batch == 2
    assert load_run_config(preset, mine)[0].training.batch == 2, "train leaves the section alone"


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["tune.space.model.levle=[1, 2]"], "parameter of model"),
        (["tune.space.windows.duration=[1, 2]"], "section of tune.space"),
        (["tune.space.training.lr=[0.1, -1]"], "training.lr"),
        (["tune.space.model.level={low: 0.1, high: a}"], "no space"),
        (["tune.space.model.size={low: 1, high: 2}"], "range of numbers"),
        (["tune.trails=3"], "tune.trails"),
        (["model.level=0.1", "model.shape=[1,1]", "training.lr=0.1"], "nothing to tune"),
    ],
)
def test_spaces_that_make_no_sense_are_refused(preset, sets, message):
    with pytest.raises(ConfigError, match=message):
        search(preset, *sets)


def test_naive_models_have_nothing_to_tune():
    with pytest.raises(ConfigError, match="persistence has nothing to tune"):
        load_search("persistence")
    with pytest.raises(UnknownNameError):
        load_search("persistense")


def test_values_that_do_not_go_together_are_not_drawn(traces, tmp_path):
    sets = ["tune.space.model.width=[16, 24, 36]", "tune.space.model.heads=[2, 9]", "tune.startup=50"]
    study = Study(tmp_path / "out", load_search("cst-tiny", None, sets), 12)
    study.claim({}, "error")
    while not study.finished:
        with study.next() as trial:
            assert trial.params["model.width"] % trial.params["model.heads"] == 0
            study.end(trial, tune_module.TrialState.COMPLETE, float(trial.number))
    assert {trial.parameters["model.width"] for trial in read_trials(study)} == {16, 24, 36}
