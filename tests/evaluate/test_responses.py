"""Scores of classified responses: against chance that knows each cell's rate."""

from pathlib import Path

import numpy as np
import pytest

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.data.scores import read_scores
from neurodyn.decode.detection import METRICS
from neurodyn.evaluate.responses import Responses, ResponsesConfig
from neurodyn.evaluate.run import evaluate
from neurodyn.training.config import load_run_config
from neurodyn.training.fit import fit
from neurodyn.training.infer import infer

CONFIG = ResponsesConfig(bootstraps=100, shuffles=49)
WINDOWS = (
    "windows={align: events, offset: -0.5, duration: 1.5, horizon: 1.0, split: trial, stimuli: [image], "
    "responses: {rule: tsai_wen, threshold: 0.5, lasting: 1.0}}"
)


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    """Cell 0 responds to image a, cell 1 to image b, cell 2 nearly always, cell 3 at random."""
    rng = np.random.default_rng(0)
    start = np.arange(200) * 2.0 + 1.0
    image = np.array(["a", "b"])[rng.integers(0, 2, 200)]
    responds = np.stack([image == "a", image == "b", rng.random(200) < 0.95, rng.random(200) < 0.5], axis=1)
    data = 0.05 * rng.normal(size=(4030, 4))
    for k, onset in enumerate(start):
        data[round(onset * 10) : round(onset * 10) + 10] += responds[k]
    table = {"start": start, "stop": start + 1, "image": image}
    made = Recording.from_arrays({"dff": data.astype(np.float32)}, rate_hz=10, stimulus=table, session="four")
    return made.save(tmp_path_factory.mktemp("data") / "four.zarr")


def scored(recording: Path, preset: str, out: Path, *sets: str) -> dict[str, object]:
    run = fit(load_run_config(preset, None, (WINDOWS, *sets))[0], None, [recording], out / preset, gpu="none")
    infer(run, gpu="none")
    return {score.metric: score for score in read_scores(evaluate(Responses(CONFIG), [run], out / "scores"))}


def test_the_rate_per_stimulus_is_right_where_the_stimulus_decides(recording, tmp_path):
    scores = scored(recording, "response-rate", tmp_path)
    assert set(scores) == set(METRICS)
    accuracy = scores["accuracy"]
    assert accuracy.value == pytest.approx((1 + 1 + 0.95 + 0.5) / 4, abs=0.06)
    assert accuracy.ci_low < accuracy.value < accuracy.ci_high
    assert accuracy.p == pytest.approx(1 / 50)
    assert accuracy.null_mean == pytest.approx((0.5 + 0.5 + 0.95 + 0.5) / 4, abs=0.06)
    assert accuracy.n == 4


def test_a_trained_classifier_learns_it_too(recording, tmp_path):
    short = "training={epochs: 15, steps_per_epoch: 20, lr: 0.03, warmup: 5}"
    scores = scored(recording, "logistic-classifier", tmp_path, short)
    assert scores["balanced_accuracy"].value > 0.75
    assert scores["balanced_accuracy"].null_mean < 0.68


def test_what_does_not_classify_is_refused(recording, tmp_path):
    with pytest.raises(DataError, match="whether it responds"):
        scored(recording, "psth", tmp_path)
