"""Models trained in stages: each is resumed by itself, and another run may have done the first."""

from pathlib import Path

import pytest
import safetensors.torch
import torch

from neurodyn.core.errors import ConfigError
from neurodyn.runs.config import RunConfig
from neurodyn.training.config import load_run_config
from neurodyn.training.fit import fit
from neurodyn.training.loop import TrainingLoop

SETTINGS = (
    "model={patch: 4, width: 16, heads: 2, layers: 1, codes: 8, linear: none}",
    "windows={variable: dff, duration: 1.6, stride: 0.8, horizon: 0.8, gap: 0}",
    "training={epochs: 2, steps_per_epoch: 3, batch: 4, warmup: 1, ema: 0.9}",
    "stages.quantizer={epochs: 3, ema: null}",
)


class Killed(BaseException):
    """Stands for a kill: nothing handles it."""


@pytest.fixture(scope="module")
def config() -> RunConfig:
    return load_run_config("quantformer", None, SETTINGS)[0]


@pytest.fixture(scope="module")
def undisturbed(config, traces, tmp_path_factory) -> Path:
    return fit(config, None, [traces], tmp_path_factory.mktemp("stages") / "run", gpu="none")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / "model.safetensors")


def test_every_stage_has_its_own_length_and_metrics(undisturbed):
    first = (undisturbed / "stages" / "quantizer" / "metrics.csv").read_text().splitlines()
    last = (undisturbed / "metrics.csv").read_text().splitlines()
    assert len(first) == 1 + 3
    assert len(last) == 1 + 2
    assert "train_commitment" in first[0]
    assert "train_codes" in last[0]


@pytest.mark.parametrize("step", [2, 7, 10, 13])  # in the first stage, its last epoch, and the second stage
def test_a_run_killed_in_either_stage_ends_with_the_same_bytes(
    undisturbed, config, traces, tmp_path, monkeypatch, step
):
    done, count = TrainingLoop.training_step, iter(range(1, 10**6))

    def killed(self, micro_batches):
        if next(count) == step:
            raise Killed
        return done(self, micro_batches)

    monkeypatch.setattr(TrainingLoop, "training_step", killed)
    with pytest.raises(Killed):
        fit(config, None, [traces], tmp_path / "run", gpu="none")
    monkeypatch.undo()
    fit(config, None, [traces], tmp_path / "run", gpu="none")
    for name in ("model.safetensors", "metrics.csv", "stages/quantizer/metrics.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (undisturbed / name).read_bytes(), name


def test_another_run_may_have_trained_the_vocabulary(undisturbed, config, traces, tmp_path):
    started = config.model_copy(update={"start": str(undisturbed)})
    out = fit(started, None, [traces], tmp_path / "run", gpu="none")
    assert not (out / "stages").exists()
    before, after = weights(undisturbed), weights(out)
    kept = [name for name in before if name.startswith("quantizer.")]
    assert kept
    assert all(torch.equal(before[name], after[name]) for name in kept)
    assert not torch.equal(before["head.weight"], after["head.weight"])


def test_a_stage_that_does_not_exist_is_refused(config, traces, tmp_path):
    strange = config.model_copy(update={"stages": {"decoder": {"epochs": 2}}})
    with pytest.raises(ConfigError, match="no stage decoder"):
        fit(strange, None, [traces], tmp_path / "run", gpu="none")


def test_a_mistake_in_a_stage_names_the_key():
    with pytest.raises(ConfigError, match="epochs"):
        load_run_config("quantformer", None, [*SETTINGS[:3], "stages.quantizer={epochs: 0}"])
