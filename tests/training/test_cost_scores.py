"""What a training step costs: memory against closed forms, and the table against what was asked."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from neurodyn.core.errors import ConfigError
from neurodyn.data.scores import read_scores
from neurodyn.report.page import report
from neurodyn.training.config import load_run_config
from neurodyn.training.cost_scores import CostScoreConfig, PeakMemory, score_cost
from neurodyn.training.fit import fit
from tests.training.conftest import SETTINGS

FLOAT = 4


def test_memory_is_what_lives_at_once():
    with PeakMemory() as memory:
        kept = torch.ones(1000)
        for _ in range(3):
            freed = kept.exp()  # the next one is made before this name lets go of the last
        view = kept[10:].reshape(10, 99)
        view.mul_(2)
    assert memory.peak == 3 * 1000 * FLOAT
    assert memory.now == 2 * 1000 * FLOAT
    del freed
    assert memory.now == 1000 * FLOAT


def test_what_the_backward_pass_keeps_is_counted():
    weight = torch.ones(500, requires_grad=True)
    with PeakMemory() as memory:
        value = weight.exp().exp().exp()  # each result is kept for its own gradient
        assert memory.now == 3 * 500 * FLOAT
        value.sum().backward()
    assert weight.grad is not None
    assert memory.peak >= 5 * 500 * FLOAT


@pytest.fixture(scope="module")
def run(movie, tmp_path_factory):
    config = load_run_config("cst-tiny", None, [*SETTINGS, "training.epochs=1", "name=tiny", "model.sobolev=[0,1,0]"])[
        0
    ]
    return fit(config, None, [movie], tmp_path_factory.mktemp("cost") / "run", gpu="none")


def test_memory_grows_with_dummies_and_the_report_shows_it(run, tmp_path):
    config = CostScoreConfig(vary="dummies", values=(0, 4, 8), steps=3, bootstraps=100)
    scores = read_scores(score_cost([run], tmp_path / "scores", config))
    whole = {(s.features, s.metric): s for s in scores if s.fold == "all"}
    memory = [whole[value, "megabytes"].value for value in ("0", "4", "8")]
    assert memory == sorted(set(memory))
    for value in ("0", "4", "8"):
        steps = [s.value for s in scores if s.features == value and s.metric == "seconds" and s.fold != "all"]
        assert len(steps) == 3
        assert whole[value, "seconds"].value == np.median(steps) > 0
    page = report([tmp_path / "scores"], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Peak memory" in page
    assert f"{memory[2]:.1f}" in page


def test_memory_is_the_same_every_time(run, tmp_path):
    config = CostScoreConfig(steps=2, bootstraps=100)
    first, second = (read_scores(score_cost([run], tmp_path / name, config)) for name in "ab")
    found = [[s.value for s in scores if s.metric == "megabytes"] for scores in (first, second)]
    assert found[0] == found[1]
    assert len(found[0]) == 1


def test_weights_that_depend_on_the_parameter_are_named(run, tmp_path):
    with pytest.raises(ConfigError, match="weights of tiny depend on width"):
        score_cost([run], tmp_path / "scores", CostScoreConfig(vary="width", values=(8, 16)))
    assert not (tmp_path / "scores").exists()
    with pytest.raises(ConfigError, match="dummys"):
        score_cost([run], tmp_path / "scores", CostScoreConfig(vary="dummys", values=(8,)))


def test_values_need_a_parameter():
    with pytest.raises(ValidationError, match="go together"):
        CostScoreConfig(values=(1, 2))
