"""What lies between the frames: predictions at true times, and maps of attention."""

import numpy as np
import pytest
import torch

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.recording import Recording
from neurodyn.training.batches import read_batch
from neurodyn.training.config import load_run_config
from neurodyn.training.fit import fit
from neurodyn.training.infer import infer
from neurodyn.training.run import load_run
from tests.training.conftest import CURVES


def test_true_times_are_those_of_the_recording(curves_prediction, curves):
    truth = Recording.open(curves).table("truth")
    np.testing.assert_allclose(curves_prediction["query"], truth["query"])
    assert curves_prediction["at"].dims == ("window", "query", "roi")
    frames = np.searchsorted(curves_prediction["query"], curves_prediction["time"] - 1e-9)
    np.testing.assert_allclose(curves_prediction["query"][frames], curves_prediction["time"], atol=1e-9)


def test_times_asked_for_few_together_are_answered_in_their_order(curves_run, curves_prediction):
    model = load_run(curves_run)
    windows = model.windows["test"].take(np.array([2]))
    batch = read_batch(windows, slice(None))
    times = torch.tensor(curves_prediction["query"].values, dtype=torch.float32)[None]
    with torch.inference_mode():
        for first in range(4):
            alone = model.backend.at(batch, times[:, first::4])[0].numpy()
            np.testing.assert_allclose(curves_prediction["at_few"].values[2, first::4], alone, rtol=1e-4, atol=1e-5)
    assert not np.allclose(
        curves_prediction["at_few"], curves_prediction["at"], atol=1e-3
    )  # joint queries see each other


def test_recordings_without_such_truth_are_refused(tmp_path):
    values = np.random.default_rng(0).normal(size=(900, 3)).astype(np.float32)
    plain = Recording.from_arrays({"position": values}, rate_hz=10).save(tmp_path / "plain.zarr")
    config, _ = load_run_config("pca", None, ("windows.variable=position",))
    folder = fit(config, None, [plain], tmp_path / "run", gpu="none")
    with pytest.raises(ConfigError, match="cannot be evaluated between frames"):
        infer(folder, gpu="none", at="truth")
    config, _ = load_run_config("cst-traces", None, ("windows.variable=position", *CURVES[:2], *CURVES[4:]))
    with pytest.raises(DataError, match="no true times"):
        infer(fit(config, None, [plain], tmp_path / "cst", gpu="none"), gpu="none", at="truth")


def test_maps_are_written_with_the_axes_asked_for(curves_run, curves_prediction):
    maps = curves_prediction["attention_maps"]
    assert maps.dims == ("window", "layer", "head", "time", "place")
    assert maps.shape[1:] == (2, 4, 10, 1)
    np.testing.assert_allclose(maps.sum(("time", "place")), 1, atol=5e-3)
    np.testing.assert_allclose(maps.mean(("layer", "head")), curves_prediction["attention"], atol=2e-3)
    with pytest.raises(ConfigError, match="kept apart by column"):
        infer(curves_run, gpu="none", maps=("column",))
    with pytest.raises(ConfigError, match="--few without --at"):
        infer(curves_run, gpu="none", few=3)
