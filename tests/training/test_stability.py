"""Steps back, restarts and warm-up: what they do, and that a kill at any moment changes nothing."""

import json
from pathlib import Path

import pytest
import torch

from neurodyn.backends import BACKENDS
from neurodyn.core.errors import ConfigError, WorkError
from neurodyn.core.files import read_json
from neurodyn.training.checkpoint import checkpoint_path
from neurodyn.training.loop import TrainingLoop
from neurodyn.training.run import load_run
from neurodyn.training.stability import Journal
from tests.training.toy import FINAL, Toy, metrics, run, settings

NAN_AT_7 = {"planted": 7, "ceiling": 0.067}  # epoch 3 starts at 0.06 and has moved by one learning rate at step 7


class Killed(BaseException):
    """Stands for a kill: nothing handles it."""


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setitem(BACKENDS._table, "toy", "tests.training.toy:Toy")
    Toy.seen.clear()


def column(folder: Path, name: str) -> list[float]:
    return [float(row[name]) for row in metrics(folder)]


def warnings(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line.get("kind")]


def assert_same(one: Path, other: Path) -> None:
    for name in FINAL:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def killed_after(monkeypatch, calls: int, owner: type, name: str) -> None:
    """Make a method kill the process when it is called once more after `calls` times."""
    original, count = getattr(owner, name), [0]

    def deadly(self, *args, **options):
        count[0] += 1
        if count[0] > calls:
            raise Killed
        return original(self, *args, **options)

    monkeypatch.setattr(owner, name, deadly)


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_nan_steps_back_to_the_epochs_start_at_half_the_learning_rate(traces, tmp_path, where):
    out = run(settings({**NAN_AT_7, "where": where}), traces, tmp_path / "run")
    assert column(out, "step_backs") == [0, 0, 1, 1, 1]
    assert column(out, "lr") == [0.01, 0.01, 0.005, 0.005, 0.005]
    assert column(out, "step") == [3, 6, 9, 12, 15]
    event = {"kind": "step back", "attempt": 0, "epoch": 3, "step": 7}
    (found,) = read_json(out / "status.json")["events"]
    assert found | event == found
    assert found["reason"].startswith(f"the {where} is not finite at step 7")
    assert [line["reason"] for line in warnings(out)] == [found["reason"]]
    steady = run(settings(), traces, tmp_path / "steady")
    assert column(steady, "step_backs") == [0] * 5
    assert column(out, "train_loss")[:2] == column(steady, "train_loss")[:2]
    assert read_json(steady / "status.json")["events"] == []


def test_a_nan_before_the_first_checkpoint_and_several_in_one_epoch(traces, tmp_path):
    out = run(settings({"planted": 2, "ceiling": 0.003}), traces, tmp_path / "run")  # 0.02 → 0.01 → 0.005 → 0.0025
    assert column(out, "step_backs") == [3] * 5
    assert column(out, "lr") == [0.01 / 8] * 5


def test_too_many_steps_back_end_in_an_error_now_and_when_asked_again(traces, tmp_path, monkeypatch):
    config = settings({"planted": 7}, step_backs=2)
    with pytest.raises(WorkError, match="the loss is not finite at step 7") as error:
        run(config, traces, tmp_path / "run")
    assert "2 times" in error.value.found
    assert "training.lr=0.001" in error.value.fix
    assert not (tmp_path / "run" / "status.json").exists()
    killed_after(monkeypatch, 0, TrainingLoop, "training_step")
    with pytest.raises(WorkError, match="the loss is not finite at step 7"):
        run(config, traces, tmp_path / "run")


def lucks(traces: Path, tmp_path: Path, count: int) -> list[float]:
    """Return the luck of each attempt, read from models of those seeds."""
    from safetensors.torch import load_file

    journals = [Journal(tmp_path, attempt=attempt) for attempt in range(count)]
    outs = [
        run(settings(epochs=1, seed=journal.seed(0)), traces, tmp_path / f"luck{journal.attempt}")
        for journal in journals
    ]
    return [float(load_file(out / "model.safetensors")["luck"]) for out in outs]


def test_a_collapsed_model_starts_anew_and_becomes_what_the_other_seed_gives(traces, tmp_path):
    luck = lucks(traces, tmp_path, 2)
    assert luck[0] < luck[1]
    config = settings({"unlucky": sum(luck) / 2, "healthy": 6})
    told = []
    out = run(config, traces, tmp_path / "run", progress=told.append)
    assert column(out, "attempt") == [0, 0, 1, 1, 1, 1, 1]
    assert column(out, "epoch") == [1, 2, 1, 2, 3, 4, 5]
    assert [row["epoch"] for row in told] == [1, 2, 1, 2, 3, 4, 5]
    status = read_json(out / "status.json")
    assert (status["attempt"], status["seed"]) == (1, Journal(out, attempt=1).seed(0))
    (event,) = status["events"]
    assert event | {"kind": "restart", "attempt": 0, "epoch": 2, "step": 6} == event
    assert event["reason"] == f"the prior is {column(out, 'valid_prior')[1]:.3f}"
    assert warnings(out)[0]["reason"] == event["reason"]
    direct = run(settings(config.model, seed=status["seed"]), traces, tmp_path / "direct")
    assert (out / "model.safetensors").read_bytes() == (direct / "model.safetensors").read_bytes()
    assert column(direct, "valid_loss") == column(out, "valid_loss")[2:]


