"""Training: the run folder, the kill anywhere, the refusals."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from neurodyn.core.errors import ConfigError, DataError, WorkError
from neurodyn.core.files import read_json
from neurodyn.data.recording import Recording
from neurodyn.runs.config import RunConfig
from neurodyn.training import fit as fit_module
from neurodyn.training.batches import TrainingBatches
from neurodyn.training.config import load_run_config
from neurodyn.training.devices import choose_devices
from neurodyn.training.fit import fit
from neurodyn.training.loop import TrainingLoop
from neurodyn.training.run import load_run
from tests.training.toy import FINAL, run


class Killed(BaseException):
    """Stands for a kill: nothing handles it."""


def changed(config: RunConfig, **training) -> RunConfig:
    return config.model_copy(update={"training": config.training.model_copy(update=training)})


@pytest.fixture(scope="module")
def undisturbed(config, movie, tmp_path_factory) -> Path:
    return run(config, movie, tmp_path_factory.mktemp("runs") / "undisturbed")


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as handle:
        return list(csv.DictReader(handle))


def assert_same(one: Path, other: Path) -> None:
    for name in FINAL:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_the_folder_is_complete(undisturbed, config, movie):
    assert {p.name for p in undisturbed.iterdir()} == {*FINAL, "provenance.json", "log.jsonl", "checkpoints"}
    table = rows(undisturbed)
    assert [row["epoch"] for row in table] == ["1", "2", "3", "4"]
    parts = [float(table[-1][f"train_{name}"]) for name in ("hidden", "visible")]
    assert float(table[-1]["train_loss"]) == pytest.approx(sum(parts))
    status = read_json(undisturbed / "status.json")
    best = min(table, key=lambda row: float(row["valid_hidden"]))
    assert status["best"] == {"epoch": int(best["epoch"]), "value": float(best["valid_hidden"])}
    written = yaml.safe_load((undisturbed / "config.yaml").read_text())
    assert written["model"] == config.model
    assert written["recordings"][0]["path"] == str(movie.resolve())
    assert (undisturbed / "model.safetensors").stat().st_mode & 0o044 == 0o044


def test_running_it_again_changes_nothing(undisturbed, config, movie):
    before = {p: p.stat().st_mtime_ns for p in undisturbed.rglob("*")}
    run(config, movie, undisturbed)
    assert {p: p.stat().st_mtime_ns for p in undisturbed.rglob("*")} == before


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(undisturbed, config, movie, tmp_path):
    assert_same(run(config, movie, tmp_path / "again"), undisturbed)
    other = run(changed(config, seed=1), movie, tmp_path / "other")
    assert (other / "model.safetensors").read_bytes() != (undisturbed / "model.safetensors").read_bytes()


def killed_at(step: int, monkeypatch, config: RunConfig, recording: Path, out: Path) -> None:
    """Start a run that dies before a training step."""
    train_step = TrainingLoop.training_step

    def deadly(self, micro_batches):
        if self.step == step:
            raise Killed
        return train_step(self, micro_batches)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(TrainingLoop, "training_step", deadly)
        run(config, recording, out)


@pytest.mark.parametrize("step", [0, 4, 6, 11])
def test_a_run_killed_at_any_step_ends_with_the_same_bytes(undisturbed, config, movie, tmp_path, monkeypatch, step):
    killed_at(step, monkeypatch, config, movie, tmp_path / "run")
    assert not (tmp_path / "run" / "status.json").exists()
    assert_same(run(config, movie, tmp_path / "run"), undisturbed)


def test_latent_dynamics_killed_in_their_warm_up_and_after_end_with_the_same_bytes(traces, tmp_path, monkeypatch):
    sizes = [f"model.{name}=6" for name in ("generator", "initial", "encoder", "controller", "latent", "deep_encoder")]
    short = ["training.epochs=4", "training.steps_per_epoch=3", "training.batch=4", "training.warmup=2"]
    kinetics = ["model.tau=0.3", "model.gain=0.5", "model.warmup=3", "windows.duration=1.0"]
    config = load_run_config("calfads", None, [*sizes, *short, *kinetics])[0]
    whole = run(config, traces, tmp_path / "whole")
    for step in (2, 5, 10):
        killed_at(step, monkeypatch, config, traces, tmp_path / "killed")
    assert_same(run(config, traces, tmp_path / "killed"), whole)


@pytest.mark.parametrize("victim", ["write_metrics", "save_model", "_finish"])
def test_a_run_killed_after_training_ends_with_the_same_bytes(
    undisturbed, config, movie, tmp_path, monkeypatch, victim
):
    def deadly(*_, **__):
        raise Killed

    monkeypatch.setattr(fit_module, victim, deadly)
    with pytest.raises(Killed):
        run(config, movie, tmp_path / "run")
    monkeypatch.undo()
    monkeypatch.setattr(TrainingLoop, "training_step", deadly)  # nothing is trained twice
    assert_same(run(config, movie, tmp_path / "run", resume=True), undisturbed)


def test_early_stopping_survives_a_kill(config, movie, tmp_path, monkeypatch):
    impatient = changed(config, epochs=12, patience=1, lr=0.3, ema=None)
    whole = run(impatient, movie, tmp_path / "whole")
    assert len(rows(whole)) < 12
    validate, seen = TrainingLoop.validation_step, []

    def deadly(self, batch, index):
        seen.append(index)
        if len(seen) == 2:
            raise Killed
        return validate(self, batch, index)

    monkeypatch.setattr(TrainingLoop, "validation_step", deadly)
    with pytest.raises(Killed):
        run(impatient, movie, tmp_path / "run")
    monkeypatch.undo()
    assert_same(run(impatient, movie, tmp_path / "run"), whole)


def test_another_configuration_or_a_foreign_folder_is_refused(config, movie, tmp_path):
    out = run(changed(config, epochs=1), movie, tmp_path / "run")
    with pytest.raises(ConfigError, match="another configuration") as error:
        run(config, movie, out)
    assert "training.epochs" in error.value.found
    assert run(config, movie, out, existing="skip") == out
    assert len(rows(out)) == 1
    run(changed(config, epochs=2), movie, out, existing="overwrite")
    assert len(rows(out)) == 2
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("x")
    for existing in ("error", "overwrite", "skip"):
        with pytest.raises(ConfigError, match="not a run folder"):
            run(config, movie, foreign, existing=existing)
    assert (foreign / "thesis.tex").exists()


def test_a_damaged_checkpoint_is_named_and_overwrite_is_the_way_out(config, movie, tmp_path):
    out = run(config, movie, tmp_path / "run")
    (out / "status.json").unlink()
    checkpoint = out / "checkpoints" / "last.ckpt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    with pytest.raises(DataError, match="damaged") as error:
        run(config, movie, out)
    assert "overwrite" in error.value.fix
    run(config, movie, out, existing="overwrite")
    assert load_run(out).config == config


def test_a_loss_that_is_not_finite_is_an_error(config, movie, tmp_path):
    with pytest.raises(WorkError, match="not finite"):
        run(changed(config, lr=1e30, clip=None, warmup=0), movie, tmp_path / "run")


def test_ctrl_c_stays_ctrl_c(config, movie, tmp_path, monkeypatch):
    def interrupted(self, micro_batches):
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(TrainingLoop, "training_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(config, movie, tmp_path / "run")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_recording_in_memory_is_refused(config, movie, tmp_path):
    recording = Recording(Recording.open(movie).tree)
    with pytest.raises(ConfigError, match="in memory"):
        fit(config, None, [recording], tmp_path / "run", gpu="none")


def test_an_absent_gpu_is_refused_and_auto_falls_back(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match="not available") as error:
        choose_devices("0")
    assert "Found 0" in error.value.found
    with caplog.at_level("INFO", "neurodyn"):
        assert choose_devices("auto").gpus == ()
    assert "CPU" in caplog.text
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_devices("0,1").gpus == (0, 1)
    for wrong in ("2", "0,0", "-1", "first"):
        with pytest.raises(ConfigError):
            choose_devices(wrong)


def test_traces_and_pca_train_too(traces, config, tmp_path):
    out = run(config, traces, tmp_path / "cst")
    assert load_run(out).backend.layout.space == (5,)
    linear, _ = load_run_config("pca", None, ["model.components=3"])
    out = run(linear, traces, tmp_path / "pca")
    assert float(rows(out)[0]["valid_visible"]) > 0
    assert load_run(out).backend.components.abs().sum() > 0


def test_batches_of_an_epoch_cover_the_windows_once_and_ranks_share_them(config, movie):
    from neurodyn.data.windows import Windows

    windows = Windows.cut([Recording.open(movie)], config.windows)
    batches = [list(TrainingBatches(windows, 8, None, 0, 0, rank, 2)) for rank in (0, 1)]
    x = torch.cat([one.batch.x for part in batches for step in part for one in step])
    assert len(x) == len(windows)
    np.testing.assert_allclose(
        np.sort(x.sum((1, 2, 3))), np.sort(windows.values()[0].sum((1, 2, 3))), rtol=1e-4, atol=1e-4
    )
    assert len(list(TrainingBatches(windows, 8, 20, 0, 0))) == 20


@pytest.mark.slow
def test_sigkill_at_random_moments_ends_with_the_same_bytes(config, movie, tmp_path):
    longer = changed(config, epochs=30)
    whole = run(longer, movie, tmp_path / "whole")
    (tmp_path / "config.json").write_text(longer.model_dump_json())
    script = (
        "import sys; from pathlib import Path; from neurodyn.runs.config import RunConfig;"
        "from neurodyn.training.fit import fit;"
        "fit(RunConfig.model_validate_json(Path(sys.argv[1]).read_text()), None, [Path(sys.argv[2])], Path(sys.argv[3]), gpu='none')"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "config.json"), str(movie), str(tmp_path / "run")]
    rng, kills = np.random.default_rng(0), 0
    while True:
        process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
        if kills < 5:
            checkpoint = tmp_path / "run" / "checkpoints" / "last.ckpt"
            before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
            while process.poll() is None and (checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0) == before:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.3))
            process.kill()
            kills += 1
        if process.wait() == 0:
            break
    assert kills == 5
    assert_same(tmp_path / "run", whole)
