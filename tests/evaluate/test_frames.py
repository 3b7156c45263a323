"""Errors of hidden and seen frames, window by window."""

import numpy as np

from neurodyn.data.scores import read_scores
from neurodyn.evaluate.frames import Frames, FramesConfig
from neurodyn.evaluate.run import evaluate


def test_frames_are_scored_window_by_window_beside_linear_interpolation(curves_run, curves_prediction, tmp_path):
    scores = read_scores(evaluate(Frames(FramesConfig(bootstraps=100)), [curves_run], tmp_path))
    hidden, observed = curves_prediction["hidden"].values.astype(bool), curves_prediction["observed"].values
    for model, name in {"cst-traces": "hidden_mean", "linear interpolation": "linear"}.items():
        expected = [
            np.mean((p[h] - o[h]) ** 2)
            for p, o, h in zip(curves_prediction[name].values, observed, hidden, strict=True)
        ]
        found = [s.value for s in scores if (s.model, s.metric) == (model, "hidden_mse") and s.fold != "all"]
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert {s.model for s in scores if s.metric == "mse"} == {"cst-traces"}
