"""Attention to points between the frames, against that to the true ones."""

import numpy as np
import pytest

from neurodyn.core.errors import DataError
from neurodyn.data.scores import read_scores
from neurodyn.evaluate.attention import Attention, AttentionConfig
from neurodyn.evaluate.run import evaluate
from neurodyn.training.attention import INTERPOLATED


def test_attention_is_scored_against_that_of_the_true_points(curves_run, tmp_path):
    scores = read_scores(evaluate(Attention(AttentionConfig(bootstraps=100)), [curves_run], tmp_path))
    whole = {s.model: s for s in scores if s.fold == "all"}
    assert set(whole) == {"cst-traces", INTERPOLATED}
    for model, score in whole.items():
        each = [s.value for s in scores if s.model == model and s.fold != "all"]
        assert len(each) == score.n
        assert score.value == pytest.approx(np.mean(each))
    assert whole["cst-traces"].value < whole[INTERPOLATED].value
    with pytest.raises(DataError, match="known at 90 times"):
        evaluate(Attention(AttentionConfig(extra=91)), [curves_run], tmp_path / "more")
