"""What a training step costs: the table against what was asked."""

import numpy as np
import pytest
from pydantic import ValidationError

from neurodyn.core.errors import ConfigError
from neurodyn.data.scores import read_scores
from neurodyn.evaluate.cost import Cost, CostConfig
from neurodyn.evaluate.run import evaluate
from neurodyn.report.page import report
from neurodyn.training.config import load_run_config
from neurodyn.training.fit import fit
from tests.training.conftest import SETTINGS


@pytest.fixture(scope="module")
def run(movie, tmp_path_factory):
    config = load_run_config("cst-tiny", None, [*SETTINGS, "training.epochs=1", "name=tiny", "model.sobolev=[0,1,0]"])[
        0
    ]
    return fit(config, None, [movie], tmp_path_factory.mktemp("cost") / "run", gpu="none")


def test_memory_grows_with_dummies_and_the_report_shows_it(run, tmp_path):
    config = CostConfig(vary="dummies", values=(0, 4, 8), steps=3, bootstraps=100)
    scores = read_scores(evaluate(Cost(config), [run], tmp_path / "scores"))
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
    config = CostConfig(steps=2, bootstraps=100)
    first, second = (read_scores(evaluate(Cost(config), [run], tmp_path / name)) for name in "ab")
    found = [[s.value for s in scores if s.metric == "megabytes"] for scores in (first, second)]
    assert found[0] == found[1]
    assert len(found[0]) == 1


def test_weights_that_depend_on_the_parameter_are_named(run, tmp_path):
    with pytest.raises(ConfigError, match="weights of tiny depend on width"):
        evaluate(Cost(CostConfig(vary="width", values=(8, 16))), [run], tmp_path / "scores")
    assert not (tmp_path / "scores").exists()
    with pytest.raises(ConfigError, match="dummys"):
        evaluate(Cost(CostConfig(vary="dummys", values=(8,))), [run], tmp_path / "scores")


def test_values_need_a_parameter():
    with pytest.raises(ValidationError, match="go together"):
        CostConfig(values=(1, 2))
