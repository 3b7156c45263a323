"""Who asks a denoised recording for cells or spikes is told what they are judged by."""

import logging

import numpy as np
import pytest

from neurodyn.data.recording import Recording, entry
from neurodyn.preprocess.chain import chain_from_steps
from neurodyn.preprocess.denoised import STEP
from neurodyn.preprocess.suite2p import extract
from neurodyn.training import denoise

DFF = np.random.default_rng(0).standard_normal((600, 3)).astype(np.float32)


def recording(denoised: bool) -> Recording:
    made = Recording.from_arrays({"dff": DFF}, rate_hz=30, session="s", indicator="GCaMP6f")
    return made.with_groups({}, step=entry(STEP, {})) if denoised else made


@pytest.mark.parametrize(
    ("step", "denoised", "warned"),
    [("deconvolution", True, True), ("deconvolution", False, False), ("zscore", True, False)],
)
def test_spikes_of_a_denoised_recording_are_warned_of(step, denoised, warned, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="neurodyn"):
        chain_from_steps([{"step": step}], "here").run(recording(denoised), tmp_path / "made.zarr")
    assert any(f"{step}: 's' was denoised" in said for said in caplog.messages) is warned


def test_cells_of_a_denoised_movie_are_warned_of(tmp_path, caplog):
    movie = np.random.default_rng(0).normal(100, 5, (300, 32, 32)).astype(np.float32)
    made = Recording.from_arrays({"fluorescence": movie}, rate_hz=30, session="s").with_groups({}, step=entry(STEP, {}))
    with caplog.at_level(logging.WARNING, logger="neurodyn"), pytest.raises(Exception, match="No (cells|ROI)"):
        extract(made, tmp_path / "rois.zarr")
    assert any("extract: 's' was denoised" in said for said in caplog.messages)


def test_the_step_has_the_name_that_denoising_writes():
    assert denoise.STEP == STEP
