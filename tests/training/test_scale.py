"""Training at scale: several processes, several micro-batches per step, and what schedulers leave in the environment."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from neurodyn.backends import BACKENDS
from neurodyn.core.errors import ConfigError, DataError, WorkError
from neurodyn.core.files import read_json
from neurodyn.data.recording import Recording
from neurodyn.data.windows import Windows
from neurodyn.nn.parts import Part
from neurodyn.runs.config import RunConfig
from neurodyn.training.batches import TrainingBatches, ValidationBatches
from neurodyn.training.checkpoint import read_checkpoint
from neurodyn.training.config import load_run_config
from neurodyn.training.devices import choose_devices
from neurodyn.training.loop import TrainingLoop
from neurodyn.training.ranks import heard, told
from tests.training.toy import FINAL, metrics, run, settings

SLURM = {
    "SLURM_JOB_ID": "77", "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "4", "SLURM_NNODES": "1", "SLURM_PROCID": "3",
    "SLURM_LOCALID": "3", "SLURM_NODEID": "1", "SLURM_NODELIST": "node[1-4]", "SLURM_JOB_NAME": "train",
    "SLURM_STEP_ID": "0", "SRUN_DEBUG": "3", "LOCAL_RANK": "3", "NODE_RANK": "1", "GROUP_RANK": "1", "RANK": "3",
    "WORLD_SIZE": "4", "MASTER_ADDR": "node1", "MASTER_PORT": "1",
}  # fmt: skip


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setitem(BACKENDS._table, "toy", "tests.training.toy:Toy")


def small(*sets: str, model: str = "cst-tiny") -> RunConfig:
    """Five steps an epoch, the last with a rest of the training windows."""
    own = ["model.patch=[4,4]"] if model.startswith("cst") else []
    short = ["windows.duration=0.8", "training.epochs=3", "training.batch=6", "training.warmup=2", "training.seed=3"]
    return load_run_config(model, None, [*own, *short, *sets])[0]


def curve(folder: Path, part: str = "") -> dict[str, list[float]]:
    rows = metrics(folder)
    return {name: [float(row[name]) for row in rows] for name in rows[0] if name.startswith(part)}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return the weights after the last epoch, not those of the best."""
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["weights"]


def assert_alike(one: Path, other: Path, part: str = "", rel: float = 1e-4) -> None:
    found, expected = curve(one, part), curve(other, part)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, rel=rel, abs=1e-6), name
    for name, value in weights(other).items():
        torch.testing.assert_close(weights(one)[name], value, rtol=1e-3, atol=1e-4, msg=name)


def assert_same(one: Path, other: Path) -> None:
    for name in FINAL:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def children() -> list[int]:
    return [process.pid for process in multiprocessing.active_children()]


@pytest.fixture(scope="module")
def alone(movie, tmp_path_factory) -> Path:
    return run(small(), movie, tmp_path_factory.mktemp("runs") / "alone")


def test_three_small_batches_move_the_weights_as_one_three_times_as_large(alone, movie, tmp_path):
    micro = run(small("training.batch=2", "training.accumulate=3"), movie, tmp_path / "micro")
    assert curve(micro, "step") == curve(alone, "step")
    assert_alike(micro, alone, "train")
    assert max(map(abs, np.diff(curve(alone, "train_loss")["train_loss"]))) > 0.01  # there is something to compare


