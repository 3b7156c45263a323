"""What a GPU computes is what a processor computes; needs a GPU: `uv run pytest -m slow -n 0 -s tests/gpu`."""

import copy
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
import zarr

from neurodyn.backends import BACKENDS
from neurodyn.core.errors import ConfigError
from neurodyn.core.files import read_json
from neurodyn.runs.config import RunConfig
from neurodyn.training.config import load_run_config
from neurodyn.training.fit import fit
from neurodyn.training.infer import infer
from tests.benchmarks.test_quantformer import TRIALS, session
from tests.contract.test_backends import SPACES, generator, make_batch, trained
from tests.training.conftest import SETTINGS
from tests.training.conftest import movie as movie
from tests.training.toy import FINAL, metrics

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]
SINGLE = ("model.dropout=0.0", "training.seed=3")
PRESETS = ("cst-tiny", "convgru", "convlstm", "fno2d", "fno3d", "lfads-widefield", "vivit")


@pytest.fixture(autouse=True)
def full_single_precision(monkeypatch):
    """Convolutions round to 10 bits by default."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def small(*sets: str, model: str = "cst-tiny") -> RunConfig:
    return load_run_config(model, None, (*SETTINGS, *SINGLE, *sets))[0]


def losses(folder: Path) -> np.ndarray:
    return np.array([[float(row["train_loss"]), float(row["valid_loss"])] for row in metrics(folder)])


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("name", BACKENDS.names())
def test_every_model_says_the_same_on_both(name, space):
    backend, batch = trained(name, SPACES[space]), make_batch(SPACES[space])
    twin = copy.deepcopy(backend).cuda()
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        with torch.no_grad():
            here, there = backend(batch), twin(batch.to("cuda"))
            parts, twins = (model.loss(own, generator()) for model, own in ((backend, batch), (twin, batch.to("cuda"))))
        loss = torch.stack(list(twin.train().loss(batch.to("cuda"), generator()).values())).sum()
        if loss.requires_grad:  # the naive ones have nothing to learn
            loss.backward()
    finally:
        torch.use_deterministic_algorithms(before)
    torch.testing.assert_close(there.mean.cpu(), here.mean, rtol=1e-3, atol=1e-3)
    for part, value in parts.items():
        torch.testing.assert_close(twins[part].cpu(), value, rtol=2e-3, atol=1e-3, msg=part)


def test_training_follows_the_processors_curve_and_repeats_itself_bit_for_bit(movie, tmp_path):
    runs = {
        name: fit(small(), None, [movie], tmp_path / name, gpu="none" if name == "cpu" else "0")
        for name in ("cpu", "one", "two")
    }
    np.testing.assert_allclose(losses(runs["one"]), losses(runs["cpu"]), rtol=1e-3)
    for name in FINAL:
        assert (runs["one"] / name).read_bytes() == (runs["two"] / name).read_bytes(), name


@pytest.mark.parametrize("model", PRESETS)
def test_presets_train_and_infer(movie, tmp_path, model):
    short = SETTINGS if "patch" in BACKENDS.get(load_run_config(model)[0].backend).Config.model_fields else SETTINGS[1:]
    config = load_run_config(model, None, (*short, "windows.variable=dff"))[0]
    run = fit(config, None, [movie], tmp_path / "run", gpu="0")
    assert np.isfinite(losses(run)).all()
    found, expected = (np.array(zarr.open_array(infer(run, gpu=gpu) / "mean", mode="r")) for gpu in ("0", "none"))
    np.testing.assert_allclose(found, expected, rtol=5e-3, atol=5e-3)


def test_half_precision_follows_the_curve_of_single(movie, tmp_path):
    one, half = (
        fit(small(f"training.precision={kind}"), None, [movie], tmp_path / kind, gpu="0")
        for kind in ("float32", "bfloat16")
    )
    assert not np.array_equal(losses(half), losses(one))
    np.testing.assert_allclose(losses(half), losses(one), rtol=0.03)


def test_micro_batches_on_a_gpu_are_one_batch(movie, tmp_path):
    one = fit(small(), None, [movie], tmp_path / "one", gpu="0")
    micro = fit(small("training.batch=2", "training.accumulate=2"), None, [movie], tmp_path / "micro", gpu="0")
    np.testing.assert_allclose(losses(micro)[:, 0], losses(one)[:, 0], rtol=1e-3)


def test_a_training_that_is_killed_ends_with_the_same_bytes(movie, tmp_path):
    sets = ("training.epochs=40", "training.patience=100")
    whole = fit(small(*sets), None, [movie], tmp_path / "whole", gpu="0")
    given = [argument for one in (*SETTINGS, *SINGLE, *sets) for argument in ("-s", one)]
    command = [sys.executable, "-m", "neurodyn", "train", "cst-tiny", str(movie), "--gpu", "0", *given]
    process = subprocess.Popen([*command, "-o", str(tmp_path / "run")])
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "checkpoints" / "last.ckpt").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "run" / "model.safetensors").exists()
    resumed = fit(small(*sets), None, [movie], tmp_path / "run", gpu="0")
    for name in FINAL:
        assert (resumed / name).read_bytes() == (whole / name).read_bytes(), name


def test_several_trainings_of_a_pipeline_share_a_gpu(movie, tmp_path):
    pipeline = {
        "description": "four seeds",
        "matrices": {"runs": [{"seed": [0, 1, 2, 3]}]},
        "jobs": {
            "train": {
                "matrix": "runs",
                "command": ["train", "cst-tiny", "@input1"],
                "options": {"gpu": "0"},
                "set": {"model": {"patch": [4, 4]}, "windows": {"duration": 0.8}, "training": {
                    "epochs": 20, "steps_per_epoch": 20, "batch": 4, "seed": "{seed}",
                }},
                "out": "runs/{seed}",
            }
        },
    }  # fmt: skip
    (tmp_path / "pack.yaml").write_text(yaml.safe_dump(pipeline))
    took = {}
    for jobs in (1, 4):
        begun = time.monotonic()
        command = [sys.executable, "-m", "neurodyn", "run", str(tmp_path / "pack.yaml"), str(movie)]
        subprocess.run([*command, "-o", str(tmp_path / f"out{jobs}"), "-j", str(jobs)], check=True)
        took[jobs] = time.monotonic() - begun
    for seed in range(4):
        one, packed = (tmp_path / f"out{jobs}" / "runs" / str(seed) for jobs in (1, 4))
        assert read_json(packed / "status.json")["state"] == "done"
        assert (one / "model.safetensors").read_bytes() == (packed / "model.safetensors").read_bytes()
    print(f"\nfour trainings on one GPU: {took[1]:.1f} s one by one, {took[4]:.1f} s at once")


def test_a_gpu_that_is_not_there(movie, tmp_path):
    count = torch.cuda.device_count()
    with pytest.raises(ConfigError, match=f"--gpu {count} is not available"):
        fit(small(), None, [movie], tmp_path / "run", gpu=str(count))
    assert not (tmp_path / "run").exists()


def test_stage_two_of_quantformer_on_171_neurons_takes_less_than_a_minute(tmp_path):
    path = session(tmp_path / "session.zarr", 171, 420)
    sets = (TRIALS, "stages={quantizer: {epochs: 1}}", "training.patience=1000")
    config = load_run_config("quantformer", None, sets)[0]
    begun = time.perf_counter()
    run = fit(config, None, [path], tmp_path / "run", gpu="0")
    took = time.perf_counter() - begun
    print(f"\n{torch.cuda.get_device_name()}: stage 2, 171 neurons, {len(losses(run))} epochs: {took:.1f} s")
    assert len(losses(run)) == config.training.epochs
    assert took < 60
