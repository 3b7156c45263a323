"""Errors between the frames, against their definition."""

import numpy as np
import pytest

from neurodyn.data.recording import Recording
from neurodyn.data.scores import read_scores
from neurodyn.evaluate.interpolation import Interpolation, InterpolationConfig
from neurodyn.evaluate.run import evaluate


def test_errors_are_those_of_the_definition_on_held_out_times(curves_run, curves_prediction, curves, tmp_path):
    table = evaluate(Interpolation(InterpolationConfig(bootstraps=100)), [curves_run], tmp_path)
    scores = read_scores(table)
    truth = Recording.open(curves).table("truth")
    scale, dense = truth["dense"].attrs["scale"], truth["dense"].values
    known = np.isclose(truth["query"].values[:, None], curves_prediction["time"].values[None], atol=1e-6).any(1)
    assert known.sum() == 10
    for model, values in {
        "cst-traces": curves_prediction["at"].values,
        "cst-traces, 30 at a time": curves_prediction["at_few"].values,
        "oracle": truth["oracle"].values[curves_prediction["trial"]],
    }.items():
        expected = np.linalg.norm((values - dense[curves_prediction["trial"]])[:, ~known], axis=2).mean(1) / scale
        found = [s.value for s in scores if (s.model, s.metric) == (model, "l2_error") and s.fold != "all"]
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        (whole,) = [s for s in scores if (s.model, s.metric, s.fold) == (model, "l2_error", "all")]
        assert whole.value == pytest.approx(expected.mean(), rel=1e-5)
        assert whole.ci_low < whole.value < whole.ci_high