def test_means_over_unequal_counts_are_what_is_compared(alone, movie, tmp_path, monkeypatch):
    """With the mean of the micro-batches' means in place of the mean of all, the curves part."""

    def own(rows, whole, totals):
        return Part(rows, whole, lambda count: count * (whole // len(rows)))

    monkeypatch.setattr("neurodyn.training.loop.knowing", own)
    out = run(small("training.batch=2", "training.accumulate=3"), movie, tmp_path / "wrong")
    assert curve(out)["train_loss"] != pytest.approx(curve(alone)["train_loss"], rel=1e-3)


def test_latent_dynamics_and_an_average_of_the_weights_in_micro_batches(traces, tmp_path):
    sizes = [f"model.{name}=6" for name in ("generator", "initial", "encoder", "controller", "factors")]
    sets = [*sizes, "model.dropout=0.0", "model.likelihood=gaussian", "windows.variable=dff", "training.epochs=2"]
    one = run(small(*sets, model="lfads"), traces, tmp_path / "one")
    micro = run(small(*sets, "training.batch=3", "training.accumulate=2", model="lfads"), traces, tmp_path / "micro")
    assert_alike(micro, one, "train")


def test_a_run_in_micro_batches_killed_in_the_middle_of_a_step_ends_with_the_same_bytes(traces, tmp_path, monkeypatch):
    config = settings(accumulate=2, batch=2)
    whole, calls = run(config, traces, tmp_path / "whole"), [0]
    compute = TrainingLoop.forward_backward

    def deadly(self, micro_batch, totals):
        calls[0] += 1
        if calls[0] == 10:
            raise KeyboardInterrupt
        return compute(self, micro_batch, totals)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(TrainingLoop, "forward_backward", deadly)
        run(config, traces, tmp_path / "run")
    assert curve(tmp_path / "run")["step"] == [3.0]
    assert_same(run(config, traces, tmp_path / "run"), whole)


def test_half_precision_keeps_its_losses_whole(alone, movie, tmp_path, monkeypatch):
    kinds, numbers = set(), TrainingLoop._numbers

    def noted(self, parts, part):
        kinds.update(value.dtype for value in parts.values())
        return numbers(self, parts, part)

    monkeypatch.setattr(TrainingLoop, "_numbers", noted)
    out = run(small("training.precision=bfloat16"), movie, tmp_path / "run")
    assert kinds == {torch.float32}
    assert {value.dtype for value in weights(out).values() if value.is_floating_point()} == {torch.float32}
    found, expected = (curve(folder)["train_loss"] for folder in (out, alone))
    assert found == pytest.approx(expected, rel=0.02)
    assert found != expected


@pytest.fixture(scope="module")
def windows(movie) -> Windows:
    return Windows.cut([Recording.open(movie)], small().windows)


def test_pieces_of_all_processes_and_micro_batches_are_the_whole_batch(windows):
    whole = [micro_batch.batch.x for (micro_batch,) in TrainingBatches(windows, 11, None, 5, 1)]
    parts = [list(TrainingBatches(windows, 11, None, 5, 1, rank, 2, 3)) for rank in range(2)]
    assert [len(micro_batches) for micro_batches in parts[0]] == [3] * len(whole)
    for step, expected in enumerate(whole):
        pieces = [micro_batch for steps in parts for micro_batch in steps[step]]
        assert all(piece.whole == len(expected) for piece in pieces)
        found = torch.full_like(expected, torch.nan)
        for piece in pieces:
            found[piece.rows] = piece.batch.x
        assert torch.equal(found, expected)


def test_a_rest_that_leaves_a_piece_empty_is_left_out(windows):
    some = windows.take(np.arange(15))
    assert [len(TrainingBatches(some, 12, None, 0, 0, 0, ranks)) for ranks in (1, 3, 4)] == [2, 2, 1]


def test_validation_meets_every_window_once_whatever_the_number_of_processes(windows):
    some = windows.take(np.arange(14))  # batches of 6, 6 and 2, too small for three
    whole = [piece.batch.x for piece in ValidationBatches(some, 6)]
    for ranks in (2, 3, 4):
        shares = [list(ValidationBatches(some, 6, rank, ranks)) for rank in range(ranks)]
        for index, expected in enumerate(whole):
            pieces = [share[index] for share in shares]
            if len(expected) < ranks:
                assert all(torch.equal(piece.batch.x, expected) for piece in pieces)
                assert all(len(piece.rows) == piece.whole for piece in pieces)
            else:
                assert sorted(int(row) for piece in pieces for row in piece.rows) == list(range(len(expected)))


def test_batches_too_small_to_be_shared_are_refused(traces, tmp_path):
    with pytest.raises(ConfigError, match="cannot be shared") as error:
        run(settings(processes=5), traces, tmp_path / "run")
    assert error.value.fix.endswith("training.batch=5")
    with pytest.raises(ConfigError, match="cannot be shared"):
        run(settings(accumulate=1000, steps_per_epoch=None), traces, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_all_gpus_and_processes_are_chosen(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert choose_devices("all", 4).gpus == (0, 1, 2)
    assert choose_devices("all", 4).ranks == 3
    assert choose_devices("none", 4).ranks == 4
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match="not available") as error:
        choose_devices("all")
    assert "Found 0" in error.value.found


def test_what_a_process_said_is_told():
    error = DataError("The data are damaged.", "Found nothing.", "Fetch them again.")
    text = "\n\n-- Process 1 terminated with the following error:\nTraceback (most recent call last):\n  File x\n"
    found = told(ProcessRaisedException(f"{text}neurodyn.core.errors.DataError: {error}\n", 1, 5))
    assert isinstance(found, DataError)
    assert (found.what, found.found, found.fix) == (error.what, error.found, error.fix)
    found = told(ProcessRaisedException(f"{text}RuntimeError: the toy broke\n", 1, 5))
    assert isinstance(found, WorkError)
    assert found.found == "RuntimeError: the toy broke"
    found = told(ProcessExitedException("process 1 terminated with signal SIGKILL", 1, 5, 1, "SIGKILL"))
    assert found.found == "process 1 terminated with signal SIGKILL"


def test_progress_is_heard_from_another_process_and_its_errors_are_raised():
    rows = []
    with heard(rows.append, 2) as said:
        said({"epoch": 1})
        said({"epoch": 2})
    assert rows == [{"epoch": 1}, {"epoch": 2}]

    def stop(row):
        raise WorkError("enough", "", "")

    with pytest.raises(WorkError, match="enough"), heard(stop, 2) as said:
        said({"epoch": 1})
        said({"epoch": 2})


def test_a_job_of_four_tasks_trains_alone_and_writes_its_run(traces, tmp_path, monkeypatch):
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    out = run(settings(epochs=1), traces, tmp_path / "run")
    assert read_json(out / "status.json")["state"] == "done"
    assert read_checkpoint(out)["finished"]
    assert dict(os.environ) == before


def test_a_job_that_is_told_to_end_ends(traces, tmp_path, monkeypatch):
    """No handler that would requeue the job swallows SIGTERM, which a scheduler sends before it kills."""
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    heard_of, step = [], TrainingLoop.training_step

    def told_to_end(self, micro_batches):
        if self.step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, micro_batches)

    def handler(number, frame):
        heard_of.append(number)
        raise KeyboardInterrupt

    monkeypatch.setattr(TrainingLoop, "training_step", told_to_end)
    before = signal.signal(signal.SIGTERM, handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(settings(), traces, tmp_path / "run")
        assert heard_of == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) is handler
        assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
        assert curve(tmp_path / "run")["epoch"] == [1.0]
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.slow
@pytest.mark.timeout(1500)  # every process imports torch anew
def test_two_processes_have_the_loss_curve_of_one(alone, movie, tmp_path):
    """Every value of every epoch within 1e-4: the batches' rests, masks, noise, clipping, average and validation too."""
    told_rows = []
    out = run(small("training.processes=2"), movie, tmp_path / "two", progress=told_rows.append)
    assert_alike(out, alone)
    assert [row["epoch"] for row in told_rows] == [1, 2, 3]
    assert read_json(out / "status.json")["best"]["epoch"] == read_json(alone / "status.json")["best"]["epoch"]
    logged = [json.loads(line)["message"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert logged == [f"epoch {epoch}/3" for epoch in (1, 2, 3)]
    assert not children()
    both = run(small("training.processes=2", "training.batch=2", "training.accumulate=3"), movie, tmp_path / "both")
    assert_alike(both, alone, "train")


@pytest.mark.slow
@pytest.mark.timeout(1500)  # every process imports torch anew
def test_processes_step_back_and_start_anew_together(traces, tmp_path):
    """A NaN that one process alone meets, and a collapse, are what they would be in one process."""
    trouble = {"planted": 4, "ceiling": 0.036, "healthy": 9}
    luck = float(weights(run(settings(epochs=1), traces, tmp_path / "luck"))["luck"])
    model = {**trouble, "unlucky": luck + 1e-6}
    one = run(settings(model, epochs=4), traces, tmp_path / "one")
    two = run(settings(model, epochs=4, processes=2), traces, tmp_path / "two")
    kinds = [
        [(e["kind"], e["attempt"], e["epoch"], e["step"]) for e in read_json(out / "status.json")["events"]]
        for out in (one, two)
    ]
    assert kinds[0] == kinds[1]
    assert {kind for kind, *_ in kinds[0]} == {"step back", "restart"}
    assert_alike(two, one)


@pytest.mark.slow
@pytest.mark.timeout(1500)  # every process imports torch anew
def test_a_process_that_dies_ends_all_and_the_run_goes_on_to_the_same_bytes(traces, tmp_path):
    flag = tmp_path / "flag"
    config = settings({"ends": 7, "end": "kill", "once": str(flag)}, processes=2)
    whole = run(config, traces, tmp_path / "whole")
    flag.touch()
    with pytest.raises(WorkError, match="one of its processes") as error:
        run(config, traces, tmp_path / "run")
    assert "SIGKILL" in error.value.found
    assert not children()
    assert curve(tmp_path / "run")["step"] == [3.0, 6.0]
    assert_same(run(config, traces, tmp_path / "run"), whole)


@pytest.mark.slow
@pytest.mark.timeout(1500)  # every process imports torch anew
def test_an_error_of_one_process_is_ours(traces, tmp_path):
    with pytest.raises(DataError, match="The data are damaged") as error:
        run(settings({"ends": 4}, processes=2), traces, tmp_path / "run")
    assert error.value.fix == "Fetch them again."
    assert not children()
    assert not (tmp_path / ".run.lock").exists()


def ranks_of(parent: int) -> list[int]:
    """Return the processes whose parent is given, but for the one that tracks resources."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            line, said = path.read_text(), (path.parent / "cmdline").read_text()
        except OSError:
            continue
        if int(line.rsplit(")", 1)[1].split()[1]) == parent and "spawn_main" in said:
            found.append(int(path.parent.name))
    return found


def gone(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.slow
@pytest.mark.timeout(1500)  # every process imports torch anew
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_survives_the_one_that_was_told_to_end(movie, tmp_path, number):
    sets = ["model.patch=[4,4]", "training={epochs: 3000, steps_per_epoch: 3, batch: 4, warmup: 2, processes: 2}"]
    asked = [
        "train",
        "cst-tiny",
        str(movie),
        "-o",
        str(tmp_path / "run"),
        "--gpu",
        "none",
        *(f"-s{each}" for each in sets),
    ]
    process = subprocess.Popen([sys.executable, "-m", "neurodyn", *asked], stderr=subprocess.PIPE, text=True)
    metrics = tmp_path / "run" / "metrics.csv"
    for _ in range(9000):
        if metrics.exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    assert metrics.exists()
    ranks = ranks_of(process.pid)
    assert len(ranks) == 2
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    for _ in range(100):
        if all(map(gone, ranks)):
            break
        time.sleep(0.1)
    assert all(map(gone, ranks))
    assert "Traceback" not in said
    if number == signal.SIGTERM:
        assert process.returncode == 143
        assert said.strip().splitlines()[-3] == "Terminated (SIGTERM)."
        assert json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[0])