def test_a_model_that_always_collapses_ends_in_an_error_that_says_why(traces, tmp_path):
    with pytest.raises(WorkError, match="collapsed in 3 of 3") as error:
        run(settings({"unlucky": 2.0, "healthy": 6}), traces, tmp_path / "run")
    assert error.value.found.count("epoch 2: the prior is") == 3
    assert column(tmp_path / "run", "attempt") == [0, 0, 1, 1, 2, 2]
    assert not (tmp_path / "run" / "status.json").exists()
    with pytest.raises(WorkError, match="collapsed in 1 of 1"):
        run(settings({"unlucky": 2.0}, restarts=0), traces, tmp_path / "once")


@pytest.fixture(scope="module")
def troubled() -> dict:
    """A model that collapses once, and whose every attempt meets a NaN."""
    return {**NAN_AT_7, "healthy": 12}


@pytest.fixture(scope="module")
def undisturbed(troubled, traces, tmp_path_factory) -> Path:
    patch = pytest.MonkeyPatch()
    patch.setitem(BACKENDS._table, "toy", "tests.training.toy:Toy")
    folder = tmp_path_factory.mktemp("runs")
    troubled["unlucky"] = sum(lucks(traces, folder, 2)) / 2
    out = run(settings(troubled), traces, folder / "undisturbed")
    assert column(out, "attempt") == [0] * 4 + [1] * 5
    assert column(out, "step_backs") == [0, 0, 1, 1, 0, 0, 1, 1, 1]
    patch.undo()
    return out


MOMENTS = [
    *((calls, TrainingLoop, "training_step") for calls in (1, 7, 8, 10, 14, 15, 21, 23, 28)),
    *((calls, TrainingLoop, "validation_step") for calls in (2, 4)),
    *((calls, Journal, "_record") for calls in (0, 1, 2)),
    *((calls, Journal, "tell") for calls in (0, 1, 2)),
    *((calls, TrainingLoop, "_save") for calls in (2, 3, 5)),
]


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda m: f"{m[2]}-{m[0]}")
def test_a_run_killed_at_any_moment_ends_with_the_same_bytes(
    undisturbed, troubled, traces, tmp_path, monkeypatch, moment
):
    with monkeypatch.context() as patch:
        killed_after(patch, *moment)
        with pytest.raises(Killed):
            run(settings(troubled), traces, tmp_path / "run")
    assert_same(run(settings(troubled), traces, tmp_path / "run"), undisturbed)


def test_weights_grow_with_the_steps_and_are_full_in_validation(traces, tmp_path, monkeypatch):
    config = settings({"ramp": 12}, ema=None, batch=2)
    with monkeypatch.context() as patch:
        killed_after(patch, 7, TrainingLoop, "training_step")
        with pytest.raises(Killed):
            run(config, traces, tmp_path / "run")
    run(config, traces, tmp_path / "run")
    trained = [weight for training, weight in Toy.seen if training]
    before = [step / 12 for step in range(7)]
    assert trained == [*before, *(min(1.0, step / 12) for step in range(6, 15))]
    validated = [weight for training, weight in Toy.seen if not training]
    assert validated == [1.0] * 5 * 2  # two batches per epoch


def test_the_best_weights_are_chosen_and_patience_counts_after_the_warm_up(traces, tmp_path):
    worse = {"lr": 0.01, "ema": None, "epochs": 12, "patience": 2}
    out = run(settings({"ramp": 15, "rising": True}, **worse), traces, tmp_path / "warm")
    assert read_json(out / "status.json")["best"]["epoch"] == 5  # the first that ends with full weights
    assert column(out, "epoch")[-1] == 7
    out = run(settings({"rising": True}, **worse), traces, tmp_path / "cold")
    assert read_json(out / "status.json")["best"]["epoch"] == 1
    assert column(out, "epoch")[-1] == 3
    last = torch.load(checkpoint_path(out), weights_only=True)["weights"]["number"]
    kept = load_run(out).backend.number.detach()
    assert 0 < kept < 0.5 * last  # the number rises at every step: what was kept is a copy of epoch 1, not the last
    out = run(settings({"ramp": 100, "rising": True}, **worse | {"epochs": 4}), traces, tmp_path / "never")
    assert read_json(out / "status.json")["best"]["epoch"] == 4


def test_impossible_betas_are_refused():
    with pytest.raises((ConfigError, ValueError), match="betas"):
        settings(betas=(0.9, 1.0))


def test_the_optimiser_gets_its_settings(traces, tmp_path, monkeypatch):
    found = {}
    make = TrainingLoop.make_optimiser

    def spy(self):
        optimiser = make(self)
        found.update(optimiser.defaults)
        return optimiser

    monkeypatch.setattr(TrainingLoop, "make_optimiser", spy)
    run(settings(betas=(0.8, 0.95), eps=0.1, epochs=1), traces, tmp_path / "run")
    assert (found["betas"], found["eps"], found["weight_decay"]) == ((0.8, 0.95), 0.1, 0.0)


def test_the_plateau_schedule_survives_a_kill(traces, tmp_path, monkeypatch):
    config = settings(
        {"rising": True}, schedule="plateau", plateau_patience=0, plateau_factor=0.5, lr=1e-9, min_lr=0, epochs=8
    )
    whole = run(config, traces, tmp_path / "whole")
    rates = column(whole, "lr")
    assert rates[0] == 1e-9
    assert rates[-1] < 0.3e-9
    with monkeypatch.context() as patch:
        killed_after(patch, 13, TrainingLoop, "training_step")
        with pytest.raises(Killed):
            run(config, traces, tmp_path / "run")
    assert_same(run(config, traces, tmp_path / "run"), whole)
