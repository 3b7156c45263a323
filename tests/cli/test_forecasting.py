"""`neurodyn train quantformer`: a vocabulary from many sessions, one session that starts from it, and responses."""

import json

import numpy as np
import pytest
import xarray as xr

from neurodyn.data.recording import Recording
from neurodyn.data.scores import read_scores

WINDOWS = "windows={align: events, offset: -0.8, duration: 1.6, horizon: 0.8, split: trial, stimuli: [image]}"
SMALL = ("--set", "model={patch: 4, width: 16, heads: 2, layers: 1, codes: 8}", "--set", "stages.quantizer.epochs=2")
SHORT = ("--set", "training={epochs: 2, steps_per_epoch: 4, batch: 4, warmup: 1, patience: 5, ema: null}")


def session(path, name: str, cells: list[str], seed: int):
    rng = np.random.default_rng(seed)
    start = np.arange(40) * 2.0 + 1.0
    image = rng.permutation(np.array(["a", "b"])[np.arange(40) % 2])
    data = 0.1 * rng.normal(size=(840, len(cells)))
    for onset, shown in zip(start, image, strict=True):
        data[round(onset * 10) : round(onset * 10) + 8, :: 1 + (shown == "a")] += 1
    return Recording.from_arrays(
        {"dff": data.astype(np.float32)},
        rate_hz=10,
        stimulus={"start": start, "stop": start + 0.8, "image": image},
        rois=xr.Dataset({"cell": ("roi", np.array(cells))}),
        session=name,
    ).save(path / f"{name}.zarr")


@pytest.fixture
def days(tmp_path):
    return session(tmp_path, "monday", ["c1", "c2", "c3"], 0), session(tmp_path, "friday", ["c3", "c9"], 1)


def test_a_session_starts_from_what_many_taught_and_knows_its_cells(neurodyn, days, tmp_path):
    common = ("--gpu", "none", "--set", WINDOWS, *SMALL, *SHORT)
    both = neurodyn("train", "quantformer", *days, "-o", tmp_path / "both", *common)
    assert both.code == 0, both.err
    start = ("--start", tmp_path / "both")
    friday = neurodyn("train", "quantformer", days[1], "-o", tmp_path / "friday", *common, *start)
    assert friday.code == 0, friday.err
    names = [json.loads((tmp_path / run / "model.json").read_text())["layout"]["names"] for run in ("both", "friday")]
    assert names == [[["c1", "c2", "c3"], ["c3", "c9"]], [["c3", "c9"]]]
    assert not (tmp_path / "friday" / "stages").exists()  # the vocabulary is that of both
    assert neurodyn("infer", tmp_path / "friday", "--gpu", "none").code == 0
    scored = neurodyn("evaluate", tmp_path / "friday", "--metric", "forecast", "-o", tmp_path / "scores")
    assert scored.code == 0, scored.err
    assert {row.model for row in read_scores(tmp_path / "scores" / "scores.csv")} >= {"quantformer", "PSTH (reference)"}


def test_the_task_chooses_what_is_learnt(neurodyn, days, tmp_path):
    windows = WINDOWS[:-1] + ", responses: {rule: tsai_wen, threshold: 0.5, lasting: 0.8}}"
    common = ("--task", "classify", "--gpu", "none", "--set", windows, *SMALL, *SHORT)
    trained = neurodyn("train", "quantformer", days[0], "-o", tmp_path / "run", *common)
    assert trained.code == 0, trained.err
    assert neurodyn("infer", tmp_path / "run", "--gpu", "none").code == 0
    options = ("--metric", "responses", "--set", "shuffles=19", "--set", "bootstraps=100", "-o", tmp_path / "scores")
    scored = neurodyn("evaluate", tmp_path / "run", *options)
    assert scored.code == 0, scored.err
    accuracy = next(row for row in read_scores(tmp_path / "scores" / "scores.csv") if row.metric == "accuracy")
    assert accuracy.model == "quantformer-classifier"
    assert 0 <= accuracy.null_mean <= 1
    unknown = neurodyn("train", "quantformer", days[0], "--task", "clasify")
    assert unknown.code == 2
    assert "classify" in unknown.err
