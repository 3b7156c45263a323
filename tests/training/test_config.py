"""Presets and run configurations."""

import numpy as np
import pytest
import torch

from neurodyn.backends import BACKENDS
from neurodyn.backends.layout import Layout
from neurodyn.core.config import list_presets
from neurodyn.core.errors import ConfigError, UnknownNameError
from neurodyn.training.config import backend_config, load_run_config

PUBLISHED = {"cst-small": 18.17e6, "cst-base": 86.22e6}


@pytest.mark.parametrize("name", sorted(list_presets("model")))
def test_every_preset_is_valid_and_described(name):
    config, resolved = load_run_config(name)
    assert config.name == name
    assert config.description
    assert set(config.model) == set(BACKENDS.get(config.backend).Config.model_fields)
    assert all("models" in origin for origin in resolved.origins.values())


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_networks_have_the_published_number_of_parameters(name):
    config, _ = load_run_config(name)
    layout = Layout(10, (184, 208), 10.0, np.ones((184, 208), bool))
    with torch.device("meta"):  # count without allocating
        model = BACKENDS.get(config.backend)(backend_config(config), layout)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(PUBLISHED[name], rel=1e-3)
    assert model.patches.grid == (8, 13)


def test_precedence_and_unknown_keys(tmp_path, monkeypatch):
    mine = tmp_path / "mine.yaml"
    mine.write_text("model:\n  width: 32\ntraining:\n  epochs: 7\n  lr: 1e-2\n")
    monkeypatch.setenv("NEURODYN_TRAINING__EPOCHS", "8")
    config, resolved = load_run_config("cst-tiny", mine, ["training.lr=0.5"])
    assert (config.model["width"], config.training.epochs, config.training.lr) == (32, 8, 0.5)
    assert resolved.origins["model", "width"] == f"{mine}:2"
    mine.write_text("model:\n  widht: 32\n")
    with pytest.raises(ConfigError, match=r"mine.yaml:2: unknown key 'model.widht'") as error:
        load_run_config("cst-tiny", mine)
    assert "width" in error.value.fix
    with pytest.raises(ConfigError, match="training.lr"):
        load_run_config("cst-tiny", None, ["training.lr=-1"])
    with pytest.raises(UnknownNameError, match="backend"):
        load_run_config("cst-tiny", None, ["backend=cts"])


def test_a_warmup_longer_than_the_training_is_refused():
    with pytest.raises(ConfigError, match="training"):
        load_run_config("cst-tiny", None, ["training.warmup=1000"])
