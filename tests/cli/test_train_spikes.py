"""`neurodyn train-spikes`: what it would do, settings, weights that stand there, weights it makes."""

import numpy as np
import pytest
import xarray as xr

from neurodyn.calcium.spike_weights import load
from neurodyn.data.recording import Recording


@pytest.fixture
def truth(tmp_path):
    rng = np.random.default_rng(0)
    spikes = np.sort(rng.uniform(0, 60, 60))
    after = (np.arange(1200) / 20)[:, None] - spikes
    dff = (np.exp(-np.maximum(after, 0) / 0.6) * (after > 0)).sum(axis=1)[:, None] + 0.1 * rng.normal(size=(1200, 1))
    table = xr.Dataset({"spike_time": ("spike", spikes), "spike_roi": ("spike", np.zeros(60, int))})
    Recording.from_arrays({"dff": dff}, rate_hz=20.0, truth=table).save(tmp_path / "a.zarr")
    return tmp_path / "a.zarr"


def test_a_dry_run_says_what_it_would_train_on(neurodyn, truth, tmp_path):
    done = neurodyn("train-spikes", truth, "-o", tmp_path / "w.safetensors", "--dry-run", "--set", "steps=2")
    assert done.code == 0, done.err
    assert "1 cells of 1 datasets" in done.out
    assert not (tmp_path / "w.safetensors").exists()


def test_weights_are_made_as_set_kept_and_replaced(neurodyn, truth, tmp_path):
    command = ("train-spikes", truth, "-o", tmp_path / "w.safetensors", "--set", "steps=2", "--set", "width=4")
    done = neurodyn(*command, "--set", "lookahead=0.2")
    assert done.code == 0, done.err
    made = load(tmp_path / "w.safetensors")
    assert made.lookahead == pytest.approx(0.2)
    assert made.members[0][0].bias.shape == (4,)
    refused = neurodyn(*command)
    assert refused.code == 2
    assert "--existing overwrite" in refused.err
    before = (tmp_path / "w.safetensors").read_bytes()
    assert neurodyn(*command, "--existing", "skip").code == 0
    assert (tmp_path / "w.safetensors").read_bytes() == before
    assert neurodyn(*command, "--existing", "overwrite").code == 0
    assert load(tmp_path / "w.safetensors").lookahead is None
